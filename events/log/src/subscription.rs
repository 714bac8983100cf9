//! All events from a position on: those that are there, then those that come.

use std::sync::Arc;

use holdfast_model::ids::Position;
use holdfast_model::record::Record;
use tokio::sync::watch;

use crate::error::ReadError;
use crate::event_log::ReadLog;

/// A reader that pulls. It holds no place in any queue, so a slow one costs the writer nothing; catching up and living on
/// are the same read, so there is neither a gap nor a double between them.
pub struct Subscription {
    log: Arc<dyn ReadLog>,
    head: watch::Receiver<Position>,
    next: Position,
}

impl Subscription {
    /// Starts with the event at `from`; [`Position::START`] and 1 are both the first.
    #[must_use]
    pub fn new(log: Arc<dyn ReadLog>, from: Position) -> Self {
        let head = log.watch_head();
        Self { log, head, next: from.max(Position(1)) }
    }

    /// The next events, at least one and at most `limit` (1 where it is 0). Waits where there are none yet. Nothing is
    /// lost when the future is dropped.
    ///
    /// # Errors
    /// [`ReadError::Closed`] after the log was closed; else as [`ReadLog::read_all`], and then the next call tries the same events again.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Record>, ReadError> {
        loop {
            let next = self.next;
            let records = self.log.read_all(next, limit.max(1))?;
            if let Some(last) = records.last() {
                self.next = last.position.next();
                return Ok(records);
            }
            self.head.wait_for(|head| *head >= next).await.map_err(|_| ReadError::Closed)?;
        }
    }

    /// The position the next event will have.
    #[must_use]
    pub fn position(&self) -> Position {
        self.next
    }
}
