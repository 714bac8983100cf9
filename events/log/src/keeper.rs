//! The thread that keeps the store up with the journal.
//!
//! It is one of its own, because sled is slower than the journal and its syncs can pass beside the journal's: appends
//! are answered when the journal has them, reads find in the journal what the store does not have yet. How far it may be
//! behind is the [`backlog`](crate::backlog)'s matter.

use crate::backlog::Backlog;
use crate::fault;
use crate::view::View;

/// Works until the backlog has ended and is empty.
pub(crate) fn run(view: &View, backlog: &Backlog) {
    let _gone = Gone(backlog);
    let mut batch = Vec::new();
    while backlog.take(&mut batch) {
        let Some(store) = view.store() else { continue };
        match store.add(&batch) {
            Ok(()) => fault::point("append.stored"),
            Err(error) => view.store_failed(&error),
        }
    }
}

/// Lets the writer go on without the store if the thread breaks down.
struct Gone<'a>(&'a Backlog);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
