//! What a restore writes goes to the disk while it writes on, instead of all of it at the end.
//!
//! A thread syncs the target's file system each time some more bytes were made. The sync at the end is still what counts:
//! it is on a descriptor that was opened before the first byte, so that it tells of every failed write in between, whoever
//! else was told of it meanwhile.

use std::fs::File;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::files::Observer;

/// Bytes that are made between two syncs.
const STEP: u64 = 128 << 20;

/// Hears how many bytes are made, and hands everything on.
pub(super) struct WriteBehind<'a> {
    observer: &'a dyn Observer,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Bytes made since the last sync began.
    made: u64,
    over: bool,
}

impl WriteBehind<'_> {
    /// Runs `work`, which writes to the file system of `folder` and tells the observer it is given, with syncs beside it. When
    /// this returns, all is on stable storage.
    ///
    /// # Errors
    /// Those of `work`; else what `failed` makes of an error of `syncfs(2)`.
    pub(super) fn run<T, E: Send>(
        folder: &Path,
        observer: &dyn Observer,
        failed: impl Fn(std::io::Error) -> E + Sync,
        work: impl FnOnce(&dyn Observer) -> Result<T, E>,
    ) -> Result<T, E> {
        let file = File::open(folder).map_err(&failed)?;
        let behind = WriteBehind { observer, state: Mutex::default(), changed: Condvar::new() };
        let done = std::thread::scope(|scope| {
            let over = Over(&behind);
            // Without a thread the sync at the end has more to do.
            let _ =
                std::thread::Builder::new().name("holdfast-sync".into()).spawn_scoped(scope, || behind.work(folder));
            let done = work(&behind);
            drop(over);
            done
        })?;
        rustix::fs::syncfs(&file).map_err(|errno| failed(errno.into()))?;
        Ok(done)
    }

    fn work(&self, folder: &Path) {
        let Ok(file) = File::open(folder) else { return };
        while self.wait() {
            // The sync at the end tells of it.
            if rustix::fs::syncfs(&file).is_err() {
                return;
            }
        }
    }

    /// Waits until there is enough to sync; false when no more comes.
    fn wait(&self) -> bool {
        let mut state = self.lock();
        while state.made < STEP && !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.made = 0;
        !state.over
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for WriteBehind<'_> {
    fn advance(&self, files: u64, bytes: u64) {
        self.observer.advance(files, bytes);
        let mut state = self.lock();
        state.made += bytes;
        if state.made >= STEP {
            self.changed.notify_one();
        }
    }

    fn warn(&self, path: &Path, reason: &str) {
        self.observer.warn(path, reason);
    }

    fn note(&self, path: &Path, reason: &str) {
        self.observer.note(path, reason);
    }

    fn cancelled(&self) -> bool {
        self.observer.cancelled()
    }
}

/// Ends the thread; also when the work panics, for the scope waits for it.
struct Over<'a>(&'a WriteBehind<'a>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_all();
    }
}
