//! Taking a home over: lock, log, and the facts about the start.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use holdfast_actors::event_sourced::replay;
use holdfast_actors::ports::Clock;
use holdfast_log::home::Home;
use holdfast_log::owner::Owner;
use holdfast_log::space::Ballast;
use holdfast_log::{Append, DurableLog, EventLog, Options, ReadLog};
use holdfast_model::codec::{Origin, record};
use holdfast_model::event::{Event, ParticipantEvent, SystemEvent};
use holdfast_model::failure::cut;
use holdfast_model::ids::{ParticipantName, Position, RunId, StreamId, Version};
use holdfast_model::participant::{Participant, ThawedV1};
use holdfast_model::system::{EngineStartedV1, EngineStoppedV1, HomeCreatedV1, LogRepairedV1};

use super::error::EngineError;
use super::{APP_VERSION, Projections, Start, SystemClock};
use crate::storage::{Place, Storage};

/// A home that this process owns.
pub(super) struct Opened {
    pub(super) home: Home,
    pub(super) owner: Owner,
    pub(super) log: Arc<DurableLog>,
    pub(super) storage: Storage,
    pub(super) projections: Projections,
    /// Content bytes a second of the last check that was measured.
    pub(super) check_rate: Option<f64>,
}

/// Takes the home at `root` over. Blocks.
pub(super) fn open(root: &Path, start: &Start) -> Result<Opened, EngineError> {
    let clock = SystemClock;
    let home = Home::create(root, APP_VERSION, clock.new_id(), clock.now())?;
    if let Err(error) = close_to_others(&home) {
        tracing::warn!(%error, "the home is open to others, and cannot be closed to them");
    }
    let owner = Owner::acquire(&home.lock(), start.purpose, clock.now(), start.lock_wait)?;
    let (log, report) = DurableLog::open(&home.log(), Options::default())?;
    if log.head() == Position::START && has_runs(&home) {
        return Err(super::ViewError::LogMissing(home.log()).into());
    }
    let projections = Projections::fold(&log, log.head())?;
    let check_rate = if start.resume { super::board::last_check_rate(&log, &projections.history) } else { None };

    let mut facts = Vec::new();
    let version = log.stream_version(&StreamId::system()).map_err(super::ViewError::from)?;
    if version == Version::NONE {
        facts.push(SystemEvent::HomeCreated(HomeCreatedV1 {
            server_id: home.identity().server_id,
            app_version: env!("CARGO_PKG_VERSION").into(),
        }));
    }
    if !report.is_clean() {
        let what = report.to_string();
        tracing::warn!(what, "opening the event log found something");
        facts.push(SystemEvent::LogRepaired(LogRepairedV1 { what: cut(&what, 4096).to_owned() }));
    }
    if start.resume {
        facts.push(SystemEvent::EngineStarted(EngineStartedV1 {
            pid: std::process::id(),
            purpose: start.purpose.into(),
            app_version: env!("CARGO_PKG_VERSION").into(),
        }));
    }
    let ballast = Ballast::new(home.ballast(), Ballast::SIZE);
    append(&log, version, facts, start, &ballast)?;

    let storage = Storage::create(home.backups())?;
    // What cannot be unlinked takes room, and keeps nothing else from working.
    if let Err(error) = storage.sweep() {
        tracing::warn!(%error, "what was deleted cannot be unlinked");
    }
    // No room for it is no reason not to start: it is made again when there is.
    if let Err(error) = ballast.ensure() {
        tracing::warn!(%error, "the log's reserve on disk cannot be made");
    }
    Ok(Opened { home, owner, log: Arc::new(log), storage, projections, check_rate })
}

/// Whether there is any run directory.
pub(super) fn has_runs(home: &Home) -> bool {
    let storage = Storage::at(home.backups());
    [Place::Completed, Place::Failed].into_iter().any(|place| storage.runs(place).is_ok_and(|runs| !runs.is_empty()))
}

/// A home that others may enter is closed to them: its folder was made by hand before.
fn close_to_others(home: &Home) -> std::io::Result<()> {
    let root = home.root();
    let mode = root.metadata()?.permissions().mode();
    if mode & 0o077 == 0 { Ok(()) } else { std::fs::set_permissions(root, Permissions::from_mode(0o700)) }
}

/// Records that this process was stopped in good order while runs were open.
pub(super) async fn record_stop(log: &DurableLog, origin: &Origin) -> Result<(), EngineError> {
    let (clock, stream) = (SystemClock, StreamId::system());
    let stopped = SystemEvent::EngineStopped(EngineStoppedV1 { pid: std::process::id() });
    let event = record(&Event::from(stopped), clock.new_id(), clock.now(), origin);
    let events = vec![event.map_err(|error| EngineError::Thread(error.to_string()))?];
    let expected = log.stream_version(&stream).map_err(super::ViewError::from)?;
    log.append(Append { stream, expected, events }).await?;
    Ok(())
}

/// Records of those who were let go when there was no actor any more to record it, that nobody owes them that.
pub(super) async fn record_thaws(
    log: &DurableLog,
    thawed: BTreeMap<ParticipantName, RunId>,
    origin: Option<&Origin>,
) -> Result<(), EngineError> {
    let clock = SystemClock;
    let own = Origin { principal: String::new(), correlation_id: clock.new_id() };
    for (name, run_id) in thawed {
        let stream = StreamId::participant(&name);
        let (state, expected) = replay::<Participant>(log, &stream).map_err(super::ViewError::from)?;
        if state.owes_thaw() != Some(run_id) {
            continue;
        }
        let thawed = ParticipantEvent::Thawed(ThawedV1 { run_id });
        let event = record(&Event::from(thawed), clock.new_id(), clock.now(), origin.unwrap_or(&own));
        let events = vec![event.map_err(|error| EngineError::Thread(error.to_string()))?];
        log.append(Append { stream, expected, events }).await?;
    }
    Ok(())
}

fn append(
    log: &DurableLog,
    expected: Version,
    facts: Vec<SystemEvent>,
    start: &Start,
    ballast: &Ballast,
) -> Result<(), EngineError> {
    if facts.is_empty() {
        return Ok(());
    }
    let clock = SystemClock;
    let encoded = facts.into_iter().map(|fact| record(&Event::from(fact), clock.new_id(), clock.now(), &start.origin));
    let events = encoded.collect::<Result<Vec<_>, _>>().map_err(|error| EngineError::Thread(error.to_string()))?;
    let append = Append { stream: StreamId::system(), expected, events };
    let appended = tokio::runtime::Handle::current().block_on(async {
        match log.append(append.clone()).await {
            Err(error) if error.retryable() && ballast.give_up().unwrap_or(false) => log.append(append).await,
            result => result,
        }
    });
    appended?;
    Ok(())
}
