//! One moment for all: participants of a run with a barrier stand still together, and each of them is let go exactly once, whatever fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast::blocking;
use holdfast::engine::{Backup, Builder};
use holdfast::model::ids::ParticipantName;
use holdfast::model::run::{Consistency, Outcome, ParticipantStatus, Run};
use holdfast::model::supervision::QUARANTINE_AFTER;
use holdfast::participant::{Artifacts, Capture, Deadlines, Descriptor, Frozen, ParticipantError, Phase, Phased, Thaw};

use crate::support::Home;
use crate::support::engine::{Door, SOON, back_up, builder, code, end, good, module, name, of, patient, within, write};

/// What is done wrong, and in which phase.
#[derive(Clone)]
enum Fault {
    None,
    Fails(&'static str),
    Panics(&'static str),
    /// Stands before the door.
    Hangs(&'static str, Door),
    /// Fails the first time.
    FailsOnce(&'static str),
    /// Fails until it is told that all is well.
    FailsUntil(&'static str, Arc<AtomicBool>),
}

/// What all modules did, in the order they did it.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    fn note(&self, who: &str, what: &str) {
        self.0.lock().unwrap().push(format!("{who} {what}"));
    }

    fn all(&self, of: &[&str]) -> Vec<String> {
        let calls = self.0.lock().unwrap();
        calls.iter().filter(|call| of.contains(&call.split(' ').nth(1).unwrap())).cloned().collect()
    }

    fn count(&self, what: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|call| call.contains(what)).count()
    }
}

/// A module with a number that changes whenever it is looked at, but for when it stands still.
#[derive(Clone)]
struct Counter {
    name: &'static str,
    calls: Calls,
    fault: Fault,
}

impl Counter {
    fn new(name: &'static str, calls: &Calls, fault: Fault) -> Self {
        Self { name, calls: calls.clone(), fault }
    }

    fn enter(&self, phase: &'static str) -> Result<(), ParticipantError> {
        let before = self.calls.count(&format!("{} {phase}", self.name));
        self.calls.note(self.name, phase);
        match &self.fault {
            Fault::Fails(at) if *at == phase => Err(ParticipantError::fatal("COUNTER_LOST", "it is gone")),
            Fault::Panics(at) if *at == phase => panic!("{} panics in {phase}", self.name),
            Fault::FailsOnce(at) if *at == phase && before == 0 => {
                Err(ParticipantError::retryable("COUNTER_BUSY", "not now"))
            }
            Fault::FailsUntil(at, well) if *at == phase && !well.load(Ordering::SeqCst) => {
                Err(ParticipantError::retryable("COUNTER_BUSY", "not now"))
            }
            Fault::Hangs(at, door) if *at == phase => {
                door.pass();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Phased for Counter {
    fn prepare(&self, _phase: &Phase) -> Result<(), ParticipantError> {
        self.enter("prepare")
    }

    fn freeze(&self, phase: &Phase) -> Result<Box<dyn Frozen>, ParticipantError> {
        assert!(phase.time_left().is_some());
        self.enter("freeze")?;
        self.calls.note(self.name, "frozen");
        Ok(Box::new(self.clone()))
    }
}

impl Frozen for Counter {
    fn capture(&mut self, _phase: &Phase) -> Result<Box<dyn Capture>, ParticipantError> {
        self.enter("capture")?;
        Ok(Box::new(self.clone()))
    }

    fn thaw(self: Box<Self>, how: Thaw) -> Result<(), ParticipantError> {
        self.calls.note(self.name, if how == Thaw::Done { "thawed" } else { "aborted" });
        self.enter("thaw")
    }
}

impl Capture for Counter {
    fn write(&mut self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        self.enter("write")?;
        write(artifacts, &format!("{}.snapshot", self.name), self.name.as_bytes())
    }
}

fn described(name: &str) -> Descriptor {
    module(name).deadlines(Deadlines { grace: SOON, ..patient() })
}

/// Three modules: `b` needs `a`, `c` needs both; the fault is that of `b`.
fn three(home: &Home, calls: &Calls, fault: Fault, b_is_critical: bool) -> Builder {
    let after = |descriptor: Descriptor, names: &[&str]| descriptor.depends_on(names.iter().map(|one| name(one)));
    let b = after(described("b"), &["a"]).tries(2, Duration::from_millis(10));
    let b = if b_is_critical { b } else { b.optional() };
    builder(home)
        // Not in the order of their dependencies.
        .phased_with(after(described("c"), &["a", "b"]), Counter::new("c", calls, Fault::None))
        .phased_with(b, Counter::new("b", calls, fault))
        .phased_with(described("a"), Counter::new("a", calls, Fault::None))
}

fn barrier() -> Backup {
    Backup::full().consistency(Consistency::Barrier)
}

/// Each that was frozen was let go once, and no other.
fn each_is_let_go_once(calls: &Calls) {
    for one in ["a", "b", "c"] {
        let let_go = calls.count(&format!("{one} thawed")) + calls.count(&format!("{one} aborted"));
        assert_eq!(calls.count(&format!("{one} frozen")), let_go, "{one}: {:?}", calls.0.lock().unwrap());
    }
}

fn statuses(run: &Run) -> Vec<ParticipantStatus> {
    ["a", "b", "c"].map(|one| of(run, one).status).to_vec()
}

#[test]
fn all_stand_still_in_the_order_of_their_dependencies_and_go_on_the_other_way_round() {
    let (home, calls) = (Home::new(), Calls::default());
    let engine = three(&home, &calls, Fault::None, true).start_blocking().unwrap();
    let run = back_up(&engine, barrier());
    assert_eq!(run.outcome(), Some(Outcome::Completed), "{}", run.error_summary());
    let expected = ["a freeze", "b freeze", "c freeze", "c thawed", "b thawed", "a thawed"];
    assert_eq!(calls.all(&["freeze", "thawed", "aborted"]), expected);
    // All prepare before the first is frozen, all are captured before the first goes on, and none writes before that.
    let all = calls.0.lock().unwrap().clone();
    let last = |what: &str| all.iter().rposition(|call| call.contains(what)).unwrap();
    let first = |what: &str| all.iter().position(|call| call.contains(what)).unwrap();
    assert!(last("prepare") < first("freeze") && last("freeze") < first("capture"), "{all:?}");
    assert!(last("capture") < first("thawed") && last("thawed") < first("write"), "{all:?}");
    let moment = run.barrier().unwrap();
    assert!(moment.longest_us > 0 && run.participants().iter().all(|one| one.frozen.is_some()));
    let view = run.view(true).unwrap();
    assert_eq!((view.consistency.mode, view.consistency.held_us), (Consistency::Barrier, moment.longest_us));
    let manifest = std::fs::read_to_string(home.path().join(run.path()).join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["consistency"]["mode"], "barrier");
    assert_eq!(manifest["consistency"]["barrier_at"], moment.at.seconds());

    // Each by itself: the same phases, and nothing is claimed.
    let run = back_up(&engine, Backup::full());
    assert_eq!((run.outcome(), run.barrier()), (Some(Outcome::Completed), None));
    assert_eq!(run.view(true).unwrap().consistency.barrier_at, 0);
    assert_eq!(calls.count("thawed"), 6);
    each_is_let_go_once(&calls);
    engine.stop();
}

#[test]
fn one_that_fails_in_any_phase_aborts_the_barrier_and_nobody_stays_frozen() {
    for phase in ["prepare", "freeze", "capture", "thaw"] {
        for (fault, expected) in [(Fault::Fails(phase), "COUNTER_LOST"), (Fault::Panics(phase), "PARTICIPANT_PANICKED")]
        {
            let (home, calls) = (Home::new(), Calls::default());
            let engine = three(&home, &calls, fault, true).start_blocking().unwrap();
            let run = back_up(&engine, barrier());
            assert_eq!((run.outcome(), run.barrier()), (Some(Outcome::Failed), None), "{phase} {expected}");
            assert_eq!(code(&run, "b"), expected, "{phase}");
            let skipped = ParticipantStatus::Skipped;
            assert_eq!(statuses(&run), [skipped, ParticipantStatus::Failed, skipped], "{phase}");
            assert!(of(&run, "a").failure.as_ref().unwrap().message.contains("because of b"), "{phase}");
            each_is_let_go_once(&calls);
            assert_eq!(calls.count("write"), 0, "{phase}: what is not of one moment is not written");
            engine.stop();
        }
    }
}

#[test]
fn an_optional_one_that_fails_is_left_out_and_the_others_are_of_one_moment() {
    for phase in ["prepare", "freeze", "capture", "thaw"] {
        let (home, calls) = (Home::new(), Calls::default());
        let engine = three(&home, &calls, Fault::Fails(phase), false).start_blocking().unwrap();
        let run = back_up(&engine, barrier());
        assert_eq!(run.outcome(), Some(Outcome::Partial), "{phase}: {}", run.error_summary());
        let good = ParticipantStatus::Completed;
        assert_eq!(statuses(&run), [good, ParticipantStatus::Failed, good], "{phase}");
        assert!(run.barrier().is_some() && of(&run, "b").frozen.is_none());
        each_is_let_go_once(&calls);
        engine.stop();
    }
}

#[test]
fn what_takes_longer_than_the_budget_is_a_failure_and_is_let_go_when_it_comes_late() {
    for phase in ["freeze", "capture", "thaw"] {
        let (home, calls, door) = (Home::new(), Calls::default(), Door::default());
        let mut config = crate::support::engine::config(4, 2);
        config.runs.freeze_budget = SOON;
        let engine =
            three(&home, &calls, Fault::Hangs(phase, door.clone()), true).config(config).start_blocking().unwrap();
        let run = back_up(&engine, barrier());
        assert_eq!((run.outcome(), run.barrier()), (Some(Outcome::Failed), None), "{phase}");
        assert_eq!((code(&run, "b"), of(&run, "b").status), ("FREEZE_BUDGET_EXCEEDED", ParticipantStatus::Timeout));
        // The others go on meanwhile.
        assert_eq!(calls.count("a frozen"), calls.count("a aborted") + calls.count("a thawed"), "{phase}");
        assert_eq!(calls.count("c frozen"), calls.count("c aborted") + calls.count("c thawed"), "{phase}");
        // It comes after all, is let go, and the next run has it again.
        door.open();
        let run = back_up(&engine, barrier());
        assert_eq!(run.outcome(), Some(Outcome::Completed), "{phase}: {}", run.error_summary());
        each_is_let_go_once(&calls);
        engine.stop();
    }
}

#[test]
fn a_second_try_writes_the_same_moment() {
    let (home, calls) = (Home::new(), Calls::default());
    let engine = three(&home, &calls, Fault::FailsOnce("write"), true).start_blocking().unwrap();
    let run = back_up(&engine, barrier());
    assert_eq!((run.outcome(), of(&run, "b").tries), (Some(Outcome::Completed), 2), "{}", run.error_summary());
    assert_eq!((calls.count("b freeze"), calls.count("b write")), (1, 2));
    each_is_let_go_once(&calls);
    engine.stop();
}

/// How a participant is listed: its failures in a row, how it stands, why it failed last.
fn listed(engine: &blocking::Holdfast, participant: &str) -> (u32, String, String) {
    let rows = within(engine, "the participants", engine.handle().participant_rows()).unwrap();
    let row = rows.into_iter().find(|row| row.name.as_str() == participant).unwrap();
    (row.failures, row.state, row.last_error)
}

#[test]
fn what_fails_in_a_barrier_counts_in_supervision_and_is_in_nobody_elses_way() {
    for phase in ["prepare", "freeze", "capture", "thaw"] {
        let (home, calls, well) = (Home::new(), Calls::default(), Arc::new(AtomicBool::new(false)));
        let engine = three(&home, &calls, Fault::FailsUntil(phase, well.clone()), true).start_blocking().unwrap();
        for times in 1..=QUARANTINE_AFTER {
            let run = back_up(&engine, barrier());
            assert_eq!((run.outcome(), code(&run, "b")), (Some(Outcome::Failed), "COUNTER_BUSY"), "{phase}");
            let (failures, state, why) = listed(&engine, "b");
            let expected = if times < QUARANTINE_AFTER { "idle" } else { "quarantined" };
            assert_eq!((failures, state.as_str()), (times, expected), "{phase}");
            assert!(why.contains("COUNTER_BUSY"), "{phase}: {why}");
        }
        for other in ["a", "c"] {
            assert_eq!(listed(&engine, other), (0, "idle".to_owned(), String::new()), "{phase}");
        }
        // Each run tries it once, and it is out of quarantine once it was good.
        well.store(true, Ordering::SeqCst);
        let run = back_up(&engine, barrier());
        assert_eq!(run.outcome(), Some(Outcome::Completed), "{phase}: {}", run.error_summary());
        assert_eq!(listed(&engine, "b"), (0, "idle".to_owned(), String::new()), "{phase}");
        each_is_let_go_once(&calls);
        engine.stop();
    }
}

#[test]
fn who_is_in_quarantine_writes_once_and_is_not_tried_again_in_a_barrier() {
    let (home, calls, well) = (Home::new(), Calls::default(), Arc::new(AtomicBool::new(false)));
    let engine = three(&home, &calls, Fault::FailsUntil("write", well), true).start_blocking().unwrap();
    let mut tries = Vec::new();
    while listed(&engine, "b").1 != "quarantined" {
        tries.push(of(&back_up(&engine, barrier()), "b").tries);
    }
    // Two tries a run; the fifth failure is one too many for another.
    assert_eq!(tries, [2, 2, 1]);
    let run = back_up(&engine, barrier());
    assert_eq!((code(&run, "b"), of(&run, "b").tries), ("COUNTER_BUSY", 1));
    each_is_let_go_once(&calls);
    engine.stop();
}

#[test]
fn a_run_that_is_cancelled_while_all_stand_still_lets_them_go() {
    let (home, calls, door) = (Home::new(), Calls::default(), Door::default());
    let engine = three(&home, &calls, Fault::Hangs("capture", door.clone()), true).start_blocking().unwrap();
    let handle = engine.back_up(barrier()).unwrap();
    door.wait_for(1);
    within(&engine, "the cancellation", engine.handle().cancel(handle.run_id, "enough")).unwrap();
    let run = end(&engine, handle);
    assert_eq!((run.outcome(), run.barrier()), (Some(Outcome::Cancelled), None));
    assert_eq!(statuses(&run), [ParticipantStatus::Cancelled; 3]);
    door.open();
    assert_eq!(back_up(&engine, barrier()).outcome(), Some(Outcome::Completed));
    each_is_let_go_once(&calls);
    engine.stop();
}

#[test]
fn who_cannot_stand_still_is_named_before_anything_is_begun() {
    let (home, calls) = (Home::new(), Calls::default());
    let engine =
        three(&home, &calls, Fault::None, true).participant_with(module("plain"), good).start_blocking().unwrap();
    let error = engine.back_up(barrier()).unwrap_err();
    assert_eq!(error.code(), "BARRIER_NOT_SUPPORTED");
    assert!(error.to_string().contains("plain") && !error.to_string().contains("a, "), "{error}");
    let named = ["a", "c"].map(|one| one.parse::<ParticipantName>().unwrap());
    let run = back_up(&engine, Backup::scoped(named).consistency(Consistency::Barrier));
    assert_eq!(run.outcome(), Some(Outcome::Completed), "{}", run.error_summary());
    engine.stop();
}
