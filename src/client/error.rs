//! Why a client did not get what it asked for.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::api::ApiError;

/// Why a client did not get what it asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The command was refused, or failed.
    #[error("{}", .0.message)]
    Refused(Box<ApiError>),
    /// The connection is over.
    #[error("the connection to the process that owns the home is over: {0}")]
    Closed(String),
    /// Another version is at work.
    #[error(
        "the process that owns the home is holdfast {theirs}, and this is holdfast {ours}: they do not speak with each other"
    )]
    VersionMismatch {
        /// The version of the process that owns the home.
        theirs: String,
        /// This program's.
        ours: &'static str,
    },
    /// There is no answer.
    #[error("the process that owns the home has not answered {command} within {} s", waited.as_secs_f64())]
    Silent {
        /// What it was asked.
        command: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// What came cannot be read.
    #[error("what the process that owns the home says cannot be read: {0}")]
    Unreadable(String),
}

impl ClientError {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(error) => error.code.as_str(),
            Self::Closed(_) => "SERVER_GONE",
            Self::VersionMismatch { .. } => "VERSION_MISMATCH",
            Self::Silent { .. } => "SERVER_SILENT",
            Self::Unreadable(_) => "SERVER_UNREADABLE",
        }
    }
}

/// Reads an answer's data.
pub(super) fn read<T: DeserializeOwned>(data: &RawValue) -> Result<T, ClientError> {
    serde_json::from_str(data.get()).map_err(|error| ClientError::Unreadable(error.to_string()))
}
