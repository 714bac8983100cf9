//! `UploadBackupRun` and `GetUploads`: copies of runs on endpoints.

use holdfast_model::access::Role;
use holdfast_model::ids::{EndpointName, RunId};
use holdfast_model::run::{MAX_COPIES, RunView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::get_backup_run::shown;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};
use crate::engine::UploadCounts;

/// Makes copies of an ended run on endpoints, also where that failed before. Those that are there, or on their way, are left as they are.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UploadBackupRun {
    /// Which run: one that completed, in part or whole, and whose directory is here.
    pub run_id: RunId,
    /// Only to these; to every endpoint in use where none is named.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub endpoints: Vec<EndpointName>,
    /// Whether to answer only once none of its copies is on its way any more; else at once. How each stands is in the answer.
    #[serde(default)]
    pub wait: bool,
}

impl Command for UploadBackupRun {
    const NAME: &'static str = "UploadBackupRun";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Work;
    const ERRORS: &'static [ErrorCode] = &[
        ErrorCode::BackupRunNotFound,
        ErrorCode::NotFound,
        ErrorCode::BackupRunActive,
        ErrorCode::BackupRunNotUploadable,
    ];
    type Answer = RunView;

    fn check(&self) -> Result<(), ApiError> {
        if self.endpoints.len() > MAX_COPIES {
            return Err(ApiError::field("endpoints", format!("must be {MAX_COPIES} names at most")));
        }
        Ok(())
    }

    fn recorded(&self) -> Vec<(&'static str, String)> {
        let names: Vec<_> = self.endpoints.iter().map(ToString::to_string).collect();
        vec![("run_id", self.run_id.to_string()), ("endpoints", names.join(","))]
    }

    async fn run(self, call: &Call) -> Result<Reply<RunView>, ApiError> {
        let handle = call.engine.upload(self.run_id, self.endpoints).await?;
        call.accepted(&[("run_id", self.run_id.to_string())]).await?;
        if !self.wait {
            let run = handle.watch.borrow().clone();
            return Ok(Reply::accepted(shown(call, &run, self.run_id).await?));
        }
        let run = call.engine.wait_for_uploads(handle).await?;
        Ok(shown(call, &run, self.run_id).await?.into())
    }
}

/// The uploads that are under way now, with live counts. What waits for its turn or for another try is shown by the run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetUploads {}

/// The uploads under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Uploads {
    /// They, the oldest run first.
    pub rows: Vec<UploadRow>,
}

/// An upload under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadRow {
    /// The run.
    pub run_id: RunId,
    /// Where it goes.
    pub server_name: EndpointName,
    /// Bytes that are there, those of earlier tries included.
    pub bytes_done: u64,
    /// Bytes in all; 0 before that is known.
    pub bytes_total: u64,
}

impl Command for GetUploads {
    const NAME: &'static str = "GetUploads";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    const ERRORS: &'static [ErrorCode] = &[];
    type Answer = Uploads;

    async fn run(self, call: &Call) -> Result<Reply<Uploads>, ApiError> {
        Ok(Uploads { rows: call.engine.uploads().into_iter().map(row).collect() }.into())
    }
}

pub(super) fn row(counts: UploadCounts) -> UploadRow {
    let UploadCounts { run_id, endpoint, bytes_done, bytes_total } = counts;
    UploadRow { run_id, server_name: endpoint, bytes_done, bytes_total }
}
