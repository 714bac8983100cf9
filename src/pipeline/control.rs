//! What others may know of, and do to, an artifact that is being written.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::credits::Credits;
use super::error::PipelineError;

const WRITING: u8 = 0;
const COMMITTING: u8 = 1;
const REVOKED: u8 = 2;

/// A handle on a writer, for other threads: to revoke it, and to see how far it is. Clones share it; it outlives the
/// writer.
#[derive(Debug, Clone)]
pub struct ArtifactControl {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    credits: Credits,
    phase: AtomicU8,
    content_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    failure: OnceLock<PipelineError>,
}

impl ArtifactControl {
    pub(crate) fn new(path: PathBuf, credits: Credits) -> Self {
        let shared = Shared {
            path,
            credits,
            phase: AtomicU8::new(WRITING),
            content_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
            failure: OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Takes the artifact away from its writer: from now on every call of it fails, one that waits for memory at once,
    /// and no file gets its name. Says false where the artifact was already complete, or is just getting its name.
    pub fn revoke(&self) -> bool {
        let phase = self.shared.phase.compare_exchange(WRITING, REVOKED, Ordering::SeqCst, Ordering::SeqCst);
        self.shared.credits.wake();
        phase.is_ok() || phase == Err(REVOKED)
    }

    /// Bytes the participant has written so far.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.shared.content_bytes.load(Ordering::Relaxed)
    }

    /// Bytes in the file so far.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.shared.stored_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.shared.path
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.shared.phase.load(Ordering::SeqCst) == REVOKED
    }

    pub(crate) fn add_content(&self, bytes: usize) {
        self.shared.content_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_stored(&self, bytes: usize) {
        self.shared.stored_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Remembers why the artifact cannot be completed; the first reason stays.
    pub(crate) fn fail(&self, error: PipelineError) {
        let _ = self.shared.failure.set(error);
    }

    /// Refuses to go on after a failure or a revocation.
    pub(crate) fn check(&self) -> Result<(), PipelineError> {
        if self.is_revoked() {
            return Err(self.revoked());
        }
        self.shared.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// The point after which it can no longer be revoked.
    pub(crate) fn begin_commit(&self) -> Result<(), PipelineError> {
        self.shared
            .phase
            .compare_exchange(WRITING, COMMITTING, Ordering::SeqCst, Ordering::SeqCst)
            .map(|_| ())
            .map_err(|_| self.revoked())
    }

    pub(crate) fn revoked(&self) -> PipelineError {
        PipelineError::Revoked { path: self.shared.path.clone() }
    }
}
