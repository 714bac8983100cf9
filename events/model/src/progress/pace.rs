//! How fast something goes, over a sliding window.

use std::collections::VecDeque;
use std::time::Duration;

/// What a pace is taken over.
const WINDOW: Duration = Duration::from_secs(30);
/// Least time in which more than two samples are kept, which bounds their number.
const SPACING: Duration = Duration::from_millis(250);
/// Less time than this says nothing about a pace.
const LEAST: Duration = Duration::from_millis(500);
/// A pace below this share of what it was from the beginning is a standstill, and says nothing about what is to come.
const STANDSTILL: f64 = 0.05;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    at: Duration,
    bytes: u64,
}

impl Sample {
    /// Bytes a second from an earlier sample to this one.
    fn since(self, earlier: Sample) -> Option<f64> {
        let passed = self.at.saturating_sub(earlier.at);
        let bytes = self.bytes.saturating_sub(earlier.bytes);
        (passed >= LEAST).then(|| bytes as f64 / passed.as_secs_f64())
    }
}

/// The pace of a count. One that fell is another count, begun anew.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Pace {
    first: Option<Sample>,
    /// The first one is the last before the window, or the first of all.
    samples: VecDeque<Sample>,
}

impl Pace {
    /// At `at` the count is `bytes`. `at` is from a clock that does not step.
    pub(super) fn note(&mut self, at: Duration, bytes: u64) {
        let sample = Sample { at, bytes };
        if self.samples.back().is_some_and(|newest| bytes < newest.bytes) {
            *self = Self::default();
        }
        self.first.get_or_insert(sample);
        // The newest is always there; it gives way to this one where both are near the one before.
        if self.samples.iter().rev().nth(1).is_some_and(|before| at.saturating_sub(before.at) < SPACING) {
            self.samples.pop_back();
        }
        self.samples.push_back(sample);
        let begin = at.saturating_sub(WINDOW);
        while self.samples.get(1).is_some_and(|second| second.at <= begin) {
            self.samples.pop_front();
        }
    }

    /// Bytes a second at present; `None` where it was not watched for long enough.
    pub(super) fn per_second(&self) -> Option<f64> {
        self.samples.back()?.since(*self.samples.front()?)
    }

    /// How long `bytes` more will take; `None` where the pace does not say.
    pub(super) fn time_for(&self, bytes: u64) -> Option<f64> {
        let average = self.samples.back()?.since(self.first?)?;
        let present = self.per_second()?;
        let moves = present >= 1.0 && present >= average * STANDSTILL;
        moves.then(|| bytes as f64 / present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(at: f64) -> Duration {
        Duration::from_secs_f64(at)
    }

    #[test]
    fn the_present_pace_is_that_of_the_last_half_minute() {
        let mut pace = Pace::default();
        for second in 0..=60 {
            pace.note(seconds(f64::from(second)), 10 * second as u64);
        }
        assert_eq!((pace.per_second(), pace.time_for(100)), (Some(10.0), Some(10.0)));
        for second in 61..=120 {
            pace.note(seconds(f64::from(second)), 600 + 40 * (second as u64 - 60));
        }
        assert_eq!(pace.per_second(), Some(40.0));
    }

    #[test]
    fn a_moment_says_nothing() {
        let mut pace = Pace::default();
        assert_eq!(pace.per_second(), None);
        pace.note(seconds(5.0), 1 << 40);
        assert_eq!((pace.per_second(), pace.time_for(1)), (None, None));
        pace.note(seconds(5.4), 1 << 41);
        assert_eq!((pace.per_second(), pace.time_for(1)), (None, None));
    }

    #[test]
    fn a_standstill_has_a_pace_and_no_estimate() {
        let mut pace = Pace::default();
        for tenth in 0..=100 {
            pace.note(seconds(f64::from(tenth) / 10.0), 1000 * tenth as u64);
        }
        assert_eq!(pace.time_for(1000), Some(0.1));
        pace.note(seconds(100.0), 100_000);
        assert_eq!((pace.per_second(), pace.time_for(1000)), (Some(0.0), None));
    }

    #[test]
    fn a_count_that_begins_again_is_measured_anew() {
        let mut pace = Pace::default();
        for (at, bytes) in [(0.0, 0), (10.0, 5000), (11.0, 0), (12.0, 70)] {
            pace.note(seconds(at), bytes);
        }
        assert_eq!((pace.per_second(), pace.time_for(140)), (Some(70.0), Some(2.0)));
    }

    #[test]
    fn however_often_it_is_looked_at_it_keeps_few_samples() {
        let mut pace = Pace::default();
        for look in 0..200_000_u64 {
            pace.note(Duration::from_millis(look), look);
        }
        assert!(pace.samples.len() <= 243, "{}", pace.samples.len());
        assert!((pace.per_second().expect("known") - 1000.0).abs() < 1.0);
        pace.note(Duration::from_secs(100_000), 300_000);
        assert_eq!(pace.samples.len(), 2);
    }
}
