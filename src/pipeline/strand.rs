//! Work in order on the CPU pool, without a thread of its own.
//!
//! The pieces of a strand run one after the other, each as a piece of work of the pool, so that a strand neither
//! occupies a worker while it has nothing to do nor keeps one from others for longer than a piece. Only
//! [`Strand::finish`] waits, and it is not for workers.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use holdfast_model::ids;
use sha2::Digest;

use super::credits::Buffer;
use super::pool::CpuPool;

type Piece<S> = Box<dyn FnOnce(&mut S) + Send>;

/// A worker panicked in one of the pieces.
#[derive(Debug)]
pub(crate) struct Panicked;

/// A value that pieces of work change in the order they were pushed.
pub(crate) struct Strand<S> {
    pool: CpuPool,
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    queue: Mutex<Queue<S>>,
    idle: Condvar,
}

struct Queue<S> {
    /// Away while a piece runs, and for good once one has panicked.
    value: Option<S>,
    pieces: VecDeque<Piece<S>>,
    running: bool,
}

impl<S: Send + 'static> Strand<S> {
    pub(crate) fn new(pool: &CpuPool, value: S) -> Self {
        let queue = Queue { value: Some(value), pieces: VecDeque::new(), running: false };
        Self { pool: pool.clone(), shared: Arc::new(Shared { queue: Mutex::new(queue), idle: Condvar::new() }) }
    }

    /// Adds a piece. After a panic it is dropped unrun.
    pub(crate) fn push(&self, piece: impl FnOnce(&mut S) + Send + 'static) {
        let mut queue = self.shared.lock();
        if !queue.running && queue.value.is_none() {
            return;
        }
        queue.pieces.push_back(Box::new(piece));
        if !queue.running {
            queue.running = true;
            drop(queue);
            step(&self.pool, Arc::clone(&self.shared));
        }
    }

    /// Waits until all pieces ran, and gives the value. Not for workers of the pool.
    pub(crate) fn finish(self) -> Result<S, Panicked> {
        let mut queue = self.shared.lock();
        while queue.running {
            queue = self.shared.idle.wait(queue).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        queue.value.take().ok_or(Panicked)
    }
}

impl<S> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, Queue<S>> {
        // Pieces run outside of the lock; each change under it is whole.
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Runs the next piece on the pool, and then the one after it.
fn step<S: Send + 'static>(pool: &CpuPool, shared: Arc<Shared<S>>) {
    let again = pool.clone();
    pool.spawn(move || {
        let mut queue = shared.lock();
        let (value, piece) = (queue.value.take(), queue.pieces.pop_front());
        drop(queue);
        let value = match (value, piece) {
            (Some(mut value), Some(piece)) => catch_unwind(AssertUnwindSafe(|| piece(&mut value))).ok().map(|()| value),
            (value, _) => value,
        };
        let mut queue = shared.lock();
        if value.is_none() {
            tracing::error!("a piece of a strand panicked");
            queue.pieces.clear();
        }
        queue.value = value;
        if queue.pieces.is_empty() {
            queue.running = false;
            shared.idle.notify_all();
        } else {
            drop(queue);
            step(&again, shared);
        }
    });
}

/// A SHA-256 and a count over buffers in the order they were pushed.
pub(crate) struct HashStrand {
    strand: Strand<(sha2::Sha256, u64)>,
}

impl HashStrand {
    pub(crate) fn new(pool: &CpuPool) -> Self {
        Self { strand: Strand::new(pool, (sha2::Sha256::new(), 0)) }
    }

    pub(crate) fn push(&self, buffer: Arc<Buffer>) {
        self.strand.push(move |(hash, count)| {
            hash.update(&**buffer);
            *count += buffer.len() as u64;
        });
    }

    /// Waits for all buffers. Not for workers of the pool.
    pub(crate) fn finish(self) -> Result<(ids::Sha256, u64), Panicked> {
        self.strand.finish().map(|(hash, count)| (ids::Sha256(hash.finalize().into()), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_run_in_order_and_never_two_at_a_time() {
        let pool = CpuPool::new(4).unwrap();
        let strand = Strand::new(&pool, Vec::new());
        for n in 0..1000 {
            strand.push(move |seen: &mut Vec<i32>| seen.push(n));
        }
        assert_eq!(strand.finish().unwrap(), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_ends_the_strand_and_not_the_pool() {
        let pool = CpuPool::new(1).unwrap();
        let strand = Strand::new(&pool, 0);
        strand.push(|_| panic!("on purpose"));
        strand.push(|n| *n += 1);
        assert!(strand.finish().is_err());
        let other = Strand::new(&pool, 0);
        other.push(|n| *n += 1);
        assert_eq!(other.finish().unwrap(), 1);
    }

    #[test]
    fn many_strands_share_one_worker() {
        let pool = CpuPool::new(1).unwrap();
        let strands: Vec<_> = (0..50).map(|_| Strand::new(&pool, 0)).collect();
        for _ in 0..20 {
            strands.iter().for_each(|strand| strand.push(|n| *n += 1));
        }
        for strand in strands {
            assert_eq!(strand.finish().unwrap(), 20);
        }
    }
}
