//! A folder that is walked in two trees at once.

use std::os::fd::OwnedFd;

use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::super::entry::Mtime;
use super::super::facts::{Facts, FileId};
use super::super::head::Head;
use super::super::names::Names;
use super::site::open_folder;

/// A folder of both trees that the walk is in.
pub(super) struct Level {
    pub(super) from: Option<OwnedFd>,
    pub(super) from_id: FileId,
    pub(super) to: Option<OwnedFd>,
    pub(super) to_id: FileId,
    pub(super) names: Names,
    /// Length of its path below the top.
    pub(super) length: usize,
    /// Whether all in it is kept.
    pub(super) all: bool,
    /// Whether only the tag in it is in a backup.
    pub(super) cache: bool,
    pub(super) new: New,
    /// What its attributes are once its contents are complete; of one that is in the backup only its time.
    pub(super) head: Head,
    pub(super) changed: bool,
}

/// Whether a folder is in the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum New {
    /// It is.
    No,
    /// It is made, because it is kept.
    Kept,
    /// It is made in case there is something in it that is kept.
    Tried,
}

/// The folder around this one, which must be the one it was.
pub(super) fn above(folder: &OwnedFd, id: FileId) -> Result<OwnedFd, Errno> {
    let up = open_folder(folder, c"..")?;
    if Facts::of_fd(&up)?.id == id { Ok(up) } else { Err(Errno::STALE) }
}

pub(super) fn only_changed(mtime: Mtime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
    }
}
