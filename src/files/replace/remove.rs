//! Removing a tree by its name in an open folder.
//!
//! Each folder is opened below the one before and never through a symbolic link; the way up is by `..`, and must lead to the folder that
//! the way down came from. So what somebody moves meanwhile leads nowhere else, and no tree is too deep. Another file system in it is never
//! entered.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::super::facts::{Facts, FileId};
use super::super::names::Names;
use super::site::{is_folder, open_folder};

/// Removes what `name` is in `folder`, with all in it. Nothing there is no error.
///
/// # Errors
/// What the system said; `EXDEV` at another file system. A part of it is gone then.
pub(super) fn remove(folder: impl AsFd, name: &CStr) -> Result<(), Errno> {
    let top = match Facts::at(&folder, name) {
        Ok(facts) => facts,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    if !is_folder(&top) {
        return gone(rustix::fs::unlinkat(&folder, name, AtFlags::empty()));
    }
    let mut scratch = Vec::new();
    let mut current = enter(&folder, name, top.id.device)?;
    // The names of the folders on the way and the identities of those they are in; the first is in `folder`.
    let mut way: Vec<(CString, FileId)> = Vec::new();
    let mut level = read(&current, &mut scratch)?;
    let mut above: Vec<Names> = Vec::new();
    loop {
        match level.next() {
            Some((name, _)) => {
                let facts = match Facts::at(&current, name) {
                    Ok(facts) => facts,
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(errno),
                };
                if !is_folder(&facts) {
                    gone(rustix::fs::unlinkat(&current, name, AtFlags::empty()))?;
                    continue;
                }
                let below = enter(&current, name, top.id.device)?;
                way.push((name.to_owned(), Facts::of_fd(&current)?.id));
                current = below;
                above.push(std::mem::replace(&mut level, read(&current, &mut scratch)?));
            }
            None => {
                let (Some((name, around)), Some(names)) = (way.pop(), above.pop()) else { break };
                let up = open_folder(&current, c"..")?;
                if Facts::of_fd(&up)?.id != around {
                    return Err(Errno::STALE);
                }
                gone(rustix::fs::unlinkat(&up, &name, AtFlags::REMOVEDIR))?;
                (current, level) = (up, names);
            }
        }
    }
    gone(rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR))
}

/// Opens a folder whose contents are removed. One that its owner may not change is opened up first.
fn enter(folder: impl AsFd, name: &CStr, device: u64) -> Result<OwnedFd, Errno> {
    let opened = match open_folder(&folder, name) {
        Err(Errno::ACCESS) => {
            // The name is pinned down by a descriptor that opens nothing: a link in its place is not followed.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let pinned = rustix::fs::openat(&folder, name, flags, Mode::empty())?;
            let path = format!("/proc/self/fd/{}", pinned.as_raw_fd());
            rustix::fs::chmodat(CWD, path.as_str(), Mode::RWXU, AtFlags::empty())?;
            open_folder(&folder, name)?
        }
        opened => opened?,
    };
    let facts = Facts::of_fd(&opened)?;
    if facts.id.device != device {
        return Err(Errno::XDEV);
    }
    if facts.mode & 0o300 != 0o300 && facts.uid == rustix::process::geteuid().as_raw() {
        rustix::fs::fchmod(&opened, Mode::RWXU)?;
    }
    Ok(opened)
}

fn read(folder: &OwnedFd, scratch: &mut Vec<u8>) -> Result<Names, Errno> {
    let (names, failed) = Names::read(folder.as_fd(), scratch);
    failed.map_or(Ok(names), Err)
}

fn gone(removed: Result<(), Errno>) -> Result<(), Errno> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}
