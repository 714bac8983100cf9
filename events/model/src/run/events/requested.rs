//! The request of a run, in each form that was recorded.

use serde::{Deserialize, Serialize};

use crate::ids::RunId;
use crate::run::words::{Consistency, Encryption, RunType, Trigger};

/// Somebody asked for a run. Its participants follow as [`ParticipantPlannedV1`](super::ParticipantPlannedV1) in the same commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequestedV1 {
    /// The run.
    pub run_id: RunId,
    /// All participants or some.
    pub run_type: RunType,
    /// What made it start.
    pub trigger: Trigger,
    /// How artifacts are compressed, as `lz4` or `zstd:3`.
    pub compression: String,
    /// Whether a warning fails its participant.
    pub strict: bool,
    /// How many processes may work on it, one after the other.
    pub max_attempts: u32,
    /// How many seconds after an interruption it is still resumed.
    pub resume_within_s: u64,
    /// How many participants work at the same time.
    pub max_parallel: u32,
}

/// Somebody asked for a run. Its participants follow as [`ParticipantPlannedV1`](super::ParticipantPlannedV1) in the same commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequestedV2 {
    /// The run.
    pub run_id: RunId,
    /// All participants or some.
    pub run_type: RunType,
    /// What made it start.
    pub trigger: Trigger,
    /// How artifacts are compressed, as `lz4` or `zstd:3`.
    pub compression: String,
    /// Whether a warning fails its participant.
    pub strict: bool,
    /// How many processes may work on it, one after the other.
    pub max_attempts: u32,
    /// How many seconds after an interruption it is still resumed.
    pub resume_within_s: u64,
    /// How many participants work at the same time.
    pub max_parallel: u32,
    /// The job it belongs to; empty for none. At most [`MAX_JOB`](crate::run::MAX_JOB) bytes.
    pub job: String,
    /// What whoever asked calls this wish, so that asking again does not make another run; empty for nothing. At most
    /// [`MAX_KEY`](crate::run::MAX_KEY) bytes.
    pub idempotency_key: String,
}

impl From<RunRequestedV1> for RunRequestedV2 {
    fn from(old: RunRequestedV1) -> Self {
        Self {
            run_id: old.run_id,
            run_type: old.run_type,
            trigger: old.trigger,
            compression: old.compression,
            strict: old.strict,
            max_attempts: old.max_attempts,
            resume_within_s: old.resume_within_s,
            max_parallel: old.max_parallel,
            job: String::new(),
            idempotency_key: String::new(),
        }
    }
}

/// [`RunRequestedV2`], with the moment its artifacts are to be of, and its deadline. Its participants follow as
/// [`ParticipantPlannedV2`](super::ParticipantPlannedV2) in the same commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequestedV3 {
    /// The run.
    pub run_id: RunId,
    /// All participants or some.
    pub run_type: RunType,
    /// What made it start.
    pub trigger: Trigger,
    /// How artifacts are compressed, as `lz4` or `zstd:3`.
    pub compression: String,
    /// Whether a warning fails its participant.
    pub strict: bool,
    /// How many processes may work on it, one after the other.
    pub max_attempts: u32,
    /// How many seconds after an interruption it is still resumed.
    pub resume_within_s: u64,
    /// How many participants work at the same time.
    pub max_parallel: u32,
    /// The job it belongs to; empty for none. At most [`MAX_JOB`](crate::run::MAX_JOB) bytes.
    pub job: String,
    /// What whoever asked calls this wish, so that asking again does not make another run; empty for nothing. At most
    /// [`MAX_KEY`](crate::run::MAX_KEY) bytes.
    pub idempotency_key: String,
    /// Of which moment its artifacts are.
    pub consistency: Consistency,
    /// How long participants stand still at most, from the first that is frozen to the last that is thawed, in milliseconds.
    pub freeze_budget_ms: u64,
    /// How long an attempt may take, in milliseconds; 0 for as long as it likes.
    pub timeout_ms: u64,
}

impl From<RunRequestedV2> for RunRequestedV3 {
    fn from(v2: RunRequestedV2) -> Self {
        Self {
            run_id: v2.run_id,
            run_type: v2.run_type,
            trigger: v2.trigger,
            compression: v2.compression,
            strict: v2.strict,
            max_attempts: v2.max_attempts,
            resume_within_s: v2.resume_within_s,
            max_parallel: v2.max_parallel,
            job: v2.job,
            idempotency_key: v2.idempotency_key,
            consistency: Consistency::Concurrent,
            freeze_budget_ms: 0,
            timeout_ms: 0,
        }
    }
}

/// [`RunRequestedV3`], with how its artifacts are encrypted. Its participants follow as [`ParticipantPlannedV3`](super::ParticipantPlannedV3) in the same
/// commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequestedV4 {
    /// The run.
    pub run_id: RunId,
    /// All participants or some.
    pub run_type: RunType,
    /// What made it start.
    pub trigger: Trigger,
    /// How artifacts are compressed, as `lz4` or `zstd:3`.
    pub compression: String,
    /// Whether a warning fails its participant.
    pub strict: bool,
    /// How many processes may work on it, one after the other.
    pub max_attempts: u32,
    /// How many seconds after an interruption it is still resumed.
    pub resume_within_s: u64,
    /// How many participants work at the same time.
    pub max_parallel: u32,
    /// The job it belongs to; empty for none. At most [`MAX_JOB`](crate::run::MAX_JOB) bytes.
    pub job: String,
    /// What whoever asked calls this wish, so that asking again does not make another run; empty for nothing. At most
    /// [`MAX_KEY`](crate::run::MAX_KEY) bytes.
    pub idempotency_key: String,
    /// Of which moment its artifacts are.
    pub consistency: Consistency,
    /// How long participants stand still at most, from the first that is frozen to the last that is thawed, in milliseconds.
    pub freeze_budget_ms: u64,
    /// How long an attempt may take, in milliseconds; 0 for as long as it likes.
    pub timeout_ms: u64,
    /// How its artifacts are encrypted: all of them alike, in every attempt.
    pub encryption: Encryption,
}

impl From<RunRequestedV3> for RunRequestedV4 {
    fn from(v3: RunRequestedV3) -> Self {
        Self {
            run_id: v3.run_id,
            run_type: v3.run_type,
            trigger: v3.trigger,
            compression: v3.compression,
            strict: v3.strict,
            max_attempts: v3.max_attempts,
            resume_within_s: v3.resume_within_s,
            max_parallel: v3.max_parallel,
            job: v3.job,
            idempotency_key: v3.idempotency_key,
            consistency: v3.consistency,
            freeze_budget_ms: v3.freeze_budget_ms,
            timeout_ms: v3.timeout_ms,
            encryption: Encryption::None,
        }
    }
}
