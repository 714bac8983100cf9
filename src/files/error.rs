//! Why a stream could not be written, read or restored.
//!
//! One rule decides between an error and a warning. While reading the source, what is wrong with one file is a warning:
//! the rest is worth having. While restoring, content that could not be written is an error: a tree with holes in it
//! must not pass for a restored one; only metadata that the target cannot hold is a warning.

use std::io;
use std::path::PathBuf;

use super::raw_path::RawPath;

/// An operation on files or their stream failed as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The spec names no path.
    #[error("no path to back up was given: name at least one")]
    NoPaths,
    /// A given path is relative.
    #[error("{} is not an absolute path: give it from `/` on", path.display())]
    NotAbsolute {
        /// The given path.
        path: PathBuf,
    },
    /// A given path is not there, or no longer.
    #[error("{} does not exist: correct the path or leave it out", path.display())]
    Missing {
        /// The given path.
        path: PathBuf,
    },
    /// A given path is there but cannot be opened.
    #[error("{} cannot be read ({source}): give this user access to it or leave it out", path.display())]
    Unreadable {
        /// The given path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A given path is one of the folders that are never backed up, or lies in one.
    #[error("{} lies in Holdfast's own home, which is never part of a backup: leave it out", path.display())]
    Skipped {
        /// The given path.
        path: PathBuf,
    },
    /// An exclude pattern is not valid gitignore syntax.
    #[error("the exclude pattern `{pattern}` is not valid ({reason}): correct it")]
    Exclude {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The observer asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The consumer of the stream failed.
    #[error("the stream could not be written: {0}")]
    Output(#[source] io::Error),
    /// The stream's bytes could not be read.
    #[error("the stream could not be read: {0}")]
    Input(#[source] io::Error),
    /// The stream is not a whole and well-formed tar stream.
    #[error("the tar stream is damaged at byte {at}: {reason}; verify the artifact and restore from another copy")]
    Damaged {
        /// Offset in the plain stream.
        at: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The stream asks for something that could lead out of the target.
    #[error("the stream's member `{path}` is refused: {reason}; nothing of it was written")]
    Refused {
        /// The member.
        path: RawPath,
        /// Why.
        reason: String,
    },
    /// Something is already where a member belongs.
    #[error("`{path}` is already in the target: allow overwriting, or restore into an empty folder")]
    Exists {
        /// The path in the target.
        path: RawPath,
    },
    /// A folder is where a file belongs or the other way round; overwriting does not replace the one by the other.
    #[error("`{path}` in the target is of another kind (folder or not) than in the backup: move it away first")]
    OtherKind {
        /// The path in the target.
        path: RawPath,
    },
    /// The target folder itself cannot be opened.
    #[error("the target {} cannot be opened ({source}): make it or give this user access to it", path.display())]
    NoTarget {
        /// The target.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A member's content could not be written.
    #[error("`{path}` could not be restored: {source}")]
    Restore {
        /// The path in the target.
        path: RawPath,
        /// What the system said.
        source: io::Error,
    },
    /// A thread of the restore ended by a panic.
    #[error("a worker of the restore ended unexpectedly: report this with the trace")]
    WorkerLost,
    /// The entries could not be read.
    #[error("the index could not be read: {0}")]
    Index(#[source] io::Error),
    /// A selected path is in no entry.
    #[error("`{path}` is not in this backup: list what is in it")]
    NotFound {
        /// The selected path.
        path: RawPath,
    },
    /// The content of something without content was asked for.
    #[error("`{path}` is not a regular file: only those have content to dump")]
    NotAFile {
        /// The path.
        path: RawPath,
    },
}

impl FilesError {
    /// A stable name of the kind of error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoPaths => "FILES_NO_PATHS",
            Self::NotAbsolute { .. } => "FILES_NOT_ABSOLUTE",
            Self::Missing { .. } => "FILES_MISSING",
            Self::Unreadable { .. } => "FILES_UNREADABLE",
            Self::Skipped { .. } => "FILES_SKIPPED",
            Self::Exclude { .. } => "FILES_EXCLUDE",
            Self::Cancelled => "FILES_CANCELLED",
            Self::Output(_) => "FILES_OUTPUT",
            Self::Input(_) => "FILES_INPUT",
            Self::Damaged { .. } => "FILES_DAMAGED",
            Self::Refused { .. } => "FILES_REFUSED",
            Self::Exists { .. } => "FILES_EXISTS",
            Self::OtherKind { .. } => "FILES_OTHER_KIND",
            Self::NoTarget { .. } => "FILES_NO_TARGET",
            Self::Restore { .. } => "FILES_RESTORE",
            Self::WorkerLost => "FILES_WORKER_LOST",
            Self::Index(_) => "FILES_INDEX",
            Self::NotFound { .. } => "FILES_NOT_FOUND",
            Self::NotAFile { .. } => "FILES_NOT_A_FILE",
        }
    }

    /// Whether the same call may succeed later without anyone changing anything.
    ///
    /// A path that is missing may be a volume that is not mounted yet, and reads and writes may have met a fault that
    /// passes. All else stays as it is until someone acts.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. } | Self::Unreadable { .. } | Self::Output(_) | Self::Input(_) | Self::WorkerLost
        )
    }
}
