//! Room on the disk that the log and the artifacts share.
//!
//! A full disk must not stop a failure or a deletion from being recorded. Three things stand before that: a
//! [`preflight`] before work begins, a [`reserve`] at which artifact writers stop, and a [`Ballast`] file that is given
//! up when even the log finds no room.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use crate::durable;

/// The most that artifact writers leave free, in bytes.
pub const RESERVE: u64 = 64 << 20;

/// Why there is no room, or none could be found out.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// Less is free than the work needs.
    #[error(
        "{path} has {free} bytes free and {needed} are needed: free some room, delete old runs, or use a home on a larger disk",
        path = path.display()
    )]
    NotEnough {
        /// A path on the file system in question.
        path: PathBuf,
        /// Bytes free for this user.
        free: u64,
        /// Bytes the work needs, with what must stay free.
        needed: u64,
    },
    /// The file system did not say.
    #[error("cannot find out how much room {path} has: check the path and its permissions", path = path.display())]
    Io {
        /// The path asked about.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SpaceError {
    /// A stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotEnough { .. } => "NOT_ENOUGH_SPACE",
            Self::Io { .. } => "SPACE_UNKNOWN",
        }
    }

    /// Whether the same may succeed later without a change of configuration: room comes back.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::NotEnough { .. })
    }
}

/// Bytes free for this user on the file system of `path`.
///
/// # Errors
/// As `statvfs(3)`.
pub fn free(path: &Path) -> io::Result<u64> {
    let answer = rustix::fs::statvfs(path)?;
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}

/// Bytes that artifact writers leave free on the file system of `path`: [`RESERVE`], or 1 % of it where that is less.
///
/// # Errors
/// As `statvfs(3)`.
pub fn reserve(path: &Path) -> io::Result<u64> {
    let answer = rustix::fs::statvfs(path)?;
    Ok(RESERVE.min(answer.f_blocks.saturating_mul(answer.f_frsize) / 100))
}

/// Refuses work for which there is visibly no room: `estimate` bytes, and beyond them the larger of `min_free` and the
/// writers' [`reserve`]. Without an estimate only the latter is looked at.
///
/// # Errors
/// [`SpaceError::NotEnough`], or [`SpaceError::Io`] where the file system does not say.
pub fn preflight(path: &Path, min_free: u64, estimate: Option<u64>) -> Result<(), SpaceError> {
    let unknown = |source| SpaceError::Io { path: path.to_owned(), source };
    let free = free(path).map_err(unknown)?;
    let needed = min_free.max(reserve(path).map_err(unknown)?).saturating_add(estimate.unwrap_or(0));
    if free < needed {
        return Err(SpaceError::NotEnough { path: path.to_owned(), free, needed });
    }
    Ok(())
}

/// A file that holds room for the log's last words. It holds no data: it may be deleted at any time.
#[derive(Debug, Clone)]
pub struct Ballast {
    path: PathBuf,
    size: u64,
}

impl Ballast {
    /// Size of a ballast where the configuration names none, in bytes.
    pub const SIZE: u64 = 16 << 20;

    /// A ballast of `size` bytes at `path`. Touches nothing.
    #[must_use]
    pub fn new(path: PathBuf, size: u64) -> Self {
        Self { path, size }
    }

    /// Whether it is there in full.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.path.symlink_metadata().is_ok_and(|file| file.is_file() && file.len() == self.size)
    }

    /// Makes it if it is not there and as much again, with the writers' reserve, would stay free. Says whether it is
    /// there now: no room for it is no error.
    ///
    /// # Errors
    /// What the file system says, but for a full disk.
    pub fn ensure(&self) -> io::Result<bool> {
        if self.size == 0 || self.is_there() {
            return Ok(true);
        }
        let dir = durable::parent(&self.path);
        if free(dir)? < self.size.saturating_mul(2).saturating_add(reserve(dir)?) {
            return Ok(false);
        }
        // What lies there is a ballast half made, or one of another size.
        self.give_up()?;
        let made = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)?;
            self.fill(&mut file)?;
            durable::sync_file(&file)
        })();
        match made {
            Ok(()) => Ok(true),
            Err(error) => {
                self.give_up()?;
                if error.kind() == io::ErrorKind::StorageFull { Ok(false) } else { Err(error) }
            }
        }
    }

    /// Deletes it, to make room at once. Says whether there was one.
    ///
    /// # Errors
    /// As `unlink(2)`, but for a file that is not there.
    pub fn give_up(&self) -> io::Result<bool> {
        match std::fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn fill(&self, file: &mut File) -> io::Result<()> {
        match rustix::fs::fallocate(&*file, FallocateFlags::empty(), 0, self.size) {
            Ok(()) => return Ok(()),
            // Not every file system can set blocks aside: there, written zeros have to do.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        let zeros = [0; 64 << 10];
        let mut left = self.size;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(zeros.len()).min(zeros.len());
            file.write_all(zeros.get(..piece).unwrap_or(&zeros))?;
            left -= piece as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_ballast_holds_real_room_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path().join("ballast"), 1 << 20);
        assert!(!ballast.is_there());
        assert!(ballast.ensure().unwrap());
        assert!(ballast.is_there());
        assert!(dir.path().join("ballast").metadata().unwrap().blocks() * 512 >= 1 << 20);
        assert!(ballast.give_up().unwrap());
        assert!(!ballast.give_up().unwrap(), "a second time there is nothing to give");
        assert!(ballast.ensure().unwrap(), "it is made again");
    }

    #[test]
    fn a_ballast_half_made_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ballast"), b"short").unwrap();
        let ballast = Ballast::new(dir.path().join("ballast"), 1 << 20);
        assert!(!ballast.is_there());
        assert!(ballast.ensure().unwrap());
        assert!(ballast.is_there());
    }

    #[test]
    fn without_room_there_is_no_ballast_and_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path().join("ballast"), u64::MAX / 4);
        assert!(!ballast.ensure().unwrap());
        assert!(!dir.path().join("ballast").exists());
    }

    #[test]
    fn preflight_counts_the_estimate_and_what_must_stay_free() {
        let dir = tempfile::tempdir().unwrap();
        let free = free(dir.path()).unwrap();
        preflight(dir.path(), 0, None).unwrap();
        preflight(dir.path(), 0, Some(1)).unwrap();
        for (min_free, estimate) in [(0, Some(free)), (free * 2, None), (free, Some(free)), (u64::MAX, Some(1))] {
            let error = preflight(dir.path(), min_free, estimate).unwrap_err();
            assert_eq!(error.code(), "NOT_ENOUGH_SPACE");
            assert!(error.retryable());
        }
        assert_eq!(preflight(Path::new("/nowhere/at/all"), 0, None).unwrap_err().code(), "SPACE_UNKNOWN");
    }
}
