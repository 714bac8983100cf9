//! What can go wrong with the bytes, with a stable code each.
//!
//! The codes of damage are part of the interface: `ARTIFACT_*` mean that an artifact is not what was stored, `INDEX_*`
//! that only its index is not, and the artifact can still be restored as a whole. An error crosses the [`std::io::Write`]
//! and [`std::io::Read`] of the participants inside an [`io::Error`]; [`PipelineError::inside`] finds it again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why bytes could not be stored or read back. Cheap to clone: one failure is told to everyone who asks.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PipelineError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The disk has no more room than must stay free.
    #[error("no room to write {}: {free} bytes are free and {reserve} stay in reserve; free some room or delete old runs", path.display())]
    StorageFull {
        /// The file that was being written.
        path: PathBuf,
        /// Bytes free on its file system.
        free: u64,
        /// Bytes that stay free for the log.
        reserve: u64,
    },
    /// The engine no longer takes what this writer was given.
    #[error("{} was revoked: its participant was cancelled, timed out or stalled", path.display())]
    Revoked {
        /// The artifact.
        path: PathBuf,
    },
    /// Where its bytes go does not take them.
    #[error("cannot send {} while it is written: {reason}", path.file_name().unwrap_or_default().display())]
    Away {
        /// The artifact.
        path: PathBuf,
        /// What the far sides said.
        reason: String,
        /// Whether another try may go better.
        retryable: bool,
    },
    /// Something is at the artifact's name.
    #[error("{} is already there: discard what an earlier try left, then run the participant again", path.display())]
    Exists {
        /// The artifact.
        path: PathBuf,
    },
    /// A worker panicked. A bug in this program or a library under it.
    #[error("a worker panicked on {}: run again, and report the trace above if it comes back", path.display())]
    WorkerPanicked {
        /// The artifact.
        path: PathBuf,
    },
    /// The compressor refused. A bug in this program or a library under it.
    #[error("cannot compress for {}: {reason}", path.display())]
    Compress {
        /// The artifact.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// A line for the index that could not be read back.
    #[error("line for the index of {} is refused: {reason}", path.display())]
    EntryInvalid {
        /// The artifact.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It cannot be encrypted. A bug in this program or a library under it.
    #[error("cannot encrypt {}: {reason}", path.display())]
    Encrypt {
        /// The artifact.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It is encrypted and there is no key.
    #[error("{} is encrypted: give the key by --identity FILE, or by [encryption] identity_file", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file is shorter than what was stored.
    #[error("{} is truncated: {found} bytes of {expected}; use another copy of the run", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its size as recorded.
        expected: u64,
        /// Its size now.
        found: u64,
    },
    /// The file is not what was stored.
    #[error("{} is altered: {reason}; use another copy of the run", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// In what.
        reason: String,
    },
    /// The index is shorter than what was stored.
    #[error("{} is truncated after line {line}: restore without it, or use another copy of the run", path.display())]
    IndexTruncated {
        /// The index.
        path: PathBuf,
        /// Lines read before the end; 0 where the file's size alone tells.
        line: u64,
    },
    /// The index is not what was stored.
    #[error("{} is altered, line {line}: {reason}; restore without it, or use another copy of the run", path.display())]
    IndexAltered {
        /// The index.
        path: PathBuf,
        /// The line; 0 where the file as a whole is meant.
        line: u64,
        /// In what.
        reason: String,
    },
    /// A range that lies outside of the content.
    #[error("{} holds {content} bytes, and {length} from {offset} were asked for", path.display())]
    RangeOutside {
        /// The artifact.
        path: PathBuf,
        /// Bytes it holds.
        content: u64,
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        length: u64,
    },
}

impl PipelineError {
    /// A stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "ARTIFACT_IO",
            Self::StorageFull { .. } => "STORAGE_FULL",
            Self::Revoked { .. } => "SINK_REVOKED",
            Self::Away { .. } => holdfast_model::participant::NOT_TAKEN,
            Self::Exists { .. } => "ARTIFACT_EXISTS",
            Self::WorkerPanicked { .. } => "WORKER_PANICKED",
            Self::Compress { .. } => "COMPRESSION_FAILED",
            Self::Encrypt { .. } => "ENCRYPTION_FAILED",
            Self::Locked { .. } => "KEY_MISSING",
            Self::EntryInvalid { .. } => "INDEX_ENTRY_INVALID",
            Self::Truncated { .. } => "ARTIFACT_TRUNCATED",
            Self::Altered { .. } => "ARTIFACT_ALTERED",
            Self::IndexTruncated { .. } => "INDEX_TRUNCATED",
            Self::IndexAltered { .. } => "INDEX_ALTERED",
            Self::RangeOutside { .. } => "RANGE_OUTSIDE",
        }
    }

    /// Whether the same may succeed on another try: room comes back, disks and workers have bad moments; damage stays.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::Io { .. }
                | Self::StorageFull { .. }
                | Self::WorkerPanicked { .. }
                | Self::Away { retryable: true, .. }
        )
    }

    /// Whether this says that a stored file is not what was stored.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Truncated { .. } | Self::Altered { .. } | Self::IndexTruncated { .. } | Self::IndexAltered { .. }
        )
    }

    /// The error of this kind that `error` carries, if it carries one.
    #[must_use]
    pub fn inside(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: Arc::new(source) }
    }

    pub(crate) fn altered(path: &Path, reason: impl Into<String>) -> Self {
        Self::Altered { path: path.to_owned(), reason: reason.into() }
    }
}

impl From<PipelineError> for io::Error {
    fn from(error: PipelineError) -> io::Error {
        let kind = match &error {
            PipelineError::Io { source, .. } => source.kind(),
            PipelineError::StorageFull { .. } => io::ErrorKind::StorageFull,
            PipelineError::Revoked { .. } => io::ErrorKind::BrokenPipe,
            PipelineError::Exists { .. } => io::ErrorKind::AlreadyExists,
            PipelineError::EntryInvalid { .. } | PipelineError::RangeOutside { .. } => io::ErrorKind::InvalidInput,
            PipelineError::Truncated { .. } | PipelineError::IndexTruncated { .. } => io::ErrorKind::UnexpectedEof,
            PipelineError::Altered { .. } | PipelineError::IndexAltered { .. } => io::ErrorKind::InvalidData,
            PipelineError::Locked { .. } => io::ErrorKind::PermissionDenied,
            PipelineError::Away { .. }
            | PipelineError::WorkerPanicked { .. }
            | PipelineError::Compress { .. }
            | PipelineError::Encrypt { .. } => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
