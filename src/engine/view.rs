//! A home as a reader sees it: its event log folded, without owning or changing anything.

use std::path::Path;
use std::sync::Arc;

use holdfast_actors::event_sourced::{ReplayError, replay};
use holdfast_log::home::{Access, Home, HomeError};
use holdfast_log::{DurableLog, JournalReader, OpenError, Options, Owner, ReadError, ReadLog, owner};
use holdfast_model::aggregate::Aggregate;
use holdfast_model::codec::{CodecError, Envelope};
use holdfast_model::event::Event;
use holdfast_model::history::History;
use holdfast_model::ids::{Position, RunId, StreamId, Version};
use holdfast_model::run::{Places, Run};

use super::{APP_VERSION, Endpoints, Projections, ledger, places};

/// How many events are read at a time.
const BATCH: usize = 1000;
/// How many events of a run are read at most at a time.
pub(crate) const RUN_EVENTS: usize = BATCH;
/// What those are started for who go on with open runs.
const RESUMING: [&str; 4] = ["application", "backup", "resume", "serve"];

/// Why a home cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// There is none, or not for this program.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A stream of it cannot be folded.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// An event of it cannot be.
    #[error("event {position}: {source}")]
    Codec {
        /// Where it is.
        position: Position,
        /// Why.
        source: CodecError,
    },
    /// Runs are there and their history is not.
    #[error(
        "the event log {} is gone while run directories are there: put it back from a copy of the home, or move `backups` \
         away to begin anew",
        .0.display()
    )]
    LogMissing(std::path::PathBuf),
    /// The lock cannot be looked at.
    #[error("cannot look at the lock of the home: {0}")]
    Lock(#[source] std::io::Error),
}

/// A home to read from.
pub struct HomeView {
    home: Home,
    log: JournalReader,
    history: History,
    places: Arc<Places>,
    locked: bool,
    owned: bool,
}

impl HomeView {
    /// Opens the home at `root`. Beside a living owner, or on a file system that cannot be written, the journal is read up to
    /// its durable head. Damage is repaired where nobody owns the home and it can be.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn open(root: &Path) -> Result<Self, ViewError> {
        let home = Home::open(root, Access::Read, APP_VERSION)?;
        let locked = owner::is_owned(&home.lock()).map_err(ViewError::Lock)?;
        let log = match JournalReader::open(&home.log(), owner(locked)) {
            Err(_) if !locked && repair(&home)? => JournalReader::open(&home.log(), Owner::Gone)?,
            log => log?,
        };
        if log.head() == Position::START && ledger::has_runs(&home) {
            return Err(ViewError::LogMissing(home.log()));
        }
        let (mut history, mut places) = (History::default(), Arc::<Places>::default());
        fold(&log, log.head(), |envelope| {
            history.apply(envelope);
            places::apply(&mut places, envelope);
        })?;
        let owned = locked && works_on_runs(&home);
        Ok(Self { home, log, history, places, locked, owned })
    }

    /// Reads what has been recorded since, for [`HomeView::events`].
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn refresh(&mut self) -> Result<(), ViewError> {
        let locked = owner::is_owned(&self.home.lock()).map_err(ViewError::Lock)?;
        if locked == self.locked {
            self.log.refresh()?;
        } else {
            self.log = JournalReader::open(&self.home.log(), owner(locked))?;
            self.locked = locked;
        }
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &dyn ReadLog {
        &self.log
    }

    /// Its runs.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Where its endpoints are.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Whether a living process works on its open runs.
    #[must_use]
    pub fn owned(&self) -> bool {
        self.owned
    }

    /// All of one run.
    ///
    /// # Errors
    /// [`ViewError::Replay`].
    pub fn run(&self, run_id: RunId) -> Result<Run, ViewError> {
        Ok(replay::<Run>(&self.log, &StreamId::run(run_id))?.0)
    }

    /// Every endpoint there is.
    ///
    /// # Errors
    /// [`ViewError`] where an event cannot be read.
    pub(crate) fn endpoints(&self) -> Result<Endpoints, ViewError> {
        Ok(Projections::fold(&self.log, self.log.head())?.endpoints)
    }

    /// All of another stream.
    ///
    /// # Errors
    /// [`ViewError::Replay`].
    pub(crate) fn fold<A: Aggregate>(&self, stream: &StreamId) -> Result<A, ViewError>
    where
        A::Event: TryFrom<Event>,
    {
        Ok(replay::<A>(&self.log, stream)?.0)
    }

    /// Events of the log or of one stream from `from` on, at most `limit`.
    ///
    /// # Errors
    /// [`ViewError`] where one cannot be read.
    pub fn events(&self, stream: Option<&StreamId>, from: Position, limit: usize) -> Result<Vec<Envelope>, ViewError> {
        envelopes(&self.log, stream, from, limit)
    }
}

fn owner(locked: bool) -> Owner {
    if locked { Owner::Living } else { Owner::Gone }
}

/// Whether whoever holds the lock goes on with open runs: a deletion or a verification does not.
fn works_on_runs(home: &Home) -> bool {
    owner::who(&home.lock()).is_none_or(|holder| RESUMING.contains(&holder.what.as_str()))
}

/// Opens the log as its owner for an instant, which repairs what the other copy still has. False where it may not be written.
fn repair(home: &Home) -> Result<bool, ViewError> {
    let now = holdfast_actors::ports::Clock::now(&super::SystemClock);
    let Ok(_owner) = owner::Owner::try_acquire(&home.lock(), "repair", now) else { return Ok(false) };
    let (log, _) = DurableLog::open(&home.log(), Options::default())?;
    log.close();
    Ok(true)
}

/// Folds the runs of a log up to a position.
///
/// # Errors
/// [`ViewError`] where an event cannot be read.
pub fn fold_history(log: &dyn ReadLog, upto: Position) -> Result<History, ViewError> {
    let mut history = History::default();
    fold(log, upto, |envelope| history.apply(envelope))?;
    Ok(history)
}

/// Gives `apply` every event of a log up to a position.
pub(super) fn fold(log: &dyn ReadLog, upto: Position, mut apply: impl FnMut(&Envelope)) -> Result<(), ViewError> {
    let mut next = Position::START.next();
    while next <= upto {
        let batch = envelopes(log, None, next, BATCH)?;
        let Some(last) = batch.last() else { break };
        next = last.position.next();
        batch.iter().take_while(|envelope| envelope.position <= upto).for_each(&mut apply);
    }
    Ok(())
}

/// Events of a stream after a version, one batch.
pub(super) fn stream_events(log: &dyn ReadLog, stream: &StreamId, after: Version) -> Result<Vec<Envelope>, ViewError> {
    let read = |record: holdfast_model::record::Record| {
        let position = record.position;
        Envelope::read(record).map_err(|source| ViewError::Codec { position, source })
    };
    log.read_stream(stream, after.next(), RUN_EVENTS)?.into_iter().map(read).collect()
}

/// A run as it was at a position.
pub(super) fn run_at(log: &dyn ReadLog, run_id: RunId, upto: Position) -> Result<Run, ViewError> {
    let stream = StreamId::run(run_id);
    let (mut run, mut version) = (Run::default(), Version::NONE);
    loop {
        let events = stream_events(log, &stream, version)?;
        let Some(last) = events.last() else { return Ok(run) };
        version = last.version;
        for envelope in events {
            if envelope.position > upto {
                return Ok(run);
            }
            let moment = envelope.moment();
            if let Event::RunEvent(event) = envelope.data {
                run.apply(&event, &moment);
            }
        }
    }
}

fn envelopes(
    log: &dyn ReadLog,
    stream: Option<&StreamId>,
    from: Position,
    limit: usize,
) -> Result<Vec<Envelope>, ViewError> {
    let mut events = Vec::new();
    let mut version = Version::NONE;
    let mut next = from;
    while events.len() < limit {
        let wanted = (limit - events.len()).min(BATCH);
        let records = match stream {
            Some(stream) => log.read_stream(stream, version.next(), wanted)?,
            None => log.read_all(next, wanted)?,
        };
        let Some(last) = records.last() else { break };
        version = last.version;
        next = last.position.next();
        for record in records.into_iter().filter(|record| record.position >= from) {
            let position = record.position;
            events.push(Envelope::read(record).map_err(|source| ViewError::Codec { position, source })?);
        }
    }
    Ok(events)
}
