//! The dispatcher's list of commands.

use super::command::{Entry, entry};
use super::commands::*;

/// All commands, in the order the documents list them in.
pub static TABLE: &[Entry] = &[
    entry::<Hello>(),
    entry::<Ping>(),
    entry::<GetBackupRun>(),
    entry::<GetBackupRuns>(),
    entry::<StartFullBackup>(),
    entry::<GetBackupProgress>(),
    entry::<Subscribe>(),
    entry::<Unsubscribe>(),
];

/// The command of this name or alias.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name || entry.aliases.contains(&name))
}
