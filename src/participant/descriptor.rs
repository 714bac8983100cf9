//! What the engine knows of a participant beside its code.

use std::ops::RangeInclusive;
use std::time::Duration;

use holdfast_model::ids::{InvalidName, ParticipantName, Sha256};
use sha2::Digest;

/// How long a participant may take. `None`: as long as it likes.
///
/// A deadline that passed is a failure, also where the code returns well a moment later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For [`preflight`](super::Participant::preflight).
    pub preflight: Option<Duration>,
    /// For [`prepare`](super::Phased::prepare).
    pub prepare: Option<Duration>,
    /// From its freeze to its thaw, where it has a moment of its own. In a barrier the run's budget counts.
    pub freeze: Duration,
    /// For [`write`](super::Participant::write).
    pub write: Option<Duration>,
    /// Without a byte or another sign of life, while it is not held up by its sink.
    pub stall: Option<Duration>,
    /// To return in, once it was told to stop. After it the run goes on without it, and nothing is begun with it until it has returned.
    pub grace: Duration,
}

impl Deadlines {
    /// The grace where nothing is said.
    pub const GRACE: Duration = Duration::from_secs(10);
    /// How long it may stand still where nothing is said.
    pub const FREEZE: Duration = Duration::from_secs(10);
}

impl Default for Deadlines {
    fn default() -> Self {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        Self {
            preflight: seconds(60),
            prepare: seconds(60),
            freeze: Self::FREEZE,
            write: seconds(30 * 60),
            stall: seconds(60),
            grace: Self::GRACE,
        }
    }
}

/// What the engine knows of a participant beside its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its name, by which runs and their artifacts are found again.
    pub name: ParticipantName,
    /// What it is: `files`, `command`, or `module` for code of the application.
    pub kind: String,
    /// Whether its failure fails the run.
    pub critical: bool,
    /// Participants that work before it, where they are part of the run. Their failure does not keep it from working.
    pub depends_on: Vec<ParticipantName>,
    /// Tries within one attempt of a run, the first included.
    pub max_tries: u32,
    /// The pause before the second try; it doubles with each further one.
    pub retry_delay: Duration,
    /// How long it may take.
    pub deadlines: Deadlines,
    /// The version of what it writes. A run that is resumed with another one fails, instead of mixing both.
    pub format_version: u32,
    /// The versions of its format that it takes back. A backup in another one is refused before anything is touched.
    pub reads: RangeInclusive<u32>,
    /// What tells this definition from another one of the same name.
    pub digest: Sha256,
}

impl Descriptor {
    /// The kind of participants that are code of the application.
    pub const MODULE: &'static str = "module";

    /// A critical participant of the application's own, with the default deadlines and three tries.
    ///
    /// # Errors
    /// [`InvalidName`]: a name is 1 to 64 of `[A-Za-z0-9._-]`, beginning with a letter, a digit or `_`.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        Ok(Self {
            name: name.parse()?,
            kind: Self::MODULE.into(),
            critical: true,
            depends_on: Vec::new(),
            max_tries: 3,
            retry_delay: Duration::from_secs(5),
            deadlines: Deadlines::default(),
            format_version: 1,
            reads: 1..=1,
            digest: digest(&format!("{} {name} 1", Self::MODULE)),
        })
    }

    /// Its failure does not fail the run.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.critical = false;
        self
    }

    /// It works after these.
    #[must_use]
    pub fn depends_on(mut self, names: impl IntoIterator<Item = ParticipantName>) -> Self {
        self.depends_on = names.into_iter().collect();
        self
    }

    /// It has these deadlines.
    #[must_use]
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// It is tried so often in one attempt, with this pause before the second try.
    #[must_use]
    pub fn tries(mut self, max_tries: u32, retry_delay: Duration) -> Self {
        self.max_tries = max_tries;
        self.retry_delay = retry_delay;
        self
    }

    /// It writes this version of its format, and takes back all up to it.
    #[must_use]
    pub fn format_version(mut self, version: u32) -> Self {
        self.format_version = version;
        self.reads = 1..=version;
        self.digest = digest(&format!("{} {} {version}", self.kind, self.name));
        self
    }

    /// It takes back these versions of its format.
    #[must_use]
    pub fn reads(mut self, versions: RangeInclusive<u32>) -> Self {
        self.reads = versions;
        self
    }
}

/// What tells one definition from another.
pub(crate) fn digest(text: &str) -> Sha256 {
    Sha256(sha2::Sha256::digest(text).into())
}
