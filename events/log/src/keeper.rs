//! The thread that keeps the store up with the journal.
//!
//! It is one of its own, because sled is slower than the journal and its syncs can pass beside the journal's: appends
//! are answered when the journal has them, reads find in the journal what the store does not have yet. What comes within
//! a few milliseconds is one batch with one sync. The channel to it is short: a store that cannot keep up slows the writer
//! down.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::fault;
use crate::journal::frame::Encoded;
use crate::view::View;

/// Commits on their way to the store at most.
pub(crate) const CHANNEL: usize = 4;
/// A batch is full at this many bytes,
const BATCH_BYTES: usize = 512 << 10;
/// and waits no longer than this for more.
const GATHER: Duration = Duration::from_millis(5);

/// Works until the channel is closed and empty.
pub(crate) fn run(view: &View, commits: &Receiver<Encoded>) {
    let mut batch = Vec::new();
    while let Ok(first) = commits.recv() {
        let deadline = Instant::now() + GATHER;
        let mut bytes = first.bytes.len();
        batch.clear();
        batch.push(first);
        while bytes < BATCH_BYTES {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(next) = commits.recv_timeout(left) else { break };
            bytes += next.bytes.len();
            batch.push(next);
        }
        let Some(store) = view.store() else { continue };
        match store.add(&batch) {
            Ok(()) => fault::point("append.stored"),
            Err(error) => view.store_failed(&error),
        }
    }
}
