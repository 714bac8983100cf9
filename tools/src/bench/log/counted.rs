//! The system's disk, with a count of what the journal does to it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_log::{Disk, SystemDisk};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counted {
    syncs: AtomicU64,
    bytes: AtomicU64,
}

impl Counted {
    /// Syncs so far.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Disk for Counted {
    fn create(&self, path: &Path, header: &[u8]) -> io::Result<File> {
        SystemDisk.create(path, header)
    }

    fn reserve(&self, path: &Path, file: &File, offset: u64, length: u64) -> io::Result<()> {
        SystemDisk.reserve(path, file, offset, length)
    }

    fn write(&self, path: &Path, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        SystemDisk.write(path, file, bytes, offset)
    }

    fn sync(&self, path: &Path, file: &File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        SystemDisk.sync(path, file)
    }

    fn truncate(&self, path: &Path, file: &File, length: u64) -> io::Result<()> {
        SystemDisk.truncate(path, file, length)
    }
}
