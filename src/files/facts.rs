//! What the system says of a file, in one shape for all architectures.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;

use super::entry::{Device, Mtime};

/// Which file it is, for as long as it exists: device and inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Number of the file system.
    pub device: u64,
    /// Number of the file in it.
    pub inode: u64,
}

impl FileId {
    /// That of what `path` leads to, symbolic links followed.
    ///
    /// # Errors
    /// As `stat(2)`.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        Ok(Facts::from(&rustix::fs::stat(path)?).id)
    }
}

/// The part of `struct stat` that a backup needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) id: FileId,
    pub(super) kind: FileType,
    /// Permission bits, `0o7777` at most.
    pub(super) mode: u32,
    pub(super) links: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    /// Bytes that take up space.
    pub(super) allocated: u64,
    pub(super) mtime: Mtime,
    pub(super) device: Device,
}

impl Facts {
    pub(super) fn of_fd(fd: impl AsFd) -> Result<Self, Errno> {
        Ok(Self::from(&rustix::fs::fstat(fd)?))
    }

    /// Of a name in a folder, without following it.
    pub(super) fn at(folder: impl AsFd, name: &std::ffi::CStr) -> Result<Self, Errno> {
        Ok(Self::from(&rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }
}

impl From<&Stat> for Facts {
    // The fields' types differ between architectures; none loses anything here.
    #[allow(clippy::unnecessary_cast)]
    fn from(stat: &Stat) -> Self {
        let rdev = stat.st_rdev as u64;
        Self {
            id: FileId { device: stat.st_dev as u64, inode: stat.st_ino as u64 },
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: stat.st_mode as u32 & 0o7777,
            links: stat.st_nlink as u64,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            allocated: (stat.st_blocks as u64).saturating_mul(512),
            mtime: Mtime::from((stat.st_mtime as i64, stat.st_mtime_nsec as u32)),
            device: Device { major: rustix::fs::major(rdev), minor: rustix::fs::minor(rdev) },
        }
    }
}
