//! One execution of a restore into a folder.
//!
//! The work is done beside the target and renamed into place at its end, so that a restore that was interrupted left
//! nothing but what `RestoreFailed` then says was taken away.

mod view;

use serde::{Deserialize, Serialize};

pub use self::view::{RestoreView, RestoredParticipant};
use crate::aggregate::{Aggregate, Moment};
use crate::event::RestoreEvent;
use crate::failure::{Failure, FailureKind, cut};
use crate::ids::{ParticipantName, RestoreId, RunId, Timestamp};

/// The code of a failure that left what was to be restored half done, because it was stopped.
pub const CUT_SHORT: &str = "RESTORE_CUT_SHORT";
/// Longest path in bytes (`PATH_MAX` of Linux).
pub const MAX_PATH: usize = 4096;

/// Most bytes of a path and of participants' names together in one request.
const MAX_NAMES: usize = 4800;

/// Somebody asked for a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRequestedV1 {
    /// Which.
    pub restore_id: RestoreId,
    /// The run it takes the bytes from.
    pub source_run: RunId,
    /// The folder, as text for people.
    pub target: String,
    /// Where it is made ready, as bytes of a path: what recovery takes away.
    pub staging: Vec<u8>,
    /// How many paths were asked for; 0 for all.
    pub selections: u32,
    /// Whether what is in the way is replaced.
    pub overwrite: bool,
}

/// What is kept of the state before a restore. It grows only at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Safety {
    /// A snapshot of it, or nothing is restored.
    #[default]
    Required,
    /// A snapshot of it where one can be taken.
    BestEffort,
    /// Nothing.
    None,
}

impl Safety {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Safety::Required => "required",
            Safety::BestEffort => "best_effort",
            Safety::None => "none",
        }
    }
}

/// A participant that is restored in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredParticipantV1 {
    /// Its name.
    pub name: ParticipantName,
    /// What it is, for example `command`.
    pub kind: String,
    /// Whether its failure fails a run.
    pub critical: bool,
}

/// [`RestoreRequestedV1`], with what was said of its safety, and with the participants where it is made in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRequestedV2 {
    /// Which.
    pub restore_id: RestoreId,
    /// The run it takes the bytes from.
    pub source_run: RunId,
    /// The folder, as text for people.
    pub target: String,
    /// Where it is made ready, as bytes of a path: what recovery takes away.
    pub staging: Vec<u8>,
    /// How many paths were asked for; 0 for all.
    pub selections: u32,
    /// Whether what is in the way is replaced.
    pub overwrite: bool,
    /// Whether it was made without maintenance being on. One into a folder does not ask for it.
    pub force: bool,
    /// What was to be kept of the state before it.
    pub safety: Safety,
    /// Those it is made into, in place; none where all goes into a folder.
    pub participants: Vec<RestoredParticipantV1>,
}

impl From<RestoreRequestedV1> for RestoreRequestedV2 {
    fn from(v1: RestoreRequestedV1) -> Self {
        Self {
            restore_id: v1.restore_id,
            source_run: v1.source_run,
            target: v1.target,
            staging: v1.staging,
            selections: v1.selections,
            overwrite: v1.overwrite,
            force: false,
            safety: Safety::None,
            participants: Vec::new(),
        }
    }
}

impl RestoreRequestedV2 {
    /// What names and kinds of its participants take, with the path beside them: they share an event.
    fn names(&self) -> usize {
        let bytes = |one: &RestoredParticipantV1| one.name.as_str().len() + one.kind.len() + 8;
        self.participants.iter().map(bytes).sum::<usize>() + self.staging.len()
    }
}

/// Everything is in its place and was as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreCompletedV1 {
    /// Files restored.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What could not be set, such as owners.
    pub warnings: u64,
}

/// It ended without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreFailedV1 {
    /// Why.
    pub failure: Failure,
}

/// Where a restore stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestoreStatus {
    /// No event yet.
    #[default]
    Unknown,
    /// At work.
    Running,
    /// All in place.
    Completed,
    /// Nothing in place.
    Failed,
    /// Stopped by request.
    Cancelled,
    /// Is open, and nobody works on it.
    Interrupted,
}

impl RestoreStatus {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RestoreStatus::Unknown => "unknown",
            RestoreStatus::Running => "running",
            RestoreStatus::Completed => "completed",
            RestoreStatus::Failed => "failed",
            RestoreStatus::Cancelled => "cancelled",
            RestoreStatus::Interrupted => "interrupted",
        }
    }
}

/// The state of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restore {
    /// What was asked for.
    pub request: Option<RestoreRequestedV2>,
    /// Where it stands.
    pub status: RestoreStatus,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What went wrong.
    pub error_summary: String,
    /// What was brought back, once it is.
    pub completed: Option<RestoreCompletedV1>,
}

/// A wish about a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreCommand {
    /// Make it.
    Request(RestoreRequestedV2),
    /// All is in place.
    Complete(RestoreCompletedV1),
    /// It failed.
    Fail(Failure),
}

/// Why a wish about a restore was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreRefusal {
    /// There is no such restore.
    #[error("there is no such restore")]
    NotFound,
    /// It has ended, or was never asked for.
    #[error("the restore is not running")]
    NotRunning,
    /// It is there already.
    #[error("a restore with this id is there already")]
    Exists,
    /// A path is longer than any system takes.
    #[error("the path of the target is longer than {MAX_PATH} bytes: choose a shorter one")]
    PathTooLong,
    /// It names more than one event holds.
    #[error("more participants are to be restored at a time than can be recorded: name fewer")]
    TooManyParticipants,
}

impl RestoreRefusal {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            RestoreRefusal::NotFound => "RESTORE_RUN_NOT_FOUND",
            RestoreRefusal::NotRunning => "RESTORE_RUN_NOT_ACTIVE",
            RestoreRefusal::Exists => "RESTORE_RUN_EXISTS",
            RestoreRefusal::PathTooLong | RestoreRefusal::TooManyParticipants => "INVALID_DATA",
        }
    }
}

impl Aggregate for Restore {
    type Command = RestoreCommand;
    type Event = RestoreEvent;
    type Effect = ();
    type Refusal = RestoreRefusal;

    fn decide(&self, command: RestoreCommand, _now: Timestamp) -> Result<Vec<RestoreEvent>, RestoreRefusal> {
        match (command, self.status) {
            (RestoreCommand::Request(request), RestoreStatus::Unknown) if request.staging.len() > MAX_PATH => {
                Err(RestoreRefusal::PathTooLong)
            }
            (RestoreCommand::Request(request), RestoreStatus::Unknown) if request.names() > MAX_NAMES => {
                Err(RestoreRefusal::TooManyParticipants)
            }
            (RestoreCommand::Request(mut request), RestoreStatus::Unknown) => {
                request.target = cut(&request.target, 1024).to_owned();
                Ok(vec![RestoreEvent::Requested(request)])
            }
            (RestoreCommand::Request(_), _) => Err(RestoreRefusal::Exists),
            (RestoreCommand::Complete(completed), RestoreStatus::Running) => {
                Ok(vec![RestoreEvent::Completed(completed)])
            }
            (RestoreCommand::Fail(failure), RestoreStatus::Running) => {
                Ok(vec![RestoreEvent::Failed(RestoreFailedV1 { failure: failure.bounded() })])
            }
            _ => Err(RestoreRefusal::NotRunning),
        }
    }

    fn apply(&mut self, event: &RestoreEvent, moment: &Moment) {
        match event {
            RestoreEvent::Requested(request) => {
                self.request = Some(request.clone());
                self.status = RestoreStatus::Running;
                self.started_at = moment.time;
            }
            RestoreEvent::Completed(completed) => {
                self.completed = Some(completed.clone());
                self.status = RestoreStatus::Completed;
                self.finished_at = Some(moment.time);
            }
            RestoreEvent::Failed(failed) => {
                self.status = match failed.failure.kind {
                    FailureKind::Cancelled => RestoreStatus::Cancelled,
                    _ => RestoreStatus::Failed,
                };
                self.finished_at = Some(moment.time);
                self.error_summary = failed.failure.to_string();
            }
        }
    }

    fn effects(&self, _events: &[RestoreEvent]) -> Vec<()> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
