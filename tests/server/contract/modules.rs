//! Restores into modules of the application.

use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex};

use holdfast::api::{Channel, Feed};
use holdfast::engine::Registered;
use holdfast::model::access::Role;
use holdfast::model::ids::Position;
use holdfast::participant::{
    Artifacts, Capture, Descriptor, Participant, ParticipantError, Quiesced, Restore, RestorePhase, Staging,
};
use serde_json::{Value, json};

use super::world::{Mode, World, with};
use crate::support::{DEADLINE, text};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Does {
    #[default]
    Well,
    FailsToCommit,
    WaitsToCommit,
}

/// A module whose data is in memory.
#[derive(Clone, Default)]
struct Ledger(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    live: Vec<u8>,
    staged: Vec<u8>,
    does: Does,
}

impl Ledger {
    fn does(&self, does: Does) {
        self.0.0.lock().unwrap().does = does;
        self.0.1.notify_all();
    }

    fn content(&self) -> Content {
        Content(self.0.0.lock().unwrap().live.clone())
    }
}

struct Content(Vec<u8>);

impl Capture for Content {
    fn write(&mut self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        let mut sink = artifacts.create("ledger.snapshot")?;
        sink.write_all(&self.0)?;
        sink.finish()
    }
}

impl Participant for Ledger {
    fn write(&self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        self.content().write(artifacts)
    }

    fn restore(&self) -> Option<&dyn Restore> {
        Some(self)
    }
}

impl Quiesced for Ledger {
    fn capture(&mut self, _phase: &RestorePhase) -> Result<Box<dyn Capture>, ParticipantError> {
        Ok(Box::new(self.content()))
    }

    fn resume(self: Box<Self>) -> Result<(), ParticipantError> {
        Ok(())
    }
}

impl Restore for Ledger {
    fn quiesce(&self, _phase: &RestorePhase) -> Result<Box<dyn Quiesced>, ParticipantError> {
        Ok(Box::new(self.clone()))
    }

    fn stage(&self, staging: &mut Staging) -> Result<(), ParticipantError> {
        let mut content = Vec::new();
        while let Some(mut artifact) = staging.next_artifact() {
            artifact.read_to_end(&mut content)?;
        }
        self.0.0.lock().unwrap().staged = content;
        Ok(())
    }

    fn commit(&self, _phase: &RestorePhase) -> Result<(), ParticipantError> {
        let state = self.0.0.lock().unwrap();
        let waits = |state: &mut State| state.does == Does::WaitsToCommit;
        let (mut state, _) = self.0.1.wait_timeout_while(state, DEADLINE, waits).unwrap();
        if state.does == Does::FailsToCommit {
            return Err(ParticipantError::fatal("LEDGER_BROKEN", "the ledger cannot be written"));
        }
        state.live = state.staged.clone();
        Ok(())
    }

    fn discard(&self, _phase: &RestorePhase) -> Result<(), ParticipantError> {
        Ok(())
    }
}

pub(crate) fn cases(world: &World) {
    let ledger = Ledger::default();
    ledger.0.0.lock().unwrap().live = b"one for you".to_vec();
    let descriptor = Descriptor::new("ledger").unwrap();
    world.engine().register(Registered { descriptor, code: Arc::new(ledger.clone()) }).unwrap();
    let mut manager = world.remote(Some(Role::Manager));
    let run = manager.good("StartFullBackup", &json!({ "participants": ["ledger"] }));
    ledger.0.0.lock().unwrap().live = b"two for me".to_vec();
    let wish = json!({ "run_id": run["run_id"], "force": true });

    let plan = manager.good("StartRestoreRun", &with(&wish, "dry_run", json!(true)));
    assert_eq!(plan["participants"][0]["notes"]["first"][0], "its commit is one step", "{plan}");

    // What the cases before have led to.
    let before = ["RestoreCommitStarted", "RestoreRolledBack", "MaintenanceEnabled", "MaintenanceDisabled"]
        .map(|one| (one, world.count(one)));
    let earlier = |name: &str| before.iter().find(|(one, _)| *one == name).unwrap().1;
    // One that is cancelled in the middle of its commit comes to the commit's end, and is then put back.
    ledger.does(Does::WaitsToCommit);
    let begun = manager.ask("StartRestoreRun", &with(&wish, "wait", json!(false))).0["data"].clone();
    let it = json!({ "restore_id": begun["restore_id"] });
    world.wait_for("RestoreCommitStarted", earlier("RestoreCommitStarted") + 1);
    assert_eq!(manager.good("GetRestoreRun", &it)["phase"], json!("commit"));
    manager.refused("RetryRestoreRun", &it, "RESTORE_ALREADY_RUNNING");
    manager.good("CancelRestoreRun", &it);
    ledger.does(Does::Well);
    world.wait_for("RestoreRolledBack", earlier("RestoreRolledBack") + 1);
    world.block_on(world.engine().restores_ended());
    let ended = manager.good("GetRestoreRun", &it);
    assert_eq!((&ended["status"], &ended["participants"][0]["ok"]), (&json!("rolled_back"), &json!(false)), "{ended}");
    assert_eq!(ledger.0.0.lock().unwrap().live, b"two for me");
    manager.refused("CancelRestoreRun", &it, "RESTORE_RUN_NOT_CANCELLABLE");
    manager.refused("RetryRestoreRun", &it, "RESTORE_NOT_RETRYABLE");

    // One that cannot be put back waits for somebody to see to it, and nobody backs up what it left.
    ledger.does(Does::FailsToCommit);
    let failed = manager.refused("StartRestoreRun", &wish, "RESTORE_FAILED")["detail"].clone();
    assert_eq!(failed["status"], json!("rollback_failed"), "{failed}");
    let it = json!({ "restore_id": failed["restore_id"] });
    // Maintenance is on from then on, until all is put right or somebody ends it.
    world.wait_for("MaintenanceEnabled", earlier("MaintenanceEnabled") + 1);
    let refused = manager.refused("StartFullBackup", &json!({ "participants": ["ledger"] }), "RESTORE_ROLLBACK_FAILED");
    assert_eq!((&refused["detail"]["restore_id"], &refused["retryable"]), (&it["restore_id"], &json!(false)));
    assert!(text(&refused["message"]).contains("holdfast restore retry"), "{refused}");
    world.notes(Mode::Waits);
    let other = manager.good("StartFullBackup", &json!({ "participants": ["notes"], "wait": false }));
    manager.refused("RetryRestoreRun", &it, "BACKUP_ALREADY_RUNNING");
    world.notes(Mode::Good);
    world.wait_for_end(&other);
    ledger.does(Does::Well);
    manager.good("RetryRestoreRun", &it);
    world.wait_for("RestoreRolledBack", earlier("RestoreRolledBack") + 2);
    world.block_on(world.engine().restores_ended());
    world.wait_for("MaintenanceDisabled", earlier("MaintenanceDisabled") + 1);
    assert_eq!(manager.good("GetRestoreRun", &it)["status"], json!("rolled_back"));
    assert_eq!(ledger.0.0.lock().unwrap().live, b"two for me");
    let done = manager.good("StartRestoreRun", &wish);
    assert_eq!(done["participants"][0]["safety_artifacts"][0]["logical_name"], json!("ledger.snapshot"), "{done}");
    assert_eq!(ledger.0.0.lock().unwrap().live, b"one for you");

    // What was before a restore that another one came after is not what was before that one.
    ledger.does(Does::FailsToCommit);
    let first = manager.refused("StartRestoreRun", &wish, "RESTORE_FAILED")["detail"].clone();
    ledger.does(Does::Well);
    manager.good("StartRestoreRun", &wish);
    manager.refused("RetryRestoreRun", &json!({ "restore_id": first["restore_id"] }), "RESTORE_NOT_RETRYABLE");
    world.wait_for("MaintenanceEnabled", earlier("MaintenanceEnabled") + 2);
    manager.good("SetMaintenance", &json!({ "enabled": false }));

    // Who listens for alerts is told of all that.
    let mut feed = Feed::open(world.engine(), Channel::Alerts, Some(Position::START));
    let mut alerts: Vec<Value> = Vec::new();
    let is_of = |alert: &Value, of: &Value| alert["restore_id"] == of["restore_id"];
    while !alerts.iter().any(|one| one["alert"] == "MAINTENANCE_LEFT_ON" && is_of(one, &first)) {
        let notice = world.block_on(feed.next()).unwrap();
        alerts.push(serde_json::from_str(notice.data.get()).unwrap());
    }
    for of in [&it, &first] {
        let told = |code: &str| alerts.iter().find(|one| one["alert"] == code && is_of(one, of));
        assert_eq!(told("RESTORE_ROLLBACK_FAILED").unwrap()["severity"], "critical", "{alerts:?}");
        assert_eq!(told("MAINTENANCE_LEFT_ON").unwrap()["severity"], "critical", "{alerts:?}");
        assert_eq!(told("RESTORE_ROLLED_BACK").is_some(), of == &it, "{alerts:?}");
    }

    let none = json!({ "restore_id": "019aa700-0000-7000-8000-000000000001" });
    manager.refused("CancelRestoreRun", &none, "RESTORE_RUN_NOT_FOUND");
    manager.refused("RetryRestoreRun", &none, "RESTORE_RUN_NOT_FOUND");
}
