//! Commits on their way from the writer to the store, bounded by their bytes.
//!
//! The store takes a commit later than the journal does, and in larger batches, because each batch costs it a flush and a sync,
//! and the processor time that its thread uses is not there for those who append. How far it may be behind is bounded: then
//! the writer waits for it. It waits only so long: appends do not depend on the store, so one that does not move any more
//! is gone without.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::journal::frame::Encoded;

/// How much may wait, and how long for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes of commits from which on the writer waits.
    pub(crate) behind: usize,
    /// How long it waits for room.
    pub(crate) patience: Duration,
    /// Bytes at which a batch is full.
    pub(crate) batch: usize,
    /// How long a batch waits to become full.
    pub(crate) gather: Duration,
}

impl Default for Bounds {
    /// A batch has about the size of a segment of sled's file.
    fn default() -> Self {
        Self { behind: 4 << 20, patience: Duration::from_secs(60), batch: 512 << 10, gather: Duration::from_millis(20) }
    }
}

/// See the module.
pub(crate) struct Backlog {
    bounds: Bounds,
    waiting: Mutex<Waiting>,
    came: Condvar,
    room: Condvar,
}

#[derive(Default)]
struct Waiting {
    commits: VecDeque<Encoded>,
    bytes: usize,
    /// Bytes at which the store's thread is to be woken: waking it for each commit would cost as much as the commit.
    wanted: usize,
    /// Nothing comes any more.
    ended: bool,
    /// Nobody takes anything any more.
    abandoned: bool,
}

/// The store did not take anything for as long as the writer has patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stalled;

impl Backlog {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, waiting: Mutex::default(), came: Condvar::new(), room: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a commit; waits where too much waits already. Where nobody takes them any more it is dropped.
    ///
    /// # Errors
    /// [`Stalled`], once: after it the backlog is abandoned.
    pub(crate) fn push(&self, commit: Encoded) -> Result<(), Stalled> {
        let full = |waiting: &mut Waiting| waiting.bytes >= self.bounds.behind && !waiting.abandoned;
        let (mut waiting, _) = self
            .room
            .wait_timeout_while(self.lock(), self.bounds.patience, full)
            .unwrap_or_else(PoisonError::into_inner);
        if full(&mut waiting) {
            waiting.abandon();
            return Err(Stalled);
        }
        if waiting.abandoned {
            return Ok(());
        }
        let before = waiting.bytes;
        waiting.bytes += commit.bytes.len();
        waiting.commits.push_back(commit);
        if before < waiting.wanted && waiting.bytes >= waiting.wanted {
            self.came.notify_one();
        }
        Ok(())
    }

    /// Takes the commits of one batch into `batch`, which it clears; waits for the first. False after the end.
    pub(crate) fn take(&self, batch: &mut Vec<Encoded>) -> bool {
        batch.clear();
        let mut waiting = self.lock();
        while waiting.commits.is_empty() {
            if waiting.ended {
                return false;
            }
            waiting.wanted = 1;
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.wanted = self.bounds.batch;
        let short = |waiting: &mut Waiting| waiting.bytes < self.bounds.batch && !waiting.ended;
        let (mut waiting, _) =
            self.came.wait_timeout_while(waiting, self.bounds.gather, short).unwrap_or_else(PoisonError::into_inner);
        waiting.wanted = 0;
        let mut bytes = 0;
        while bytes < self.bounds.batch {
            let Some(commit) = waiting.commits.pop_front() else { break };
            bytes += commit.bytes.len();
            batch.push(commit);
        }
        waiting.bytes -= bytes;
        self.room.notify_one();
        true
    }

    /// Nothing comes any more; what waits is still to be taken.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.came.notify_one();
    }

    /// Nobody takes anything any more.
    pub(crate) fn abandon(&self) {
        self.lock().abandon();
        self.room.notify_one();
    }
}

impl Waiting {
    fn abandon(&mut self) {
        self.abandoned = true;
        self.commits.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use holdfast_model::ids::Sha256;

    use super::*;

    const BOUNDS: Bounds =
        Bounds { behind: 300, patience: Duration::from_secs(60), batch: 200, gather: Duration::from_secs(60) };

    fn commit(bytes: usize) -> Encoded {
        Encoded { bytes: vec![1; bytes], chain: Sha256([0; 32]) }
    }

    fn sizes(batch: &[Encoded]) -> Vec<usize> {
        batch.iter().map(|commit| commit.bytes.len()).collect()
    }

    #[test]
    fn batches_are_full_or_the_last_and_come_in_order() {
        let backlog = Backlog::new(BOUNDS);
        let mut batch = Vec::new();
        for bytes in [90, 80, 70, 20] {
            backlog.push(commit(bytes)).unwrap();
        }
        assert!(backlog.take(&mut batch));
        assert_eq!(sizes(&batch), [90, 80, 70]);
        backlog.end();
        assert!(backlog.take(&mut batch));
        assert_eq!(sizes(&batch), [20]);
        assert!(!backlog.take(&mut batch));
    }

    #[test]
    fn a_batch_waits_for_more_only_so_long() {
        let backlog = Backlog::new(Bounds { gather: Duration::ZERO, ..BOUNDS });
        backlog.push(commit(10)).unwrap();
        let mut batch = Vec::new();
        assert!(backlog.take(&mut batch));
        assert_eq!(sizes(&batch), [10]);
    }

    #[test]
    fn who_is_too_far_ahead_waits_until_a_batch_is_taken() {
        let backlog = Backlog::new(BOUNDS);
        std::thread::scope(|scope| {
            let pushed = scope.spawn(|| (0..50).map(|_| backlog.push(commit(100))).collect::<Vec<_>>());
            let mut batch = Vec::new();
            let mut taken = 0;
            while taken < 50 {
                assert!(backlog.take(&mut batch));
                assert!(backlog.lock().bytes < 400);
                taken += batch.len();
            }
            assert!(pushed.join().unwrap().into_iter().all(|pushed| pushed.is_ok()));
        });
    }

    #[test]
    fn a_store_that_does_not_move_is_gone_on_without() {
        let backlog = Backlog::new(Bounds { patience: Duration::ZERO, ..BOUNDS });
        assert_eq!((0..3).map(|_| backlog.push(commit(100))).collect::<Vec<_>>(), [Ok(()); 3]);
        assert_eq!(backlog.push(commit(100)), Err(Stalled));
        for _ in 0..9 {
            assert_eq!(backlog.push(commit(100)), Ok(()), "it is said once");
        }
        assert_eq!(backlog.lock().bytes, 0);
        backlog.end();
        assert!(!backlog.take(&mut Vec::new()));
    }

    #[test]
    fn a_store_that_is_gone_lets_the_writer_go_on() {
        let backlog = Backlog::new(BOUNDS);
        std::thread::scope(|scope| {
            let pushed = scope.spawn(|| (0..50).all(|_| backlog.push(commit(100)).is_ok()));
            backlog.abandon();
            assert!(pushed.join().unwrap());
        });
    }
}
