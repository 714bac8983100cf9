//! How a command ends: its exit code, and an error that says what to do next.

use std::fmt;

/// The exit codes, as `--help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    Good = 0,
    Failed = 1,
    Usage = 2,
    Warnings = 3,
    Damaged = 4,
    NoSuchRun = 10,
    Busy = 11,
    /// Wrong or missing key.
    Key = 12,
    Cancelled = 130,
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub(super) struct CliError {
    pub(super) exit: Exit,
    /// Stable name for programs.
    pub(super) code: String,
    /// What happened, with its causes.
    pub(super) message: String,
    /// What to do.
    pub(super) next: String,
}

pub(super) type CliResult = Result<Exit, CliError>;

impl CliError {
    pub(super) fn new(exit: Exit, code: &str, message: impl fmt::Display, next: impl Into<String>) -> Self {
        Self { exit, code: code.into(), message: message.to_string(), next: next.into() }
    }

    /// An error whose own text says what to do.
    pub(super) fn failed(code: &str, message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, code, message, "")
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.next.is_empty() { Ok(()) } else { write!(f, "\n  {}", self.next) }
    }
}
