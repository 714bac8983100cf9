//! What the command line makes itself and has recorded by the owner of the home.

use holdfast::model::access::Role;
use serde_json::json;

use crate::world::{Mode, World, with};

const NO_RUN: &str = "20200101-000000-000999";
const RESTORE: &str = "019aa700-0000-7000-8000-00000000000a";

pub(crate) fn cases(world: &World) {
    restores(world);
    validations(world);
}

fn restores(world: &World) {
    let mut local = world.local();
    let run = local.good("StartFullBackup", &json!({ "participants": ["web"] }));
    let begin = json!({
        "restore_id": RESTORE, "run_id": run["run_id"], "target": "/srv/out", "staging": [47, 115], "selections": 2,
    });
    local.refused("BeginRestore", &with(&begin, "run_id", json!(NO_RUN)), "BACKUP_RUN_NOT_FOUND");
    for (field, wrong) in [
        ("restore_id", json!("latest")),
        ("run_id", json!("latest")),
        ("target", json!(7)),
        ("target", json!("x".repeat(4097))),
        ("staging", json!("/s")),
        ("overwrite", json!("yes")),
    ] {
        local.invalid("BeginRestore", &with(&begin, field, wrong), field);
    }
    let begun = local.good("BeginRestore", &begin);
    assert_eq!((&begun["restore_id"], &begun["target"]), (&json!(RESTORE), &json!("/srv/out")), "{begun}");
    local.refused("BeginRestore", &begin, "RESTORE_ALREADY_RUNNING");

    let end = json!({ "restore_id": RESTORE, "end": { "completed": { "files": 3, "bytes": 42, "warnings": 0 } } });
    let unknown = json!("019aa700-0000-7000-8000-00000000000b");
    local.refused("EndRestore", &with(&end, "restore_id", unknown), "RESTORE_RUN_NOT_FOUND");
    local.invalid("EndRestore", &with(&end, "end", json!({ "completed": { "files": -1 } })), "end.completed.files");
    let ended = local.good("EndRestore", &end);
    assert_eq!((&ended["status"], &ended["files"]), (&json!("completed"), &json!(3)), "{ended}");
    let row = world.remote(Some(Role::Viewer)).good("GetRestoreRun", &json!({ "restore_id": RESTORE }));
    assert_eq!(row, ended);
}

fn validations(world: &World) {
    let mut local = world.local();
    let run = local.good("StartFullBackup", &json!({ "participants": ["web"] }));
    let good = json!({ "run_id": run["run_id"], "ok": true, "files": 4, "bytes": 4096 });
    local.good("RecordValidation", &good);
    local.invalid("RecordValidation", &with(&good, "ok", json!(false)), "ok");
    local.invalid("RecordValidation", &with(&good, "files", json!("four")), "files");
    local.refused("RecordValidation", &with(&good, "run_id", json!(NO_RUN)), "BACKUP_RUN_NOT_FOUND");

    world.notes(Mode::Waits);
    let open = local.good("StartFullBackup", &json!({ "wait": false }));
    local.refused("RecordValidation", &with(&good, "run_id", open["run_id"].clone()), "BACKUP_RUN_ACTIVE");
    world.notes(Mode::Good);
    world.wait_for_end(&open);
}
