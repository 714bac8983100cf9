//! `GetRemoteBackupRuns`, `DeleteRemoteBackupRun` and `ImportRemoteBackupRun`: runs on endpoints.
//!
//! This version keeps the configuration of endpoints and copies nothing to them. So for an endpoint that is configured each of these is
//! refused with that reason, after all that can be checked was.

use holdfast_model::access::Role;
use holdfast_model::ids::{EndpointName, RunId};
use holdfast_model::run::RunView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::paging;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};

/// The runs that lie on an endpoint, the newest first, a page at a time.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetRemoteBackupRuns {
    /// Which endpoint.
    pub server_name: EndpointName,
    /// Rows at most; 1 to 1,000, and 100 where nothing is said.
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before, empty for the first.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[0-9]{0,19}$"))]
    pub cursor: String,
}

/// A page of the runs on an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RemoteRuns {
    /// Which endpoint.
    pub server_name: EndpointName,
    /// The runs, the newest first.
    pub rows: Vec<RunView>,
    /// Where the next page begins; empty where there is none.
    pub next_cursor: String,
}

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

/// Brings a run back from an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ImportRemoteBackupRun {
    /// Which endpoint.
    pub server_name: EndpointName,
    /// Which run.
    pub run_id: RunId,
    /// Whether it takes the place of the same run here.
    #[serde(default)]
    pub overwrite: bool,
}

impl Command for GetRemoteBackupRuns {
    const NAME: &'static str = "GetRemoteBackupRuns";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::RemoteNotFound, ErrorCode::RemoteBackupListFailed];
    type Answer = RemoteRuns;

    fn check(&self) -> Result<(), ApiError> {
        paging::check(self.limit, &self.cursor)
    }

    async fn run(self, call: &Call) -> Result<Reply<RemoteRuns>, ApiError> {
        paging::limit(call, self.limit)?;
        Err(unreached(call, &self.server_name, ErrorCode::RemoteBackupListFailed, "listed").await)
    }
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

impl Command for ImportRemoteBackupRun {
    const NAME: &'static str = "ImportRemoteBackupRun";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Work;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::RemoteNotFound, ErrorCode::RemoteBackupImportFailed];
    type Answer = RunView;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![
            ("server_name", self.server_name.to_string()),
            ("run_id", self.run_id.to_string()),
            ("overwrite", self.overwrite.to_string()),
        ]
    }

    async fn run(self, call: &Call) -> Result<Reply<RunView>, ApiError> {
        Err(unreached(call, &self.server_name, ErrorCode::RemoteBackupImportFailed, "imported").await)
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
