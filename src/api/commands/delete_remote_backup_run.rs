//! `DeleteRemoteBackupRun`.

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
    /// Whether the last copy that is known to be there may be lost.
    #[serde(default)]
    pub force: bool,
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
        vec![
            ("server_name", self.server_name.to_string()),
            ("run_id", self.run_id.to_string()),
            ("force", self.force.to_string()),
        ]
    }

    async fn run(self, call: &Call) -> Result<Reply<RemoteRunDeleted>, ApiError> {
        let deleted = call.engine.delete_remote(&self.server_name, self.run_id, self.force.into()).await;
        deleted.map_err(|error| ApiError::of_remote(error, ErrorCode::RemoteBackupDeleteFailed))?;
        Ok(RemoteRunDeleted { ok: true, server_name: self.server_name, run_id: self.run_id }.into())
    }
}
