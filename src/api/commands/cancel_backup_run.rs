//! `CancelBackupRun`.

use holdfast_model::access::Role;
use holdfast_model::ids::RunId;
use holdfast_model::run::RunView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::get_backup_run::not_found;
use crate::api::text::Reason;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};

/// Asks a run to stop, and answers with the run as it is once that is recorded: it may take a moment more to end.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CancelBackupRun {
    /// Which run.
    pub run_id: RunId,
    /// Why, for the record.
    #[serde(default)]
    pub reason: Reason,
}

impl Command for CancelBackupRun {
    const NAME: &'static str = "CancelBackupRun";
    const ROLE: Option<Role> = Some(Role::Operator);
    const KIND: Kind = Kind::Change;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::BackupRunNotFound, ErrorCode::BackupRunNotActive];
    type Answer = RunView;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.to_string()), ("reason", self.reason.as_str().to_owned())]
    }

    async fn run(self, call: &Call) -> Result<Reply<RunView>, ApiError> {
        let reason = match self.reason.as_str() {
            "" => "asked by the user",
            reason => reason,
        };
        let handle = call.engine.cancel(self.run_id, reason).await?;
        let view = handle.watch.borrow().view(true);
        view.map(Reply::from).ok_or_else(|| not_found(self.run_id))
    }
}
