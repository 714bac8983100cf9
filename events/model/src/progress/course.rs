//! A run's progress as it is shown while it is at work.
//!
//! Invariants, whatever is read live: within an attempt no percent falls, also where a participant is tried again, a source grows, live
//! counts give way to recorded ones, or damage leads back to the check. An attempt begins with what is recorded, so one that follows an
//! interruption may begin lower, and never claims more than the record does. Where the time to go is not known, none is told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pace::Pace;
use super::{Counts, Phase, Progress};
use crate::ids::{ParticipantName, Timestamp};
use crate::run::Run;

/// What is known of a run at work ahead of its record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// Counts of participants that write.
    pub counts: BTreeMap<ParticipantName, Counts>,
    /// Bytes of artifacts that were read again since the check began.
    pub checked: u64,
}

/// Content bytes a second that are checked where that was never measured. It takes part in an estimate only while little depends on it.
const CHECK_GUESS: f64 = 200e6;
/// The largest part of an estimate that may be guessed.
const MOST_GUESSED: f64 = 0.2;
/// Estimates beyond this (99 days) are none.
const LONGEST: f64 = 99.0 * 86_400.0;

/// The progress of one run over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Content bytes a second that an earlier run was checked with.
    check_rate: Option<f64>,
    attempt: u32,
    highest: BTreeMap<String, f64>,
    overall: f64,
    phase: Phase,
    /// Of content while participants write, of stored bytes while they are checked.
    pace: Pace,
    moved: u64,
    seen: BTreeMap<String, u64>,
    last: Option<Progress>,
    changed_at: Timestamp,
}

impl Course {
    /// Of a run that is about to be looked at. `check_rate` is the [`Run::check_rate`] of an earlier one, where there is one.
    #[must_use]
    pub fn new(check_rate: Option<f64>) -> Self {
        Self {
            check_rate,
            attempt: 0,
            highest: BTreeMap::new(),
            overall: 0.0,
            phase: Phase::Idle,
            pace: Pace::default(),
            moved: 0,
            seen: BTreeMap::new(),
            last: None,
            changed_at: Timestamp(i64::MIN),
        }
    }

    /// The progress now. `run` is what is recorded, never older than at the look before; `at` is from a clock that does not step.
    pub fn look(&mut self, run: &Run, live: &Live, now: Timestamp, at: Duration) -> Progress {
        let mut shown = Progress::with(run, &live.counts, live.checked, true);
        if run.attempt() != self.attempt {
            *self = Self { attempt: run.attempt(), ..Self::new(self.check_rate) };
        }
        self.keep_up(&mut shown);
        if !run.is_open() {
            return shown;
        }
        self.pace(&shown, live, at);
        self.changed_at = match &self.last {
            Some(last) if *last == shown => self.changed_at,
            _ => now,
        };
        self.last = Some(shown.clone());
        shown.updated_at = shown.updated_at.max(self.changed_at.seconds());
        shown.bytes_per_second = self.pace.per_second().unwrap_or(0.0) as u64;
        let to_go = self.time_to_go(&shown, run, live).filter(|seconds| (0.0..LONGEST).contains(seconds));
        shown.eta_seconds = to_go.map(|seconds| seconds.ceil() as u64);
        shown
    }

    /// No percent falls.
    fn keep_up(&mut self, shown: &mut Progress) {
        for row in &mut shown.participants {
            let highest = self.highest.entry(row.name.clone()).or_default();
            *highest = highest.max(row.percent);
            row.percent = *highest;
        }
        self.overall = self.overall.max(shown.overall_percent);
        shown.overall_percent = self.overall;
    }

    /// Counts the bytes that were moved since the last look. What a participant did in a try that failed was work, and is not to go.
    fn pace(&mut self, shown: &Progress, live: &Live, at: Duration) {
        if shown.phase != self.phase {
            self.phase = shown.phase;
            self.pace = Pace::default();
        }
        match shown.phase {
            Phase::Backup => {
                let first = self.seen.is_empty();
                for row in &shown.participants {
                    let before = self.seen.insert(row.name.clone(), row.bytes_done).unwrap_or(0);
                    if !first {
                        self.moved = self.moved.saturating_add(row.bytes_done.saturating_sub(before));
                    }
                }
                self.pace.note(at, self.moved);
            }
            Phase::Validate => self.pace.note(at, live.checked),
            _ => {}
        }
    }

    /// Seconds until the run has ended.
    fn time_to_go(&self, shown: &Progress, run: &Run, live: &Live) -> Option<f64> {
        match shown.phase {
            Phase::Backup => {
                let content = Some(shown.bytes_total).filter(|total| *total > 0)?;
                let work = self.pace.time_for(content.saturating_sub(shown.bytes_done))?;
                match self.check_rate {
                    Some(rate) => Some(work + content as f64 / rate),
                    None => {
                        let guess = content as f64 / CHECK_GUESS;
                        let little = guess < 1.0 || guess <= (work + guess) * MOST_GUESSED;
                        little.then_some(work + guess)
                    }
                }
            }
            Phase::Validate => {
                let total = run.check_bytes();
                let rest = total.saturating_sub(live.checked);
                if total == 0 || self.pace.per_second().is_some() {
                    return self.pace.time_for(rest);
                }
                let whole = run.size_bytes() as f64 / self.check_rate?;
                Some(whole * rest as f64 / total as f64)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
