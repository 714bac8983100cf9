//! `CancelRestoreRun` and `RetryRestoreRun`.

use holdfast_model::access::Role;
use holdfast_model::ids::RestoreId;
use holdfast_model::restore::RestoreView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::get_restore_runs::restore;
use crate::api::text::Reason;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};

/// Asks a restore in place to stop, and answers with the restore as it is once that is recorded: what it touched is put back first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CancelRestoreRun {
    /// Which restore.
    pub restore_id: RestoreId,
    /// Why, for the record.
    #[serde(default)]
    pub reason: Reason,
}

/// Rolls a restore back once more that ended `rollback_failed`, from its safety snapshot, and answers once that has begun.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RetryRestoreRun {
    /// Which restore.
    pub restore_id: RestoreId,
}

impl Command for CancelRestoreRun {
    const NAME: &'static str = "CancelRestoreRun";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::RestoreRunNotFound, ErrorCode::RestoreRunNotCancellable];
    type Answer = RestoreView;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("restore_id", self.restore_id.to_string()), ("reason", self.reason.as_str().to_owned())]
    }

    async fn run(self, call: &Call) -> Result<Reply<RestoreView>, ApiError> {
        let found = call.engine.restore_run(self.restore_id).await?;
        if !found.is_open() || !found.is_in_steps() {
            let text = format!("restore {} has ended, or is none of modules: it cannot be stopped", self.restore_id);
            return Err(ApiError::new(ErrorCode::RestoreRunNotCancellable, text));
        }
        let reason = match self.reason.as_str() {
            "" => "asked by the user",
            reason => reason,
        };
        call.engine.cancel_restore(self.restore_id, reason).await?;
        Ok(restore(call, self.restore_id).await?.into())
    }
}

impl Command for RetryRestoreRun {
    const NAME: &'static str = "RetryRestoreRun";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    const ERRORS: &'static [ErrorCode] = &[
        ErrorCode::RestoreRunNotFound,
        ErrorCode::RestoreNotRetryable,
        ErrorCode::RestoreAlreadyRunning,
        ErrorCode::BackupAlreadyRunning,
    ];
    type Answer = RestoreView;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("restore_id", self.restore_id.to_string())]
    }

    async fn run(self, call: &Call) -> Result<Reply<RestoreView>, ApiError> {
        call.engine.retry_restore(self.restore_id).await?;
        Ok(restore(call, self.restore_id).await?.into())
    }
}
