//! `BeginRestore` and `EndRestore`: restores into a folder, which the command line makes itself and the owner of the home records.

use std::borrow::Cow;

use holdfast_model::access::Role;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{RestoreId, RunId};
use holdfast_model::restore::{RestoreCommand, RestoreCompletedV1, RestoreRequestedV3, RestoreView, Safety};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::get_restore_runs::restore;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reach, Reply};

/// Longest path, in bytes, as `PATH_MAX` of Linux.
const PATH: usize = 4096;

/// Records that a restore into a folder begins. Whoever makes it holds the claim of that id by then.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BeginRestore {
    /// Which.
    pub restore_id: RestoreId,
    /// The run it takes the bytes from.
    pub run_id: RunId,
    /// The folder, as text for people.
    #[schemars(length(max = 4096))]
    pub target: String,
    /// Where it is made ready, as bytes of a path: what is taken away where its process dies.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub staging: Vec<u8>,
    /// How many paths were asked for; 0 for all.
    #[serde(default)]
    pub selections: u32,
    /// Whether what is in the way is replaced.
    #[serde(default)]
    pub overwrite: bool,
}

/// Records how a restore into a folder ended.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EndRestore {
    /// Which.
    pub restore_id: RestoreId,
    /// How it ended.
    pub end: RestoreEnd,
}

/// How a restore ended.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestoreEnd {
    /// Everything is in its place and was as recorded.
    Completed {
        /// Files restored.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// What could not be set, such as owners.
        warnings: u64,
    },
    /// It ended without.
    Failed(Reason),
}

/// Why a restore failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reason {
    /// What may be done about it.
    pub kind: FailureKind,
    /// Stable name.
    pub code: String,
    /// What happened.
    pub message: String,
}

impl JsonSchema for Reason {
    fn schema_name() -> Cow<'static, str> {
        "RestoreFailure".into()
    }

    fn json_schema(_schemas: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "Why a restore failed.",
            "required": ["kind", "code", "message"],
            "properties": {
                "kind": { "enum": ["retryable", "fatal", "timeout", "resource", "cancelled"] },
                "code": { "type": "string" },
                "message": { "type": "string" },
            },
        })
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        Self { kind: failure.kind, code: failure.code, message: failure.message }
    }
}

impl Command for BeginRestore {
    const NAME: &'static str = "BeginRestore";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    const REACH: Reach = Reach::Local;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::BackupRunNotFound, ErrorCode::RestoreAlreadyRunning];
    type Answer = RestoreView;

    fn check(&self) -> Result<(), ApiError> {
        for (field, length) in [("target", self.target.len()), ("staging", self.staging.len())] {
            if length > PATH {
                return Err(ApiError::field(field, format_args!("it has more than {PATH} bytes")));
            }
        }
        Ok(())
    }

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("restore_id", self.restore_id.to_string()), ("run_id", self.run_id.to_string())]
    }

    async fn run(self, call: &Call) -> Result<Reply<RestoreView>, ApiError> {
        // One that is not there cannot be what is restored.
        call.engine.run(self.run_id).await?;
        let restore_id = self.restore_id;
        let request = RestoreCommand::Request(RestoreRequestedV3 {
            restore_id,
            source_run: self.run_id,
            target: self.target,
            staging: self.staging,
            selections: self.selections,
            overwrite: self.overwrite,
            delete: false,
            force: false,
            safety: Safety::None,
            timeout_ms: 0,
            participants: Vec::new(),
        });
        call.engine.restore(restore_id, request).await?;
        Ok(restore(call, restore_id).await?.into())
    }
}

impl Command for EndRestore {
    const NAME: &'static str = "EndRestore";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    const REACH: Reach = Reach::Local;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::RestoreRunNotFound];
    type Answer = RestoreView;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("restore_id", self.restore_id.to_string())]
    }

    async fn run(self, call: &Call) -> Result<Reply<RestoreView>, ApiError> {
        restore(call, self.restore_id).await?;
        let end = match self.end {
            RestoreEnd::Completed { files, bytes, warnings } => {
                RestoreCommand::Complete(RestoreCompletedV1 { files, bytes, warnings })
            }
            RestoreEnd::Failed(reason) => RestoreCommand::Fail(Failure::new(reason.kind, &reason.code, reason.message)),
        };
        call.engine.restore(self.restore_id, end).await?;
        Ok(restore(call, self.restore_id).await?.into())
    }
}
