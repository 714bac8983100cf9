//! Participants: what owns data, and how it hands it over.
//!
//! A participant is anything that implements [`Participant`]; a closure will do. The engine calls it on a thread of its own, with
//! deadlines, and takes plain bytes from it through an [`ArtifactSink`], which waits where the disk or the CPU is slower than the
//! participant. Compression, hashes, names, retries and the record of what happened are the engine's.

mod artifacts;
mod descriptor;
mod error;
mod files;
mod phased;
mod preflight;
mod pulse;
mod restore;
mod step;

pub use self::artifacts::{ArtifactSink, Artifacts};
pub(crate) use self::artifacts::{Given, Surroundings, lock};
pub(crate) use self::descriptor::digest;
pub use self::descriptor::{Deadlines, Descriptor};
pub use self::error::ParticipantError;
pub use self::files::FilesDefinition;
pub(crate) use self::files::FilesParticipant;
pub(crate) use self::phased::{Alone, Prepared};
pub use self::phased::{Capture, Frozen, Phase, Phased, Thaw};
pub use self::preflight::Preflight;
pub(crate) use self::pulse::{Pulse, THAW_WITHIN};
pub(crate) use self::restore::Lease;
pub use self::restore::{Offer, Offered, Planned, Quiesced, Restore, RestorePhase, SpaceNeeded, StagedReader, Staging};
pub(crate) use self::step::{Step, Steps, overdue};

/// Something that owns data.
///
/// Called from threads that may block, one call at a time. Async code enters its runtime by
/// [`Handle::block_on`](tokio::runtime::Handle::block_on).
///
/// A closure is one; whatever looks before it writes, or has state to share, implements it:
///
/// ```
/// use std::io::Write;
/// use std::sync::{Arc, Mutex};
///
/// use holdfast::engine::{Backup, Holdfast};
/// use holdfast::participant::{Artifacts, Participant, ParticipantError, Preflight};
///
/// #[derive(Clone, Default)]
/// struct Orders(Arc<Mutex<Vec<String>>>);
///
/// impl Participant for Orders {
///     fn preflight(&self, _check: &Preflight) -> Result<(), ParticipantError> {
///         match self.0.try_lock() {
///             Ok(_) => Ok(()),
///             Err(_) => Err(ParticipantError::retryable("ORDERS_BUSY", "the orders are being rebuilt")),
///         }
///     }
///
///     fn write(&self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
///         // The state of one moment is copied; the lock is not held while it is written.
///         let orders = self.0.lock().map_err(|_| ParticipantError::fatal("ORDERS_LOST", "restart the shop"))?.clone();
///         let mut sink = artifacts.create("orders.txt")?;
///         for order in &orders {
///             writeln!(sink, "{order}")?;
///         }
///         sink.finish()
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let orders = Orders::default();
/// let engine = Holdfast::builder(folder.path().join("home")).participant("orders", orders.clone()).start_blocking()?;
/// orders.0.lock().unwrap().push("two of the red ones".to_owned());
///
/// let run = engine.wait(engine.back_up(Backup::full())?)?;
/// let artifact = run.good_artifacts().next().ok_or("an artifact")?;
/// assert_eq!(artifact.content_bytes, "two of the red ones\n".len() as u64);
/// engine.stop();
/// # Ok(())
/// # }
/// ```
pub trait Participant: Send + Sync + 'static {
    /// Looks whether it could write: the connection, the permissions. Writes nothing and changes nothing. Called before each try, and
    /// by `holdfast participants test`.
    ///
    /// # Errors
    /// Why it could not write, and what to do.
    fn preflight(&self, _check: &Preflight) -> Result<(), ParticipantError> {
        Ok(())
    }

    /// Its phases, where it can stand still; [`Builder::phased`](crate::engine::Builder::phased) registers what has some.
    fn phases(&self) -> Option<&dyn Phased> {
        None
    }

    /// How it takes its artifacts back, where it can.
    fn restore(&self) -> Option<&dyn Restore> {
        None
    }

    /// Writes its artifacts, each whole: at least one, or it fails with `SOURCE_EMPTY`. What it returns counts only where no deadline has
    /// passed.
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
