//! `LockBackupRun` and `UnlockBackupRun`.

use holdfast_model::access::Role;
use holdfast_model::ids::RunId;
use holdfast_model::run::RunView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::get_backup_run::shown;
use crate::api::text::Reason;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};

/// Keeps a run from deletion, by people and by retention, until it is unlocked.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LockBackupRun {
    /// Which run.
    pub run_id: RunId,
    /// Why, for the record.
    #[serde(default)]
    pub reason: Reason,
}

/// Lets a run be deleted again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UnlockBackupRun {
    /// Which run.
    pub run_id: RunId,
    /// Why, for the record.
    #[serde(default)]
    pub reason: Reason,
}

impl Command for LockBackupRun {
    const NAME: &'static str = "LockBackupRun";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::BackupRunNotFound];
    type Answer = RunView;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.to_string()), ("reason", self.reason.as_str().to_owned())]
    }

    async fn run(self, call: &Call) -> Result<Reply<RunView>, ApiError> {
        let run = call.engine.lock(self.run_id, self.reason.as_str()).await?;
        Ok(shown(call, &run, self.run_id).await?.into())
    }
}

impl Command for UnlockBackupRun {
    const NAME: &'static str = "UnlockBackupRun";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::BackupRunNotFound];
    type Answer = RunView;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.to_string()), ("reason", self.reason.as_str().to_owned())]
    }

    async fn run(self, call: &Call) -> Result<Reply<RunView>, ApiError> {
        let run = call.engine.unlock(self.run_id).await?;
        Ok(shown(call, &run, self.run_id).await?.into())
    }
}
