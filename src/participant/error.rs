//! Why a participant did not give what it has.

use std::io;

use holdfast_model::failure::{Failure, FailureKind, cut};

use crate::pipeline::PipelineError;

/// Why a participant did not give what it has: a [`Failure`], and the last of what its program said.
///
/// An [`io::Error`] becomes one by `?`: where it comes from an [`ArtifactSink`](super::ArtifactSink), the failure is that of the sink,
/// else it is one that another try may mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{failure}")]
pub struct ParticipantError {
    failure: Failure,
    output: String,
}

impl ParticipantError {
    /// Most of a program's output that is kept, in bytes.
    pub const MAX_OUTPUT: usize = 4096;

    /// A failure of this kind. `code` is a stable name in `UPPER_CASE`, the message says what happened and what to do.
    pub fn new(kind: FailureKind, code: &str, message: impl AsRef<str>) -> Self {
        Self { failure: Failure::new(kind, code, message), output: String::new() }
    }

    /// A failure that another try may mend.
    pub fn retryable(code: &str, message: impl AsRef<str>) -> Self {
        Self::new(FailureKind::Retryable, code, message)
    }

    /// A failure that no other try can mend.
    pub fn fatal(code: &str, message: impl AsRef<str>) -> Self {
        Self::new(FailureKind::Fatal, code, message)
    }

    /// The same, with the end of what a program said: the last [`ParticipantError::MAX_OUTPUT`] bytes of it.
    #[must_use]
    pub fn with_output(mut self, output: &[u8]) -> Self {
        let last = output.get(output.len().saturating_sub(Self::MAX_OUTPUT)..).unwrap_or_default();
        // Bytes that are no text grow when they are replaced.
        self.output = cut(&String::from_utf8_lossy(last), Self::MAX_OUTPUT).to_owned();
        self
    }

    /// The same, of a part of the work: `its preflight`.
    #[must_use]
    pub(crate) fn of(mut self, part: &str) -> Self {
        let failure = self.failure;
        self.failure = Failure::new(failure.kind, &failure.code, format!("{part}: {}", failure.message));
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn failure(&self) -> &Failure {
        &self.failure
    }

    /// The last of what its program said; empty where it said nothing, or is none.
    #[must_use]
    pub fn output(&self) -> &str {
        &self.output
    }
}

impl From<Failure> for ParticipantError {
    fn from(failure: Failure) -> Self {
        Self { failure, output: String::new() }
    }
}

impl From<PipelineError> for ParticipantError {
    fn from(error: PipelineError) -> Self {
        let kind = match &error {
            PipelineError::StorageFull { .. } => FailureKind::Resource,
            PipelineError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => FailureKind::Resource,
            PipelineError::Revoked { .. } => FailureKind::Cancelled,
            error if error.retryable() => FailureKind::Retryable,
            _ => FailureKind::Fatal,
        };
        Self::new(kind, error.code(), error.to_string())
    }
}

impl From<io::Error> for ParticipantError {
    fn from(error: io::Error) -> Self {
        match PipelineError::inside(&error) {
            Some(inside) => inside.clone().into(),
            None => Self::retryable("PARTICIPANT_IO", error.to_string()),
        }
    }
}
