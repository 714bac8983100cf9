//! Threads that make the files of a restore, because making a small file is mostly waiting for the kernel's own work.
//!
//! Work comes in batches, in a queue of a few: what is in flight is bounded by count, bytes and open folders. The first
//! failure empties the queue and is what every later call returns.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::error::FilesError;
use super::head::Head;
use super::place::Placer;
use super::report::Report;
use super::target::Spot;

/// Most bytes of content and attributes in a batch.
const BYTES: usize = 1024 * 1024;
/// Most things in a batch.
const JOBS: usize = 128;
/// Most changes of folder in a batch: each may hold one open.
const FOLDERS: usize = 8;

/// Something to be made.
struct Job {
    spot: Spot,
    head: Head,
    content: Range<usize>,
}

/// Some of them, with their content one after the other.
#[derive(Default)]
pub(super) struct Batch {
    jobs: Vec<Job>,
    content: Vec<u8>,
    weight: usize,
    folders: usize,
}

impl Batch {
    /// Adds a job and returns the place for its content.
    pub(super) fn add(&mut self, spot: Spot, head: Head, size: usize) -> &mut [u8] {
        if self.jobs.last().is_none_or(|last| !Arc::ptr_eq(&last.spot.folder, &spot.folder)) {
            self.folders += 1;
        }
        self.weight += head.weight() + size;
        let start = self.content.len();
        self.content.resize(start + size, 0);
        self.jobs.push(Job { spot, head, content: start..start + size });
        self.content.get_mut(start..).unwrap_or_default()
    }

    /// Whether it is to be handed over.
    pub(super) fn is_full(&self) -> bool {
        self.weight >= BYTES || self.jobs.len() >= JOBS || self.folders >= FOLDERS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn clear(&mut self) {
        self.jobs.clear();
        self.content.clear();
        (self.weight, self.folders) = (0, 0);
    }
}

/// The queue between the reader of a stream and the threads that make its files.
pub(super) struct Crew {
    state: Mutex<State>,
    changed: Condvar,
    room: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Batch>,
    busy: usize,
    closed: bool,
    failed: bool,
    failure: Option<FilesError>,
    /// Used ones: their memory is used again.
    spare: Vec<Batch>,
}

impl Crew {
    /// A queue for so many threads.
    pub(super) fn new(threads: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), room: threads + 1 }
    }

    /// Hands a batch over, waiting for room, and leaves an empty one in its place.
    pub(super) fn submit(&self, batch: &mut Batch) -> Result<(), FilesError> {
        let mut state = self.lock();
        while state.queue.len() >= self.room && !state.failed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.failed {
            return Err(state.failure.take().unwrap_or(FilesError::Cancelled));
        }
        let fresh = state.spare.pop().unwrap_or_default();
        state.queue.push_back(std::mem::replace(batch, fresh));
        self.changed.notify_all();
        Ok(())
    }

    /// Waits until all that was handed over is made.
    pub(super) fn drain(&self) -> Result<(), FilesError> {
        let mut state = self.lock();
        while (state.busy > 0 || !state.queue.is_empty()) && !state.failed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.failed { Err(state.failure.take().unwrap_or(FilesError::Cancelled)) } else { Ok(()) }
    }

    /// Lets the threads end: after what is queued, or at once when that is of no use any more.
    pub(super) fn close(&self, abandon: bool) {
        let mut state = self.lock();
        state.closed = true;
        if abandon {
            state.queue.clear();
        }
        self.changed.notify_all();
    }

    /// What one thread does until the queue is closed.
    pub(super) fn work(&self, placer: &Placer<'_>, report: &Report<'_>) {
        while let Some(mut batch) = self.take() {
            let shift = Shift { crew: self };
            let result = make(&batch, placer, report);
            batch.clear();
            let mut state = self.lock();
            match result {
                Ok(()) => state.spare.push(batch),
                Err(error) => state.fail(error),
            }
            drop(state);
            drop(shift);
        }
    }

    fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            if let Some(batch) = state.queue.pop_front() {
                state.busy += 1;
                self.changed.notify_all();
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fail(&mut self, error: FilesError) {
        if !self.failed {
            self.failed = true;
            self.failure = Some(error);
        }
        self.queue.clear();
    }
}

/// Counts a thread as busy; also when it ends by a panic, so that nobody waits for it forever.
struct Shift<'a> {
    crew: &'a Crew,
}

impl Drop for Shift<'_> {
    fn drop(&mut self) {
        let mut state = self.crew.lock();
        state.busy -= 1;
        if std::thread::panicking() {
            state.fail(FilesError::WorkerLost);
        }
        self.crew.changed.notify_all();
    }
}

fn make(batch: &Batch, placer: &Placer<'_>, report: &Report<'_>) -> Result<(), FilesError> {
    for job in &batch.jobs {
        report.check()?;
        let content = batch.content.get(job.content.clone()).unwrap_or_default();
        placer.leaf(&job.spot, &job.head, content)?;
        report.advance(u64::from(job.head.kind == super::entry::Kind::File), content.len() as u64);
    }
    Ok(())
}
