//! The contract of the commands: every command, alias, error and role, over real sockets, with a real engine and real files.
//!
//! What is asked and answered is noted, and at the end it is seen that nothing in the dispatcher's own list was left out: a new command,
//! alias or error without its case here fails.

mod access;
mod channels;
mod endpoints;
mod restores;
mod runs;
mod schemas;
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use holdfast::api::{ErrorCode, Reach, TABLE};
use holdfast::model::access::Role;
use serde_json::json;

use self::world::{Mode, World};

/// Commands that cannot be granted by this version, whatever is asked: they need endpoints that are reached.
const NEVER_GRANTED: [&str; 3] = ["GetRemoteBackupRuns", "DeleteRemoteBackupRun", "ImportRemoteBackupRun"];

/// Cases of some commands.
type Cases = fn(&World);

#[test]
fn every_command_alias_and_error_has_its_case() {
    let world = World::new();
    let cases: [(&str, Cases); 14] = [
        ("endpoints", endpoints::cases),
        ("runs begin", runs::begun),
        ("runs are listed", runs::listed),
        ("runs are told", runs::told),
        ("runs are cancelled", runs::cancelled),
        ("runs are verified", runs::verified),
        ("runs are locked and deleted", runs::locked_and_deleted),
        ("participants", runs::participants),
        ("restores are refused", restores::refused),
        ("restores", restores::cases),
        ("what the command line does itself", restores::recorded),
        ("channels", channels::cases),
        ("access", access::cases),
        // Last, since nothing new is begun after it.
        ("the end", access::stop),
    ];
    // One that fails does not hide the others.
    let mut failed = Vec::new();
    for (name, case) in cases {
        world.notes(Mode::Good);
        if catch_unwind(AssertUnwindSafe(|| case(&world))).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "these cases failed, see above: {}", failed.join(", "));

    let seen = world.seen();
    let was = |name: &str, outcome: &str| seen.contains(&(name.to_owned(), outcome.to_owned()));
    let mut missing = BTreeSet::new();
    for entry in TABLE {
        let names = || [entry.name].into_iter().chain(entry.aliases.iter().copied());
        for name in names().filter(|_| !NEVER_GRANTED.contains(&entry.name)) {
            if !was(name, "granted") {
                missing.insert(format!("{name}: granted"));
            }
        }
        for code in entry.errors {
            if !names().any(|name| was(name, code.as_str())) {
                missing.insert(format!("{}: {}", entry.name, code.as_str()));
            }
        }
    }
    assert!(missing.is_empty(), "no case shows:\n{}", missing.into_iter().collect::<Vec<_>>().join("\n"));
    // And no error is answered that its command does not announce.
    for (name, outcome) in &seen {
        let entry = holdfast::api::find(name).unwrap_or_else(|| panic!("{name} is no command"));
        let announced = outcome == "granted" || entry.errors.iter().chain(&COMMON).any(|code| code.as_str() == outcome);
        assert!(announced, "{name} answers {outcome}, which it does not announce");
    }
    world.stop();
}

/// What every command may answer.
const COMMON: [ErrorCode; 6] = [
    ErrorCode::InvalidData,
    ErrorCode::Unauthenticated,
    ErrorCode::Forbidden,
    ErrorCode::RateLimited,
    ErrorCode::ConnectionRequired,
    ErrorCode::Draining,
];

/// Whether a role may is seen by what refuses it: `data` that is no object is looked at only after the role.
#[test]
fn every_role_may_what_it_should_and_no_more() {
    let world = World::new();
    for entry in TABLE {
        for name in [entry.name].iter().chain(entry.aliases) {
            for role in [None, Some(Role::Viewer), Some(Role::Operator), Some(Role::Manager), Some(Role::Admin)] {
                let answer = world.remote(role).ask_raw(name, &json!([]));
                let expected = match (entry.reach, entry.role) {
                    (Reach::Local, _) => "FORBIDDEN",
                    (_, Some(_)) if role.is_none() => "UNAUTHENTICATED",
                    (_, Some(least)) if role < Some(least) => "FORBIDDEN",
                    _ => "INVALID_DATA",
                };
                assert_eq!(answer.error(), expected, "{name} as {role:?}: {answer:?}");
            }
            assert_eq!(world.local().ask_raw(name, &json!([])).error(), "INVALID_DATA", "{name} on this machine");
        }
    }
    // The table of roles itself, as the contract has it.
    let role_of = |name: &str| holdfast::api::find(name).unwrap().role;
    for entry in TABLE.iter().filter(|entry| entry.name.starts_with("Get")) {
        assert_eq!(entry.role, Some(Role::Viewer), "{}", entry.name);
    }
    for name in ["StartFullBackup", "CancelBackupRun", "ValidateBackupRun"] {
        assert_eq!(role_of(name), Some(Role::Operator), "{name}");
    }
    for name in ["AddBackupConfig", "UpdateBackupConfig", "DeleteBackupConfig", "DeleteBackupRun", "LockBackupRun"] {
        assert_eq!(role_of(name), Some(Role::Manager), "{name}");
    }
    for name in ["UnlockBackupRun", "DeleteRemoteBackup", "ImportRemoteBackupRun", "StartRestoreRun", "SetMaintenance"]
    {
        assert_eq!(role_of(name), Some(Role::Manager), "{name}");
    }
    for name in ["StopBackupServer", "CreateToken", "ListTokens", "RevokeToken"] {
        assert_eq!(role_of(name), Some(Role::Admin), "{name}");
    }
    for name in ["Hello", "Ping", "Auth"] {
        assert_eq!(role_of(name), None, "{name}");
    }
    world.stop();
}
