//! What may go wrong with a command: a closed list of codes, each with its status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::caller::Door;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident $code:literal $status:literal;)+) => {
        /// Every code an error may have. Programs go by it; texts may change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ErrorCode {
            $(
                $(#[doc = $doc])+
                #[serde(rename = $code)]
                $variant,
            )+
        }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant),+];

            /// The code as it is written.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The status of an answer with it, which is that of HTTP.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// What it means, in one line.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

codes! {
    /// The message is no JSON object of the form of a request.
    InvalidMessage "INVALID_MESSAGE" 400;
    /// A field is missing, of a wrong type, or not a value it may have; the message names it.
    InvalidData "INVALID_DATA" 400;
    /// A participant is named that there is none of.
    UnknownParticipant "UNKNOWN_PARTICIPANT" 400;
    /// The command needs a connection that stays: TCP or WebSocket.
    ConnectionRequired "CONNECTION_REQUIRED" 400;
    /// The command needs a token.
    Unauthenticated "UNAUTHENTICATED" 401;
    /// The token is not known, has expired or was revoked.
    InvalidToken "INVALID_TOKEN" 401;
    /// The token's role may not do that.
    Forbidden "FORBIDDEN" 403;
    /// There is no command of this name.
    UnknownCommand "UNKNOWN_COMMAND" 404;
    /// There is nothing at this path.
    UnknownPath "UNKNOWN_PATH" 404;
    /// There is no channel of this name.
    UnknownChannel "UNKNOWN_CHANNEL" 404;
    /// There is no such run.
    BackupRunNotFound "BACKUP_RUN_NOT_FOUND" 404;
    /// There is no such restore run.
    RestoreRunNotFound "RESTORE_RUN_NOT_FOUND" 404;
    /// There is no endpoint of this name.
    NotFound "RET_NOT_FOUND" 404;
    /// There is no endpoint of this name to look for runs on.
    RemoteNotFound "REMOTE_NOT_FOUND" 404;
    /// The endpoint has no such run.
    RemoteBackupRunNotFound "REMOTE_BACKUP_RUN_NOT_FOUND" 404;
    /// There is no such token.
    TokenNotFound "TOKEN_NOT_FOUND" 404;
    /// The way over HTTP is POST.
    MethodNotAllowed "METHOD_NOT_ALLOWED" 405;
    /// The request's body did not come in time.
    RequestTimeout "REQUEST_TIMEOUT" 408;
    /// The `extID` belongs to a request that is still in flight on this connection.
    DuplicateExtId "DUPLICATE_EXT_ID" 409;
    /// An endpoint of this name is there already.
    Duplicate "RET_ERR_DUPLICATE" 409;
    /// The configuration file declares the endpoint: it is changed there.
    EndpointDeclared "ENDPOINT_DECLARED" 409;
    /// A run is on its way to the endpoint.
    EndpointBusy "ENDPOINT_BUSY" 409;
    /// The endpoint alone has copies of runs, and nothing would lead to them any more; `force` is the way past.
    EndpointHoldsCopies "ENDPOINT_HOLDS_COPIES" 409;
    /// The run did not complete, or its directory is not here: there is nothing to copy.
    BackupRunNotUploadable "BACKUP_RUN_NOT_UPLOADABLE" 409;
    /// A backup is at work, and queueing is off.
    BackupAlreadyRunning "BACKUP_ALREADY_RUNNING" 409;
    /// The idempotency key belongs to a request that asked for something else.
    IdempotencyKeyReused "IDEMPOTENCY_KEY_REUSED" 409;
    /// The run has ended.
    BackupRunNotActive "BACKUP_RUN_NOT_ACTIVE" 409;
    /// The run has not ended.
    BackupRunActive "BACKUP_RUN_ACTIVE" 409;
    /// The run is locked against deletion.
    BackupRunLocked "BACKUP_RUN_LOCKED" 409;
    /// The run's directory could not be taken away; the run is kept.
    BackupRunDeleteFailed "BACKUP_RUN_DELETE_FAILED" 409;
    /// The run is not as it was recorded.
    BackupValidationFailed "BACKUP_VALIDATION_FAILED" 409;
    /// The run cannot be restored.
    BackupRunNotRestorable "BACKUP_RUN_NOT_RESTORABLE" 409;
    /// A participant that is to be restored cannot be.
    RestoreNotSupported "RESTORE_NOT_SUPPORTED" 409;
    /// A restore needs maintenance, or `force`.
    MaintenanceRequired "MAINTENANCE_REQUIRED" 409;
    /// A restore is at work.
    RestoreAlreadyRunning "RESTORE_ALREADY_RUNNING" 409;
    /// A participant is as a restore left it that could not be rolled back: retry that first.
    RestoreRollbackFailed "RESTORE_ROLLBACK_FAILED" 409;
    /// The restore has ended, or is of a kind that cannot be stopped from here.
    RestoreRunNotCancellable "RESTORE_RUN_NOT_CANCELLABLE" 409;
    /// The restore does not wait to be rolled back, or there is nothing to put back.
    RestoreNotRetryable "RESTORE_NOT_RETRYABLE" 409;
    /// The endpoint's runs could not be listed.
    RemoteBackupListFailed "REMOTE_BACKUP_LIST_FAILED" 409;
    /// The endpoint's run could not be deleted.
    RemoteBackupDeleteFailed "REMOTE_BACKUP_DELETE_FAILED" 409;
    /// The endpoint's run could not be imported.
    RemoteBackupImportFailed "REMOTE_BACKUP_IMPORT_FAILED" 409;
    /// The endpoint's run is not as it was published, or could not be read.
    RemoteBackupValidationFailed "REMOTE_BACKUP_VALIDATION_FAILED" 409;
    /// A token of this name is there already.
    TokenExists "TOKEN_EXISTS" 409;
    /// There is no more room for what is to be kept of this kind.
    LimitReached "LIMIT_REACHED" 409;
    /// The participant is not in quarantine.
    NotQuarantined "PARTICIPANT_NOT_QUARANTINED" 409;
    /// What answers is no server: it ends by itself with its work.
    NotAServer "NOT_A_SERVER" 409;
    /// The message is longer than it may be. The connection is closed.
    MessageTooLarge "MESSAGE_TOO_LARGE" 413;
    /// The answer would be longer than it may be: ask for less at a time.
    AnswerTooLarge "ANSWER_TOO_LARGE" 413;
    /// The body is said to be something else than JSON.
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" 415;
    /// Too many requests, or too many at a time; `retry_after_ms` says when there is room again.
    RateLimited "RATE_LIMITED" 429;
    /// The run ended, and not well; `detail` is the run.
    BackupRunFailed "BACKUP_RUN_FAILED" 500;
    /// The restore ended, and not well; `detail` is the restore run.
    RestoreFailed "RESTORE_FAILED" 500;
    /// The program did something it should not have; it goes on.
    Internal "INTERNAL" 500;
    /// The server is about to stop, and takes no new work; `detail` names what was begun and is not waited for.
    Draining "SERVER_DRAINING" 503;
    /// There is no room on the home's disk, or it does not take what is written: nothing was done, and may be once somebody has seen to it.
    StorageUnavailable "STORAGE_UNAVAILABLE" 503;
    /// Whether it was recorded, and so done, is not known: the next start of the server tells.
    OutcomeUnknown "OUTCOME_UNKNOWN" 503;
    /// The machine is too busy to answer in time.
    Busy "BUSY" 503;
    /// Nothing can be recorded any more, so nothing is done: the disk, or the log, needs somebody.
    LogLost "LOG_LOST" 503;
    /// The event log could not be read.
    LogUnreadable "LOG_UNREADABLE" 503;
    /// There are as many connections as there may be.
    TooManyConnections "TOO_MANY_CONNECTIONS" 503;
}

/// Most characters of a message: what a client made up does not come back to it at any length.
const LONGEST: usize = 1000;

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message} ({})", code.as_str())]
pub struct ApiError {
    /// Which kind of thing went wrong.
    pub code: ErrorCode,
    /// What happened and what to do, for people.
    pub message: String,
    /// What programs may want to know beside the code.
    pub detail: Option<Value>,
    /// Whether the same request may be granted later.
    pub retryable: bool,
    /// When it is worth another try; 0 where that is not known.
    pub retry_after_ms: u64,
}

impl ApiError {
    /// An error that another try does not mend.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, retryable: false, retry_after_ms: 0 }
    }

    /// A field of the request that is not as it must be.
    pub fn field(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::InvalidData, format!("{name}: {reason}")).with_detail(serde_json::json!({ "field": name }))
    }

    /// With what programs may want to know.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// One that may be tried again, after so long.
    #[must_use]
    pub fn retry_after(mut self, wait: std::time::Duration) -> Self {
        self.retryable = true;
        self.retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// The same as it is told by a door: faults of the program and its disk are told in full to this machine alone, since they name places
    /// of it; others are told what kind of fault it was, and the log of the process has the rest.
    #[must_use]
    pub(super) fn told_to(mut self, door: Door) -> Self {
        use ErrorCode::{Internal, LogLost, LogUnreadable, OutcomeUnknown, StorageUnavailable};
        let fault = matches!(self.code, Internal | LogLost | LogUnreadable | OutcomeUnknown | StorageUnavailable);
        if fault && !door.is_local() {
            tracing::error!(code = self.code.as_str(), error = self.message, "a command failed");
            self.message = self.code.meaning().to_owned();
        }
        self
    }

    /// As it is sent: the error object of the envelope, without `extID` and status.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: self.code,
            message: self.message.chars().take(LONGEST).collect(),
            detail: self.detail.clone().unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            retryable: self.retryable,
            retry_after_ms: self.retry_after_ms,
        }
    }
}

/// An error as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// Which kind of thing went wrong.
    pub error: ErrorCode,
    /// What happened and what to do, for people.
    pub message: String,
    /// What programs may want to know beside the code; an object.
    pub detail: Value,
    /// Whether the same request may be granted later.
    pub retryable: bool,
    /// When it is worth another try, in milliseconds; 0 where that is not known.
    pub retry_after_ms: u64,
}
