//! The store: all events by position in sled, the second copy beside the journal.
//!
//! sled does not sync what it says it flushed, panics on damaged files and can lose keys silently. So here
//! - every batch is followed by a flush and a sync on a descriptor of our own, and nothing else writes,
//! - whatever sled does is done where a panic is caught; after the first fault the store is not asked again,
//! - everything read is checked: the checksum of each event, its position, and that none is passed over. The chain makes
//!   a sweep over all of it prove that it is byte by byte what the journal has.

pub(crate) mod chunk;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_model::ids::{Position, Sha256};
use holdfast_model::record::Record;
use rustix::fs::FlockOperation;
use sled::IVec;

use crate::disk;
use crate::durable;
use crate::error::ReadError;
use crate::journal::frame::{self, Encoded, Entries, GENESIS, Parsed};
use crate::quiet;
use chunk::{Chunk, Joined, Joiner};

/// sled's cache; its default is 1 GiB.
const CACHE: u64 = 32 << 20;
/// sled looks at the size of its cache only after 64 accesses to each of 256 parts of it, however large the pages are that
/// those brought in, and an iterator counts as one access a page. So a long read would keep all it has seen. An access more
/// for this many bytes read keeps that within 32 MiB, beside the cache itself.
const BYTES_AN_ACCESS: usize = 2 << 10;
/// The key that says which form the rest has, and the form written here.
const FORMAT_KEY: &[u8] = b"f";
const FORMAT: &[u8] = &[1];
/// sled can keep its lock for a moment after it was dropped.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(2);

/// What went wrong with the store. Never a reason to stop: the journal has everything.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum StoreError {
    /// Somebody else has it open.
    #[error("the store is in use")]
    Locked,
    /// The system does not let us, for a reason that is not in the store's files.
    #[error("the store cannot be opened now: {0}")]
    Unavailable(String),
    /// Its files are not what they should be.
    #[error("{0}")]
    Damaged(String),
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match &error {
            sled::Error::Io(io) if io.to_string().contains("could not acquire lock") => Self::Locked,
            sled::Error::Io(io) if outside(io) => Self::Unavailable(io.to_string()),
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Whether an error comes from the system around the files, not from what is in them.
fn outside(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    const TOO_MANY_FILES: [i32; 2] = [rustix::io::Errno::MFILE.raw_os_error(), rustix::io::Errno::NFILE.raw_os_error()];
    disk::is_no_space(error)
        || matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
        || error.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code))
}

/// An open store.
pub(crate) struct Store {
    /// None only while it is dropped.
    db: Option<sled::Db>,
    /// Our own descriptor of sled's file.
    file: File,
    /// The last event of the last batch that is on stable storage.
    tip: AtomicU64,
}

/// What a look at every event of a store found.
#[derive(Debug, Clone)]
pub(crate) struct Sweep {
    /// The last event before which all is whole.
    pub(crate) head: Position,
    /// The chain after it.
    pub(crate) chain: Sha256,
    /// What is wrong after it; none where nothing is.
    pub(crate) flaw: Option<String>,
}

impl Store {
    /// Opens the store in `dir`, making it where it is missing.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match quiet::quietly(|| Self::try_open(dir)).unwrap_or_else(|panic| Err(StoreError::Damaged(panic))) {
                Err(StoreError::Locked) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
                result => return result,
            }
        }
    }

    fn try_open(dir: &Path) -> Result<Self, StoreError> {
        let new = !dir.exists();
        let db = sled::Config::new().path(dir).cache_capacity(CACHE).flush_every_ms(None).open()?;
        match db.get(FORMAT_KEY)? {
            Some(format) if *format == *FORMAT => {}
            None if new => {
                db.insert(FORMAT_KEY, FORMAT)?;
                db.flush()?;
            }
            None => return Err(StoreError::Damaged("the store lost everything".into())),
            Some(_) => return Err(StoreError::Damaged("the store has a form that this program does not know".into())),
        }
        let file = File::options().write(true).open(dir.join("db"));
        let synced = file.and_then(|file| {
            file.sync_all()?;
            if new {
                durable::sync_dir(dir)?;
                durable::sync_dir(durable::parent(dir))?;
            }
            Ok(file)
        });
        let file = synced.map_err(sled::Error::Io)?;
        Ok(Self { db: Some(db), file, tip: AtomicU64::new(0) })
    }

    fn db(&self) -> Result<&sled::Db, StoreError> {
        self.db.as_ref().ok_or_else(|| StoreError::Damaged("the store is closed".into()))
    }

    /// The last event that is safely in it.
    pub(crate) fn tip(&self) -> Position {
        Position(self.tip.load(Ordering::Acquire))
    }

    /// The keys from `from` on and their values.
    fn chunks(&self, from: Position) -> Result<impl Iterator<Item = Result<(IVec, IVec), StoreError>>, StoreError> {
        let db = self.db()?;
        let mut unaccounted = 0;
        Ok(db.range(chunk::key(from)..).map(move |item| {
            let (key, value) = item?;
            unaccounted += value.len();
            while unaccounted >= BYTES_AN_ACCESS {
                unaccounted -= BYTES_AN_ACCESS;
                db.contains_key(&key)?;
            }
            Ok((key, value))
        }))
    }

    /// Looks at every event and sets the tip to the last one before which all is whole.
    pub(crate) fn sweep(&self) -> Sweep {
        let mut found = Sweep { head: Position::START, chain: GENESIS, flaw: None };
        let swept =
            quiet::quietly(|| self.sweep_into(&mut found)).unwrap_or_else(|panic| Err(StoreError::Damaged(panic)));
        found.flaw = swept.err().map(|error| error.to_string());
        self.tip.store(found.head.0, Ordering::Release);
        found
    }

    fn sweep_into(&self, found: &mut Sweep) -> Result<(), StoreError> {
        let mut joiner = Joiner::default();
        let mut expected = Position(1);
        for item in self.chunks(expected)? {
            let (key, value) = item?;
            if *key == *FORMAT_KEY {
                continue;
            }
            let joined = Chunk::parse(&key, &value)
                .filter(|chunk| chunk.first == expected)
                .and_then(|chunk| Some((joiner.add(&chunk, found.chain)?, chunk.last)));
            let Some((joined, last)) = joined else {
                return Err(StoreError::Damaged(format!("the store lost or changed the event at position {expected}")));
            };
            expected = last.next();
            if let Joined::Whole(commit, last) = joined {
                (found.head, found.chain) = (last, commit.chain);
            }
        }
        if found.head.next() == expected {
            Ok(())
        } else {
            Err(StoreError::Damaged(format!("the store lost the event at position {expected}")))
        }
    }

    /// Adds commits, which follow those it has, in one batch; on stable storage when it returns.
    pub(crate) fn add(&self, commits: &[Encoded]) -> Result<(), StoreError> {
        quiet::caught(|| self.try_add(commits)).unwrap_or_else(|panic| Err(StoreError::Damaged(panic)))
    }

    fn try_add(&self, commits: &[Encoded]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        let mut tip = self.tip();
        for encoded in commits {
            let Parsed::Commit(commit) = frame::parse(&encoded.bytes) else {
                return Err(StoreError::Damaged("a commit changed in memory".into()));
            };
            chunk::cut(&commit, |key, value| batch.insert(key.as_slice(), value));
            tip = commit.last();
        }
        let db = self.db()?;
        db.apply_batch(batch)?;
        db.flush()?;
        self.file.sync_all().map_err(sled::Error::Io)?;
        self.tip.store(tip.0, Ordering::Release);
        Ok(())
    }

    /// Reads the events `from..=to`, which it must have.
    pub(crate) fn read(&self, from: Position, to: Position, out: &mut Vec<Record>) -> Result<(), StoreError> {
        quiet::caught(|| self.try_read(from, to, out)).unwrap_or_else(|panic| Err(StoreError::Damaged(panic)))
    }

    fn try_read(&self, from: Position, to: Position, out: &mut Vec<Record>) -> Result<(), StoreError> {
        let lost =
            |position| StoreError::Damaged(format!("the store lost or changed the event at position {position}"));
        let mut wanted = from;
        for item in self.chunks(from)? {
            let (key, value) = item?;
            let chunk = Chunk::parse(&key, &value).filter(|chunk| chunk.first <= wanted).ok_or_else(|| lost(wanted))?;
            let mut position = chunk.first;
            for entry in Entries(chunk.entries) {
                let entry = entry.map_err(|_| lost(position))?;
                if position == wanted && position <= to {
                    let record = Record::decode(entry.record).ok().filter(|record| record.position == position);
                    out.push(record.ok_or_else(|| lost(position))?);
                    wanted = wanted.next();
                }
                position = position.next();
            }
            if wanted > to {
                return Ok(());
            }
        }
        if wanted > to { Ok(()) } else { Err(lost(wanted)) }
    }

    /// The commit that starts with `first` and follows the one that ended in `before`, and its last position.
    pub(crate) fn commit(&self, first: Position, before: Sha256) -> Option<(Encoded, Position)> {
        quiet::quietly(|| {
            let mut joiner = Joiner::default();
            for item in self.chunks(first).ok()? {
                let (key, value) = item.ok()?;
                let chunk = Chunk::parse(&key, &value).filter(|chunk| chunk.commit_first == first)?;
                if let Joined::Whole(commit, last) = joiner.add(&chunk, before)? {
                    return Some((commit, last));
                }
            }
            None
        })
        .unwrap_or_default()
    }

    /// The chain after the commit that ends with `last`.
    pub(crate) fn chain_at(&self, last: Position) -> Option<Sha256> {
        if last == Position::START {
            return Some(GENESIS);
        }
        let key = chunk::key(last);
        let value = quiet::quietly(|| self.db().ok()?.get(key).ok().flatten()).ok().flatten()?;
        Chunk::parse(&key, &value).filter(|chunk| chunk.commit_last == last).map(|chunk| chunk.chain)
    }
}

impl Drop for Store {
    /// Ends sled, which goes on in threads of its own for a moment, and waits until it let go of its file.
    fn drop(&mut self) {
        let db = self.db.take();
        if quiet::quietly(|| drop(db)).is_err() {
            return;
        }
        let deadline = Instant::now() + LOCK_WAIT;
        while rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_err()
            && Instant::now() < deadline
        {
            std::thread::sleep(LOCK_POLL);
        }
    }
}

/// Most damaged stores that are kept for a look at them.
const KEPT: usize = 2;
const SET_ASIDE: &str = "store.damaged-";

/// Moves a store out of the way, durably, and says where it is now. Only the newest few are kept.
///
/// # Errors
/// As `rename(2)`, `readdir(3)` and `fsync(2)`.
pub(crate) fn set_aside(dir: &Path) -> io::Result<PathBuf> {
    let home = durable::parent(dir);
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(home)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_prefix(SET_ASIDE)?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    let to = home.join(format!("{SET_ASIDE}{}", numbers.last().map_or(1, |last| last.saturating_add(1))));
    durable::rename_no_replace(dir, &to)?;
    durable::sync_dir(home)?;
    let surplus = (numbers.len() + 1).saturating_sub(KEPT);
    for number in numbers.into_iter().take(surplus) {
        std::fs::remove_dir_all(home.join(format!("{SET_ASIDE}{number}")))?;
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::frame::Encoder;
    use crate::samples::record_of;

    fn commits() -> Vec<Encoded> {
        let mut before = GENESIS;
        let mut position = 1;
        let mut commits = Vec::new();
        for (count, size) in [(1, 20), (40, 300), (3, 6000)] {
            let mut encoder = Encoder::new(Position(position));
            for _ in 0..count {
                encoder.push(&record_of("run/a", position, position, size));
                position += 1;
            }
            commits.push(encoder.finish(before));
            before = commits.last().map(|commit| commit.chain).unwrap();
        }
        commits
    }

    #[test]
    fn what_is_added_is_read_after_a_reopen_which_works_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let store = Store::open(&path).unwrap();
        assert_eq!(store.sweep().head, Position::START);
        let commits = commits();
        store.add(&commits[..1]).unwrap();
        store.add(&commits[1..]).unwrap();
        let mut records = Vec::new();
        store.read(Position(3), Position(43), &mut records).unwrap();
        assert_eq!(records.iter().map(|record| record.position.0).collect::<Vec<_>>(), (3..=43).collect::<Vec<_>>());
        drop(store);
        for _ in 0..3 {
            let store = Store::open(&path).unwrap();
            let sweep = store.sweep();
            assert_eq!((sweep.head, sweep.chain, sweep.flaw), (Position(44), commits[2].chain, None));
            let mut records = Vec::new();
            store.read(Position(1), Position(44), &mut records).unwrap();
            assert_eq!(records.len(), 44);
            assert!(store.read(Position(1), Position(45), &mut records).is_err());
            assert_eq!(store.commit(Position(2), commits[0].chain).unwrap().0.bytes, commits[1].bytes);
            assert!(store.commit(Position(3), commits[0].chain).is_none());
            assert_eq!(store.chain_at(Position(41)), Some(commits[1].chain));
            assert_eq!(store.chain_at(Position(40)), None);
        }
    }

    #[test]
    fn a_lost_event_is_missed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let commits = commits();
        store.add(&commits).unwrap();
        let lost = store.db().unwrap().range(chunk::key(Position(20))..).next().unwrap().unwrap().0;
        store.db().unwrap().remove(&lost).unwrap();
        assert!(store.read(Position(1), Position(44), &mut Vec::new()).is_err());
        assert!(store.commit(Position(2), commits[0].chain).is_none());
        assert!(store.commit(Position(42), commits[1].chain).is_some());
        let sweep = store.sweep();
        assert_eq!(sweep.head, Position(1));
        assert!(sweep.flaw.is_some());
    }

    #[test]
    fn only_the_newest_damaged_stores_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        for _ in 0..4 {
            std::fs::create_dir(&store).unwrap();
            set_aside(&store).unwrap();
        }
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["store.damaged-3", "store.damaged-4"]);
    }
}
