//! What is concluded of a run whose process died: every stage, wherever its directory is found.

use super::*;

const GONE: &str = "the process that worked on attempt 1 is gone";

/// One completed participant, one at work, one waiting.
fn half_done() -> Given<Run> {
    let plan: &Plan = &[("db", CRITICAL), ("site", OPTIONAL), ("mail", OPTIONAL)];
    working(plan).and([stored("db"), completed("db"), begun("site")])
}

#[test]
fn a_queued_run_keeps_its_turn_within_the_window_and_ends_after_it() {
    queued(PAIR).when(recover_after(WINDOW, Found::Nowhere)).then_do([], []);
    let summary = "interrupted 601 s ago, and runs are resumed within 600 s (RESUME_WINDOW_PASSED)";
    queued(PAIR).when(recover_after(WINDOW + 1, Found::Nowhere)).then_do(
        [
            skipped("db", "the run ended before"),
            skipped("site", "the run ended before"),
            ended(Outcome::Failed, summary),
        ],
        [RunEffect::Ended],
    );
}

#[test]
fn what_completed_is_kept_and_what_was_at_work_runs_again() {
    let run = half_done()
        .when(recover(Found::Running))
        .then_do(
            [interrupted(GONE), resumed(2), reset("site", "it was at work when the process died")],
            [RunEffect::PrepareDirectory],
        )
        .when(RunCommand::DirectoryReady)
        .then_do([begun("site")], [RunEffect::StartParticipant(name("site"))]);
    assert_eq!((run.state().attempt(), run.state().good_artifacts().count()), (2, 1));
}

#[test]
fn what_completed_but_is_not_as_recorded_runs_again() {
    let broken = vec![(name("db"), "db.lz4 is 3 bytes short".to_owned()), (name("nobody"), "?".to_owned())];
    let run = half_done()
        .when(RunCommand::Recover { found: Found::Running, broken, taken_over: Timestamp(0), stopped: false })
        .then([
            interrupted(GONE),
            resumed(2),
            reset("db", "db.lz4 is 3 bytes short"),
            reset("site", "it was at work when the process died"),
        ]);
    let db = &run.state().participants()[0];
    assert_eq!((db.status, db.tries, db.files, db.artifacts.len()), (ParticipantStatus::Pending, 0, 0, 0));
}

#[test]
fn with_the_directory_gone_all_run_again() {
    half_done().when(recover(Found::Nowhere)).then([
        interrupted(GONE),
        resumed(2),
        reset("db", "the run directory is gone"),
        reset("site", "it was at work when the process died"),
    ]);
}

#[test]
fn what_failed_in_one_attempt_is_tried_in_the_next() {
    let run = half_done().and([failed("site", failure(FailureKind::Fatal)), begun("mail")]);
    let run = run.when(recover(Found::Running)).then([
        interrupted(GONE),
        resumed(2),
        reset("site", "it runs again in each attempt"),
        reset("mail", "it was at work when the process died"),
    ]);
    assert_eq!(run.state().participants()[1].failure, None);
}

#[test]
fn a_run_whose_participants_all_completed_is_sealed_without_another_start() {
    // The process died while it made ready for what was left, and that is nothing any more.
    let all = sealing(PAIR).and([interrupted(GONE), resumed(2)]);
    all.when(RunCommand::DirectoryReady).then_do([classified(Outcome::Completed, "")], [RunEffect::Seal]);
}

#[test]
fn after_its_last_attempt_a_run_ends_with_what_it_has() {
    let last = half_done().and([interrupted(""), resumed(3), reset("site", ""), begun("site")]);
    let why = Failure::new(FailureKind::Fatal, "ATTEMPTS_EXHAUSTED", "interrupted in attempt 3 of 3");
    let run = last.when(recover(Found::Running)).then_do(
        [
            interrupted("the process that worked on attempt 3 is gone"),
            failed("site", why),
            skipped("mail", "interrupted in attempt 3 of 3"),
            classified(Outcome::Failed, "interrupted in attempt 3 of 3 (ATTEMPTS_EXHAUSTED)"),
        ],
        [RunEffect::Seal],
    );
    assert_eq!(run.state().good_artifacts().count(), 1, "the good participant's artifacts stay restorable");
}

#[test]
fn after_the_window_a_run_ends_with_what_it_has() {
    let run = half_done().when(recover_after(WINDOW + 1, Found::Running)).granted();
    assert_eq!((run.state().stage(), run.state().outcome()), (Stage::Sealing, Some(Outcome::Failed)));
    assert!(run.state().error_summary().ends_with("(RESUME_WINDOW_PASSED)"), "{}", run.state().error_summary());
}

#[test]
fn a_clock_that_stepped_back_does_not_close_the_window() {
    half_done().when(recover_after(-10_000, Found::Running)).granted().when(RunCommand::DirectoryReady).granted();
}

#[test]
fn a_cancelled_run_is_not_taken_up_again() {
    let asked = half_done().when(cancel()).granted();
    asked.clone().when(recover(Found::Running)).then_do(
        [interrupted(GONE), cancelled("site"), classified(Outcome::Cancelled, "cancelled: enough")],
        [RunEffect::Seal],
    );
    let run = asked.when(recover(Found::Nowhere)).granted();
    assert_eq!((run.state().stage(), run.state().outcome()), (Stage::Ended, Some(Outcome::Cancelled)));
}

#[test]
fn sealing_and_publishing_are_asked_for_again() {
    let seal = interrupted("it was being sealed");
    sealing(PAIR).when(recover(Found::Running)).then_do([seal.clone()], [RunEffect::Seal]);
    let publish = interrupted("it was being published");
    for found in [Found::Running, Found::Published] {
        let effect = RunEffect::Publish(Target::Completed);
        publishing(PAIR).when(recover(found)).then_do([publish.clone()], [effect]);
    }
    // After the rename, damage led back to sealing: the directory lies where it was published.
    publishing(PAIR).when(damage("db")).granted().when(recover(Found::Published)).then_do([seal], [RunEffect::Seal]);
}

#[test]
fn a_directory_found_nowhere_ends_the_run_with_that_reason() {
    let why = "the run directory was found neither where the run works nor where it was to be published";
    let missing = Failure::new(FailureKind::Fatal, "RUN_DIRECTORY_MISSING", why);
    for at in [sealing(PAIR), publishing(PAIR)] {
        at.when(recover(Found::Nowhere)).then_do(
            [
                interrupted("its directory is gone"),
                failed("db", missing.clone()),
                failed("site", missing.clone()),
                ended(Outcome::Failed, &missing.to_string()),
            ],
            [RunEffect::Ended],
        );
    }
}

#[test]
fn a_deletion_is_asked_for_again_and_an_ended_run_is_left_alone() {
    let deleting = kept(PAIR).and([deletion()]);
    deleting.when(recover(Found::Nowhere)).then_do([interrupted("it was being deleted")], [RunEffect::Delete]);
    for found in [Found::Running, Found::Published, Found::Nowhere] {
        kept(PAIR).when(recover(found)).then_do([], []);
        kept(PAIR).and([deletion(), deleted()]).when(recover(found)).then_do([], []);
    }
}

/// Whatever was found, recovery leaves a run that goes on, or one that has ended with a reason.
#[test]
fn in_every_case_the_run_goes_on_or_has_ended_with_a_reason() {
    let mut cases = 0;
    for stage in [queued(PAIR), preparing(PAIR), working(PAIR), half_done(), sealing(PAIR), publishing(PAIR)] {
        for found in [Found::Running, Found::Published, Found::Nowhere] {
            for broken in [vec![], vec![(name("db"), "broken".to_owned())]] {
                for later in [0, WINDOW + 1] {
                    for attempt in 1..=ATTEMPTS {
                        for asked in [false, true] {
                            let mut run = stage.clone();
                            if attempt > 1 && !matches!(run.state().stage(), Stage::Queued) {
                                // Told in one event: what it sets back is the same as in an attempt of its own.
                                let before = run.state().stage();
                                run = run.and([resumed(attempt)]);
                                run = match before {
                                    Stage::Working => run.and([reset("site", ""), begun("site")]),
                                    Stage::Sealing => run.and([classified(Outcome::Completed, "")]),
                                    Stage::Publishing => run.and([publish_requested(Target::Completed)]),
                                    _ => run,
                                };
                            }
                            if asked && matches!(run.state().stage(), Stage::Preparing | Stage::Working) {
                                run = run.when(cancel()).granted();
                            }
                            let command = RunCommand::Recover {
                                found,
                                broken: broken.clone(),
                                taken_over: Timestamp(0),
                                stopped: false,
                            };
                            check_recovered(&run.seconds_later(later).when(command).granted());
                            cases += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(cases, 6 * 3 * 2 * 2 * 3 * 2);
}

fn check_recovered(run: &Given<Run>) {
    let state = run.state();
    let open = state.participants().iter().any(|participant| participant.status.is_open());
    match state.stage() {
        Stage::Queued => assert!(open && state.attempt() == 0),
        // Nobody is at work for a process that is gone, and the attempts are bounded.
        Stage::Preparing => {
            assert!(!statuses(run).contains(&ParticipantStatus::Running));
            assert!(state.attempt() <= ATTEMPTS && !state.cancel_requested());
        }
        Stage::Sealing | Stage::Publishing => {
            assert!(!open);
            assert_eq!(state.error_summary().is_empty(), state.outcome() == Some(Outcome::Completed));
        }
        Stage::Ended => {
            assert!(!open && !state.error_summary().is_empty());
            assert_eq!(state.good_artifacts().count(), 0);
        }
        Stage::Unknown | Stage::Barrier | Stage::Working => panic!("{:?} after recovery", state.stage()),
    }
}

#[test]
fn a_run_that_waits_behind_another_one_is_not_too_late_for_that() {
    half_done().seconds_later(10 * WINDOW).when(recover_after(WINDOW, Found::Running)).then([
        interrupted(GONE),
        resumed(2),
        reset("site", "it was at work when the process died"),
    ]);
}

#[test]
fn a_run_that_was_open_when_the_program_was_stopped_says_so() {
    let stopped =
        RunCommand::Recover { found: Found::Running, broken: Vec::new(), taken_over: Timestamp(0), stopped: true };
    let run = half_done().when(stopped);
    let events = run.decision().clone().expect("granted");
    let reason = "the program was stopped while attempt 1 was at work";
    assert_eq!(events.first(), Some(&interrupted(reason)));
}
