//! The barrier in the life of a run.

use super::*;

fn barrier_plan(plan: &Plan) -> Vec<RunEvent> {
    let mut events = requested(plan);
    if let Some(RunEvent::Requested(request)) = events.first_mut() {
        request.consistency = Consistency::Barrier;
    }
    events
}

fn standing(plan: &Plan) -> Given<Run> {
    given(barrier_plan(plan)).and([started(), wanted()])
}

fn wanted() -> RunEvent {
    RunEvent::BarrierRequested(BarrierRequestedV1 { budget_ms: 10_000 })
}

fn times(participant: &str) -> ParticipantFrozenV1 {
    let participant = name(participant);
    ParticipantFrozenV1 { participant, prepare_us: 1, freeze_us: 2, capture_us: 3, thaw_us: 4, held_us: 10 }
}

fn frozen(participant: &str) -> RunEvent {
    RunEvent::ParticipantFrozen(times(participant))
}

const MOMENT: Barrier = Barrier { at: Timestamp(7), longest_us: 12 };

fn held() -> RunEvent {
    RunEvent::BarrierCompleted(BarrierCompletedV1 { at: MOMENT.at, longest_us: MOMENT.longest_us })
}

fn aborted(failure: Failure) -> RunEvent {
    RunEvent::BarrierAborted(BarrierAbortedV1 { failure })
}

fn stood(participants: &[&str], left_out: &[&str]) -> RunCommand {
    let left_out = left_out.iter().map(|one| not_frozen(one)).collect();
    RunCommand::BarrierHeld(Held {
        barrier: MOMENT,
        frozen: participants.iter().map(|one| times(one)).collect(),
        left_out,
    })
}

fn not_frozen(participant: &str) -> NotFrozen {
    NotFrozen { participant: name(participant), failure: failure(FailureKind::Fatal), output: String::new() }
}

const SKIPPED: &str = "the barrier was aborted, because of db";

#[test]
fn all_stand_still_before_the_first_writes() {
    let run = given::<Run>(barrier_plan(PAIR))
        .and([started()])
        .when(RunCommand::DirectoryReady)
        .then_do([wanted()], [RunEffect::Barrier])
        .when(stood(&["db", "site"], &[]))
        .then_do([frozen("db"), frozen("site"), held(), begun("db")], [RunEffect::StartParticipant(name("db"))]);
    assert_eq!((run.state().stage(), run.state().barrier()), (Stage::Working, Some(MOMENT)));
}

#[test]
fn one_that_fails_ends_it_for_all() {
    let by = Some(not_frozen("db"));
    let command = RunCommand::BarrierFailed { failure: failure(FailureKind::Fatal), by };
    let summary = format!("db: it did not work (CODE); site: {SKIPPED} (NOT_RUN)");
    let run = standing(PAIR).when(command).then_do(
        [
            aborted(failure(FailureKind::Fatal)),
            failed("db", failure(FailureKind::Fatal)),
            skipped("site", SKIPPED),
            classified(Outcome::Failed, &summary),
        ],
        [RunEffect::Seal],
    );
    assert_eq!(run.state().barrier(), None);
}

#[test]
fn an_optional_one_that_is_left_out_fails_alone_and_one_that_was_not_there_too() {
    standing(PAIR).when(stood(&["db"], &["site"])).then([
        frozen("db"),
        held(),
        failed("site", failure(FailureKind::Fatal)),
        begun("db"),
    ]);
    let missed = Failure::new(FailureKind::Fatal, "BARRIER_MISSED", "it did not stand still with the others");
    standing(PAIR).when(stood(&["db", "db", "nobody"], &["nobody"])).then([
        frozen("db"),
        held(),
        failed("site", missed),
        begun("db"),
    ]);
}

#[test]
fn who_cancels_meanwhile_has_it_aborted_and_nothing_is_written() {
    let over = || Failure::new(FailureKind::Cancelled, "CANCELLED", "the run was cancelled");
    let ends = || {
        standing(PAIR)
            .when(cancel())
            .then_do([cancel_requested(), cancelled("db"), cancelled("site")], [RunEffect::AbortBarrier])
    };
    // Whether it had held already or not.
    ends()
        .when(stood(&["db", "site"], &[]))
        .then([aborted(over()), classified(Outcome::Cancelled, "cancelled: enough")]);
    let failed = RunCommand::BarrierFailed { failure: over(), by: Some(not_frozen("db")) };
    ends().when(failed).then([aborted(over()), classified(Outcome::Cancelled, "cancelled: enough")]);
}

#[test]
fn a_late_answer_is_not_taken() {
    let run = standing(PAIR).and([frozen("db"), frozen("site"), held(), begun("db")]);
    run.when(stood(&["db", "site"], &[])).refused(Refusal::OutOfOrder);
}

#[test]
fn what_a_process_died_over_is_aborted_and_made_again_for_all() {
    let lost = "the process that held the participants is gone";
    let lost = Failure::new(FailureKind::Retryable, "BARRIER_INTERRUPTED", lost);
    let gone = "the process that worked on attempt 1 is gone";
    standing(PAIR)
        .when(recover(Found::Running))
        .then_do([interrupted(gone), aborted(lost), resumed(2)], [RunEffect::PrepareDirectory])
        .when(RunCommand::DirectoryReady)
        .then_do([wanted()], [RunEffect::Barrier]);
    // What was written of a moment that is gone does not count.
    let run = standing(PAIR).and([frozen("db"), frozen("site"), held(), begun("db"), stored("db"), completed("db")]);
    let run = run.and([begun("site")]).when(recover(Found::Running)).then([
        interrupted(gone),
        resumed(2),
        reset("db", "the moment it is of is gone: the barrier is made again, for all"),
        reset("site", "it was at work when the process died"),
    ]);
    assert_eq!(run.state().barrier(), None);
    assert!(run.state().participants().iter().all(|one| one.frozen.is_none()));
    run.when(RunCommand::DirectoryReady).then([wanted()]);
}

#[test]
fn each_is_frozen_after_those_it_depends_on() {
    let mut events = barrier_plan(&[("c", CRITICAL), ("b", CRITICAL), ("a", CRITICAL)]);
    for (at, after) in [(1, vec![name("a"), name("b")]), (2, vec![name("a")])] {
        if let Some(RunEvent::ParticipantPlanned(plan)) = events.get_mut(at) {
            plan.depends_on = after;
        }
    }
    let run = given::<Run>(events);
    let order: Vec<_> = run.state().freeze_order().iter().map(|one| one.name.to_string()).collect();
    assert_eq!(order, ["a", "b", "c"]);
}
