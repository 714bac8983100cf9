//! Logs that fail on purpose, the same way for the same seed.
//!
//! [`FaultyLog`] stands before any other log and answers some appends with an error: for whoever must cope with that.
//! [`FaultyDisk`] stands under the durable log and loses power, fills up and fails to sync: for the log itself.

mod disk;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_model::ids::{Position, StreamId, Version};
use holdfast_model::record::Record;
use tokio::sync::watch;

pub use disk::FaultyDisk;

use crate::error::{AppendError, ReadError};
use crate::event_log::{Append, AppendFuture, EventLog, ReadLog};

/// What happens to an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no space; the next one can succeed.
    NoSpace,
    /// The outcome is not known, the events are there, and nothing more is taken before a restart.
    UnknownKept,
    /// The outcome is not known, the events are not there, and nothing more is taken before a restart.
    UnknownLost,
}

/// See the module.
pub struct FaultyLog {
    inner: Arc<dyn EventLog>,
    state: Mutex<State>,
}

struct State {
    random: Random,
    per_mille: u64,
    next: VecDeque<Fault>,
    poison: Option<String>,
}

impl FaultyLog {
    /// Fails about `per_mille` of 1,000 appends to `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn EventLog>, seed: u64, per_mille: u32) -> Self {
        let (random, per_mille) = (Random(seed), u64::from(per_mille));
        Self { inner, state: Mutex::new(State { random, per_mille, next: VecDeque::new(), poison: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to the next append that nothing was said about yet.
    pub fn fail_next(&self, fault: Fault) {
        self.state().next.push_back(fault);
    }

    /// Takes appends again, as after a restart.
    pub fn restart(&self) {
        self.state().poison = None;
    }
}

impl State {
    fn draw(&mut self) -> Option<Fault> {
        if let Some(fault) = self.next.pop_front() {
            return Some(fault);
        }
        if self.random.below(1000) >= self.per_mille {
            return None;
        }
        Some(match self.random.below(3) {
            0 => Fault::NoSpace,
            1 => Fault::UnknownKept,
            _ => Fault::UnknownLost,
        })
    }
}

impl ReadLog for FaultyLog {
    fn read_stream(&self, stream: &StreamId, from: Version, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.inner.read_stream(stream, from, limit)
    }

    fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.inner.read_all(from, limit)
    }

    fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        self.inner.stream_version(stream)
    }

    fn head(&self) -> Position {
        self.inner.head()
    }

    fn watch_head(&self) -> watch::Receiver<Position> {
        self.inner.watch_head()
    }
}

impl EventLog for FaultyLog {
    fn append(&self, append: Append) -> AppendFuture {
        const REASON: &str = "a fault was asked for";
        let mut state = self.state();
        if let Some(reason) = state.poison.clone() {
            return Box::pin(async { Err(AppendError::Poisoned { reason }) });
        }
        let fault = state.draw();
        if matches!(fault, Some(Fault::UnknownKept | Fault::UnknownLost)) {
            state.poison = Some(REASON.to_owned());
        }
        drop(state);
        let unknown = || Err(AppendError::OutcomeUnknown { reason: REASON.to_owned() });
        match fault {
            None => self.inner.append(append),
            Some(Fault::NoSpace) => Box::pin(async { Err(AppendError::NoSpace { reason: REASON.to_owned() }) }),
            Some(Fault::UnknownLost) => Box::pin(async move { unknown() }),
            Some(Fault::UnknownKept) => {
                let kept = self.inner.append(append);
                Box::pin(async move { kept.await.and_then(|_| unknown()) })
            }
        }
    }
}

/// Numbers that look random, the same for the same seed (SplitMix64; Steele, Lea, Flood, "Fast splittable pseudorandom
/// number generators", 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, 0 where that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }
}
