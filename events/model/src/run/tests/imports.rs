//! Runs that come back from an endpoint.

use uuid::Uuid;

use super::*;

const SERVER: Uuid = Uuid::from_u128(7);
const SUMS: Sha256 = Sha256([9; 32]);

fn wish(overwrite: bool) -> RunImportRequestedV1 {
    let endpoint = "offsite".parse().expect("a name");
    RunImportRequestedV1 { run_id: RunId::new(Timestamp(0), 1), endpoint, server_id: SERVER, overwrite }
}

fn import(overwrite: bool) -> RunCommand {
    RunCommand::Import(wish(overwrite))
}

fn facts() -> RunImportedV1 {
    RunImportedV1 {
        run_id: RunId::new(Timestamp(0), 1),
        server_id: SERVER,
        run_type: RunType::Full,
        trigger: Trigger::Cron,
        outcome: Outcome::Partial,
        attempt: 2,
        started_at: Timestamp(1_000_000),
        finished_at: Timestamp(5_000_000),
        error_summary: "site: bad".into(),
        requested_by: "token:ops".into(),
        job: "nightly".into(),
        compression: "lz4".into(),
        consistency: Consistency::Barrier,
        barrier_at: Some(Timestamp(2_000_000)),
        held_us: 80,
        encryption: Encryption::None,
        masked: false,
        participants: 2,
        sums_sha256: SUMS,
    }
}

fn participant(text: &str, status: ParticipantStatus) -> ParticipantImportedV1 {
    ParticipantImportedV1 {
        participant: name(text),
        kind: "files".into(),
        critical: text == "db",
        status,
        started_at: Some(Timestamp(1_000_000)),
        finished_at: Some(Timestamp(4_000_000)),
        failure: (status != ParticipantStatus::Completed).then(|| failure(FailureKind::Fatal)),
        warnings: Warnings::default(),
    }
}

fn good(text: &str) -> RunCommand {
    let (participant, artifacts) = (participant(text, ParticipantStatus::Completed), vec![artifact(text, text)]);
    RunCommand::ImportParticipant { participant, artifacts }
}

fn bad(text: &str) -> RunCommand {
    RunCommand::ImportParticipant { participant: participant(text, ParticipantStatus::Failed), artifacts: Vec::new() }
}

fn whole(sums_sha256: Sha256) -> RunCommand {
    RunCommand::ImportWhole { sums_sha256 }
}

fn publish(target: Target, replaces: bool) -> RunEvent {
    RunEvent::ImportPublishRequested(RunImportPublishRequestedV1 { target, replaces })
}

/// One of which all is recorded, that was not known before.
fn recorded() -> Given<Run> {
    given::<Run>([])
        .when(import(false))
        .then([RunEvent::ImportRequested(wish(false))])
        .when(RunCommand::ImportFacts(facts()))
        .then([RunEvent::Imported(facts())])
        .when(good("db"))
        .granted()
        .when(bad("site"))
        .granted()
}

/// The list of hashes of a run that was published here.
fn own_sums() -> Sha256 {
    kept(PAIR).state().sums_sha256().expect("published")
}

#[test]
fn a_run_that_was_not_known_is_what_its_manifest_says_once_it_is_in_its_place() {
    let run = recorded();
    assert_eq!((run.state().id(), run.state().view(true)), (None, None), "until then there is no such run");
    let run = run
        .when(whole(SUMS))
        .then_do([publish(Target::Completed, false)], [])
        .when(RunCommand::ImportPublished)
        .then_do([RunEvent::ImportCompleted(RunImportCompletedV1 {})], []);
    let state = run.state();
    let view = state.view(true).expect("a run");
    assert_eq!((view.status, view.path.as_str()), (RunStatus::Partial, "backups/completed/19700101-000000-000001"));
    assert_eq!((view.started_at, view.finished_at, view.attempt), (1, 5, 2));
    assert_eq!((view.requested_by.as_str(), view.job.as_str()), ("token:ops", "nightly"));
    assert_eq!((view.consistency.barrier_at, view.consistency.held_us), (2, 80));
    assert_eq!(state.sums_sha256(), Some(SUMS));
    let from = view.imported_from.expect("it says so");
    assert_eq!((from.endpoint.as_str(), from.server_id), ("offsite", SERVER.to_string()));
    let ended: Vec<_> = view.participants.iter().map(|one| (one.name.as_str(), one.status.as_str())).collect();
    assert_eq!(ended, [("db", "completed"), ("site", "failed")]);
    assert!(view.participants[0].artifacts[0].validation_ok && view.participants[1].error.contains("CODE"));
    run.when(RunCommand::Lock { reason: "audit".into() })
        .granted()
        .when(RunCommand::Unlock)
        .granted()
        .when(RunCommand::Delete)
        .then_do([deletion()], [RunEffect::Delete]);
}

#[test]
fn a_deleted_run_comes_back_as_it_was() {
    let before = kept(PAIR).state().view(true).expect("a run");
    let run = kept(PAIR)
        .and([deletion(), deleted()])
        .when(import(false))
        .granted()
        .when(RunCommand::Lock { reason: "audit".into() })
        .refused(Refusal::Deleted)
        .when(RunCommand::ImportFacts(facts()))
        .refused(Refusal::OutOfOrder)
        .when(whole(SUMS))
        .refused(Refusal::AnotherRun)
        .when(whole(own_sums()))
        .then([publish(Target::Completed, false)])
        .when(RunCommand::ImportPublished)
        .granted();
    let after = run.state().view(true).expect("a run");
    assert!(after.imported_from.is_some() && !after.deleted);
    assert_eq!(RunView { imported_from: None, ..after }, before);
}

#[test]
fn a_kept_run_is_replaced_where_that_is_said_and_it_is_not_locked() {
    kept(PAIR).when(import(false)).refused(Refusal::IsHere);
    let locked = kept(PAIR).when(RunCommand::Lock { reason: "audit".into() }).granted();
    locked.when(import(true)).refused(Refusal::Locked("audit".into()));
    let run = kept(PAIR).when(import(true)).granted();
    let refused = run.when(RunCommand::Delete).refused(Refusal::Importing).when(import(true));
    let run = refused.refused(Refusal::Importing);
    let locked = run.clone().when(RunCommand::Lock { reason: "audit".into() }).granted();
    locked.when(whole(own_sums())).refused(Refusal::Locked("audit".into()));
    run.when(whole(own_sums())).then([publish(Target::Completed, true)]);
}

#[test]
fn what_is_at_work_or_never_had_a_directory_is_not_imported() {
    for run in [queued(PAIR), preparing(PAIR), working(PAIR), sealing(PAIR), publishing(PAIR)] {
        run.when(import(true)).refused(Refusal::Active);
    }
    kept(PAIR).and([deletion()]).when(import(true)).refused(Refusal::BeingDeleted);
    let without = queued(PAIR).when(RunCommand::Cancel { reason: "no".into() }).granted();
    without.when(import(true)).refused(Refusal::AnotherRun);
    let wish = RunImportRequestedV1 { run_id: RunId::new(Timestamp(0), u32::MAX), ..wish(false) };
    let then = given::<Run>([]).when(RunCommand::Import(wish));
    assert!(matches!(then.decision(), Err(Refusal::Invalid(_))));
}

#[test]
fn what_fails_leaves_all_as_it_was() {
    let fail = RunCommand::ImportFailed(failure(FailureKind::Retryable));
    let run = recorded().when(fail.clone()).granted();
    assert_eq!(run.state().view(true), None);
    run.when(RunCommand::ImportPublished).refused(Refusal::OutOfOrder).when(import(false)).granted();
    let (before, run) = (kept(PAIR).state().view(true), kept(PAIR).when(import(true)).granted());
    let run = run.when(whole(own_sums())).granted().when(fail.clone()).granted();
    assert_eq!(run.state().view(true), before);
    run.when(fail).refused(Refusal::OutOfOrder);
}

#[test]
fn facts_that_cannot_be_are_refused() {
    let asked = || given::<Run>([]).when(import(false)).granted();
    let bad_facts = [
        RunImportedV1 { run_id: RunId::new(Timestamp(0), 2), ..facts() },
        RunImportedV1 { server_id: Uuid::nil(), ..facts() },
        RunImportedV1 { participants: 0, ..facts() },
        RunImportedV1 { participants: 201, ..facts() },
        RunImportedV1 { encryption: Encryption::Recipients(Vec::new()), ..facts() },
        RunImportedV1 { job: "j".repeat(65), ..facts() },
    ];
    for facts in bad_facts {
        let then = asked().when(RunCommand::ImportFacts(facts));
        assert!(matches!(then.decision(), Err(Refusal::Invalid(_))), "{:?}", then.decision());
    }
    let begun = || asked().when(RunCommand::ImportFacts(facts())).granted().when(good("db")).granted();
    let open = RunCommand::ImportParticipant {
        participant: participant("site", ParticipantStatus::Running),
        artifacts: Vec::new(),
    };
    let failed = RunCommand::ImportParticipant {
        participant: participant("site", ParticipantStatus::Failed),
        artifacts: vec![artifact("site", "site")],
    };
    let taken = RunCommand::ImportParticipant {
        participant: participant("site", ParticipantStatus::Completed),
        artifacts: vec![artifact("site", "DB")],
    };
    let foreign = RunCommand::ImportParticipant {
        participant: participant("site", ParticipantStatus::Completed),
        artifacts: vec![artifact("other", "site")],
    };
    for command in [good("db"), good("DB"), open, failed, taken, foreign] {
        let then = begun().when(command);
        assert!(matches!(then.decision(), Err(Refusal::Invalid(_))), "{:?}", then.decision());
    }
    begun().when(whole(SUMS)).refused(Refusal::OutOfOrder);
    recorded().when(bad("more")).refused(Refusal::OutOfOrder).when(whole(Sha256([1; 32]))).refused(Refusal::AnotherRun);
}
