//! `GetRemoteBackupRuns`, `ValidateRemoteBackupRun` and how far that is: runs that lie on endpoints.

use holdfast_model::access::Role;
use holdfast_model::ids::{EndpointName, RunId, Sha256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::paging;
use super::upload_backup_run::{self, UploadRow};
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};
use crate::remote::RemoteRun;

/// Longest cursor, in bytes.
const MAX_CURSOR: usize = 256;

/// The runs that lie on an endpoint, the newest first, a page at a time.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetRemoteBackupRuns {
    /// Which endpoint.
    pub server_name: EndpointName,
    /// The installation whose runs are meant; this one where nothing is said.
    #[serde(default)]
    pub server_id: Option<Uuid>,
    /// Rows at most; 1 to 1,000, and 100 where nothing is said.
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before, empty for the first.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[!-~]{0,256}$"))]
    pub cursor: String,
}

/// A run on an endpoint: what is known of it without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoteRunRow {
    /// The run.
    pub run_id: RunId,
    /// `full` or `scoped`.
    #[serde(rename = "type")]
    pub run_type: String,
    /// How it ended.
    pub status: String,
    /// When it started.
    pub started_at: i64,
    /// When it ended.
    pub finished_at: i64,
    /// When it came there, by the far side's clock where it has one of its own.
    pub received_at: i64,
    /// Its files, the manifest and the list of hashes included.
    pub files: u32,
    /// Bytes of all of them.
    pub stored_bytes: u64,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// SHA-256 of its list of hashes, and with it of everything.
    pub sums_sha256: Sha256,
    /// Whether it is here too.
    pub here: bool,
}

/// A page of the runs on an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RemoteRuns {
    /// Which endpoint.
    pub server_name: EndpointName,
    /// The installation whose runs they are.
    pub server_id: Uuid,
    /// The runs, the newest first.
    pub rows: Vec<RemoteRunRow>,
    /// Where the next page begins; empty where there is none.
    pub next_cursor: String,
}

/// Reads a run on an endpoint whole and compares every size and hash. Changes nothing, there or here.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ValidateRemoteBackupRun {
    /// Which endpoint.
    pub server_name: EndpointName,
    /// Which run.
    pub run_id: RunId,
    /// The installation whose run it is; this one where nothing is said.
    #[serde(default)]
    pub server_id: Option<Uuid>,
}

/// The run on the endpoint is as it was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoteRunValidated {
    /// It is so.
    pub ok: bool,
    /// Which endpoint.
    pub server_name: EndpointName,
    /// Which run.
    pub run_id: RunId,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The runs on endpoints that are read whole just now, with live counts.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetRemoteValidations {}

/// Validations of runs on endpoints that are under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoteValidations {
    /// They, in the order they were begun; bytes are those that were read.
    pub rows: Vec<UploadRow>,
}

impl Command for GetRemoteValidations {
    const NAME: &'static str = "GetRemoteValidations";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    type Answer = RemoteValidations;

    async fn run(self, call: &Call) -> Result<Reply<RemoteValidations>, ApiError> {
        let rows = call.engine.remote_checks().into_iter().map(upload_backup_run::row).collect();
        Ok(RemoteValidations { rows }.into())
    }
}

impl Command for GetRemoteBackupRuns {
    const NAME: &'static str = "GetRemoteBackupRuns";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::RemoteNotFound, ErrorCode::RemoteBackupListFailed];
    type Answer = RemoteRuns;

    fn check(&self) -> Result<(), ApiError> {
        paging::check(self.limit, "")?;
        let visible = self.cursor.bytes().all(|byte| byte.is_ascii_graphic());
        if self.cursor.len() > MAX_CURSOR || !visible {
            return Err(ApiError::field("cursor", "it is none that a page gave out as `next_cursor`"));
        }
        Ok(())
    }

    async fn run(self, call: &Call) -> Result<Reply<RemoteRuns>, ApiError> {
        let limit = paging::limit(call, self.limit)?;
        let page = call.engine.remote_runs(&self.server_name, self.server_id, limit, &self.cursor).await;
        let page = page.map_err(|error| ApiError::of_remote(error, ErrorCode::RemoteBackupListFailed))?;
        let server_id = call.engine.server_id(self.server_id);
        let own = server_id == call.engine.server_id(None);
        let here = |run: &RemoteRun, known: &crate::engine::Projections| {
            // A run of another installation may have the same id.
            let entry = known.history.run(run.run_id).filter(|entry| entry.foreign != own);
            entry.is_some_and(|entry| !entry.deleted && !entry.kept_remotely && entry.outcome.is_some())
        };
        let rows = call.engine.read(|known| page.rows.iter().map(|run| row(run, here(run, known))).collect()).await?;
        let next_cursor = page.next_cursor.unwrap_or_default();
        Ok(RemoteRuns { server_name: self.server_name, server_id, rows, next_cursor }.into())
    }
}

fn row(run: &RemoteRun, here: bool) -> RemoteRunRow {
    RemoteRunRow {
        run_id: run.run_id,
        run_type: run.run_type.clone(),
        status: run.status.clone(),
        started_at: run.started_at,
        finished_at: run.finished_at,
        received_at: run.received_at,
        files: run.files,
        stored_bytes: run.stored_bytes,
        encrypted: run.encrypted,
        sums_sha256: run.sums_sha256,
        here,
    }
}

impl Command for ValidateRemoteBackupRun {
    const NAME: &'static str = "ValidateRemoteBackupRun";
    const ROLE: Option<Role> = Some(Role::Operator);
    const KIND: Kind = Kind::Work;
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::RemoteNotFound, ErrorCode::RemoteBackupRunNotFound, ErrorCode::RemoteBackupValidationFailed];
    type Answer = RemoteRunValidated;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("server_name", self.server_name.to_string()), ("run_id", self.run_id.to_string())]
    }

    async fn run(self, call: &Call) -> Result<Reply<RemoteRunValidated>, ApiError> {
        let Self { server_name, run_id, server_id } = self;
        let found = call.engine.verify_remote(&server_name, server_id, run_id).await;
        let (files, bytes) =
            found.map_err(|error| ApiError::of_remote(error, ErrorCode::RemoteBackupValidationFailed))?;
        Ok(RemoteRunValidated { ok: true, server_name, run_id, files, bytes }.into())
    }
}
