//! Runs: begun, looked at, verified, locked, deleted; and the participants in them.

use std::fs;
use std::io::Write;

use holdfast::model::access::Role;
use holdfast::storage::Storage;
use serde_json::json;

use super::world::{Client, Mode, World, with};
use crate::support::text;

const NO_RUN: &str = "20261121-031500-009999";

pub(crate) fn begun(world: &World) {
    let mut operator = world.remote(Some(Role::Operator));
    operator.refused("StartFullBackup", &json!({ "participants": ["nobody"] }), "UNKNOWN_PARTICIPANT");
    operator.invalid("StartFullBackup", &json!({ "wait": "no" }), "wait");
    world.notes(Mode::Fails);
    let failed = operator.refused("StartFullBackup", &json!({}), "BACKUP_RUN_FAILED");
    assert_eq!(failed["detail"]["status"], "failed", "{failed}");
    world.notes(Mode::Waits);
    let key = json!({ "wait": false, "idempotency_key": "night" });
    let first = operator.ask("StartFullBackup", &key);
    assert_eq!(first.status(), 202, "{first:?}");
    let again = operator.good("StartFullBackup", &key);
    assert_eq!(again["run_id"], first.0["data"]["run_id"], "the same wish is the same run");
    let other = json!({ "participants": ["web"], "idempotency_key": "night" });
    operator.refused("StartFullBackup", &other, "IDEMPOTENCY_KEY_REUSED");
    let busy = operator.refused("StartFullBackup", &json!({ "participants": ["web"] }), "BACKUP_ALREADY_RUNNING");
    assert_eq!(busy["detail"]["active_run_id"], first.0["data"]["run_id"]);
    world.queueing(true);
    let queued = operator.good("StartFullBackup", &json!({ "participants": ["web"], "wait": false }));
    assert_eq!(queued["status"], "queued", "{queued}");
    world.queueing(false);
    world.notes(Mode::Good);
    world.wait_for_end(&first.0["data"]);
    world.wait_for_end(&queued);
    for (field, other) in [("strict", json!(true)), ("compression", json!("none")), ("job", json!("weekly"))] {
        operator.refused("StartFullBackup", &with(&key, field, other), "IDEMPOTENCY_KEY_REUSED");
    }
    named_by_hand(world);
}

/// Paths are taken over the Unix socket alone, and refused by name elsewhere: a full run in their place would be none of them.
fn named_by_hand(world: &World) {
    let site = world.home.beside("site");
    let mut admin = world.remote(Some(Role::Admin));
    admin.invalid("StartFullBackup", &json!({ "paths": [site] }), "paths");
    admin.invalid("StartFullBackup", &json!({ "name": "by-hand", "exclude": ["*.log"] }), "name");
    admin.invalid("StartFullBackup", &json!({ "exclude": ["*.log"] }), "exclude");
    let mut local = world.local();
    let wish = json!({ "paths": [site], "name": "by-hand", "exclude": ["*.log"], "idempotency_key": "by hand" });
    let run = local.good("StartFullBackup", &wish);
    assert_eq!(run["participants"][0]["name"], "by-hand", "{run}");
    assert_eq!(local.good("StartFullBackup", &wish)["run_id"], run["run_id"]);
    for (field, other) in [
        ("paths", json!([world.home.beside("rows")])),
        ("name", json!("other")),
        ("exclude", json!([])),
        ("allow_empty", json!(true)),
        ("trigger", json!("cron")),
    ] {
        local.refused("StartFullBackup", &with(&wish, field, other), "IDEMPOTENCY_KEY_REUSED");
    }
    local.refused("StartFullBackup", &json!({ "idempotency_key": "by hand" }), "IDEMPOTENCY_KEY_REUSED");
    local.invalid("StartFullBackup", &json!({ "name": "by-hand" }), "name");
    local.invalid("StartFullBackup", &json!({ "paths": ["site"] }), "paths");
}

pub(crate) fn listed(world: &World) {
    let mut operator = world.remote(Some(Role::Operator));
    let scoped = operator.good("StartFullBackup", &json!({ "participants": ["web"], "trigger": "pre_update" }));
    assert_eq!((&scoped["type"], &scoped["trigger"]), (&json!("scoped"), &json!("pre_update")));
    let full = operator.good("StartBackupServer", &json!({}));
    assert_eq!((&full["status"], &full["type"]), (&json!("completed"), &json!("full")), "{full}");

    let mut viewer = world.remote(Some(Role::Viewer));
    let first = viewer.good("GetBackupRuns", &json!({ "limit": 1 }));
    assert_eq!(first["rows"], json!([full]));
    let next = viewer.good("GetBackupRuns", &json!({ "limit": 1, "cursor": first["next_cursor"] }));
    assert_eq!(next["rows"][0]["run_id"], scoped["run_id"]);
    let failed = viewer.good("GetBackupsList", &json!({ "status": "failed" }));
    assert_eq!((failed["rows"].as_array().unwrap().len(), &failed["next_cursor"]), (2, &json!("")));
    viewer.invalid("GetBackupRuns", &json!({ "status": "good" }), "status");
    viewer.invalid("GetBackupRuns", &json!({ "limit": 0 }), "limit");
    assert_eq!(viewer.good("GetBackupRun", &json!({ "run_id": full["run_id"] })), full);
    viewer.refused("GetBackupRun", &json!({ "run_id": NO_RUN }), "BACKUP_RUN_NOT_FOUND");
    viewer.invalid("GetBackupRun", &json!({ "run_id": "latest" }), "run_id");
}

pub(crate) fn told(world: &World) {
    let full = world.remote(Some(Role::Operator)).good("StartFullBackup", &json!({}));
    let mut viewer = world.remote(Some(Role::Viewer));
    let whole = viewer.good("GetBackupRunLog", &json!({ "run_id": full["run_id"] }));
    let whole = whole["rows"].as_array().unwrap().clone();
    assert_eq!((&whole[0]["type"], &whole[0]["level"]), (&json!("RunRequested"), &json!("info")));
    let end = whole.last().unwrap();
    assert_eq!(end["message"], "it has ended completed; its directory is in backups/completed");
    assert!(whole.iter().any(|row| row["type"] == "ArtifactStored" && row["participant"] == "db"), "{whole:?}");
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = viewer.good("GetBackupRunLog", &json!({ "run_id": full["run_id"], "limit": 5, "cursor": cursor }));
        paged.extend(page["rows"].as_array().unwrap().clone());
        cursor = text(&page["next_cursor"]);
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(paged, whole);
    viewer.refused("GetBackupRunLog", &json!({ "run_id": NO_RUN }), "BACKUP_RUN_NOT_FOUND");
    viewer.invalid("GetBackupRunLog", &json!({ "run_id": full["run_id"], "limit": 1001 }), "limit");
    // The command line tells the same story, beside the server.
    let run = text(&full["run_id"]);
    let shown = world.home.holdfast(["show", &run, "--log"]).run();
    let shown = shown.expect(0).out();
    for row in &whole {
        assert!(shown.contains(&text(&row["message"])), "{row} is not in:\n{shown}");
    }
}

pub(crate) fn cancelled(world: &World) {
    let mut operator = world.remote(Some(Role::Operator));
    world.notes(Mode::Waits);
    let run = operator.good("StartFullBackup", &json!({ "wait": false }));
    let id = json!({ "run_id": run["run_id"] });
    operator.refused("ValidateBackupRun", &id, "BACKUP_RUN_ACTIVE");
    world.remote(Some(Role::Manager)).refused("DeleteBackupRun", &id, "BACKUP_RUN_ACTIVE");
    let asked = operator.good("CancelBackupRun", &json!({ "run_id": run["run_id"], "reason": "not now" }));
    assert_eq!(asked["run_id"], run["run_id"]);
    world.notes(Mode::Good);
    world.wait_for_end(&run);
    let after = operator.good("GetBackupRun", &id);
    assert_eq!(after["status"], "cancelled", "{after}");
    operator.refused("CancelBackupRun", &id, "BACKUP_RUN_NOT_ACTIVE");
    operator.refused("CancelBackupRun", &json!({ "run_id": NO_RUN }), "BACKUP_RUN_NOT_FOUND");
}

pub(crate) fn verified(world: &World) {
    let mut operator = world.remote(Some(Role::Operator));
    let run = operator.good("StartFullBackup", &json!({ "participants": ["db"] }));
    let id = json!({ "run_id": run["run_id"] });
    let good = operator.good("ValidateBackupRun", &id);
    assert_eq!((&good["ok"], &good["run_id"], &good["extra"]), (&json!(true), &run["run_id"], &json!([])));
    operator.refused("ValidateBackupRun", &json!({ "run_id": NO_RUN }), "BACKUP_RUN_NOT_FOUND");

    let artifact = world.home.path().join(text(&run["participants"][0]["artifacts"][0]["path"]));
    let mut permissions = fs::metadata(&artifact).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    fs::set_permissions(&artifact, permissions).unwrap();
    fs::OpenOptions::new().append(true).open(&artifact).unwrap().write_all(b"!").unwrap();
    let damaged = operator.refused("ValidateBackupRun", &id, "BACKUP_VALIDATION_FAILED");
    let named = artifact.file_name().unwrap().to_str().unwrap();
    let errors = damaged["detail"]["errors"].as_array().unwrap();
    assert!(errors.iter().any(|error| error["artifact"] == named && !text(&error["error"]).is_empty()), "{damaged}");
    assert_eq!(damaged["detail"]["run"]["participants"][0]["artifacts"][0]["validation_ok"], false, "{damaged}");
    // It is recorded: whoever looks later sees it.
    let run = operator.good("GetBackupRun", &id);
    assert_eq!(run["participants"][0]["artifacts"][0]["validation_ok"], false);
}

pub(crate) fn locked_and_deleted(world: &World) {
    let mut manager = world.remote(Some(Role::Manager));
    let run = manager.good("StartFullBackup", &json!({ "participants": ["web"] }));
    let id = json!({ "run_id": run["run_id"] });
    let locked = manager.good("LockBackupRun", &json!({ "run_id": run["run_id"], "reason": "the audit" }));
    assert_eq!((&locked["locked"], &locked["lock_reason"]), (&json!(true), &json!("the audit")));
    manager.refused("DeleteBackupRun", &id, "BACKUP_RUN_LOCKED");
    assert_eq!(manager.good("UnlockBackupRun", &id)["locked"], false);
    for name in ["LockBackupRun", "UnlockBackupRun", "DeleteBackupRun"] {
        manager.refused(name, &json!({ "run_id": NO_RUN }), "BACKUP_RUN_NOT_FOUND");
    }
    manager.invalid("LockBackupRun", &json!({ "run_id": run["run_id"], "reason": "a\nb" }), "reason");

    let lease = Storage::at(world.home.path().join("backups")).lease(text(&run["run_id"]).parse().unwrap()).unwrap();
    manager.refused("DeleteBackupRun", &id, "BACKUP_RUN_DELETE_FAILED");
    drop(lease);
    let path = world.home.path().join(text(&run["path"]));
    assert!(path.is_dir());
    let deleted = manager.good("DeleteBackupRun", &id);
    assert_eq!(deleted, json!({ "ok": true, "run_id": run["run_id"], "deleted_path": run["path"] }));
    assert!(!path.exists());
    manager.refused("DeleteBackupRun", &id, "BACKUP_RUN_NOT_FOUND");
    manager.refused("LockBackupRun", &id, "BACKUP_RUN_NOT_FOUND");
    let another = manager.good("StartFullBackup", &json!({ "participants": ["web"] }));
    manager.good("DeleteBackup", &json!({ "run_id": another["run_id"] }));
}

pub(crate) fn participants(world: &World) {
    let mut manager = world.remote(Some(Role::Manager));
    manager.good("StartFullBackup", &json!({}));
    let web = manager.good("StartFullBackup", &json!({ "participants": ["web"] }));
    manager.good("DeleteBackupRun", &json!({ "run_id": web["run_id"] }));
    let rows = |manager: &mut Client| manager.good("GetBackupParticipants", &json!({}))["rows"].clone();
    let before = rows(&mut manager);
    let names: Vec<_> = before.as_array().unwrap().iter().map(|row| text(&row["name"])).collect();
    assert_eq!(names[..3], ["db", "web", "notes"], "of the configuration, then of the application");
    let supported: Vec<_> = before.as_array().unwrap().iter().map(|row| row["restore_supported"].clone()).collect();
    assert_eq!(supported[..3], [true, true, false]);
    assert!(before.as_array().unwrap().iter().all(|row| row["dry_run_supported"] == row["restore_supported"]));
    assert_eq!((&before[1]["last_run_status"], &before[2]["kind"]), (&json!("deleted"), &json!("module")), "{before}");

    manager.refused("ResetBackupParticipant", &json!({ "name": "notes" }), "PARTICIPANT_NOT_QUARANTINED");
    manager.refused("ResetBackupParticipant", &json!({ "name": "nobody" }), "UNKNOWN_PARTICIPANT");
    world.notes(Mode::Fails);
    for _ in 0..5 {
        manager.refused("StartFullBackup", &json!({ "participants": ["notes"] }), "BACKUP_RUN_FAILED");
    }
    world.notes(Mode::Good);
    let notes = rows(&mut manager)[2].clone();
    assert_eq!((&notes["state"], &notes["failures"]), (&json!("quarantined"), &json!(5)), "{notes}");
    assert!(text(&notes["last_error"]).contains("NOTES_LOST"), "{notes}");
    let reset = manager.good("ResetBackupParticipant", &json!({ "name": "notes", "reason": "found them" }));
    assert_eq!(reset, json!({ "ok": true, "name": "notes" }));
    assert_eq!(rows(&mut manager)[2]["state"], "idle");
}
