//! The engine for code that is not async: the same handle, whose calls wait.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use holdfast_actors::root::RunHandle;
use holdfast_model::ids::RunId;
use holdfast_model::run::Run;
use tokio::runtime::{Handle, Runtime};

use crate::engine::{self, Backup, Builder, EngineError};

/// A running engine with a runtime of its own. Not to be used from async code, where [`engine::Holdfast`] is at home.
///
/// Dropped without [`Holdfast::stop`] it stops too, but nobody waits for it: the home is free a moment later.
///
/// ```
/// use std::time::Duration;
///
/// use holdfast::engine::{Backup, Holdfast};
/// use holdfast::participant::Artifacts;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #   let folder = tempfile::tempdir()?;
/// #   let home = folder.path().join("home");
///     let engine = Holdfast::builder(home)
///         .participant("queue", |artifacts: &mut Artifacts| artifacts.create("queue.dump")?.finish())
///         .start_blocking()?;
///
///     let run = engine.back_up(Backup::full())?;
///     // What is async has its place here, too.
///     let mut updates = engine.handle().progress_updates(run.clone());
///     while let Some(progress) = engine.block_on(updates.next()) {
///         println!("{:.0} %", progress.overall_percent);
///     }
///     let run = engine.wait(run)?;
///     println!("{:?} {}", run.outcome(), run.error_summary());
///
///     // Runs that others have asked for get a minute to end.
///     assert!(engine.drain(Duration::from_secs(60)));
///     engine.stop();
///     Ok(())
/// }
/// ```
pub struct Holdfast {
    engine: engine::Holdfast,
    runtime: Handle,
    _data_plane: DataPlane,
}

/// The runtime. Dropped, it does not wait: code that does not return when it is told to would hold the process.
struct DataPlane(Option<Runtime>);

impl Drop for DataPlane {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Holdfast {
    pub(crate) fn start(builder: Builder) -> Result<Self, EngineError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("holdfast")
            .enable_all()
            .build()
            .map_err(|error| EngineError::Thread(error.to_string()))?;
        let engine = runtime.block_on(builder.start())?;
        Ok(Self { engine, runtime: runtime.handle().clone(), _data_plane: DataPlane(Some(runtime)) })
    }

    /// Waits for what is async: the other calls of [`Holdfast::handle`], [events](engine::Events), [progress](engine::ProgressUpdates).
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The async handle, for what has no form here.
    #[must_use]
    pub fn handle(&self) -> &engine::Holdfast {
        &self.engine
    }

    /// Asks for a backup; returns once the request is recorded.
    ///
    /// # Errors
    /// As [`engine::Holdfast::back_up`].
    pub fn back_up(&self, backup: Backup) -> Result<RunHandle, EngineError> {
        self.runtime.block_on(self.engine.back_up(backup))
    }

    /// Waits for a run's end.
    ///
    /// # Errors
    /// As [`engine::Holdfast::wait`].
    pub fn wait(&self, run: RunHandle) -> Result<Arc<Run>, EngineError> {
        self.runtime.block_on(self.engine.wait(run))
    }

    /// Asks a run to stop.
    ///
    /// # Errors
    /// As [`engine::Holdfast::cancel`].
    pub fn cancel(&self, run_id: RunId, reason: &str) -> Result<RunHandle, EngineError> {
        self.runtime.block_on(self.engine.cancel(run_id, reason))
    }

    /// All of one run.
    ///
    /// # Errors
    /// As [`engine::Holdfast::run`].
    pub fn run(&self, run_id: RunId) -> Result<Arc<Run>, EngineError> {
        self.runtime.block_on(self.engine.run(run_id))
    }

    /// Keeps a run from deletion.
    ///
    /// # Errors
    /// As [`engine::Holdfast::lock`].
    pub fn lock(&self, run_id: RunId, reason: &str) -> Result<Arc<Run>, EngineError> {
        self.runtime.block_on(self.engine.lock(run_id, reason))
    }

    /// Lets a run be deleted again.
    ///
    /// # Errors
    /// As [`engine::Holdfast::unlock`].
    pub fn unlock(&self, run_id: RunId) -> Result<Arc<Run>, EngineError> {
        self.runtime.block_on(self.engine.unlock(run_id))
    }

    /// Waits until no run is open, or for so long. Says whether none is.
    #[must_use]
    pub fn drain(&self, within: Duration) -> bool {
        self.runtime.block_on(self.engine.drain(within))
    }

    /// Stops the engine, as [`engine::Holdfast::stop`].
    pub fn stop(self) {
        self.runtime.block_on(self.engine.clone().stop());
    }
}
