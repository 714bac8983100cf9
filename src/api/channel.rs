//! The channels one can subscribe to.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of things that happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Channel {
    /// How far runs have come.
    #[serde(rename = "backup.progress")]
    BackupProgress,
    /// How far restores have come.
    #[serde(rename = "restore.progress")]
    RestoreProgress,
    /// The event log itself.
    #[serde(rename = "backup.events")]
    BackupEvents,
    /// What somebody has to see to.
    #[serde(rename = "alerts")]
    Alerts,
}

impl Channel {
    /// All of them.
    pub const ALL: [Channel; 4] =
        [Channel::BackupProgress, Channel::RestoreProgress, Channel::BackupEvents, Channel::Alerts];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::BackupProgress => "backup.progress",
            Channel::RestoreProgress => "restore.progress",
            Channel::BackupEvents => "backup.events",
            Channel::Alerts => "alerts",
        }
    }

    /// What it carries, for the documents.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Channel::BackupProgress => {
                "How far runs have come: the open one at once, then as it changes, and for each run that ends one `final`."
            }
            Channel::RestoreProgress => "How far restores have come; for each one that ends one `final`.",
            Channel::BackupEvents => {
                "The event log itself, from after `since_seq` or from now on; `seq` is the position. Tokens and the audit are told to admins only."
            }
            Channel::Alerts => "What somebody has to see to, as it follows from the event log.",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Channel {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Channel::ALL.into_iter().find(|channel| channel.as_str() == name).ok_or(())
    }
}
