//! What is known of one participant or job: its good runs, and how often it was tried.

use std::collections::VecDeque;

use crate::ids::{RunId, Timestamp};

/// Good runs that are remembered of each: so many of the newest may be damaged or deleted before none is known.
pub const KEPT: usize = 16;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// The oldest first.
    good: VecDeque<Good>,
    last_success: Option<Timestamp>,
    last_at_work: Option<Timestamp>,
    retries: u64,
    failures: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Good {
    run_id: RunId,
    verified_at: Timestamp,
    damaged: bool,
    /// A deletion was begun.
    taken: bool,
}

impl Marks {
    /// When it last had a good run, also where that is deleted by now.
    #[must_use]
    pub fn last_success(&self) -> Option<Timestamp> {
        self.last_success
    }

    /// When the newest run that is good and kept was last read again, and was as recorded.
    #[must_use]
    pub fn last_verified(&self) -> Option<Timestamp> {
        self.good.iter().rev().find(|good| !good.damaged && !good.taken).map(|good| good.verified_at)
    }

    /// Tries that followed a failed one.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries
    }

    /// Tries that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }

    pub(super) fn last_at_work(&self) -> Option<Timestamp> {
        self.last_at_work
    }

    pub(super) fn at_work(&mut self, now: Timestamp) {
        self.last_at_work = Some(now);
    }

    pub(super) fn tried(&mut self, try_number: u32) {
        self.retries += u64::from(try_number > 1);
    }

    pub(super) fn failed(&mut self) {
        self.failures += 1;
    }

    pub(super) fn published(&mut self, run_id: RunId, now: Timestamp) {
        self.last_success = Some(now);
        self.last_at_work = Some(now);
        if self.good.len() >= KEPT {
            self.good.pop_front();
        }
        self.good.push_back(Good { run_id, verified_at: now, damaged: false, taken: false });
    }

    pub(super) fn verified(&mut self, run_id: RunId, whole: bool, now: Timestamp) {
        if let Some(good) = self.find(run_id) {
            good.damaged = !whole;
            if whole {
                good.verified_at = now;
            }
        }
    }

    /// Its directory is about to be taken away, or was not after all.
    pub(super) fn taken(&mut self, run_id: RunId, taken: bool) {
        if let Some(good) = self.find(run_id) {
            good.taken = taken;
        }
    }

    pub(super) fn deleted(&mut self, run_id: RunId) {
        self.good.retain(|good| good.run_id != run_id);
    }

    fn find(&mut self, run_id: RunId) -> Option<&mut Good> {
        self.good.iter_mut().find(|good| good.run_id == run_id)
    }
}
