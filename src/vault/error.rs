//! Why a vault does not do something: before it serves, and to a client.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use holdfast_actors::event_sourced::ReplayError;
use holdfast_log::home::HomeError;
use holdfast_log::owner::OwnerError;
use holdfast_log::{AppendError, OpenError};
use holdfast_model::codec::CodecError;
use holdfast_model::vault::{VaultAccessRefusal, VaultClientRefusal};

use super::wire::VaultFault;
use crate::storage::StorageError;

/// Why a vault cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// There is none.
    #[error("{} is no vault: `holdfast vault init --root DIR` makes one", .0.display())]
    Missing(PathBuf),
    /// There is something else.
    #[error("{} is not empty and no vault: name an empty folder, or one that does not exist yet", .0.display())]
    NotAVault(PathBuf),
    /// Its own state cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Another process has it.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// Its log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its log cannot be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Something was not recorded, and so not done.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Something does not fit an event.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A token or a client is not as it would have to be.
    #[error(transparent)]
    Access(#[from] VaultAccessRefusal),
    /// A run or an upload is not as it would have to be.
    #[error(transparent)]
    Client(#[from] VaultClientRefusal),
    /// A run on the disk is not as it was received.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is no TLS with these files.
    #[error("{reason}")]
    Tls {
        /// Stable name for programs.
        code: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// What is sent there could be read by others.
    #[error("{0} is not on this machine alone, and there is no TLS: give it a certificate, or say --insecure")]
    Insecure(SocketAddr),
    /// The system does not let it listen there.
    #[error("cannot listen on {address}: {source}; name another address, or end what listens there")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
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
    /// The system gives no random numbers.
    #[error("the system gives no random numbers for a token: {0}")]
    Random(String),
    /// A thread of the program broke down.
    #[error("a part of the vault broke down: {0}; look at its log, and start it again")]
    Thread(String),
    /// Another process that has the vault refused.
    #[error("{message}")]
    Refused {
        /// Its code.
        code: String,
        /// What it said.
        message: String,
    },
}

impl VaultError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Stable name for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Missing(_) => "VAULT_MISSING",
            Self::NotAVault(_) => "NOT_A_VAULT",
            Self::Home(error) => error.code(),
            Self::Owner(_) => "VAULT_IN_USE",
            Self::Open(error) => error.code(),
            Self::Replay(_) => "LOG_UNREADABLE",
            Self::Append(error) => error.code(),
            Self::Codec(_) => "EVENT_INVALID",
            Self::Access(refusal) => refusal.code(),
            Self::Client(refusal) => refusal.code(),
            Self::Storage(error) => error.code(),
            Self::Tls { code, .. } => code,
            Self::Insecure(_) => "TLS_NEEDED",
            Self::Address { .. } => "ADDRESS_UNAVAILABLE",
            Self::Io { .. } => "VAULT_IO",
            Self::Random(_) => "NO_RANDOM",
            Self::Thread(_) => "VAULT_BROKE_DOWN",
            Self::Refused { code, .. } => code,
        }
    }
}

/// What a client is told instead of what it asked for.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) retryable: bool,
    /// Where to go instead.
    pub(super) location: Option<String>,
}

impl Problem {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        let retryable = matches!(status, 408 | 423 | 429 | 460 | 503 | 507);
        Self { status, code, message: message.into(), retryable, location: None }
    }

    pub(super) fn body(&self) -> VaultFault {
        VaultFault { error: self.code.to_owned(), message: self.message.clone(), retryable: self.retryable }
    }

    /// Of a fault of the vault itself. What it says of paths stays in the log of the process.
    pub(super) fn own(error: &VaultError) -> Self {
        match error {
            VaultError::Access(refusal) => Self::from(refusal.clone()),
            VaultError::Client(refusal) => Self::from(refusal.clone()),
            VaultError::Append(AppendError::NoSpace { .. }) => Self::no_space(),
            VaultError::Io { source, .. } if is_full(source) => Self::no_space(),
            VaultError::Storage(StorageError::Io { source, .. }) if is_full(source) => Self::no_space(),
            error => {
                tracing::error!(code = error.code(), %error, "the vault cannot do what a client asked for");
                let text = "the vault cannot do that now: its own log says why; try again later";
                Self::new(503, "VAULT_UNAVAILABLE", text)
            }
        }
    }

    pub(super) fn no_space() -> Self {
        Self::new(507, "NOT_ENOUGH_SPACE", "the vault's disk has no room: its administration has to make some")
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        Self::own(&error)
    }
}

impl From<VaultAccessRefusal> for Problem {
    fn from(refusal: VaultAccessRefusal) -> Self {
        let status = match refusal {
            VaultAccessRefusal::Foreign | VaultAccessRefusal::ClientKnown => 403,
            VaultAccessRefusal::NotFound => 401,
            VaultAccessRefusal::Exists | VaultAccessRefusal::Full | VaultAccessRefusal::ClientsFull => 409,
        };
        Self::new(status, refusal.code(), refusal.to_string())
    }
}

impl From<VaultClientRefusal> for Problem {
    fn from(refusal: VaultClientRefusal) -> Self {
        let status = match refusal {
            VaultClientRefusal::FutureRun(_) => 403,
            VaultClientRefusal::RunExists(_)
            | VaultClientRefusal::UploadExists(_)
            | VaultClientRefusal::UploadUnfinished { .. } => 409,
            VaultClientRefusal::RunDeleted(_) | VaultClientRefusal::UploadGone => 410,
            VaultClientRefusal::RunCommitting(_) | VaultClientRefusal::RunChanged(_) => 423,
            VaultClientRefusal::RunNotFound(_) | VaultClientRefusal::UploadNotFound => 404,
            VaultClientRefusal::TooManyUploads(_) => 429,
            VaultClientRefusal::QuotaExceeded { .. } => 507,
        };
        let mut problem = Self::new(status, refusal.code(), refusal.to_string());
        if let VaultClientRefusal::UploadExists(upload_id) = refusal {
            problem.location = Some(format!("/uploads/{upload_id}"));
        }
        // More room is nothing that comes by waiting.
        problem.retryable &= status != 507;
        problem
    }
}
