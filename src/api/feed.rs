//! What happens, on channels, for one who pulls.
//!
//! Everything but live counts comes from the log: there is no ring beside it, so whoever was away is told from the position on that he
//! has seen, also over a restart, and one who is slow holds nothing up. What he takes late of a run at work is its present progress;
//! ends, events and alerts wait for him in the log. `seq` is the position up to which he has been told when he has taken it: it never
//! falls.

mod alerts;
mod log;
mod restores;
mod runs;

use std::sync::Arc;

use holdfast_model::access::Role;
use holdfast_model::ids::Position;
use serde_json::value::RawValue;

use self::alerts::Alerts;
use self::log::Log;
use self::restores::Restores;
use self::runs::Runs;
use super::channel::Channel;
use super::envelope::{self, EventType};
use crate::engine::{EngineError, Holdfast};

/// Most events that are read of the log at a time.
const BATCH: usize = 64;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Notice {
    /// On which channel.
    pub channel: Channel,
    /// Whether it is the last of its run or restore.
    pub event_type: EventType,
    /// The position of the log up to which whoever has it has been told.
    pub seq: Position,
    /// The event's `data`, shared with all who are told the same.
    pub data: Arc<RawValue>,
}

impl Notice {
    /// The message of it.
    #[must_use]
    pub fn message(&self, epoch: &str) -> Vec<u8> {
        envelope::event(self.channel, self.event_type, self.seq.0, epoch, &&*self.data)
    }
}

/// What happens on one channel.
///
/// ```
/// use holdfast::api::envelope::EventType;
/// use holdfast::api::{Channel, Feed};
/// use holdfast::engine::{Backup, Holdfast};
/// use holdfast::participant::Artifacts;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let code = |artifacts: &mut Artifacts| artifacts.create("a.data")?.finish();
/// # let engine = Holdfast::builder(folder.path().join("home")).participant("a", code).start().await?;
/// let mut feed = Feed::open(&engine, Channel::BackupProgress, None);
/// let run = engine.back_up(Backup::full()).await?;
/// loop {
///     let notice = feed.next().await?;
///     println!("{} {}", notice.seq, notice.data);
///     if notice.event_type == EventType::Final {
///         assert!(notice.data.get().contains(&run.run_id.to_string()));
///         break;
///     }
/// }
/// # drop(feed);
/// engine.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct Feed {
    from: Position,
    channel: Channel,
    source: Source,
}

enum Source {
    Runs(Runs),
    Restores(Restores),
    Log(Log),
    Alerts(Box<Alerts>),
}

impl Feed {
    /// From after `since` on, or from now on. A position that the log has not reached is now. It holds a handle of the engine.
    #[must_use]
    pub fn open(engine: &Holdfast, channel: Channel, since: Option<Position>) -> Self {
        let from = engine.head();
        let since = since.map_or(from, |since| since.min(from));
        let source = match channel {
            Channel::BackupProgress => Source::Runs(Runs::new(engine, since)),
            Channel::RestoreProgress => Source::Restores(Restores::new(engine, since)),
            Channel::BackupEvents => Source::Log(Log::new(engine, since)),
            Channel::Alerts => Source::Alerts(Box::new(Alerts::new(engine, since))),
        };
        Self { from, channel, source }
    }

    /// Which channel.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// Where the log was when it was opened.
    #[must_use]
    pub fn from(&self) -> Position {
        self.from
    }

    /// Without what only an admin may see, where `role` is another one: tokens and the audit are left out of the event log.
    #[must_use]
    pub fn seen_by(mut self, role: Role) -> Self {
        if let Source::Log(log) = &mut self.source {
            log.leave_out_confidential(role < Role::Admin);
        }
        self
    }

    /// The next thing that happened. Waits where there is none yet. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`EngineError`] once the engine was stopped, or where the log cannot be read.
    pub async fn next(&mut self) -> Result<Notice, EngineError> {
        // No position is beyond this one.
        self.next_up_to(Position(u64::MAX)).await?.ok_or(EngineError::Stopped)
    }

    /// The next thing that happened; `None` once all was told that the log holds up to `last`. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// As [`Feed::next`].
    pub async fn next_up_to(&mut self, last: Position) -> Result<Option<Notice>, EngineError> {
        let told = match &mut self.source {
            Source::Runs(runs) => runs.next(last).await,
            Source::Restores(restores) => restores.next(last).await,
            Source::Log(log) => log.next(last).await,
            Source::Alerts(alerts) => alerts.next(last).await,
        }?;
        Ok(told.map(|(event_type, seq, data)| Notice { channel: self.channel, event_type, seq, data }))
    }
}

/// What a source gives.
type Told = (EventType, Position, Arc<RawValue>);

/// What the next one is; `None` where there is none up to where it was asked for.
type Next = Result<Option<Told>, EngineError>;
