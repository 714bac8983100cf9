//! One owner of a home: the process that may write in it.
//!
//! The lock is `flock(2)` on `lock` in the home, so the kernel takes it back from a process that dies, however it dies:
//! nothing stale is ever left behind. What the file says (who, since when) is for messages alone and decides nothing.
//! Readers need no lock; they may ask whether there is an owner, also in a home they cannot write to.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_model::ids::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

/// Longest text read from a lock file.
const MAX_HOLDER: usize = 512;
/// How long a wait for the lock sleeps between two tries.
const STEP: Duration = Duration::from_millis(20);
/// How long [`Owner::try_acquire`] tries: [`is_owned`] holds the lock for an instant, which must not look like an owner.
const PROBE: Duration = Duration::from_millis(50);

/// Who holds a home, as that process wrote it down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// What it does: `backup`, `serve`.
    pub what: String,
    /// When it began, in Unix seconds.
    pub since: i64,
}

/// Why a home could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// Another process holds it.
    #[error("{} is in use by {}: wait until it ends, or allow a longer wait for the lock", path.display(), named(holder.as_ref()))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who, where that can be read.
        holder: Option<Holder>,
    },
    /// The lock file cannot be opened, locked or written.
    #[error("cannot take {}: check that the home can be written to", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OwnerError {
    /// A stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Held { .. } => "HOME_IN_USE",
            Self::Io { .. } => "HOME_LOCK_FAILED",
        }
    }

    /// Whether the same may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

fn named(holder: Option<&Holder>) -> String {
    match holder {
        Some(holder) => format!("`{}` (process {})", holder.what, holder.pid),
        None => "another process".to_owned(),
    }
}

/// The right to write in a home; given back when dropped.
#[derive(Debug)]
pub struct Owner {
    file: File,
}

impl Owner {
    /// Takes the lock at `lock` if nobody holds it. `what` and `now` are for others' messages.
    ///
    /// # Errors
    /// [`OwnerError`].
    pub fn try_acquire(lock: &Path, what: &str, now: Timestamp) -> Result<Self, OwnerError> {
        Self::acquire(lock, what, now, PROBE)
    }

    /// Takes the lock at `lock`, waiting for it up to `timeout`. Blocks the thread.
    ///
    /// # Errors
    /// [`OwnerError`].
    pub fn acquire(lock: &Path, what: &str, now: Timestamp, timeout: Duration) -> Result<Self, OwnerError> {
        let failed = |source| OwnerError::Io { path: lock.to_owned(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(lock)
            .map_err(failed)?;
        if !lock_within(&file, timeout).map_err(failed)? {
            return Err(OwnerError::Held { path: lock.to_owned(), holder: who(lock) });
        }
        let owner = Self { file };
        let holder = Holder { pid: std::process::id(), what: what.chars().take(64).collect(), since: now.seconds() };
        owner.write(&holder).map_err(failed)?;
        Ok(owner)
    }

    fn write(&self, holder: &Holder) -> io::Result<()> {
        let mut line = serde_json::to_vec(holder)?;
        line.push(b'\n');
        self.file.set_len(0)?;
        match self.file.write_all_at(&line, 0) {
            // The line is a courtesy: a full disk must not keep anyone from deleting runs.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            result => result,
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Closing the file gives the lock back; without its line nobody reads of an owner that is gone.
        let _ = self.file.set_len(0);
    }
}

/// Locks `file` for this process alone, waiting up to `timeout`; false where another holds it to the end.
pub(crate) fn lock_within(file: &File, timeout: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + timeout;
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(false);
                }
                std::thread::sleep(STEP.min(left));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a process holds the lock at `lock`. Needs no more than to read it.
///
/// # Errors
/// As `open(2)` and `flock(2)`, but for a lock file that is not there: that one has no owner.
pub fn is_owned(lock: &Path) -> io::Result<bool> {
    let file = match File::open(lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Who holds the lock at `lock`, where somebody does and wrote it down.
#[must_use]
pub fn who(lock: &Path) -> Option<Holder> {
    if !is_owned(lock).ok()? {
        return None;
    }
    let mut text = [0; MAX_HOLDER];
    let length = File::open(lock).ok()?.read_at(&mut text, 0).ok()?;
    serde_json::from_slice(text.get(..length)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_298_400_000_000);

    #[test]
    fn the_second_of_two_owners_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        assert!(!is_owned(&lock).unwrap(), "a home that nobody ever locked");
        let first = Owner::try_acquire(&lock, "backup", NOW).unwrap();
        assert!(is_owned(&lock).unwrap());
        let error = Owner::try_acquire(&lock, "serve", NOW).unwrap_err();
        assert_eq!(error.code(), "HOME_IN_USE");
        assert!(error.retryable());
        assert!(error.to_string().contains(&format!("`backup` (process {})", std::process::id())), "{error}");
        assert_eq!(who(&lock).unwrap().since, 1_795_298_400);
        drop(first);
        assert!(!is_owned(&lock).unwrap());
        assert_eq!(who(&lock), None);
        Owner::try_acquire(&lock, "serve", NOW).unwrap();
    }

    #[test]
    fn a_wait_ends_when_the_lock_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        let first = Owner::try_acquire(&lock, "backup", NOW).unwrap();
        let waiting =
            std::thread::spawn(move || Owner::acquire(&lock, "prune", NOW, Duration::from_secs(30)).map(|_| ()));
        drop(first);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn what_a_dead_owner_wrote_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        std::fs::write(&lock, br#"{"pid":1,"what":"backup","since":1}"#).unwrap();
        assert!(!is_owned(&lock).unwrap());
        assert_eq!(who(&lock), None);
        Owner::try_acquire(&lock, "backup", NOW).unwrap();
    }

    #[test]
    fn a_lock_file_full_of_nonsense_is_still_a_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        let _first = Owner::try_acquire(&lock, "backup", NOW).unwrap();
        std::fs::write(&lock, vec![b'x'; 4096]).unwrap();
        assert!(is_owned(&lock).unwrap());
        assert_eq!(who(&lock), None);
        assert!(Owner::try_acquire(&lock, "serve", NOW).unwrap_err().to_string().contains("another process"));
    }
}
