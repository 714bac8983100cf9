//! The facts of a barrier.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::{ParticipantName, Timestamp};

/// The participants are about to stand still together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarrierRequestedV1 {
    /// How long they do at most, in milliseconds.
    pub budget_ms: u64,
}

/// A participant stood still, and what it had at that moment is held. In the commit of its [`BarrierCompletedV1`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantFrozenV1 {
    /// Which.
    pub participant: ParticipantName,
    /// How long it prepared, in microseconds.
    pub prepare_us: u64,
    /// How long it took to stand still.
    pub freeze_us: u64,
    /// How long it took to hold what it had.
    pub capture_us: u64,
    /// How long it took to go on.
    pub thaw_us: u64,
    /// How long it stood still in all.
    pub held_us: u64,
}

/// All participants that are not left out stood still together, and go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarrierCompletedV1 {
    /// The moment at which all of them stood still.
    pub at: Timestamp,
    /// How long it was from the first that was told to stand still to the last that went on, in microseconds.
    pub longest_us: u64,
}

/// The participants did not stand still together; none of them does any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarrierAbortedV1 {
    /// Why.
    pub failure: Failure,
}
