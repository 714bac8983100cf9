//! What can go wrong at a far side: by what can be done about it.
//!
//! A text never holds a password, a key, or what the far side said in its own words beyond a short code: those can quote the request.

use std::fmt;
use std::time::Duration;

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The same may succeed later: the connection broke, or the far side is overloaded or restarting.
    Retryable,
    /// No answer in time.
    Timeout,
    /// Login, password, key, certificate or host key are not those that are needed.
    Credentials,
    /// The far side knows who asks, and does not let them do this.
    Denied,
    /// There is nothing under this name.
    NotFound,
    /// There is something under this name.
    Exists,
    /// There is no room left.
    Full,
    /// What was to be sent could not be read, or was not as long as said.
    Source,
    /// What is there is not what was brought there.
    Altered,
    /// Trying again does not help.
    Fatal,
}

impl ErrorKind {
    /// Its stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Retryable => "REMOTE_UNAVAILABLE",
            Self::Timeout => "REMOTE_TIMEOUT",
            Self::Credentials => "REMOTE_CREDENTIALS",
            Self::Denied => "REMOTE_DENIED",
            Self::NotFound => "REMOTE_NOT_FOUND",
            Self::Exists => "REMOTE_EXISTS",
            Self::Full => "REMOTE_FULL",
            Self::Source => "UPLOAD_SOURCE",
            Self::Altered => "REMOTE_RUN_ALTERED",
            Self::Fatal => "REMOTE_FAILED",
        }
    }

    /// Whether the same may succeed on another try.
    #[must_use]
    pub fn retryable(self) -> bool {
        matches!(self, Self::Retryable | Self::Timeout)
    }

    /// What somebody can do about it.
    fn advice(self) -> &'static str {
        match self {
            Self::Retryable => "see whether the far side is up and can be reached, and try again",
            Self::Timeout => "see whether the far side is up, or raise the timeout",
            Self::Credentials => "correct what this endpoint is configured with",
            Self::Denied => "give this login the right to do it, or use another one",
            Self::NotFound => "look for it in the listing",
            Self::Exists => "choose another name, or say that it may be replaced",
            Self::Full => "make room there, or use another endpoint",
            Self::Source => "see to what is read here, and try again",
            Self::Altered => "use another copy of it, and bring it there anew",
            Self::Fatal => "correct the configuration of the endpoint or of the far side",
        }
    }
}

/// Why something at a far side did not succeed.
#[derive(Debug, Clone)]
pub struct StoreError {
    kind: ErrorKind,
    doing: String,
    why: String,
    attempts: u32,
    retry_after: Option<Duration>,
}

impl StoreError {
    /// An error with what was tried (`write a/b`) and why it failed, both without any secret.
    #[must_use]
    pub fn new(kind: ErrorKind, doing: impl Into<String>, why: impl Into<String>) -> Self {
        Self { kind, doing: doing.into(), why: why.into(), attempts: 1, retry_after: None }
    }

    /// What can be done about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// How often it was tried.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The pause that the far side asked for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn tried(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    pub(crate) fn pausing(mut self, pause: Option<Duration>) -> Self {
        self.retry_after = pause;
        self
    }

    /// From what a file of this machine said.
    pub(crate) fn io(doing: impl Into<String>, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
            Io::AlreadyExists => ErrorKind::Exists,
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => ErrorKind::Full,
            Io::TimedOut => ErrorKind::Timeout,
            Io::Interrupted | Io::StaleNetworkFileHandle | Io::ResourceBusy => ErrorKind::Retryable,
            _ => ErrorKind::Fatal,
        };
        Self::new(kind, doing, error.to_string())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.doing, self.why)?;
        if self.attempts > 1 {
            write!(f, " ({} attempts)", self.attempts)?;
        }
        write!(f, "; {}", self.kind.advice())
    }
}

impl std::error::Error for StoreError {}
