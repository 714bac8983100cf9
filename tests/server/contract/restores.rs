//! Restores in place.

use std::fs;
use std::time::Duration;

use holdfast::model::access::Role;
use serde_json::{Value, json};

use super::world::{Mode, World, with};
use crate::support::{DEADLINE, text};

pub(crate) fn cases(world: &World) {
    let mut manager = world.remote(Some(Role::Manager));
    let full = manager.good("StartFullBackup", &json!({}));
    let db = json!({ "run_id": full["run_id"], "participants": ["db"], "safety": "none" });
    let plan = manager.good("StartRestoreRun", &with(&db, "dry_run", json!(true)));
    assert_eq!((&plan["dry_run"], &plan["status"]), (&json!(true), &json!("completed")));
    assert_eq!((&plan["participants"][0]["name"], plan["participants"].as_array().unwrap().len()), (&json!("db"), 1));
    let row = &plan["participants"][0];
    assert_eq!(
        (&plan["restore_id"], &row["tries"], &row["kind"]),
        (&json!(""), &json!(0), &json!("command")),
        "{plan}"
    );
    assert_eq!((&row["started_at"], &row["finished_at"]), (&plan["started_at"], &plan["finished_at"]), "{plan}");
    assert_eq!(manager.good("GetRestoreRuns", &json!({}))["rows"], json!([]), "a dry run is not recorded");
    assert!(!world.home.beside("taken").exists());

    manager.refused("StartRestoreRun", &db, "MAINTENANCE_REQUIRED");
    assert_eq!(
        manager.good("SetMaintenance", &json!({ "enabled": true, "reason": "restore" })),
        json!({ "enabled": true })
    );
    let done = manager.good("StartRestoreRun", &db);
    assert_eq!((&done["status"], &done["source_run_id"]), (&json!("completed"), &full["run_id"]), "{done}");
    assert_eq!((&done["force"], &done["safety"]), (&json!(false), &json!("none")), "{done}");
    let row = &done["participants"][0];
    assert_eq!((&row["name"], &row["status"], &row["ok"]), (&json!("db"), &json!("completed"), &json!(true)), "{done}");
    assert_eq!((&row["safety_snapshot_path"], &row["safety_artifacts"]), (&json!(""), &json!([])), "{done}");
    assert_eq!(fs::read_to_string(world.home.beside("taken")).unwrap(), "one\ntwo\n");
    assert_eq!(manager.good("SetMaintenance", &json!({ "enabled": false })), json!({ "enabled": false }));

    fs::write(world.home.beside("broken"), "").unwrap();
    let broken = with(&with(&db, "force", json!(true)), "safety", json!("best_effort"));
    let failed = manager.refused("StartRestoreRun", &broken, "RESTORE_FAILED")["detail"].clone();
    assert_eq!((&failed["status"], &failed["force"]), (&json!("rollback_failed"), &json!(true)), "{failed}");
    assert_eq!((&failed["safety"], &failed["participants"][0]["status"]), (&json!("best_effort"), &json!("failed")));
    assert_eq!(failed["error_code"], "COMMAND_FAILED", "{failed}");
    assert!(text(&failed["error_summary"]).contains("it was to be rolled back because"), "{failed}");
    fs::remove_file(world.home.beside("broken")).unwrap();
    let back = world.count("RestoreRolledBack") + 1;
    manager.good("RetryRestoreRun", &json!({ "restore_id": failed["restore_id"] }));
    world.wait_for("RestoreRolledBack", back);
    manager.good("SetMaintenance", &json!({ "enabled": false }));

    at_work(world, &with(&db, "force", json!(true)));
    let rows = manager.good("GetRestoreRuns", &json!({ "limit": 2 }));
    into_a_folder(world, &full);
    assert_eq!(rows["rows"].as_array().unwrap().len(), 2);
    let rest = manager.good("GetRestoreRuns", &json!({ "limit": 2, "cursor": rows["next_cursor"] }));
    assert_eq!((&rest["rows"], &rest["next_cursor"]), (&json!([done]), &json!("")));
    assert_eq!(manager.good("GetRestoreRun", &json!({ "restore_id": done["restore_id"] })), done);
    let none = json!({ "restore_id": "019aa700-0000-7000-8000-000000000001" });
    manager.refused("GetRestoreRun", &none, "RESTORE_RUN_NOT_FOUND");
    manager.invalid("GetRestoreRun", &json!({ "restore_id": "latest" }), "restore_id");
    manager.invalid("GetRestoreRuns", &json!({ "cursor": "x" }), "cursor");
    manager.invalid("SetMaintenance", &json!({}), "enabled");
}

pub(crate) fn refused(world: &World) {
    let mut manager = world.remote(Some(Role::Manager));
    let full = manager.good("StartFullBackup", &json!({}));
    let db = &json!({ "run_id": full["run_id"], "participants": ["db"], "safety": "none" });
    for (field, wrong) in [
        ("run_id", json!("latest")),
        ("participants", json!("db")),
        ("participants[0]", json!(["../db"])),
        ("dry_run", json!(1)),
        ("force", json!("yes")),
        ("safety", json!("maybe")),
        ("delete", json!("all")),
        ("accept_incomplete", json!(0)),
        ("wait", json!([])),
        ("target", json!("/srv/out")),
        ("overwrite", json!(true)),
        ("overwrite", json!("yes")),
        ("timeout_s", json!(31_622_401)),
    ] {
        let key = field.split('[').next().unwrap();
        manager.invalid("StartRestoreRun", &with(db, key, wrong), field);
    }
    manager.invalid("StartRestoreRun", &json!({}), "run_id");
    manager.refused("StartRestoreRun", &with(db, "run_id", json!("20261121-031500-009999")), "BACKUP_RUN_NOT_FOUND");
    let unknown =
        manager.refused("StartRestoreRun", &with(db, "participants", json!(["nobody"])), "UNKNOWN_PARTICIPANT");
    assert_eq!(unknown["detail"]["unknown"], json!(["nobody"]));
    for (participants, named) in [(json!(["notes", "web"]), json!(["notes"])), (json!([]), json!(["notes"]))] {
        let error =
            manager.refused("StartRestoreRun", &with(db, "participants", participants), "RESTORE_NOT_SUPPORTED");
        assert_eq!(error["detail"]["participants"], named);
    }

    world.notes(Mode::Fails);
    let failed = manager.refused("StartFullBackup", &json!({}), "BACKUP_RUN_FAILED");
    world.notes(Mode::Good);
    let of_failed = with(db, "run_id", failed["detail"]["run_id"].clone());
    manager.refused("StartRestoreRun", &of_failed, "BACKUP_RUN_NOT_RESTORABLE");
    let good_part = with(&with(&of_failed, "accept_incomplete", json!(true)), "dry_run", json!(true));
    manager.good("StartRestoreRun", &good_part);
    let bad_part = with(&good_part, "participants", json!(["notes"]));
    manager.refused("StartRestoreRun", &bad_part, "BACKUP_RUN_NOT_RESTORABLE");
}

/// One restore at a time, and none beside a backup.
fn at_work(world: &World, db: &Value) {
    let mut manager = world.remote(Some(Role::Manager));
    world.notes(Mode::Waits);
    let run = manager.good("StartFullBackup", &json!({ "participants": ["notes"], "wait": false }));
    let busy = manager.refused("StartRestoreRun", db, "BACKUP_ALREADY_RUNNING");
    assert_eq!(busy["detail"]["active_run_id"], run["run_id"]);
    world.notes(Mode::Good);
    world.wait_for_end(&run);

    fs::remove_file(world.home.beside("go")).unwrap();
    let begun = manager.ask("StartRestoreRun", &with(db, "wait", json!(false)));
    assert_eq!((begun.status(), &begun.0["data"]["status"]), (202, &json!("running")), "{begun:?}");
    let busy = manager.refused("StartRestoreRun", db, "RESTORE_ALREADY_RUNNING");
    assert_eq!(busy["detail"]["active_restore_id"], begun.0["data"]["restore_id"]);
    let busy = manager.refused("StartFullBackup", &json!({}), "RESTORE_ALREADY_RUNNING");
    assert_eq!(busy["detail"]["active_restore_id"], begun.0["data"]["restore_id"]);
    manager.good("StartFullBackup", &json!({ "participants": ["web"] }));
    assert!(!world.block_on(world.engine().drain(Duration::ZERO)), "a stop would not wait for the restore");
    let ended = world.count("RestoreCompleted") + 1;
    fs::write(world.home.beside("go"), "").unwrap();
    world.wait_for("RestoreCompleted", ended);
    assert!(world.block_on(world.engine().drain(DEADLINE)), "nothing is at work any more");
}

/// Into a folder, for this machine alone: all of the run, or one participant.
fn into_a_folder(world: &World, full: &Value) {
    let mut local = world.local();
    let out = world.home.beside("out");
    let wish = json!({ "run_id": full["run_id"], "target": out });
    let plan = local.good("StartRestoreRun", &with(&wish, "dry_run", json!(true)));
    assert_eq!((&plan["restore_id"], &plan["target"]), (&json!(""), &json!(out)), "{plan}");
    assert!(!out.exists() && plan["files"].as_u64().is_some_and(|files| files > 0), "{plan}");
    let done = local.good("StartRestoreRun", &with(&wish, "participants", json!(["web"])));
    assert_eq!(
        (&done["status"], &done["target"], &done["participants"]),
        (&json!("completed"), &json!(out), &json!([]))
    );
    assert!(out.join("site").is_dir(), "{done}");
    assert_eq!(local.good("GetRestoreRun", &json!({ "restore_id": done["restore_id"] })), done);
    let in_the_way = with(&wish, "participants", json!(["web"]));
    local.refused("StartRestoreRun", &in_the_way, "BACKUP_RUN_NOT_RESTORABLE");
    local.good("StartRestoreRun", &with(&in_the_way, "overwrite", json!(true)));
    local.refused("StartRestoreRun", &with(&wish, "participants", json!(["web", "db"])), "RESTORE_NOT_SUPPORTED");
    local.invalid("StartRestoreRun", &with(&wish, "target", json!("out")), "target");
}

/// What the command line has recorded that it does by itself.
pub(crate) fn recorded(world: &World) {
    let mut local = world.local();
    let run = local.good("StartFullBackup", &json!({ "participants": ["web"] }));
    let restore_id = json!("019aa700-0000-7000-8000-00000000000a");
    let begin = json!({ "restore_id": restore_id, "run_id": run["run_id"], "target": "/srv/out", "overwrite": false });
    local.refused("BeginRestore", &with(&begin, "run_id", json!("20261121-031500-009999")), "BACKUP_RUN_NOT_FOUND");
    local.invalid("BeginRestore", &with(&begin, "target", json!("x".repeat(4097))), "target");
    let begun = local.good("BeginRestore", &begin);
    assert_eq!((&begun["restore_id"], &begun["target"]), (&restore_id, &json!("/srv/out")), "{begun}");
    local.refused("BeginRestore", &begin, "RESTORE_ALREADY_RUNNING");
    let done = json!({ "completed": { "files": 3, "bytes": 9, "warnings": 0 } });
    let nothing = json!({ "restore_id": "019aa700-0000-7000-8000-00000000000b", "end": done });
    local.refused("EndRestore", &nothing, "RESTORE_RUN_NOT_FOUND");
    let ended = local.good("EndRestore", &json!({ "restore_id": restore_id, "end": done }));
    assert_eq!((&ended["status"], &ended["files"]), (&json!("completed"), &json!(3)), "{ended}");

    let found = json!({ "run_id": run["run_id"], "ok": true, "files": 3, "bytes": 9 });
    assert_eq!(local.good("RecordValidation", &found)["run_id"], run["run_id"]);
    local.invalid("RecordValidation", &with(&found, "ok", json!(false)), "ok");
    local.refused("RecordValidation", &with(&found, "run_id", json!("20261121-031500-009999")), "BACKUP_RUN_NOT_FOUND");
    world.notes(Mode::Waits);
    let open = local.good("StartFullBackup", &json!({ "participants": ["notes"], "wait": false }));
    local.refused("RecordValidation", &with(&found, "run_id", open["run_id"].clone()), "BACKUP_RUN_ACTIVE");
    world.notes(Mode::Good);
    world.wait_for_end(&open);
}
