//! What happens, as it happens: durable events, and progress.

use std::sync::Arc;
use std::time::Duration;

use holdfast_actors::root::RunHandle;
use holdfast_log::Subscription;
use holdfast_model::codec::Envelope;
use holdfast_model::ids::Position;
use holdfast_model::progress::Progress;
use holdfast_model::run::Run;
use tokio::sync::watch;
use tokio::time::Interval;

use super::{Holdfast, ViewError};

/// Least time between two updates of the same phase.
const PAUSE: Duration = Duration::from_millis(250);

/// All events of the log from a position on, and then those that come. A slow reader costs the engine nothing.
pub struct Events {
    log: Subscription,
}

impl Events {
    pub(super) fn new(log: Subscription) -> Self {
        Self { log }
    }

    /// The next events, at least one and at most `limit`. Waits where there are none yet. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`ViewError`] once the engine was stopped, or where the log cannot be read.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Envelope>, ViewError> {
        let read = |record: holdfast_model::record::Record| {
            let position = record.position;
            Envelope::read(record).map_err(|source| ViewError::Codec { position, source })
        };
        self.log.next(limit).await?.into_iter().map(read).collect()
    }

    /// The position the next event will have.
    #[must_use]
    pub fn position(&self) -> Position {
        self.log.position()
    }
}

/// How far a run has come, until its end: at once when its phase changes, else at most four times a second, and only where something is
/// new. The last one is that of its end.
pub struct ProgressUpdates {
    engine: Holdfast,
    watch: watch::Receiver<Arc<Run>>,
    tick: Interval,
    last: Option<Progress>,
    ended: bool,
}

impl ProgressUpdates {
    pub(super) fn new(engine: Holdfast, run: RunHandle) -> Self {
        Self { engine, watch: run.watch, tick: tokio::time::interval(PAUSE), last: None, ended: false }
    }

    /// The next one; `None` after the end, and where the engine was stopped.
    pub async fn next(&mut self) -> Option<Progress> {
        while !self.ended {
            let phase = self.last.as_ref().map(|last| last.phase);
            tokio::select! {
                _ = self.tick.tick() => {}
                other = self.watch.wait_for(|run| run.id().is_some() && phase.is_some_and(|phase| phase != Progress::phase(run))) => {
                    self.ended = other.is_err();
                }
            }
            let run = self.watch.borrow().clone();
            if run.id().is_none() {
                continue;
            }
            self.ended = self.ended || !run.is_open();
            let progress = self.engine.progress(&run);
            if self.last.as_ref() != Some(&progress) {
                self.last = Some(progress.clone());
                return Some(progress);
            }
        }
        None
    }
}
