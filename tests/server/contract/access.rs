//! Who may: tokens, `Auth`, and what needs nobody. And the end of the server.

use holdfast::model::access::Role;
use holdfast::model::ids::TokenName;
use serde_json::{Value, json};

use super::world::{By, World};
use crate::support::text;

pub(crate) fn cases(world: &World) {
    let mut stranger = world.remote(None);
    assert_eq!(stranger.good("Ping", &json!({})), json!({}));
    assert_eq!(stranger.good("Hello", &json!({}))["server_id"], "", "a stranger is not told");
    stranger.refused("GetBackupRuns", &json!({}), "UNAUTHENTICATED");
    if world.by == By::Lines {
        known_by_auth(world);
    }

    let mut local = world.local();
    let made = local.good("CreateToken", &json!({ "name": "ci", "role": "operator", "expires": 3600 }));
    assert!(text(&made["token"]).starts_with("hf_"), "{made}");
    // Between the two looks at the clock a second may have passed.
    let lives = made["expires_at"].as_i64().unwrap() - made["created_at"].as_i64().unwrap();
    assert!((3599..=3600).contains(&lives), "{made}");
    local.refused("CreateToken", &json!({ "name": "ci", "role": "viewer" }), "TOKEN_EXISTS");
    local.good("CreateToken", &json!({ "name": "later", "role": "viewer", "expires": "2050-01-31T12:00:00+01:00" }));
    for (field, wrong) in [
        ("name", json!({ "name": "a b", "role": "viewer" })),
        ("role", json!({ "name": "x", "role": "root" })),
        ("role", json!({ "name": "x" })),
        ("expires", json!({ "name": "x", "role": "viewer", "expires": 0 })),
        ("expires", json!({ "name": "x", "role": "viewer", "expires": "2001-01-01T00:00:00Z" })),
        ("expires", json!({ "name": "x", "role": "viewer", "expires": "tomorrow" })),
        ("expires", json!({ "name": "x", "role": "viewer", "expires": [1] })),
    ] {
        local.invalid("CreateToken", &wrong, field);
    }
    world.remote(Some(Role::Admin)).refused("CreateToken", &json!({ "name": "x", "role": "viewer" }), "FORBIDDEN");

    world.remote_with(&text(&made["token"])).good("GetBackupRuns", &json!({}));
    world.remote_with(&text(&made["token"])).good("StartFullBackup", &json!({ "participants": ["web"] }));
    let by_ci = |event: &Value| event["principal"] == "token:ci" && event["data"]["token_id"] == made["token_id"];
    assert!(world.recorded("CommandRecorded").iter().any(by_ci), "a name can be given again, an id cannot");
    let rows = local.good("ListTokens", &json!({}));
    assert!(rows["rows"].as_array().unwrap().iter().any(|row| row["name"] == "ci" && row["live"] == true), "{rows}");
    assert!(!rows.to_string().contains(&text(&made["token"])), "tokens are not listed themselves");
    let revoked = local.good("RevokeToken", &json!({ "token": "ci" }));
    assert_eq!((&revoked["name"], &revoked["live"]), (&json!("ci"), &json!(false)));
    local.refused("RevokeToken", &json!({ "token": "ci" }), "TOKEN_NOT_FOUND");
    local.invalid("RevokeToken", &json!({ "token": "" }), "token");
    world.remote_with(&text(&made["token"])).refused("GetBackupRuns", &json!({}), "INVALID_TOKEN");

    let live = rows["rows"].as_array().unwrap().len() - 1;
    for number in live..1000 {
        let name: TokenName = format!("t{number}").parse().unwrap();
        world.block_on(world.engine().create_token(name, Role::Viewer, None)).unwrap();
    }
    local.refused("CreateToken", &json!({ "name": "one-more", "role": "viewer" }), "LIMIT_REACHED");
}

/// A connection that stays is told once who is on it.
fn known_by_auth(world: &World) {
    let mut stranger = world.remote(None);
    let wrong = stranger.refused("Auth", &json!({ "token": "hf_guess" }), "INVALID_TOKEN");
    assert!(!wrong.to_string().contains("hf_guess"));
    stranger.invalid("Auth", &json!({}), "token");
    stranger.invalid("Auth", &json!({ "token": 7 }), "token");
    let known = stranger.good("Auth", &json!({ "token": world.token(Role::Viewer) }));
    assert_eq!(known, json!({ "role": "viewer", "name": "token:viewer" }));
    stranger.good("GetBackupRuns", &json!({}));
    stranger.refused("StartFullBackup", &json!({}), "FORBIDDEN");
}

pub(crate) fn stop(world: &World) {
    let mut admin = world.remote(Some(Role::Admin));
    admin.refused("StopBackupServer", &json!({}), "NOT_A_SERVER");
    admin.invalid("StopBackupServer", &json!({ "grace_s": -1 }), "grace_s");
    admin.invalid("StopBackupServer", &json!({ "grace_s": 86_401 }), "grace_s");
    let life = world.engine().desk().life();
    life.is_a_server();
    assert_eq!(admin.good("StopBackupServer", &json!({ "grace_s": 5 })), json!({ "ok": true }));
    assert_eq!(*life.subscribe().borrow(), Some(std::time::Duration::from_secs(5)));
    assert_eq!(admin.good("StopBackupServer", &json!({})), json!({ "ok": true }), "as configured: 10 s");
    assert_eq!(*life.subscribe().borrow(), Some(std::time::Duration::from_secs(5)), "the shortest holds");
    assert_eq!(admin.good("StopBackupServer", &json!({ "grace_s": 2 })), json!({ "ok": true }));
    assert_eq!(*life.subscribe().borrow(), Some(std::time::Duration::from_secs(2)));
    admin.refused("StartFullBackup", &json!({}), "SERVER_DRAINING");
    admin.good("GetBackupRuns", &json!({}));
}
