//! A log in memory, for tests and for homes that are thrown away. What is appended is as durable as the process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_model::ids::{Position, StreamId, Version};
use holdfast_model::record::Record;
use tokio::sync::watch;

use crate::error::{AppendError, ReadError};
use crate::event_log::{Append, AppendFuture, Appended, EventLog, MAX_READ, ReadLog};
use crate::streams::Streams;

/// See the module. Clones share the events.
#[derive(Clone)]
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
}

struct State {
    records: Vec<Record>,
    streams: Streams,
    head: watch::Sender<Position>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        let head = watch::Sender::new(Position::START);
        Self { state: Arc::new(Mutex::new(State { records: Vec::new(), streams: Streams::default(), head })) }
    }
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, append: Append) -> Result<Appended, AppendError> {
        append.check()?;
        let actual = self.streams.version(&append.stream);
        if append.expected != actual {
            return Err(AppendError::WrongVersion { stream: append.stream, expected: append.expected, actual });
        }
        let first = Position(self.records.len() as u64 + 1);
        let count = append.events.len() as u64;
        for record in append.into_records(first) {
            self.streams.add(&record.stream, record.version, record.position);
            self.records.push(record);
        }
        let last = Position(first.0 + count - 1);
        self.head.send_replace(last);
        Ok(Appended { first, last, version: Version(actual.0 + count) })
    }

    fn slice(&self, from: Position, count: usize) -> impl Iterator<Item = Record> {
        let skip = usize::try_from(from.0.saturating_sub(1)).unwrap_or(usize::MAX);
        self.records.iter().skip(skip).take(count).cloned()
    }
}

impl ReadLog for MemoryLog {
    fn read_stream(&self, stream: &StreamId, from: Version, limit: usize) -> Result<Vec<Record>, ReadError> {
        let state = self.state();
        let spans = state.streams.spans(stream, from.max(Version(1)), limit.min(MAX_READ));
        Ok(spans.iter().flat_map(|span| state.slice(span.position, span.count as usize)).collect())
    }

    fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, ReadError> {
        Ok(self.state().slice(from, limit.min(MAX_READ)).collect())
    }

    fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        Ok(self.state().streams.version(stream))
    }

    fn head(&self) -> Position {
        *self.state().head.borrow()
    }

    fn watch_head(&self) -> watch::Receiver<Position> {
        self.state().head.subscribe()
    }
}

impl EventLog for MemoryLog {
    fn append(&self, append: Append) -> AppendFuture {
        let log = self.clone();
        Box::pin(async move { log.state().append(append) })
    }
}
