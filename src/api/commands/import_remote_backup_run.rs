//! `ImportRemoteBackupRun`, and how far it is.

use holdfast_model::access::Role;
use holdfast_model::ids::{EndpointName, RunId};
use holdfast_model::run::RunView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::get_backup_run::view;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};
use crate::engine::{ImportPhase, ImportProgress, ImportRequest};

/// Brings a run back from an endpoint. It is read whole before it is here; until then, and where anything fails, what is here is as it was.
/// One is brought back at a time.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ImportRemoteBackupRun {
    /// Which endpoint.
    pub server_name: EndpointName,
    /// Which run.
    pub run_id: RunId,
    /// The installation whose run it is; this one where nothing is said.
    #[serde(default)]
    pub server_id: Option<Uuid>,
    /// Whether it takes the place of the same run here.
    #[serde(default)]
    pub overwrite: bool,
}

/// How far the import is that is under way.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetImportProgress {}

/// An import under way, if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportShown {
    /// Whether there is one.
    pub active: bool,
    /// The run; empty where there is none.
    pub run_id: String,
    /// The endpoint it comes from; empty where there is none.
    pub server_name: String,
    /// What is being done.
    pub phase: Option<ImportPhase>,
    /// Bytes of this phase that are done.
    pub bytes_done: u64,
    /// Bytes of it in all; 0 where that is not known yet.
    pub bytes_total: u64,
}

impl Command for ImportRemoteBackupRun {
    const NAME: &'static str = "ImportRemoteBackupRun";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Work;
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::RemoteNotFound, ErrorCode::RemoteBackupRunNotFound, ErrorCode::RemoteBackupImportFailed];
    type Answer = RunView;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        let server_id = self.server_id.map(|id| ("server_id", id.to_string()));
        let named = [
            ("server_name", self.server_name.to_string()),
            ("run_id", self.run_id.to_string()),
            ("overwrite", self.overwrite.to_string()),
        ];
        named.into_iter().chain(server_id).collect()
    }

    async fn run(self, call: &Call) -> Result<Reply<RunView>, ApiError> {
        let Self { server_name: endpoint, run_id, server_id, overwrite } = self;
        let imported = call.engine.import(ImportRequest { endpoint, server_id, run_id, overwrite }).await;
        imported.map_err(|error| ApiError::of_remote(error, ErrorCode::RemoteBackupImportFailed))?;
        Ok(view(call, run_id).await?.into())
    }
}

impl Command for GetImportProgress {
    const NAME: &'static str = "GetImportProgress";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    type Answer = ImportShown;

    async fn run(self, call: &Call) -> Result<Reply<ImportShown>, ApiError> {
        Ok(ImportShown::of(call.engine.import_progress().as_ref()).into())
    }
}

impl ImportShown {
    /// An import as it is shown.
    #[must_use]
    pub fn of(shown: Option<&ImportProgress>) -> Self {
        Self {
            active: shown.is_some(),
            run_id: shown.as_ref().map(|shown| shown.run_id.to_string()).unwrap_or_default(),
            server_name: shown.as_ref().map(|shown| shown.endpoint.to_string()).unwrap_or_default(),
            phase: shown.as_ref().map(|shown| shown.phase),
            bytes_done: shown.as_ref().map_or(0, |shown| shown.bytes_done),
            bytes_total: shown.as_ref().map_or(0, |shown| shown.bytes_total),
        }
    }
}
