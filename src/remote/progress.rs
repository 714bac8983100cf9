//! How far a copy is, across its files.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::endpoints::Meter;

/// How far an upload, a download or a verification is. Clones count the same.
#[derive(Debug, Clone, Default)]
pub struct UploadProgress(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: AtomicU64,
    settled: AtomicU64,
    under_way: Mutex<BTreeMap<u64, Meter>>,
    next: AtomicU64,
}

impl UploadProgress {
    /// Bytes of all files; 0 while that is not known.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    /// Bytes that are there. It may fall where something is tried again.
    #[must_use]
    pub fn done(&self) -> u64 {
        let under_way = self.under_way();
        let going: u64 = under_way.values().map(Meter::done).sum();
        self.0.settled.load(Ordering::Relaxed).saturating_add(going).min(self.total())
    }

    /// Begins anew with so many bytes to do.
    pub(super) fn begin(&self, total: u64) {
        self.0.settled.store(0, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
    }

    /// So many bytes more are there.
    pub(super) fn add(&self, bytes: u64) {
        self.0.settled.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a file from now on, until this is dropped.
    pub(super) fn follow(&self) -> Followed {
        let meter = Meter::default();
        let key = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.under_way().insert(key, meter.clone());
        Followed { progress: self.clone(), key, meter }
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<u64, Meter>> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is on its way.
pub(super) struct Followed {
    progress: UploadProgress,
    key: u64,
    pub(super) meter: Meter,
}

impl Followed {
    /// All of it is there.
    pub(super) fn settle(self, bytes: u64) {
        // Both under the lock that `done` takes, so that nothing counts twice.
        let mut under_way = self.progress.under_way();
        under_way.remove(&self.key);
        self.progress.add(bytes);
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.progress.under_way().remove(&self.key);
    }
}
