//! `GetBackupRun`.

use holdfast_model::access::Role;
use holdfast_model::ids::RunId;
use holdfast_model::run::{Run, RunView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};

/// One run, with its participants and artifacts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetBackupRun {
    /// Which run.
    pub run_id: RunId,
}

impl Command for GetBackupRun {
    const NAME: &'static str = "GetBackupRun";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::BackupRunNotFound];
    type Answer = RunView;

    async fn run(self, call: &Call) -> Result<Reply<RunView>, ApiError> {
        Ok(view(call, self.run_id).await?.into())
    }
}

/// The run as it is shown.
pub(super) async fn view(call: &Call, run_id: RunId) -> Result<RunView, ApiError> {
    let run = call.engine.run(run_id).await?;
    shown(call, &run, run_id).await
}

/// The same, of one that is at hand.
pub(super) async fn shown(call: &Call, run: &Run, run_id: RunId) -> Result<RunView, ApiError> {
    let places = call.engine.places().await?;
    run.view_at(true, &places).ok_or_else(|| not_found(run_id))
}

pub(super) fn not_found(run_id: RunId) -> ApiError {
    ApiError::new(ErrorCode::BackupRunNotFound, format!("there is no run {run_id}"))
}
