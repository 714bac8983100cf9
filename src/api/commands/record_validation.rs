//! `RecordValidation`: what a verification found that the command line made itself.

use holdfast_model::access::Role;
use holdfast_model::failure::Warnings;
use holdfast_model::ids::RunId;
use holdfast_model::run::{RunVerifiedV1, RunView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::get_backup_run::view;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reach, Reply};

/// Records what was found when every size and stored hash of a run was taken again by the command line, as `ValidateBackupRun` does it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RecordValidation {
    /// Which run.
    pub run_id: RunId,
    /// Whether everything is as recorded.
    pub ok: bool,
    /// Files read, or missed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is not as recorded.
    #[serde(default)]
    pub errors: Warnings,
}

impl RecordValidation {
    /// What a report says.
    #[must_use]
    pub fn of(run_id: RunId, found: RunVerifiedV1) -> Self {
        Self { run_id, ok: found.ok, files: found.files, bytes: found.bytes, errors: found.errors }
    }
}

impl Command for RecordValidation {
    const NAME: &'static str = "RecordValidation";
    const ROLE: Option<Role> = Some(Role::Operator);
    const KIND: Kind = Kind::Change;
    const REACH: Reach = Reach::Local;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::BackupRunNotFound, ErrorCode::BackupRunActive];
    type Answer = RunView;

    fn check(&self) -> Result<(), ApiError> {
        if self.ok != (self.errors.count == 0) {
            return Err(ApiError::field("ok", "it is so exactly where there are no errors"));
        }
        Ok(())
    }

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.to_string()), ("ok", self.ok.to_string())]
    }

    async fn run(self, call: &Call) -> Result<Reply<RunView>, ApiError> {
        let mut errors = Warnings { count: self.errors.count, first: Vec::new() };
        let mut kept = Warnings::default();
        // What is longer than it may be is cut.
        self.errors.first.iter().take(Warnings::KEPT).for_each(|text| kept.add(text));
        errors.first = kept.first;
        let found = RunVerifiedV1 { ok: self.ok, files: self.files, bytes: self.bytes, errors };
        call.engine.record_verified(self.run_id, found).await?;
        Ok(view(call, self.run_id).await?.into())
    }
}
