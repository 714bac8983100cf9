//! The one pool of CPU workers, for compression and hashing.
//!
//! Work on it never waits: not for a file, a channel, a credit or other work. That is what makes one worker enough for
//! any number of artifacts. A panic ends the piece of work it happened in, and nothing else.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use super::error::PipelineError;

/// A fixed number of worker threads. Clones share them.
#[derive(Debug, Clone)]
pub struct CpuPool {
    workers: Arc<rayon::ThreadPool>,
}

impl CpuPool {
    /// Starts `workers` threads, at least one.
    ///
    /// # Errors
    /// [`PipelineError::Io`] where the system gives no threads.
    pub fn new(workers: usize) -> Result<Self, PipelineError> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(workers.max(1))
            .thread_name(|n| format!("cpu-{n}"))
            .build()
            .map(|workers| Self { workers: Arc::new(workers) })
            .map_err(|error| PipelineError::io("start workers for", Path::new("the CPU pool"))(io::Error::other(error)))
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.current_num_threads()
    }

    /// Hands `work` to a worker. It must not wait. Whoever depends on its outcome must notice when it is dropped undone.
    pub(crate) fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        self.workers.spawn(move || {
            // The values that `work` owns are dropped by the unwinding, so nothing half-changed is seen again.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!("a piece of work on the CPU pool panicked");
            }
        });
    }
}
