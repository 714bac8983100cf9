//! The dispatcher's list of commands.

use super::command::{Entry, entry};
use super::commands::*;

/// All commands, in the order the documents list them in.
pub static TABLE: &[Entry] = &[
    entry::<Hello>(),
    entry::<Auth>(),
    entry::<Ping>(),
    entry::<GetBackupConfig>(),
    entry::<AddBackupConfig>(),
    entry::<UpdateBackupConfig>(),
    entry::<DeleteBackupConfig>(),
    entry::<StartFullBackup>(),
    entry::<CancelBackupRun>(),
    entry::<GetBackupProgress>(),
    entry::<GetBackupRuns>(),
    entry::<GetBackupRun>(),
    entry::<GetBackupRunLog>(),
    entry::<ValidateBackupRun>(),
    entry::<RecordValidation>(),
    entry::<LockBackupRun>(),
    entry::<UnlockBackupRun>(),
    entry::<DeleteBackupRun>(),
    entry::<GetBackupParticipants>(),
    entry::<ResetBackupParticipant>(),
    entry::<UploadBackupRun>(),
    entry::<GetUploads>(),
    entry::<GetRemoteBackupRuns>(),
    entry::<DeleteRemoteBackupRun>(),
    entry::<ImportRemoteBackupRun>(),
    entry::<GetImportProgress>(),
    entry::<ValidateRemoteBackupRun>(),
    entry::<GetRemoteValidations>(),
    entry::<StartRestoreRun>(),
    entry::<BeginRestore>(),
    entry::<EndRestore>(),
    entry::<GetRestoreRuns>(),
    entry::<GetRestoreRun>(),
    entry::<CancelRestoreRun>(),
    entry::<RetryRestoreRun>(),
    entry::<SetMaintenance>(),
    entry::<CreateToken>(),
    entry::<ListTokens>(),
    entry::<RevokeToken>(),
    entry::<StopBackupServer>(),
    entry::<Subscribe>(),
    entry::<Unsubscribe>(),
];

/// The command of this name or alias.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name || entry.aliases.contains(&name))
}
