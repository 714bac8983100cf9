//! What an event log promises, whatever it is made of.
//!
//! ```text
//! position   1    2    3    4    5    6    7    8
//!          ┌────┬────┬────┬────┬────┬────┐╌╌╌╌┌╌╌╌╌┐
//! stream   │ a1 │ a2 │ b1 │ a3 │ c1 │ c2 │    │    │
//!          └────┴────┴────┴────┴────┴────┘╌╌╌╌└╌╌╌╌┘
//!           └─ one append ─┘             ▲
//!                                      head: the last event on stable storage
//! ```
//!
//! - **Order.** Positions go from 1 up without a gap over the whole log, versions from 1 up without a gap in each stream,
//!   and both in the same order. The events of one append are neighbours.
//! - **Durable before visible.** The head is the last event that survives `kill -9` and power loss. No read and no
//!   subscription ever passes it. It never goes back.
//! - **All or nothing.** An append is there as a whole or not at all, also after a crash at any instant.
//! - **Read your writes.** When an append is answered, the head has reached its last event.
//! - **One decision at a time.** An append names the version its decision was made on; it is refused where the stream
//!   has moved on.
//! - **Honest doubt.** Where a commit could not be confirmed, the answer is
//!   [`OutcomeUnknown`](AppendError::OutcomeUnknown), and nothing more is taken until a restart has read what is there.

use std::pin::Pin;

use holdfast_model::ids::{Position, StreamId, Version};
use holdfast_model::record::{NewRecord, Record};
use tokio::sync::watch;

use crate::error::{AppendError, ReadError};

/// Most events of one append.
pub const MAX_APPEND: usize = 256;
/// Most events one read gives; a larger limit is cut to it.
pub const MAX_READ: usize = 4096;

/// The answer to an append, to be awaited.
pub type AppendFuture = Pin<Box<dyn Future<Output = Result<Appended, AppendError>> + Send>>;

/// The reading half of a log. All calls are quick and do not wait for writers.
pub trait ReadLog: Send + Sync + 'static {
    /// Events of a stream in order, from version `from` on (`NONE` and 1 are both the first), at most `limit` and at
    /// most [`MAX_READ`]. Empty where there are none up to the head.
    ///
    /// # Errors
    /// [`ReadError`] where an event up to the head cannot be read; never a silent gap.
    fn read_stream(&self, stream: &StreamId, from: Version, limit: usize) -> Result<Vec<Record>, ReadError>;

    /// Events in order, from position `from` on (`START` and 1 are both the first), at most `limit` and at most
    /// [`MAX_READ`]. Empty where there are none up to the head.
    ///
    /// # Errors
    /// [`ReadError`] where an event up to the head cannot be read; never a silent gap.
    fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, ReadError>;

    /// The version of the newest event of a stream up to the head; [`Version::NONE`] where it has none.
    ///
    /// # Errors
    /// [`ReadError::Closed`].
    fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError>;

    /// The durable head.
    fn head(&self) -> Position;

    /// The durable head as it moves. The sender goes away when the log is closed.
    fn watch_head(&self) -> watch::Receiver<Position>;
}

/// A log that can be appended to.
pub trait EventLog: ReadLog {
    /// Appends events to one stream, all or nothing. The future waits while the log has more to do than it holds in
    /// memory (back-pressure), then for the commit. Dropping it before it was polled withdraws the append; later it does not.
    fn append(&self, append: Append) -> AppendFuture;
}

/// Events to append.
#[derive(Debug, Clone)]
pub struct Append {
    /// The stream they belong to.
    pub stream: StreamId,
    /// The version it has; [`Version::NONE`] for a new one.
    pub expected: Version,
    /// The events, 1 to [`MAX_APPEND`].
    pub events: Vec<NewRecord>,
}

impl Append {
    /// Whether it can be part of a commit.
    pub(crate) fn check(&self) -> Result<(), AppendError> {
        let events = self.events.len();
        if events == 0 || events > MAX_APPEND {
            return Err(AppendError::Count { events, limit: MAX_APPEND });
        }
        self.events
            .iter()
            .enumerate()
            .try_for_each(|(index, event)| event.check().map_err(|source| AppendError::Invalid { index, source }))
    }

    /// The records of it, the first at `position`.
    pub(crate) fn into_records(self, position: Position) -> impl Iterator<Item = Record> {
        let Self { stream, expected, events } = self;
        events.into_iter().zip(0u64..).map(move |(body, index)| Record {
            position: Position(position.0 + index),
            stream: stream.clone(),
            version: Version(expected.0 + 1 + index),
            body,
        })
    }
}

/// Where appended events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Position of the first.
    pub first: Position,
    /// Position of the last.
    pub last: Position,
    /// The version of the stream now.
    pub version: Version,
}
