//! What may be asked of the engine.

use std::time::Duration;

use holdfast_model::ids::ParticipantName;
use holdfast_model::run::{Consistency, Copies, Encryption, Staging, Trigger};

use crate::participant::FilesDefinition;
use crate::pipeline::Compression;

/// A backup that is asked for.
///
/// ```
/// use holdfast::engine::{Backup, Holdfast};
/// use holdfast::model::run::{Outcome, RunType, Trigger};
/// use holdfast::participant::Artifacts;
/// use holdfast::pipeline::Compression;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let code = |artifacts: &mut Artifacts| artifacts.create(&format!("{}.data", artifacts.participant()))?.finish();
/// # let engine = Holdfast::builder(folder.path().join("home")).participant("a", code).participant("b", code).start_blocking()?;
/// // Of all that is registered and configured.
/// let everything = Backup::full().trigger(Trigger::PreUpdate);
/// // Of some, in another form; what they leave out fails them.
/// let some = Backup::scoped(["b".parse()?]).compression(Compression::None).strict(true);
///
/// for (backup, run_type) in [(everything, RunType::Full), (some, RunType::Scoped)] {
///     let run = engine.wait(engine.back_up(backup)?)?;
///     assert_eq!(run.outcome(), Some(Outcome::Completed));
///     assert_eq!(run.request().map(|request| request.run_type), Some(run_type));
/// }
/// # engine.stop();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Backup {
    pub(super) what: What,
    pub(super) trigger: Trigger,
    pub(super) compression: Option<Compression>,
    /// `None` as configured.
    pub(super) encryption: Option<Encryption>,
    pub(super) strict: bool,
    pub(super) job: String,
    pub(super) idempotency_key: String,
    pub(super) consistency: Option<Consistency>,
    /// `Some(None)` for as long as it likes.
    pub(super) timeout: Option<Option<Duration>>,
    /// `None` as configured.
    pub(super) copies: Option<Copies>,
    /// `None` as its copies say.
    pub(super) staging: Option<Staging>,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    All,
    Named(Vec<ParticipantName>),
    Files(ParticipantName, FilesDefinition),
}

impl Backup {
    /// Of all participants: a full run.
    #[must_use]
    pub fn full() -> Self {
        Self::of(What::All)
    }

    /// Of these: a scoped run. They work in the order they are configured in.
    #[must_use]
    pub fn scoped(participants: impl IntoIterator<Item = ParticipantName>) -> Self {
        Self::of(What::Named(participants.into_iter().collect()))
    }

    /// Of files, without a configuration: the run records what to take.
    #[must_use]
    pub fn files(name: ParticipantName, definition: FilesDefinition) -> Self {
        Self::of(What::Files(name, definition))
    }

    fn of(what: What) -> Self {
        let (job, idempotency_key) = (String::new(), String::new());
        Self {
            what,
            trigger: Trigger::Manual,
            compression: None,
            encryption: None,
            strict: false,
            job,
            idempotency_key,
            consistency: None,
            timeout: None,
            copies: None,
            staging: None,
        }
    }

    /// What makes it start; manual where nothing is said.
    #[must_use]
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    /// How its artifacts are compressed; as configured where nothing is said.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// How its artifacts are encrypted; as configured where nothing is said. See [`recipients`](crate::encryption::recipients).
    #[must_use]
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// Whether a warning fails its participant.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// The job it belongs to, at most 64 bytes.
    #[must_use]
    pub fn job(mut self, job: impl Into<String>) -> Self {
        self.job = job.into();
        self
    }

    /// Of which moment its artifacts are; as configured where nothing is said.
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = Some(consistency);
        self
    }

    /// How long each attempt may take, `None` for as long as it likes; as configured where nothing is said. What is at work then is stopped,
    /// and the run has ended `timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Where copies of it go, and what is expected of them; as configured where nothing is said.
    #[must_use]
    pub fn copies(mut self, copies: Copies) -> Self {
        self.copies = Some(copies);
        self
    }

    /// Where its artifacts are written, whatever is said of copies otherwise: [`Staging::None`] needs an endpoint that takes them.
    #[must_use]
    pub fn staging(mut self, staging: Staging) -> Self {
        self.staging = Some(staging);
        self
    }

    /// What whoever asks calls this wish, at most 128 bytes: asked again under the same key within a day, it leads to the same run.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = key.into();
        self
    }
}
