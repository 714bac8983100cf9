//! What is live and not in the backup, brought over into the restored tree.
//!
//! Two trees are walked together: the one that is replaced and the one that takes its place. Whether something is in the backup is seen in the
//! latter; nothing is held of either but the names of the folders that the walk is in. While it is staged, what is kept becomes a second
//! name of the same file; after the exchange, what came since is moved over.
//!
//! Where what is live and not in the backup is to be deleted, that is still kept which no backup takes: what an exclude pattern or a
//! `.holdfastignore` of either tree names, and in folders that are in the backup the contents of those marked as caches, and sockets. That it
//! is not in the backup says nothing.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, RenameFlags};
use rustix::io::Errno;

use super::super::entry::Kind;
use super::super::extract::ExtractOptions;
use super::super::facts::Facts;
use super::super::head::Head;
use super::super::names::Names;
use super::super::place::Placer;
use super::super::raw_path::RawPath;
use super::super::report::Report;
use super::super::rules::{self, Rules};
use super::super::xattrs;
use super::beside::is_of_a_restore;
use super::error::{ReplaceError, failed};
use super::level::{Level, New, above, only_changed};
use super::site::{is_folder, open_folder};

/// How many levels keep their folders open.
const HELD: usize = 64;

/// How something comes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// By a second name: the tree that is replaced is still live.
    Link,
    /// By its only name.
    Move,
}

/// What is kept of a tree, and how.
pub(super) struct Keep<'a> {
    pub(super) how: How,
    /// All, or only what no backup takes.
    pub(super) all: bool,
    pub(super) exclude: &'a [String],
    /// The given path, for messages.
    pub(super) path: &'a Path,
    pub(super) report: &'a Report<'a>,
}

struct Walk<'a> {
    keep: &'a Keep<'a>,
    placer: Placer<'a>,
    rules: [Rules; 2],
    device: u64,
    levels: Vec<Level>,
    /// As the rules have it: below a top without a name.
    path: Vec<u8>,
    scratch: Vec<u8>,
    brought: bool,
}

impl Keep<'_> {
    /// Brings over what is kept, from one folder into the other. Says whether there was anything.
    ///
    /// # Errors
    /// [`ReplaceError`]; part of it may have come over.
    pub(super) fn run(&self, from: OwnedFd, to: OwnedFd) -> Result<bool, ReplaceError> {
        let mut walk = Walk {
            keep: self,
            placer: Placer::new(&ExtractOptions::default(), self.report),
            rules: [Rules::new(self.exclude)?, Rules::new(self.exclude)?],
            device: 0,
            levels: Vec::new(),
            path: Vec::new(),
            scratch: Vec::new(),
            brought: false,
        };
        walk.device = Facts::of_fd(&from).map_err(failed("look at", self.path))?.id.device;
        walk.enter(from, to, self.all, New::No)?;
        while !walk.levels.is_empty() {
            self.report.check()?;
            walk.step()?;
        }
        Ok(walk.brought)
    }
}

impl Walk<'_> {
    fn shown(&self) -> PathBuf {
        match self.path.get(1..) {
            Some(below) => self.keep.path.join(OsStr::from_bytes(below)),
            None => self.keep.path.to_owned(),
        }
    }

    fn enter(&mut self, from: OwnedFd, to: OwnedFd, all: bool, new: New) -> Result<(), ReplaceError> {
        let fail = |errno: Errno| failed("list", self.shown())(errno);
        let facts = [Facts::of_fd(&from).map_err(fail)?, Facts::of_fd(&to).map_err(fail)?];
        if facts.iter().any(|facts| facts.id.device != self.device) {
            return Err(ReplaceError::MountedBelow { path: self.keep.path.to_owned(), below: self.shown() });
        }
        let (names, failing) = Names::read(from.as_fd(), &mut self.scratch);
        if let Some(errno) = failing {
            return Err(failed("list", self.shown())(errno));
        }
        let length = self.path.len();
        let cache = names.contains(rules::CACHE_TAG) && rules::is_cache(from.as_fd());
        if !self.keep.all {
            let path = self.shown().join(OsStr::from_bytes(rules::IGNORE_FILE.to_bytes()));
            for (rules, folder) in self.rules.iter_mut().zip([&from, &to]) {
                rules.enter(folder.as_fd(), length, |reason| self.keep.report.note(&path, reason));
            }
        }
        let [live, restored] = facts;
        let head = match new {
            New::No => Head { mtime: restored.mtime, ..Head::of(RawPath::default(), Kind::Folder) },
            New::Kept | New::Tried => {
                let xattrs = xattrs::read(from.as_fd(), &mut self.scratch, |reason| {
                    self.keep.report.warn(self.keep.path, reason);
                });
                Head {
                    mode: live.mode,
                    uid: live.uid,
                    gid: live.gid,
                    mtime: live.mtime,
                    xattrs,
                    ..Head::of(RawPath::new(self.path.get(1..).unwrap_or_default()), Kind::Folder)
                }
            }
        };
        let (from_id, to_id) = (live.id, restored.id);
        self.levels.push(Level {
            from: Some(from),
            from_id,
            to: Some(to),
            to_id,
            names,
            length,
            all,
            cache,
            new,
            head,
            changed: new != New::No,
        });
        let above = self.levels.len().checked_sub(HELD + 1).and_then(|index| self.levels.get_mut(index));
        if let Some(above) = above {
            (above.from, above.to) = (None, None);
        }
        Ok(())
    }

    /// Does the next name of the innermost folder, or leaves it.
    fn step(&mut self) -> Result<(), ReplaceError> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        self.path.truncate(level.length);
        let Some((name, _)) = level.names.next() else { return self.leave() };
        let name = name.to_owned();
        let (all, cache, tried) = (level.all, level.cache, level.new == New::Tried);
        let (Some(from), Some(to)) = (&level.from, &level.to) else {
            return Err(failed("go back to", self.shown())(Errno::STALE));
        };
        self.path.push(b'/');
        self.path.extend_from_slice(name.to_bytes());
        if is_of_a_restore(name.to_bytes()) {
            return Ok(());
        }
        let live = match Facts::at(from, &name) {
            Ok(facts) => facts,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed("look at", self.shown())(errno)),
        };
        let restored = match Facts::at(to, &name) {
            Ok(facts) => Some(facts),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(failed("look at", self.shown())(errno)),
        };
        let folder = is_folder(&live);
        let never_taken = || {
            (!tried && live.kind == FileType::Socket)
                || (!tried && cache && name.as_c_str() != rules::CACHE_TAG)
                || self.rules.iter().any(|rules| rules.leaves_out(&self.path, 0, folder))
        };
        let wanted = all || never_taken();
        match restored {
            Some(restored) if folder && is_folder(&restored) => {
                let opened = open_folder(from, &name).and_then(|live| Ok((live, open_folder(to, &name)?)));
                let (from, to) = opened.map_err(failed("open", self.shown()))?;
                self.enter(from, to, wanted, New::No)
            }
            Some(_) if folder && self.keep.all && self.keep.how == How::Link => {
                Err(ReplaceError::FolderInTheWay { path: self.shown() })
            }
            // The backup has something else there.
            Some(_) => Ok(()),
            None if folder && (self.keep.how == How::Link || !wanted) => self.make(&name, wanted),
            None if wanted => self.bring(&name),
            None => Ok(()),
        }
    }

    /// Brings something over.
    fn bring(&mut self, name: &CStr) -> Result<(), ReplaceError> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let (Some(from), Some(to)) = (&level.from, &level.to) else { return Ok(()) };
        let brought = match self.keep.how {
            How::Link => rustix::fs::linkat(from, name, to, name, AtFlags::empty()),
            How::Move => rustix::fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE),
        };
        match brought {
            // It went away, or somebody made one of its name meanwhile.
            Err(Errno::NOENT | Errno::EXIST) => return Ok(()),
            Err(source) => return Err(ReplaceError::NotKept { path: self.shown(), source }),
            Ok(()) => {}
        }
        level.changed = true;
        self.brought = true;
        Ok(())
    }

    /// Makes a folder that is not in the backup, and goes into it.
    fn make(&mut self, name: &CStr, wanted: bool) -> Result<(), ReplaceError> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let (Some(from), Some(to)) = (&level.from, &level.to) else { return Ok(()) };
        let opened = open_folder(from, name).and_then(|live| {
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let made = open_folder(to, name)?;
            xattrs::remove_acls(made.as_fd())?;
            Ok((live, made))
        });
        level.changed = true;
        let (from, to) = opened.map_err(|source| ReplaceError::NotKept { path: self.shown(), source })?;
        self.brought |= wanted;
        self.enter(from, to, wanted, if wanted { New::Kept } else { New::Tried })
    }

    /// Goes up from a folder that is done, and gives it its attributes.
    fn leave(&mut self) -> Result<(), ReplaceError> {
        let Some(done) = self.levels.pop() else { return Ok(()) };
        if !self.keep.all {
            self.rules.iter_mut().for_each(|rules| rules.leave(done.length));
        }
        let fail = failed("complete", self.shown());
        let (Some(from), Some(to)) = (done.from, done.to) else { return Err(fail(Errno::STALE)) };
        if let Some(level) = self.levels.last_mut() {
            if level.from.is_none() {
                level.from = Some(above(&from, level.from_id).map_err(failed("go back from", self.keep.path))?);
            }
            if level.to.is_none() {
                level.to = Some(above(&to, level.to_id).map_err(failed("go back from", self.keep.path))?);
            }
            let name = self.path.get(level.length + 1..).map(std::ffi::CString::new);
            if done.new == New::Tried
                && let (Some(Ok(name)), Some(around)) = (name, &level.to)
                && rustix::fs::unlinkat(around, &name, AtFlags::REMOVEDIR).is_ok()
            {
                return Ok(());
            }
        }
        match done.new {
            New::No if done.changed => rustix::fs::futimens(&to, &only_changed(done.head.mtime)).map_err(fail),
            New::No => Ok(()),
            New::Kept | New::Tried => {
                self.placer.attributes(to.as_fd(), &done.head);
                Ok(())
            }
        }
    }
}
