//! The import that is under way: one at a time, and how far it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_model::ids::{EndpointName, RunId};
use tokio::sync::watch;

use super::RemoteError;
use crate::remote::UploadProgress;

/// How long one that is told to stop may take to say so in the log: until then it reads what came.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// What an import is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportPhase {
    /// The endpoint is asked what it has.
    Asking,
    /// The files come.
    Fetching,
    /// What came is read again.
    Checking,
}

/// How far an import is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportProgress {
    /// The run.
    pub run_id: RunId,
    /// Where from.
    pub endpoint: EndpointName,
    /// What is being done.
    pub phase: ImportPhase,
    /// Bytes of this phase that are done.
    pub bytes_done: u64,
    /// Bytes in all; 0 where that is not known yet.
    pub bytes_total: u64,
}

/// The imports of one engine.
pub(in crate::engine) struct Importing {
    now: watch::Sender<Option<Arc<Now>>>,
    stop: watch::Sender<bool>,
}

impl Default for Importing {
    fn default() -> Self {
        Self { now: watch::Sender::new(None), stop: watch::Sender::new(false) }
    }
}

struct Now {
    run_id: RunId,
    endpoint: EndpointName,
    phase: Mutex<ImportPhase>,
    total: AtomicU64,
    fetched: UploadProgress,
    checked: Checks,
}

/// Bytes of what came that were read again. Clones count the same.
#[derive(Clone, Default)]
pub(super) struct Checks(Arc<AtomicU64>);

impl Checks {
    pub(super) fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The one import under way, until it is dropped.
pub(in crate::engine) struct UnderWay {
    now: Arc<Now>,
    slot: watch::Sender<Option<Arc<Now>>>,
    stop: watch::Receiver<bool>,
}

impl Importing {
    /// Begins one, where none is under way.
    pub(super) fn begin(&self, run_id: RunId, endpoint: &EndpointName) -> Result<UnderWay, RemoteError> {
        let now = Arc::new(Now {
            run_id,
            endpoint: endpoint.clone(),
            phase: Mutex::new(ImportPhase::Asking),
            total: AtomicU64::new(0),
            fetched: UploadProgress::default(),
            checked: Checks::default(),
        });
        let mut busy = None;
        self.now.send_if_modified(|slot| {
            busy = slot.as_ref().map(|other| (other.run_id, other.endpoint.clone()));
            slot.get_or_insert_with(|| now.clone());
            busy.is_none()
        });
        match busy {
            Some((run_id, endpoint)) => Err(RemoteError::Busy { run_id, endpoint }),
            None => Ok(UnderWay { now, slot: self.now.clone(), stop: self.stop.subscribe() }),
        }
    }

    pub(super) fn progress(&self) -> Option<ImportProgress> {
        let now = self.now.borrow().clone()?;
        let phase = *now.phase();
        let bytes_done = match phase {
            ImportPhase::Asking => 0,
            ImportPhase::Fetching => now.fetched.done(),
            ImportPhase::Checking => now.checked.0.load(Ordering::Relaxed),
        };
        let bytes_total = now.total.load(Ordering::Relaxed);
        let (run_id, endpoint) = (now.run_id, now.endpoint.clone());
        Some(ImportProgress { run_id, endpoint, phase, bytes_done: bytes_done.min(bytes_total), bytes_total })
    }

    /// Whether none is under way.
    pub(in crate::engine) fn is_idle(&self) -> bool {
        self.now.borrow().is_none()
    }

    /// Waits until none is under way.
    pub(in crate::engine) async fn ended(&self) {
        // It lives as long as the engine does.
        let _ = self.now.subscribe().wait_for(Option::is_none).await;
    }

    /// Tells the one under way to stop, and waits until it has. One that does not in time is told by the next start as it found it.
    pub(in crate::engine) async fn end(&self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(STOPPED_WITHIN, self.ended()).await.is_err() {
            tracing::error!("an import was told to stop and has not ended");
        }
    }
}

impl Now {
    fn phase(&self) -> MutexGuard<'_, ImportPhase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// The files come, so many bytes.
    pub(super) fn fetches(&self, bytes: u64) {
        self.now.total.store(bytes, Ordering::Relaxed);
        *self.now.phase() = ImportPhase::Fetching;
    }

    /// What counts the bytes that come.
    pub(super) fn fetched(&self) -> &UploadProgress {
        &self.now.fetched
    }

    /// What came is read again. Answers what counts that.
    pub(super) fn checks(&self) -> Checks {
        *self.now.phase() = ImportPhase::Checking;
        self.now.checked.clone()
    }

    /// Comes once it is to stop.
    pub(super) async fn stopped(&self) {
        let mut stop = self.stop.clone();
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.slot.send_replace(None);
    }
}
