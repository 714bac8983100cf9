//! What is read of the log while the engine runs: one fold, kept up by one follower.
//!
//! A read waits until everything that was durable when it began is folded, so whoever was answered reads what he wrote. The wait is
//! bounded, and it is the data plane's: a caller may be on any runtime. Where the log is closed, or nothing can be recorded any more, a
//! read is an error and never waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use holdfast_log::{ReadLog, Subscription};
use holdfast_model::access::Access;
use holdfast_model::aggregate::Aggregate;
use holdfast_model::codec::Envelope;
use holdfast_model::endpoint::Endpoint;
use holdfast_model::event::{Event, RunEvent};
use holdfast_model::history::History;
use holdfast_model::ids::{EndpointName, Position, Timestamp};
use holdfast_model::maintenance::Maintenance;
use holdfast_model::run::Places;
use holdfast_model::tally::Tally;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::subscribe::Events;
use super::view::{self, ViewError};
use super::{EngineError, Holdfast, places};

/// How many events are folded under one lock.
const BATCH: usize = 500;
/// How long a read waits for the fold.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every endpoint that is there.
pub type Endpoints = BTreeMap<EndpointName, Endpoint>;

/// What is known without reading the log again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Projections {
    /// Runs, restores, participants.
    pub history: History,
    /// Endpoints that are there.
    pub endpoints: Endpoints,
    /// Where each is.
    pub places: Arc<Places>,
    /// When each had an upload last that came to its end.
    pub last_uploads: BTreeMap<EndpointName, Timestamp>,
    /// Tokens.
    pub access: Access,
    /// Whether there is maintenance.
    pub maintenance: Maintenance,
    /// Sums over the whole log.
    pub tally: Tally,
}

impl Projections {
    /// Folds a log up to a position.
    ///
    /// # Errors
    /// [`ViewError`] where an event cannot be read.
    pub(super) fn fold(log: &dyn ReadLog, upto: Position) -> Result<Self, ViewError> {
        let mut projections = Self::default();
        view::fold(log, upto, |envelope| projections.apply(envelope))?;
        Ok(projections)
    }

    fn apply(&mut self, envelope: &Envelope) {
        self.history.apply(envelope);
        self.tally.apply(envelope);
        places::apply(&mut self.places, envelope);
        match &envelope.data {
            Event::EndpointEvent(event) => {
                let Some(name) = envelope.stream.endpoint_name() else { return };
                let endpoint = self.endpoints.entry(name.clone()).or_default();
                endpoint.apply(event, &envelope.moment());
                if endpoint.config().is_none() {
                    self.endpoints.remove(&name);
                }
            }
            Event::RunEvent(RunEvent::UploadCompleted(completed)) => {
                self.last_uploads.insert(completed.endpoint.clone(), envelope.time);
            }
            Event::AccessEvent(event) => self.access.apply(event, &envelope.moment()),
            Event::MaintenanceEvent(event) => self.maintenance.apply(event, &envelope.moment()),
            _ => {}
        }
    }
}

/// The projections of one engine and how far they are. Clones share them.
#[derive(Clone)]
pub(super) struct Followed {
    projections: Arc<RwLock<Projections>>,
    folded: watch::Receiver<Position>,
    /// Why the follower ended, where it was not because the log was closed.
    broken: Arc<Mutex<Option<String>>>,
}

impl Followed {
    /// Goes on from `projections` with what comes.
    pub(super) fn start(log: Arc<dyn ReadLog>, projections: Projections, data_plane: &Handle) -> Self {
        let folded_to = projections.history.folded_to();
        let (send, folded) = watch::channel(folded_to);
        let followed = Self { projections: Arc::new(RwLock::new(projections)), folded, broken: Arc::default() };
        let events = Events::new(Subscription::new(log, folded_to.next()));
        data_plane.spawn(follow(events, followed.projections.clone(), send, followed.broken.clone()));
        followed
    }

    fn is_folded(&self, upto: Position) -> bool {
        *self.folded.borrow() >= upto
    }

    fn get<T>(&self, read: impl FnOnce(&Projections) -> T) -> T {
        read(&self.projections.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why nothing is folded any more, if so.
    fn ended(&self) -> Result<(), EngineError> {
        if self.folded.has_changed().is_ok() {
            return Ok(());
        }
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(broken.map_or(EngineError::Stopped, EngineError::Lost))
    }
}

async fn follow(
    mut events: Events,
    projections: Arc<RwLock<Projections>>,
    folded: watch::Sender<Position>,
    broken: Arc<Mutex<Option<String>>>,
) {
    loop {
        let batch = match events.next(BATCH).await {
            Ok(batch) => batch,
            Err(error) => {
                if !matches!(error, ViewError::Read(holdfast_log::ReadError::Closed)) {
                    tracing::error!(%error, position = %events.position(), "the log is not followed any more");
                    *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                }
                return;
            }
        };
        let mut projections = projections.write().unwrap_or_else(PoisonError::into_inner);
        batch.iter().for_each(|envelope| projections.apply(envelope));
        folded.send_replace(projections.history.folded_to());
    }
}

impl Holdfast {
    /// Reads what is known of all that is durable now. `read` should be short: while it runs nothing more is folded.
    ///
    /// ```
    /// # use holdfast::engine::{Backup, Holdfast};
    /// # use holdfast::participant::Artifacts;
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let code = |artifacts: &mut Artifacts| artifacts.create("a.data")?.finish();
    /// # let engine = Holdfast::builder(folder.path().join("home")).participant("a", code).start().await?;
    /// let run = engine.back_up(Backup::full()).await?;
    /// let newest = engine.read(|known| known.history.newest_first().next().map(|entry| entry.run_id)).await?;
    /// assert_eq!(newest, Some(run.run_id));
    /// # engine.wait(run).await?;
    /// # engine.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`EngineError::Stopped`] once the engine was stopped, [`EngineError::Lost`] where nothing can be recorded or read any more,
    /// [`EngineError::Behind`] where the fold does not come as far within 10 s.
    pub async fn read<T>(&self, read: impl FnOnce(&Projections) -> T) -> Result<T, EngineError> {
        let followed = &self.shared.followed;
        let head = self.head();
        if let Some(reason) = self.shared.world.lost.borrow().clone() {
            return Err(EngineError::Lost(reason));
        }
        followed.ended()?;
        if !followed.is_folded(head) {
            let mut folded = followed.folded.clone();
            let wait = async move {
                let wait = folded.wait_for(|folded| *folded >= head);
                tokio::time::timeout(PATIENCE, wait).await.is_ok()
            };
            // Its timer is the data plane's. Where that is gone, so is the follower.
            let in_time = self.shared.world.data_plane.spawn(wait).await.map_err(|_| EngineError::Stopped)?;
            if !followed.is_folded(head) {
                followed.ended()?;
                return Err(if in_time { EngineError::Stopped } else { EngineError::Behind { upto: head } });
            }
        }
        Ok(followed.get(read))
    }

    /// How far the log is folded, as it moves: what [`Holdfast::read`] shows is at least of that position.
    #[must_use]
    pub fn watch_folded(&self) -> watch::Receiver<Position> {
        self.shared.followed.folded.clone()
    }
}
