//! Endpoints, and the runs on them.

use std::fs;

use holdfast::model::access::Role;
use serde_json::json;

use super::world::{World, with};

const PASSWORD: &str = "correct horse battery staple";

pub(crate) fn cases(world: &World) {
    let mut manager = world.remote(Some(Role::Manager));
    let mut viewer = world.remote(Some(Role::Viewer));
    assert_eq!(viewer.good("GetBackupConfig", &json!({}))["rows"], json!([]));

    let plain = manager.good("AddBackupConfig", &json!({ "name": "plain", "unknown": "is ignored" }));
    let defaults = json!({
        "name": "plain", "host": "", "login": "", "password_set": false, "enable": 1, "mode": 0, "timeinterval": 0,
        "timeout": 30, "retry_attempts": 3, "retry_delay": 5, "url": "", "retention": "", "last_upload": 0,
        "health": "unknown", "source": "api",
    });
    assert_eq!(plain, defaults);
    let all = json!({
        "name": "offsite", "host": "nas.example.org:22", "login": "ops", "password": PASSWORD, "enable": 0, "mode": 1,
        "timeinterval": 3600, "timeout": 60, "retry_attempts": 5, "retry_delay": 10,
        "url": "sftp://nas.example.org:22/srv/backups", "retention": "30 days",
    });
    let added = manager.good("AddBackupConfig", &all);
    for (field, value) in all.as_object().unwrap().iter().filter(|(field, _)| *field != "password") {
        assert_eq!(&added[field], value, "{field}");
    }
    assert_eq!(added["password_set"], true);
    manager.refused("AddBackupConfig", &json!({ "name": "plain" }), "RET_ERR_DUPLICATE");
    for (field, wrong) in [
        ("name", json!("../etc")),
        ("name", json!(7)),
        ("host", json!("nas")),
        ("host", json!("me:secret@nas:22")),
        ("url", json!("ftp://nas")),
        ("url", json!("s3://key:secret@bucket")),
        ("login", json!("a\nb")),
        ("password", json!(12345)),
        ("enable", json!(2)),
        ("enable", json!(true)),
        ("mode", json!(-1)),
        ("timeinterval", json!(31_536_001)),
        ("timeout", json!(0)),
        ("retry_attempts", json!(0)),
        ("retry_attempts", json!(101)),
        ("retry_delay", json!("5")),
        ("retention", json!("x".repeat(65))),
        ("retention", json!("blah")),
    ] {
        let data = with(&json!({ "name": "wrong" }), field, wrong);
        manager.invalid("AddBackupConfig", &data, field);
        if field != "name" {
            manager.invalid("UpdateBackupConfig", &with(&data, "name", json!("plain")), field);
        }
    }
    manager.invalid("AddBackupConfig", &json!({}), "name");
    manager.invalid("UpdateBackupConfig", &json!({ "host": "" }), "name");
    let secret = manager.refused("AddBackupConfig", &json!({ "name": "x", "password": [PASSWORD] }), "INVALID_DATA");
    assert!(!secret.to_string().contains(PASSWORD), "{secret}");

    let kept = manager.good("UpdateBackupConfig", &json!({ "name": "offsite", "enable": 1, "login": "" }));
    assert_eq!(kept, with(&with(&added, "enable", json!(1)), "login", json!("")), "what is left out stays");
    let other = manager.good("UpdateBackupConfig", &json!({ "name": "offsite", "password": "another one" }));
    assert_eq!(other["password_set"], true);
    let without = manager.good("UpdateBackupConfig", &json!({ "name": "offsite", "password": "" }));
    assert_eq!(without, with(&kept, "password_set", json!(false)));
    manager.refused("UpdateBackupConfig", &json!({ "name": "nowhere" }), "RET_NOT_FOUND");
    assert_eq!(viewer.good("GetBackupConfig", &json!({}))["rows"], json!([without, plain]), "by name");

    let page = json!({ "server_name": "plain", "limit": 10 });
    viewer.refused("GetRemoteBackupRuns", &page, "REMOTE_BACKUP_LIST_FAILED");
    viewer.refused("GetRemoteBackupRuns", &json!({ "server_name": "nowhere" }), "REMOTE_NOT_FOUND");
    viewer.invalid("GetRemoteBackupRuns", &with(&page, "limit", json!(1001)), "limit");
    viewer.invalid("GetRemoteBackupRuns", &with(&page, "cursor", json!("next")), "cursor");
    let run = json!({ "server_name": "plain", "run_id": "20261121-031500-000042" });
    let nowhere = with(&run, "server_name", json!("nowhere"));
    for name in ["DeleteRemoteBackupRun", "DeleteRemoteBackup"] {
        manager.refused(name, &run, "REMOTE_BACKUP_DELETE_FAILED");
        manager.refused(name, &nowhere, "REMOTE_NOT_FOUND");
    }
    manager.refused("ImportRemoteBackupRun", &with(&run, "overwrite", json!(true)), "REMOTE_BACKUP_IMPORT_FAILED");
    manager.refused("ImportRemoteBackupRun", &nowhere, "REMOTE_NOT_FOUND");
    manager.invalid("ImportRemoteBackupRun", &with(&run, "overwrite", json!(1)), "overwrite");
    manager.invalid("ImportRemoteBackupRun", &json!({ "server_name": "plain" }), "run_id");

    let gone = manager.good("DeleteBackupConfig", &json!({ "name": "offsite" }));
    assert_eq!(gone, json!({ "ok": true, "name": "offsite" }));
    manager.refused("DeleteBackupConfig", &json!({ "name": "offsite" }), "RET_NOT_FOUND");
    for number in 1..200 {
        manager.good("AddBackupConfig", &json!({ "name": format!("e{number}") }));
    }
    manager.refused("AddBackupConfig", &json!({ "name": "one-more" }), "LIMIT_REACHED");
    assert!(!log_holds(world, PASSWORD), "no password is in the event log");
}

fn log_holds(world: &World, text: &str) -> bool {
    let journal = fs::read_dir(world.home.path().join("log/journal")).unwrap();
    let mut segments = journal.map(|entry| fs::read(entry.unwrap().path()).unwrap());
    segments.any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
}
