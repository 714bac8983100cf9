//! How an endpoint does: failures in a row, and when it is left alone.
//!
//! ```text
//! healthy ─ a try failed ─► degraded ─ so often in a row ─► unavailable: no try before its pause is over
//!    ▲                         │                                │
//!    └──── an upload succeeded ┴────────────────────────────────┘
//! ```
//!
//! After the pause one upload is tried; if that fails too, the next pause is twice as long.

use serde::{Deserialize, Serialize};

use crate::event::EndpointEvent;
use crate::failure::Failure;
use crate::ids::{RunId, Timestamp};

/// So many failed tries in a row, and an endpoint is left alone for a while.
pub const UNAVAILABLE_AFTER: u32 = 5;
/// What the codes of failures begin with that are the far side's, or the way's there.
const FAR_FAULT: &str = "REMOTE_";
/// The first pause, in seconds.
const FIRST_PAUSE_S: u64 = 60;
/// The longest pause, in seconds.
const LONGEST_PAUSE_S: u64 = 3600;

/// A try of an upload failed there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointTryFailedV1 {
    /// Of which run.
    pub run_id: RunId,
    /// Why.
    pub failure: Failure,
}

/// It failed so often in a row that it is left alone for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointUnavailableV1 {
    /// So many failed tries in a row.
    pub failures: u32,
    /// No try before so many seconds have passed.
    pub pause_s: u64,
    /// The last failure.
    pub failure: Failure,
}

/// An upload succeeded there after it had failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRecoveredV1 {
    /// So many tries in a row had failed.
    pub failures: u32,
}

/// Somebody asked to delete a run there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteDeleteRequestedV1 {
    /// Which.
    pub run_id: RunId,
}

/// It is gone there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteRunDeletedV1 {
    /// Which.
    pub run_id: RunId,
}

/// It could not be deleted there, or that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteDeleteFailedV1 {
    /// Which.
    pub run_id: RunId,
    /// Why.
    pub failure: Failure,
}

/// How an endpoint does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    failures: u32,
    pause_s: u64,
    until: Option<Timestamp>,
    last: Option<Failure>,
}

impl Health {
    /// `healthy`, `degraded` after a failed try, `unavailable` while it is left alone, and until an upload succeeded after that.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match (self.failures, self.until) {
            (0, _) => "healthy",
            (_, None) => "degraded",
            (_, Some(_)) => "unavailable",
        }
    }

    /// Failed tries in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when it is left alone; `None` where it is not.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Why its last try failed, where no upload succeeded since.
    #[must_use]
    pub fn last_failure(&self) -> Option<&Failure> {
        self.last.as_ref()
    }

    pub(super) fn try_failed(&self, run_id: RunId, failure: Failure) -> Vec<EndpointEvent> {
        // What was wrong on this side says nothing about that one.
        if !failure.code.starts_with(FAR_FAULT) {
            return Vec::new();
        }
        let failure = failure.bounded();
        let failures = self.failures.saturating_add(1);
        let mut events = vec![EndpointEvent::TryFailed(EndpointTryFailedV1 { run_id, failure: failure.clone() })];
        if failures >= UNAVAILABLE_AFTER {
            let pause_s = self.pause_s.saturating_mul(2).clamp(FIRST_PAUSE_S, LONGEST_PAUSE_S);
            events.push(EndpointEvent::Unavailable(EndpointUnavailableV1 { failures, pause_s, failure }));
        }
        events
    }

    pub(super) fn succeeded(&self) -> Vec<EndpointEvent> {
        match self.failures {
            0 => Vec::new(),
            failures => vec![EndpointEvent::Recovered(EndpointRecoveredV1 { failures })],
        }
    }

    pub(super) fn apply(&mut self, event: &EndpointEvent, now: Timestamp) {
        match event {
            EndpointEvent::TryFailed(failed) => {
                self.failures = self.failures.saturating_add(1);
                self.last = Some(failed.failure.clone());
            }
            EndpointEvent::Unavailable(unavailable) => {
                self.pause_s = unavailable.pause_s;
                let pause = i64::try_from(unavailable.pause_s).unwrap_or(i64::MAX).saturating_mul(1_000_000);
                self.until = Some(Timestamp(now.0.saturating_add(pause)));
            }
            EndpointEvent::Recovered(_) => *self = Self::default(),
            _ => {}
        }
    }
}
