//! The facts of a run, in their frozen wire forms.
//!
//! A struct here is what old logs hold: it never changes. A new form is a new struct with the next version, an entry in
//! the table of [`crate::event`] and a `From` of the one before. Enumerations inside grow only at their end.

mod barrier;
mod copies;
mod import;
mod requested;

use serde::{Deserialize, Serialize};

pub use self::barrier::{BarrierAbortedV1, BarrierCompletedV1, BarrierRequestedV1, ParticipantFrozenV1};
pub use self::copies::{
    CopiesPlannedV1, CopiesPlannedV2, LocalCopyRemovalRequestedV1, RemoteCopyDeletedV1, UploadCompletedV1,
    UploadFailedV1, UploadInterruptedV1, UploadStartedV1, UploadStreamStartedV1, UploadTryFailedV1, UploadsRequestedV1,
};
pub use self::import::{
    ParticipantImportedV1, RunImportCompletedV1, RunImportFailedV1, RunImportPublishRequestedV1, RunImportRequestedV1,
    RunImportedV1,
};
pub use self::requested::{RunRequestedV1, RunRequestedV2, RunRequestedV3, RunRequestedV4};
use super::words::{Outcome, Target};
use crate::failure::{Failure, Warnings};
use crate::ids::{ArtifactName, ParticipantName, Sha256};

/// A participant takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantPlannedV1 {
    /// Its name.
    pub participant: ParticipantName,
    /// What it is, for example `files`.
    pub kind: String,
    /// Whether its failure fails the run.
    pub critical: bool,
    /// SHA-256 of its definition.
    pub definition_sha256: Sha256,
    /// How many [`DefinitionPartV1`] hold the definition; 0 where the configuration holds it.
    pub definition_parts: u32,
}

/// [`ParticipantPlannedV1`], with what it waits for and how often it is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantPlannedV2 {
    /// Its name.
    pub participant: ParticipantName,
    /// What it is, for example `files`.
    pub kind: String,
    /// Whether its failure fails the run.
    pub critical: bool,
    /// SHA-256 of its definition.
    pub definition_sha256: Sha256,
    /// How many [`DefinitionPartV1`] hold the definition; 0 where the configuration holds it.
    pub definition_parts: u32,
    /// Participants of the run that work before it.
    pub depends_on: Vec<ParticipantName>,
    /// Tries within one attempt, the first included.
    pub max_tries: u32,
    /// The pause before the second try, in milliseconds.
    pub retry_delay_ms: u64,
}

/// [`ParticipantPlannedV2`], with the version of what it writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantPlannedV3 {
    /// Its name.
    pub participant: ParticipantName,
    /// What it is, for example `files`.
    pub kind: String,
    /// Whether its failure fails the run.
    pub critical: bool,
    /// SHA-256 of its definition.
    pub definition_sha256: Sha256,
    /// How many [`DefinitionPartV1`] hold the definition; 0 where the configuration holds it.
    pub definition_parts: u32,
    /// Participants of the run that work before it.
    pub depends_on: Vec<ParticipantName>,
    /// Tries within one attempt, the first included.
    pub max_tries: u32,
    /// The pause before the second try, in milliseconds.
    pub retry_delay_ms: u64,
    /// The version of the format it writes; 0 where that was not recorded.
    pub format_version: u32,
}

impl From<ParticipantPlannedV2> for ParticipantPlannedV3 {
    fn from(v2: ParticipantPlannedV2) -> Self {
        Self {
            participant: v2.participant,
            kind: v2.kind,
            critical: v2.critical,
            definition_sha256: v2.definition_sha256,
            definition_parts: v2.definition_parts,
            depends_on: v2.depends_on,
            max_tries: v2.max_tries,
            retry_delay_ms: v2.retry_delay_ms,
            format_version: 0,
        }
    }
}

impl From<ParticipantPlannedV1> for ParticipantPlannedV2 {
    fn from(v1: ParticipantPlannedV1) -> Self {
        Self {
            participant: v1.participant,
            kind: v1.kind,
            critical: v1.critical,
            definition_sha256: v1.definition_sha256,
            definition_parts: v1.definition_parts,
            depends_on: Vec::new(),
            max_tries: 1,
            retry_delay_ms: 0,
        }
    }
}

/// A piece of an ad-hoc participant's definition, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionPartV1 {
    /// Whose.
    pub participant: ParticipantName,
    /// The piece: at most [`super::DEFINITION_PART`] bytes of JSON.
    pub text: String,
}

/// The run left the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStartedV1 {
    /// Which attempt, 1 for the first.
    pub attempt: u32,
}

/// The process that worked on it is gone, as the next one found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInterruptedV1 {
    /// What was found.
    pub reason: String,
}

/// The run goes on in another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResumedV1 {
    /// Which attempt, 2 for the first resume.
    pub attempt: u32,
}

/// What an earlier attempt made of a participant does not count; it runs again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantResetV1 {
    /// Which.
    pub participant: ParticipantName,
    /// Why.
    pub reason: String,
}

/// A participant began to work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantStartedV1 {
    /// Which.
    pub participant: ParticipantName,
    /// Which try in this attempt, 1 for the first.
    pub try_number: u32,
}

/// How far a participant has come: on a change of phase and at each 5 %.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantProgressedV1 {
    /// Which.
    pub participant: ParticipantName,
    /// Content bytes done.
    pub bytes_done: u64,
    /// Content bytes in all, where known.
    pub bytes_total: Option<u64>,
    /// Files done, for kinds that have files.
    pub files_done: u64,
    /// Files in all, where known.
    pub files_total: Option<u64>,
}

/// One file of an artifact in the run directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFileV1 {
    /// Its name in the run directory.
    pub file: ArtifactName,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub sha256: Sha256,
}

/// An artifact is whole and on stable storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactStoredV1 {
    /// Whose.
    pub participant: ParticipantName,
    /// Its name without what compression adds.
    pub logical_name: ArtifactName,
    /// The stored form.
    pub stored: StoredFileV1,
    /// Size of the content in bytes.
    pub content_bytes: u64,
    /// SHA-256 of the content.
    pub content_sha256: Sha256,
    /// How it is compressed.
    pub compression: String,
    /// Where its frames and entries lie.
    pub index: Option<StoredFileV1>,
}

/// A participant gave all it has. Its artifacts are in the same commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantCompletedV1 {
    /// Which.
    pub participant: ParticipantName,
    /// Files in it, for kinds that have files.
    pub files: u64,
    /// What it left out.
    pub warnings: Warnings,
    /// What cannot be backed up and never is (sockets), for the record.
    pub notes: Warnings,
}

/// A participant did not give what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantFailedV1 {
    /// Which.
    pub participant: ParticipantName,
    /// Why.
    pub failure: Failure,
}

/// [`ParticipantFailedV1`], with the last of what its program said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantFailedV2 {
    /// Which.
    pub participant: ParticipantName,
    /// Why.
    pub failure: Failure,
    /// The end of its program's standard error, at most [`super::MAX_OUTPUT`] bytes; empty where there is none.
    pub output: String,
}

impl From<ParticipantFailedV1> for ParticipantFailedV2 {
    fn from(v1: ParticipantFailedV1) -> Self {
        Self { participant: v1.participant, failure: v1.failure, output: String::new() }
    }
}

/// A try failed, and there will be another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantTryFailedV1 {
    /// Which.
    pub participant: ParticipantName,
    /// Which try in this attempt, 1 for the first.
    pub try_number: u32,
    /// Why.
    pub failure: Failure,
    /// The end of its program's standard error, at most [`super::MAX_OUTPUT`] bytes.
    pub output: String,
    /// The pause before the next try, in milliseconds.
    pub retry_after_ms: u64,
}

/// The pause before the next try is over, and others are at work: it waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantDueV1 {
    /// Which.
    pub participant: ParticipantName,
}

/// A participant was stopped, or not begun, because the run was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantCancelledV1 {
    /// Which.
    pub participant: ParticipantName,
}

/// A participant was not begun, because the run could not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantSkippedV1 {
    /// Which.
    pub participant: ParticipantName,
    /// Why.
    pub reason: String,
}

/// Somebody asked to stop the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCancelRequestedV1 {
    /// Why.
    pub reason: String,
}

/// An attempt took as long as it may: what is at work is stopped, and nothing more is begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTimedOutV1 {
    /// Which attempt.
    pub attempt: u32,
    /// How long it could take, in milliseconds.
    pub timeout_ms: u64,
}

/// All participants have ended: what the run will be called. Its directory is now being sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunClassifiedV1 {
    /// The end.
    pub outcome: Outcome,
    /// What went wrong, in one line; empty where nothing did.
    pub error_summary: String,
}

/// Every artifact was read again and is as recorded; the directory is about to be renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPublishRequestedV1 {
    /// Where to.
    pub target: Target,
    /// SHA-256 of `SHA256SUMS`, and with it of the whole directory.
    pub sums_sha256: Sha256,
}

/// The run directory is in its place, durably. The run has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPublishedV1 {
    /// How it ended.
    pub outcome: Outcome,
    /// Where its directory is.
    pub target: Target,
}

/// The run ended without a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEndedV1 {
    /// The end.
    pub outcome: Outcome,
    /// What went wrong, in one line.
    pub error_summary: String,
}

/// Sizes and hashes of an ended run were taken again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunVerifiedV1 {
    /// Whether all were as recorded.
    pub ok: bool,
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What was not as recorded.
    pub errors: Warnings,
}

/// The run is kept from deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLockedV1 {
    /// Why.
    pub reason: String,
}

/// The run may be deleted again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunUnlockedV1 {}

/// Somebody asked to delete the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDeleteRequestedV1 {}

/// The run's directory could not be taken away: it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDeleteFailedV1 {
    /// Why.
    pub failure: Failure,
}

/// The run's directory is out of its place, durably; its bytes are being unlinked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDeletedV1 {}
