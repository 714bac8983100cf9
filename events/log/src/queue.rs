//! Appends on their way to the writer, bounded by what they weigh.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use crate::error::AppendError;
use crate::event_log::{Append, Appended};

/// Bytes of appends that wait at most; who comes then waits outside.
const CAPACITY: usize = 4 << 20;
/// What an append weighs beside its payloads: names, ids, and the places it takes in memory.
const OVERHEAD: usize = 256;
/// Most appends and most weight of one commit. One append always fits a commit.
const BATCH: (usize, usize) = (256, 1 << 20);
/// Where several appended together last time, the writer waits this long for them to come back, so that they share a sync
/// again. A sync takes several times as long.
const GATHER: Duration = Duration::from_micros(150);

/// An append and where its answer goes.
pub(crate) struct Request {
    pub(crate) append: Append,
    pub(crate) answer: oneshot::Sender<Result<Appended, AppendError>>,
    /// When it was asked for.
    pub(crate) since: Instant,
    weight: u32,
}

/// See the module.
pub(crate) struct Queue {
    room: Semaphore,
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Default)]
struct Waiting {
    requests: Vec<Request>,
    /// How many must wait for the writer to be woken: waking it for each would cost more than taking it in.
    wanted: usize,
    closed: bool,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self { room: Semaphore::new(CAPACITY), waiting: Mutex::default(), came: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room, then for the answer.
    pub(crate) async fn submit(&self, append: Append) -> Result<Appended, AppendError> {
        let since = Instant::now();
        let weight =
            append.events.iter().map(|event| event.payload.len() + event.principal.len() + OVERHEAD).sum::<usize>();
        let weight = u32::try_from(weight.min(CAPACITY)).unwrap_or(u32::MAX);
        let room = self.room.acquire_many(weight).await.map_err(|_| AppendError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let enough = {
            let mut waiting = self.lock();
            if waiting.closed {
                return Err(AppendError::Closed);
            }
            // Given back by the writer when it takes the request.
            room.forget();
            waiting.requests.push(Request { append, answer, since, weight });
            waiting.requests.len() == waiting.wanted
        };
        if enough {
            self.came.notify_one();
        }
        let lost = || AppendError::OutcomeUnknown { reason: "the log's writer broke down".into() };
        answered.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Takes all that waits into `batch`, which is empty, as far as it fits one commit; waits for the first. `before` is how
    /// many there were last time. False after the queue is closed and empty.
    pub(crate) fn take(&self, before: usize, batch: &mut Vec<Request>) -> bool {
        let mut waiting = self.lock();
        while waiting.requests.is_empty() {
            if waiting.closed {
                return false;
            }
            waiting.wanted = 1;
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let before = before.min(BATCH.0);
        waiting.wanted = before;
        let fewer = |waiting: &mut Waiting| waiting.requests.len() < before && !waiting.closed;
        let gathered = self.came.wait_timeout_while(waiting, GATHER, fewer);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        waiting.wanted = usize::MAX;

        let mut weight = 0;
        let fits = waiting.requests.iter().take(BATCH.0).take_while(|request| {
            weight += request.weight as usize;
            weight <= BATCH.1
        });
        let count = fits.count().max(1);
        if count >= waiting.requests.len() {
            // The two change places, so that neither has to grow again.
            std::mem::swap(&mut waiting.requests, batch);
        } else {
            batch.extend(waiting.requests.drain(..count));
        }
        drop(waiting);
        self.room.add_permits(batch.iter().map(|request| request.weight as usize).sum());
        true
    }

    /// Takes no more; what waits is still worked off.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.came.notify_all();
    }
}
