//! Participants that can stand still for a moment.
//!
//! ```text
//! prepare ─► freeze ─► capture ─► thaw ─► write
//!               └─ any failure, a deadline, a panic ─► thaw (abort)
//! ```
//!
//! For each freeze there is exactly one thaw, whatever happens in between, and it never waits for the log, for the disk of the backups or
//! for another participant's writing: between freeze and thaw only handles are taken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_actors::ports::{Known, Note, Stop};
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ParticipantName, RunId};

use super::Participant;
use super::artifacts::Artifacts;
use super::error::ParticipantError;
use super::preflight::Preflight;
use super::pulse::{Pulse, Thaws};
use super::restore::Restore;
use super::step::{Step, overdue};

/// Something that owns data and can stand still: in a run with a barrier all participants do so together, and what each of them has at
/// that moment is what is backed up.
///
/// ```
/// use std::io::Write;
/// use std::sync::{Arc, Condvar, Mutex};
///
/// use holdfast::engine::{Backup, Holdfast};
/// use holdfast::model::run::Consistency;
/// use holdfast::participant::{Artifacts, Capture, Frozen, ParticipantError, Phase, Phased, Thaw};
///
/// /// Stock that is replaced as a whole when it changes; nobody replaces it while it stands still.
/// #[derive(Clone, Default)]
/// struct Stock(Arc<(Mutex<(Arc<Vec<u8>>, bool)>, Condvar)>);
///
/// impl Stock {
///     fn replace(&self, stock: &[u8]) {
///         let (state, thawed) = &*self.0;
///         let state = thawed.wait_while(state.lock().unwrap(), |(_, frozen)| *frozen);
///         state.unwrap().0 = Arc::new(stock.to_vec());
///     }
/// }
///
/// impl Phased for Stock {
///     fn freeze(&self, _phase: &Phase) -> Result<Box<dyn Frozen>, ParticipantError> {
///         self.0.0.lock().unwrap().1 = true;
///         Ok(Box::new(Still(self.clone())))
///     }
/// }
///
/// struct Still(Stock);
///
/// impl Frozen for Still {
///     fn capture(&mut self, _phase: &Phase) -> Result<Box<dyn Capture>, ParticipantError> {
///         Ok(Box::new(Moment(self.0.0.0.lock().unwrap().0.clone())))
///     }
///
///     fn thaw(self: Box<Self>, _how: Thaw) -> Result<(), ParticipantError> {
///         self.0.0.0.lock().unwrap().1 = false;
///         self.0.0.1.notify_all();
///         Ok(())
///     }
/// }
///
/// struct Moment(Arc<Vec<u8>>);
///
/// impl Capture for Moment {
///     fn write(&mut self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
///         let mut sink = artifacts.create("stock")?;
///         sink.write_all(&self.0)?;
///         sink.finish()
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let stock = Stock::default();
/// stock.replace(b"3 red ones");
/// let engine = Holdfast::builder(folder.path().join("home")).phased("stock", stock.clone()).start_blocking()?;
///
/// let run = engine.wait(engine.back_up(Backup::full().consistency(Consistency::Barrier))?)?;
/// assert!(run.barrier().is_some());
/// stock.replace(b"2 red ones");
/// engine.stop();
/// # Ok(())
/// # }
/// ```
pub trait Phased: Send + Sync + 'static {
    /// Looks whether it could write: the connection, the permissions. Writes nothing and changes nothing.
    ///
    /// # Errors
    /// Why it could not write, and what to do.
    fn preflight(&self, _check: &Preflight) -> Result<(), ParticipantError> {
        Ok(())
    }

    /// The slow work before: flushes what is dirty, so that the freeze is short.
    ///
    /// # Errors
    /// Why it cannot be backed up now.
    fn prepare(&self, _phase: &Phase) -> Result<(), ParticipantError> {
        Ok(())
    }

    /// The run does not come to its freeze, after it had prepared itself: lets go of what it holds ready for that.
    fn stand_down(&self, _phase: &Phase) {}

    /// Keeps its data from changing until it is thawed. Where it takes longer than there is time for, the run goes on without it, and it is
    /// thawed as soon as it returns.
    ///
    /// # Errors
    /// Why it cannot; then it is as if it had not been asked.
    fn freeze(&self, phase: &Phase) -> Result<Box<dyn Frozen>, ParticipantError>;

    /// How it takes its artifacts back, where it can.
    fn restore(&self) -> Option<&dyn Restore> {
        None
    }
}

/// A participant that stands still. It is thawed exactly once.
pub trait Frozen: Send {
    /// Takes hold of what it has now, without copying it: a read transaction, a clone that is shared, a position.
    ///
    /// # Errors
    /// Why it cannot.
    fn capture(&mut self, phase: &Phase) -> Result<Box<dyn Capture>, ParticipantError>;

    /// Lets its data change again. Must not fail: a failure is recorded, and there is nobody who could do more.
    ///
    /// # Errors
    /// Why it could not.
    fn thaw(self: Box<Self>, how: Thaw) -> Result<(), ParticipantError>;
}

/// What a participant had at one moment.
pub trait Capture: Send {
    /// Writes it, while the participant goes on. Called again where the first try fails and the failure allows another.
    ///
    /// # Errors
    /// Why it could not. What it wrote is then thrown away.
    fn write(&mut self, artifacts: &mut Artifacts) -> Result<(), ParticipantError>;
}

/// Why a participant is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thaw {
    /// What it had was captured.
    Done,
    /// It stood still for nothing: it, another, or the time failed.
    Abort,
}

/// A phase that a participant is in.
#[derive(Clone)]
pub struct Phase {
    run_id: RunId,
    participant: ParticipantName,
    stop: Stop,
    until: Option<Instant>,
    note: Option<Note>,
    pulse: Arc<Pulse>,
}

impl Phase {
    pub(crate) fn new(
        run_id: RunId,
        participant: ParticipantName,
        stop: Stop,
        until: Option<Instant>,
        note: Option<Note>,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self { run_id, participant, stop, until, note, pulse }
    }

    /// It is being let go, by a process that is not to be ended with this one before it has.
    pub(crate) fn thaws(&self) -> Thaws<'_> {
        self.pulse.thaw()
    }

    /// Records what is known of its standstill.
    pub(crate) fn note(&self, known: Known) -> Result<(), Failure> {
        match &self.note {
            Some(note) => note(known),
            None => Err(Failure::new(FailureKind::Fatal, "FREEZE_NOT_RECORDED", "nobody records that it stands still")),
        }
    }

    /// The participant that is in it.
    #[must_use]
    pub fn participant(&self) -> &ParticipantName {
        &self.participant
    }

    /// The run it is for.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.run_id
    }

    /// Whether nobody waits for it any more.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.requested()
    }

    /// How long it may still take; `None` for as long as it likes.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }
}

/// A participant that has prepared itself: it is frozen, or stands down.
pub(crate) struct Prepared<'a>(Option<&'a dyn Phased>, Phase);

impl<'a> Prepared<'a> {
    pub(crate) fn of(participant: &'a dyn Phased, phase: Phase) -> Result<Self, ParticipantError> {
        participant.prepare(&phase)?;
        Ok(Self(Some(participant), phase))
    }

    pub(crate) fn freeze(mut self, phase: &Phase) -> Result<Standstill, ParticipantError> {
        match self.0.take() {
            Some(participant) => participant.freeze(phase).map(|frozen| Standstill(Some(frozen))),
            None => Err(ParticipantError::fatal("NOT_PREPARED", "it was frozen before")),
        }
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        if let Some(participant) = self.0.take() {
            participant.stand_down(&self.1);
        }
    }
}

/// A participant that stands still, thawed exactly once: when it is told to be, or as soon as nobody holds it any more.
pub(crate) struct Standstill(Option<Box<dyn Frozen>>);

impl Standstill {
    pub(crate) fn capture(&mut self, phase: &Phase) -> Result<Box<dyn Capture>, ParticipantError> {
        match &mut self.0 {
            Some(frozen) => frozen.capture(phase),
            None => Err(ParticipantError::fatal("NOT_FROZEN", "it was thawed before")),
        }
    }

    pub(crate) fn thaw(mut self) -> Result<(), ParticipantError> {
        self.0.take().map_or(Ok(()), |frozen| frozen.thaw(Thaw::Done))
    }
}

impl Drop for Standstill {
    fn drop(&mut self) {
        if let Some(frozen) = self.0.take()
            && let Err(error) = frozen.thaw(Thaw::Abort)
        {
            tracing::error!(%error, "a participant could not be let go");
        }
    }
}

/// A participant with phases, in a run where each has a moment of its own.
pub(crate) struct Alone<P>(pub(crate) P);

impl<P: Phased> Participant for Alone<P> {
    fn preflight(&self, check: &Preflight) -> Result<(), ParticipantError> {
        self.0.preflight(check)
    }

    fn phases(&self) -> Option<&dyn Phased> {
        Some(&self.0)
    }

    fn restore(&self) -> Option<&dyn Restore> {
        self.0.restore()
    }

    fn write(&self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        let all = artifacts.surroundings().clone();
        let phase = |within: Option<Duration>| {
            let until = within.map(|within| Instant::now() + within);
            let (name, note) = (all.participant.clone(), Some(all.note.clone()));
            Phase::new(all.work.run_id, name, all.stop.clone(), until, note, all.pulse.clone())
        };
        all.steps.begin(Step::Prepare(Instant::now()))?;
        let prepared = Prepared::of(&self.0, phase(all.deadlines.prepare))?;
        let frozen_at = Instant::now();
        all.steps.begin(Step::Freeze(frozen_at))?;
        let standing = phase(Some(all.deadlines.freeze));
        let mut still = prepared.freeze(&standing)?;
        let mut capture = still.capture(&standing)?;
        still.thaw()?;
        if frozen_at.elapsed() > all.deadlines.freeze {
            return Err(too_long(all.deadlines.freeze).into());
        }
        all.steps.begin(Step::Write(Instant::now()))?;
        capture.write(artifacts)
    }
}

/// Why a participant that stood still for too long gives nothing.
fn too_long(limit: Duration) -> Failure {
    overdue(
        "FREEZE_BUDGET_EXCEEDED",
        format!("it stood still for longer than {limit:?}: what it had then does not count"),
    )
}
