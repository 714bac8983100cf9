//! Runs that are kept from deletion.

use super::*;

fn lock(reason: &str) -> RunCommand {
    RunCommand::Lock { reason: reason.into() }
}

fn locked(reason: &str) -> RunEvent {
    RunEvent::Locked(RunLockedV1 { reason: reason.into() })
}

fn unlocked() -> RunEvent {
    RunEvent::Unlocked(RunUnlockedV1 {})
}

#[test]
fn a_locked_run_is_not_deleted_until_it_is_unlocked() {
    let run = kept(PAIR).when(lock("audit")).then_do([locked("audit")], []);
    let view = run.state().view(true).expect("a run");
    assert_eq!((view.locked, view.lock_reason.as_str()), (true, "audit"));
    let refusal = Refusal::Locked("audit".into());
    assert_eq!((refusal.code(), refusal.to_string().contains("(audit)")), ("BACKUP_RUN_LOCKED", true));
    let run = run.when(RunCommand::Delete).refused(refusal).when(RunCommand::Unlock).then_do([unlocked()], []);
    let view = run.state().view(true).expect("a run");
    assert_eq!((view.locked, view.lock_reason.as_str()), (false, ""));
    run.when(RunCommand::Delete).then_do([deletion()], [RunEffect::Delete]);
}

#[test]
fn the_same_lock_again_is_no_fact_and_another_reason_is_one() {
    let run = kept(PAIR).when(RunCommand::Unlock).then([]).when(lock("")).then([locked("")]);
    assert!(run.state().view(true).expect("a run").locked);
    run.when(lock("")).then([]).when(lock("audit")).then([locked("audit")]);
    let long = "ä".repeat(9000);
    kept(PAIR).when(lock(&long)).granted().when(lock(&long)).then([]);
}

#[test]
fn a_run_is_locked_before_it_has_ended_and_goes_on() {
    for run in [queued(PAIR), preparing(PAIR), working(PAIR), sealing(PAIR), publishing(PAIR)] {
        run.when(lock("audit")).then_do([locked("audit")], []).when(RunCommand::Delete).refused(Refusal::Active);
    }
    publishing(PAIR)
        .when(lock("audit"))
        .granted()
        .when(RunCommand::Published { copies: Vec::new() })
        .then_do([published(Outcome::Completed)], [RunEffect::Ended])
        .when(RunCommand::Delete)
        .refused(Refusal::Locked("audit".into()));
}

#[test]
fn what_is_deleted_or_not_there_is_not_locked() {
    let deleting = kept(PAIR).and([deletion()]);
    for command in [lock("audit"), RunCommand::Unlock] {
        deleting.clone().when(command.clone()).refused(Refusal::Deleted);
        deleting.clone().and([deleted()]).when(command.clone()).refused(Refusal::Deleted);
        given::<Run>([]).when(command).refused(Refusal::NotFound);
    }
}

#[test]
fn a_lock_gives_an_interrupted_run_no_more_time() {
    let run = working(PAIR);
    let last = run.state().updated_at();
    assert_eq!(run.seconds_later(50).when(lock("audit")).granted().state().updated_at(), last);
}
