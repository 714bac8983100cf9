//! File operations that are on stable storage when they return.
//!
//! A name is durable only once the folder that holds it is synced, and a file's bytes only once the file is. Each step
//! passes a [fault point](crate::fault), before and after, so that tests can stop the process at every one of them.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use crate::fault;

/// Syncs a file's bytes and metadata.
///
/// # Errors
/// As `fsync(2)`. A failed sync must never be repeated as if it could succeed: the kernel has dropped the pages.
pub fn sync_file(file: &File) -> io::Result<()> {
    fault::point("fsync.before");
    file.sync_all()?;
    fault::point("fsync.after");
    Ok(())
}

/// Syncs the names in a folder.
///
/// # Errors
/// As `open(2)` and `fsync(2)`.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    fault::point("sync-dir.before");
    File::open(dir)?.sync_all()?;
    fault::point("sync-dir.after");
    Ok(())
}

/// Renames `from` to `to` where nothing is at `to`. Not durable before both parents are synced.
///
/// # Errors
/// `AlreadyExists` where something is; else as `renameat2(2)`.
pub fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    fault::point("rename.before");
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system knows the flag (NFS, some FUSE): check first, as well as can be done there.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            if to.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(from, to)?;
        }
        result => result?,
    }
    fault::point("rename.after");
    Ok(())
}

/// Renames `from` to `to`, replacing what is there, and syncs the folder of both. They must be in the same folder.
///
/// # Errors
/// As `rename(2)` and [`sync_dir`].
pub fn rename_synced(from: &Path, to: &Path) -> io::Result<()> {
    fault::point("rename.before");
    std::fs::rename(from, to)?;
    fault::point("rename.after");
    sync_dir(parent(to))
}

/// Writes a file as a whole or not at all: temp name beside it, write, fsync, rename over it, fsync of the folder.
///
/// # Errors
/// As the calls under it; the old file, if there was one, is then untouched and the temp file gone.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temp = path.with_file_name(name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temp)?;
        // One that a process before left, or that others made, keeps its own mode otherwise.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        sync_file(&file)?;
        rename_synced(&temp, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temp);
    }
    written
}

/// Makes a folder with `mode` if it is not there, durably.
///
/// # Errors
/// As `mkdir(2)` and [`sync_dir`].
pub fn make_dir(dir: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(mode).create(dir) {
        Ok(()) => sync_dir(parent(dir)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// The folder a path lies in; `.` for a bare name.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// `path` with `suffix` added to its file name.
#[must_use]
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}
