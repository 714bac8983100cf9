//! A disk that loses power, fills up and fails, under the journal's writer.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::Random;
use crate::disk::{Disk, SystemDisk};

/// What a disk writes at once or not at all.
const SECTOR: u64 = 512;

/// Does what the system's disk does until it is told otherwise.
#[derive(Debug)]
pub struct FaultyDisk {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: Random,
    /// Whether it takes room ahead.
    ahead: bool,
    /// Calls until power is lost.
    calls_left: Option<u64>,
    /// Bytes that still fit.
    room: Option<u64>,
    fail_sync: bool,
    fail_truncate: bool,
    files: BTreeMap<PathBuf, Extent>,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Up to where it was written, room that was taken ahead aside.
    written: u64,
    /// Up to where what was written is on stable storage.
    synced: u64,
    /// The length that is on stable storage.
    length: u64,
}

impl Extent {
    /// A file all of which is on stable storage.
    fn stable(length: u64) -> Self {
        Self { written: length, synced: length, length }
    }
}

impl FaultyDisk {
    /// A disk without faults yet. It takes no room ahead: each write makes its file longer.
    #[must_use]
    pub fn new(seed: u64) -> Arc<Self> {
        Self::with(seed, false)
    }

    /// A disk without faults yet, which takes room ahead.
    #[must_use]
    pub fn with_room_ahead(seed: u64) -> Arc<Self> {
        Self::with(seed, true)
    }

    fn with(seed: u64, ahead: bool) -> Arc<Self> {
        let state = State {
            random: Random(seed),
            ahead,
            calls_left: None,
            room: None,
            fail_sync: false,
            fail_truncate: false,
            files: BTreeMap::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Power goes away in the `calls`-th write or sync from now on, counted from 1: what was written before may be there or
    /// not, every call after it fails.
    pub fn cut_power_in(&self, calls: u64) {
        self.state().calls_left = Some(calls);
    }

    /// Only `room` more bytes fit; none for as many as there are.
    pub fn set_room(&self, room: Option<u64>) {
        self.state().room = room;
    }

    /// The next sync fails.
    pub fn fail_next_sync(&self) {
        self.state().fail_sync = true;
    }

    /// The next truncation fails.
    pub fn fail_next_truncate(&self) {
        self.state().fail_truncate = true;
    }

    /// What a power cut leaves: each file as long as it was at its last sync, or longer by some of what came since, and random
    /// sectors of what was written since then as they were before, that is zero. To be called when the log is closed.
    ///
    /// # Errors
    /// As the system says.
    pub fn lose_unsynced(&self) -> io::Result<()> {
        let State { random, files, .. } = &mut *self.state();
        for (path, extent) in files {
            let file = OpenOptions::new().write(true).open(path.as_path())?;
            let length = file.metadata()?.len();
            let kept = extent.length.min(length);
            let kept = kept + random.below(length - kept + 1);
            file.set_len(kept)?;
            let end = extent.written.min(kept);
            let mut start = extent.synced;
            while start < end {
                let next = ((start / SECTOR + 1) * SECTOR).min(end);
                if random.below(3) == 0 {
                    let zeros = vec![0; usize::try_from(next - start).unwrap_or(0)];
                    file.write_all_at(&zeros, start)?;
                }
                start = next;
            }
            *extent = Extent::stable(kept);
        }
        Ok(())
    }
}

impl State {
    /// What is known of the file at `path`; of one that was there before, that it ended at `end`.
    fn file(&mut self, path: &Path, end: u64) -> &mut Extent {
        self.files.entry(path.to_owned()).or_insert(Extent::stable(end))
    }

    /// Takes room for what lies beyond the end of `file`; says how many of the `length` bytes at `offset` fit.
    fn take_room(&mut self, file: &File, offset: u64, length: u64) -> io::Result<u64> {
        let within = file.metadata()?.len().saturating_sub(offset).min(length);
        let more = (length - within).min(self.room.unwrap_or(u64::MAX));
        if let Some(room) = &mut self.room {
            *room -= more;
        }
        Ok(within + more)
    }

    /// Counts a call; true where power goes away in it.
    fn count(&mut self) -> io::Result<bool> {
        match &mut self.calls_left {
            Some(0) => Err(Errno::IO.into()),
            Some(left) => {
                *left -= 1;
                Ok(*left == 0)
            }
            None => Ok(false),
        }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path, header: &[u8]) -> io::Result<File> {
        let mut state = self.state();
        if state.count()? {
            return Err(Errno::IO.into());
        }
        if state.room.is_some_and(|room| room < header.len() as u64) {
            return Err(Errno::NOSPC.into());
        }
        state.files.insert(path.to_owned(), Extent::stable(header.len() as u64));
        SystemDisk.create(path, header)
    }

    fn reserve(&self, path: &Path, file: &File, offset: u64, length: u64) -> io::Result<()> {
        let mut state = self.state();
        if !state.ahead {
            return Ok(());
        }
        let cut = state.count()?;
        state.file(path, offset);
        let fits = state.take_room(file, offset, length)?;
        SystemDisk.reserve(path, file, offset, fits)?;
        if cut {
            return Err(Errno::IO.into());
        }
        if fits < length { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    fn write(&self, path: &Path, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state();
        let cut = state.count()?;
        let fits = state.take_room(file, offset, bytes.len() as u64)?;
        state.file(path, offset).written = offset + fits;
        let fits = usize::try_from(fits).unwrap_or(usize::MAX);
        SystemDisk.write(path, file, bytes.get(..fits).unwrap_or_default(), offset)?;
        if cut {
            return Err(Errno::IO.into());
        }
        if fits < bytes.len() { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    fn sync(&self, path: &Path, file: &File) -> io::Result<()> {
        let mut state = self.state();
        let cut = state.count()?;
        if std::mem::take(&mut state.fail_sync) || (cut && state.random.below(2) == 0) {
            return Err(Errno::IO.into());
        }
        SystemDisk.sync(path, file)?;
        let length = file.metadata()?.len();
        let extent = state.file(path, length);
        (extent.synced, extent.length) = (extent.written, length);
        if cut { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn truncate(&self, path: &Path, file: &File, length: u64) -> io::Result<()> {
        let mut state = self.state();
        if state.calls_left == Some(0) || std::mem::take(&mut state.fail_truncate) {
            return Err(Errno::IO.into());
        }
        let extent = state.file(path, length);
        extent.written = extent.written.min(length);
        extent.synced = extent.synced.min(length);
        SystemDisk.truncate(path, file, length)
    }
}
