//! The folder that is restored into, and the way to places in it that never leads out.
//!
//! A path of the stream is taken apart before anything is done with it; `..`, a path from `/` on and a NUL byte are
//! refused. Then each folder on the way is opened below the one before without following symbolic links. So neither the
//! stream, by first making a link and then a file "in" it, nor another process, by swapping a folder for a link,
//! directs a write elsewhere.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::error::FilesError;
use super::raw_path::RawPath;

/// Longest path that is stored or restored, in bytes.
pub(super) const MAX_PATH: usize = 64 * 1024;
/// How many levels keep their folder open.
const HELD: usize = 32;

/// A path that stays below the target: components other than `.` and `..` with one `/` between them. Empty for the
/// target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inside(Vec<u8>);

impl Inside {
    /// Checks a path of the stream.
    pub(super) fn check(path: &RawPath) -> Result<Self, FilesError> {
        let refuse = |reason: &str| Err(FilesError::Refused { path: path.clone(), reason: reason.to_owned() });
        let bytes = path.as_bytes();
        if bytes.is_empty() {
            return refuse("its path is empty");
        }
        if bytes.first() == Some(&b'/') {
            return refuse("its path begins at `/`");
        }
        if bytes.contains(&0) {
            return refuse("its path has a NUL byte");
        }
        if bytes.len() > MAX_PATH {
            return refuse("its path is longer than 64 KiB");
        }
        let mut inside = Vec::with_capacity(bytes.len());
        for name in bytes.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
            if name == b".." {
                return refuse("its path goes up by `..`");
            }
            if !inside.is_empty() {
                inside.push(b'/');
            }
            inside.extend_from_slice(name);
        }
        Ok(Self(inside))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn into_path(self) -> RawPath {
        RawPath::new(self.0)
    }

    /// The folder's path and the last name. `None` for the target itself.
    pub(super) fn split(&self) -> Option<(&[u8], CString)> {
        let (parent, name) = match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (self.0.get(..slash)?, self.0.get(slash + 1..)?),
            None => (&[][..], self.0.as_slice()),
        };
        if name.is_empty() {
            return None;
        }
        Some((parent, CString::new(name).ok()?))
    }
}

/// A name in an open folder of the target.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) folder: Arc<OwnedFd>,
    pub(super) name: CString,
}

/// A folder on the way to the last place that was asked for.
struct Level {
    name: CString,
    fd: Option<Arc<OwnedFd>>,
}

/// Opens folders of the target.
pub(super) struct Target {
    root: Arc<OwnedFd>,
    levels: Vec<Level>,
}

impl Target {
    /// Opens the target itself; here symbolic links are the user's own and followed.
    pub(super) fn open(path: &Path) -> Result<Self, FilesError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
            Ok(root) => Ok(Self { root: Arc::new(root), levels: Vec::new() }),
            Err(errno) => Err(FilesError::NoTarget { path: path.to_path_buf(), source: errno.into() }),
        }
    }

    /// A target that is open.
    pub(super) fn of_folder(root: OwnedFd) -> Self {
        Self { root: Arc::new(root), levels: Vec::new() }
    }

    /// Opens a folder; `create` makes what is missing on the way, for this user only. Places are mostly asked for in
    /// the order of the tree: what is still open of the last one is used.
    pub(super) fn folder(&mut self, path: &[u8], create: bool) -> Result<Arc<OwnedFd>, Errno> {
        let names = || path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let common = self.levels.iter().zip(names()).take_while(|(level, name)| level.name.as_bytes() == *name).count();
        self.levels.truncate(common);
        let open = self.levels.iter().rposition(|level| level.fd.is_some());
        let mut current =
            open.and_then(|index| self.levels.get(index)?.fd.clone()).unwrap_or_else(|| self.root.clone());
        for index in open.map_or(0, |index| index + 1)..common {
            let Some(level) = self.levels.get_mut(index) else { break };
            current = Arc::new(enter(&current, &level.name)?);
            level.fd = Some(current.clone());
            self.release(index);
        }
        for name in names().skip(common) {
            let name = CString::new(name).map_err(|_| Errno::INVAL)?;
            let fd = match enter(&current, &name) {
                Err(Errno::NOENT) if create => {
                    match rustix::fs::mkdirat(&current, &name, Mode::RWXU) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    enter(&current, &name)?
                }
                result => result?,
            };
            current = Arc::new(fd);
            self.levels.push(Level { name, fd: Some(current.clone()) });
            self.release(self.levels.len() - 1);
        }
        Ok(current)
    }

    /// Closes the level that is too far above this one to be held.
    fn release(&mut self, index: usize) {
        if let Some(level) = index.checked_sub(HELD).and_then(|above| self.levels.get_mut(above)) {
            level.fd = None;
        }
    }
}

/// Opens the target of what lies below one name at the top.
pub(super) type OpenTop<'a> = &'a mut dyn FnMut(&[u8]) -> Result<Target, FilesError>;

/// Where members of a stream go.
pub(super) enum Targets<'a> {
    /// All into one folder.
    One(Target),
    /// What lies below each name at the top into a folder of its own. Who opens them refuses names that do not belong, so there
    /// are few.
    ByTop {
        /// Opens one.
        open: OpenTop<'a>,
        /// Those that are open.
        opened: HashMap<Vec<u8>, Target>,
    },
}

impl<'a> Targets<'a> {
    pub(super) fn by_top(open: OpenTop<'a>) -> Self {
        Self::ByTop { open, opened: HashMap::new() }
    }

    /// The one for this path.
    pub(super) fn of(&mut self, path: &[u8]) -> Result<&mut Target, FilesError> {
        match self {
            Self::One(target) => Ok(target),
            Self::ByTop { open, opened } => {
                let top = path.split(|byte| *byte == b'/').next().unwrap_or_default();
                match opened.entry(top.to_vec()) {
                    Entry::Occupied(found) => Ok(found.into_mut()),
                    Entry::Vacant(vacant) => Ok(vacant.insert(open(top)?)),
                }
            }
        }
    }
}

fn enter(folder: impl AsFd, name: &CString) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(path: &str) -> Option<String> {
        Inside::check(&RawPath::from(path)).ok().map(|inside| inside.into_path().to_string())
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in ["", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", "a\0b", "a/./../.."] {
            assert_eq!(inside(path), None, "{path}");
        }
        assert_eq!(inside("a/b").as_deref(), Some("a/b"));
        assert_eq!(inside("./a//b/").as_deref(), Some("a/b"));
        assert_eq!(inside("a/...").as_deref(), Some("a/..."));
        assert_eq!(inside("./").as_deref(), Some(""));
        assert_eq!(inside(&"a/".repeat(MAX_PATH / 2 + 1)), None);
    }

    #[test]
    fn folders_are_found_again_after_any_detour() {
        let temp = tempfile::tempdir().unwrap();
        let mut target = Target::open(temp.path()).unwrap();
        let deep = ["d"; 200].join("/");
        target.folder(deep.as_bytes(), true).unwrap();
        for depth in [200, 3, 150, 1, 199, 0] {
            let path = vec!["d"; depth].join("/");
            let fd = target.folder(path.as_bytes(), false).unwrap();
            let expected = temp.path().join(&path);
            let (found, expected) = (rustix::fs::fstat(&fd).unwrap(), rustix::fs::stat(&expected).unwrap());
            assert_eq!(found.st_ino, expected.st_ino, "{depth}");
        }
        assert_eq!(target.folder(b"d/x/y", false).err(), Some(Errno::NOENT));
        std::os::unix::fs::symlink("/", temp.path().join("out")).unwrap();
        assert!(target.folder(b"out", true).is_err());
        assert!(target.folder(b"out/tmp", true).is_err());
    }
}
