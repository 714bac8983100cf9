//! Runs on endpoints: listed, brought back, verified, deleted there.

use std::fs;
use std::time::{Duration, Instant};

use holdfast::endpoints::Credentials;
use holdfast::model::access::Role;
use serde_json::json;

use super::world::{Client, Mode, World, with};
use crate::support::far::{far, send_as, server_id};
use crate::support::text;

pub(crate) fn cases(world: &World) {
    let mut manager = world.remote(Some(Role::Manager));
    let mut operator = world.remote(Some(Role::Operator));
    let mut viewer = world.remote(Some(Role::Viewer));
    world.notes(Mode::Good);
    let run = operator.good("StartFullBackup", &json!({}));
    let (run_id, server) = (text(&run["run_id"]), server_id(&world.home));
    let folder = world.home.beside("far");
    fs::create_dir_all(&folder).unwrap();
    let url = format!("file://{}", folder.display());
    send_as(&world.home.path().join(text(&run["path"])), &run_id, &*far(&url, Credentials::default(), server));
    manager.good("AddBackupConfig", &json!({ "name": "far", "url": url, "enable": 0 }));

    let copy = json!({ "run_id": run_id, "endpoints": ["far"], "wait": true });
    let copied = manager.good("UploadBackupRun", &copy);
    let there = &copied["endpoints"][0];
    assert_eq!((&there["name"], &there["status"]), (&json!("far"), &json!("uploaded")), "{copied}");
    assert_eq!((&there["sent_bytes"], &copied["remote_status"]), (&json!(0), &json!("completed")), "it was there");
    manager.refused("UploadBackupRun", &with(&copy, "endpoints", json!(["nowhere"])), "RET_NOT_FOUND");
    manager.refused(
        "UploadBackupRun",
        &json!({ "run_id": "20200101-000000-000009", "endpoints": ["far"] }),
        "BACKUP_RUN_NOT_FOUND",
    );
    manager.refused("UploadBackupRun", &json!({ "run_id": run_id }), "RET_NOT_FOUND");
    manager.invalid("UploadBackupRun", &with(&copy, "endpoints", json!("far")), "endpoints");
    assert_eq!(viewer.good("GetUploads", &json!({}))["rows"], json!([]), "none is under way");
    operator.refused("StartFullBackup", &json!({ "endpoints": ["nowhere"] }), "RET_NOT_FOUND");
    world.notes(Mode::Fails);
    let failed = operator.refused("StartFullBackup", &json!({}), "BACKUP_RUN_FAILED");
    world.notes(Mode::Good);
    manager.refused(
        "UploadBackupRun",
        &with(&copy, "run_id", failed["detail"]["run_id"].clone()),
        "BACKUP_RUN_NOT_UPLOADABLE",
    );

    let page = json!({ "server_name": "far", "limit": 10 });
    let listed = viewer.good("GetRemoteBackupRuns", &page);
    let row = &listed["rows"][0];
    assert_eq!((&row["run_id"], &row["status"], &row["here"]), (&json!(run_id), &json!("completed"), &json!(true)));
    assert_eq!((&listed["server_id"], &listed["next_cursor"]), (&json!(server.to_string()), &json!("")));
    let stranger = "019aa700-0000-7000-8000-000000000001";
    let none = viewer.good("GetRemoteBackupRuns", &with(&page, "server_id", json!(stranger)));
    assert_eq!(none["rows"], json!([]), "installations never mingle");
    viewer.refused("GetRemoteBackupRuns", &json!({ "server_name": "nowhere" }), "REMOTE_NOT_FOUND");
    viewer.invalid("GetRemoteBackupRuns", &with(&page, "limit", json!(1001)), "limit");
    viewer.invalid("GetRemoteBackupRuns", &with(&page, "cursor", json!("a b")), "cursor");
    viewer.invalid("GetRemoteBackupRuns", &with(&page, "server_id", json!("mine")), "server_id");

    let wish = json!({ "server_name": "far", "run_id": run_id });
    let nowhere = with(&wish, "server_name", json!("nowhere"));
    let no_run = with(&wish, "run_id", json!("20200101-000000-000009"));
    let here = manager.refused("ImportRemoteBackupRun", &wish, "REMOTE_BACKUP_IMPORT_FAILED");
    assert_eq!(here["detail"]["cause"], "BACKUP_RUN_EXISTS", "{here}");
    let imported = manager.good("ImportRemoteBackupRun", &with(&wish, "overwrite", json!(true)));
    assert_eq!(imported["imported_from"]["endpoint"], "far", "{imported}");
    manager.good("DeleteBackupRun", &json!({ "run_id": run_id }));
    let imported = manager.good("ImportRemoteBackupRun", &wish);
    assert_eq!((&imported["deleted"], &imported["status"]), (&json!(false), &json!("completed")));
    manager.refused("ImportRemoteBackupRun", &nowhere, "REMOTE_NOT_FOUND");
    manager.refused("ImportRemoteBackupRun", &no_run, "REMOTE_BACKUP_RUN_NOT_FOUND");
    manager.invalid("ImportRemoteBackupRun", &with(&wish, "overwrite", json!(1)), "overwrite");
    manager.invalid("ImportRemoteBackupRun", &json!({ "server_name": "far" }), "run_id");
    assert_eq!(viewer.good("GetImportProgress", &json!({}))["active"], false);

    let read = operator.good("ValidateRemoteBackupRun", &wish);
    assert_eq!(read["ok"], true, "{read}");
    assert_eq!(viewer.good("GetRemoteValidations", &json!({}))["rows"], json!([]), "none is under way");
    operator.refused("ValidateRemoteBackupRun", &nowhere, "REMOTE_NOT_FOUND");
    operator.refused("ValidateRemoteBackupRun", &no_run, "REMOTE_BACKUP_RUN_NOT_FOUND");
    let there = folder.join(format!("{server}/runs/{run_id}"));
    let mut files = fs::read_dir(&there).unwrap().map(|entry| entry.unwrap().path());
    let artifact = files.find(|path| path.extension().is_some_and(|extension| extension == "lz4")).unwrap();
    let mut bytes = fs::read(&artifact).unwrap();
    bytes[10] ^= 1;
    fs::write(&artifact, bytes).unwrap();
    let damaged = operator.refused("ValidateRemoteBackupRun", &wish, "REMOTE_BACKUP_VALIDATION_FAILED");
    assert_eq!(damaged["detail"]["cause"], "REMOTE_RUN_ALTERED", "{damaged}");
    let failed =
        manager.refused("ImportRemoteBackupRun", &with(&wish, "overwrite", json!(true)), "REMOTE_BACKUP_IMPORT_FAILED");
    assert_eq!(failed["detail"]["cause"], "REMOTE_RUN_ALTERED", "{failed}");
    assert_eq!(operator.good("ValidateBackupRun", &json!({ "run_id": run_id }))["ok"], true, "what is here stays");

    manager.refused("DeleteRemoteBackupRun", &nowhere, "REMOTE_NOT_FOUND");
    manager.refused("DeleteRemoteBackupRun", &no_run, "REMOTE_BACKUP_RUN_NOT_FOUND");
    manager.good("DeleteRemoteBackupRun", &wish);
    manager.invalid("DeleteRemoteBackupRun", &with(&wish, "force", json!("yes")), "force");
    assert_eq!(viewer.good("GetRemoteBackupRuns", &page)["rows"], json!([]));
    manager.good("UploadBackupRun", &copy);
    let other = world.home.beside("elsewhere");
    fs::create_dir_all(&other).unwrap();
    let moved = json!({ "name": "far", "url": format!("file://{}", other.display()) });
    manager.good("UpdateBackupConfig", &moved);
    let alone = manager.refused("DeleteBackupRun", &json!({ "run_id": run_id }), "BACKUP_RUN_DELETE_FAILED");
    assert_eq!(alone["detail"]["cause"], "LAST_COPY", "{alone}");
    assert_eq!(viewer.good("GetBackupRun", &json!({ "run_id": run_id }))["endpoints"][0]["status"], "elsewhere");
    manager.good("UpdateBackupConfig", &json!({ "name": "far", "url": url }));
    manager.invalid("DeleteBackupRun", &json!({ "run_id": run_id, "force": 1 }), "force");
    manager.good("DeleteBackupRun", &json!({ "run_id": run_id }));
    let last = manager.refused("DeleteRemoteBackupRun", &wish, "REMOTE_BACKUP_DELETE_FAILED");
    assert_eq!(last["detail"]["cause"], "LAST_COPY", "{last}");
    manager.refused("DeleteBackupConfig", &json!({ "name": "far" }), "ENDPOINT_HOLDS_COPIES");
    manager.refused("UpdateBackupConfig", &moved, "ENDPOINT_HOLDS_COPIES");
    manager.good("UpdateBackupConfig", &json!({ "name": "far", "priority": 1 }));
    manager.good("DeleteRemoteBackup", &with(&wish, "force", json!(true)));
    world.notes(Mode::Waits);
    let open = operator.good("StartFullBackup", &json!({ "wait": false }));
    manager.refused("UploadBackupRun", &with(&copy, "run_id", open["run_id"].clone()), "BACKUP_RUN_ACTIVE");
    world.notes(Mode::Good);
    world.wait_for_end(&open);
    manager.good("DeleteBackupConfig", &json!({ "name": "far" }));

    // One that takes so little a second that it is at it until somebody stops it.
    manager.good("AddBackupConfig", &json!({ "name": "slow", "url": url, "enable": 0, "bandwidth": 1 }));
    let fresh = text(&operator.good("StartFullBackup", &json!({}))["run_id"]);
    manager.good("UploadBackupRun", &json!({ "run_id": fresh, "endpoints": ["slow"] }));
    let under_way = |viewer: &mut Client| {
        viewer.good("GetUploads", &json!({}))["rows"].as_array().is_some_and(|rows| !rows.is_empty())
    };
    let until = Instant::now() + Duration::from_secs(20);
    while !under_way(&mut viewer) {
        assert!(Instant::now() < until, "the upload begins");
    }
    let progress = viewer.good("GetBackupProgress", &json!({}));
    assert_eq!((&progress["active"], &progress["phase"]), (&json!(true), &json!("publish_remote")), "{progress}");
    assert_eq!((&progress["run_id"], &progress["remote_total"]), (&json!(fresh), &json!(1)), "{progress}");
    manager.refused("DeleteBackupConfig", &json!({ "name": "slow" }), "ENDPOINT_BUSY");
    let moved = json!({ "name": "slow", "url": format!("file://{}", other.display()) });
    manager.refused("UpdateBackupConfig", &moved, "ENDPOINT_BUSY");
    manager.refused("DeleteBackupRun", &json!({ "run_id": fresh }), "BACKUP_RUN_ACTIVE");
    let cancelled = operator.good("CancelBackupRun", &json!({ "run_id": fresh }));
    assert_eq!((&cancelled["status"], &cancelled["remote_status"]), (&json!("completed"), &json!("failed")));
    while under_way(&mut viewer) {
        assert!(Instant::now() < until, "the upload is stopped");
    }
    manager.good("DeleteBackupConfig", &json!({ "name": "slow" }));
}
