//! The walk over the given paths, the same for [`scan`](super::scan()) and [`write`](super::write()).
//!
//! Folders are opened one below the other, never through a symbolic link, and held open while their contents are
//! visited: what moves meanwhile leads nowhere else, and no path is too long. Only the deepest [`HELD`] levels stay
//! open; further up a folder is opened again from below by `..` and must then be the one it was.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::FilesError;
use super::facts::{Facts, FileId};
use super::mounts::Mounts;
use super::names::Names;
use super::report::Report;
use super::rules::{self, Rules};
use super::spec::{self, Env, FilesSpec, Source};
use super::target::MAX_PATH;

/// How many levels keep their folder open.
const HELD: usize = 64;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where the walk is.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// Path in the stream.
    pub(super) stored: &'a [u8],
    source: &'a Source,
}

impl Place<'_> {
    /// Path on this machine, for messages.
    pub(super) fn path(&self) -> PathBuf {
        match self.stored.get(self.source.name.as_bytes().len() + 1..) {
            Some(below) if !below.is_empty() => self.source.path.join(OsStr::from_bytes(below)),
            _ => self.source.path.clone(),
        }
    }
}

/// What is done with what the walk finds.
pub(super) trait Visitor {
    /// A folder, before its contents. Without `fd` where it could not be opened.
    fn folder(&mut self, at: Place<'_>, fd: Option<BorrowedFd<'_>>, facts: &Facts) -> Result<(), FilesError>;

    /// Anything else: a name in an open folder that said it is a `kind`, which may have changed since.
    fn leaf(&mut self, at: Place<'_>, parent: BorrowedFd<'_>, name: &CStr, kind: FileType) -> Result<(), FilesError>;
}

/// A folder whose contents are being visited.
struct Level {
    fd: Option<OwnedFd>,
    id: FileId,
    names: Names,
    /// Length of its stored path.
    length: usize,
    /// Only the tag of this cache is visited.
    cache: bool,
}

/// Visits all that is to be backed up.
pub(super) fn walk(
    spec: &FilesSpec,
    env: &Env,
    report: &Report<'_>,
    visitor: &mut dyn Visitor,
) -> Result<(), FilesError> {
    let sources = spec.sources(env)?;
    let mut rules = Rules::new(&spec.exclude)?;
    let mounts = Mounts::read();
    for source in &sources {
        Walk {
            source,
            env,
            mounts: &mounts,
            report,
            rules: &mut rules,
            one_file_system: spec.one_file_system,
            device: 0,
            stored: source.name.as_bytes().to_vec(),
            levels: Vec::new(),
            scratch: Vec::new(),
        }
        .run(visitor)?;
    }
    Ok(())
}

/// The walk over one given path.
struct Walk<'a> {
    source: &'a Source,
    env: &'a Env,
    mounts: &'a Mounts,
    report: &'a Report<'a>,
    rules: &'a mut Rules,
    one_file_system: bool,
    /// The file system of the given path.
    device: u64,
    stored: Vec<u8>,
    levels: Vec<Level>,
    scratch: Vec<u8>,
}

impl Walk<'_> {
    fn run(&mut self, visitor: &mut dyn Visitor) -> Result<(), FilesError> {
        self.report.check()?;
        let fail = |errno: Errno| spec::given(&self.source.path, errno.into());
        let facts = Facts::from(&rustix::fs::lstat(&self.source.real).map_err(fail)?);
        self.device = facts.id.device;
        if facts.kind == FileType::Directory {
            let fd = open_folder(CWD, self.source.real.as_os_str().as_bytes()).map_err(fail)?;
            let facts = Facts::of_fd(&fd).map_err(fail)?;
            self.device = facts.id.device;
            if self.mounts.is_pseudo(&fd, &facts) {
                self.warn("is a pseudo file system: it is never backed up");
                return visitor.folder(self.place(), Some(fd.as_fd()), &facts);
            }
            self.enter(fd, &facts, visitor)?;
            return self.levels(visitor);
        }
        let (Some(parent), Some(name)) = (self.source.real.parent(), self.source.real.file_name()) else {
            return Err(FilesError::Missing { path: self.source.path.clone() });
        };
        let parent = open_folder(CWD, parent.as_os_str().as_bytes()).map_err(fail)?;
        let name = std::ffi::CString::new(name.as_bytes()).map_err(|_| fail(Errno::INVAL))?;
        visitor.leaf(self.place(), parent.as_fd(), &name, facts.kind)
    }

    /// Visits a folder itself and makes it the deepest level.
    fn enter(&mut self, fd: OwnedFd, facts: &Facts, visitor: &mut dyn Visitor) -> Result<(), FilesError> {
        visitor.folder(self.place(), Some(fd.as_fd()), facts)?;
        let (names, failed) = Names::read(fd.as_fd(), &mut self.scratch);
        if let Some(errno) = failed {
            self.lose(&format!("could not be listed to its end ({errno}): part of its contents is missing"));
        }
        let length = self.stored.len();
        let cache = names.contains(rules::CACHE_TAG) && rules::is_cache(fd.as_fd());
        if cache && self.levels.is_empty() {
            self.warn("is marked as a cache by its CACHEDIR.TAG: its contents are left out");
        }
        if names.contains(rules::IGNORE_FILE) {
            let path = self.place().path().join(OsStr::from_bytes(rules::IGNORE_FILE.to_bytes()));
            self.rules.enter(fd.as_fd(), length, |reason| self.report.warn(&path, reason));
        }
        self.levels.push(Level { fd: Some(fd), id: facts.id, names, length, cache });
        let above = self.levels.len().checked_sub(HELD + 1).and_then(|index| self.levels.get_mut(index));
        if let Some(above) = above {
            above.fd = None;
        }
        Ok(())
    }

    /// Visits the contents of the open levels until none is left.
    fn levels(&mut self, visitor: &mut dyn Visitor) -> Result<(), FilesError> {
        while let Some(level) = self.levels.last_mut() {
            self.report.check()?;
            self.stored.truncate(level.length);
            let Some(parent) = &level.fd else {
                self.abandon();
                continue;
            };
            let Some((name, mut kind)) = level.names.next() else {
                self.leave();
                continue;
            };
            if level.cache && name != rules::CACHE_TAG {
                continue;
            }
            self.stored.push(b'/');
            self.stored.extend_from_slice(name.to_bytes());
            let at = Place { stored: &self.stored, source: self.source };
            if kind == FileType::Unknown {
                // Not every file system tells what a name is.
                kind = match Facts::at(parent, name) {
                    Ok(facts) => facts.kind,
                    Err(errno) => {
                        self.report.lose(&at.path(), &lost(errno));
                        continue;
                    }
                };
            }
            let is_folder = kind == FileType::Directory;
            if self.rules.leaves_out(&self.stored, self.source.name.as_bytes().len(), is_folder) {
                continue;
            }
            if self.stored.len() > MAX_PATH {
                self.report.lose(&at.path(), "has a path longer than 64 KiB: it is left out");
                continue;
            }
            if !is_folder {
                visitor.leaf(at, parent.as_fd(), name, kind)?;
                continue;
            }
            match open_folder(parent, name).and_then(|fd| Ok((Facts::of_fd(&fd)?, fd))) {
                Ok((facts, fd)) => self.folder(fd, &facts, visitor)?,
                Err(errno) => {
                    self.report.lose(&at.path(), &lost(errno));
                    // The folder itself can be stored if it is only closed to this user.
                    match Facts::at(parent, name) {
                        Ok(facts) if facts.kind == FileType::Directory => visitor.folder(at, None, &facts)?,
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// An open folder below a level: enters it, or visits it alone, or not at all.
    fn folder(&mut self, fd: OwnedFd, facts: &Facts, visitor: &mut dyn Visitor) -> Result<(), FilesError> {
        if self.env.skip.contains(&facts.id) {
            self.note("is Holdfast's own home: it is left out");
            return Ok(());
        }
        let elsewhere = self.levels.last().is_some_and(|level| level.id.device != facts.id.device);
        if elsewhere && self.mounts.is_pseudo(&fd, facts) {
            self.note("is a pseudo file system: its contents are left out");
            return visitor.folder(self.place(), Some(fd.as_fd()), facts);
        }
        if self.one_file_system && facts.id.device != self.device {
            self.note("is on another file system: its contents are left out");
            return visitor.folder(self.place(), Some(fd.as_fd()), facts);
        }
        self.enter(fd, facts, visitor)
    }

    /// Goes up from a level that is done.
    fn leave(&mut self) {
        let Some(done) = self.levels.pop() else { return };
        self.rules.leave(done.length);
        let (Some(level), Some(fd)) = (self.levels.last_mut(), done.fd) else { return };
        if level.fd.is_none() {
            level.fd =
                open_folder(&fd, c"..").ok().filter(|up| Facts::of_fd(up).is_ok_and(|facts| facts.id == level.id));
        }
    }

    /// Gives up a level whose folder could not be opened again.
    fn abandon(&mut self) {
        self.lose("was moved while its contents were read: the rest of them is missing");
        if let Some(level) = self.levels.pop() {
            self.rules.leave(level.length);
        }
    }

    fn place(&self) -> Place<'_> {
        Place { stored: &self.stored, source: self.source }
    }

    fn warn(&self, reason: &str) {
        self.report.warn(&self.place().path(), reason);
    }

    fn lose(&self, reason: &str) {
        self.report.lose(&self.place().path(), reason);
    }

    fn note(&self, reason: &str) {
        self.report.note(&self.place().path(), reason);
    }
}

/// Opens a folder for listing, without a trace in its access time where the system allows that.
fn open_folder(parent: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(&parent, name, FOLDER | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(&parent, name, FOLDER, Mode::empty()),
        result => result,
    }
}

/// Opens a regular file for reading; the caller checks that it is one. `O_NONBLOCK` lets the open return if it became a
/// pipe.
pub(super) fn open_file(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(parent, name, flags, Mode::empty()),
        result => result,
    }
}

/// Says why something is not in the backup.
pub(super) fn lost(errno: Errno) -> String {
    match errno {
        Errno::NOENT => "vanished before it was read".to_owned(),
        Errno::LOOP | Errno::NOTDIR => "was replaced by something else before it was read: it is left out".to_owned(),
        errno => format!("cannot be read ({errno}): it is left out"),
    }
}
