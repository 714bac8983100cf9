//! Why the given paths could not be put back where they are.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::super::error::FilesError;
use super::super::raw_path::RawPath;

/// A restore of given paths in their own places failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// The run has something that none of the given paths stands for.
    #[error(
        "the run has `{name}`, which is none of the paths of this participant: restore it with --target, or add its path"
    )]
    NotAGivenPath {
        /// The first component of its path in the stream.
        name: RawPath,
    },
    /// Two given paths are one, or one lies in the other.
    #[error("{} lies in {}, which is replaced too: restore with --target, or give only one of them", inner.display(), outer.display())]
    Overlap {
        /// The path.
        inner: PathBuf,
        /// What it lies in.
        outer: PathBuf,
    },
    /// A given path is a link to nothing.
    #[error("{} is a symbolic link to something that is not there: make what it leads to, or restore with --target", path.display())]
    Dangling {
        /// The given path.
        path: PathBuf,
    },
    /// Something on the way to a given path is not a folder.
    #[error("{} cannot be put in its place, because {} is not a folder: restore with --target", path.display(), way.display())]
    NoWay {
        /// The given path.
        path: PathBuf,
        /// What is on the way.
        way: PathBuf,
    },
    /// A given path is a mount point.
    #[error("{} is a mount point, which cannot be exchanged: give the folders in it as paths, or restore with --target", path.display())]
    Mounted {
        /// The path.
        path: PathBuf,
    },
    /// Something is mounted below a given path.
    #[error("{} is mounted below {}, which is replaced: unmount it first, or restore with --target", below.display(), path.display())]
    MountedBelow {
        /// The given path.
        path: PathBuf,
        /// The mount point.
        below: PathBuf,
    },
    /// What Holdfast itself needs lies below a given path.
    #[error("{} holds {}, which Holdfast works with: restore with --target", path.display(), own.display())]
    HoldsOwn {
        /// The given path.
        path: PathBuf,
        /// What lies there.
        own: PathBuf,
    },
    /// This user may not do it.
    #[error("{} may not be changed by this user ({source}): restore as its owner or as root, or with --target", path.display())]
    NotPermitted {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: Errno,
    },
    /// The file system cannot exchange two names.
    #[error("the file system of {} cannot exchange two names in one step: restore with --target", path.display())]
    NoExchange {
        /// The folder.
        path: PathBuf,
    },
    /// Files with several names would lie on several file systems.
    #[error("`{name}` and `{first}` are one file, and would lie on two file systems: restore with --target")]
    LinkAcross {
        /// The name.
        name: RawPath,
        /// The name with the content.
        first: RawPath,
    },
    /// A folder that the backup has something else for holds what the backup does not have.
    #[error(
        "{} is a folder, and the backup has something else there: what is in it would be lost. Move it away, or restore with --delete",
        path.display()
    )]
    FolderInTheWay {
        /// The folder.
        path: PathBuf,
    },
    /// What the backup does not have cannot be kept.
    #[error("{} is not in the backup and cannot be kept ({source}): move it away, restore with --delete, or with --target", path.display())]
    NotKept {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: Errno,
    },
    /// Nothing is ready to be put in place.
    #[error("nothing is staged for {}: restore again", path.display())]
    NotStaged {
        /// The given path.
        path: PathBuf,
    },
    /// What is at a given path is not what was staged.
    #[error("{} is not what was restored any more: somebody replaced it meanwhile", path.display())]
    Replaced {
        /// The given path.
        path: PathBuf,
    },
    /// A call of the system failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// As [`FilesError`] says.
    #[error(transparent)]
    Files(#[from] FilesError),
}

impl ReplaceError {
    /// A stable name of the kind of error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAGivenPath { .. } => "FILES_NOT_A_GIVEN_PATH",
            Self::Overlap { .. } => "FILES_OVERLAP",
            Self::Dangling { .. } => "FILES_DANGLING",
            Self::NoWay { .. } => "FILES_NO_WAY",
            Self::Mounted { .. } => "FILES_MOUNTED",
            Self::MountedBelow { .. } => "FILES_MOUNTED_BELOW",
            Self::HoldsOwn { .. } => "FILES_HOLDS_OWN",
            Self::NotPermitted { .. } => "FILES_NOT_PERMITTED",
            Self::NoExchange { .. } => "FILES_NO_EXCHANGE",
            Self::LinkAcross { .. } => "FILES_LINK_ACROSS",
            Self::FolderInTheWay { .. } => "FILES_FOLDER_IN_THE_WAY",
            Self::NotKept { .. } => "FILES_NOT_KEPT",
            Self::NotStaged { .. } => "FILES_NOT_STAGED",
            Self::Replaced { .. } => "FILES_REPLACED",
            Self::Io { .. } => "FILES_REPLACE",
            Self::Files(error) => error.code(),
        }
    }

    /// Whether the system had no room for it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let source = match self {
            Self::Io { source, .. } | Self::Files(FilesError::Restore { source, .. }) => source,
            _ => return false,
        };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// An error of the system about a path.
pub(super) fn failed<E: Into<io::Error>>(
    doing: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(E) -> ReplaceError {
    let path = path.into();
    move |source| ReplaceError::Io { doing, path, source: source.into() }
}
