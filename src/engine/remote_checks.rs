//! Runs on endpoints that are being read whole just now, and how far that is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_model::ids::{EndpointName, RunId};

use super::{Holdfast, UploadCounts};
use crate::remote::UploadProgress;

/// Those of one engine. Clones share them.
#[derive(Clone, Default)]
pub(super) struct RemoteChecks(Arc<Mutex<UnderWay>>);

#[derive(Default)]
struct UnderWay {
    next: u64,
    checks: BTreeMap<u64, (EndpointName, RunId, UploadProgress)>,
}

/// One that is under way, until it is dropped.
pub(super) struct RemoteCheck {
    checks: RemoteChecks,
    key: u64,
    /// How far it is.
    pub(super) progress: UploadProgress,
}

impl RemoteChecks {
    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, endpoint: &EndpointName, run_id: RunId) -> RemoteCheck {
        let progress = UploadProgress::default();
        let mut under_way = self.under_way();
        let key = under_way.next;
        under_way.next = key.wrapping_add(1);
        under_way.checks.insert(key, (endpoint.clone(), run_id, progress.clone()));
        RemoteCheck { checks: self.clone(), key, progress }
    }
}

impl Drop for RemoteCheck {
    fn drop(&mut self) {
        self.checks.under_way().checks.remove(&self.key);
    }
}

impl Holdfast {
    /// How far each verification of a run on an endpoint is that is under way, in the order they were begun.
    #[must_use]
    pub fn remote_checks(&self) -> Vec<UploadCounts> {
        let under_way = self.shared.remote_checks.under_way();
        let counted = under_way.checks.values().map(|(endpoint, run_id, progress)| UploadCounts {
            run_id: *run_id,
            endpoint: endpoint.clone(),
            bytes_done: progress.done(),
            bytes_total: progress.total(),
        });
        counted.collect()
    }
}
