//! Errors of the engine as errors of commands.

use holdfast_actors::event_sourced::CommandError;
use holdfast_actors::root::RootError;
use serde_json::json;

use super::error::{ApiError, ErrorCode};
use crate::engine::{EngineError, RemoteError};

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let code = error.code();
        let known = ErrorCode::ALL.iter().copied().find(|known| known.as_str() == code);
        let code = known.unwrap_or(match code {
            "ENDPOINTS_FULL" | "TOKENS_FULL" => ErrorCode::LimitReached,
            "BACKUP_RUN_DELETED" => ErrorCode::BackupRunNotFound,
            "RESTORE_RUN_EXISTS" => ErrorCode::RestoreAlreadyRunning,
            "NO_SAFETY_SNAPSHOT" => ErrorCode::RestoreNotRetryable,
            "RESTORE_RUN_NOT_ACTIVE" => ErrorCode::RestoreRunNotFound,
            "NO_PARTICIPANTS" | "BARRIER_NOT_SUPPORTED" | "ENDPOINT_PLAINTEXT" => ErrorCode::InvalidData,
            "NO_ENDPOINTS" => ErrorCode::NotFound,
            "BACKUP_RUN_IN_USE" | "LAST_COPY" => ErrorCode::BackupRunDeleteFailed,
            "ENGINE_STOPPED" | "LOG_CLOSED" => ErrorCode::Draining,
            "PROJECTION_BEHIND" => ErrorCode::Busy,
            "LOG_POISONED" => ErrorCode::LogLost,
            "NO_SPACE" | "NOT_RECORDED" | "RESTORE_NOT_CLAIMED" | "SECRETS_IO" | "STORAGE_FULL" | "STORAGE_IO" => {
                ErrorCode::StorageUnavailable
            }
            _ => ErrorCode::Internal,
        });
        let mut told = Self::new(code, error.to_string());
        // Who reads it, works on it, or fills the disk, has an end.
        told.retryable = matches!(
            code,
            ErrorCode::Draining
                | ErrorCode::LogUnreadable
                | ErrorCode::RestoreAlreadyRunning
                | ErrorCode::BackupAlreadyRunning
                | ErrorCode::StorageUnavailable
                | ErrorCode::Busy
        ) || error.code() == "BACKUP_RUN_IN_USE";
        told.detail = match &error {
            EngineError::Restoring { restore_id, .. } | EngineError::RestoringFolder { restore_id } => {
                Some(json!({ "active_restore_id": restore_id.to_string() }))
            }
            // Nobody works on it, so nobody is to wait for its end.
            EngineError::RestoreUnsettled { restore_id, .. } => {
                Some(json!({ "open_restore_id": restore_id.to_string() }))
            }
            EngineError::NotRolledBack { restore_id, participant } => {
                Some(json!({ "restore_id": restore_id.to_string(), "participant": participant }))
            }
            EngineError::Plaintext(_) => Some(json!({ "field": "plaintext" })),
            EngineError::OnlyHere { .. } => Some(json!({ "cause": error.code() })),
            EngineError::BackupAtWork(run_id) => Some(json!({ "active_run_id": run_id })),
            _ => None,
        };
        told
    }
}

impl ApiError {
    /// What went wrong with a run on an endpoint, as the code that the command has for it; `cause` in the detail says what it was.
    pub(crate) fn of_remote(error: RemoteError, failed: ErrorCode) -> Self {
        let code = match error {
            RemoteError::NoEndpoint(_) => ErrorCode::RemoteNotFound,
            RemoteError::NotThere { .. } => ErrorCode::RemoteBackupRunNotFound,
            RemoteError::Engine(
                EngineError::Root(RootError::Command(CommandError::Refused(_))) | EngineError::LastCopy { .. },
            ) => failed,
            RemoteError::Engine(error) => return error.into(),
            _ => failed,
        };
        let mut told = Self::new(code, error.to_string());
        told.retryable = error.retryable();
        told.with_detail(json!({ "cause": error.code() }))
    }
}

#[cfg(test)]
mod tests {
    use holdfast_log::AppendError;

    use super::*;
    use crate::api::Door;

    #[test]
    fn a_full_disk_is_told_as_what_it_is_and_where_it_is_to_this_machine_alone() {
        let full = || EngineError::Append(AppendError::NoSpace { reason: "/srv/home/log: no space left".into() });
        let told = ApiError::from(full());
        assert_eq!((told.code, told.code.status(), told.retryable), (ErrorCode::StorageUnavailable, 503, true));
        assert!(told.clone().told_to(Door::Socket).message.contains("/srv/home/log"));
        for door in [Door::Tcp, Door::WebSocket, Door::Http] {
            let told = told.clone().told_to(door);
            assert_eq!(told.message, ErrorCode::StorageUnavailable.meaning());
        }
        let unknown = EngineError::Append(AppendError::OutcomeUnknown { reason: "it went away".into() });
        let told = ApiError::from(unknown);
        assert_eq!((told.code, told.retryable), (ErrorCode::OutcomeUnknown, false));
    }
}
