//! More than one try, and more than one participant at work.

use super::*;

/// A run of these participants, changed before it is asked for, up to where they work.
fn run_of(names: &[&'static str], change: impl Fn(&mut NewRun)) -> Given<Run> {
    let plan: Vec<_> = names.iter().map(|name| (*name, CRITICAL)).collect();
    let mut new = new_run(&plan);
    change(&mut new);
    given::<Run>([])
        .when(RunCommand::Request(new))
        .granted()
        .and([started()])
        .when(RunCommand::DirectoryReady)
        .granted()
}

fn with_tries(tries: u32) -> impl Fn(&mut NewRun) {
    move |new| new.participants.iter_mut().for_each(|participant| participant.max_tries = tries)
}

fn in_try(number: u32) -> Try {
    Try { attempt: 1, number }
}

fn again(participant: &str, try_number: u32) -> RunEvent {
    RunEvent::ParticipantStarted(ParticipantStartedV1 { participant: name(participant), try_number })
}

fn retry(participant: &str, number: u32) -> RunCommand {
    RunCommand::Retry { participant: name(participant), of: in_try(number) }
}

fn at_work(run: &Given<Run>) -> Vec<&str> {
    let running = |one: &&RunParticipant| one.status == ParticipantStatus::Running;
    run.state().participants().iter().filter(running).map(|one| one.name.as_str()).collect()
}

#[test]
fn a_retryable_failure_is_tried_again_after_a_pause_and_the_last_one_stands() {
    let mut run = run_of(&["db"], with_tries(3));
    for number in [1, 2] {
        run = run.when(fail_in("db", in_try(number), FailureKind::Retryable)).granted();
        let db = &run.state().participants()[0];
        assert!(db.status == ParticipantStatus::Pending && db.retry_at.is_some(), "{db:?}");
        assert_eq!(db.failure, Some(failure(FailureKind::Retryable)));
        let effects = [RunEffect::StartParticipant(name("db"))];
        run = run.when(retry("db", number)).then_do([again("db", number + 1)], effects);
    }
    run.when(fail_in("db", in_try(3), FailureKind::Retryable)).then([
        failed("db", failure(FailureKind::Retryable)),
        classified(Outcome::Failed, "db: it did not work (CODE)"),
    ]);
}

#[test]
fn the_pause_is_asked_for_and_doubles() {
    let pause = |run: &Given<Run>, number| {
        let then = run.clone().when(fail_in("db", in_try(number), FailureKind::Retryable)).granted();
        let db = &then.state().participants()[0];
        (then.clone(), db.retry_at.expect("a pause").0)
    };
    let (run, first) = pause(&run_of(&["db"], with_tries(3)), 1);
    let (_, second) = pause(&run.when(retry("db", 1)).granted(), 2);
    assert!((500_000..=1_000_000).contains(&first) && (1_000_000..=2_000_000).contains(&second), "{first} {second}");
}

#[test]
fn only_what_another_try_may_mend_is_tried_again() {
    for kind in [FailureKind::Fatal, FailureKind::Timeout, FailureKind::Resource] {
        let run = run_of(&["db"], with_tries(3)).when(fail("db", kind)).granted();
        assert_eq!(run.state().stage(), Stage::Sealing, "{kind:?}");
    }
    let quarantined = RunCommand::Fail {
        participant: name("db"),
        of: FIRST,
        failure: failure(FailureKind::Retryable),
        output: String::new(),
        may_retry: false,
    };
    run_of(&["db"], with_tries(3)).when(quarantined).then([
        failed("db", failure(FailureKind::Retryable)),
        classified(Outcome::Failed, "db: it did not work (CODE)"),
    ]);
}

#[test]
fn a_late_answer_of_an_earlier_try_is_refused() {
    let run = run_of(&["db"], with_tries(3)).when(fail("db", FailureKind::Retryable)).granted();
    run.clone().when(complete("db")).refused(Refusal::OutOfOrder);
    run.clone().when(retry("db", 2)).refused(Refusal::OutOfOrder);
    let second = run.when(retry("db", 1)).granted();
    second.clone().when(retry("db", 1)).refused(Refusal::OutOfOrder);
    second.clone().when(complete("db")).refused(Refusal::OutOfOrder);
    second.clone().when(fail("db", FailureKind::Fatal)).refused(Refusal::OutOfOrder);
    let late = RunCommand::Progress { of: FIRST, progress: progress("db", 1, 2) };
    second.when(late).refused(Refusal::OutOfOrder);
}

#[test]
fn others_work_during_a_pause_and_what_is_due_waits_for_its_turn() {
    let run = run_of(&["a", "b", "c"], with_tries(2)).when(fail("a", FailureKind::Retryable)).granted();
    assert_eq!(at_work(&run), ["b"]);
    let due = RunEvent::ParticipantDue(ParticipantDueV1 { participant: name("a") });
    let run = run.when(retry("a", 1)).then_do([due], []);
    let run = run.when(complete("b")).then([stored("b"), completed("b"), again("a", 2)]);
    assert_eq!(at_work(&run), ["a"], "in the order of the plan, the third one after it");
}

#[test]
fn as_many_work_at_a_time_as_the_run_says_in_the_order_of_the_plan() {
    let parallel = |limit| move |new: &mut NewRun| new.request.max_parallel = limit;
    let names = ["a", "b", "c", "d"];
    assert_eq!(at_work(&run_of(&names, parallel(2))), ["a", "b"]);
    assert_eq!(at_work(&run_of(&names, parallel(9))), names);
    let run = run_of(&names, parallel(2)).when(complete("b")).granted();
    assert_eq!(at_work(&run), ["a", "c"]);
}

#[test]
fn a_participant_works_after_those_it_depends_on_however_they_ended() {
    let plan = |new: &mut NewRun| {
        new.request.max_parallel = 9;
        new.participants[0].depends_on = vec![name("b"), name("c"), name("other")];
        new.participants[2].max_tries = 2;
    };
    let plan_without_strangers = |new: &mut NewRun| {
        plan(new);
        new.participants[0].depends_on.truncate(2);
    };
    let run = run_of(&["a", "b", "c"], plan_without_strangers);
    assert_eq!(at_work(&run), ["b", "c"]);
    let run = run.when(fail("b", FailureKind::Fatal)).granted();
    let run = run.when(fail("c", FailureKind::Retryable)).granted();
    assert_eq!(at_work(&run), [""; 0], "what is tried again has not ended");
    let run = run.when(retry("c", 1)).granted();
    let of = in_try(2);
    let done = RunCommand::Complete { of, artifacts: vec![artifact("c", "c")], completed: completion("c") };
    let run = run.when(done).granted();
    assert_eq!(at_work(&run), ["a"]);
}

#[test]
fn a_circle_of_participants_that_wait_for_each_other_is_refused() {
    let mut new = new_run(&[("a", CRITICAL), ("b", CRITICAL), ("c", CRITICAL)]);
    new.participants[0].depends_on = vec![name("b")];
    new.participants[1].depends_on = vec![name("a")];
    let text = "a waits for itself: take one of the names out of depends_on";
    given::<Run>([]).when(RunCommand::Request(new)).refused(Refusal::Invalid(text.into()));
    let mut own = new_run(&[("a", CRITICAL)]);
    own.participants[0].depends_on = vec![name("a")];
    given::<Run>([]).when(RunCommand::Request(own)).refused(Refusal::Invalid(text.into()));
}

#[test]
fn cancelling_during_a_pause_ends_the_run_and_the_pause_means_nothing_then() {
    let run = run_of(&["db"], with_tries(3)).when(fail("db", FailureKind::Retryable)).granted();
    let end = classified(Outcome::Cancelled, "cancelled: enough");
    let run = run.when(cancel()).then_do([cancel_requested(), cancelled("db"), end], [RunEffect::Seal]);
    run.when(retry("db", 1)).refused(Refusal::OutOfOrder);
}

#[test]
fn what_waits_for_another_try_when_the_process_dies_begins_anew() {
    let run = run_of(&["db"], with_tries(2)).when(fail("db", FailureKind::Retryable)).granted();
    let gone = "the process that worked on attempt 1 is gone";
    let run = run.when(recover(Found::Running)).then([
        interrupted(gone),
        resumed(2),
        reset("db", "it was to be tried again"),
    ]);
    run.when(RunCommand::DirectoryReady).then([begun("db")]);
}
