//! Why a run did not come back, or could not be looked for.

use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{EndpointName, RunId};

use super::super::EngineError;
use crate::endpoints::{ErrorKind, StoreError};

/// What is said of a run whose files are not as they were published.
pub(super) const ALTERED: &str = holdfast_model::run::COPY_ALTERED;

/// Why a run did not come back, or could not be looked for.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// There is no endpoint of this name.
    #[error("there is no endpoint {0}: `holdfast endpoints list` lists them")]
    NoEndpoint(EndpointName),
    /// The endpoint's address or its password cannot be used.
    #[error("endpoint {endpoint} cannot be used: {reason}")]
    Configuration {
        /// The endpoint.
        endpoint: EndpointName,
        /// Why.
        reason: String,
    },
    /// The endpoint does not do what it is asked.
    #[error(transparent)]
    Remote(#[from] StoreError),
    /// The endpoint has no such run.
    #[error("endpoint {endpoint} has no run {run_id}: `holdfast remote list {endpoint}` lists those it has")]
    NotThere {
        /// The endpoint.
        endpoint: EndpointName,
        /// The run.
        run_id: RunId,
    },
    /// What the endpoint has of it is not what was published.
    #[error("run {run_id} at {endpoint} is not as it was published: {error}")]
    Altered {
        /// The endpoint.
        endpoint: EndpointName,
        /// The run.
        run_id: RunId,
        /// What is not.
        error: StoreError,
    },
    /// Another one is being imported.
    #[error("run {run_id} is being brought back from {endpoint}, and one is at a time: ask again once it is here")]
    Busy {
        /// The one under way.
        run_id: RunId,
        /// Where from.
        endpoint: EndpointName,
    },
    /// It was begun, and did not come to its end. The run here is as it was.
    #[error("run {run_id} could not be brought back from {endpoint}: {failure}")]
    Failed {
        /// The run.
        run_id: RunId,
        /// Where from.
        endpoint: EndpointName,
        /// Why.
        failure: Failure,
    },
    /// It was refused, or could not be recorded.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl RemoteError {
    /// Where a far side says that it has no such run, that is the reason.
    pub(in crate::engine) fn of(endpoint: &EndpointName, run_id: RunId, error: StoreError) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::NotThere { endpoint: endpoint.clone(), run_id },
            _ => Self::of_files(endpoint, run_id, error),
        }
    }

    /// Where what is there of a run is not what was brought there, that is the reason.
    pub(in crate::engine) fn of_files(endpoint: &EndpointName, run_id: RunId, error: StoreError) -> Self {
        match error.kind() {
            ErrorKind::Altered => Self::Altered { endpoint: endpoint.clone(), run_id, error },
            _ => Self::Remote(error),
        }
    }

    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::NoEndpoint(_) => "REMOTE_NOT_FOUND",
            Self::Configuration { .. } => "ENDPOINT_UNUSABLE",
            // Not to be taken for a missing endpoint.
            Self::Remote(error) if error.kind() == ErrorKind::NotFound => "REMOTE_MISSING",
            Self::Remote(error) => error.code(),
            Self::NotThere { .. } => "REMOTE_BACKUP_RUN_NOT_FOUND",
            Self::Altered { .. } => ALTERED,
            Self::Busy { .. } => "IMPORT_ALREADY_RUNNING",
            Self::Failed { failure, .. } => &failure.code,
            Self::Engine(error) => error.code(),
        }
    }

    /// Whether the same may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Remote(error) => error.kind().retryable(),
            Self::Busy { .. } => true,
            Self::Failed { failure, .. } => failure.kind == FailureKind::Retryable,
            _ => false,
        }
    }
}
