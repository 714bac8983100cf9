//! Why nothing, or not all, was restored.

use std::io;
use std::path::PathBuf;

use holdfast_model::ids::{ArtifactName, ParticipantName, RunId};
use holdfast_model::run::Elsewhere;

use crate::files::{FilesError, RawPath};
use crate::pipeline::PipelineError;
use crate::storage::StorageError;

/// Why nothing, or not all, was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The run has nothing that can be restored, or not all that was asked for.
    #[error("run {run_id} is {status}: nothing of it is restored as it stands")]
    NotRestorable {
        /// The run.
        run_id: RunId,
        /// How it stands.
        status: &'static str,
    },
    /// Its directory is deleted or missing.
    #[error("run {0} has no directory: it was deleted")]
    Deleted(RunId),
    /// Its directory was taken away, because its copies are kept on endpoints.
    #[error("{0}")]
    KeptRemotely(Elsewhere),
    /// No such participant in it, or it is not good.
    #[error("run {run_id} has no good participant {participant}")]
    NoParticipant {
        /// The run.
        run_id: RunId,
        /// The participant.
        participant: ParticipantName,
    },
    /// An artifact without an index cannot be listed or restored in part.
    #[error("artifact {0} has no index")]
    NoIndex(ArtifactName),
    /// What is restored into one folder would mix there.
    #[error("both {one} and {other} have `{path}`: in one folder they would mix")]
    SameName {
        /// The name that both have.
        path: RawPath,
        /// A participant.
        one: ParticipantName,
        /// Another one.
        other: ParticipantName,
    },
    /// A stream was asked for, and there is a tree.
    #[error("participant {participant} holds a tree of files, no stream of its own")]
    HoldsFiles {
        /// The participant.
        participant: ParticipantName,
    },
    /// Nothing says which of its streams is meant.
    #[error("participant {participant} has several artifacts: {}", listed(names))]
    NotOneStream {
        /// The participant.
        participant: ParticipantName,
        /// Its artifacts.
        names: Vec<ArtifactName>,
    },
    /// A newer program made it.
    #[error("{0}; a newer program made this run: use that one")]
    Unknown(String),
    /// The run directory cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An artifact is not as recorded, or cannot be read.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A tree cannot be read or made.
    #[error("{}", inner(.0))]
    Files(#[from] FilesError),
    /// Something is in the way in the target.
    #[error("{} would be replaced in {}, for example {}", count, target.display(), first)]
    Conflicts {
        /// The target.
        target: PathBuf,
        /// How many were found before the search ended.
        count: String,
        /// One of them.
        first: RawPath,
    },
    /// The target is Holdfast's own home.
    #[error("{} leads into the home {}, which a restore never writes to", target.display(), home.display())]
    IntoHome {
        /// The target.
        target: PathBuf,
        /// The home.
        home: PathBuf,
    },
    /// The target or its staging cannot be made.
    #[error("cannot {doing} {}: {source}", path.display())]
    Target {
        /// The verb.
        doing: &'static str,
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn listed(names: &[ArtifactName]) -> String {
    names.iter().map(ArtifactName::as_str).collect::<Vec<_>>().join(", ")
}

/// A pipeline error that came through a reader speaks for itself.
fn inner(error: &FilesError) -> String {
    match through(error) {
        Some(error) => error.to_string(),
        None => error.to_string(),
    }
}

fn through(error: &FilesError) -> Option<&PipelineError> {
    match error {
        FilesError::Input(error) | FilesError::Index(error) | FilesError::Output(error) => PipelineError::inside(error),
        _ => None,
    }
}

impl RestoreError {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            RestoreError::NotRestorable { .. } => "BACKUP_RUN_NOT_RESTORABLE",
            RestoreError::Deleted(_) | RestoreError::KeptRemotely(_) => "BACKUP_RUN_NOT_FOUND",
            RestoreError::NoParticipant { .. } => "UNKNOWN_PARTICIPANT",
            RestoreError::NoIndex(_) => "INDEX_MISSING",
            RestoreError::SameName { .. } => "NAMES_MIX",
            RestoreError::HoldsFiles { .. } => "ARTIFACT_IS_TREE",
            RestoreError::NotOneStream { .. } => "ARTIFACT_AMBIGUOUS",
            RestoreError::Unknown(_) => "ARTIFACT_UNKNOWN",
            RestoreError::Storage(error) => error.code(),
            RestoreError::Pipeline(error) => error.code(),
            RestoreError::Files(error) => through(error).map_or_else(|| error.code(), PipelineError::code),
            RestoreError::Conflicts { .. } => "TARGET_NOT_EMPTY",
            RestoreError::IntoHome { .. } => "TARGET_IN_HOME",
            RestoreError::Target { .. } => "TARGET_UNUSABLE",
        }
    }

    /// Whether it says that stored bytes are not as recorded.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            RestoreError::Storage(StorageError::Encryption(error)) => !error.is_about_keys(),
            RestoreError::Storage(error) => !error.retryable(),
            RestoreError::Pipeline(error) => error.is_damage(),
            RestoreError::Files(FilesError::Damaged { .. } | FilesError::Refused { .. }) => true,
            RestoreError::Files(error) => through(error).is_some_and(PipelineError::is_damage),
            _ => false,
        }
    }

    /// Whether another key is what is needed.
    #[must_use]
    pub fn is_about_keys(&self) -> bool {
        match self {
            RestoreError::Storage(StorageError::Encryption(error)) => error.is_about_keys(),
            RestoreError::Pipeline(PipelineError::Locked { .. }) => true,
            _ => false,
        }
    }

    /// Whether somebody asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, RestoreError::Files(FilesError::Cancelled))
    }
}

/// Whether a failure's code says that stored bytes are not as recorded.
#[must_use]
pub fn is_damage(code: &str) -> bool {
    const CODES: [&str; 18] = [
        "ARTIFACT_TRUNCATED",
        "ARTIFACT_ALTERED",
        "ARTIFACT_CHECK_FAILED",
        "ARTIFACT_MISSING",
        "INDEX_TRUNCATED",
        "INDEX_ALTERED",
        "INDEX_MISSING",
        "MANIFEST_INVALID",
        "MANIFEST_ALTERED",
        "MANIFEST_TRUNCATED",
        "SUMS_ALTERED",
        "SUMS_TRUNCATED",
        "MANIFEST_MISSING",
        "SUMS_INVALID",
        "SUMS_MISSING",
        "RUN_DIRECTORY_MISSING",
        "RUN_DIRECTORY_ELSEWHERE",
        "FILES_DAMAGED",
    ];
    CODES.contains(&code)
}
