//! How an engine starts: the home is taken over, the log opened, the actors started, and what a process before left half-done settled.

use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use holdfast_actors::participant::LiveCounts;
use holdfast_actors::ports::{Reserve, World};
use holdfast_log::space::Ballast;
use holdfast_model::codec::Origin;
use tokio::sync::watch;

use super::running::{Parts, Running};
use super::{
    EngineError, Holdfast, Registered, Shared, SystemClock, backups, board, control_plane, declared, drive,
    folded_runs, imports, keys, ledger, plan, projections, restoring, settle, uploads, verify,
};
use crate::api::{Desk, Settings};
use crate::command::Launcher;
use crate::config::Config;
use crate::pipeline::Pipeline;

/// What an engine is started for.
#[derive(Clone)]
pub struct Start {
    /// What it is for, in one word, for those who find the home in use.
    pub purpose: &'static str,
    /// Settings.
    pub config: Config,
    /// Participants of the application, after those of the configuration.
    pub participants: Vec<Registered>,
    /// Starts commands of the configuration. Without one, a configuration with commands is refused.
    pub launcher: Option<Launcher>,
    /// How long a run that goes on waits for a participant of the application that is not registered yet.
    pub late_registration: Duration,
    /// How long to wait for another owner of the home.
    pub lock_wait: Duration,
    /// Whether open runs are resumed.
    pub resume: bool,
    /// Who it acts for.
    pub origin: Origin,
}

impl Holdfast {
    /// Starts an engine on the home at `root`, which is made where there is none. Must be called on a tokio runtime, which
    /// becomes its data plane.
    ///
    /// # Errors
    /// [`EngineError`]; the home is then as it was, but for what opening the log repaired.
    pub async fn start(root: &Path, start: Start) -> Result<Self, EngineError> {
        let data_plane = tokio::runtime::Handle::current();
        let (registry, launcher) = plan::participants(&start, root)?;
        keys::check(&start.config.encryption).await?;
        let root = root.to_owned();
        let opening = start.clone();
        let opened = tokio::task::spawn_blocking(move || ledger::open(&root, &opening)).await;
        let opened = opened.map_err(|error| EngineError::Thread(error.to_string()))??;

        if start.resume {
            declared::check(&opened.projections.endpoints, &start.config)?;
        }
        let clock = Arc::new(SystemClock);
        let ballast = Ballast::new(opened.home.ballast(), Ballast::SIZE);
        let workers = match start.config.pipeline.workers {
            0 => std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            workers => workers,
        };
        // Each participant at work may hold a chunk that is half full, for as long as it likes: what the others need stays.
        let pipeline = Pipeline::new(workers, workers + 3 + start.config.runs.max_parallel)?;
        let server_id = opened.home.identity().server_id;
        let owner = Arc::new(opened.owner);
        let passphrase = keys::PassphraseFile::new(&start.config.encryption);
        let directories =
            backups::Directories::new(opened.storage, pipeline.clone(), server_id, &owner, passphrase.clone());
        let checks = directories.checks().clone();
        let min_free = start.config.space.min_free;
        let streams = super::streams::Streams::new(data_plane.clone());
        let drivers = drive::Drivers::new(
            &opened.home,
            directories.clone(),
            pipeline,
            min_free,
            registry.clone(),
            streams.clone(),
        );
        let restorer = restoring::Restorer::new(&opened.home, opened.log.clone(), &drivers, &registry);
        let uploader = uploads::Uploader::new(&opened.home, &owner, streams, data_plane.clone());
        let world = World {
            log: opened.log.clone(),
            clock: clock.clone(),
            backups: Arc::new(directories),
            participants: Arc::new(drivers.clone()),
            restores: Arc::new(restorer.clone()),
            uploads: Arc::new(uploader.clone()),
            reserve: Arc::new(LogReserve(ballast)),
            data_plane: data_plane.clone(),
            actor_restarts: Arc::default(),
            lost: Arc::new(watch::Sender::new(None)),
        };
        let live = LiveCounts::default();
        let control_plane = control_plane::ControlPlane::start(world.clone(), live.clone(), start.origin.clone())?;
        let root = control_plane.root().clone();
        restorer.recorded_by(&root, &start.origin);
        stop_when_lost(&world, &drivers);
        let log = opened.log.clone();
        // Before anything is waited for: what was started ends as it should also where nobody waits for the start any more.
        let origin = start.resume.then(|| start.origin.clone());
        let running = Running::new(Parts {
            control_plane,
            drivers,
            restorer: restorer.clone(),
            uploader: uploader.clone(),
            log: opened.log,
            owner,
            origin,
        });
        let settled =
            settle::settle(&root, &opened.home, &log, (&registry, &restorer), &opened.projections, &start, &launcher)
                .await;
        let settled = match settled {
            Ok(settled) => settled,
            Err(error) => {
                running.end().await;
                return Err(error);
            }
        };
        let board = board::Board::new(&world, &live, &checks, opened.check_rate);
        settled.resumed.iter().for_each(|handle| board.resume(handle));
        let (left, half) = (settled.left.clone(), settled.half);
        let shared = Shared {
            home: opened.home,
            config: RwLock::new(Arc::new(start.config)),
            launcher,
            desk: Arc::new(Desk::new(Settings::default())),
            root,
            world,
            board,
            registry,
            last_counter: AtomicU32::new(opened.projections.history.highest_counter().max(settled.highest_counter)),
            passphrase,
            settled,
            append_latency: log.append_latency().clone(),
            folded_runs: folded_runs::FoldedRuns::default(),
            followed: projections::Followed::start(log, opened.projections, &data_plane),
            endpoints: tokio::sync::Mutex::default(),
            keys: tokio::sync::Mutex::default(),
            restoring: restoring::Gate::with(left),
            restorer,
            uploader,
            verifying: verify::Verifying::default(),
            importing: imports::Importing::default(),
            running: Mutex::new(Some(running)),
        };
        let sweeps = start.resume;
        let engine = Self { shared: Arc::new(shared), origin: start.origin };
        if let Some(restore_id) = half {
            engine.keep_maintenance(restore_id).await?;
        }
        if let Err(error) = engine.declare_endpoints().await {
            engine.stop().await;
            return Err(error);
        }
        engine.settle_late();
        if sweeps {
            engine.sweep_safety_snapshots().await;
        }
        Ok(engine)
    }
}

/// Where nothing can be recorded any more, nobody works on for a record that never comes.
fn stop_when_lost(world: &World, drivers: &drive::Drivers) {
    let (mut lost, drivers) = (world.lost.subscribe(), drivers.clone());
    world.data_plane.spawn(async move {
        if lost.wait_for(Option::is_some).await.is_ok() {
            drivers.stop_all().await;
        }
    });
}

/// The ballast as the actors' port.
struct LogReserve(Ballast);

impl Reserve for LogReserve {
    fn release(&self) -> bool {
        self.0.give_up().unwrap_or(false)
    }
}
