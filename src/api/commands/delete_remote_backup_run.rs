//! `DeleteRemoteBackupRun`.
//!
//! This version deletes nothing from endpoints. So for an endpoint that is configured it is refused with that reason.

use holdfast_model::access::Role;
use holdfast_model::ids::{EndpointName, RunId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};

/// Deletes a run from an endpoint. The run here stays.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DeleteRemoteBackupRun {
    /// Which endpoint.
    pub server_name: EndpointName,
    /// Which run.
    pub run_id: RunId,
}

/// The run is gone from the endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoteRunDeleted {
    /// It is so.
    pub ok: bool,
    /// Which endpoint.
    pub server_name: EndpointName,
    /// Which run it was.
    pub run_id: RunId,
}

impl Command for DeleteRemoteBackupRun {
    const NAME: &'static str = "DeleteRemoteBackupRun";
    const ALIASES: &'static [&'static str] = &["DeleteRemoteBackup"];
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::RemoteNotFound, ErrorCode::RemoteBackupRunNotFound, ErrorCode::RemoteBackupDeleteFailed];
    type Answer = RemoteRunDeleted;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("server_name", self.server_name.to_string()), ("run_id", self.run_id.to_string())]
    }

    async fn run(self, call: &Call) -> Result<Reply<RemoteRunDeleted>, ApiError> {
        Err(unreached(call, &self.server_name, ErrorCode::RemoteBackupDeleteFailed, "deleted").await)
    }
}

/// Why nothing is done on an endpoint: there is none of this name, or endpoints are not reached yet.
async fn unreached(call: &Call, name: &EndpointName, code: ErrorCode, done: &str) -> ApiError {
    match call.engine.read(|known| known.endpoints.contains_key(name)).await {
        Err(error) => error.into(),
        Ok(false) => {
            let text = format!("there is no endpoint {name}: GetBackupConfig lists them");
            ApiError::new(ErrorCode::RemoteNotFound, text)
        }
        Ok(true) => {
            let text =
                format!("no run is {done}: this version keeps how endpoint {name} is used, and does not reach it");
            ApiError::new(code, text)
        }
    }
}
