//! The engine: the [`Holdfast`] handle and the runtime behind it.
//!
//! Starting it takes the home's lock, opens the log, says in the log what was found, starts the actors on a thread of their own,
//! settles what a process before left half-done, and, where asked, resumes open runs before anything else gets its turn.

mod backups;
mod barrier;
mod board;
mod builder;
mod clock;
mod control_plane;
mod declared;
mod drive;
mod error;
mod far_side;
mod figures;
mod folded_runs;
mod imports;
mod keys;
mod last_copies;
mod ledger;
mod log_row;
mod manifest;
mod overseer;
mod owed_thaw;
mod own_state;
mod participants;
mod places;
mod plan;
mod projections;
mod records;
mod recovering;
mod registry;
mod remote_checks;
mod request;
mod restore_into_folder;
mod restores;
mod restoring;
mod running;
mod secrets;
mod serving;
mod settle;
mod start;
mod stopping;
mod streams;
mod subscribe;
mod uploads;
mod verify;
mod view;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use actix::Addr;
use holdfast_actors::event_sourced::{CommandError, replay};
use holdfast_actors::ports::World;
pub use holdfast_actors::root::RunHandle;
use holdfast_actors::root::{ForRun, RequestRun, Root, RootError};
use holdfast_log::home::{Home, ProgramVersion};
use holdfast_log::{AppendLatency, Subscription};
use holdfast_model::codec::{Envelope, Origin};
use holdfast_model::ids::{ParticipantName, Position, RunId, StreamId, Version};
use holdfast_model::participant::{Participant, ParticipantCommand};
use holdfast_model::run::{
    Consistency, NewParticipant, NewRun, Refusal, Retained, Run, RunCommand, RunRequestedV4, RunVerifiedV1,
};
use tokio::sync::watch;

pub(crate) use self::board::{Shown, json};
pub use self::builder::Builder;
pub use self::clock::SystemClock;
pub use self::error::EngineError;
pub(crate) use self::figures::{EndpointFigures, Figures, ParticipantFigures};
pub(crate) use self::imports::participants as participants_said;
pub use self::imports::{ImportPhase, ImportProgress, ImportRequest, RemoteError};
pub use self::last_copies::Loss;
pub use self::log_row::LogRow;
pub(crate) use self::manifest::artifact as recorded;
pub use self::participants::{DeadlinesRow, ParticipantRow};
pub(crate) use self::participants::{defined, rows as participant_rows};
pub(crate) use self::plan::configured;
pub use self::projections::{Endpoints, Projections};
pub(crate) use self::records::new_token;
pub use self::records::token_hash;
pub use self::registry::Registered;
use self::registry::Registry;
pub use self::request::Backup;
use self::request::What;
pub(crate) use self::restore_into_folder::NotBegun;
pub(crate) use self::restores::left_keys;
pub use self::restores::{RestoreClaim, RestoreOutcome};
pub(crate) use self::restoring::{Asked, InPlacePlan, NotPlanned, PlannedParticipant, restore_failure};
use self::running::Running;
pub(crate) use self::secrets::{KEY_VARIABLE as SECRETS_KEY_VARIABLE, endpoint_password};
pub use self::secrets::{PasswordError, SecretsError};
pub use self::serving::WeakHoldfast;
use self::settle::Settled;
pub use self::start::Start;
pub use self::subscribe::{Events, ProgressUpdates};
pub use self::uploads::UploadCounts;
pub(crate) use self::uploads::open_endpoint;
pub use self::verify::VerifyReport;
pub(crate) use self::verify::verify as verify_run;
pub(crate) use self::view::RUN_EVENTS;
pub use self::view::{HomeView, ViewError, fold_history};
use crate::api::Desk;
use crate::command::Launcher;
use crate::config::Config;
pub use crate::participant::FilesDefinition;
use crate::storage::Storage;

/// The version of this program.
pub const APP_VERSION: ProgramVersion = version();

/// The door to a running engine. Clones share it.
#[derive(Clone)]
pub struct Holdfast {
    shared: Arc<Shared>,
    /// Who this handle acts for.
    origin: Origin,
}

struct Shared {
    /// Where the passphrase lies that runs are encrypted with.
    passphrase: keys::PassphraseFile,
    home: Home,
    config: RwLock<Arc<Config>>,
    launcher: Launcher,
    desk: Arc<Desk>,
    root: Addr<Root>,
    world: World,
    board: board::Board,
    registry: Registry,
    own_state: own_state::OwnState,
    last_counter: AtomicU32,
    settled: Settled,
    followed: projections::Followed,
    folded_runs: folded_runs::FoldedRuns,
    append_latency: Arc<AppendLatency>,
    /// Held while an endpoint is changed: its configuration and its password belong together.
    endpoints: tokio::sync::Mutex<()>,
    /// Held while a run with an idempotency key is asked for.
    keys: tokio::sync::Mutex<()>,
    restoring: restoring::Gate,
    restorer: restoring::Restorer,
    uploader: uploads::Uploader,
    verifying: verify::Verifying,
    importing: imports::Importing,
    remote_checks: remote_checks::RemoteChecks,
    /// Held by whoever takes a copy of a run away, so that no two take the last two at once.
    last_copies: tokio::sync::Mutex<()>,
    running: Mutex<Option<Running>>,
}

impl Holdfast {
    /// An engine on the home at `home`, which is made where there is none, to be started with the participants of an application.
    pub fn builder(home: impl Into<PathBuf>) -> Builder {
        Builder::new(home.into())
    }

    /// The home it owns.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.shared.home
    }

    /// The runs it found open and resumes, the oldest first.
    #[must_use]
    pub fn resumed(&self) -> &[RunHandle] {
        &self.shared.settled.resumed
    }

    /// What became of the restores it found interrupted, and what else there was to settle, a line each.
    #[must_use]
    pub fn settled(&self) -> &[String] {
        &self.shared.settled.told
    }

    /// Participants of which a process before has left something running that could not be ended. Their next try looks again.
    #[must_use]
    pub fn unended(&self) -> &[ParticipantName] {
        &self.shared.settled.unended
    }

    /// Registers another participant, for runs from now on and for one that goes on and waits for it.
    ///
    /// # Errors
    /// [`EngineError::ParticipantTwice`]; [`EngineError::ParticipantName`] where it is the one that Holdfast itself has.
    pub fn register(&self, participant: Registered) -> Result<(), EngineError> {
        self.shared.registry.add(participant).map_err(registry::taken)
    }

    /// The participants it knows, in the order they work in.
    #[must_use]
    pub fn participants(&self) -> Vec<Registered> {
        self.shared.registry.all()
    }

    /// Asks for a backup. The answer comes once the request is recorded. With an idempotency key that the same principal has used within
    /// a day, it is the run that was asked for then.
    ///
    /// # Errors
    /// [`EngineError`] where it was refused or could not be recorded.
    pub async fn back_up(&self, backup: Backup) -> Result<RunHandle, EngineError> {
        if backup.idempotency_key.is_empty() {
            return self.request(backup).await;
        }
        let _one_at_a_time = self.shared.keys.lock().await;
        let now = self.shared.world.clock.now();
        let (principal, key) = (&self.origin.principal, &backup.idempotency_key);
        match self.read(|known| known.history.by_key(principal, key, now)).await? {
            Some(run_id) => self.attach(run_id).await,
            None => self.request(backup).await,
        }
    }

    async fn request(&self, backup: Backup) -> Result<RunHandle, EngineError> {
        // What was read or locked when its copies had come may be free by now, and this one needs the room.
        let engine = self.clone();
        self.data_plane().spawn(async move { engine.take_leave().await });
        let config = self.config();
        let all = self.shared.registry.all();
        let own = self.shared.registry.own().filter(|_| self.shared.own_state.is_wanted());
        let (run_type, participants) = plan::of(&backup.what, &all, own.as_ref(), &config.runs)?;
        let consistency = backup.consistency.unwrap_or(match backup.what {
            // A tree of files cannot stand still; who asks for it anyway is told so.
            What::Files(..) => Consistency::Concurrent,
            What::All | What::Named(_) => config.runs.consistency,
        });
        if consistency == Consistency::Barrier {
            let all: Vec<_> = all.into_iter().chain(own).collect();
            plan::can_stand_still(&participants, &all)?;
        }
        let _admitted = self.shared.restoring.admit_backup(participants.iter().map(|one| &one.name)).await?;
        let half = self
            .read(|known| {
                let by = |one: &NewParticipant| Some((one.name.clone(), known.history.half_restored().by(&one.name)?));
                participants.iter().find_map(by)
            })
            .await?;
        if let Some((participant, restore_id)) = half {
            return Err(EngineError::NotRolledBack { participant, restore_id });
        }
        let counter = self.shared.last_counter.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut copies = self.copies_of(backup.copies, run_type).await?;
        copies.staging = backup.staging.unwrap_or(copies.staging);
        let compression = backup.compression.unwrap_or(config.pipeline.compression);
        let encryption = backup.encryption.unwrap_or_else(|| config.encryption.encryption());
        let run = NewRun {
            request: RunRequestedV4 {
                run_id: RunId::new(self.shared.world.clock.now(), counter),
                run_type,
                trigger: backup.trigger,
                compression: compression.to_string(),
                strict: backup.strict,
                max_attempts: config.runs.attempts(),
                resume_within_s: config.runs.resume_within.as_secs(),
                max_parallel: u32::try_from(config.runs.max_parallel).unwrap_or(u32::MAX),
                job: backup.job,
                idempotency_key: backup.idempotency_key,
                consistency,
                freeze_budget_ms: plan::millis(config.runs.freeze_budget),
                timeout_ms: backup.timeout.unwrap_or(config.runs.timeout).map_or(0, plan::millis),
                encryption,
            },
            participants,
            copies,
        };
        let request = RequestRun { run, origin: self.origin.clone() };
        let handle = self.shared.root.send(request).await.map_err(|_| EngineError::Stopped)??;
        self.shared.board.follow(&handle);
        Ok(handle)
    }

    /// How a participant stands, as its recorded history says.
    ///
    /// # Errors
    /// [`EngineError::View`] where the log cannot be read.
    pub fn participant(&self, name: &ParticipantName) -> Result<Participant, EngineError> {
        let stream = StreamId::participant(name);
        Ok(replay::<Participant>(&*self.shared.world.log, &stream).map_err(ViewError::from)?.0)
    }

    /// Ends a participant's quarantine.
    ///
    /// # Errors
    /// [`EngineError`] where it is not in quarantine, or the end could not be recorded.
    pub async fn lift_quarantine(&self, participant: &ParticipantName, reason: &str) -> Result<(), EngineError> {
        let command = ParticipantCommand::LiftQuarantine { reason: reason.into() };
        settle::for_participant(&self.shared.root, participant, command, &self.origin).await
    }

    /// All events of the log from `from` on, and then those that come.
    #[must_use]
    pub fn events(&self, from: Position) -> Events {
        Events::new(Subscription::new(self.shared.world.log.clone(), from))
    }

    /// The position of the last event that is durable.
    #[must_use]
    pub fn head(&self) -> Position {
        self.shared.world.log.head()
    }

    /// How far a run has come, until its end.
    #[must_use]
    pub fn progress_updates(&self, run: RunHandle) -> ProgressUpdates {
        ProgressUpdates::new(self.clone(), run)
    }

    /// Asks a run to stop.
    ///
    /// # Errors
    /// [`EngineError`] where it is not active.
    pub async fn cancel(&self, run_id: RunId, reason: &str) -> Result<RunHandle, EngineError> {
        self.for_run(run_id, RunCommand::Cancel { reason: reason.into() }).await
    }

    /// Deletes an ended run's directory; answers once it is out of its place and unlinked.
    ///
    /// # Errors
    /// [`EngineError`] where it has not ended, is deleted already, is being read, or cannot be removed; with the code `LAST_COPY` where copies
    /// of it were made and none of them is known to be there, and that is not to be lost.
    pub async fn delete(&self, run_id: RunId, loss: Loss) -> Result<Arc<Run>, EngineError> {
        let _one_at_a_time = self.shared.last_copies.lock().await;
        // An upload reads it too, and says more.
        if self.run(run_id).await?.is_uploading() {
            return Err(RootError::Command(CommandError::Refused(Refusal::Uploading)).into());
        }
        self.may_delete(run_id, loss).await?;
        Storage::at(self.shared.home.backups()).check_unread(run_id)?;
        let handle = self.for_run(run_id, RunCommand::Delete).await?;
        let run = self.wait_until(handle, |run| run.retained() != Retained::Deleting).await?;
        if let (Retained::Kept, Some(failure)) = (run.retained(), run.delete_failure()) {
            return Err(EngineError::NotDeleted { run_id, failure: failure.clone() });
        }
        // Out of its place it does not exist any more; what cannot be unlinked now is at the next start.
        let storage = Storage::at(self.shared.home.backups());
        let swept = tokio::task::spawn_blocking(move || storage.sweep()).await;
        if let Ok(Err(error)) = swept {
            tracing::warn!(%error, "what was deleted cannot be unlinked");
        }
        Ok(run)
    }

    /// Records what a verification found.
    ///
    /// # Errors
    /// [`EngineError`] where the run has not ended or is deleted.
    pub async fn record_verified(&self, run_id: RunId, verified: RunVerifiedV1) -> Result<(), EngineError> {
        self.for_run(run_id, RunCommand::Verified(verified)).await.map(|_| ())
    }

    /// Waits for a run's end.
    ///
    /// # Errors
    /// [`EngineError::Lost`] where nothing can be recorded any more: the run is then open, and the next start goes on
    /// with it.
    pub async fn wait(&self, handle: RunHandle) -> Result<Arc<Run>, EngineError> {
        self.wait_until(handle, |run| !run.is_open()).await
    }

    /// The recorded events of a run after a version of its stream, at most 1,000.
    ///
    /// # Errors
    /// [`EngineError::View`] where the log cannot be read.
    pub fn run_events(&self, run_id: RunId, after: Version) -> Result<Vec<Envelope>, EngineError> {
        Ok(view::stream_events(&*self.shared.world.log, &StreamId::run(run_id), after)?)
    }

    /// The settings as they are now.
    fn config(&self) -> Arc<Config> {
        self.shared.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why nothing can be recorded any more, once that is so.
    fn lost(&self) -> watch::Receiver<Option<String>> {
        self.shared.world.lost.subscribe()
    }

    async fn for_run(&self, run_id: RunId, command: RunCommand) -> Result<RunHandle, EngineError> {
        let message = ForRun { run_id, command, origin: self.origin.clone() };
        Ok(self.shared.root.send(message).await.map_err(|_| EngineError::Stopped)??)
    }

    async fn wait_until(&self, mut handle: RunHandle, done: impl Fn(&Run) -> bool) -> Result<Arc<Run>, EngineError> {
        let mut lost = self.lost();
        tokio::select! {
            biased;
            run = handle.watch.wait_for(|run| done(run)) => match run {
                Ok(run) => Ok(run.clone()),
                Err(_) => Err(EngineError::Stopped),
            },
            reason = lost.wait_for(Option::is_some) => {
                let reason = reason.ok().and_then(|reason| reason.clone());
                Err(EngineError::Lost(reason.unwrap_or_else(|| "the engine stopped".into())))
            }
        }
    }
}

const fn version() -> ProgramVersion {
    #[expect(clippy::indexing_slicing, reason = "evaluated when this is compiled")]
    const fn number(text: &str) -> u32 {
        let bytes = text.as_bytes();
        let mut value = 0;
        let mut at = 0;
        while at < bytes.len() {
            value = value * 10 + (bytes[at] - b'0') as u32;
            at += 1;
        }
        value
    }
    ProgramVersion(
        number(env!("CARGO_PKG_VERSION_MAJOR")),
        number(env!("CARGO_PKG_VERSION_MINOR")),
        number(env!("CARGO_PKG_VERSION_PATCH")),
    )
}
