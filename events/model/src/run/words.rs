//! The words of a run's facts. What is written here is in old logs: an enumeration grows only at its end.

use serde::{Deserialize, Serialize};

use crate::ids::EndpointName;

/// Which participants a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunType {
    /// All of them.
    Full,
    /// Those that were named.
    Scoped,
}

/// What made a run start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A person or program asked.
    Manual,
    /// The schedule.
    Cron,
    /// An update is about to be made.
    PreUpdate,
    /// The server is about to stop.
    Shutdown,
}

impl RunType {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RunType::Full => "full",
            RunType::Scoped => "scoped",
        }
    }
}

impl Trigger {
    /// All of them.
    pub const ALL: [Trigger; 4] = [Trigger::Manual, Trigger::Cron, Trigger::PreUpdate, Trigger::Shutdown];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Trigger::Manual => "manual",
            Trigger::Cron => "cron",
            Trigger::PreUpdate => "pre_update",
            Trigger::Shutdown => "shutdown",
        }
    }
}

/// Where a finished run directory goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// `backups/completed/`: completed and partial runs.
    Completed,
    /// `backups/failed/`: all other ends.
    Failed,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every participant is good.
    Completed,
    /// Every critical participant is good, an optional one is not.
    Partial,
    /// A critical participant is not good, or none is.
    Failed,
    /// Somebody asked to stop.
    Cancelled,
    /// The run's deadline passed.
    Timeout,
}

impl Outcome {
    /// Where a run directory with this end goes.
    #[must_use]
    pub fn target(self) -> Target {
        match self {
            Outcome::Completed | Outcome::Partial => Target::Completed,
            Outcome::Failed | Outcome::Cancelled | Outcome::Timeout => Target::Failed,
        }
    }
}

/// Of which moment the artifacts of a run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Each participant's of one of its own.
    #[default]
    Concurrent,
    /// All of one: the participants stand still together.
    Barrier,
}

impl Consistency {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Consistency::Concurrent => "concurrent",
            Consistency::Barrier => "barrier",
        }
    }
}

/// How many of a run's endpoints must have a copy of it for the run to be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequireEndpoints {
    /// None.
    #[default]
    None,
    /// One of them.
    Any,
    /// All of them.
    All,
}

impl RequireEndpoints {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RequireEndpoints::None => "none",
            RequireEndpoints::Any => "any",
            RequireEndpoints::All => "all",
        }
    }

    /// Whether a run with so many copies planned and there is good in this regard.
    #[must_use]
    pub fn is_met(self, planned: usize, uploaded: usize) -> bool {
        match self {
            RequireEndpoints::None => true,
            RequireEndpoints::Any => uploaded > 0,
            RequireEndpoints::All => planned > 0 && uploaded >= planned,
        }
    }
}

/// Where the artifacts of a run are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Staging {
    /// Into the run's directory here.
    #[default]
    Local,
    /// Straight to the endpoints: here there is never more than the lists and indexes.
    None,
}

impl Staging {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Staging::Local => "local",
            Staging::None => "none",
        }
    }
}

/// Where copies of a run go, and what is expected of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// To each of these.
    pub endpoints: Vec<EndpointName>,
    /// How many of them must have one for the run to be good.
    pub require: RequireEndpoints,
    /// Whether the run's directory stays once the copies are there.
    pub keep_local: bool,
    /// Where the artifacts are written.
    pub staging: Staging,
}

impl Default for Copies {
    fn default() -> Self {
        Self { endpoints: Vec::new(), require: RequireEndpoints::None, keep_local: true, staging: Staging::Local }
    }
}

/// How a copy was checked at the far side before it was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UploadCheck {
    /// By the sizes of its files.
    #[default]
    Size,
    /// By their SHA-256, which the far side took.
    Hash,
    /// By their SHA-256, taken of what was read back.
    Readback,
}

impl UploadCheck {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            UploadCheck::Size => "size",
            UploadCheck::Hash => "hash",
            UploadCheck::Readback => "readback",
        }
    }
}

/// How a run's artifacts are encrypted: the public half of it. No secret is ever part of an event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encryption {
    /// Not at all.
    #[default]
    None,
    /// By age, to each of these public keys (`age1…`).
    Recipients(Vec<String>),
    /// By age, with a passphrase.
    Passphrase,
}

/// Most public keys that a run is encrypted to.
pub const MAX_RECIPIENTS: usize = 16;
/// Longest public key, in bytes.
pub const MAX_RECIPIENT: usize = 128;

impl Encryption {
    /// The word for it: `none` or `age`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Encryption::None => "none",
            Encryption::Recipients(_) | Encryption::Passphrase => "age",
        }
    }

    /// Whether artifacts are encrypted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        *self != Encryption::None
    }

    /// What opens it: public keys, of which the private half of one does; or `passphrase`.
    #[must_use]
    pub fn opened_by(&self) -> Vec<String> {
        match self {
            Encryption::None => Vec::new(),
            Encryption::Recipients(recipients) => recipients.clone(),
            Encryption::Passphrase => vec!["passphrase".to_owned()],
        }
    }

    /// Why it is not one that a run may have.
    pub(super) fn invalid(&self) -> Option<String> {
        let Encryption::Recipients(recipients) = self else { return None };
        if recipients.is_empty() || recipients.len() > MAX_RECIPIENTS {
            return Some(format!("a run is encrypted to 1 to {MAX_RECIPIENTS} recipients"));
        }
        let too_long = recipients.iter().any(|recipient| recipient.is_empty() || recipient.len() > MAX_RECIPIENT);
        too_long.then(|| format!("a recipient has 1 to {MAX_RECIPIENT} bytes"))
    }
}
