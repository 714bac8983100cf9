//! Where a given path is: the folder it lies in and its name there, with all symbolic links followed as a backup follows them.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::error::FilesError;
use super::super::facts::Facts;
use super::super::mounts;
use super::super::raw_path::RawPath;
use super::super::spec::{FilesSpec, StoredNames, given};
use super::error::{ReplaceError, failed};

/// A given path, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// As given.
    pub(super) path: PathBuf,
    /// Its first component in the stream.
    pub(super) stored: RawPath,
    /// The folder it lies in, without symbolic links on the way.
    pub(super) parent: PathBuf,
    /// Its name there.
    pub(super) name: CString,
    /// The lowest folder on the way that is there: the parent, or one above it.
    pub(super) there: PathBuf,
}

impl Site {
    /// Those of all given paths, in their order.
    pub(super) fn all(spec: &FilesSpec) -> Result<Vec<Self>, ReplaceError> {
        let mut names = StoredNames::default();
        spec.paths.iter().map(|path| Self::of(path, &mut names)).collect()
    }

    fn of(path: &Path, names: &mut StoredNames) -> Result<Self, ReplaceError> {
        if !path.is_absolute() {
            return Err(FilesError::NotAbsolute { path: path.to_owned() }.into());
        }
        let (real, there) = resolve(path)?;
        let stored = names.next(path, &real);
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(ReplaceError::Mounted { path: path.to_owned() });
        };
        let name = CString::new(name.as_bytes()).map_err(failed("find", path))?;
        let there = if there == real { parent.to_owned() } else { there };
        Ok(Self { path: path.to_owned(), stored, parent: parent.to_owned(), name, there })
    }

    /// Where it is, without symbolic links on the way.
    pub(super) fn real(&self) -> PathBuf {
        self.parent.join(OsStr::from_bytes(self.name.as_bytes()))
    }

    /// Refuses what cannot be exchanged. `own` are files and folders that Holdfast itself works with.
    pub(super) fn check(&self, own: &[PathBuf]) -> Result<(), ReplaceError> {
        let real = self.real();
        if let Some(own) = own.iter().find(|own| own.starts_with(&real)) {
            return Err(ReplaceError::HoldsOwn { path: self.path.clone(), own: own.clone() });
        }
        if let Some(own) = own.iter().find(|own| real.starts_with(own)) {
            return Err(ReplaceError::HoldsOwn { path: self.path.clone(), own: own.clone() });
        }
        self.check_mounts()?;
        let refused = |path: &Path| {
            let path = path.to_owned();
            move |source| ReplaceError::NotPermitted { path, source }
        };
        let write = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(CWD, &self.there, write, AtFlags::EACCESS).map_err(refused(&self.there))?;
        // A folder that gets another parent changes itself.
        if std::fs::symlink_metadata(&real).is_ok_and(|facts| facts.is_dir()) {
            rustix::fs::accessat(CWD, &real, write | Access::READ_OK, AtFlags::EACCESS).map_err(refused(&real))?;
        }
        Ok(())
    }

    /// Refuses a mount point, and what has one below it.
    pub(super) fn check_mounts(&self) -> Result<(), ReplaceError> {
        let real = self.real();
        let mounted = mounts::mounted_at_or_below(&real).map_err(failed("read the mounts at", &real))?;
        match mounted {
            None => Ok(()),
            Some(point) if point == real => Err(ReplaceError::Mounted { path: self.path.clone() }),
            Some(below) => Err(ReplaceError::MountedBelow { path: self.path.clone(), below }),
        }
    }

    /// Opens the folder it lies in, one below the other from `/` on and never through a symbolic link. `create` makes those that
    /// are not there, durably.
    pub(super) fn open_parent(&self, create: bool) -> Result<OwnedFd, ReplaceError> {
        let fail = |errno: Errno| match errno {
            Errno::NOTDIR | Errno::LOOP => ReplaceError::NoWay { path: self.path.clone(), way: self.parent.clone() },
            errno => failed("open", &self.parent)(errno),
        };
        let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = rustix::fs::openat(CWD, "/", way, Mode::empty()).map_err(fail)?;
        for name in self.parent.components().filter_map(normal) {
            folder = match rustix::fs::openat(&folder, name, way, Mode::empty()) {
                Err(Errno::NOENT) if create => {
                    match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(fail(errno)),
                    }
                    sync_folder(&folder).map_err(failed("sync the way to", &self.path))?;
                    rustix::fs::openat(&folder, name, way, Mode::empty()).map_err(fail)?
                }
                next => next.map_err(fail)?,
            };
        }
        listed(&folder).map_err(fail)
    }

    /// What is there now; `None` for nothing.
    pub(super) fn live(&self, parent: impl AsFd) -> Result<Option<Facts>, ReplaceError> {
        match Facts::at(parent, &self.name) {
            Ok(facts) => Ok(Some(facts)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("look at", &self.path)(errno)),
        }
    }
}

/// Refuses given paths that lie in each other.
pub(super) fn check_apart(sites: &[Site]) -> Result<(), ReplaceError> {
    let mut places: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    for site in sites {
        let overlap = |outer: &Path| ReplaceError::Overlap { inner: site.path.clone(), outer: outer.to_owned() };
        if let Some(outer) = places.insert(site.real(), &site.path) {
            return Err(overlap(outer));
        }
    }
    for (real, given) in &places {
        let around = real.ancestors().skip(1).find_map(|around| places.get(around));
        if let Some(outer) = around {
            return Err(ReplaceError::Overlap { inner: (*given).to_owned(), outer: (*outer).to_owned() });
        }
    }
    Ok(())
}

/// Follows a given path, and says what of it is there.
fn resolve(path: &Path) -> Result<(PathBuf, PathBuf), ReplaceError> {
    let mut missing = Vec::new();
    let mut around = path;
    loop {
        match std::fs::canonicalize(around) {
            Ok(there) if missing.is_empty() => return Ok((there.clone(), there)),
            Ok(there) if there.is_dir() => {
                let real = missing.iter().rev().fold(there.clone(), |path, name| path.join(name));
                return Ok((real, there));
            }
            Ok(way) => return Err(ReplaceError::NoWay { path: path.to_owned(), way }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) => return Err(given(path, error).into()),
        }
        if around.symlink_metadata().is_ok_and(|facts| facts.is_symlink()) {
            return Err(ReplaceError::Dangling { path: around.to_owned() });
        }
        // A path that goes up from what is not there means nothing.
        let (Some(parent), Some(name)) = (around.parent(), around.file_name()) else {
            return Err(FilesError::Missing { path: path.to_owned() }.into());
        };
        missing.push(name.to_owned());
        around = parent;
    }
}

fn normal(component: Component<'_>) -> Option<&OsStr> {
    match component {
        Component::Normal(name) => Some(name),
        _ => None,
    }
}

/// A folder that was opened for its place only, opened to be listed and synced.
fn listed(folder: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(folder, c".", flags, Mode::empty())
}

fn sync_folder(folder: impl AsFd) -> Result<(), Errno> {
    rustix::fs::fsync(listed(folder)?)
}

/// Opens a folder in an open folder, not through a symbolic link.
pub(super) fn open_folder(folder: impl AsFd, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Whether these are of a folder.
pub(super) fn is_folder(facts: &Facts) -> bool {
    facts.kind == FileType::Directory
}
