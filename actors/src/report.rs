//! How far a participant has come: live for whoever looks, and recorded in steps.
//!
//! The counts are atomics, written by the thread that moves the bytes and read by anyone. What goes into the log is each change of
//! phase and each 5 %, or at most one in 30 s where no total is known.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_model::ids::Timestamp;
use holdfast_model::progress::Counts;

use std::sync::Arc;

use crate::ports::Clock;

const STEPS: u64 = 20;
const UNTOTALLED_PAUSE_S: u64 = 30;
const UNKNOWN: u64 = u64::MAX;

/// Where a participant tells how far it has come.
pub struct Report {
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    files_done: AtomicU64,
    files_total: AtomicU64,
    last: Mutex<Last>,
    clock: Arc<dyn Clock>,
    record: Box<dyn Fn(Counts) + Send + Sync>,
}

struct Last {
    step: u64,
    /// Bytes done of what was recorded last.
    bytes: u64,
    at: Timestamp,
}

impl Report {
    /// A report that calls `record` with what goes into the log.
    pub fn new(clock: Arc<dyn Clock>, record: Box<dyn Fn(Counts) + Send + Sync>) -> Self {
        let at = clock.now();
        Self {
            bytes_done: AtomicU64::new(0),
            bytes_total: AtomicU64::new(UNKNOWN),
            files_done: AtomicU64::new(0),
            files_total: AtomicU64::new(UNKNOWN),
            last: Mutex::new(Last { step: 0, bytes: 0, at }),
            clock,
            record,
        }
    }

    /// What is known of all there is to do. Recorded: from here on the participant writes.
    pub fn total(&self, files: Option<u64>, bytes: Option<u64>) {
        self.files_total.store(files.unwrap_or(UNKNOWN), Ordering::Relaxed);
        self.bytes_total.store(bytes.unwrap_or(UNKNOWN), Ordering::Relaxed);
        self.record(self.counts());
    }

    /// More is done.
    pub fn advance(&self, files: u64, bytes: u64) {
        self.files_done.fetch_add(files, Ordering::Relaxed);
        let done = self.bytes_done.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if self.is_due(done) {
            self.record(self.counts());
        }
    }

    /// Records how far it has come, where its whole is known and that is more than was recorded: nothing follows it.
    pub fn record_last(&self) {
        let counts = self.counts();
        let ahead = self.last.lock().is_ok_and(|last| counts.bytes_done > last.bytes);
        if ahead && counts.bytes_total.is_some() {
            self.record(counts);
        }
    }

    fn record(&self, counts: Counts) {
        if let Ok(mut last) = self.last.lock() {
            last.bytes = last.bytes.max(counts.bytes_done);
        }
        (self.record)(counts);
    }

    /// How far it has come.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let known = |total: &AtomicU64| Some(total.load(Ordering::Relaxed)).filter(|total| *total != UNKNOWN);
        Counts {
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
            bytes_total: known(&self.bytes_total),
            files_done: self.files_done.load(Ordering::Relaxed),
            files_total: known(&self.files_total),
        }
    }

    fn is_due(&self, done: u64) -> bool {
        let Ok(mut last) = self.last.try_lock() else { return false };
        match self.bytes_total.load(Ordering::Relaxed) {
            UNKNOWN => {
                let now = self.clock.now();
                let due = now.seconds_since(last.at) >= UNTOTALLED_PAUSE_S;
                if due {
                    last.at = now;
                }
                due
            }
            total => {
                // At 100 % the end itself is recorded.
                let step = (u128::from(done) * u128::from(STEPS) / u128::from(total.max(1))).min(19) as u64;
                let due = step > last.step;
                last.step = last.step.max(step);
                due
            }
        }
    }
}
