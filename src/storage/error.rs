//! What can be wrong with a run directory, with a stable code each.

use std::io;
use std::path::{Path, PathBuf};

use holdfast_model::ids::{InvalidName, RunId};

use super::places::Place;
use super::verify::FileReport;
use crate::encryption::EncryptionError;

/// What a file in a run directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A participant's bytes.
    Artifact,
    /// An artifact's index.
    Index,
    /// `manifest.json`.
    Manifest,
    /// `SHA256SUMS`.
    Sums,
}

/// Why a run directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no directory of that run.
    #[error("run {run_id} has no directory: it was deleted or moved away by hand; another copy of it can be imported")]
    RunDirectoryMissing {
        /// The run.
        run_id: RunId,
    },
    /// The directory is somewhere else than what is asked for needs.
    #[error("the directory of run {run_id} is in {found}, and {needed} is needed")]
    Elsewhere {
        /// The run.
        run_id: RunId,
        /// Where it is.
        found: Place,
        /// Where it would have to be.
        needed: Place,
    },
    /// The run is not at its end yet.
    #[error("run {run_id} is not finished: wait for its end, or cancel or resume it")]
    Unfinished {
        /// The run.
        run_id: RunId,
    },
    /// Somebody reads what should go, or moves what should be read.
    #[error("run {run_id} is in use by a restore, a verification or a deletion: try again when that has ended")]
    InUse {
        /// The run.
        run_id: RunId,
    },
    /// The manifest cannot be encrypted or opened.
    #[error(transparent)]
    Encryption(EncryptionError),
    /// Something is where a directory should be made.
    #[error("{} is already there: sweep it or move it away", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// Two artifacts of a run would have the same name.
    #[error("artifact name {name} is taken in this run (names are compared without regard to case): choose another")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// An artifact's file would have a name that is not valid.
    #[error(transparent)]
    NameInvalid(#[from] InvalidName),
    /// A file that should be there is not.
    #[error("{} is missing: use another copy of the run", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// Something else than a file has a file's name.
    #[error("{} is not a regular file: links and folders are not followed; use another copy of the run", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
        /// What it should be.
        kind: FileKind,
    },
    /// A file is shorter than recorded.
    #[error("{} is truncated: {found} bytes of {expected}; use another copy of the run", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
        /// Its size as recorded.
        expected: u64,
        /// Its size now.
        found: u64,
    },
    /// A file is not what was recorded.
    #[error("{} is altered: {reason}; use another copy of the run", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
        /// In what.
        reason: String,
    },
    /// The manifest cannot be understood or must not be followed.
    #[error("{}: field {field}: {reason}", path.display())]
    ManifestInvalid {
        /// The manifest.
        path: PathBuf,
        /// The field, as `participants[0].artifacts[2].path`.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The list of hashes cannot be understood or must not be followed.
    #[error("{} line {line}: {reason}; use another copy of the run", path.display())]
    SumsInvalid {
        /// The list.
        path: PathBuf,
        /// The line, from 1; 0 for the file as a whole.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Before publish, files are not as they were written.
    #[error("{} of the files in {} are not as they were written: fail their participants and seal again", files.len(), path.display())]
    NotAsWritten {
        /// The run directory.
        path: PathBuf,
        /// Those files, with an error each.
        files: Vec<FileReport>,
    },
}

impl StorageError {
    /// A stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        use FileKind::{Artifact, Index, Manifest, Sums};
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => "STORAGE_FULL",
            Self::Io { .. } => "STORAGE_IO",
            Self::RunDirectoryMissing { .. } => "RUN_DIRECTORY_MISSING",
            Self::Elsewhere { .. } => "RUN_DIRECTORY_ELSEWHERE",
            Self::Unfinished { .. } => "BACKUP_RUN_ACTIVE",
            Self::InUse { .. } => "BACKUP_RUN_IN_USE",
            Self::Encryption(error) => error.code(),
            Self::Exists { .. } => "RUN_DIRECTORY_EXISTS",
            Self::NameTaken { .. } => "ARTIFACT_NAME_TAKEN",
            Self::NameInvalid(_) => "ARTIFACT_NAME_INVALID",
            Self::ManifestInvalid { .. } => "MANIFEST_INVALID",
            Self::SumsInvalid { .. } => "SUMS_INVALID",
            Self::NotAsWritten { .. } => "ARTIFACT_CHECK_FAILED",
            Self::Missing { kind, .. } => match kind {
                Artifact => "ARTIFACT_MISSING",
                Index => "INDEX_MISSING",
                Manifest => "MANIFEST_MISSING",
                Sums => "SUMS_MISSING",
            },
            Self::Truncated { kind, .. } => match kind {
                Artifact => "ARTIFACT_TRUNCATED",
                Index => "INDEX_TRUNCATED",
                Manifest => "MANIFEST_TRUNCATED",
                Sums => "SUMS_TRUNCATED",
            },
            Self::NotAFile { kind, .. } | Self::Altered { kind, .. } => match kind {
                Artifact => "ARTIFACT_ALTERED",
                Index => "INDEX_ALTERED",
                Manifest => "MANIFEST_ALTERED",
                Sums => "SUMS_ALTERED",
            },
        }
    }

    /// Whether the same may succeed on another try.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::InUse { .. } | Self::Unfinished { .. })
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
