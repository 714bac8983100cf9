//! The engine: the [`Holdfast`] handle and the runtime behind it.
//!
//! Starting it takes the home's lock, opens the log, says in the log what was found, starts the actors on a thread of their own,
//! settles what a process before left half-done, and, where asked, resumes open runs before anything else gets its turn.

mod backups;
mod clock;
mod control_plane;
mod drive;
mod error;
mod ledger;
mod manifest;
mod restores;
mod view;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::Addr;
use holdfast_actors::participant::LiveCounts;
use holdfast_actors::ports::{Reserve, World};
use holdfast_actors::root::{ForRestore, ForRun, RequestRun, ResumeRuns, Root, RunHandle};
use holdfast_log::DurableLog;
use holdfast_log::home::{Home, ProgramVersion};
use holdfast_log::owner::Owner;
use holdfast_log::space::Ballast;
use holdfast_model::codec::{Envelope, Origin};
use holdfast_model::history::History;
use holdfast_model::ids::{ParticipantName, RestoreId, RunId, Sha256, StreamId, Version};
use holdfast_model::progress::{Counts, Progress};
use holdfast_model::restore::RestoreCommand;
use holdfast_model::run::{
    Found, NewParticipant, NewRun, Retained, Run, RunCommand, RunRequestedV1, RunType, RunVerifiedV1, Trigger,
};
use sha2::Digest;
use tokio::sync::watch;

pub use self::clock::SystemClock;
pub use self::drive::FilesDefinition;
pub use self::error::EngineError;
pub(crate) use self::manifest::artifact as recorded;
pub use self::restores::{RestoreClaim, RestoreOutcome};
pub use self::view::{HomeView, ViewError, fold_history};
use crate::config::Config;
use crate::pipeline::{Compression, Pipeline};
use crate::storage::Storage;

/// The version of this program.
pub const APP_VERSION: ProgramVersion = version();

/// What an engine is started for.
#[derive(Debug, Clone)]
pub struct Start {
    /// What it is for, in one word, for those who find the home in use.
    pub purpose: &'static str,
    /// Settings.
    pub config: Config,
    /// How long to wait for another owner of the home.
    pub lock_wait: Duration,
    /// Whether open runs are resumed.
    pub resume: bool,
    /// Who it acts for.
    pub origin: Origin,
}

/// An ad-hoc backup of files.
#[derive(Debug, Clone)]
pub struct FilesBackup {
    /// The participant's name.
    pub name: ParticipantName,
    /// What to take.
    pub definition: FilesDefinition,
    /// How it is compressed.
    pub compression: Compression,
    /// Whether a warning fails it.
    pub strict: bool,
}

/// The door to a running engine. Clones share it.
#[derive(Clone)]
pub struct Holdfast {
    shared: Arc<Shared>,
}

struct Shared {
    home: Home,
    config: Config,
    origin: Origin,
    root: Addr<Root>,
    world: World,
    live: LiveCounts,
    last_counter: AtomicU32,
    resumed: Vec<RunHandle>,
    settled: Vec<String>,
    running: Mutex<Option<Running>>,
}

/// What ends with the engine, in this order.
struct Running {
    control_plane: control_plane::ControlPlane,
    log: Arc<DurableLog>,
    owner: Owner,
}

impl Running {
    /// Ends the actors, then the log, then the ownership. Blocks.
    fn end(self) {
        self.control_plane.stop();
        self.log.close();
        drop(self.owner);
    }
}

impl Holdfast {
    /// Starts an engine on the home at `root`, which is made where there is none. Must be called on a tokio runtime, which
    /// becomes its data plane.
    ///
    /// # Errors
    /// [`EngineError`]; the home is then as it was, but for what opening the log repaired.
    pub async fn start(root: &Path, start: Start) -> Result<Self, EngineError> {
        let data_plane = tokio::runtime::Handle::current();
        let root = root.to_owned();
        let opening = start.clone();
        let opened = tokio::task::spawn_blocking(move || ledger::open(&root, &opening)).await;
        let opened = opened.map_err(|error| EngineError::Thread(error.to_string()))??;

        let clock = Arc::new(SystemClock);
        let ballast = Ballast::new(opened.home.ballast(), Ballast::SIZE);
        let workers = match start.config.pipeline.workers {
            0 => std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            workers => workers,
        };
        let pipeline = Pipeline::new(workers, workers + 4)?;
        let server_id = opened.home.identity().server_id;
        let directories = backups::Directories::new(opened.storage, pipeline.clone(), server_id);
        let world = World {
            log: opened.log.clone(),
            clock: clock.clone(),
            backups: Arc::new(directories.clone()),
            participants: Arc::new(drive::Drivers::new(
                &opened.home,
                directories,
                pipeline,
                start.config.space.min_free,
            )),
            reserve: Arc::new(LogReserve(ballast)),
            data_plane,
            lost: Arc::new(watch::Sender::new(None)),
        };
        let live = LiveCounts::default();
        let control_plane = control_plane::ControlPlane::start(world.clone(), live.clone(), start.origin.clone())?;
        let root = control_plane.root().clone();
        let settled = settle(&root, &opened.home, &opened.log, &opened.history, &start).await;
        let running = Running { control_plane, log: opened.log, owner: opened.owner };
        let (resumed, settled) = match settled {
            Ok(settled) => settled,
            Err(error) => {
                let _ = tokio::task::spawn_blocking(move || running.end()).await;
                return Err(error);
            }
        };
        let shared = Shared {
            home: opened.home,
            config: start.config,
            origin: start.origin,
            root,
            world,
            live,
            last_counter: AtomicU32::new(opened.history.highest_counter()),
            resumed,
            settled,
            running: Mutex::new(Some(running)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The home it owns.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.shared.home
    }

    /// The runs it found open and resumes, the oldest first.
    #[must_use]
    pub fn resumed(&self) -> &[RunHandle] {
        &self.shared.resumed
    }

    /// What became of the restores it found interrupted, a line each.
    #[must_use]
    pub fn settled(&self) -> &[String] {
        &self.shared.settled
    }

    /// Asks for a backup of files. The answer comes once the request is recorded.
    ///
    /// # Errors
    /// [`EngineError`] where it was refused or could not be recorded.
    pub async fn back_up(&self, backup: FilesBackup) -> Result<RunHandle, EngineError> {
        let definition =
            serde_json::to_string(&backup.definition).map_err(|error| EngineError::Thread(error.to_string()))?;
        let counter = self.shared.last_counter.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let runs = &self.shared.config.runs;
        let run = NewRun {
            request: RunRequestedV1 {
                run_id: RunId::new(self.shared.world.clock.now(), counter),
                run_type: RunType::Full,
                trigger: Trigger::Manual,
                compression: backup.compression.to_string(),
                strict: backup.strict,
                max_attempts: runs.max_attempts,
                resume_within_s: runs.resume_within.as_secs(),
                max_parallel: 1,
            },
            participants: vec![NewParticipant {
                name: backup.name,
                kind: FilesDefinition::KIND.into(),
                critical: true,
                definition_sha256: Sha256(sha2::Sha256::digest(&definition).into()),
                definition,
            }],
        };
        let request = RequestRun { run, origin: self.shared.origin.clone() };
        Ok(self.shared.root.send(request).await.map_err(|_| EngineError::Stopped)??)
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
    /// [`EngineError`] where it has not ended, is deleted already, is being read, or cannot be removed.
    pub async fn delete(&self, run_id: RunId) -> Result<Arc<Run>, EngineError> {
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

    /// Records a fact of a restore.
    ///
    /// # Errors
    /// [`EngineError`] where it does not follow from what is recorded.
    pub async fn restore(&self, restore_id: RestoreId, command: RestoreCommand) -> Result<(), EngineError> {
        let message = ForRestore { restore_id, command, origin: self.shared.origin.clone() };
        Ok(self.shared.root.send(message).await.map_err(|_| EngineError::Stopped)??)
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

    /// How far a run has come, with live counts.
    #[must_use]
    pub fn progress(&self, run: &Run) -> Progress {
        Progress::of(run, &self.live_counts(run), true, self.shared.world.clock.now())
    }

    /// Live counts of the participants of a run that are at work.
    #[must_use]
    pub fn live_counts(&self, run: &Run) -> BTreeMap<ParticipantName, Counts> {
        let Ok(live) = self.shared.live.lock() else { return BTreeMap::new() };
        let of_run = live.iter().filter(|((run_id, _), _)| Some(*run_id) == run.id());
        of_run.map(|((_, name), report)| (name.clone(), report.counts())).collect()
    }

    /// Stops the actors, closes the log and gives the home back. What is open stays open in the log.
    pub async fn stop(self) {
        let Some(running) = self.shared.running.lock().ok().and_then(|mut running| running.take()) else { return };
        drop(self);
        let _ = tokio::task::spawn_blocking(move || running.end()).await;
    }

    async fn for_run(&self, run_id: RunId, command: RunCommand) -> Result<RunHandle, EngineError> {
        let message = ForRun { run_id, command, origin: self.shared.origin.clone() };
        Ok(self.shared.root.send(message).await.map_err(|_| EngineError::Stopped)??)
    }

    async fn wait_until(&self, mut handle: RunHandle, done: impl Fn(&Run) -> bool) -> Result<Arc<Run>, EngineError> {
        let mut lost = self.shared.world.lost.subscribe();
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

/// How long a start waits for a deletion it goes on with.
const DELETION: Duration = Duration::from_secs(5);

/// Settles what a process before left half-done: deletions, restores, and, where asked, runs.
async fn settle(
    root: &Addr<Root>,
    home: &Home,
    log: &DurableLog,
    history: &History,
    start: &Start,
) -> Result<(Vec<RunHandle>, Vec<String>), EngineError> {
    for entry in history.deleting() {
        let command = RunCommand::Recover { found: Found::Published, broken: Vec::new() };
        let message = ForRun { run_id: entry.run_id, command, origin: start.origin.clone() };
        match root.send(message).await.map_err(|_| EngineError::Stopped)? {
            Ok(mut handle) => {
                // A command that ends at once would take the actors away before they could record it.
                let settled = handle.watch.wait_for(|run| run.retained() != Retained::Deleting);
                let _ = tokio::time::timeout(DELETION, settled).await;
            }
            Err(error) => tracing::error!(run_id = %entry.run_id, %error, "a deletion cannot be gone on with"),
        }
    }
    let restores = restores::settle(root, home, log, history, &start.origin).await;
    if !start.resume {
        return Ok((Vec::new(), restores));
    }
    let open = history.open().map(|entry| entry.run_id).collect();
    Ok((root.send(ResumeRuns(open)).await.map_err(|_| EngineError::Stopped)??, restores))
}

/// The ballast as the actors' port.
struct LogReserve(Ballast);

impl Reserve for LogReserve {
    fn release(&self) -> bool {
        self.0.give_up().unwrap_or(false)
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
