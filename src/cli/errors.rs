//! Errors of the engine as errors of the command line: an exit code, and what to do next.

use std::error::Error;

use holdfast_actors::event_sourced::CommandError;
use holdfast_actors::root::RootError;
use holdfast_log::OpenError;
use holdfast_log::home::HomeError;
use holdfast_log::owner::OwnerError;
use holdfast_model::run::Refusal;

use super::exit::{CliError, Exit};
use crate::api::{ApiError, ErrorCode};
use crate::client::ClientError;
use crate::engine::{EngineError, ViewError};
use crate::files::FilesError;
use crate::restore::RestoreError;
use crate::storage::StorageError;

pub(super) fn view(error: ViewError) -> CliError {
    match error {
        ViewError::Home(error) => home(&error),
        ViewError::Open(error) => open(&error),
        ViewError::LogMissing(_) => CliError::failed("LOG_MISSING", &error),
        error => {
            CliError::new(Exit::Failed, "LOG_UNREADABLE", &error, "`holdfast log events` shows how far the log reads.")
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn engine(error: EngineError) -> CliError {
    match &error {
        EngineError::Home(cause) => home(cause),
        EngineError::Owner(cause) => owner(cause),
        EngineError::Open(cause) => open(cause),
        EngineError::View(ViewError::LogMissing(_)) => CliError::failed("LOG_MISSING", &error),
        EngineError::NotDeleted { .. } => {
            CliError::new(Exit::Failed, error.code(), &error, "See to what is named there, then delete it again.")
        }
        EngineError::Root(RootError::Command(CommandError::Refused(refusal))) => refused(refusal),
        EngineError::Storage(StorageError::InUse { .. }) => CliError::new(Exit::Busy, error.code(), &error, ""),
        EngineError::Lost(_) | EngineError::Append(_) => {
            let next = "What was recorded is safe. See to the disk (space, errors), then `holdfast resume`.";
            CliError::new(Exit::Failed, error.code(), &error, next)
        }
        EngineError::Encryption(about) => CliError::new(Exit::Usage, about.code(), about, ""),
        _ => CliError::failed(error.code(), &error),
    }
}

/// What went wrong with a command that another process, or the engine of this one, was asked for.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn client(error: ClientError) -> CliError {
    let (exit, next) = match &error {
        ClientError::Refused(refused) => return api(refused),
        ClientError::VersionMismatch { .. } => {
            (Exit::Busy, "Use that version here as well, or end that process and start it with this one.")
        }
        ClientError::Closed(_) => (
            Exit::Failed,
            "`holdfast runs` shows how runs stand, and `holdfast resume` goes on with one that was interrupted.",
        ),
        ClientError::Silent { .. } => {
            (Exit::Busy, "`holdfast status` says which process that is. Wait for it, or end it.")
        }
        _ => (Exit::Failed, ""),
    };
    CliError::new(exit, error.code(), &error, next)
}

fn api(error: &ApiError) -> CliError {
    use ErrorCode as Code;
    let (exit, next) = match error.code {
        Code::BackupRunNotFound if error.message.contains("remote import") => (Exit::NoSuchRun, ""),
        Code::BackupRunNotFound | Code::RestoreRunNotFound => (Exit::NoSuchRun, "`holdfast runs` lists all of them."),
        Code::BackupRunLocked => (Exit::Busy, "`holdfast unlock RUN` lets it be deleted."),
        Code::BackupAlreadyRunning | Code::RestoreAlreadyRunning => {
            (Exit::Busy, "Wait for it, or give it more time with --lock-wait SECONDS.")
        }
        Code::RestoreRollbackFailed => {
            (Exit::Failed, "`holdfast restores` lists it; `holdfast restore show` says why.")
        }
        Code::BackupRunActive | Code::BackupRunNotActive | Code::NotQuarantined => (Exit::Busy, ""),
        Code::Draining | Code::RateLimited | Code::TooManyConnections => (Exit::Busy, "Try again in a moment."),
        Code::BackupRunDeleteFailed if cause(error) == "LAST_COPY" => (Exit::Failed, ""),
        Code::BackupRunDeleteFailed => (Exit::Failed, "See to what is named there, then delete it again."),
        Code::BackupValidationFailed => {
            (Exit::Damaged, "Restore from another run (`holdfast runs`), and back up again now.")
        }
        Code::LogLost => {
            (Exit::Failed, "What was recorded is safe. See to the disk (space, errors), then `holdfast resume`.")
        }
        Code::NotFound => (Exit::Usage, "`holdfast endpoints list` lists them."),
        Code::RemoteNotFound => (Exit::Usage, "`holdfast endpoints list` lists them."),
        Code::RemoteBackupRunNotFound => {
            (Exit::NoSuchRun, "`holdfast remote list ENDPOINT` lists those that are there.")
        }
        Code::RemoteBackupImportFailed => import(error),
        Code::RemoteBackupValidationFailed if is_damage(error) => {
            (Exit::Damaged, "Bring it there again from here, or keep the copies elsewhere.")
        }
        Code::EndpointHoldsCopies => (Exit::Failed, ""),
        Code::Duplicate => (Exit::Usage, "`holdfast endpoints set NAME` changes it."),
        Code::TokenNotFound => (Exit::Usage, "`holdfast token list` lists them."),
        Code::TokenExists => (Exit::Usage, "Give it another name, or revoke that one first."),
        Code::InvalidData | Code::UnknownParticipant | Code::RestoreNotSupported => (Exit::Usage, ""),
        _ => (Exit::Failed, ""),
    };
    CliError::new(exit, error.code.as_str(), &error.message, next)
}

/// Why a run was not brought back, and what can be done.
fn import(error: &ApiError) -> (Exit, &'static str) {
    match cause(error) {
        "BACKUP_RUN_EXISTS" => (Exit::Usage, "--overwrite puts the one of the endpoint in the place of what is here."),
        "BACKUP_RUN_LOCKED" => (Exit::Busy, "`holdfast unlock RUN` lets it be replaced."),
        "BACKUP_RUN_ACTIVE" | "BACKUP_RUN_IMPORTING" | "BACKUP_RUN_IN_USE" | "IMPORT_ALREADY_RUNNING" => {
            (Exit::Busy, "Wait for its end, and try again.")
        }
        "ENGINE_STOPPED" => (Exit::Cancelled, ""),
        _ if is_damage(error) => (Exit::Damaged, "What is here is as it was. Import it from another endpoint."),
        _ => (Exit::Failed, "What is here is as it was."),
    }
}

/// What it was that went wrong with a run on an endpoint.
fn cause(error: &ApiError) -> &str {
    error.detail.as_ref().and_then(|detail| detail["cause"].as_str()).unwrap_or_default()
}

/// Whether a run on an endpoint is not what it was.
fn is_damage(error: &ApiError) -> bool {
    matches!(
        cause(error),
        "REMOTE_RUN_ALTERED" | "IMPORT_ANOTHER_RUN" | "MANIFEST_INVALID" | "ARTIFACT_ALTERED" | "ARTIFACT_TRUNCATED"
    )
}

fn home(error: &HomeError) -> CliError {
    let (exit, next) = match error {
        HomeError::Missing(_) => (Exit::NoSuchRun, "`holdfast backup PATH` makes one; --home DIR names another."),
        _ => (Exit::Usage, ""),
    };
    CliError::new(exit, error.code(), with_causes(error), next)
}

fn owner(error: &OwnerError) -> CliError {
    match error {
        OwnerError::Held { .. } => CliError::new(
            Exit::Busy,
            error.code(),
            error,
            "Wait for it, or give it more time with --lock-wait SECONDS.",
        ),
        _ => CliError::failed(error.code(), with_causes(error)),
    }
}

fn open(error: &OpenError) -> CliError {
    let exit = if error.retryable() { Exit::Busy } else { Exit::Failed };
    CliError::new(exit, error.code(), error, "")
}

/// What happened, and what it came from where the text does not say it already.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(&format!(" ({said})"));
        }
        cause = error.source();
    }
    text
}

fn refused(refusal: &Refusal) -> CliError {
    let exit = match refusal {
        Refusal::NotFound | Refusal::Deleted | Refusal::KeptElsewhere(_) => Exit::NoSuchRun,
        Refusal::Active
        | Refusal::Locked(_)
        | Refusal::NotActive
        | Refusal::OutOfOrder
        | Refusal::BeingDeleted
        | Refusal::Uploading
        | Refusal::Importing => Exit::Busy,
        Refusal::Exists | Refusal::Invalid(_) | Refusal::IsHere => Exit::Usage,
        Refusal::AnotherRun | Refusal::NotUploadable => Exit::Failed,
    };
    CliError::new(exit, refusal.code(), refusal, "")
}

/// What went wrong while something was written to standard output.
pub(super) fn dump(error: RestoreError) -> CliError {
    let next = match &error {
        error if error.is_damage() => {
            "What was written so far must not be used. `holdfast verify --all` tells which runs are good; dump it from one of those."
        }
        RestoreError::HoldsFiles { .. } => {
            "Name the file: `holdfast dump RUN PATH`; `holdfast ls RUN` lists what is in it."
        }
        _ => return restore(error),
    };
    CliError { next: next.into(), ..restore(error) }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn restore(error: RestoreError) -> CliError {
    if let RestoreError::Storage(StorageError::Encryption(about)) = &error
        && about.is_about_keys()
    {
        return super::key::refused(about);
    }
    if error.is_about_keys() {
        return CliError::new(Exit::Key, error.code(), &error, "");
    }
    if error.is_damage() {
        let next = "Nothing was restored. `holdfast verify --all` tells which runs are good; restore one of those.";
        return CliError::new(Exit::Damaged, error.code(), &error, next);
    }
    if error.is_cancelled() {
        return CliError::new(Exit::Cancelled, error.code(), "cancelled; nothing was left in the target", "");
    }
    let (exit, next) = match &error {
        RestoreError::KeptRemotely(_) => (Exit::NoSuchRun, ""),
        RestoreError::Deleted(_) => (Exit::NoSuchRun, "`holdfast runs` lists the runs that are there."),
        RestoreError::NotRestorable { status: "queued" | "running" | "interrupted", .. } => {
            (Exit::Failed, "`holdfast resume` goes on with an interrupted run; `holdfast runs` shows how runs stand.")
        }
        RestoreError::NotRestorable { status: "partial", .. } => {
            (Exit::Failed, "With --accept-incomplete its good participants are taken.")
        }
        RestoreError::NotRestorable { .. } => {
            (Exit::Failed, "`holdfast runs --status completed` lists the runs that can be restored.")
        }
        RestoreError::IntoHome { .. } => (Exit::Usage, "Nothing was written. Name a --target outside of the home."),
        RestoreError::Target { .. } => {
            (Exit::Failed, "Name another --target, or see to what the system says of this one.")
        }
        RestoreError::Files(FilesError::Restore { .. }) => {
            (Exit::Failed, "See to what the system says (room, permissions), then restore again.")
        }
        RestoreError::SameName { .. } => {
            (Exit::Failed, "Nothing was written. Restore each by --participant NAME into a folder of its own.")
        }
        RestoreError::HoldsFiles { .. } => {
            (Exit::Usage, "Restore it into a folder: --target DIR in place of --in-place.")
        }
        RestoreError::NotOneStream { .. } => (
            Exit::Usage,
            "Name the one that is meant: `holdfast dump RUN NAME`, or `holdfast restore RUN --target DIR --path NAME`.",
        ),
        RestoreError::NoParticipant { .. } => (Exit::Usage, "`holdfast show RUN` lists its participants."),
        RestoreError::Conflicts { .. } => {
            (Exit::Failed, "Nothing was written. Name another --target, or allow it with --overwrite.")
        }
        RestoreError::Files(FilesError::NotFound { .. } | FilesError::NotAFile { .. }) => {
            (Exit::Usage, "`holdfast ls RUN` lists what is in it.")
        }
        _ => (Exit::Failed, ""),
    };
    CliError::new(exit, error.code(), &error, next)
}
