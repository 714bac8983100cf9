//! `GetBackupProgress`.

use holdfast_model::access::Role;
use holdfast_model::progress::Progress;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Call, Command, Kind, Reply};

/// How far the run at work has come. Where none is, `active` is false and `run_id` is the last one's.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetBackupProgress {}

impl Command for GetBackupProgress {
    const NAME: &'static str = "GetBackupProgress";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    type Answer = Progress;

    async fn run(self, call: &Call) -> Result<Reply<Progress>, ApiError> {
        Ok(call.engine.present_progress().await?.into())
    }
}
