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

/// Does what the system's disk does until it is told otherwise. It takes no room ahead, as some file systems cannot.
#[derive(Debug)]
pub struct FaultyDisk {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: Random,
    /// Calls until power is lost.
    calls_left: Option<u64>,
    /// Bytes that still fit.
    room: Option<u64>,
    fail_sync: bool,
    fail_truncate: bool,
    /// Up to where each file was synced.
    synced: BTreeMap<PathBuf, u64>,
}

impl FaultyDisk {
    /// A disk without faults yet.
    #[must_use]
    pub fn new(seed: u64) -> Arc<Self> {
        let state = State {
            random: Random(seed),
            calls_left: None,
            room: None,
            fail_sync: false,
            fail_truncate: false,
            synced: BTreeMap::new(),
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

    /// What a power cut leaves: of the bytes after the last sync of each file a random number, with random sectors of them
    /// zero. To be called when the log is closed.
    ///
    /// # Errors
    /// As the system says.
    pub fn lose_unsynced(&self) -> io::Result<()> {
        let State { random, synced, .. } = &mut *self.state();
        for (path, synced) in synced {
            let file = OpenOptions::new().write(true).open(path.as_path())?;
            let unsynced = file.metadata()?.len().saturating_sub(*synced);
            let end = *synced + random.below(unsynced + 1);
            file.set_len(end)?;
            let mut start = *synced;
            while start < end {
                let next = ((start / SECTOR + 1) * SECTOR).min(end);
                if random.below(3) == 0 {
                    let zeros = vec![0; usize::try_from(next - start).unwrap_or(0)];
                    file.write_all_at(&zeros, start)?;
                }
                start = next;
            }
            *synced = end;
        }
        Ok(())
    }
}

impl State {
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
        state.synced.insert(path.to_owned(), header.len() as u64);
        SystemDisk.create(path, header)
    }

    fn reserve(&self, _: &Path, _: &File, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, path: &Path, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state();
        let cut = state.count()?;
        state.synced.entry(path.to_owned()).or_insert(offset);
        let fits = state.room.map_or(bytes.len(), |room| usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len()));
        if let Some(room) = &mut state.room {
            *room -= fits as u64;
        }
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
        state.synced.insert(path.to_owned(), length);
        if cut { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn truncate(&self, path: &Path, file: &File, length: u64) -> io::Result<()> {
        let mut state = self.state();
        if state.calls_left == Some(0) || std::mem::take(&mut state.fail_truncate) {
            return Err(Errno::IO.into());
        }
        SystemDisk.truncate(path, file, length)
    }
}
