//! How an application starts an engine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_model::codec::Origin;
use uuid::Uuid;

use super::registry::Registered;
use super::{EngineError, Holdfast, Start};
use crate::blocking;
use crate::command::Launcher;
use crate::config::Config;
use crate::participant::{Alone, Descriptor, Participant, Phased};

/// How long another owner of the home is waited for where nothing is said.
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// How long a run that goes on waits for a participant that is not registered yet, where nothing is said.
const LATE_REGISTRATION: Duration = Duration::from_secs(30);

/// An engine that is not started yet. See [`Holdfast::builder`].
///
/// ```
/// use std::time::Duration;
///
/// use holdfast::config::Config;
/// use holdfast::engine::Holdfast;
/// use holdfast::participant::{Artifacts, Deadlines, Descriptor, ParticipantError};
///
/// fn write(artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
///     artifacts.create("cache.dump")?.finish()
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let home = folder.path().join("home");
/// let mut config = Config::default();
/// config.runs.max_parallel = 2;
///
/// let engine = Holdfast::builder(home)
///     .config(config)
///     // Critical, with the default deadlines.
///     .participant("index", write)
///     // A run is good without it; it works after the index, and is given two minutes.
///     .participant_with(
///         Descriptor::new("cache")?
///             .optional()
///             .depends_on(["index".parse()?])
///             .tries(2, Duration::from_secs(1))
///             .deadlines(Deadlines { write: Some(Duration::from_secs(120)), ..Deadlines::default() })
///             .format_version(3),
///         write,
///     )
///     .lock_wait(Duration::from_secs(5))
///     .start()
///     .await?;
/// assert_eq!(engine.participants().len(), 2);
/// engine.stop().await;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Builder {
    home: PathBuf,
    config: Config,
    participants: Vec<Result<Registered, EngineError>>,
    launcher: Option<Launcher>,
    late_registration: Duration,
    lock_wait: Duration,
    principal: String,
    resume: bool,
}

impl Builder {
    pub(super) fn new(home: PathBuf) -> Self {
        Self {
            home,
            config: Config::default(),
            participants: Vec::new(),
            launcher: None,
            late_registration: LATE_REGISTRATION,
            lock_wait: LOCK_WAIT,
            principal: format!("local:uid={}", rustix::process::getuid().as_raw()),
            resume: true,
        }
    }

    /// Settings, and the participants of a configuration file: they come before those of the application.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Registers a critical participant with the default deadlines: anything that implements [`Participant`], or a closure.
    pub fn participant(self, name: &str, code: impl Participant) -> Self {
        match Descriptor::new(name) {
            Ok(descriptor) => self.participant_with(descriptor, code),
            Err(error) => {
                self.with(Err(EngineError::ParticipantName { name: name.to_owned(), reason: error.to_string() }))
            }
        }
    }

    /// Registers a participant with all that can be said of it.
    pub fn participant_with(self, descriptor: Descriptor, code: impl Participant) -> Self {
        self.with(Ok(Registered { descriptor, code: Arc::new(code) }))
    }

    /// Registers a critical participant with the default deadlines that can stand still.
    pub fn phased(self, name: &str, code: impl Phased) -> Self {
        self.participant(name, Alone(code))
    }

    /// Registers a participant that can stand still, with all that can be said of it.
    pub fn phased_with(self, descriptor: Descriptor, code: impl Phased) -> Self {
        self.participant_with(descriptor, Alone(code))
    }

    fn with(mut self, participant: Result<Registered, EngineError>) -> Self {
        self.participants.push(participant);
        self
    }

    /// What starts the commands of the configuration; needed where it has some.
    pub fn launcher(mut self, launcher: Launcher) -> Self {
        self.launcher = Some(launcher);
        self
    }

    /// How long a run that goes on waits for a participant that [`Holdfast::register`] brings only later; 30 s where nothing is said.
    pub fn late_registration(mut self, wait: Duration) -> Self {
        self.late_registration = wait;
        self
    }

    /// How long to wait for another process that has the home in use.
    pub fn lock_wait(mut self, lock_wait: Duration) -> Self {
        self.lock_wait = lock_wait;
        self
    }

    /// Who the engine acts for, as the event log says it; the user of the process where nothing is said.
    pub fn principal(mut self, principal: impl Into<String>) -> Self {
        self.principal = principal.into();
        self
    }

    /// Whether runs that an earlier process left open are gone on with; they are where nothing is said.
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Starts the engine on the tokio runtime it is called on, which becomes its data plane: it has to have timers, and to be running for as
    /// long as the engine is. What an earlier process left is settled when this returns, and open runs are being resumed.
    ///
    /// # Errors
    /// [`EngineError`]; the home is then as it was, but for what opening the log repaired.
    pub async fn start(self) -> Result<Holdfast, EngineError> {
        let start = Start {
            purpose: "application",
            config: self.config,
            participants: self.participants.into_iter().collect::<Result<_, _>>()?,
            launcher: self.launcher,
            late_registration: self.late_registration,
            lock_wait: self.lock_wait,
            resume: self.resume,
            origin: Origin { principal: self.principal, correlation_id: Uuid::now_v7() },
        };
        Holdfast::start(&self.home, start).await
    }

    /// Starts the engine from code that is not async, with a runtime of its own.
    ///
    /// # Errors
    /// As [`Builder::start`]; and where the system gives no threads.
    pub fn start_blocking(self) -> Result<blocking::Holdfast, EngineError> {
        blocking::Holdfast::start(self)
    }
}
