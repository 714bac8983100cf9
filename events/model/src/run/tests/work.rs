//! Participants at work: what completes, what fails, what cancelling does, and what the run is called for it.

use super::*;

#[test]
fn the_run_is_sealed_once_every_participant_completed() {
    working(PAIR)
        .when(complete("db"))
        .then_do([stored("db"), completed("db"), begun("site")], [RunEffect::StartParticipant(name("site"))])
        .when(complete("site"))
        .then_do([stored("site"), completed("site"), classified(Outcome::Completed, "")], [RunEffect::Seal]);
}

/// The end of a run of participants that fail where their name starts with `bad`.
fn end_of(plan: &Plan) -> Outcome {
    let mut run = working(plan);
    for (participant, _) in plan {
        let bad = participant.starts_with("bad");
        run = run.when(if bad { fail(participant, FailureKind::Fatal) } else { complete(participant) }).granted();
    }
    assert_eq!(run.state().stage(), Stage::Sealing);
    run.state().outcome().expect("classified")
}

#[test]
fn a_run_is_called_by_the_worst_that_befell_its_critical_participants() {
    assert_eq!(end_of(&[("a", CRITICAL), ("b", OPTIONAL)]), Outcome::Completed);
    assert_eq!(end_of(&[("a", OPTIONAL)]), Outcome::Completed);
    assert_eq!(end_of(&[("a", CRITICAL), ("bad", OPTIONAL)]), Outcome::Partial);
    assert_eq!(end_of(&[("a", OPTIONAL), ("bad", OPTIONAL)]), Outcome::Partial);
    assert_eq!(end_of(&[("bad", CRITICAL), ("b", OPTIONAL)]), Outcome::Failed);
    assert_eq!(end_of(&[("a", CRITICAL), ("bad", CRITICAL)]), Outcome::Failed);
    assert_eq!(end_of(&[("bad1", OPTIONAL), ("bad2", OPTIONAL)]), Outcome::Failed);
    assert_eq!(end_of(&[("bad", CRITICAL)]), Outcome::Failed);
}

#[test]
fn a_failure_is_told_in_the_summary_and_stops_nobody_else() {
    let bad = failure(FailureKind::Timeout);
    let run = working(PAIR)
        .when(fail("db", FailureKind::Timeout))
        .then([failed("db", bad), begun("site")])
        .when(complete("site"))
        .then([stored("site"), completed("site"), classified(Outcome::Failed, "db: it did not work (CODE)")]);
    assert_eq!(statuses(&run), [ParticipantStatus::Timeout, ParticipantStatus::Completed]);
}

#[test]
fn a_summary_names_three_and_counts_the_rest() {
    let plan: &Plan = &[("a", OPTIONAL), ("b", OPTIONAL), ("c", OPTIONAL), ("d", OPTIONAL), ("e", OPTIONAL)];
    let mut run = working(plan);
    for (participant, _) in plan {
        run = run.when(fail(participant, FailureKind::Fatal)).granted();
    }
    assert_eq!(
        run.state().error_summary(),
        "a: it did not work (CODE); b: it did not work (CODE); c: it did not work (CODE); and 2 more"
    );
}

#[test]
fn a_participant_without_an_artifact_has_failed() {
    let empty = complete_with("db", Vec::new(), completion("db"));
    let reason = Failure::new(FailureKind::Fatal, "SOURCE_EMPTY", "it wrote no artifact");
    working(PAIR).when(empty).then([failed("db", reason), begun("site")]);
}

#[test]
fn a_warning_is_carried_and_fails_its_participant_only_in_a_strict_run() {
    let mut left_out = completion("db");
    left_out.warnings.add("/etc/shadow: permission denied");
    let with_warning = complete_with("db", vec![artifact("db", "db")], left_out.clone());
    let run = working(PAIR).when(with_warning.clone()).then([
        stored("db"),
        RunEvent::ParticipantCompleted(left_out),
        begun("site"),
    ]);
    assert_eq!(run.state().warning_count(), 1);

    let mut new = new_run(PAIR);
    new.request.strict = true;
    let strict = given::<Run>([]).when(RunCommand::Request(new)).granted().and([started(), begun("db")]);
    let text = "1 warnings, and the run is strict; the first: /etc/shadow: permission denied";
    let reason = Failure::new(FailureKind::Fatal, "STRICT_WARNINGS", text);
    strict.when(with_warning).then([failed("db", reason), begun("site")]);
}

/// Whether a completion of `site` with `artifacts` fails for a name, after `db` gave `db.lz4` and `db.index`.
fn taken(artifacts: Vec<ArtifactStoredV1>) -> bool {
    let second = working(PAIR).and([stored("db"), completed("db"), begun("site")]);
    let run = second.when(complete_with("site", artifacts, completion("site"))).granted();
    let site = &run.state().participants()[1];
    assert_eq!(run.state().participants()[0].status, ParticipantStatus::Completed, "the first one's stays good");
    site.failure.as_ref().is_some_and(|failure| failure.code == "ARTIFACT_NAME_TAKEN")
}

#[test]
fn a_file_name_is_used_once_in_a_run_without_regard_to_case() {
    let renamed = |file: &str| {
        let mut one = artifact("site", "site");
        one.stored.file = file.parse().expect("a name");
        one
    };
    assert!(!taken(vec![artifact("site", "site"), artifact("site", "other")]));
    assert!(taken(vec![artifact("site", "DB")]), "another participant's");
    assert!(taken(vec![renamed("DB.index")]), "another participant's index");
    assert!(taken(vec![artifact("site", "site"), artifact("site", "Site")]), "twice in one participant");
    assert!(taken(vec![renamed("site.INDEX")]), "its own index");
    assert!(taken(vec![renamed("Manifest.json")]), "the run's own");
    assert!(taken(vec![renamed("sha256sums")]), "the run's own");
}

#[test]
fn the_artifact_of_another_participant_is_refused() {
    let foreign = complete_with("db", vec![artifact("site", "site")], completion("db"));
    working(PAIR).when(foreign).refused(Refusal::Invalid("an artifact given by db is not one of db".into()));
}

#[test]
fn only_a_participant_at_work_can_progress_complete_or_fail() {
    for who in ["site", "nobody"] {
        working(PAIR).when(complete(who)).refused(Refusal::OutOfOrder);
        working(PAIR).when(fail(who, FailureKind::Fatal)).refused(Refusal::OutOfOrder);
        working(PAIR)
            .when(RunCommand::Progress { of: FIRST, progress: progress(who, 1, 2) })
            .refused(Refusal::OutOfOrder);
    }
    let after = working(PAIR).when(complete("db")).granted();
    after.clone().when(complete("db")).refused(Refusal::OutOfOrder);
    after.when(fail("db", FailureKind::Fatal)).refused(Refusal::OutOfOrder);
}

#[test]
fn progress_is_recorded_as_it_comes() {
    let step = progress("db", 50, 100);
    let run = working(PAIR)
        .when(RunCommand::Progress { of: FIRST, progress: step.clone() })
        .then_do([RunEvent::ParticipantProgressed(step.clone())], []);
    assert_eq!(run.state().participants()[0].progress, Some(step));
}

#[test]
fn a_queued_run_that_is_cancelled_has_ended() {
    let summary = "cancelled while it waited in the queue: enough";
    queued(PAIR).when(cancel()).then_do(
        [cancel_requested(), cancelled("db"), cancelled("site"), ended(Outcome::Cancelled, summary)],
        [RunEffect::Ended],
    );
}

#[test]
fn a_run_cancelled_while_it_makes_ready_ends_when_its_directory_answers() {
    let asked = preparing(PAIR).when(cancel()).then_do([cancel_requested(), cancelled("db"), cancelled("site")], []);
    asked
        .clone()
        .when(RunCommand::DirectoryReady)
        .then_do([classified(Outcome::Cancelled, "cancelled: enough")], [RunEffect::Seal]);
    asked
        .when(RunCommand::DirectoryFailed(failure(FailureKind::Resource)))
        .then_do([ended(Outcome::Cancelled, "it did not work (CODE)")], [RunEffect::Ended]);
}

#[test]
fn a_run_cancelled_at_work_waits_for_those_that_write_and_starts_no_other() {
    let asked =
        working(PAIR).when(cancel()).then_do([cancel_requested(), cancelled("site")], [RunEffect::CancelParticipants]);
    let end = classified(Outcome::Cancelled, "cancelled: enough");
    asked.clone().when(fail("db", FailureKind::Cancelled)).then_do([cancelled("db"), end.clone()], [RunEffect::Seal]);
    // It may have been quicker than the wish, or fail for a reason of its own.
    asked.clone().when(complete("db")).then([stored("db"), completed("db"), end.clone()]);
    asked.when(fail("db", FailureKind::Fatal)).then([failed("db", failure(FailureKind::Fatal)), end]);
}

#[test]
fn cancelling_twice_is_granted_and_changes_nothing() {
    for asked in [preparing(PAIR), working(PAIR)] {
        asked.when(cancel()).granted().when(cancel()).then_do([], []);
    }
}

#[test]
fn a_participant_that_says_cancelled_unasked_has_failed() {
    let reason = failure(FailureKind::Cancelled);
    working(PAIR).when(fail("db", FailureKind::Cancelled)).then([failed("db", reason), begun("site")]);
}

#[test]
fn texts_from_outside_are_cut_to_what_an_event_holds() {
    let long = "x".repeat(9000);
    let huge = Failure { kind: FailureKind::Fatal, code: long.clone(), message: long.clone() };
    let many = Warnings { count: u64::MAX, first: vec![long.clone(); 50] };
    let full = ParticipantCompletedV1 { files: u64::MAX, warnings: many.clone(), notes: many, ..completion("db") };
    let decisions = [
        queued(PAIR).when(RunCommand::Cancel { reason: long.clone() }),
        working(PAIR).when(RunCommand::Fail {
            participant: name("db"),
            of: FIRST,
            failure: huge.clone(),
            output: "o".repeat(99_999),
            may_retry: false,
        }),
        working(PAIR).when(complete_with("db", vec![artifact("db", "db")], full)),
        sealing(PAIR).when(RunCommand::DirectoryLost(huge.clone())),
        sealing(PAIR).when(RunCommand::SealFoundDamage(vec![(name("db"), huge)])),
        sealing(PAIR).and([interrupted("")]).when(recover(Found::Nowhere)),
        working(PAIR).and([stored("db"), completed("db"), begun("site")]).when(RunCommand::Recover {
            found: Found::Running,
            broken: vec![(name("db"), long)],
            taken_over: Timestamp(0),
            stopped: false,
        }),
    ];
    for then in decisions {
        for event in then.decision().as_ref().expect("granted") {
            assert!(event.encode().is_ok(), "{event:?}");
        }
    }
}
