//! The engine for code that is not async: the same handle, whose calls wait.

use std::sync::Arc;
use std::time::Duration;

use holdfast_actors::root::RunHandle;
use holdfast_model::ids::RunId;
use holdfast_model::run::Run;
use tokio::runtime::Runtime;

use crate::engine::{self, Backup, Builder, EngineError};

/// A running engine with a runtime of its own. Not to be used from async code, where [`engine::Holdfast`] is at home.
pub struct Holdfast {
    engine: engine::Holdfast,
    runtime: Runtime,
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
        Ok(Self { engine, runtime })
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

    /// Waits until no run is open, or for so long. Says whether none is.
    #[must_use]
    pub fn drain(&self, within: Duration) -> bool {
        self.runtime.block_on(self.engine.drain(within))
    }

    /// Stops the engine, as [`engine::Holdfast::stop`].
    pub fn stop(self) {
        self.runtime.block_on(self.engine.stop());
        // Code that did not return when it was told to is not waited for.
        self.runtime.shutdown_timeout(Duration::from_millis(100));
    }
}
