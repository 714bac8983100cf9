//! The rules of a participant's supervision, each as given / when / then.

use super::*;
use crate::given::{Given, given};

fn run(counter: u32) -> RunId {
    RunId::new(Timestamp(0), counter)
}

fn work(counter: u32, attempt: u32) -> Work {
    Work { run_id: run(counter), attempt, try_number: 1 }
}

fn start(counter: u32, attempt: u32) -> ParticipantCommand {
    ParticipantCommand::Start { participant: "db".parse().expect("a name"), work: work(counter, attempt) }
}

fn done(counter: u32) -> ParticipantCommand {
    ParticipantCommand::Completed(work(counter, 1))
}

fn fail(counter: u32, failure: &Failure) -> ParticipantCommand {
    ParticipantCommand::Failed { work: work(counter, 1), failure: failure.clone() }
}

fn started(counter: u32, attempt: u32) -> ParticipantEvent {
    let participant = "db".parse().expect("a name");
    ParticipantEvent::WorkStarted(WorkStartedV1 { participant, run_id: run(counter), attempt, try_number: 1 })
}

fn abandoned(counter: u32, attempt: u32) -> ParticipantEvent {
    ParticipantEvent::AttemptAbandoned(AttemptAbandonedV1 { run_id: run(counter), attempt })
}

fn completed(counter: u32) -> ParticipantEvent {
    ParticipantEvent::WorkCompleted(WorkCompletedV1 { run_id: run(counter) })
}

fn failed(counter: u32, failure: &Failure) -> ParticipantEvent {
    ParticipantEvent::WorkFailed(WorkFailedV1 { run_id: run(counter), failure: failure.clone() })
}

fn quarantined() -> ParticipantEvent {
    ParticipantEvent::Quarantined(ParticipantQuarantinedV1 { failures: QUARANTINE_AFTER })
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "CODE", "it did not work")
}

fn at_work() -> Given<Participant> {
    given([started(1, 1)])
}

/// One that failed so often that it is in quarantine, and is at work for one more run.
fn in_quarantine() -> Given<Participant> {
    let bad = failure(FailureKind::Retryable);
    let failures = (1..=QUARANTINE_AFTER).flat_map(|counter| [started(counter, 1), failed(counter, &bad)]);
    given(failures.chain([quarantined(), started(9, 1)]))
}

#[test]
fn it_works_for_one_run_and_is_free_again() {
    let free = given::<Participant>([])
        .when(start(1, 1))
        .then_do([started(1, 1)], [ParticipantEffect::Drive(work(1, 1))])
        .when(done(1))
        .then_do([completed(1)], []);
    let free = free.state();
    assert_eq!((free.at_work(), free.good_runs().next()), (None, Some((run(1), Timestamp(0)))));
    assert_eq!(free.standing(), Standing::Idle);
}

#[test]
fn the_same_work_is_not_begun_beside_itself() {
    at_work().when(start(1, 1)).refused(ParticipantRefusal::AtWork(run(1)));
}

#[test]
fn work_that_a_dead_process_left_is_abandoned_by_the_next() {
    for next in [start(1, 2), start(2, 1)] {
        let ParticipantCommand::Start { work, .. } = next.clone() else { panic!("a start") };
        let begun = started(work.run_id.counter(), work.attempt);
        let run = at_work().when(next).then_do([abandoned(1, 1), begun], [ParticipantEffect::Drive(work.clone())]);
        assert_eq!(run.state().at_work(), Some(&work));
    }
    at_work().when(ParticipantCommand::Abandon).then_do([abandoned(1, 1)], []);
    given::<Participant>([]).when(ParticipantCommand::Abandon).then_do([], []);
}

#[test]
fn the_processes_of_its_work_are_known_until_it_ends() {
    let child = ChildV1 { child_id: Uuid::from_u128(7), group: 4711, started: 99, boot_id: Uuid::nil() };
    let event = ParticipantEvent::ChildStarted(ChildStartedV1 { run_id: run(1), child });
    let with_child = at_work().when(ParticipantCommand::ChildStarted { work: work(1, 1), child }).then([event.clone()]);
    assert_eq!(with_child.state().children(), [child]);
    for end in [done(1), fail(1, &failure(FailureKind::Fatal))] {
        assert_eq!(with_child.clone().when(end).granted().state().children(), []);
    }
    // What could not be ended, and what a dead process left, is looked for again.
    let not_ended = Failure::new(FailureKind::Fatal, NOT_ENDED, "it does not end");
    for end in [fail(1, &not_ended), ParticipantCommand::Abandon] {
        let left = with_child.clone().when(end).granted().when(start(2, 1)).granted();
        assert_eq!(left.state().children(), [child]);
        assert_eq!(left.when(done(2)).granted().state().children(), []);
    }
    let late = ParticipantCommand::ChildStarted { work: work(1, 2), child };
    at_work().when(late).refused(ParticipantRefusal::NotAtWork);
    let full = at_work().and(vec![event; MAX_CHILDREN]);
    let more = ChildV1 { group: 1, ..child };
    let full = full.when(ParticipantCommand::ChildStarted { work: work(1, 1), child: more }).granted();
    assert_eq!((full.state().children().len(), full.state().children().last()), (MAX_CHILDREN, Some(&more)));
}

#[test]
fn failures_in_a_row_are_counted_until_it_is_good_once() {
    let bad = failure(FailureKind::Fatal);
    let mut state = at_work();
    for counter in 2..5 {
        state = state
            .when(fail(counter - 1, &bad))
            .then_do([failed(counter - 1, &bad)], [])
            .when(start(counter, 1))
            .then([started(counter, 1)]);
    }
    let bad_state = state.state();
    assert_eq!((bad_state.failures_in_a_row(), bad_state.last_failure()), (3, Some((&bad, Timestamp(0)))));
    let good = state.when(done(4)).then([completed(4)]);
    assert_eq!((good.state().failures_in_a_row(), good.state().last_failure()), (0, None));
}

#[test]
fn one_failure_too_many_in_a_row_puts_it_into_quarantine() {
    let bad = failure(FailureKind::Timeout);
    let mut state = at_work();
    for counter in 1..QUARANTINE_AFTER {
        state = state.when(fail(counter, &bad)).then([failed(counter, &bad)]).and([started(counter + 1, 1)]);
    }
    let state = state.when(fail(QUARANTINE_AFTER, &bad)).then([failed(QUARANTINE_AFTER, &bad), quarantined()]);
    assert_eq!(state.state().standing(), Standing::Quarantined);
    let again = state.and([started(9, 1)]).when(fail(9, &bad)).then([failed(9, &bad)]);
    assert!(again.state().is_quarantined(), "and it stays there");
}

#[test]
fn what_endpoints_do_not_take_is_no_fault_of_the_participant() {
    let not_taken = Failure::new(FailureKind::Retryable, NOT_TAKEN, "no endpoint takes the artifacts");
    let mut state: Given<Participant> = given([]);
    for counter in 1..=2 * QUARANTINE_AFTER {
        state =
            state.when(start(counter, 1)).granted().when(fail(counter, &not_taken)).then([failed(counter, &not_taken)]);
    }
    assert!(!state.state().is_quarantined() && state.state().failures_in_a_row() == 0);
    assert_eq!(state.state().last_failure().map(|(failure, _)| failure), Some(&not_taken));
}

#[test]
fn quarantine_ends_with_a_good_run_or_when_somebody_says_so() {
    let lifted = |reason: &str| ParticipantEvent::QuarantineLifted(QuarantineLiftedV1 { reason: reason.into() });
    let by_run = in_quarantine().when(done(9)).then([completed(9), lifted(&format!("it was good in run {}", run(9)))]);
    assert_eq!((by_run.state().standing(), by_run.state().failures_in_a_row()), (Standing::Idle, 0));
    let lift = ParticipantCommand::LiftQuarantine { reason: "asked".into() };
    let by_hand = in_quarantine().when(lift.clone()).then_do([lifted("asked")], []);
    assert!(!by_hand.state().is_quarantined());
    by_hand.when(lift).refused(ParticipantRefusal::NotQuarantined);
}

#[test]
fn being_told_to_stop_or_losing_its_process_is_no_failure_of_its_own() {
    let stop = failure(FailureKind::Cancelled);
    let run = at_work().when(fail(1, &stop)).then([failed(1, &stop)]);
    assert_eq!((run.state().failures_in_a_row(), run.state().last_failure()), (0, None));
    assert_eq!(at_work().and([abandoned(1, 1)]).state().failures_in_a_row(), 0);
}

#[test]
fn what_does_not_return_is_stuck_and_nothing_is_begun_until_it_does() {
    let late = failure(FailureKind::Timeout);
    let stuck = ParticipantEvent::WorkStuck(WorkStuckV1 { run_id: run(1), failure: late.clone() });
    let say = ParticipantCommand::Stuck { work: work(1, 1), failure: late };
    let state = at_work().when(say.clone()).then_do([stuck], []);
    assert_eq!((state.state().standing(), state.state().failures_in_a_row()), (Standing::Stuck, 1));
    state.clone().when(say).then_do([], []);
    state.clone().when(start(2, 1)).refused(ParticipantRefusal::Stuck(run(1)));
    // Whatever it says when it comes back, it comes too late.
    let returned = ParticipantEvent::WorkReturned(WorkReturnedV1 { run_id: run(1) });
    for answer in [done(1), fail(1, &failure(FailureKind::Fatal))] {
        let back = state.clone().when(answer).then_do([returned.clone()], []);
        assert_eq!((back.state().standing(), back.state().good_runs().next()), (Standing::Idle, None));
    }
    state.when(ParticipantCommand::Abandon).then([abandoned(1, 1)]).when(start(2, 1)).then([started(2, 1)]);
}

#[test]
fn an_answer_of_other_work_is_refused() {
    let bad = failure(FailureKind::Fatal);
    for state in [given::<Participant>([]), at_work(), given([started(1, 1), started(1, 2)])] {
        let other = Work { try_number: 2, ..work(1, 1) };
        state.clone().when(ParticipantCommand::Completed(other.clone())).refused(ParticipantRefusal::NotAtWork);
        let late = ParticipantCommand::Failed { work: other, failure: bad.clone() };
        state.when(late).refused(ParticipantRefusal::NotAtWork);
    }
}

#[test]
fn who_is_told_to_stand_still_is_owed_a_thaw_until_it_is_let_go() {
    let child = ChildV1 { child_id: Uuid::from_u128(9), group: 7, started: 5, boot_id: Uuid::from_u128(8) };
    let freeze = || ParticipantCommand::Freeze { run_id: run(1), children: vec![child] };
    let thawed = |number| ParticipantCommand::Thawed { run_id: run(number) };
    let still = given::<Participant>([])
        .when(freeze())
        .then([ParticipantEvent::FreezeRequested(FreezeRequestedV1 { run_id: run(1), children: vec![child] })]);
    assert_eq!((still.state().owes_thaw(), still.state().children()), (Some(run(1)), &[child][..]));
    // Neither the next process nor the answer of another run says that it was let go.
    let still = still.when(ParticipantCommand::Abandon).then([]).when(thawed(2)).then([]);
    let free = still.when(thawed(1)).then([ParticipantEvent::Thawed(ThawedV1 { run_id: run(1) })]);
    assert_eq!((free.state().owes_thaw(), free.state().children()), (None, &[][..]));
    free.when(thawed(1)).then([]);
}

#[test]
fn processes_that_wait_for_a_freeze_are_bounded() {
    let child = |number| ChildV1 { child_id: Uuid::from_u128(number), group: 7, started: 5, boot_id: Uuid::nil() };
    let children = (0..100).map(child).collect();
    let still = given::<Participant>([]).when(ParticipantCommand::Freeze { run_id: run(1), children }).granted();
    assert_eq!(still.state().children().len(), MAX_GATED);
}

#[test]
fn one_that_is_owed_a_thaw_is_not_made_to_stand_still_again() {
    let freeze = |counter| ParticipantCommand::Freeze { run_id: run(counter), children: Vec::new() };
    let asked =
        |counter| ParticipantEvent::FreezeRequested(FreezeRequestedV1 { run_id: run(counter), children: Vec::new() });
    let thawed = |counter| ParticipantEvent::Thawed(ThawedV1 { run_id: run(counter) });
    let owed = at_work().when(freeze(1)).then([asked(1)]);
    for counter in [1, 2] {
        owed.clone().when(freeze(counter)).refused(ParticipantRefusal::ThawOwed(run(1)));
    }
    let paid = owed.when(ParticipantCommand::Thawed { run_id: run(1) }).then([thawed(1)]);
    paid.when(freeze(2)).then([asked(2)]);
}

#[test]
fn what_fails_in_a_barrier_counts_as_any_failure_does() {
    let fails = |counter, kind| ParticipantCommand::BarrierFailed { run_id: run(counter), failure: failure(kind) };
    let failed = |counter, kind| {
        ParticipantEvent::BarrierFailed(BarrierFailedV1 { run_id: run(counter), failure: failure(kind) })
    };
    let mut state = given::<Participant>([]);
    for counter in 1..QUARANTINE_AFTER {
        state = state.when(fails(counter, FailureKind::Timeout)).then([failed(counter, FailureKind::Timeout)]);
        assert_eq!(state.state().failures_in_a_row(), counter);
    }
    // Being told to stop does not.
    state = state.when(fails(8, FailureKind::Cancelled)).then([]);
    let state = state.when(fails(9, FailureKind::Fatal)).then([failed(9, FailureKind::Fatal), quarantined()]);
    assert_eq!((state.state().standing(), state.state().last_run()), (Standing::Quarantined, Some(run(9))));
    assert!(state.state().last_failure().is_some());
    let state = state.when(fails(10, FailureKind::Fatal)).then([failed(10, FailureKind::Fatal)]);
    // Its failures are over once it has written what it had at the moment of a barrier.
    let state = state.when(start(11, 1)).granted().when(done(11)).granted();
    assert_eq!((state.state().standing(), state.state().failures_in_a_row()), (Standing::Idle, 0));
}

#[test]
fn what_is_stuck_is_not_counted_once_more_in_a_barrier() {
    let stuck = ParticipantCommand::Stuck { work: work(1, 1), failure: failure(FailureKind::Timeout) };
    let stuck = at_work().when(stuck).granted();
    let barrier = ParticipantCommand::BarrierFailed { run_id: run(2), failure: failure(FailureKind::Fatal) };
    assert_eq!(stuck.when(barrier).then([]).state().failures_in_a_row(), 1);
}
