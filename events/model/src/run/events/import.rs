//! The facts of a run that comes back from an endpoint.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::ParticipantStatus;
use super::super::words::{Consistency, Encryption, Outcome, RunType, Target, Trigger};
use crate::failure::{Failure, Warnings};
use crate::ids::{EndpointName, ParticipantName, RunId, Sha256, Timestamp};

/// Somebody asked to bring the run back from an endpoint. Its files are being fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunImportRequestedV1 {
    /// The run.
    pub run_id: RunId,
    /// Where it is fetched from.
    pub endpoint: EndpointName,
    /// The installation whose run it is.
    pub server_id: Uuid,
    /// Whether it may take the place of the same run here.
    pub overwrite: bool,
}

/// All files of a run that was not known here have come and are as its manifest says; this is what that says of the run. Its participants
/// follow as [`ParticipantImportedV1`], each in a commit of its own. Texts of an encrypted run, and what its contents are, lie in the
/// manifest's encrypted part: they are empty here, and 0 in its artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunImportedV1 {
    /// The run.
    pub run_id: RunId,
    /// The installation that made it.
    pub server_id: Uuid,
    /// All participants or some.
    pub run_type: RunType,
    /// What made it start.
    pub trigger: Trigger,
    /// How it ended.
    pub outcome: Outcome,
    /// How many processes worked on it.
    pub attempt: u32,
    /// When it left the queue.
    pub started_at: Timestamp,
    /// When its end was known.
    pub finished_at: Timestamp,
    /// What went wrong, in one line.
    pub error_summary: String,
    /// Who asked for it there.
    pub requested_by: String,
    /// The job it belongs to; empty for none.
    pub job: String,
    /// How artifacts are compressed, where they are all alike; empty where they are not.
    pub compression: String,
    /// Of which moment its artifacts are to be.
    pub consistency: Consistency,
    /// That moment, where there was one.
    pub barrier_at: Option<Timestamp>,
    /// How long participants stood still for it, in microseconds.
    pub held_us: u64,
    /// How its artifacts are encrypted.
    pub encryption: Encryption,
    /// Whether what it is lies in the encrypted part of its manifest, so that the names recorded here are neutral ones.
    pub masked: bool,
    /// How many participants follow.
    pub participants: u32,
    /// SHA-256 of its `SHA256SUMS`, and with it of everything in its directory.
    pub sums_sha256: Sha256,
}

/// What became of a participant of a run that is imported. Its artifacts follow in the same commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantImportedV1 {
    /// Its name.
    pub participant: ParticipantName,
    /// What it is, for example `files`; empty where that is not known.
    pub kind: String,
    /// Whether its failure fails the run.
    pub critical: bool,
    /// How it ended.
    pub status: ParticipantStatus,
    /// When it began, where it did.
    pub started_at: Option<Timestamp>,
    /// When it ended, where it began.
    pub finished_at: Option<Timestamp>,
    /// Why it has no artifacts.
    pub failure: Option<Failure>,
    /// What it left out.
    pub warnings: Warnings,
}

/// The run was read whole and is the one that was asked for; its directory is about to be renamed to its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunImportPublishRequestedV1 {
    /// Where to.
    pub target: Target,
    /// Whether the same run is there, and makes room for it.
    pub replaces: bool,
}

/// The run directory is in its place, durably.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunImportCompletedV1 {}

/// The run did not come back; what was here is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunImportFailedV1 {
    /// Why.
    pub failure: Failure,
}
