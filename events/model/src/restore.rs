//! One execution of a restore: into a folder, or in place.
//!
//! A restore into a folder is made beside the target and renamed into place at its end, so that one that was interrupted left nothing but
//! what `RestoreFailed` then says was taken away. Of it the request and the end are recorded.
//!
//! A restore in place is all or nothing:
//!
//! ```text
//! requested ─► source verified ─► quiesced ─► safety snapshot ─► each staged ─► CommitDecided ─► each committed ─► each verified ─► completed
//!     │                                │             │                │                               │                  │
//!     ▼                                └─────────────┴── RollbackDecided ◄────────────────────────────┴──────────────────┘
//!   failed                                                    ├─ nothing was touched ─► failed | cancelled | timeout
//!                                                             └─ each touched put back ─► rolled back | rollback failed ─ retry ─┐
//!                                                                                              ▲──────────────────────────────────┘
//! ```
//!
//! Invariants: no live data is touched before `CommitDecided`; each commit has its `RestoreCommitStarted` before it; after the decision a
//! restore is made anew from staging by whoever comes after its process, unless `RollbackDecided` is recorded, and that is never taken
//! back.

mod apply;
mod deadline;
mod decide;
mod events;
mod step;
#[cfg(test)]
mod tests;
mod view;

pub use self::events::*;
pub use self::step::{Did, NewParticipant, NewRestore, Restoring, SafetySnapshot, Step};
pub use self::view::{RestoreView, RestoredParticipant};
use crate::aggregate::{Aggregate, Moment};
use crate::event::RestoreEvent;
use crate::failure::Failure;
use crate::ids::Timestamp;
use serde::{Deserialize, Serialize};

/// The code of a failure that left what was to be restored half done, because it was stopped.
pub const CUT_SHORT: &str = "RESTORE_CUT_SHORT";
/// The code of the failure of a restore whose process was gone before it was decided that it is made.
pub const INTERRUPTED: &str = "RESTORE_INTERRUPTED";
/// Longest path in bytes (`PATH_MAX` of Linux).
pub const MAX_PATH: usize = 4096;
/// How often a restore is gone on with after its process died before it is rolled back, and then how often that is tried.
pub const MAX_INTERRUPTIONS: u32 = 3;

/// Most bytes of a path and of participants' names together in one request.
const MAX_NAMES: usize = 4800;

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
    /// A deadline passed before anything was touched.
    Timeout,
    /// It was begun, and all is as before.
    RolledBack,
    /// It was begun, and not all could be put back.
    RollbackFailed,
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
            RestoreStatus::Timeout => "timeout",
            RestoreStatus::RolledBack => "rolled_back",
            RestoreStatus::RollbackFailed => "rollback_failed",
        }
    }
}

/// The state of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restore {
    /// What was asked for.
    pub request: Option<RestoreRequestedV3>,
    /// Where it stands.
    pub status: RestoreStatus,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What went wrong.
    pub error_summary: String,
    /// The code of that.
    pub error_code: String,
    /// What was brought back, once it is.
    pub completed: Option<RestoreCompletedV1>,
    /// The participants it is made into, in the order they are committed in; none where it is made otherwise.
    participants: Vec<Restoring>,
    source_verified: bool,
    quiesced: bool,
    /// The safety snapshot, once it is taken.
    safety: Option<SafetySnapshotTakenV1>,
    /// Why there will be none.
    unkept: Option<String>,
    decided: bool,
    /// Why it is not made.
    rolling_back: Option<Failure>,
    /// Why somebody asked to stop.
    cancel: Option<String>,
    timed_out: bool,
    /// When the safety snapshot was removed.
    safety_removed: Option<Timestamp>,
    interruptions: u32,
}

/// A wish about a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreCommand {
    /// Make it.
    Request(RestoreRequestedV3),
    /// All is in place.
    Complete(RestoreCompletedV1),
    /// It failed.
    Fail(Failure),
    /// Make it, in place.
    Begin(NewRestore),
    /// A step is done.
    Did(Step, Did),
    /// A step could not be done.
    StepFailed(Step, Failure),
    /// Stop, and put back what was touched.
    Cancel {
        /// Why.
        reason: String,
    },
    /// It has taken as long as it may.
    TimedOut,
    /// Whoever worked on it is gone: go on.
    Recover,
    /// Roll back once more.
    Retry,
    /// Remove its safety snapshot.
    RemoveSafety,
}

/// What must be done in the world about a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreEffect {
    /// The next step.
    Do(Step),
    /// Come back at this time, where it is at work then.
    Deadline {
        /// When.
        at: Timestamp,
    },
    /// The step that is under way is to stop.
    Stop,
    /// It has ended, and nobody needs to stand still for it any more.
    Release,
    /// It could not be rolled back: it has ended, and who stands still for it stays so.
    Ended,
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
    /// The step is not the one that is under way.
    #[error("the restore is not at this step")]
    NotAtStep,
    /// It was not left half rolled back.
    #[error("the restore does not wait to be rolled back: only one that ended rollback_failed is tried again")]
    NothingToRetry,
    /// Its safety snapshot is needed, or there is none.
    #[error(
        "the restore has no safety snapshot that may be removed: it may be needed to put things back, or there is none"
    )]
    SafetyKept,
    /// There is nothing to put back.
    #[error("no safety snapshot was kept of the state before: restore again, from the same run or another one")]
    NoSafetySnapshot,
    /// It names no participant, or one twice.
    #[error("a restore names each of its participants once")]
    Participants,
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
            RestoreRefusal::NotAtStep => "RESTORE_STEP_PASSED",
            RestoreRefusal::NothingToRetry => "RESTORE_NOT_RETRYABLE",
            RestoreRefusal::SafetyKept => "SAFETY_SNAPSHOT_KEPT",
            RestoreRefusal::NoSafetySnapshot => "NO_SAFETY_SNAPSHOT",
            RestoreRefusal::Participants | RestoreRefusal::PathTooLong | RestoreRefusal::TooManyParticipants => {
                "INVALID_DATA"
            }
        }
    }
}

impl Aggregate for Restore {
    type Command = RestoreCommand;
    type Event = RestoreEvent;
    type Effect = RestoreEffect;
    type Refusal = RestoreRefusal;

    fn decide(&self, command: RestoreCommand, now: Timestamp) -> Result<Vec<RestoreEvent>, RestoreRefusal> {
        self.decide_now(command, now)
    }

    fn apply(&mut self, event: &RestoreEvent, moment: &Moment) {
        self.fold(event, moment);
    }

    fn effects(&self, events: &[RestoreEvent]) -> Vec<RestoreEffect> {
        // Whoever takes it up counts on from its request.
        let is_taken_up =
            |event: &RestoreEvent| matches!(event, RestoreEvent::Requested(_) | RestoreEvent::Interrupted(_));
        let mut effects: Vec<_> = self.deadline().filter(|_| events.iter().any(is_taken_up)).into_iter().collect();
        effects.extend(match events.last() {
            None | Some(RestoreEvent::SafetySnapshotRemoved(_)) => None,
            Some(RestoreEvent::CancelRequested(_) | RestoreEvent::TimedOut(_)) => Some(RestoreEffect::Stop),
            Some(RestoreEvent::RollbackFailed(_)) => Some(RestoreEffect::Ended),
            Some(RestoreEvent::Completed(_) | RestoreEvent::Failed(_) | RestoreEvent::RolledBack(_)) => {
                Some(RestoreEffect::Release)
            }
            Some(_) => self.step().map(RestoreEffect::Do),
        });
        effects
    }
}
