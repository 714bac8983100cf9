//! The deadline of a restore in place: how long it may take, counted from its request, whatever happens to its process.
//!
//! It stops what is at work as a cancel does: what was touched is put back, and where nothing was, the restore has ended `timeout`. What is
//! being put back is never stopped: half of it would be worse than all of it late.

use super::{Restore, RestoreEffect, RestoreTimedOutV1};
use crate::event::RestoreEvent;
use crate::failure::{Failure, FailureKind};
use crate::figures::seconds;
use crate::ids::Timestamp;

impl Restore {
    /// Why nothing more is begun in it, where somebody asked to stop or its time is up.
    pub(super) fn stopped(&self) -> Option<Failure> {
        match (&self.cancel, self.timed_out) {
            (Some(reason), _) => {
                Some(Failure::new(FailureKind::Cancelled, "CANCELLED", format!("cancelled: {reason}")))
            }
            (None, true) => {
                let limit = seconds(self.timeout_ms().unwrap_or_default() as f64 / 1000.0);
                let text = format!("the restore took {limit}, which is the most it may");
                Some(Failure::new(FailureKind::Timeout, "RESTORE_TIMED_OUT", text))
            }
            (None, false) => None,
        }
    }

    /// What is to be waited for while it is at work, where it has a deadline that has not passed.
    pub(super) fn deadline(&self) -> Option<RestoreEffect> {
        let timeout_ms = self.timeout_ms().filter(|_| self.may_time_out())?;
        let timeout = i64::try_from(timeout_ms).unwrap_or(i64::MAX).saturating_mul(1000);
        Some(RestoreEffect::Deadline { at: Timestamp(self.started_at.0.saturating_add(timeout)) })
    }

    /// It has taken as long as it may. What follows from it is decided once the step under way has come to its end.
    pub(super) fn time_out(&self) -> Vec<RestoreEvent> {
        let timeout_ms = self.timeout_ms().filter(|_| self.may_time_out());
        let timed_out = timeout_ms.map(|timeout_ms| RestoreEvent::TimedOut(RestoreTimedOutV1 { timeout_ms }));
        timed_out.into_iter().collect()
    }

    fn may_time_out(&self) -> bool {
        self.is_open() && self.is_in_steps() && !self.is_rolling_back() && self.stopped().is_none()
    }

    fn timeout_ms(&self) -> Option<u64> {
        self.request.as_ref().map(|request| request.timeout_ms).filter(|timeout| *timeout > 0)
    }
}
