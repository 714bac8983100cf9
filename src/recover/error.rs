//! Why a home was not recovered.

use std::io;
use std::path::{Path, PathBuf};

use holdfast_log::export::ExportError;
use holdfast_log::home::HomeError;
use holdfast_log::owner::OwnerError;
use holdfast_model::ids::RunId;
use uuid::Uuid;

use super::choose::Seen;
use crate::endpoints::StoreError;
use crate::engine::{EngineError, RemoteError, ViewError};
use crate::pipeline::PipelineError;
use crate::storage::StorageError;

/// Why a home was not recovered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    /// The home holds something.
    #[error("{} is not empty, it holds {holds}: a recovery goes into a home that is not there yet, or is empty", home.display())]
    NotEmpty {
        /// The home.
        home: PathBuf,
        /// One of its names.
        holds: String,
        /// Whether it is a home already.
        is_home: bool,
    },
    /// Another process is at the same.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The far side cannot be used.
    #[error(transparent)]
    Remote(#[from] StoreError),
    /// It has no installation.
    #[error("no installation has runs there")]
    Nobody,
    /// It has several.
    #[error("several installations have runs there, and none is chosen")]
    Several(Vec<Seen>),
    /// The installation has no run that could be recovered from.
    #[error("installation {0} has no completed run there")]
    NoGoodRun(Uuid),
    /// It does not have the run that was named.
    #[error("installation {server_id} has no run {run_id} there")]
    NoRun {
        /// The installation.
        server_id: Uuid,
        /// The run.
        run_id: RunId,
    },
    /// A manifest, or what opens it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A file of the run is not as recorded.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The event log is not what it should be.
    #[error(transparent)]
    Log(#[from] ExportError),
    /// The state is not what it should be.
    #[error("the state of the installation in the run cannot be used: {0}; name another run")]
    Invalid(String),
    /// A newer program wrote it.
    #[error("the state of the installation was written by holdfast {0}: use that version or a newer one")]
    Newer(String),
    /// The home that was made cannot be used.
    #[error(transparent)]
    Home(HomeError),
    /// Its log cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// It could not be recorded.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The data did not come.
    #[error(transparent)]
    Import(#[from] RemoteError),
    /// The file system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A fault of the program itself.
    #[error("the recovery broke down: {0}")]
    Thread(String),
}

impl RecoverError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// Its stable code.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::NotEmpty { .. } => "HOME_NOT_EMPTY",
            Self::Owner(error) => error.code(),
            Self::Remote(error) => error.code(),
            Self::Nobody => "NO_INSTALLATION",
            Self::Several(_) => "SEVERAL_INSTALLATIONS",
            Self::NoGoodRun(_) | Self::NoRun { .. } => "REMOTE_BACKUP_RUN_NOT_FOUND",
            Self::Storage(StorageError::Encryption(error)) => error.code(),
            Self::Storage(error) => error.code(),
            Self::Pipeline(error) => error.code(),
            Self::Log(_) => "LOG_EXPORT_INVALID",
            Self::Invalid(_) => "STATE_INVALID",
            Self::Newer(_) => "STATE_TOO_NEW",
            Self::Home(error) => error.code(),
            Self::View(_) => "LOG_UNREADABLE",
            Self::Engine(error) => error.code(),
            Self::Import(error) => error.code(),
            Self::Io { .. } => "RECOVER_IO",
            Self::Thread(_) => "RECOVER_FAILED",
        }
    }
}
