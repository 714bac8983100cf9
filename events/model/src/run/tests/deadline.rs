//! How long an attempt may take, and what becomes of a run that takes longer.

use super::*;

const LIMIT_MS: u64 = 90_000;
const MESSAGE: &str = "attempt 1 of the run took 1 min 30 s, which is the most it may";

/// A run with a deadline whose turn has come.
fn limited(plan: &Plan, consistency: Consistency) -> Given<Run> {
    let mut new = new_run(plan);
    new.request.timeout_ms = LIMIT_MS;
    new.request.consistency = consistency;
    new.participants.iter_mut().for_each(|one| one.max_tries = 2);
    given::<Run>([]).when(RunCommand::Request(new)).granted()
}

fn at_work(plan: &Plan) -> Given<Run> {
    limited(plan, Consistency::Concurrent).and([started(), begun(plan[0].0)])
}

fn time_is_up(attempt: u32) -> RunCommand {
    RunCommand::TimedOut { attempt }
}

fn timed_out() -> RunEvent {
    RunEvent::TimedOut(RunTimedOutV1 { attempt: 1, timeout_ms: LIMIT_MS })
}

fn too_late() -> Failure {
    Failure::new(FailureKind::Timeout, "RUN_TIMEOUT", MESSAGE)
}

const NOT_BEGUN: &str = "the run's time was up before";

#[test]
fn the_clock_starts_with_each_attempt_and_not_in_the_queue() {
    let deadline = |attempt| RunEffect::Deadline { attempt, after_ms: LIMIT_MS };
    let queued = limited(PAIR, Consistency::Concurrent);
    queued.clone().when(time_is_up(0)).refused(Refusal::OutOfOrder);
    let run = queued.when(RunCommand::Start).then_do([started()], [RunEffect::PrepareDirectory, deadline(1)]);
    let run = run.and([begun("db")]);
    let lost = "the process that worked on attempt 1 is gone";
    run.when(recover(Found::Running))
        .then_do(
            [interrupted(lost), resumed(2), reset("db", "it was at work when the process died")],
            [RunEffect::PrepareDirectory, deadline(2)],
        )
        .when(time_is_up(1))
        .refused(Refusal::OutOfOrder);
}

#[test]
fn a_run_without_a_deadline_has_none() {
    preparing(PAIR).when(time_is_up(1)).refused(Refusal::OutOfOrder);
    queued(PAIR).when(RunCommand::Start).then_do([started()], [RunEffect::PrepareDirectory]);
}

#[test]
fn who_is_at_work_is_stopped_and_who_is_not_is_never_begun() {
    let run = at_work(PAIR)
        .when(time_is_up(1))
        .then_do([timed_out(), skipped("site", NOT_BEGUN)], [RunEffect::CancelParticipants])
        .when(fail("db", FailureKind::Cancelled))
        .then_do(
            [
                failed("db", too_late()),
                classified(Outcome::Timeout, &format!("{MESSAGE}; at work then: db; not begun: site")),
            ],
            [RunEffect::Seal],
        );
    assert_eq!(statuses(&run), [ParticipantStatus::Timeout, ParticipantStatus::Skipped]);
    run.when(sealed())
        .then([publish_requested(Target::Failed)])
        .when(RunCommand::Published { copies: Vec::new() })
        .then_do([published(Outcome::Timeout)], [RunEffect::Ended])
        .when(time_is_up(1))
        .refused(Refusal::OutOfOrder);
}

#[test]
fn who_fails_or_completes_after_all_keeps_that_and_the_run_is_too_late_all_the_same() {
    let stopping = at_work(&[("db", CRITICAL)]).when(time_is_up(1)).then([timed_out()]);
    stopping.clone().when(complete("db")).then([stored("db"), completed("db"), classified(Outcome::Timeout, MESSAGE)]);
    // There is no time for another try.
    stopping.when(fail("db", FailureKind::Retryable)).then([
        failed("db", failure(FailureKind::Retryable)),
        classified(Outcome::Timeout, &format!("{MESSAGE}; failed before: db")),
    ]);
}

#[test]
fn who_waits_for_another_try_has_been_at_work() {
    let run = at_work(&[("db", CRITICAL)]).when(fail("db", FailureKind::Retryable)).granted();
    let message = format!("{MESSAGE}; its last try failed: {}", failure(FailureKind::Retryable));
    let ended = failed("db", Failure::new(FailureKind::Timeout, "RUN_TIMEOUT", message));
    run.when(time_is_up(1))
        .then([timed_out(), ended, classified(Outcome::Timeout, &format!("{MESSAGE}; at work then: db"))])
        .when(RunCommand::Retry { participant: name("db"), of: FIRST })
        .refused(Refusal::OutOfOrder);
}

#[test]
fn before_there_is_a_directory_its_answer_goes_on() {
    let run = limited(PAIR, Consistency::Concurrent).and([started()]);
    let run = run.when(time_is_up(1)).then_do([timed_out(), skipped("db", NOT_BEGUN), skipped("site", NOT_BEGUN)], []);
    run.clone()
        .when(RunCommand::DirectoryReady)
        .then([classified(Outcome::Timeout, &format!("{MESSAGE}; not begun: db, site"))]);
    let full = failure(FailureKind::Resource);
    run.when(RunCommand::DirectoryFailed(full.clone())).then([ended(Outcome::Timeout, &full.to_string())]);
}

#[test]
fn a_barrier_is_aborted_and_what_it_held_does_not_count() {
    let barrier = RunEvent::BarrierRequested(BarrierRequestedV1 { budget_ms: 10_000 });
    let run = limited(PAIR, Consistency::Barrier).and([started()]).when(RunCommand::DirectoryReady).then([barrier]);
    let run = run
        .when(time_is_up(1))
        .then_do([timed_out(), skipped("db", NOT_BEGUN), skipped("site", NOT_BEGUN)], [RunEffect::AbortBarrier]);
    let aborted = RunEvent::BarrierAborted(BarrierAbortedV1 { failure: too_late() });
    let end = classified(Outcome::Timeout, &format!("{MESSAGE}; not begun: db, site"));
    let stopped = RunCommand::BarrierFailed { failure: failure(FailureKind::Cancelled), by: None };
    run.clone().when(stopped).then_do([aborted.clone(), end.clone()], [RunEffect::Seal]);
    let barrier = Barrier { at: Timestamp(1), longest_us: 5 };
    let held = RunCommand::BarrierHeld(Held { barrier, frozen: Vec::new(), left_out: Vec::new() });
    run.when(held).then([aborted, end]);
}

#[test]
fn the_first_of_a_cancel_and_a_deadline_says_how_it_ends() {
    let run = at_work(&[("db", CRITICAL)]).when(time_is_up(1)).granted().when(cancel()).then([]);
    run.when(fail("db", FailureKind::Cancelled))
        .then([failed("db", too_late()), classified(Outcome::Timeout, &format!("{MESSAGE}; at work then: db"))]);
    let run = at_work(&[("db", CRITICAL)]).when(cancel()).granted().when(time_is_up(1)).then([]);
    run.when(fail("db", FailureKind::Cancelled))
        .then([cancelled("db"), classified(Outcome::Cancelled, "cancelled: enough")]);
}

#[test]
fn a_process_that_dies_over_it_leaves_a_run_that_is_not_gone_on_with() {
    let run = at_work(PAIR).when(time_is_up(1)).granted();
    run.when(recover(Found::Running)).then([
        interrupted("the process that worked on attempt 1 is gone"),
        failed("db", too_late()),
        classified(Outcome::Timeout, &too_late().to_string()),
    ]);
}

#[test]
fn what_has_ended_in_time_is_read_again_for_as_long_as_that_takes() {
    let done = [started(), begun("db"), stored("db"), completed("db"), classified(Outcome::Completed, "")];
    limited(&[("db", CRITICAL)], Consistency::Concurrent).and(done).when(time_is_up(1)).refused(Refusal::OutOfOrder);
}
