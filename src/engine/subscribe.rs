//! What happens, as it happens: durable events, and progress.

use std::sync::Arc;

use holdfast_actors::root::RunHandle;
use holdfast_log::Subscription;
use holdfast_model::codec::Envelope;
use holdfast_model::ids::Position;
use holdfast_model::progress::Progress;
use holdfast_model::run::Run;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::{Holdfast, ViewError};

/// All events of the log from a position on, and then those that come. A slow reader costs the engine nothing.
///
/// It ends with the engine. What was recorded by then and not read is there after the next start, from [`Events::position`] on; a reader
/// that is to see all of it before goes on to [`Holdfast::head`].
///
/// ```
/// use holdfast::engine::{Backup, Holdfast};
/// use holdfast::model::ids::Position;
/// use holdfast::participant::Artifacts;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let code = |artifacts: &mut Artifacts| artifacts.create("a.data")?.finish();
/// # let engine = Holdfast::builder(folder.path().join("home")).participant("a", code).start().await?;
/// let mut events = engine.events(Position::START);
/// let run = engine.back_up(Backup::full()).await?;
/// engine.wait(run).await?;
///
/// let mut seen = Vec::new();
/// while !seen.contains(&"RunPublished") {
///     for event in events.next(100).await? {
///         println!("{} {} {}", event.position, event.stream, event.event_type);
///         seen.push(event.event_type);
///     }
/// }
/// assert!(seen.starts_with(&["HomeCreated", "EngineStarted", "RunRequested"]));
///
/// // After a restart, from here on.
/// let next = events.position();
/// # assert!(next.0 as usize > seen.len());
/// engine.stop().await;
/// # Ok(())
/// # }
/// ```
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
/// new. The last one is that of its end. It holds a handle of the engine.
///
/// ```
/// use std::io::Write;
///
/// use holdfast::engine::{Backup, Holdfast};
/// use holdfast::model::progress::Phase;
/// use holdfast::participant::Artifacts;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let code = |artifacts: &mut Artifacts| { artifacts.expect_bytes(5); let mut sink = artifacts.create("a.data")?; sink.write_all(b"hello")?; sink.finish() };
/// # let engine = Holdfast::builder(folder.path().join("home")).participant("a", code).start().await?;
/// let run = engine.back_up(Backup::full()).await?;
/// let mut updates = engine.progress_updates(run);
/// let mut last = None;
/// while let Some(progress) = updates.next().await {
///     println!("{:5.1} % {}", progress.overall_percent, progress.message);
///     last = Some(progress.phase);
/// }
/// assert_eq!(last, Some(Phase::Done));
/// # drop(updates);
/// engine.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct ProgressUpdates {
    engine: Holdfast,
    watch: watch::Receiver<Arc<Run>>,
    /// Made by the first wait: before it there may be no runtime to make it on.
    tick: Option<Interval>,
    last: Option<Progress>,
    ended: bool,
}

impl ProgressUpdates {
    pub(super) fn new(engine: Holdfast, run: RunHandle) -> Self {
        Self { engine, watch: run.watch, tick: None, last: None, ended: false }
    }

    /// The next one; `None` after the end, and where the engine was stopped or can record nothing any more.
    pub async fn next(&mut self) -> Option<Progress> {
        let tick = self.tick.get_or_insert_with(|| {
            let mut tick = tokio::time::interval(self.engine.shared.board.pause());
            // One who was away for long gets one update, not all that he missed at once.
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tick
        });
        let mut lost = self.engine.lost();
        while !self.ended {
            let phase = self.last.as_ref().map(|last| last.phase);
            tokio::select! {
                _ = tick.tick() => {}
                other = self.watch.wait_for(|run| run.id().is_some() && phase.is_some_and(|phase| phase != Progress::phase(run))) => {
                    self.ended = other.is_err();
                }
                _ = lost.wait_for(Option::is_some) => self.ended = true,
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
