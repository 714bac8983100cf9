//! The log of the world.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_log::{Append, AppendError, AppendFuture, EventLog, MemoryLog, ReadError, ReadLog};
use holdfast_model::ids::{Position, StreamId, Version};
use holdfast_model::record::Record;
use tokio::sync::watch;

use super::{Fault, Ports};

/// The log in memory, failing where the fault says so.
pub(super) struct Log {
    pub(super) inner: MemoryLog,
    pub(super) ports: Arc<Ports>,
}

static NO_SPACE: AtomicU64 = AtomicU64::new(0);

impl ReadLog for Log {
    fn read_stream(&self, stream: &StreamId, from: Version, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.inner.read_stream(stream, from, limit)
    }

    fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.inner.read_all(from, limit)
    }

    fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        self.inner.stream_version(stream)
    }

    fn head(&self) -> Position {
        self.inner.head()
    }

    fn watch_head(&self) -> watch::Receiver<Position> {
        self.inner.watch_head()
    }
}

impl EventLog for Log {
    fn append(&self, append: Append) -> AppendFuture {
        let head = self.inner.head().0;
        match self.ports.fault {
            Fault::LogAfter(position) if head >= position => {
                let reason = "a failed sync on purpose".to_owned();
                Box::pin(async { Err(AppendError::OutcomeUnknown { reason }) })
            }
            Fault::NoSpaceOnceAfter(position) if head >= position && NO_SPACE.fetch_add(1, Ordering::Relaxed) == 0 => {
                let reason = "a full disk on purpose".to_owned();
                Box::pin(async { Err(AppendError::NoSpace { reason }) })
            }
            _ => self.inner.append(append),
        }
    }
}
