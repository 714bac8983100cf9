//! Every command in every stage; asking for a run; the way from queue to work.

use super::*;
use crate::aggregate::Aggregate;

const STAGES: [&str; 9] =
    ["unknown", "queued", "preparing", "working", "sealing", "publishing", "ended", "deleting", "deleted"];

/// A command, and for each stage what becomes of it: `+` facts follow, `=` it is granted without a new fact; refused as
/// `N` not found, `E` exists, `O` out of order, `A` active, `X` not active, `L` locked, `D` deleted.
const GRANTED: [(&str, &str); 20] = [
    ("Request", "+EEEEEEEE"),
    ("Start", "N+OOOOOOD"),
    ("DirectoryReady", "NO+OOOOOD"),
    ("DirectoryFailed", "NO+OOOOOD"),
    ("Progress", "NOO+OOOOD"),
    ("Complete", "NOO+OOOOD"),
    ("Fail", "NOO+OOOOD"),
    ("Cancel", "N+++XXXXX"),
    ("TimedOut", "NOOOOOOOD"),
    ("Sealed", "NOOO+OOOD"),
    ("SealFoundDamage", "NOOO++OOD"),
    ("DirectoryLost", "NOOO++OOD"),
    ("Published", "NOOOO+OOD"),
    ("Recover", "N=++++=+="),
    ("Verified", "NAAAAA+DD"),
    ("Lock", "N++++++DD"),
    ("Unlock", "N======DD"),
    ("Delete", "NAAAAA+=D"),
    ("Deleted", "NOOOOOO+D"),
    ("DeleteFailed", "NOOOOOO+D"),
];

fn command(name: &str) -> RunCommand {
    match name {
        "Request" => RunCommand::Request(new_run(PAIR)),
        "Start" => RunCommand::Start,
        "DirectoryReady" => RunCommand::DirectoryReady,
        "DirectoryFailed" => RunCommand::DirectoryFailed(failure(FailureKind::Resource)),
        "Progress" => RunCommand::Progress { of: FIRST, progress: progress("db", 1, 2) },
        "Complete" => complete("db"),
        "Fail" => fail("db", FailureKind::Fatal),
        "Cancel" => cancel(),
        "TimedOut" => RunCommand::TimedOut { attempt: 1 },
        "Sealed" => sealed(),
        "SealFoundDamage" => damage("db"),
        "DirectoryLost" => RunCommand::DirectoryLost(failure(FailureKind::Resource)),
        "Published" => RunCommand::Published { copies: Vec::new() },
        "Recover" => recover(Found::Running),
        "Verified" => RunCommand::Verified(verified(true)),
        "Lock" => RunCommand::Lock { reason: "audit".into() },
        "Unlock" => RunCommand::Unlock,
        "Delete" => RunCommand::Delete,
        "Deleted" => RunCommand::Deleted,
        "DeleteFailed" => RunCommand::DeleteFailed(failure(FailureKind::Retryable)),
        other => panic!("{other} is no command"),
    }
}

fn stage(name: &str) -> Given<Run> {
    match name {
        "unknown" => given([]),
        "queued" => queued(PAIR),
        "preparing" => preparing(PAIR),
        "working" => working(PAIR),
        "sealing" => sealing(PAIR),
        "publishing" => publishing(PAIR),
        "ended" => kept(PAIR),
        "deleting" => kept(PAIR).and([deletion()]),
        "deleted" => kept(PAIR).and([deletion(), deleted()]),
        other => panic!("{other} is no stage"),
    }
}

#[test]
fn each_command_is_granted_in_its_stages_and_refused_in_all_others() {
    for (name, row) in GRANTED {
        let found: String = STAGES
            .iter()
            .map(|place| match stage(place).when(command(name)).decision() {
                Ok(events) if events.is_empty() => '=',
                Ok(_) => '+',
                Err(Refusal::NotFound) => 'N',
                Err(Refusal::Exists) => 'E',
                Err(Refusal::OutOfOrder) => 'O',
                Err(Refusal::Active) => 'A',
                Err(Refusal::NotActive) => 'X',
                Err(Refusal::Locked(_)) => 'L',
                Err(Refusal::Deleted | Refusal::KeptElsewhere(_)) => 'D',
                Err(Refusal::Invalid(_)) => 'I',
                Err(Refusal::Uploading) => 'U',
                Err(Refusal::NotUploadable) => 'P',
                Err(Refusal::BeingDeleted | Refusal::Importing | Refusal::IsHere | Refusal::AnotherRun) => 'M',
            })
            .collect();
        assert_eq!(found, row, "{name} in {STAGES:?}");
    }
}

#[test]
fn a_request_plans_its_participants_and_splits_their_definitions() {
    let mut new = new_run(&[("db", CRITICAL)]);
    new.participants[0].definition = "ä".repeat(DEFINITION_PART);
    let half = |text: String| RunEvent::DefinitionPart(DefinitionPartV1 { participant: name("db"), text });
    let part = "ä".repeat(DEFINITION_PART / 2);
    let planned = RunEvent::ParticipantPlanned(ParticipantPlannedV3 {
        participant: name("db"),
        kind: "files".into(),
        critical: true,
        definition_sha256: Sha256::default(),
        definition_parts: 2,
        depends_on: Vec::new(),
        max_tries: 1,
        retry_delay_ms: 1000,
        format_version: 0,
    });
    let run = given::<Run>([])
        .when(RunCommand::Request(new.clone()))
        .then_do([RunEvent::Requested(new.request), planned, half(part.clone()), half(part)], []);
    assert_eq!(run.state().participants()[0].definition, new.participants[0].definition);
    assert_eq!(run.state().requested_by(), crate::given::PRINCIPAL);
}

#[test]
fn what_is_not_a_run_is_refused_before_anything_is_recorded() {
    let refused = |change: fn(&mut NewRun)| {
        let mut new = new_run(PAIR);
        change(&mut new);
        let then = given::<Run>([]).when(RunCommand::Request(new));
        assert!(matches!(then.decision(), Err(Refusal::Invalid(_))), "{:?}", then.decision());
    };
    refused(|new| new.participants.clear());
    refused(|new| new.participants[1].name = name("DB"));
    refused(|new| new.participants[1].definition = "x".repeat(MAX_DEFINITION + 1));
    refused(|new| new.participants[1].kind = "x".repeat(MAX_KIND + 1));
    refused(|new| new.request.compression = "x".repeat(MAX_KIND + 1));
    refused(|new| {
        let one = new.participants[0].clone();
        let named = |n| NewParticipant { name: name(&format!("p{n}")), ..one.clone() };
        new.participants = (0..=MAX_PARTICIPANTS).map(named).collect();
    });
    refused(|new| new.participants.iter_mut().for_each(|one| one.definition = "x".repeat(MAX_DEFINITION)));
}

#[test]
fn a_run_goes_from_the_queue_to_its_first_participant() {
    queued(PAIR)
        .when(RunCommand::Start)
        .then_do([started()], [RunEffect::PrepareDirectory])
        .when(RunCommand::DirectoryReady)
        .then_do([begun("db")], [RunEffect::StartParticipant(name("db"))]);
}

#[test]
fn as_many_participants_work_together_as_the_request_says() {
    let mut new = new_run(&[("a", CRITICAL), ("b", CRITICAL), ("c", CRITICAL), ("d", CRITICAL)]);
    new.request.max_parallel = 2;
    let run = given::<Run>([]).when(RunCommand::Request(new)).granted().and([started()]);
    run.when(RunCommand::DirectoryReady)
        .then([begun("a"), begun("b")])
        .when(complete("b"))
        .then([stored("b"), completed("b"), begun("c")])
        .when(fail("a", FailureKind::Fatal))
        .then([failed("a", failure(FailureKind::Fatal)), begun("d")]);
}

#[test]
fn a_run_whose_request_allows_no_participant_at_a_time_works_on_one() {
    let mut new = new_run(PAIR);
    new.request.max_parallel = 0;
    let run = given::<Run>([]).when(RunCommand::Request(new)).granted().and([started()]);
    run.when(RunCommand::DirectoryReady).then([begun("db")]);
}

#[test]
fn without_a_directory_the_run_has_failed_with_the_reason() {
    preparing(PAIR).when(RunCommand::DirectoryFailed(failure(FailureKind::Resource))).then_do(
        [
            skipped("db", "the run ended before"),
            skipped("site", "the run ended before"),
            ended(Outcome::Failed, "it did not work (CODE)"),
        ],
        [RunEffect::Ended],
    );
}

#[test]
fn every_refusal_has_a_stable_code_and_says_what_to_do() {
    let codes = [
        (Refusal::NotFound, "BACKUP_RUN_NOT_FOUND"),
        (Refusal::Exists, "BACKUP_RUN_EXISTS"),
        (Refusal::Invalid(String::new()), "INVALID_DATA"),
        (Refusal::NotActive, "BACKUP_RUN_NOT_ACTIVE"),
        (Refusal::Active, "BACKUP_RUN_ACTIVE"),
        (Refusal::Deleted, "BACKUP_RUN_NOT_FOUND"),
        (Refusal::OutOfOrder, "OUT_OF_ORDER"),
    ];
    for (refusal, code) in codes {
        assert_eq!(refusal.code(), code);
    }
}

#[test]
fn a_refusal_leaves_the_state_as_it_was() {
    let before = working(PAIR);
    let after = working(PAIR).when(sealed()).refused(Refusal::OutOfOrder);
    assert_eq!(before.state(), after.state());
    assert_eq!(after.state().effects(&[]), []);
}
