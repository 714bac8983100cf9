//! What to back up, and the checks made before the first byte.

use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::error::FilesError;
use super::facts::{Facts, FileId};
use super::raw_path::{self, RawPath};
use super::rules::Rules;

/// What to back up. Its JSON form is recorded with a run and read again by later versions: fields are only ever added,
/// with a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesSpec {
    /// Absolute paths of folders or files. A symbolic link is followed.
    #[serde(with = "raw_path::list")]
    pub paths: Vec<PathBuf>,
    /// Patterns of what to leave out, in gitignore syntax, relative to each of the paths. The last that matches counts;
    /// one with `!` in front keeps what it matches, also against a `.holdfastignore`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Store folders of other file systems than that of the given path empty.
    #[serde(default)]
    pub one_file_system: bool,
}

/// What the place of the run adds to a spec; never recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Env {
    /// Folders that are left out wherever they turn up: Holdfast's home.
    pub skip: Vec<FileId>,
    /// Whether a given path that is not there is passed over: for the state of now, whatever it is.
    pub may_be_missing: bool,
}

/// A given path and the name it is stored under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As given.
    pub path: PathBuf,
    /// Its first component in the stream.
    pub name: RawPath,
    /// With all symbolic links followed.
    pub(super) real: PathBuf,
}

impl FilesSpec {
    /// Checks the patterns, without looking at the paths.
    ///
    /// # Errors
    /// [`FilesError::Exclude`] names the pattern.
    pub fn check_patterns(&self) -> Result<(), FilesError> {
        Rules::new(&self.exclude).map(drop)
    }

    /// The given paths with the names they are stored under, in the given order. Checks that each is there, can be
    /// opened, and does not lie in a folder of `env.skip`.
    ///
    /// # Errors
    /// [`FilesError::NoPaths`], [`NotAbsolute`](FilesError::NotAbsolute), [`Missing`](FilesError::Missing),
    /// [`Unreadable`](FilesError::Unreadable), [`Skipped`](FilesError::Skipped).
    pub fn sources(&self, env: &Env) -> Result<Vec<Source>, FilesError> {
        if self.paths.is_empty() {
            return Err(FilesError::NoPaths);
        }
        let mut names = StoredNames::default();
        let mut sources = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            let real = match resolve(path, env) {
                Err(FilesError::Missing { .. }) if env.may_be_missing => {
                    names.next(path, path);
                    continue;
                }
                real => real?,
            };
            sources.push(Source { path: path.clone(), name: names.next(path, &real), real });
        }
        Ok(sources)
    }
}

/// Names that given paths are stored under, in the given order.
#[derive(Default)]
pub(super) struct StoredNames(HashSet<Vec<u8>>);

impl StoredNames {
    /// That of the next one.
    pub(super) fn next(&mut self, path: &Path, real: &Path) -> RawPath {
        // `/a/..` has no last component of its own.
        let last = path.file_name().or_else(|| real.file_name()).map_or(&b"root"[..], |name| name.as_bytes());
        let mut name = last.to_vec();
        let mut number = 2_u64;
        while !self.0.insert(name.clone()) {
            name = [last, format!("-{number}").as_bytes()].concat();
            number += 1;
        }
        RawPath::new(name)
    }
}

/// Follows a given path to what it means and checks that it can be backed up.
fn resolve(path: &Path, env: &Env) -> Result<PathBuf, FilesError> {
    if !path.is_absolute() {
        return Err(FilesError::NotAbsolute { path: path.to_path_buf() });
    }
    let real = std::fs::canonicalize(path).map_err(|error| given(path, error))?;
    let facts = Facts::from(&rustix::fs::lstat(&real).map_err(|errno| given(path, errno.into()))?);
    // Only what a backup opens anyway is opened: a pipe or a device would wait or act.
    let flags = match facts.kind {
        FileType::Directory => Some(OFlags::DIRECTORY),
        FileType::RegularFile => Some(OFlags::NONBLOCK),
        _ => None,
    };
    if let Some(flags) = flags {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, &real, flags, Mode::empty()).map_err(|errno| given(path, errno.into()))?;
    }
    let inside = |ancestor: &Path| FileId::of(ancestor).is_ok_and(|id| env.skip.contains(&id));
    if real.ancestors().any(inside) {
        return Err(FilesError::Skipped { path: path.to_path_buf() });
    }
    Ok(real)
}

/// An error about a given path.
pub(super) fn given(path: &Path, source: io::Error) -> FilesError {
    let path = path.to_path_buf();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FilesError::Missing { path },
        _ => FilesError::Unreadable { path, source },
    }
}
