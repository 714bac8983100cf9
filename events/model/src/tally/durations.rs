//! How long runs took: a histogram.

/// Upper bounds of the buckets in seconds, from a second to a week; what took longer is in none.
pub const BOUNDS_S: [u64; 15] =
    [1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400, 172_800, 604_800];

/// Counts of durations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Durations {
    buckets: [u64; BOUNDS_S.len()],
    count: u64,
    sum_s: u64,
}

impl Durations {
    pub(super) fn add(&mut self, seconds: u64) {
        self.count += 1;
        self.sum_s = self.sum_s.saturating_add(seconds);
        let bucket = BOUNDS_S.iter().zip(&mut self.buckets).find(|(bound, _)| seconds <= **bound);
        if let Some((_, bucket)) = bucket {
            *bucket += 1;
        }
    }

    /// Each bound in seconds, with how many are above the one before and not above it.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        BOUNDS_S.iter().copied().zip(self.buckets.iter().copied())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together, in seconds.
    #[must_use]
    pub fn sum_s(&self) -> u64 {
        self.sum_s
    }
}
