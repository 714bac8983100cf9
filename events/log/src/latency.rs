//! How long appends took, from their call to their answer: counts in buckets, for whoever watches the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds. A sync of a good disk takes less than a millisecond, one of a bad one a second.
const BOUNDS_US: [u64; 14] =
    [100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// Counted by the writer, read by anybody. All of it is since the log was opened.
#[derive(Debug, Default)]
pub struct AppendLatency {
    buckets: [AtomicU64; BOUNDS_US.len()],
    above: AtomicU64,
    sum_us: AtomicU64,
}

impl AppendLatency {
    pub(crate) fn add(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().zip(&self.buckets).find(|(bound, _)| took <= **bound);
        bucket.map_or(&self.above, |(_, bucket)| bucket).fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(took, Ordering::Relaxed);
    }

    /// Each upper bound in seconds, with how many are above the one before and not above it; the last has none.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let seconds = |bound: &u64| *bound as f64 / 1e6;
        let bounded = BOUNDS_US.iter().zip(&self.buckets);
        let bounded = bounded.map(|(bound, count)| (seconds(bound), count.load(Ordering::Relaxed)));
        bounded.chain([(f64::INFINITY, self.above.load(Ordering::Relaxed))]).collect()
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "bounds are read back as they were written")]

    use super::*;

    #[test]
    fn each_is_in_one_bucket() {
        let latency = AppendLatency::default();
        for took in [0, 100, 101, 5_000_000, 5_000_001] {
            latency.add(Duration::from_micros(took));
        }
        let filled: Vec<_> = latency.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.0001, 2), (0.00025, 1), (5.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(latency.sum(), Duration::from_micros(10_000_202));
    }
}
