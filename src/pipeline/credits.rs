//! Memory, counted in chunks.
//!
//! A credit is the right to have one chunk in flight: a buffer for its plain bytes and one for its stored form. It
//! comes back when both buffers are dropped, and the buffers are used again. Waiters are served in the order they came,
//! so that a fast artifact does not starve a slow one.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::{CHUNK, frame};

/// A fixed number of chunks that may be in flight at a time. Clones share them.
#[derive(Clone)]
pub struct Credits {
    shared: Arc<Shared>,
}

struct Shared {
    total: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    in_use: usize,
    peak: usize,
    /// Credits on top, for those that are held by code that does not come back.
    lent: usize,
    /// Tickets of the threads that wait, first come first.
    waiting: VecDeque<u64>,
    next_ticket: u64,
    /// Buffers to use again.
    plain: Vec<Box<[u8]>>,
    stored: Vec<Box<[u8]>>,
}

impl Credits {
    /// `count` credits, at least two: one that is being filled and one under way.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let shared = Shared { total: count.max(2), state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.shared.total
    }

    /// How many are in use now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.shared.lock().in_use
    }

    /// The most that were ever in use.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.shared.lock().peak
    }

    /// Waits for a credit, or until `stop` says so after a [`Credits::wake`]. To be called holding no other credit.
    pub(crate) fn acquire(&self, stop: impl Fn() -> bool) -> Option<ChunkBuffers> {
        let mut state = self.shared.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push_back(ticket);
        loop {
            let stopped = stop();
            let first = state.waiting.front() == Some(&ticket);
            if stopped || (first && state.in_use < self.shared.total + state.lent) {
                state.waiting.retain(|waiting| *waiting != ticket);
                // The next in line may have been waiting only for this one to leave it.
                self.shared.changed.notify_all();
                return if stopped { None } else { Some(self.take(state)) };
            }
            state = self.shared.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// A credit to read ahead with, if nobody waits and at least half of them stay free: readers that stand still must
    /// not keep the others from going on.
    pub(crate) fn acquire_ahead(&self) -> Option<ChunkBuffers> {
        let state = self.shared.lock();
        (state.in_use < self.shared.total / 2 && state.waiting.is_empty()).then(|| self.take(state))
    }

    /// One credit more, until the answer is dropped: for a writer that was told to stop and stands still with a chunk, whose credit
    /// the others would wait for.
    pub(crate) fn lend(&self) -> Lent {
        self.shared.lock().lent += 1;
        self.shared.changed.notify_all();
        Lent(Arc::clone(&self.shared))
    }

    /// Makes all waiters look again whether to stop.
    pub(crate) fn wake(&self) {
        // Under the lock, so that no waiter is between looking and sleeping.
        let _state = self.shared.lock();
        self.shared.changed.notify_all();
    }

    fn take(&self, mut state: MutexGuard<'_, State>) -> ChunkBuffers {
        state.in_use += 1;
        state.peak = state.peak.max(state.in_use);
        let plain = state.plain.pop();
        let stored = state.stored.pop();
        drop(state);
        let credit = Arc::new(Credit { shared: Arc::clone(&self.shared) });
        // Fresh memory comes zeroed from the system, page by page as it is touched.
        let buffer = |kind, bytes: Option<Box<[u8]>>, size: usize| Buffer {
            bytes: bytes.unwrap_or_else(|| vec![0; size].into_boxed_slice()),
            filled: 0,
            kind,
            credit: Arc::clone(&credit),
        };
        ChunkBuffers {
            plain: buffer(Kind::Plain, plain, CHUNK),
            stored: buffer(Kind::Stored, stored, frame::MAX_STORED),
        }
    }
}

impl fmt::Debug for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credits").field("total", &self.total()).field("in_use", &self.in_use()).finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is whole, so a panic elsewhere leaves nothing half done here.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A credit more than there are.
pub(crate) struct Lent(Arc<Shared>);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.lock().lent -= 1;
    }
}

/// The two buffers that a credit pays for.
pub(crate) struct ChunkBuffers {
    pub(crate) plain: Buffer,
    pub(crate) stored: Buffer,
}

#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Stored,
}

struct Credit {
    shared: Arc<Shared>,
}

impl Drop for Credit {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.in_use -= 1;
        if state.in_use == 0 && state.waiting.is_empty() {
            // Nothing is under way: the memory goes back to the system.
            state.plain.clear();
            state.stored.clear();
        }
        self.shared.changed.notify_all();
    }
}

/// A buffer of fixed size, filled from its start. Reads as its filled part.
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
    kind: Kind,
    credit: Arc<Credit>,
}

impl Buffer {
    /// The part not yet filled.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }

    /// The next `count` bytes of the spare part are filled now.
    pub(crate) fn advance(&mut self, count: usize) {
        self.filled = self.filled.saturating_add(count).min(self.bytes.len());
    }

    /// Copies as much of `source` as fits, and says how much that was.
    pub(crate) fn fill_from(&mut self, source: &[u8]) -> usize {
        let spare = self.spare();
        let count = spare.len().min(source.len());
        if let (Some(to), Some(from)) = (spare.get_mut(..count), source.get(..count)) {
            to.copy_from_slice(from);
        }
        self.advance(count);
        count
    }

    /// Whether nothing more fits.
    pub(crate) fn is_full(&self) -> bool {
        self.filled == self.bytes.len()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = self.credit.shared.lock();
        match self.kind {
            Kind::Plain => state.plain.push(bytes),
            Kind::Stored => state.stored.push(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credit_comes_back_with_the_last_of_its_buffers() {
        let credits = Credits::new(2);
        let ChunkBuffers { plain, stored } = credits.acquire(|| false).unwrap();
        let other = credits.acquire(|| false).unwrap();
        drop(plain);
        assert_eq!(credits.in_use(), 2, "the stored form is still in flight");
        drop(stored);
        assert_eq!(credits.in_use(), 1);
        drop(other);
        assert_eq!((credits.in_use(), credits.peak()), (0, 2));
    }

    #[test]
    fn reading_ahead_leaves_half_of_them_to_others() {
        let credits = Credits::new(5);
        let _ahead = [credits.acquire_ahead().unwrap(), credits.acquire_ahead().unwrap()];
        assert!(credits.acquire_ahead().is_none());
        assert!(credits.acquire(|| false).is_some());
    }

    #[test]
    fn a_waiter_is_served_before_who_comes_later() {
        let credits = Credits::new(2);
        let held = [credits.acquire(|| false), credits.acquire(|| false)];
        let waiter = std::thread::spawn({
            let credits = credits.clone();
            move || credits.acquire(|| false).is_some()
        });
        while credits.shared.lock().waiting.is_empty() {
            std::thread::yield_now();
        }
        drop(held);
        assert!(waiter.join().unwrap());
        assert_eq!(credits.in_use(), 0);
    }

    #[test]
    fn a_waiter_can_be_told_to_stop() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let credits = Credits::new(2);
        let _held = [credits.acquire(|| false), credits.acquire(|| false)];
        let stop = Arc::new(AtomicBool::new(false));
        let waiter = std::thread::spawn({
            let (credits, stop) = (credits.clone(), Arc::clone(&stop));
            move || credits.acquire(|| stop.load(Ordering::SeqCst)).is_none()
        });
        stop.store(true, Ordering::SeqCst);
        credits.wake();
        assert!(waiter.join().unwrap());
        assert!(credits.shared.lock().waiting.is_empty());
    }

    #[test]
    fn a_buffer_never_takes_more_than_fits() {
        let credits = Credits::new(2);
        let mut plain = credits.acquire(|| false).unwrap().plain;
        assert_eq!(plain.fill_from(&vec![1; CHUNK - 1]), CHUNK - 1);
        assert_eq!(plain.fill_from(&[2; 5]), 1);
        assert!(plain.is_full());
        plain.advance(100);
        assert_eq!(plain.len(), CHUNK);
    }
}
