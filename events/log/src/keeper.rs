//! The thread that keeps the store up with the journal.
//!
//! It is one of its own, because sled is slower than the journal and its syncs can pass beside the journal's: appends
//! are answered when the journal has them, reads find in the journal what the store does not have yet. It takes all commits
//! that wait, as one batch with one sync. The channel to it is short: a store that cannot keep up slows the writer down.

use std::sync::mpsc::Receiver;

use crate::fault;
use crate::journal::frame::Encoded;
use crate::view::View;

/// Commits on their way to the store at most.
pub(crate) const CHANNEL: usize = 16;
/// A batch is full at this many bytes.
const BATCH_BYTES: usize = 512 << 10;

/// Works until the channel is closed and empty.
pub(crate) fn run(view: &View, commits: &Receiver<Encoded>) {
    let mut batch = Vec::with_capacity(CHANNEL);
    while let Ok(first) = commits.recv() {
        batch.clear();
        let mut bytes = first.bytes.len();
        batch.push(first);
        while bytes < BATCH_BYTES {
            let Ok(next) = commits.try_recv() else { break };
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
