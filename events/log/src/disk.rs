//! The few things the journal asks of a disk, so that a test can have one that fails.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::durable;

/// What the journal's writer does to files. Each call is about the file at `path`, which is open as `file`.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Makes a file that holds `header`; name and bytes are on stable storage when it returns. One that is there already is replaced.
    ///
    /// # Errors
    /// As the calls under it; nothing is left behind.
    fn create(&self, path: &Path, header: &[u8]) -> io::Result<File>;

    /// Takes room for `length` bytes at `offset`, the end of what is written, by writing zeros there: a full disk shows now and
    /// not at the sync, and what is written over them later needs no new length at its sync. They are not on stable storage
    /// when it returns. A disk may also do nothing.
    ///
    /// # Errors
    /// As `pwrite(2)`; a part may have been written, which does no harm.
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

/// What room is taken with.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The disk as the system gives it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path, header: &[u8]) -> io::Result<File> {
        durable::write_atomic(path, header, 0o600)?;
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn reserve(&self, _: &Path, file: &File, offset: u64, length: u64) -> io::Result<()> {
        let end = offset.saturating_add(length);
        let mut at = offset;
        while at < end {
            let piece = usize::try_from(end - at).unwrap_or(ZEROS.len()).min(ZEROS.len());
            let zeros = ZEROS.get(..piece).unwrap_or(&ZEROS);
            file.write_all_at(zeros, at)?;
            at += zeros.len() as u64;
        }
        Ok(())
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
