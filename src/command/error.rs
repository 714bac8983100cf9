//! Why a command did not do what it is for.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use holdfast_model::failure::{Failure, FailureKind};

use crate::participant::ParticipantError;

/// Why a command did not do what it is for. No text holds the value of a variable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It cannot be run as it is described.
    #[error("the command cannot be run as configured: {reason}")]
    Invalid {
        /// What is wrong, and what to write.
        reason: &'static str,
    },
    /// There is no such program, or the interpreter its first line names is missing.
    #[error("`{program}` was not found: install it (or the interpreter it names), or give its whole path")]
    NotFound {
        /// The first word.
        program: String,
    },
    /// The program is there and may not be executed.
    #[error("`{program}` cannot be executed ({reason}): make it executable for this user")]
    NotExecutable {
        /// The first word.
        program: String,
        /// What the system said.
        reason: io::Error,
    },
    /// The folder it is to run in cannot be entered.
    #[error("the command's directory {} cannot be entered ({reason}): make it, or name another", path.display())]
    Directory {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// A file with the value of a variable cannot be used.
    #[error("the file {} for the variable {variable} cannot be used ({reason}): see to it", path.display())]
    Secret {
        /// The variable.
        variable: String,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The program between us and the command does not do its part.
    #[error("the launcher {} cannot be used ({reason}): its main must call `launch_if_asked` first", path.display())]
    Launcher {
        /// The program.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The system has no room for another process, pipe or descriptor.
    #[error("`{program}` could not be started: {reason}")]
    NotStarted {
        /// The first word.
        program: String,
        /// What the system said.
        reason: io::Error,
    },
    /// It could not be recorded, so it was not run.
    #[error(transparent)]
    NotAdmitted(Failure),
    /// It said that it failed.
    #[error("the command failed: it exited with status {status}")]
    Failed {
        /// Its exit status.
        status: i32,
    },
    /// A signal ended it.
    #[error("the command was killed by {signal}")]
    Killed {
        /// The signal's name.
        signal: String,
    },
    /// It exited, and something it started still holds its output open: nobody knows whether all was written.
    #[error(
        "the command exited and a process it started still held its output open {} s later: \
         let it wait for what it starts", within.as_secs()
    )]
    OutputHeld {
        /// How long was waited.
        within: Duration,
    },
    /// It wrote nothing.
    #[error("the command succeeded and wrote nothing: correct it, or set allow_empty where nothing is a good answer")]
    Empty,
    /// It succeeded without reading all that it was given.
    #[error("the command succeeded without reading all of its input: what it made of it is not complete")]
    StoppedReading,
    /// Somebody wants it to stop: a cancel, a deadline, a stall.
    #[error("the command was stopped")]
    Stopped,
    /// Processes of it are still there although they were killed.
    #[error("processes of the command (group {group}) did not end after SIGKILL: see what they wait for")]
    NotEnded {
        /// The process group.
        group: u32,
    },
    /// The system does not say how it is with the command.
    #[error("the command could not be watched: {reason}")]
    Watch {
        /// What the system said.
        reason: io::Error,
    },
    /// What takes its output, or gives its input, failed.
    #[error(transparent)]
    Stream(ParticipantError),
}

impl CommandError {
    /// Whether the system refused to run it, so that it certainly has not.
    pub(super) fn was_refused(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NotExecutable { .. } | Self::Directory { .. })
    }

    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Invalid { .. } => "COMMAND_INVALID",
            Self::NotFound { .. } => "COMMAND_NOT_FOUND",
            Self::NotExecutable { .. } => "COMMAND_NOT_EXECUTABLE",
            Self::Directory { .. } => "COMMAND_DIRECTORY_UNUSABLE",
            Self::Secret { .. } => "COMMAND_SECRET_UNREADABLE",
            Self::Launcher { .. } => "COMMAND_LAUNCHER_UNUSABLE",
            Self::NotStarted { .. } => "COMMAND_NOT_STARTED",
            Self::NotAdmitted(failure) => &failure.code,
            Self::Failed { .. } => "COMMAND_FAILED",
            Self::Killed { .. } => "COMMAND_KILLED",
            Self::OutputHeld { .. } => "COMMAND_OUTPUT_HELD",
            Self::Empty => "COMMAND_EMPTY",
            Self::StoppedReading => "COMMAND_STOPPED_READING",
            Self::Stopped => "COMMAND_STOPPED",
            Self::NotEnded { .. } => holdfast_model::participant::NOT_ENDED,
            Self::Watch { .. } => "COMMAND_NOT_WATCHED",
            Self::Stream(error) => &error.failure().code,
        }
    }

    /// What may be done about it.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Failed { .. } | Self::Killed { .. } | Self::Watch { .. } => FailureKind::Retryable,
            Self::NotStarted { .. } => FailureKind::Resource,
            Self::Stopped => FailureKind::Cancelled,
            Self::NotAdmitted(failure) => failure.kind,
            Self::Stream(error) => error.failure().kind,
            Self::Invalid { .. }
            | Self::NotFound { .. }
            | Self::NotExecutable { .. }
            | Self::Directory { .. }
            | Self::Secret { .. }
            | Self::Launcher { .. }
            | Self::OutputHeld { .. }
            | Self::Empty
            | Self::StoppedReading
            | Self::NotEnded { .. } => FailureKind::Fatal,
        }
    }

    /// The same with the end of what the command said.
    pub(super) fn said(self, output: &[u8]) -> ParticipantError {
        let error = match self {
            Self::Stream(error) => error,
            Self::NotAdmitted(failure) => failure.into(),
            error => ParticipantError::new(error.kind(), error.code(), error.to_string()),
        };
        error.with_output(output)
    }

    /// Why the system did not execute `program`.
    pub(super) fn not_executed(program: &str, reason: io::Error) -> Self {
        let program = program.to_owned();
        match reason.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound { program },
            io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock | io::ErrorKind::ExecutableFileBusy => {
                Self::NotStarted { program, reason }
            }
            _ => Self::NotExecutable { program, reason },
        }
    }
}
