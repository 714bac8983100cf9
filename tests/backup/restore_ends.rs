//! How restores in place end: by their deadline, by what was missing, and what is kept of the state before them.

use std::fs;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use holdfast::api::Dispatcher;
use holdfast::api::commands::StartRestoreRun;
use holdfast::blocking;
use holdfast::engine::Backup;
use holdfast::model::ids::RunId;
use holdfast::model::restore::{RestoreStatus, RestoreView};
use holdfast::participant::{
    Artifacts, Capture, Participant, ParticipantError, Quiesced, Restore, RestorePhase, Staging,
};
use serde_json::{Value, json};

use crate::support::engine::{back_up, builder, module, within};
use crate::support::{DEADLINE, Home};

/// A module whose data is in memory. It hangs where it is told to, until it is told to stop.
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
fn changed_since(home: &Home, config: holdfast::config::Config) -> (blocking::Holdfast, [Ledger; 2], RunId) {
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
fn restore(engine: &blocking::Holdfast, run_id: RunId, more: Value) -> RestoreView {
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
        config.restores.timeout = configured.then_some(std::time::Duration::from_secs(1));
        let (engine, all, run_id) = changed_since(&home, config);
        all[1].hangs_in(step);
        let said = if configured { json!({}) } else { json!({ "timeout_s": 1 }) };
        let view = restore(&engine, run_id, said);
        assert_eq!((view.status, view.timeout_s), (status, 1), "{step}: {view:?}");
        assert!(view.error_summary.contains("took 1.0 s, which is the most it may (RESTORE_TIMED_OUT)"), "{view:?}");
        assert_eq!(all.each_ref().map(Ledger::live), ["a later", "b later"], "{step}");
        // What touched nothing needs nothing of the state before.
        assert_eq!(snapshots(&home), usize::from(status == RestoreStatus::RolledBack), "{step}");
        // The next one has as long as it takes.
        all[1].hangs_in("");
        let view = restore(&engine, run_id, json!({ "timeout_s": 0 }));
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
