//! The few things the journal asks of a disk, so that a test can have one that fails.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::durable;

/// What the journal's writer does to files. Each call is about the file at `path`, which is open as `file`.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Makes a file that holds `header`; name and bytes are on stable storage when it returns. One that is there already is replaced.
    ///
    /// # Errors
    /// As the calls under it; nothing is left behind.
    fn create(&self, path: &Path, header: &[u8]) -> io::Result<File>;

    /// Takes room for `length` bytes at `offset`, without changing the file's length, so that a full disk shows now and not at the
    /// sync.
    ///
    /// # Errors
    /// As `fallocate(2)`, without those that say that the file system knows no such thing.
    fn reserve(&self, path: &Path, file: &File, offset: u64, length: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As `pwrite(2)`; a part may have been written.
    fn write(&self, path: &Path, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Brings the file's bytes and length to stable storage.
    ///
    /// # Errors
    /// As `fdatasync(2)`; what is on the disk is then not known.
    fn sync(&self, path: &Path, file: &File) -> io::Result<()>;

    /// Cuts the file to `length`.
    ///
    /// # Errors
    /// As `ftruncate(2)`.
    fn truncate(&self, path: &Path, file: &File, length: u64) -> io::Result<()>;
}

/// The disk as the system gives it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path, header: &[u8]) -> io::Result<File> {
        durable::write_atomic(path, header, 0o600)?;
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn reserve(&self, _: &Path, file: &File, offset: u64, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, offset, length) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&self, _: &Path, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, _: &Path, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn truncate(&self, _: &Path, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }
}

/// Whether an error says that the disk is full, a quota is reached, or the file may not grow.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
