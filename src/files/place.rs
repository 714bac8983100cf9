//! Making one thing of the target: a file, a link, a device; and giving it its attributes.
//!
//! Something new is made where it belongs. Where something is already, and overwriting is allowed, the new one is made
//! beside it under a temp name and renamed over it: who reads the old one meanwhile has the old one whole. A file is
//! open to its owner alone until it has its owner, and gets setuid and its like only after that.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::entry::{Kind, Mtime};
use super::error::FilesError;
use super::extract::ExtractOptions;
use super::facts::Facts;
use super::head::Head;
use super::owners::Owners;
use super::raw_path::RawPath;
use super::report::Report;
use super::target::Spot;
use super::xattrs;

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// Makes things; shared by all threads of a restore.
pub(super) struct Placer<'a> {
    report: &'a Report<'a>,
    overwrite: bool,
    uid: u32,
    gid: u32,
    /// Names of this machine; `None` where owners are restored by number.
    owners: Option<Owners>,
    unowned: AtomicBool,
    serial: AtomicU64,
}

/// A file that is being written.
pub(super) struct NewFile<'s> {
    pub(super) file: File,
    spot: &'s Spot,
    /// Its name until it is complete, if not its own.
    temp: Option<CString>,
}

impl<'a> Placer<'a> {
    pub(super) fn new(options: &ExtractOptions, report: &'a Report<'a>) -> Self {
        Self {
            report,
            overwrite: options.overwrite,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            owners: (!options.numeric_owner).then(Owners::read),
            unowned: AtomicBool::new(false),
            serial: AtomicU64::new(0),
        }
    }

    /// Makes anything but a folder or a hard link, whole.
    pub(super) fn leaf(&self, spot: &Spot, head: &Head, content: &[u8]) -> Result<(), FilesError> {
        match head.kind {
            Kind::File => {
                let mut new = self.create(spot, head)?;
                match std::io::Write::write_all(&mut new.file, content) {
                    Ok(()) => self.finish(new, head),
                    Err(error) => {
                        self.discard(&new);
                        Err(FilesError::Restore { path: head.path.clone(), source: error })
                    }
                }
            }
            Kind::Symlink => self.symlink(spot, head),
            Kind::CharDevice => self.node(spot, head, FileType::CharacterDevice),
            Kind::BlockDevice => self.node(spot, head, FileType::BlockDevice),
            Kind::Fifo => self.node(spot, head, FileType::Fifo),
            Kind::Folder | Kind::HardLink => Ok(()),
        }
    }

    /// Begins a file.
    pub(super) fn create<'s>(&self, spot: &'s Spot, head: &Head) -> Result<NewFile<'s>, FilesError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Until it has its owner, nobody but this process's user may read it.
        let ours = self.owner(head).is_none_or(|owner| owner == (self.uid, self.gid));
        // Attributes of users can only be set on a file that its owner may write.
        let writable = if head.xattrs.is_empty() { 0 } else { 0o200 };
        let mode = Mode::from_raw_mode(if ours { head.mode & 0o777 | writable } else { 0o600 });
        let mut fd = None;
        let temp = self.make(spot, &head.path, |name| {
            fd = Some(rustix::fs::openat(&spot.folder, name, flags, mode)?);
            Ok(())
        })?;
        match fd {
            Some(fd) => Ok(NewFile { file: File::from(fd), spot, temp }),
            None => Err(restore(&head.path, Errno::IO)),
        }
    }

    /// Ends a file whose content is complete: gives it its attributes and its name.
    pub(super) fn finish(&self, new: NewFile<'_>, head: &Head) -> Result<(), FilesError> {
        self.attributes(new.file.as_fd(), head);
        self.rename(new.spot, new.temp, &head.path)
    }

    /// Removes a file whose content could not be written.
    pub(super) fn discard(&self, new: &NewFile<'_>) {
        let name = new.temp.as_ref().unwrap_or(&new.spot.name);
        // Already failing: the first error is the one to tell.
        let _ = rustix::fs::unlinkat(&new.spot.folder, name, AtFlags::empty());
    }

    /// Makes another name of something that is there. A symbolic link is not followed.
    pub(super) fn link(&self, spot: &Spot, path: &RawPath, to: &Spot) -> Result<(), FilesError> {
        let temp = self
            .make(spot, path, |name| rustix::fs::linkat(&to.folder, &to.name, &spot.folder, name, AtFlags::empty()))?;
        let leftover = temp.clone();
        self.rename(spot, temp, path)?;
        if let Some(name) = leftover {
            // Renaming over another name of the same file does nothing, by POSIX; then the temp name is still there.
            let _ = rustix::fs::unlinkat(&spot.folder, &name, AtFlags::empty());
        }
        Ok(())
    }

    fn symlink(&self, spot: &Spot, head: &Head) -> Result<(), FilesError> {
        let target = head.link.as_path();
        let temp = self.make(spot, &head.path, |name| rustix::fs::symlinkat(target, &spot.folder, name))?;
        let name = temp.as_ref().unwrap_or(&spot.name);
        self.attributes_at(spot, name, head);
        self.rename(spot, temp, &head.path)
    }

    fn node(&self, spot: &Spot, head: &Head, kind: FileType) -> Result<(), FilesError> {
        if kind != FileType::Fifo && self.uid != 0 {
            self.report.warn(head.path.as_path(), "is a device, which only root can make: it is left out");
            return Ok(());
        }
        let device = rustix::fs::makedev(head.device.major, head.device.minor);
        let mut forbidden = false;
        let temp = self.make(spot, &head.path, |name| {
            match rustix::fs::mknodat(&spot.folder, name, kind, Mode::RUSR | Mode::WUSR, device) {
                // As root of a container.
                Err(Errno::PERM) => {
                    forbidden = true;
                    Ok(())
                }
                result => result,
            }
        })?;
        if forbidden {
            self.report
                .warn(head.path.as_path(), "is a device, which the system does not let this user make: it is left out");
            return Ok(());
        }
        let name = temp.as_ref().unwrap_or(&spot.name);
        self.attributes_at(spot, name, head);
        self.mode_at(spot, name, head, kind);
        self.rename(spot, temp, &head.path)
    }

    /// Calls `make` with the thing's own name, or with a temp name where something has that name and may be replaced.
    fn make(
        &self,
        spot: &Spot,
        path: &RawPath,
        mut make: impl FnMut(&CStr) -> Result<(), Errno>,
    ) -> Result<Option<CString>, FilesError> {
        match make(&spot.name) {
            Ok(()) => return Ok(None),
            Err(Errno::EXIST) if self.overwrite => {}
            Err(Errno::EXIST) => return Err(FilesError::Exists { path: path.clone() }),
            Err(errno) => return Err(restore(path, errno)),
        }
        if Facts::at(&spot.folder, &spot.name).is_ok_and(|facts| facts.kind == FileType::Directory) {
            return Err(FilesError::OtherKind { path: path.clone() });
        }
        // Names that a killed restore left behind are passed over.
        for _ in 0..1000 {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            let name = format!(".holdfast-{}-{serial}", std::process::id());
            let name = CString::new(name).map_err(|_| restore(path, Errno::INVAL))?;
            match make(&name) {
                Ok(()) => return Ok(Some(name)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(restore(path, errno)),
            }
        }
        Err(restore(path, Errno::EXIST))
    }

    fn rename(&self, spot: &Spot, temp: Option<CString>, path: &RawPath) -> Result<(), FilesError> {
        let Some(temp) = temp else { return Ok(()) };
        rustix::fs::renameat(&spot.folder, &temp, &spot.folder, &spot.name).map_err(|errno| {
            let _ = rustix::fs::unlinkat(&spot.folder, &temp, AtFlags::empty());
            match errno {
                Errno::ISDIR | Errno::NOTEMPTY => FilesError::OtherKind { path: path.clone() },
                errno => restore(path, errno),
            }
        })
    }

    /// Who is to own it. `None` where this user cannot give things away.
    fn owner(&self, head: &Head) -> Option<(u32, u32)> {
        if self.uid != 0 {
            return None;
        }
        let by_name = self.owners.as_ref();
        let uid = by_name.and_then(|owners| owners.uid(&head.user)).unwrap_or(head.uid);
        let gid = by_name.and_then(|owners| owners.gid(&head.group)).unwrap_or(head.gid);
        Some((uid, gid))
    }

    /// Gives an open file or folder its owner, extended attributes, permissions and time. What the target cannot hold
    /// is a warning.
    pub(super) fn attributes(&self, fd: BorrowedFd<'_>, head: &Head) {
        let warn = |reason: &str| self.report.warn(head.path.as_path(), reason);
        let have = match Facts::of_fd(fd) {
            Ok(have) => have,
            Err(errno) => return warn(&format!("its attributes cannot be set ({errno})")),
        };
        let mut owned = (have.uid, have.gid);
        let mut changed = !head.xattrs.is_empty();
        if let Some(owner) = self.owner(head) {
            if owner != owned {
                changed = true;
                match rustix::fs::fchown(fd, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1))) {
                    Ok(()) => owned = owner,
                    Err(errno) => warn(&format!("its owner {}:{} cannot be set ({errno})", owner.0, owner.1)),
                }
            }
        } else if owned != (head.uid, head.gid) {
            self.note_unowned(head);
        }
        xattrs::set(fd, &head.xattrs, warn);
        let mode = self.allowed_mode(head, owned);
        // Both of the above change the mode: a new owner takes setuid away, an ACL sets the group's bits.
        let wrong = changed || have.mode != mode;
        if wrong && let Err(errno) = rustix::fs::fchmod(fd, Mode::from_raw_mode(mode)) {
            warn(&format!("its permissions {mode:o} cannot be set ({errno})"));
        }
        if let Err(errno) = rustix::fs::futimens(fd, &times(head.mtime)) {
            warn(&format!("its time cannot be set ({errno})"));
        }
    }

    /// The same by name, for what is not opened: owner and time.
    fn attributes_at(&self, spot: &Spot, name: &CStr, head: &Head) {
        let warn = |reason: &str| self.report.warn(head.path.as_path(), reason);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if let Some((uid, gid)) = self.owner(head) {
            let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            if let Err(errno) = rustix::fs::chownat(&spot.folder, name, owner.0, owner.1, flags) {
                warn(&format!("its owner {uid}:{gid} cannot be set ({errno})"));
            }
        } else if (self.uid, self.gid) != (head.uid, head.gid) {
            self.note_unowned(head);
        }
        if let Err(errno) = rustix::fs::utimensat(&spot.folder, name, &times(head.mtime), flags) {
            warn(&format!("its time cannot be set ({errno})"));
        }
    }

    /// Permissions of a pipe or device. Linux has no call that sets them by name without following a link, so the name
    /// is pinned down by a descriptor that opens nothing.
    fn mode_at(&self, spot: &Spot, name: &CStr, head: &Head, kind: FileType) {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let set = || {
            let fd = rustix::fs::openat(&spot.folder, name, flags, Mode::empty())?;
            let facts = Facts::of_fd(&fd)?;
            if facts.kind != kind {
                return Err(Errno::STALE);
            }
            let mode = Mode::from_raw_mode(self.allowed_mode(head, (facts.uid, facts.gid)));
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
            rustix::fs::chmodat(CWD, path.as_str(), mode, AtFlags::empty())
        };
        if let Err(errno) = set() {
            self.report.warn(head.path.as_path(), &format!("its permissions {:o} cannot be set ({errno})", head.mode));
        }
    }

    /// A program that runs as its owner must not come back as one that runs as somebody else.
    fn allowed_mode(&self, head: &Head, (uid, gid): (u32, u32)) -> u32 {
        let meant = self.owner(head).unwrap_or((head.uid, head.gid));
        let mut mode = head.mode;
        if uid != meant.0 {
            mode &= !SETUID;
        }
        if gid != meant.1 && head.kind != Kind::Folder {
            mode &= !SETGID;
        }
        mode
    }

    fn note_unowned(&self, head: &Head) {
        if !self.unowned.swap(true, Ordering::Relaxed) {
            let reason = "and maybe others were owned by other users: only root can restore owners, all is yours now";
            self.report.note(head.path.as_path(), reason);
        }
    }
}

fn times(mtime: Mtime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
    }
}

/// An error of the system about a path in the target.
pub(super) fn restore(path: &RawPath, errno: Errno) -> FilesError {
    FilesError::Restore { path: path.clone(), source: errno.into() }
}

/// An error about a folder on the way to a path in the target.
pub(super) fn on_the_way(path: &RawPath, errno: Errno) -> FilesError {
    match errno {
        Errno::NOTDIR | Errno::LOOP => {
            let reason = "a folder on the way to it is a link or a file in the target".to_owned();
            FilesError::Refused { path: path.clone(), reason }
        }
        errno => restore(path, errno),
    }
}
