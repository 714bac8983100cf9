//! A home as a reader sees it: its event log folded, without owning or changing anything.

use std::path::Path;

use holdfast_actors::event_sourced::{ReplayError, replay};
use holdfast_log::home::{Access, Home, HomeError};
use holdfast_log::{DurableLog, JournalReader, OpenError, Options, Owner, ReadError, ReadLog, owner};
use holdfast_model::codec::{CodecError, Envelope};
use holdfast_model::history::History;
use holdfast_model::ids::{Position, RunId, StreamId, Version};
use holdfast_model::run::Run;

use super::APP_VERSION;

/// How many events are read at a time.
const BATCH: usize = 1000;

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
    /// The lock cannot be looked at.
    #[error("cannot look at the lock of the home: {0}")]
    Lock(#[source] std::io::Error),
}

/// A home to read from.
pub struct HomeView {
    home: Home,
    log: Box<dyn ReadLog>,
    history: History,
    owned: bool,
}

impl HomeView {
    /// Opens the home at `root`. Beside a living owner, or on a file system that cannot be written, the journal is read up to its
    /// durable head. Damage is repaired where nobody owns the home and it can be.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn open(root: &Path) -> Result<Self, ViewError> {
        let home = Home::open(root, Access::Read, APP_VERSION)?;
        let owned = owner::is_owned(&home.lock()).map_err(ViewError::Lock)?;
        let log: Box<dyn ReadLog> =
            match JournalReader::open(&home.log(), if owned { Owner::Living } else { Owner::Gone }) {
                Ok(reader) => Box::new(reader),
                Err(damaged) if !owned => match repair(&home) {
                    Some(log) => Box::new(log),
                    None => return Err(damaged.into()),
                },
                Err(error) => return Err(error.into()),
            };
        let history = fold_history(&*log, log.head())?;
        Ok(Self { home, log, history, owned })
    }

    /// Where it is.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &dyn ReadLog {
        &*self.log
    }

    /// Its runs.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Whether a living process owns it.
    #[must_use]
    pub fn owned(&self) -> bool {
        self.owned
    }

    /// All of one run.
    ///
    /// # Errors
    /// [`ViewError::Replay`].
    pub fn run(&self, run_id: RunId) -> Result<Run, ViewError> {
        Ok(replay::<Run>(&*self.log, &StreamId::run(run_id))?.0)
    }

    /// Events of the log or of one stream from `from` on, at most `limit`.
    ///
    /// # Errors
    /// [`ViewError`] where one cannot be read.
    pub fn events(&self, stream: Option<&StreamId>, from: Position, limit: usize) -> Result<Vec<Envelope>, ViewError> {
        envelopes(&*self.log, stream, from, limit)
    }
}

/// Opens the log as its owner for an instant, which repairs what the other copy still has.
fn repair(home: &Home) -> Option<DurableLog> {
    let now = holdfast_actors::ports::Clock::now(&super::SystemClock);
    let _owner = owner::Owner::try_acquire(&home.lock(), "repair", now).ok()?;
    DurableLog::open(&home.log(), Options::default()).ok().map(|(log, _)| log)
}

/// Folds the runs of a log up to a position.
///
/// # Errors
/// [`ViewError`] where an event cannot be read.
pub fn fold_history(log: &dyn ReadLog, upto: Position) -> Result<History, ViewError> {
    let mut history = History::default();
    while history.folded_to() < upto {
        let batch = envelopes(log, None, history.folded_to().next(), BATCH)?;
        if batch.is_empty() {
            break;
        }
        batch.iter().take_while(|envelope| envelope.position <= upto).for_each(|envelope| history.apply(envelope));
        if batch.last().is_some_and(|last| last.position >= upto) {
            break;
        }
    }
    Ok(history)
}

/// Events of a stream after a version, one batch.
pub(super) fn stream_events(log: &dyn ReadLog, stream: &StreamId, after: Version) -> Result<Vec<Envelope>, ViewError> {
    let read = |record: holdfast_model::record::Record| {
        let position = record.position;
        Envelope::read(record).map_err(|source| ViewError::Codec { position, source })
    };
    log.read_stream(stream, after.next(), BATCH)?.into_iter().map(read).collect()
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
