//! Participants: what owns data, and how it hands it over.
//!
//! A participant is anything that implements [`Participant`]; a closure will do. The engine calls it on a thread of its own, with
//! deadlines, and takes plain bytes from it through an [`ArtifactSink`], which waits where the disk or the CPU is slower than the
//! participant. Compression, hashes, names, retries and the record of what happened are the engine's.

mod artifacts;
mod descriptor;
mod error;
mod files;
mod preflight;
mod pulse;

pub use self::artifacts::{ArtifactSink, Artifacts};
pub(crate) use self::artifacts::{Given, Surroundings, lock};
pub(crate) use self::descriptor::digest;
pub use self::descriptor::{Deadlines, Descriptor};
pub use self::error::ParticipantError;
pub use self::files::FilesDefinition;
pub(crate) use self::files::FilesParticipant;
pub use self::preflight::Preflight;
pub(crate) use self::pulse::Pulse;

/// Something that owns data.
///
/// Called from threads that may block. Async code enters its runtime by `Handle::block_on`.
pub trait Participant: Send + Sync + 'static {
    /// Looks whether it could write: the connection, the permissions. Writes nothing and changes nothing. Called before each try, and
    /// by `holdfast participants test`.
    ///
    /// # Errors
    /// Why it could not write, and what to do.
    fn preflight(&self, _check: &Preflight) -> Result<(), ParticipantError> {
        Ok(())
    }

    /// Writes its artifacts, each whole.
    ///
    /// # Errors
    /// Why it could not. What it wrote is then thrown away, and where the kind of the failure allows another try, it is called again.
    fn write(&self, artifacts: &mut Artifacts) -> Result<(), ParticipantError>;
}

impl<F> Participant for F
where
    F: Fn(&mut Artifacts) -> Result<(), ParticipantError> + Send + Sync + 'static,
{
    fn write(&self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        self(artifacts)
    }
}
