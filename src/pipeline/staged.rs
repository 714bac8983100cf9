//! A file that gets its name when it is whole, and leaves nothing behind when it is not.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_log::{durable, space};
use holdfast_model::ids::ArtifactName;

use super::error::PipelineError;

/// Makes temp names differ, so that a writer that outlived its time never removes a later one's file.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file under a temp name beside its target: `.<name>.<process>-<number>.tmp`. Dropped before [`Staged::keep`], it is removed.
#[derive(Debug)]
pub(crate) struct Staged {
    file: File,
    /// Where it lies now.
    at: PathBuf,
    target: PathBuf,
    reserve: u64,
    kept: bool,
}

impl Staged {
    /// Makes the file, 0600, in `dir`; writes to it leave `reserve` bytes free on the disk.
    pub(crate) fn create(dir: &Path, name: &ArtifactName, reserve: u64) -> Result<Self, PipelineError> {
        let target = dir.join(name.as_str());
        if target.symlink_metadata().is_ok() {
            return Err(PipelineError::Exists { path: target });
        }
        loop {
            let at = dir.join(format!(".{name}.{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&at) {
                Ok(file) => return Ok(Self { file, at, target, reserve, kept: false }),
                // What a dead process left; its owner sweeps it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(PipelineError::io("create", &at)(error)),
            }
        }
    }

    /// The same file for somebody who only reads it.
    pub(crate) fn reader(&self) -> Result<File, PipelineError> {
        File::open(&self.at).map_err(PipelineError::io("open", &self.at))
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Appends `bytes`, unless the disk's reserve would be touched.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), PipelineError> {
        let free = space::free(&self.at).map_err(PipelineError::io("find the room for", &self.target))?;
        if free < self.reserve.saturating_add(bytes.len() as u64) {
            return Err(self.full(free));
        }
        self.file.write_all(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => self.full(free),
            _ => PipelineError::io("write", &self.target)(error),
        })
    }

    fn full(&self, free: u64) -> PipelineError {
        PipelineError::StorageFull { path: self.target.clone(), free, reserve: self.reserve }
    }

    /// Brings its bytes to stable storage.
    pub(crate) fn sync(&self) -> Result<(), PipelineError> {
        durable::sync_file(&self.file).map_err(PipelineError::io("sync", &self.target))
    }

    /// Gives it its name, where nothing has that name. Not durable before the folder is synced.
    pub(crate) fn rename(&mut self) -> Result<(), PipelineError> {
        durable::rename_no_replace(&self.at, &self.target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => PipelineError::Exists { path: self.target.clone() },
            _ => PipelineError::io("rename", &self.at)(error),
        })?;
        self.at.clone_from(&self.target);
        Ok(())
    }

    /// From now on it stays.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept {
            // Best effort: what stays is a dotfile that no manifest names, or one that the next try's discard removes.
            let _ = std::fs::remove_file(&self.at);
        }
    }
}
