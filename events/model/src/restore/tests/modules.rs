//! Restores into modules: all or nothing, and what is concluded after a crash at each event.

use super::*;
use crate::ids::{ParticipantName, Sha256};
use crate::run::{ArtifactStoredV1, StoredFileV1};

const NAMES: [&str; 3] = ["trades", "accounts", "staff"];

fn name(name: &str) -> ParticipantName {
    name.parse().expect("a name")
}

fn new(safety: Safety) -> NewRestore {
    let participants = NAMES.map(|one| NewParticipant {
        planned: RestoreParticipantPlannedV1 { participant: name(one), format_version: 1, atomic: true, bytes: 10 },
        // It is committed after the accounts, which come later by name.
        depends_on: if one == "trades" { vec![name("accounts"), name("absent")] } else { Vec::new() },
    });
    let names = NAMES.map(|one| RestoredParticipantV1 { name: name(one), kind: "module".into(), critical: true });
    NewRestore {
        request: RestoreRequestedV3 { safety, participants: names.to_vec(), staging: Vec::new(), ..request() },
        participants: participants.to_vec(),
    }
}

fn kept() -> SafetySnapshot {
    let artifact = |one: &&str| ArtifactStoredV1 {
        participant: name(one),
        logical_name: format!("{one}.snapshot").parse().expect("a name"),
        stored: StoredFileV1 {
            file: format!("{one}.snapshot.lz4").parse().expect("a name"),
            size_bytes: 3,
            sha256: Sha256([1; 32]),
        },
        content_bytes: 9,
        content_sha256: Sha256([2; 32]),
        compression: "lz4".into(),
        index: None,
    };
    let artifacts = NAMES.iter().map(artifact).collect();
    SafetySnapshot { at: Timestamp(0), sums_sha256: Sha256([3; 32]), artifacts }
}

fn did(step: &Step) -> Did {
    match step {
        Step::Verify | Step::Stage(_) => Did::Read(10),
        Step::Snapshot => Did::Kept(kept()),
        _ => Did::Done,
    }
}

/// A restore under way, with all events it led to.
struct Story {
    given: Given<Restore>,
    events: Vec<RestoreEvent>,
}

impl Story {
    fn begun(safety: Safety) -> Self {
        let mut story = Self { given: given::<Restore>([]), events: Vec::new() };
        story.tell(RestoreCommand::Begin(new(safety)));
        story
    }

    fn tell(&mut self, command: RestoreCommand) -> Vec<RestoreEffect> {
        let then = self.given.clone().when(command);
        let events = then.decision().as_ref().expect("granted").clone();
        self.given = then.granted();
        let effects = self.given.state().effects(&events);
        self.events.extend(events);
        effects
    }

    fn step(&self) -> Option<Step> {
        self.given.state().step()
    }

    /// Does each step until `until`, or the end.
    fn go_on(&mut self, until: Option<&Step>) {
        for _ in 0..100 {
            let Some(step) = self.step().filter(|step| Some(step) != until) else { return };
            let did = did(&step);
            let effects = self.tell(RestoreCommand::Did(step, did));
            let next = self.step().map(RestoreEffect::Do).unwrap_or(RestoreEffect::Release);
            assert_eq!(effects, [next]);
        }
        panic!("a restore has no more than a hundred steps");
    }

    fn fail_at(&mut self, step: &Step, kind: FailureKind) {
        self.go_on(Some(step));
        assert_eq!(self.step().as_ref(), Some(step));
        self.tell(RestoreCommand::StepFailed(step.clone(), failure(kind)));
    }

    fn names(&self) -> Vec<&'static str> {
        self.events.iter().map(RestoreEvent::name).collect()
    }

    fn status(&self) -> RestoreStatus {
        self.given.state().status
    }

    fn count(&self, name: &str) -> usize {
        self.names().iter().filter(|one| **one == name).count()
    }
}

fn steps() -> Vec<Step> {
    let each = |step: fn(ParticipantName) -> Step| ["accounts", "staff", "trades"].map(name).map(step);
    let mut steps = vec![Step::Verify, Step::Quiesce, Step::Snapshot];
    steps.extend(each(Step::Stage));
    steps.extend(each(Step::Commit));
    steps.extend(each(Step::Check));
    steps
}

#[test]
fn a_restore_goes_through_all_steps_in_the_order_of_dependencies() {
    let mut story = Story::begun(Safety::Required);
    for step in steps() {
        assert_eq!(story.step(), Some(step.clone()));
        let did = did(&step);
        story.tell(RestoreCommand::Did(step, did));
    }
    assert_eq!((story.status(), story.step()), (RestoreStatus::Completed, None));
    assert_eq!(story.given.state().completed.as_ref().map(|done| done.bytes), Some(30));
    let names = story.names();
    let place = |name: &str| names.iter().position(|one| *one == name).expect("recorded");
    assert!(place("SafetySnapshotTaken") < place("RestoreParticipantStaged"));
    assert!(place("RestoreCommitDecided") < place("RestoreCommitStarted"));
    assert!(place("RestoreCommitStarted") < place("RestoreParticipantCommitted"));
    let view = story.given.state().view(true).expect("asked for");
    assert_eq!((view.phase.as_str(), view.pre_restore_path.is_empty()), ("done", false));
    assert!(view.participants.iter().all(|one| one.participant.ok && one.safety_artifacts.len() == 1));
    // An answer that comes twice changes nothing.
    story.given.clone().when(RestoreCommand::Did(Step::Quiesce, Did::Done)).refused(RestoreRefusal::NotRunning);
}

#[test]
fn a_step_that_is_not_under_way_is_not_done() {
    let story = Story::begun(Safety::Required);
    let late = RestoreCommand::Did(Step::Commit(name("staff")), Did::Done);
    story.given.clone().when(late).refused(RestoreRefusal::NotAtStep);
    story.given.clone().when(RestoreCommand::Did(Step::Verify, Did::Done)).refused(RestoreRefusal::NotAtStep);
    let fail = RestoreCommand::Fail(failure(FailureKind::Fatal));
    story.given.clone().when(fail).refused(RestoreRefusal::NotRunning);
    story.given.when(RestoreCommand::Retry).refused(RestoreRefusal::NothingToRetry);
}

#[test]
fn a_failure_before_the_decision_touches_nothing() {
    for step in steps().into_iter().take(6) {
        for (kind, status) in [
            (FailureKind::Fatal, RestoreStatus::Failed),
            (FailureKind::Cancelled, RestoreStatus::Cancelled),
            (FailureKind::Timeout, RestoreStatus::Timeout),
        ] {
            let mut story = Story::begun(Safety::Required);
            story.fail_at(&step, kind);
            if step != Step::Verify {
                assert_eq!(story.step(), Some(Step::Discard), "at {step:?}");
            }
            story.go_on(None);
            assert_eq!((story.status(), story.count("RestoreCommitDecided")), (status, 0), "at {step:?}");
            assert_eq!(story.given.state().view(true).expect("asked for").pre_restore_path, "");
        }
    }
}

#[test]
fn a_failure_after_the_decision_puts_back_what_was_touched_the_other_way_round() {
    let mut story = Story::begun(Safety::Required);
    story.fail_at(&Step::Commit(name("staff")), FailureKind::Fatal);
    // The one that failed may have been touched; the trades were not.
    assert_eq!(story.step(), Some(Step::RollBack(name("staff"))));
    story.go_on(Some(&Step::Discard));
    assert_eq!(story.count("RestoreParticipantRolledBack"), 2);
    story.go_on(None);
    assert_eq!((story.status(), story.count("RestoreCompleted")), (RestoreStatus::RolledBack, 0));
    let mut story = Story::begun(Safety::Required);
    story.fail_at(&Step::Check(name("trades")), FailureKind::Fatal);
    story.go_on(None);
    assert_eq!((story.status(), story.count("RestoreParticipantRolledBack")), (RestoreStatus::RolledBack, 3));
}

#[test]
fn without_a_safety_snapshot_there_is_no_way_back_and_a_failure_before_the_first_commit_needs_none() {
    let mut story = Story::begun(Safety::None);
    story.go_on(Some(&Step::Commit(name("accounts"))));
    assert_eq!(story.count("SafetySnapshotTaken"), 0);
    let effects = story.tell(RestoreCommand::StepFailed(Step::Commit(name("accounts")), failure(FailureKind::Fatal)));
    assert_eq!((effects, story.status()), (vec![RestoreEffect::Ended], RestoreStatus::RollbackFailed));
    assert!(story.given.state().error_summary.contains("NO_SAFETY_SNAPSHOT"));
    story.given.clone().when(RestoreCommand::Retry).refused(RestoreRefusal::NoSafetySnapshot);

    let mut story = Story::begun(Safety::None);
    story.fail_at(&Step::Stage(name("trades")), FailureKind::Fatal);
    story.go_on(None);
    assert_eq!(story.status(), RestoreStatus::Failed);
}

#[test]
fn a_snapshot_that_cannot_be_taken_ends_the_restore_unless_best_effort_was_asked_for() {
    let mut story = Story::begun(Safety::BestEffort);
    story.fail_at(&Step::Snapshot, FailureKind::Resource);
    assert_eq!(story.step(), Some(Step::Stage(name("accounts"))));
    story.go_on(None);
    assert_eq!((story.status(), story.count("SafetySnapshotSkipped")), (RestoreStatus::Completed, 1));
    let mut story = Story::begun(Safety::Required);
    story.fail_at(&Step::Snapshot, FailureKind::Resource);
    story.go_on(None);
    assert_eq!(story.status(), RestoreStatus::Failed);
}

#[test]
fn a_restore_that_is_cancelled_is_undone_wherever_it_is() {
    for step in steps() {
        let mut story = Story::begun(Safety::Required);
        story.go_on(Some(&step));
        let cancel = || RestoreCommand::Cancel { reason: "the wrong run".into() };
        assert_eq!(story.tell(cancel()), [RestoreEffect::Stop]);
        story.given.clone().when(cancel()).then([]);
        // The step may still end well.
        let did = did(&step);
        story.tell(RestoreCommand::Did(step.clone(), did));
        story.go_on(None);
        let touched = matches!(step, Step::Commit(_) | Step::Check(_));
        let expected = if touched { RestoreStatus::RolledBack } else { RestoreStatus::Cancelled };
        assert_eq!(story.status(), expected, "at {step:?}");
        assert!(story.given.state().error_summary.contains("the wrong run"));
        // Or end because it was told to, in whatever words.
        let mut story = Story::begun(Safety::Required);
        story.go_on(Some(&step));
        story.tell(cancel());
        let failure = Failure::new(FailureKind::Retryable, "PARTICIPANT_IO", "it was told to stop");
        story.tell(RestoreCommand::StepFailed(step.clone(), failure));
        story.go_on(None);
        let cancelled = if step == Step::Verify { RestoreStatus::Cancelled } else { expected };
        assert_eq!(story.status(), cancelled, "at {step:?}");
    }
}

const TIMEOUT_MS: u64 = 5_000;

fn with_deadline(safety: Safety) -> Story {
    let mut restore = new(safety);
    restore.request.timeout_ms = TIMEOUT_MS;
    let mut story = Story { given: given::<Restore>([]), events: Vec::new() };
    let deadline = RestoreEffect::Deadline { at: Timestamp(5_000_000) };
    assert_eq!(story.tell(RestoreCommand::Begin(restore)), [deadline, RestoreEffect::Do(Step::Verify)]);
    story
}

#[test]
fn a_restore_that_takes_too_long_is_undone_wherever_it_is() {
    for step in steps() {
        let touched = matches!(step, Step::Commit(_) | Step::Check(_));
        let ends = [
            // The step may still end well, or because it was told to, in whatever words.
            RestoreCommand::Did(step.clone(), did(&step)),
            RestoreCommand::StepFailed(step.clone(), failure(FailureKind::Retryable)),
        ];
        for end in ends {
            let mut story = with_deadline(if touched { Safety::Required } else { Safety::BestEffort });
            story.go_on(Some(&step));
            assert_eq!(story.tell(RestoreCommand::TimedOut), [RestoreEffect::Stop]);
            // Once is enough, and a cancel that comes after it changes nothing.
            story.given.clone().when(RestoreCommand::TimedOut).then([]);
            story.given.clone().when(RestoreCommand::Cancel { reason: "late".into() }).then([]);
            story.tell(end);
            story.go_on(None);
            let expected = if touched { RestoreStatus::RolledBack } else { RestoreStatus::Timeout };
            assert_eq!(story.status(), expected, "at {step:?}");
            let state = story.given.state();
            let summary = "the restore took 5.0 s, which is the most it may (RESTORE_TIMED_OUT)";
            assert_eq!((state.error_summary.as_str(), story.count("SafetySnapshotSkipped")), (summary, 0));
            assert!(state.participants().iter().all(|one| one.touched == one.rolled_back), "at {step:?}");
        }
    }
}

#[test]
fn what_is_being_put_back_is_never_stopped_and_a_restore_without_a_deadline_has_none() {
    let mut story = with_deadline(Safety::Required);
    story.fail_at(&Step::Commit(name("staff")), FailureKind::Fatal);
    assert_eq!(story.step(), Some(Step::RollBack(name("staff"))));
    assert_eq!(story.tell(RestoreCommand::TimedOut), []);
    story.go_on(None);
    assert_eq!(story.status(), RestoreStatus::RolledBack);
    story.given.clone().when(RestoreCommand::TimedOut).refused(RestoreRefusal::NotRunning);

    let mut story = Story::begun(Safety::Required);
    assert_eq!(story.tell(RestoreCommand::TimedOut), []);
    let mut cancelled = with_deadline(Safety::Required);
    cancelled.tell(RestoreCommand::Cancel { reason: "the wrong run".into() });
    assert_eq!(cancelled.tell(RestoreCommand::TimedOut), []);
}

#[test]
fn a_deadline_counts_from_the_request_whatever_becomes_of_the_process() {
    let mut story = with_deadline(Safety::Required);
    story.go_on(Some(&Step::Commit(name("staff"))));
    story.given = story.given.seconds_later(3);
    let effects = story.tell(RestoreCommand::Recover);
    let deadline = RestoreEffect::Deadline { at: Timestamp(5_000_000) };
    assert_eq!(effects, [deadline, RestoreEffect::Do(Step::Quiesce)]);
    // Where it has passed, and the process died before anything followed from that, all is put back.
    story.tell(RestoreCommand::TimedOut);
    assert_eq!(story.tell(RestoreCommand::Recover), [RestoreEffect::Do(Step::Quiesce)]);
    assert!(story.given.state().is_rolling_back());
    story.go_on(None);
    assert_eq!(story.status(), RestoreStatus::RolledBack);
    // Or thrown away.
    let mut story = with_deadline(Safety::Required);
    story.go_on(Some(&Step::Stage(name("staff"))));
    story.tell(RestoreCommand::TimedOut);
    story.tell(RestoreCommand::Recover);
    story.go_on(None);
    assert_eq!(story.status(), RestoreStatus::Timeout);
}

#[test]
fn a_safety_snapshot_is_removed_once_and_only_where_nothing_may_need_it() {
    let mut open = Story::begun(Safety::Required);
    open.go_on(Some(&Step::Check(name("staff"))));
    open.given.clone().when(RestoreCommand::RemoveSafety).refused(RestoreRefusal::SafetyKept);
    let mut half = Story::begun(Safety::Required);
    half.fail_at(&Step::Commit(name("staff")), FailureKind::Fatal);
    half.tell(RestoreCommand::StepFailed(Step::RollBack(name("staff")), failure(FailureKind::Fatal)));
    half.given.clone().when(RestoreCommand::RemoveSafety).refused(RestoreRefusal::SafetyKept);
    for without in [Safety::None, Safety::Required] {
        let mut story = Story::begun(without);
        // What touched nothing has thrown it away.
        story.fail_at(&Step::Stage(name("staff")), FailureKind::Fatal);
        story.go_on(None);
        story.given.clone().when(RestoreCommand::RemoveSafety).refused(RestoreRefusal::SafetyKept);
    }
    open.go_on(None);
    let removed = RestoreEvent::SafetySnapshotRemoved(SafetySnapshotRemovedV1 {});
    let gone = open.given.seconds_later(7).when(RestoreCommand::RemoveSafety).then_do([removed], []);
    let view = gone.state().view(true).expect("asked for");
    assert_eq!(
        (view.status, view.pre_restore_path.as_str(), view.safety_removed_at),
        (RestoreStatus::Completed, "", 7)
    );
    assert!(view.participants.iter().all(|one| one.safety_snapshot_path.is_empty()));
    gone.when(RestoreCommand::RemoveSafety).refused(RestoreRefusal::SafetyKept);
}

#[test]
fn a_rollback_that_fails_is_tried_again_when_somebody_asks_for_it() {
    let mut story = Story::begun(Safety::Required);
    story.fail_at(&Step::Commit(name("staff")), FailureKind::Fatal);
    let step = Step::RollBack(name("staff"));
    let effects = story.tell(RestoreCommand::StepFailed(step, failure(FailureKind::Fatal)));
    assert_eq!((effects, story.status()), (vec![RestoreEffect::Ended], RestoreStatus::RollbackFailed));
    assert_eq!(story.tell(RestoreCommand::Retry), [RestoreEffect::Do(Step::Quiesce)]);
    assert_eq!((story.status(), story.given.state().finished_at), (RestoreStatus::Running, None));
    story.go_on(None);
    assert_eq!(story.status(), RestoreStatus::RolledBack);
}

/// What became of a restore whose process died after each of `events`.
fn after_each_crash(events: &[RestoreEvent], expected: impl Fn(&Restore) -> RestoreStatus) {
    for kept in 4..=events.len() {
        let state = given::<Restore>(events[..kept].to_vec());
        if !state.state().is_open() {
            state.when(RestoreCommand::Recover).refused(RestoreRefusal::NotRunning);
            continue;
        }
        let expected = expected(state.state());
        let last = events[kept - 1].name();
        let mut story = Story { given: state, events: events[..kept].to_vec() };
        let effects = story.tell(RestoreCommand::Recover);
        assert!(matches!(effects[..], [RestoreEffect::Do(_)]), "after {last}: {effects:?}");
        // Nobody stands still in the new process: no module is told to touch its data before it does.
        assert!(matches!(story.step(), Some(Step::Quiesce | Step::Discard)), "after {last}: {:?}", story.step());
        story.go_on(None);
        assert_eq!(story.status(), expected, "after {last}");
        // Either all are committed anew, or each that was touched is put back.
        let modules = story.given.state().participants();
        let all = match expected {
            RestoreStatus::Completed => modules.iter().all(|one| one.committed && one.checked),
            _ => modules.iter().all(|one| one.touched == one.rolled_back),
        };
        assert!(all, "after {last}: {modules:?}");
    }
}

#[test]
fn after_a_crash_what_was_not_decided_is_undone_and_what_was_is_done_again() {
    let mut story = Story::begun(Safety::Required);
    story.go_on(None);
    after_each_crash(&story.events, |restore| {
        let begun = restore.step().is_some_and(|step| matches!(step, Step::Commit(_) | Step::Check(_)));
        let decided = restore.decided || begun && restore.is_touched();
        if decided { RestoreStatus::Completed } else { RestoreStatus::Failed }
    });
}

#[test]
fn after_a_crash_a_rollback_that_was_decided_is_done_again() {
    let mut story = Story::begun(Safety::Required);
    story.fail_at(&Step::Check(name("staff")), FailureKind::Fatal);
    story.go_on(None);
    let decided = story.names().iter().position(|one| *one == "RestoreRollbackDecided").expect("decided");
    let (before, after) = (story.events[..decided].to_vec(), &story.events[decided..]);
    for more in 1..=after.len() {
        let events: Vec<_> = before.iter().chain(&after[..more]).cloned().collect();
        let state = given::<Restore>(events.clone());
        if !state.state().is_open() {
            continue;
        }
        let mut again = Story { given: state, events };
        again.tell(RestoreCommand::Recover);
        again.go_on(None);
        assert_eq!(again.status(), RestoreStatus::RolledBack);
        assert!(again.given.state().participants().iter().all(|one| one.rolled_back));
    }
}

#[test]
fn a_restore_whose_process_dies_each_time_is_rolled_back_and_then_left_for_somebody_to_see_to() {
    let mut story = Story::begun(Safety::Required);
    story.go_on(Some(&Step::Commit(name("staff"))));
    let mut crashes = 0;
    while story.given.state().is_open() {
        crashes += 1;
        assert!(crashes < 20, "it ends");
        story.tell(RestoreCommand::Recover);
    }
    assert_eq!(story.status(), RestoreStatus::RollbackFailed);
    assert_eq!(crashes, 1 + 2 * MAX_INTERRUPTIONS);
}

#[test]
fn a_restore_names_each_participant_once() {
    let mut twice = new(Safety::Required);
    twice.participants.push(twice.participants[0].clone());
    let none = NewRestore { participants: Vec::new(), ..new(Safety::Required) };
    for refused in [twice, none] {
        given::<Restore>([]).when(RestoreCommand::Begin(refused)).refused(RestoreRefusal::Participants);
    }
}
