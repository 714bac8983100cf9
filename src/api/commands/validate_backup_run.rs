//! `ValidateBackupRun`.

use holdfast_model::access::Role;
use holdfast_model::ids::RunId;
use holdfast_model::run::RunView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::get_backup_run::view;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};
use crate::engine::EngineError;
use crate::storage::StorageError;

/// Takes every size and stored hash of an ended run again from disk, and answers with the run. Takes as long as it takes to read it all.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ValidateBackupRun {
    /// Which run.
    pub run_id: RunId,
}

/// The run is as it was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Validated {
    /// It is so.
    pub ok: bool,
    /// Files beside those of the run in its directory: no fault of it.
    pub extra: Vec<String>,
    /// The run.
    #[serde(flatten)]
    pub run: RunView,
}

impl Command for ValidateBackupRun {
    const NAME: &'static str = "ValidateBackupRun";
    const ROLE: Option<Role> = Some(Role::Operator);
    const KIND: Kind = Kind::Work;
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::BackupRunNotFound, ErrorCode::BackupRunActive, ErrorCode::BackupValidationFailed];
    type Answer = Validated;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.to_string())]
    }

    async fn run(self, call: &Call) -> Result<Reply<Validated>, ApiError> {
        let report = match call.engine.verify(self.run_id).await {
            Ok(report) => report,
            // What keeps it from being read at all says that it is not as it should be, or that it is being deleted.
            Err(EngineError::Storage(StorageError::InUse { .. })) => {
                let text = format!("run {} is being deleted", self.run_id);
                return Err(ApiError::new(ErrorCode::BackupRunNotFound, text));
            }
            Err(EngineError::Storage(error)) => {
                let detail = json!({ "ok": false, "cause": error.code() });
                return Err(ApiError::new(ErrorCode::BackupValidationFailed, error.to_string()).with_detail(detail));
            }
            Err(error) => return Err(error.into()),
        };
        let run = view(call, self.run_id).await?;
        if report.is_good() {
            return Ok(Validated { ok: true, extra: report.extra, run }.into());
        }
        let errors: Vec<_> =
            report.errors.iter().map(|(file, error)| json!({ "artifact": file, "error": error })).collect();
        let text = format!(
            "run {} is damaged in {} of {} files: restore from another run, and back up again",
            self.run_id,
            errors.len(),
            report.files.max(errors.len() as u64)
        );
        let detail = json!({ "ok": false, "errors": errors, "extra": report.extra, "run": run });
        Err(ApiError::new(ErrorCode::BackupValidationFailed, text).with_detail(detail))
    }
}
