//! One execution of a backup.
//!
//! ```text
//! queued ─ Started ─► preparing ─► [barrier ─►] working ─ Classified ─► sealing ─ PublishRequested ─► publishing ─ Published ─► ended
//!    │                    │           │                       │ (an artifact is not as recorded: classified again)
//!    └──────────── Ended ─┴───────────┴───────────────────────┴ where there is no directory to publish
//! ```
//!
//! Invariants: an ended run has no participant left pending or running; `completed` is never claimed before every
//! artifact was read again after it was written; what a process that died had under way is either kept whole or done
//! again.

mod apply;
mod barrier;
mod command;
mod copies;
mod deadline;
mod decide;
mod events;
mod import;
mod places;
mod recover;
#[cfg(test)]
mod tests;
mod view;
mod words;

pub(crate) use apply::share;
pub use barrier::{Barrier, Held, NotFrozen};
pub use command::{Found, NewParticipant, NewRun, Refusal, RunCommand, Try};
pub use copies::{COPY_ALTERED, CopyStatus, Elsewhere, MAX_COPIES, RemoteStatus, RunCopy, Uploaded};
pub use events::*;
pub use import::{ImportedFrom, MAX_IMPORTED_COUNTER};
pub use places::{Place, Places};
pub use view::{ArtifactView, ConsistencyView, CopyView, ParticipantView, RunStatus, RunView};
pub use words::{
    Consistency, Copies, Encryption, MAX_RECIPIENT, MAX_RECIPIENTS, Outcome, RequireEndpoints, RunType, Staging,
    Target, Trigger, UploadCheck,
};

use std::collections::BTreeSet;

use crate::failure::{Failure, Warnings};
use crate::ids::{EndpointName, ParticipantName, RunId, Sha256, Timestamp};

/// Largest piece of a definition in one event, in bytes.
pub const DEFINITION_PART: usize = 4096;
/// Largest definition of one participant, in bytes.
pub const MAX_DEFINITION: usize = 1 << 19;
/// Most participants of one run.
pub const MAX_PARTICIPANTS: usize = 200;
/// Most events of one request: participants and the pieces of their definitions are recorded in one commit.
pub const MAX_REQUEST_EVENTS: usize = 256;

/// Most participants one can wait for.
pub const MAX_DEPENDENCIES: usize = 50;
/// Most artifacts of one participant: all of them are recorded in one commit.
pub const MAX_ARTIFACTS: usize = 100;
/// Most of a program's output that is recorded with its failure, in bytes.
pub const MAX_OUTPUT: usize = 4096;

/// Longest name of a job, in bytes.
pub const MAX_JOB: usize = 64;
/// Longest idempotency key, in bytes.
pub const MAX_KEY: usize = 128;
/// Longest name of a kind of participant or of a compression, in bytes.
pub const MAX_KIND: usize = 64;
/// Files of a run directory that no artifact may be called, without regard to case.
pub const RESERVED_FILES: [&str; 2] = ["manifest.json", "SHA256SUMS"];

/// Where a run is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// No event yet.
    #[default]
    Unknown,
    /// Waits for its turn.
    Queued,
    /// Its directory is being made.
    Preparing,
    /// Participants stand still together.
    Barrier,
    /// Participants write.
    Working,
    /// Artifacts are read again, manifest and sums are written.
    Sealing,
    /// The directory is being renamed.
    Publishing,
    /// It has ended.
    Ended,
}

/// How far a participant of a run has come.
///
/// What an import brings is recorded with it: it grows only at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParticipantStatus {
    /// Not begun.
    #[default]
    Pending,
    /// At work.
    Running,
    /// All its artifacts are stored.
    Completed,
    /// It has none.
    Failed,
    /// It was not begun.
    Skipped,
    /// It was stopped.
    Cancelled,
    /// Its deadline passed.
    Timeout,
}

impl ParticipantStatus {
    /// Whether it can still change.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

/// What is being done about the directory of an ended run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retained {
    /// It is where it was published.
    #[default]
    Kept,
    /// It is being taken away.
    Deleting,
    /// It is gone.
    Deleted,
}

/// One participant in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunParticipant {
    /// Its name.
    pub name: ParticipantName,
    /// What it is, for example `files`.
    pub kind: String,
    /// Whether its failure fails the run.
    pub critical: bool,
    /// SHA-256 of its definition.
    pub definition_sha256: Sha256,
    /// Its definition as JSON; empty where the configuration holds it.
    pub definition: String,
    /// Participants of the run that work before it.
    pub depends_on: Vec<ParticipantName>,
    /// Tries within one attempt, the first included.
    pub max_tries: u32,
    /// The pause before the second try, in milliseconds.
    pub retry_delay_ms: u64,
    /// The version of the format it writes; 0 where that was not recorded.
    pub format_version: u32,
    /// How far it has come.
    pub status: ParticipantStatus,
    /// Tries in this attempt.
    pub tries: u32,
    /// When it is tried again, while it waits for that.
    pub retry_at: Option<Timestamp>,
    /// When it was begun last.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it has no artifacts, or why its last try gave none.
    pub failure: Option<Failure>,
    /// The end of what its program said when it failed.
    pub output: String,
    /// Its artifacts.
    pub artifacts: Vec<ArtifactStoredV1>,
    /// What it left out.
    pub warnings: Warnings,
    /// What can never be backed up.
    pub notes: Warnings,
    /// The last recorded progress.
    pub progress: Option<ParticipantProgressedV1>,
    /// The largest share of its content any progress of this attempt told of, in hundredths of a percent.
    pub furthest: u32,
    /// Files in it.
    pub files: u64,
    /// How long it stood still, where it did in this attempt.
    pub frozen: Option<ParticipantFrozenV1>,
}

/// The last verification of an ended run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastVerified {
    /// When.
    pub at: Timestamp,
    /// Whether all was as recorded.
    pub ok: bool,
    /// What was not, each as `file: reason`.
    pub errors: Warnings,
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Run {
    request: Option<RunRequestedV4>,
    requested_by: String,
    requested_at: Timestamp,
    stage: Stage,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    updated_at: Timestamp,
    attempt: u32,
    participants: Vec<RunParticipant>,
    barrier: Option<Barrier>,
    cancel: Option<String>,
    timed_out: bool,
    outcome: Option<Outcome>,
    error_summary: String,
    target: Option<Target>,
    retained: Retained,
    delete_failure: Option<Failure>,
    last_verified: Option<LastVerified>,
    sums_sha256: Option<Sha256>,
    check: Check,
    was_good: bool,
    lock: Option<String>,
    planned_copies: Copies,
    /// Endpoints that bytes of artifacts went to while they were written.
    streamed: BTreeSet<EndpointName>,
    copies: Vec<RunCopy>,
    kept_remotely: bool,
    importing: Option<Box<import::Importing>>,
    imported: Option<ImportedFrom>,
    masked: bool,
}

/// How long it takes to read everything again, which is measured for the estimates of later runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Check {
    began: Option<Timestamp>,
    took_us: Option<u64>,
}

impl Run {
    /// Its id; `None` before its first event.
    #[must_use]
    pub fn id(&self) -> Option<RunId> {
        self.request.as_ref().map(|request| request.run_id)
    }

    /// What was asked for.
    #[must_use]
    pub fn request(&self) -> Option<&RunRequestedV4> {
        self.request.as_ref()
    }

    /// Where it is on its way.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Which attempt is the last, 0 before the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Its participants in the order they were planned in.
    #[must_use]
    pub fn participants(&self) -> &[RunParticipant] {
        &self.participants
    }

    /// The participant called `name`.
    #[must_use]
    pub fn participant(&self, name: &ParticipantName) -> Option<&RunParticipant> {
        self.participants.iter().find(|participant| participant.name == *name)
    }

    /// How it ended, known from its classification on.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Whether all that was asked for had been written well in this attempt, whatever was found of it since.
    #[must_use]
    pub fn was_good(&self) -> bool {
        self.was_good
    }

    /// What went wrong, in one line.
    #[must_use]
    pub fn error_summary(&self) -> &str {
        &self.error_summary
    }

    /// Where its directory is or goes; `None` where it has none.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        self.target
    }

    /// Why its directory could not be deleted, where that was tried last.
    #[must_use]
    pub fn delete_failure(&self) -> Option<&Failure> {
        self.delete_failure.as_ref()
    }

    /// Whether its directory is kept.
    #[must_use]
    pub fn retained(&self) -> Retained {
        self.retained
    }

    /// Why it is kept from deletion, while it is.
    #[must_use]
    pub fn lock(&self) -> Option<&str> {
        self.lock.as_deref()
    }

    /// Whether somebody asked to stop it.
    #[must_use]
    pub fn cancel_requested(&self) -> bool {
        self.cancel.is_some()
    }

    /// SHA-256 of its `SHA256SUMS`, and with it of everything in its directory; known from the moment it was sealed.
    #[must_use]
    pub fn sums_sha256(&self) -> Option<Sha256> {
        self.sums_sha256
    }

    /// The last verification of its files.
    #[must_use]
    pub fn last_verified(&self) -> Option<&LastVerified> {
        self.last_verified.as_ref()
    }

    /// Who asked for it.
    #[must_use]
    pub fn requested_by(&self) -> &str {
        &self.requested_by
    }

    /// When it was asked for.
    #[must_use]
    pub fn requested_at(&self) -> Timestamp {
        self.requested_at
    }

    /// When its last event was recorded, locking aside: that is nobody's work on it.
    #[must_use]
    pub fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// When it left the queue.
    #[must_use]
    pub fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    /// When its end was known.
    #[must_use]
    pub fn finished_at(&self) -> Option<Timestamp> {
        self.finished_at
    }

    /// Whether it has begun and not ended: what a process that died left, or a living one works on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Unknown | Stage::Ended)
    }

    /// Every artifact of a participant that completed.
    pub fn good_artifacts(&self) -> impl Iterator<Item = &ArtifactStoredV1> {
        self.participants.iter().flat_map(|participant| self.good_artifacts_of(participant))
    }

    /// Those of one of its participants.
    pub fn good_artifacts_of<'a>(&self, participant: &'a RunParticipant) -> impl Iterator<Item = &'a ArtifactStoredV1> {
        let good = participant.status == ParticipantStatus::Completed && !self.came_to_nothing();
        participant.artifacts.iter().filter(move |_| good)
    }

    /// Whether its artifacts went to endpoints alone and it was not committed there: then nobody keeps them.
    pub(crate) fn came_to_nothing(&self) -> bool {
        self.is_staged_elsewhere() && self.outcome.is_some_and(|outcome| outcome.target() == Target::Failed)
    }

    /// Warnings of all participants.
    #[must_use]
    pub fn warning_count(&self) -> u64 {
        self.participants.iter().fold(0, |sum, participant| participant.warnings.count.saturating_add(sum))
    }

    /// Bytes that are read again before it is published: good artifacts and their indexes, as they are stored.
    #[must_use]
    pub fn check_bytes(&self) -> u64 {
        self.good_artifacts().fold(0, |sum: u64, artifact| {
            let index = artifact.index.as_ref().map_or(0, |index| index.size_bytes);
            sum.saturating_add(artifact.stored.size_bytes).saturating_add(index)
        })
    }

    /// Bytes of content a second that were read again, where that was measured: a small run says nothing about a large one.
    #[must_use]
    pub fn check_rate(&self) -> Option<f64> {
        const ENOUGH: u64 = 64 << 20;
        let content = self.size_bytes();
        let took = self.check.took_us.filter(|took| *took > 0 && content >= ENOUGH)?;
        Some(content as f64 * 1e6 / took as f64)
    }

    fn all_ended(&self) -> bool {
        self.participants.iter().all(|participant| !participant.status.is_open())
    }

    fn running(&self) -> usize {
        self.participants.iter().filter(|participant| participant.status == ParticipantStatus::Running).count()
    }
}

/// What a run asks of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEffect {
    /// Make its directory, or see that it is there.
    PrepareDirectory,
    /// Let the participants stand still together, and come back with what was held.
    Barrier,
    /// Let those that stand still go on.
    AbortBarrier,
    /// Let a participant write.
    StartParticipant(ParticipantName),
    /// Come back with [`RunCommand::Retry`] once the pause is over.
    RetryLater {
        /// Who.
        participant: ParticipantName,
        /// After which try.
        of: Try,
        /// The pause, in milliseconds.
        after_ms: u64,
    },
    /// Come back with [`RunCommand::TimedOut`] once the attempt has taken so long.
    Deadline {
        /// Which attempt.
        attempt: u32,
        /// How long it may take, in milliseconds.
        after_ms: u64,
    },
    /// Stop those that write.
    CancelParticipants,
    /// Read every artifact again, write manifest and sums.
    Seal,
    /// Rename the directory to its place.
    Publish(Target),
    /// Take the directory out of its place and unlink it.
    Delete,
    /// Come back with [`RunCommand::Leave`], and where endpoints are.
    Leave,
    /// Come back with [`RunCommand::UploadBegins`] when the endpoint has time for it.
    OfferUpload(EndpointName),
    /// Send the run there.
    Upload {
        /// Where to.
        endpoint: EndpointName,
        /// Which try.
        try_number: u32,
    },
    /// Offer the upload again once the pause is over.
    RetryUpload {
        /// Where to.
        endpoint: EndpointName,
        /// The pause, in milliseconds.
        after_ms: u64,
    },
    /// Stop sending it there.
    StopUpload(EndpointName),
    /// Let artifacts go there while they are written, where the endpoint or the run is set up so.
    StreamUpload(EndpointName),
    /// Tell whoever waits that it has ended.
    Ended,
}
