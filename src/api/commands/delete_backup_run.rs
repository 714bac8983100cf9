//! `DeleteBackupRun`.

use holdfast_model::access::Role;
use holdfast_model::ids::RunId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};

/// Deletes an ended run's directory. Its history stays.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DeleteBackupRun {
    /// Which run.
    pub run_id: RunId,
    /// Whether it goes also where copies of it were made and none of these is known to be there.
    #[serde(default)]
    pub force: bool,
}

/// The run's directory is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunDeleted {
    /// It is so.
    pub ok: bool,
    /// Which run it was.
    pub run_id: RunId,
    /// Where its directory was, relative to the home; empty where it had none.
    pub deleted_path: String,
}

impl Command for DeleteBackupRun {
    const NAME: &'static str = "DeleteBackupRun";
    const ALIASES: &'static [&'static str] = &["DeleteBackup"];
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    const ERRORS: &'static [ErrorCode] = &[
        ErrorCode::BackupRunNotFound,
        ErrorCode::BackupRunActive,
        ErrorCode::BackupRunLocked,
        ErrorCode::BackupRunDeleteFailed,
    ];
    type Answer = RunDeleted;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.to_string()), ("force", self.force.to_string())]
    }

    async fn run(self, call: &Call) -> Result<Reply<RunDeleted>, ApiError> {
        // Known before, since a run that is deleted has no path.
        let deleted_path = call.engine.run(self.run_id).await?.path();
        call.engine.delete(self.run_id, self.force.into()).await?;
        Ok(RunDeleted { ok: true, run_id: self.run_id, deleted_path }.into())
    }
}
