//! The reading side of a durable log: the catalog says where events are, the store or else the journal has them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use holdfast_model::ids::{Position, StreamId, Version};
use holdfast_model::record::Record;

use crate::error::ReadError;
use crate::event_log::MAX_READ;
use crate::journal::catalog::Catalog;
use crate::journal::cursor;
use crate::store::{Store, StoreError};

/// How the two copies are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Both are in use.
    Good,
    /// The store is not in use: its copy was damaged, or the disk is full. Nothing is lost; reads go to the journal, and the
    /// next open makes the store whole again.
    StoreUnavailable {
        /// Why.
        reason: String,
    },
}

/// See the module.
pub(crate) struct View {
    catalog: RwLock<Catalog>,
    store: Mutex<Result<Arc<Store>, String>>,
}

impl View {
    /// A view of a journal, and of the store where there is one; else why not.
    pub(crate) fn new(catalog: Catalog, store: Result<Store, String>) -> Self {
        Self { catalog: RwLock::new(catalog), store: Mutex::new(store.map(Arc::new)) }
    }

    /// What the journal holds.
    pub(crate) fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what the journal is known to hold.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Catalog) -> T) -> T {
        change(&mut self.catalog.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn slot(&self) -> MutexGuard<'_, Result<Arc<Store>, String>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store, if it is in use.
    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        self.slot().as_ref().ok().cloned()
    }

    /// Uses the store no more.
    pub(crate) fn give_up_store(&self, reason: String) {
        let mut slot = self.slot();
        let given_up = std::mem::replace(&mut *slot, Err(reason));
        drop(slot);
        // Closing it can take a while.
        drop(given_up);
    }

    /// Uses the store no more and waits until no reader does, so that it is closed when this returns.
    pub(crate) fn close_store(&self) {
        let store = self.store();
        self.give_up_store("the event log is closed".to_owned());
        let mut left = store;
        while let Some(store) = left {
            left = Arc::try_unwrap(store).err();
            // A read is over in milliseconds.
            std::thread::yield_now();
        }
    }

    /// A fault of the store, met by a reader or by its keeper.
    pub(crate) fn store_failed(&self, error: &StoreError) {
        tracing::error!(%error, "the event log's store is not used any more; the journal has everything");
        self.give_up_store(error.to_string());
    }

    pub(crate) fn health(&self) -> Health {
        match &*self.slot() {
            Ok(_) => Health::Good,
            Err(reason) => Health::StoreUnavailable { reason: reason.clone() },
        }
    }

    pub(crate) fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, ReadError> {
        let from = from.max(Position(1));
        let head = self.catalog().head;
        let limit = limit.min(MAX_READ) as u64;
        let to = head.min(Position(from.0.saturating_add(limit).saturating_sub(1)));
        let mut records = Vec::new();
        self.fetch(from, to, &mut records)?;
        Ok(records)
    }

    pub(crate) fn read_stream(&self, stream: &StreamId, from: Version, limit: usize) -> Result<Vec<Record>, ReadError> {
        let from = from.max(Version(1));
        let spans = self.catalog().streams.spans(stream, from, limit.min(MAX_READ));
        let mut records = Vec::new();
        for span in spans {
            let start = records.len();
            self.fetch(span.position, Position(span.position.0 + span.count - 1), &mut records)?;
            for (record, version) in records.iter().skip(start).zip(span.version.0..) {
                if record.stream != *stream || record.version != Version(version) {
                    return Err(ReadError::damaged(record.position, "the event belongs elsewhere"));
                }
            }
        }
        Ok(records)
    }

    /// Reads the events `from..=to`, all of which are there.
    fn fetch(&self, mut from: Position, to: Position, out: &mut Vec<Record>) -> Result<(), ReadError> {
        if let Some(store) = self.store() {
            let tip = store.tip().min(to);
            if from <= tip {
                let start = out.len();
                match store.read(from, tip, out) {
                    Ok(()) => from = tip.next(),
                    Err(error) => {
                        out.truncate(start);
                        self.store_failed(&error);
                    }
                }
            }
        }
        if from > to {
            return Ok(());
        }
        let route = self.catalog().route(from, to);
        cursor::read(&route, from, to, out)
    }
}
