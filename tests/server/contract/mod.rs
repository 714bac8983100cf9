//! The contract of the commands: every command, alias, error and role, over real sockets, with a real engine and real files.
//!
//! What is asked and answered is noted, and at the end it is seen that nothing in the dispatcher's own list was left out: a new command,
//! alias or error without its case here fails.

mod access;
mod channels;
mod endpoints;
mod modules;
mod remote;
mod restores;
mod runs;
mod schemas;
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use holdfast::api::{ErrorCode, Reach, TABLE};
use holdfast::model::access::Role;
use serde_json::json;

use self::world::{By, Mode, World};

/// Cases of some commands.
type Cases = fn(&World);

/// Commands of a connection that stays, which HTTP is not.
const OF_CONNECTIONS: [&str; 3] = ["Auth", "Subscribe", "Unsubscribe"];

#[test]
fn every_command_alias_and_error_has_its_case_over_lines() {
    every_case(By::Lines);
}

#[test]
fn every_command_alias_and_error_has_its_case_over_http() {
    every_case(By::Http);
}

fn every_case(by: By) {
    let world = World::new(by);
    let cases: [(&str, Cases); 16] = [
        // Before the endpoints, of which there are then as many as there may be.
        ("runs on endpoints", remote::cases),
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
        ("restores into modules", modules::cases),
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
    for entry in TABLE.iter().filter(|entry| by == By::Lines || !OF_CONNECTIONS.contains(&entry.name)) {
        let names = || [entry.name].into_iter().chain(entry.aliases.iter().copied());
        for name in names() {
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
const COMMON: [ErrorCode; 7] = [
    ErrorCode::InvalidData,
    ErrorCode::Unauthenticated,
    ErrorCode::InvalidToken,
    ErrorCode::Forbidden,
    ErrorCode::RateLimited,
    ErrorCode::ConnectionRequired,
    ErrorCode::Draining,
];

/// Who may what, line for line as the contract has it: the least role, and `-` for everybody; and where it may come from.
const ROLES: [(&str, &str, Reach); 46] = {
    use Reach::{Connections, Everywhere, Local};
    [
        ("Hello", "-", Everywhere),
        ("Auth", "-", Connections),
        ("Ping", "-", Everywhere),
        ("GetBackupConfig", "viewer", Everywhere),
        ("AddBackupConfig", "manager", Everywhere),
        ("UpdateBackupConfig", "manager", Everywhere),
        ("DeleteBackupConfig", "manager", Everywhere),
        ("StartFullBackup", "operator", Everywhere),
        ("StartBackupServer", "operator", Everywhere),
        ("CancelBackupRun", "operator", Everywhere),
        ("GetBackupProgress", "viewer", Everywhere),
        ("GetBackupRuns", "viewer", Everywhere),
        ("GetBackupsList", "viewer", Everywhere),
        ("GetBackupRun", "viewer", Everywhere),
        ("GetBackupRunLog", "viewer", Everywhere),
        ("ValidateBackupRun", "operator", Everywhere),
        ("RecordValidation", "operator", Local),
        ("LockBackupRun", "manager", Everywhere),
        ("UnlockBackupRun", "manager", Everywhere),
        ("DeleteBackupRun", "manager", Everywhere),
        ("DeleteBackup", "manager", Everywhere),
        ("GetBackupParticipants", "viewer", Everywhere),
        ("ResetBackupParticipant", "manager", Everywhere),
        ("UploadBackupRun", "manager", Everywhere),
        ("GetUploads", "viewer", Everywhere),
        ("GetRemoteBackupRuns", "viewer", Everywhere),
        ("DeleteRemoteBackupRun", "manager", Everywhere),
        ("DeleteRemoteBackup", "manager", Everywhere),
        ("ImportRemoteBackupRun", "manager", Everywhere),
        ("GetImportProgress", "viewer", Everywhere),
        ("ValidateRemoteBackupRun", "operator", Everywhere),
        ("GetRemoteValidations", "viewer", Everywhere),
        ("StartRestoreRun", "manager", Everywhere),
        ("BeginRestore", "manager", Local),
        ("EndRestore", "manager", Local),
        ("GetRestoreRuns", "viewer", Everywhere),
        ("GetRestoreRun", "viewer", Everywhere),
        ("CancelRestoreRun", "manager", Everywhere),
        ("RetryRestoreRun", "manager", Everywhere),
        ("SetMaintenance", "manager", Everywhere),
        ("StopBackupServer", "admin", Everywhere),
        ("Subscribe", "viewer", Connections),
        ("Unsubscribe", "viewer", Connections),
        ("CreateToken", "admin", Local),
        ("ListTokens", "admin", Local),
        ("RevokeToken", "admin", Local),
    ]
};

/// Whether a role may is seen by what refuses it: `data` that is no object is looked at only after the role.
#[test]
fn every_role_may_what_it_should_and_no_more_by_every_door() {
    let known: BTreeSet<_> = ROLES.iter().map(|(name, ..)| *name).collect();
    let there: BTreeSet<_> =
        TABLE.iter().flat_map(|entry| [entry.name].into_iter().chain(entry.aliases.iter().copied())).collect();
    assert_eq!(known, there, "each command and alias has its line");
    for by in [By::Lines, By::Http] {
        let world = World::new(by);
        for (name, least, reach) in &ROLES {
            let least = Role::ALL.into_iter().find(|role| role.as_str() == *least);
            for role in [None, Some(Role::Viewer), Some(Role::Operator), Some(Role::Manager), Some(Role::Admin)] {
                let answer = world.remote(role).ask_raw(name, &json!([]));
                let expected = match (reach, least) {
                    (Reach::Local, _) => "FORBIDDEN",
                    (Reach::Connections, _) if by == By::Http => "CONNECTION_REQUIRED",
                    (_, Some(_)) if role.is_none() => "UNAUTHENTICATED",
                    (_, Some(_)) if role < least => "FORBIDDEN",
                    _ => "INVALID_DATA",
                };
                assert_eq!(answer.error(), expected, "{name} as {role:?} by {by:?}: {answer:?}");
            }
            assert_eq!(world.local().ask_raw(name, &json!([])).error(), "INVALID_DATA", "{name} on this machine");
        }
        world.stop();
    }
}
