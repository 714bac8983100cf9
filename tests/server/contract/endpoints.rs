//! Endpoints, and the runs on them.

use std::fs;

use holdfast::model::access::Role;
use serde_json::json;

use super::world::{World, with};

const PASSWORD: &str = "correct horse battery staple";

pub(crate) fn cases(world: &World) {
    let mut manager = world.remote(Some(Role::Manager));
    let mut viewer = world.remote(Some(Role::Viewer));
    let declared = viewer.good("GetBackupConfig", &json!({}))["rows"].clone();
    let row = declared[0].clone();
    assert_eq!(declared.as_array().unwrap().len(), 1, "that of the configuration file: {declared}");
    assert_eq!((&row["name"], &row["declared"], &row["source"]), (&json!("disk"), &json!(true), &json!("file")));
    assert_eq!((&row["streams"], &row["password_set"]), (&json!(2), &json!(false)));
    manager.refused("UpdateBackupConfig", &json!({ "name": "disk", "enable": 0 }), "ENDPOINT_DECLARED");
    manager.refused("DeleteBackupConfig", &json!({ "name": "disk" }), "ENDPOINT_DECLARED");
    manager.refused("AddBackupConfig", &json!({ "name": "disk" }), "RET_ERR_DUPLICATE");

    let plain = manager.good("AddBackupConfig", &json!({ "name": "plain", "unknown": "is ignored" }));
    let defaults = json!({
        "name": "plain", "host": "", "login": "", "password_set": false, "enable": 1, "mode": 0, "timeinterval": 0,
        "timeout": 30, "retry_attempts": 3, "retry_delay": 5, "url": "", "retention": "", "last_upload": 0,
        "health": "unknown", "last_error": "", "source": "api", "declared": false, "password_from": "", "verify": "size", "bandwidth": 0,
        "priority": 0, "streams": 4, "plaintext": false, "stream": false,
    });
    assert_eq!(plain, defaults);
    let all = json!({
        "name": "offsite", "host": "nas.example.org:22", "login": "ops", "password": PASSWORD, "enable": 0, "mode": 1,
        "timeinterval": 3600, "timeout": 60, "retry_attempts": 5, "retry_delay": 10,
        "url": "sftp://nas.example.org:22/srv/backups", "retention": "", "verify": "readback",
        "bandwidth": 20_000_000, "priority": -5, "streams": 16, "plaintext": true, "stream": false,
    });
    // Nothing is encrypted here, and nobody has said that it may be read there.
    manager.invalid("AddBackupConfig", &with(&with(&all, "plaintext", json!(false)), "enable", json!(1)), "plaintext");
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
        ("retention", json!("30 days")),
        ("url", json!("s3://bucket/prefix?key=secret")),
        ("url", json!("sftp://nas")),
        ("verify", json!("hash")),
        ("bandwidth", json!(-1)),
        ("bandwidth", json!("20MB")),
        ("priority", json!(1001)),
        ("priority", json!(1.5)),
        ("streams", json!(0)),
        ("streams", json!(17)),
        ("plaintext", json!(1)),
        ("stream", json!("yes")),
        // A file is read and a program is run on the server's machine: only who is there may name them.
        ("password_file", json!("/etc/holdfast/password")),
        ("password_file", json!("relative")),
        ("password_command", json!(["pass", "show"])),
        ("password_command", json!("pass show")),
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
    let none = with(&with(&kept, "password_set", json!(false)), "password_from", json!(""));
    assert_eq!(without, none);
    manager.refused("UpdateBackupConfig", &json!({ "name": "nowhere" }), "RET_NOT_FOUND");
    manager.invalid("UpdateBackupConfig", &json!({ "name": "offsite", "plaintext": false }), "plaintext");
    assert_eq!(viewer.good("GetBackupConfig", &json!({}))["rows"], json!([row, without, plain]), "by name");

    let mut here = world.local();
    let twice = json!({ "name": "offsite", "password": PASSWORD, "password_file": "/x" });
    here.invalid("UpdateBackupConfig", &twice, "password");
    here.good("UpdateBackupConfig", &json!({ "name": "offsite", "password": PASSWORD }));
    for (field, place, from) in [
        ("password_file", json!("/etc/holdfast/password"), "file"),
        ("password_command", json!(["pass", "show", "offsite"]), "command"),
        ("password", json!(PASSWORD), "kept"),
    ] {
        let changed = here.good("UpdateBackupConfig", &with(&json!({ "name": "offsite" }), field, place));
        assert_eq!((&changed["password_from"], &changed["password_set"]), (&json!(from), &json!(true)));
    }

    let page = json!({ "server_name": "plain", "limit": 10 });
    viewer.refused("GetRemoteBackupRuns", &page, "REMOTE_BACKUP_LIST_FAILED");
    viewer.refused("GetRemoteBackupRuns", &json!({ "server_name": "nowhere" }), "REMOTE_NOT_FOUND");
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
    // Nothing is copied there by the cases that follow.
    manager.good("UpdateBackupConfig", &json!({ "name": "plain", "enable": 0 }));
    for number in 2..200 {
        manager.good("AddBackupConfig", &json!({ "name": format!("e{number}"), "enable": 0 }));
    }
    manager.refused("AddBackupConfig", &json!({ "name": "one-more" }), "LIMIT_REACHED");
    assert!(!log_holds(world, PASSWORD), "no password is in the event log");
}

fn log_holds(world: &World, text: &str) -> bool {
    let journal = fs::read_dir(world.home.path().join("log/journal")).unwrap();
    let mut segments = journal.map(|entry| fs::read(entry.unwrap().path()).unwrap());
    segments.any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
}
