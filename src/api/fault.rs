//! Errors of the engine as errors of commands.

use super::error::{ApiError, ErrorCode};
use crate::engine::EngineError;

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let code = error.code();
        let known = ErrorCode::ALL.iter().copied().find(|known| known.as_str() == code);
        let code = known.unwrap_or(match code {
            "ENDPOINTS_FULL" | "TOKENS_FULL" => ErrorCode::LimitReached,
            "BACKUP_RUN_DELETED" => ErrorCode::BackupRunNotFound,
            "RESTORE_RUN_EXISTS" => ErrorCode::RestoreAlreadyRunning,
            "RESTORE_RUN_NOT_ACTIVE" => ErrorCode::RestoreRunNotFound,
            "NO_PARTICIPANTS" => ErrorCode::InvalidData,
            "BACKUP_RUN_IN_USE" => ErrorCode::BackupRunDeleteFailed,
            "ENGINE_STOPPED" => ErrorCode::Draining,
            _ => ErrorCode::Internal,
        });
        let mut told = Self::new(code, error.to_string());
        // Who reads it, or works on it, has an end.
        let passes = matches!(code, ErrorCode::Draining | ErrorCode::LogUnreadable | ErrorCode::RestoreAlreadyRunning);
        told.retryable = passes || error.code() == "BACKUP_RUN_IN_USE";
        told
    }
}
