//! How restores in place end: by their deadline, by what was missing, and what is kept of the state before them.

use std::fs;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast::api::Dispatcher;
use holdfast::api::commands::StartRestoreRun;
use holdfast::blocking;
use holdfast::config::Config;
use holdfast::engine::{Backup, Registered};
use holdfast::model::ids::{RestoreId, RunId};
use holdfast::model::restore::{RestoreCommand, RestoreStatus, RestoreView};
use holdfast::model::run::Outcome;
use holdfast::participant::{
    Artifacts, Capture, Participant, ParticipantError, Quiesced, Restore, RestorePhase, Staging,
};
use serde_json::{Value, json};

use crate::support::engine::{back_up, builder, module, name, wait_for_events, within};
use crate::support::{DEADLINE, Home};

/// A module whose data is in memory. It hangs where it is told to, until it is told to stop; in its commit it fails, both ways.
#[derive(Clone)]
struct Ledger {
    name: &'static str,
    data: Arc<Mutex<[Vec<u8>; 2]>>,
    hangs: Arc<Mutex<&'static str>>,
}

impl Ledger {
    fn new(name: &'static str) -> Self {
        let ledger = Self { name, data: Arc::default(), hangs: Arc::default() };
        ledger.put("backed up");
        ledger
    }

    fn put(&self, live: &str) {
        self.data.lock().unwrap()[0] = format!("{} {live}", self.name).into_bytes();
    }

    fn live(&self) -> String {
        String::from_utf8(self.data.lock().unwrap()[0].clone()).unwrap()
    }

    fn hangs_in(&self, step: &'static str) {
        *self.hangs.lock().unwrap() = step;
    }

    fn enter(&self, step: &str, phase: &RestorePhase) -> Result<(), ParticipantError> {
        let began = Instant::now();
        let hangs = *self.hangs.lock().unwrap() == step;
        while hangs && !phase.stopped() {
            assert!(began.elapsed() < DEADLINE, "{step} of {} is never told to stop", self.name);
            std::thread::yield_now();
        }
        if hangs { Err(ParticipantError::retryable("LEDGER_STOPPED", "it was told to stop")) } else { Ok(()) }
    }
}

struct Content(&'static str, Vec<u8>);

impl Capture for Content {
    fn write(&mut self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        let mut sink = artifacts.create(&format!("{}.snapshot", self.0))?;
        sink.write_all(&self.1)?;
        sink.finish()
    }
}

impl Participant for Ledger {
    fn write(&self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        Content(self.name, self.data.lock().unwrap()[0].clone()).write(artifacts)
    }

    fn restore(&self) -> Option<&dyn Restore> {
        Some(self)
    }
}

impl Quiesced for Ledger {
    fn capture(&mut self, phase: &RestorePhase) -> Result<Box<dyn Capture>, ParticipantError> {
        self.enter("capture", phase)?;
        Ok(Box::new(Content(self.name, self.data.lock().unwrap()[0].clone())))
    }

    fn resume(self: Box<Self>) -> Result<(), ParticipantError> {
        Ok(())
    }
}

impl Restore for Ledger {
    fn quiesce(&self, phase: &RestorePhase) -> Result<Box<dyn Quiesced>, ParticipantError> {
        self.enter("quiesce", phase)?;
        Ok(Box::new(self.clone()))
    }

    fn stage(&self, staging: &mut Staging) -> Result<(), ParticipantError> {
        let phase = staging.phase().clone();
        self.enter("stage", &phase)?;
        let mut content = Vec::new();
        while let Some(mut artifact) = staging.next_artifact() {
            artifact.read_to_end(&mut content)?;
        }
        self.data.lock().unwrap()[1] = content;
        Ok(())
    }

    fn commit(&self, _phase: &RestorePhase) -> Result<(), ParticipantError> {
        if *self.hangs.lock().unwrap() == "commit" {
            return Err(ParticipantError::fatal("LEDGER_BROKEN", "it cannot be written"));
        }
        let mut data = self.data.lock().unwrap();
        data[0] = data[1].clone();
        Ok(())
    }

    fn verify(&self, phase: &RestorePhase) -> Result<(), ParticipantError> {
        self.enter("verify", phase)
    }

    fn discard(&self, _phase: &RestorePhase) -> Result<(), ParticipantError> {
        Ok(())
    }
}

/// An engine with the modules `a` and `b`, backed up and changed since.
fn changed_since(home: &Home, config: Config) -> (blocking::Holdfast, [Ledger; 2], RunId) {
    let all = ["a", "b"].map(Ledger::new);
    let engine = all
        .iter()
        .fold(builder(home).config(config), |builder, one| builder.participant_with(module(one.name), one.clone()));
    let engine = engine.start_blocking().unwrap();
    let run = back_up(&engine, Backup::full());
    all.iter().for_each(|one| one.put("later"));
    (engine, all, run.id().unwrap())
}

/// Restores, and gives the restore as it has ended, whatever its end.
fn restore(engine: &blocking::Holdfast, run_id: RunId, more: &Value) -> RestoreView {
    let mut wish = json!({ "run_id": run_id, "force": true });
    wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request: StartRestoreRun = serde_json::from_value(wish).unwrap();
    let dispatcher = Dispatcher::new(engine.handle().clone());
    let answer = within(engine, "the restore's end", dispatcher.ask(&request));
    answer.unwrap_or_else(|error| {
        serde_json::from_value(error.detail.clone().unwrap_or_default()).unwrap_or_else(|_| panic!("{error:?}"))
    })
}

fn snapshots(home: &Home) -> usize {
    fs::read_dir(home.path().join("backups/pre-restore")).unwrap().count()
}

#[test]
fn a_restore_that_takes_too_long_leaves_all_as_before() {
    let steps = [
        ("quiesce", RestoreStatus::Timeout),
        ("capture", RestoreStatus::Timeout),
        ("stage", RestoreStatus::Timeout),
        ("verify", RestoreStatus::RolledBack),
    ];
    for (step, status) in steps {
        let home = Home::new();
        let mut config = crate::support::engine::config(4, 2);
        // As configured, or as it is said.
        let configured = step == "stage";
        config.restores.timeout = configured.then_some(Duration::from_secs(1));
        let (engine, all, run_id) = changed_since(&home, config);
        all[1].hangs_in(step);
        let said = if configured { json!({}) } else { json!({ "timeout_s": 1 }) };
        let view = restore(&engine, run_id, &said);
        assert_eq!((view.status, view.timeout_s), (status, 1), "{step}: {view:?}");
        assert!(view.error_summary.contains("took 1.0 s, which is the most it may (RESTORE_TIMED_OUT)"), "{view:?}");
        assert_eq!(all.each_ref().map(Ledger::live), ["a later", "b later"], "{step}");
        // What touched nothing needs nothing of the state before.
        assert_eq!(snapshots(&home), usize::from(status == RestoreStatus::RolledBack), "{step}");
        // The next one has as long as it takes.
        all[1].hangs_in("");
        let view = restore(&engine, run_id, &json!({ "timeout_s": 0 }));
        assert_eq!((view.status, view.timeout_s), (RestoreStatus::Completed, 0), "{step}: {view:?}");
        assert_eq!(all.each_ref().map(Ledger::live), ["a backed up", "b backed up"], "{step}");
        engine.stop();
    }
}

#[test]
fn a_command_that_hangs_in_its_restore_is_ended_and_fed_with_the_state_before() {
    let home = Home::new();
    let folder = home.beside("");
    fs::create_dir(home.path()).unwrap();
    fs::write(home.beside("rows"), "backed up").unwrap();
    let text = format!(
        "[[participant]]\nname = 'db'\nkind = 'command'\nshell = true\ndirectory = '{}'\ncommand = 'cat rows'\n\
         restore = 'cat > rows; test -e again || {{ touch again; sleep 1000; }}'\n",
        folder.display()
    );
    fs::write(home.path().join("config.toml"), text).unwrap();
    home.holdfast(["backup"]).run().expect(0);
    fs::write(home.beside("rows"), "later").unwrap();
    let restored = home.holdfast(["restore", "latest", "--in-place", "--force", "--timeout", "2s"]).run();
    restored.expect(1).says("took 2.0 s, which is the most it may");
    assert_eq!(fs::read_to_string(home.beside("rows")).unwrap(), "later", "{restored}");
    let restores = home.holdfast(["--json", "restores"]).run();
    let restores: Value = serde_json::from_str(restores.expect(0).out().trim()).unwrap();
    assert_eq!(restores["rows"][0]["status"], "rolled_back", "{restores}");
}

/// Waits until there are so many safety snapshots.
fn wait_for_snapshots(home: &Home, count: usize) {
    let began = Instant::now();
    while snapshots(home) != count {
        assert!(began.elapsed() < DEADLINE, "{} safety snapshots, not {count}", snapshots(home));
        std::thread::yield_now();
    }
}

fn config_keeping(keep: Duration) -> Config {
    let mut config = crate::support::engine::config(4, 2);
    config.restores.keep_safety = Some(keep);
    config
}

#[test]
fn what_was_before_a_restore_goes_when_its_time_is_over_but_for_the_newest_and_what_may_be_needed() {
    let home = Home::new();
    let (engine, all, run_id) = changed_since(&home, config_keeping(Duration::ZERO));
    let first = restore(&engine, run_id, &json!({}));
    assert_eq!((first.status, snapshots(&home)), (RestoreStatus::Completed, 1), "the newest one stays");
    // One that could not be rolled back keeps its own.
    all[1].hangs_in("commit");
    let half = restore(&engine, run_id, &json!({}));
    assert_eq!(half.status, RestoreStatus::RollbackFailed, "{half:?}");
    wait_for_snapshots(&home, 1);
    let way_out = format!("holdfast restore retry {}", half.restore_id);
    let status = home.holdfast(["status"]).run();
    assert!(status.expect(0).out().contains(&way_out), "{status}");
    let refused = engine.back_up(Backup::full()).unwrap_err();
    assert_eq!(refused.code(), "RESTORE_ROLLBACK_FAILED");
    assert!(refused.to_string().contains(&way_out), "{refused}");
    all[1].hangs_in("");
    let last = restore(&engine, run_id, &json!({}));
    assert_eq!(last.status, RestoreStatus::Completed, "{last:?}");
    wait_for_events(&engine, "SafetySnapshotRemoved", 1);
    let kept = |view: &RestoreView| home.path().join("backups/pre-restore").join(&view.restore_id).exists();
    wait_for_snapshots(&home, 2);
    assert_eq!([&first, &half, &last].map(kept), [false, true, true]);
    let status = home.holdfast(["status"]).run();
    assert!(!status.expect(0).out().contains("restore retry"), "{status}");
    engine.stop();

    let shown = home.holdfast(["restore", "show", &first.restore_id]).run();
    shown.expect(0).says("and removed on 2");
    assert!(!shown.out().contains("pre-restore"), "{shown}");
    home.holdfast(["restore", "show", &last.restore_id]).run().expect(0).says("pre-restore");
    // A start that keeps them for good removes none.
    let engine = builder(&home).config(config_keeping(Duration::MAX)).start_blocking().unwrap();
    engine.stop();
    assert_eq!(snapshots(&home), 2);
}

#[test]
fn a_safety_snapshot_whose_end_was_recorded_and_not_made_is_taken_away_by_the_next_start() {
    let home = Home::new();
    let (engine, _, run_id) = changed_since(&home, config_keeping(Duration::MAX));
    let view = restore(&engine, run_id, &json!({}));
    let restore_id: RestoreId = view.restore_id.parse().unwrap();
    within(&engine, "its end", engine.handle().restore(restore_id, RestoreCommand::RemoveSafety)).unwrap();
    engine.stop();
    assert_eq!(snapshots(&home), 1);
    let engine = builder(&home).config(config_keeping(Duration::MAX)).start_blocking().unwrap();
    assert_eq!(snapshots(&home), 0);
    assert_eq!(fs::read_dir(home.path().join("backups/.deleting")).unwrap().count(), 0);
    engine.stop();
}

#[test]
fn a_restore_whose_modules_are_missing_is_in_nobody_elses_way_and_is_settled_when_they_come() {
    let home = Home::new();
    let all = ["a", "b", "c"].map(Ledger::new);
    let start = |there: &[usize]| {
        let builder = there
            .iter()
            .fold(builder(&home), |builder, at| builder.participant_with(module(all[*at].name), all[*at].clone()));
        builder.start_blocking().unwrap()
    };
    let engine = start(&[0, 1, 2]);
    let run_id = back_up(&engine, Backup::full()).id().unwrap();
    all.iter().for_each(|one| one.put("later"));
    all[1].hangs_in("verify");
    let wish = json!({ "run_id": run_id, "force": true, "participants": ["a", "b"], "wait": false });
    let request: StartRestoreRun = serde_json::from_value(wish).unwrap();
    within(&engine, "its begin", Dispatcher::new(engine.handle().clone()).ask(&request)).unwrap();
    wait_for_events(&engine, "RestoreParticipantCommitted", 2);
    engine.stop();
    all[1].hangs_in("");

    // Those that are there go on.
    let engine = start(&[2]);
    let told = engine.handle().settled().join("\n");
    assert!(told.contains("is settled as soon as its participants a, b are registered"), "{told}");
    let other = restore(&engine, run_id, &json!({ "participants": ["c"] }));
    assert_eq!((other.status, all[2].live()), (RestoreStatus::Completed, "c backed up".to_owned()));
    assert_eq!(back_up(&engine, Backup::scoped([name("c")])).outcome(), Some(Outcome::Completed));
    // Its own wait, also where only some of them are there.
    let register = |one: &Ledger| {
        let registered = Registered { descriptor: module(one.name), code: Arc::new(one.clone()) };
        engine.handle().register(registered).unwrap();
    };
    register(&all[0]);
    let refused = engine.back_up(Backup::scoped([name("a")])).unwrap_err();
    assert_eq!(refused.code(), "RESTORE_ALREADY_RUNNING");
    register(&all[1]);
    wait_for_events(&engine, "RestoreCompleted", 2);
    within(&engine, "the restores' end", engine.handle().restores_ended());
    assert_eq!(all[..2].iter().map(Ledger::live).collect::<Vec<_>>(), ["a backed up", "b backed up"]);
    assert_eq!(back_up(&engine, Backup::full()).outcome(), Some(Outcome::Completed));
    engine.stop();
}
