//! The facts of a participant, in their frozen wire forms.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::Failure;
use crate::ids::{ParticipantName, RunId};

/// It began to work for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkStartedV1 {
    /// Which.
    pub participant: ParticipantName,
    /// For which run.
    pub run_id: RunId,
    /// The run's attempt.
    pub attempt: u32,
    /// The try within it.
    pub try_number: u32,
}

/// It gave all it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkCompletedV1 {
    /// For which run.
    pub run_id: RunId,
}

/// It did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkFailedV1 {
    /// For which run.
    pub run_id: RunId,
    /// Why.
    pub failure: Failure,
}

/// The process it worked in is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptAbandonedV1 {
    /// For which run.
    pub run_id: RunId,
    /// The run's attempt.
    pub attempt: u32,
}

/// A process that works for it: enough to find it again after the one that started it died, and to take no other for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildV1 {
    /// Its own, also in the environment of what it starts.
    pub child_id: Uuid,
    /// Its process group, which is the id of its first process.
    pub group: u32,
    /// When its first process began: clock ticks after boot, field 22 of `/proc/<pid>/stat` (proc(5)).
    pub started: u64,
    /// Of which boot of the machine: `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Uuid,
}

/// A process was started for it, and waits to become the command it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildStartedV1 {
    /// For which run.
    pub run_id: RunId,
    /// The process.
    pub child: ChildV1,
}

/// It is about to be told to stand still: it is to be let go again, by the next process where this one dies before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeRequestedV1 {
    /// For which run.
    pub run_id: RunId,
    /// Processes that wait to become the commands for it. At most [`super::MAX_GATED`].
    pub children: Vec<ChildV1>,
}

/// It goes on, or was never made to stand still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThawedV1 {
    /// For which run it stood still.
    pub run_id: RunId,
}

/// It failed in a run's barrier: before it stood still, while it did, or when it was let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarrierFailedV1 {
    /// For which run.
    pub run_id: RunId,
    /// Why.
    pub failure: Failure,
}

/// Its deadline passed, it was told to stop, and it did not return: nothing else is begun with it in this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkStuckV1 {
    /// For which run.
    pub run_id: RunId,
    /// Which deadline.
    pub failure: Failure,
}

/// It was stuck and has returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkReturnedV1 {
    /// For which run it had been at work.
    pub run_id: RunId,
}

/// It failed so often in a row that runs try it only once each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantQuarantinedV1 {
    /// Failures in a row.
    pub failures: u32,
}

/// It is tried as others are again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineLiftedV1 {
    /// Why.
    pub reason: String,
}
