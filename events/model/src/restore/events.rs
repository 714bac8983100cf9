//! What is recorded of a restore.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::{ParticipantName, RestoreId, RunId, Sha256, Timestamp};
use crate::run::ArtifactStoredV1;

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

/// [`RestoreRequestedV2`], with what becomes of live data that the run does not have, and with a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRequestedV3 {
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
    /// Whether live data that the run does not have is deleted.
    pub delete: bool,
    /// Whether it was made without maintenance being on. One into a folder does not ask for it.
    pub force: bool,
    /// What was to be kept of the state before it.
    pub safety: Safety,
    /// How long it may take, in milliseconds; 0 for as long as it takes.
    pub timeout_ms: u64,
    /// Those it is made into, in place; none where all goes into a folder.
    pub participants: Vec<RestoredParticipantV1>,
}

impl From<RestoreRequestedV2> for RestoreRequestedV3 {
    fn from(v2: RestoreRequestedV2) -> Self {
        Self {
            restore_id: v2.restore_id,
            source_run: v2.source_run,
            target: v2.target,
            staging: v2.staging,
            selections: v2.selections,
            overwrite: v2.overwrite,
            delete: false,
            force: v2.force,
            safety: v2.safety,
            timeout_ms: 0,
            participants: v2.participants,
        }
    }
}

impl From<RestoreRequestedV1> for RestoreRequestedV3 {
    fn from(v1: RestoreRequestedV1) -> Self {
        RestoreRequestedV2::from(v1).into()
    }
}

impl RestoreRequestedV3 {
    /// What names and kinds of its participants take, with the path beside them: they share an event.
    pub(super) fn names(&self) -> usize {
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

/// A participant takes part in a restore. These are in the commit of the request, in the order the participants are committed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreParticipantPlannedV1 {
    /// Its name.
    pub participant: ParticipantName,
    /// The version of the format its artifacts are in; 0 where the run did not record it.
    pub format_version: u32,
    /// Whether what is staged takes the place of the live data in one step.
    pub atomic: bool,
    /// Content bytes of its artifacts.
    pub bytes: u64,
}

/// Every artifact was read again and is as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreSourceVerifiedV1 {
    /// Participants whose artifacts were read.
    pub participants: u32,
    /// Content bytes read.
    pub bytes: u64,
}

/// All participants keep their data from changing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreQuiescedV1 {}

/// An artifact of the state before. It holds the artifact's own form, as a run has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafetyArtifactStoredV1 {
    /// The artifact, in the directory of the safety snapshot.
    pub artifact: ArtifactStoredV1,
}

/// The state before is kept, all of one moment, and was read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafetySnapshotTakenV1 {
    /// The moment.
    pub at: Timestamp,
    /// SHA-256 of the list of hashes in its directory.
    pub sums_sha256: Sha256,
}

/// The state before could not be kept, and the restore goes on all the same, as it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafetySnapshotSkippedV1 {
    /// Why.
    pub failure: Failure,
}

/// A participant holds all it was given beside its live data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreParticipantStagedV1 {
    /// Which.
    pub participant: ParticipantName,
    /// Content bytes it was given.
    pub bytes: u64,
}

/// All is staged: from here on the restore is made, whatever happens to the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreCommitDecidedV1 {}

/// Something happened to one participant of a restore; the event's type says what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePartV1 {
    /// Which.
    pub participant: ParticipantName,
}

/// A participant has what it was given in the place of its live data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreParticipantCommittedV2 {
    /// Its name.
    pub participant: ParticipantName,
    /// What its program said last, where it has one.
    pub output: String,
}

impl From<RestorePartV1> for RestoreParticipantCommittedV2 {
    fn from(v1: RestorePartV1) -> Self {
        Self { participant: v1.participant, output: String::new() }
    }
}

/// The restore is not made: what it did is undone. Recorded once, and never taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRollbackDecidedV1 {
    /// Why.
    pub failure: Failure,
}

/// All that was touched is as before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRolledBackV1 {
    /// Why it was rolled back.
    pub failure: Failure,
}

/// What was touched could not be put back: somebody has to see to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRollbackFailedV1 {
    /// Whose fault it was, where it was one's.
    pub participant: Option<ParticipantName>,
    /// Why.
    pub failure: Failure,
}

/// Somebody asked to roll back once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRetryRequestedV1 {}

/// Somebody asked to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreCancelRequestedV1 {
    /// Why, as they said it.
    pub reason: String,
}

/// Who worked on it is gone; another one goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreInterruptedV1 {
    /// What is known of it.
    pub reason: String,
}

/// It has taken as long as it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreTimedOutV1 {
    /// How long that is, in milliseconds from its request on.
    pub timeout_ms: u64,
}

/// The state before it is kept no longer. What there is of it on disk goes away after this, also where the process dies before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafetySnapshotRemovedV1 {}
