//! A participant across runs: the facts its supervision goes by.
//!
//! Work itself is in the run's stream. Here stands what outlives a run: whether it is at work for one, how it ended,
//! and how many failures in a row there were.

mod events;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::events::{
    AttemptAbandonedV1, BarrierFailedV1, ChildStartedV1, ChildV1, FreezeRequestedV1, ParticipantQuarantinedV1,
    QuarantineLiftedV1, ThawedV1, WorkCompletedV1, WorkFailedV1, WorkReturnedV1, WorkStartedV1, WorkStuckV1,
};
use crate::aggregate::{Aggregate, Moment};
use crate::event::ParticipantEvent;
use crate::failure::{Failure, FailureKind, cut};
use crate::ids::{ParticipantName, RunId, Timestamp};
use crate::supervision::QUARANTINE_AFTER;

/// What it is at work for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The run.
    pub run_id: RunId,
    /// The run's attempt.
    pub attempt: u32,
    /// The try within it.
    pub try_number: u32,
}

/// Where a participant stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing is done with it.
    Idle,
    /// It is at work for a run.
    Working,
    /// It was told to stop and did not return.
    Stuck,
    /// It failed often in a row: a run tries it once.
    Quarantined,
}

impl Standing {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Idle => "idle",
            Standing::Working => "working",
            Standing::Stuck => "stuck",
            Standing::Quarantined => "quarantined",
        }
    }
}

/// The state of a participant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Participant {
    at_work: Option<Work>,
    children: Vec<ChildV1>,
    stuck: bool,
    owes_thaw: Option<RunId>,
    /// The processes that wait for its freeze and its thaw.
    gated: Vec<Uuid>,
    quarantined: bool,
    failures_in_a_row: u32,
    last_failure: Option<(Failure, Timestamp)>,
    last_run: Option<RunId>,
    /// The newest last, at most [`MAX_GOOD`].
    good_runs: VecDeque<(RunId, Timestamp)>,
}

impl Participant {
    /// What it is at work for.
    #[must_use]
    pub fn at_work(&self) -> Option<&Work> {
        self.at_work.as_ref()
    }

    /// Processes that were started for it and are not known to be gone: of the work it is at, and of earlier work that could not be
    /// ended. Whoever begins new work ends them first.
    #[must_use]
    pub fn children(&self) -> &[ChildV1] {
        &self.children
    }

    /// For which run it was made to stand still, where nobody is known to have let it go.
    #[must_use]
    pub fn owes_thaw(&self) -> Option<RunId> {
        self.owes_thaw
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (self.at_work.is_some(), self.stuck, self.quarantined) {
            (true, true, _) => Standing::Stuck,
            (true, false, _) => Standing::Working,
            (false, _, true) => Standing::Quarantined,
            (false, _, false) => Standing::Idle,
        }
    }

    /// Whether a run tries it only once.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.quarantined
    }

    /// Failures since it was last good.
    #[must_use]
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }

    /// Why it failed last, since it was last good, and when.
    #[must_use]
    pub fn last_failure(&self) -> Option<(&Failure, Timestamp)> {
        self.last_failure.as_ref().map(|(failure, at)| (failure, *at))
    }

    /// The last run it worked for.
    #[must_use]
    pub fn last_run(&self) -> Option<RunId> {
        self.last_run
    }

    /// The last runs it was good in, and when that was, the newest first. What became of their files since is not known here.
    pub fn good_runs(&self) -> impl Iterator<Item = (RunId, Timestamp)> {
        self.good_runs.iter().rev().copied()
    }
}

/// A wish about a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParticipantCommand {
    /// Work for a run.
    Start {
        /// Its name.
        participant: ParticipantName,
        /// The run and try.
        work: Work,
    },
    /// A process was started for it.
    ChildStarted {
        /// For which work.
        work: Work,
        /// The process.
        child: ChildV1,
    },
    /// A process was started for it in a barrier, which is before its work.
    PhaseChild {
        /// For which run.
        run_id: RunId,
        /// The process.
        child: ChildV1,
    },
    /// It is about to be told to stand still.
    Freeze {
        /// For which run.
        run_id: RunId,
        /// Processes that wait to become the commands for it.
        children: Vec<ChildV1>,
    },
    /// It was let go.
    Thawed {
        /// For which run it stood still.
        run_id: RunId,
    },
    /// It gave all it has.
    Completed(Work),
    /// It did not.
    Failed {
        /// Which work.
        work: Work,
        /// Why.
        failure: Failure,
    },
    /// It failed in a run's barrier.
    BarrierFailed {
        /// For which run.
        run_id: RunId,
        /// Why.
        failure: Failure,
    },
    /// It was told to stop and did not return in time.
    Stuck {
        /// Which work.
        work: Work,
        /// Why it was told to stop.
        failure: Failure,
    },
    /// The process it worked in is gone, and so is what that one had started.
    Abandon,
    /// Try it as others are again.
    LiftQuarantine {
        /// Why.
        reason: String,
    },
}

/// What a participant asks of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParticipantEffect {
    /// Let it write.
    Drive(Work),
}

/// Why a wish about a participant was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParticipantRefusal {
    /// It is at work in this process.
    #[error("the participant is at work for run {0}")]
    AtWork(RunId),
    /// It did not return from earlier work.
    #[error(
        "the participant was told to stop its work for run {0} and has not returned: restart the program it works in"
    )]
    Stuck(RunId),
    /// It is not at that work.
    #[error("the participant is not at that work")]
    NotAtWork,
    /// It was made to stand still, and is not known to have been let go.
    #[error(
        "the participant may stand still since run {0}, because its `thaw` failed: see to that, then start again, which runs \
         `thaw` once more before anything else"
    )]
    ThawOwed(RunId),
    /// It is not in quarantine.
    #[error("the participant is not in quarantine")]
    NotQuarantined,
}

/// Most processes that are kept in mind; beyond that the oldest are forgotten.
pub const MAX_CHILDREN: usize = 64;
/// Most processes that wait for one freeze.
pub const MAX_GATED: usize = 8;
/// Most runs it was good in that are kept in mind: the last of them may turn out to be damaged.
pub const MAX_GOOD: usize = 32;
/// The code of a failure that is the endpoints' and not the participant's: what it wrote is kept by them alone, and none took it.
pub const NOT_TAKEN: &str = "ARTIFACT_NOT_TAKEN";
/// The code of a failure after which a process is left that could not be ended.
pub const NOT_ENDED: &str = "COMMAND_NOT_ENDED";

impl Aggregate for Participant {
    type Command = ParticipantCommand;
    type Event = ParticipantEvent;
    type Effect = ParticipantEffect;
    type Refusal = ParticipantRefusal;

    fn decide(
        &self,
        command: ParticipantCommand,
        _now: Timestamp,
    ) -> Result<Vec<ParticipantEvent>, ParticipantRefusal> {
        match command {
            ParticipantCommand::Start { participant, work } => self.start(participant, &work),
            ParticipantCommand::ChildStarted { work, child } => {
                self.is_at(&work)?;
                Ok(vec![ParticipantEvent::ChildStarted(ChildStartedV1 { run_id: work.run_id, child })])
            }
            ParticipantCommand::PhaseChild { run_id, child } => {
                Ok(vec![ParticipantEvent::ChildStarted(ChildStartedV1 { run_id, child })])
            }
            // One that may stand still is let go before it is made to stand still again: a debt is never forgotten for another.
            ParticipantCommand::Freeze { run_id, mut children } => match self.owes_thaw {
                Some(earlier) => Err(ParticipantRefusal::ThawOwed(earlier)),
                None => {
                    children.truncate(MAX_GATED);
                    Ok(vec![ParticipantEvent::FreezeRequested(FreezeRequestedV1 { run_id, children })])
                }
            },
            // A late answer says nothing of a later freeze.
            ParticipantCommand::Thawed { run_id } if self.owes_thaw != Some(run_id) => Ok(Vec::new()),
            ParticipantCommand::Thawed { run_id } => Ok(vec![ParticipantEvent::Thawed(ThawedV1 { run_id })]),
            ParticipantCommand::Completed(work) | ParticipantCommand::Failed { work, .. } if self.stuck => {
                self.is_at(&work)?;
                Ok(vec![ParticipantEvent::WorkReturned(WorkReturnedV1 { run_id: work.run_id })])
            }
            ParticipantCommand::Completed(work) => {
                self.is_at(&work)?;
                let mut events = vec![ParticipantEvent::WorkCompleted(WorkCompletedV1 { run_id: work.run_id })];
                if self.quarantined {
                    events.push(lifted(&format!("it was good in run {}", work.run_id)));
                }
                Ok(events)
            }
            ParticipantCommand::Failed { work, failure } => {
                self.is_at(&work)?;
                let failure = failure.bounded();
                let counts = counts(&failure);
                let failed = ParticipantEvent::WorkFailed(WorkFailedV1 { run_id: work.run_id, failure });
                Ok(self.with_quarantine(failed, counts))
            }
            // That it was told to stop is nobody's fault, and that it is stuck has been counted.
            ParticipantCommand::BarrierFailed { failure, .. }
                if self.stuck || failure.kind == FailureKind::Cancelled =>
            {
                Ok(Vec::new())
            }
            ParticipantCommand::BarrierFailed { run_id, failure } => {
                let failure = failure.bounded();
                let counts = counts(&failure);
                let failed = ParticipantEvent::BarrierFailed(BarrierFailedV1 { run_id, failure });
                Ok(self.with_quarantine(failed, counts))
            }
            ParticipantCommand::Stuck { work, failure } => {
                self.is_at(&work)?;
                if self.stuck {
                    return Ok(Vec::new());
                }
                let failure = failure.bounded();
                let counts = counts(&failure);
                let stuck = ParticipantEvent::WorkStuck(WorkStuckV1 { run_id: work.run_id, failure });
                Ok(self.with_quarantine(stuck, counts))
            }
            ParticipantCommand::Abandon => Ok(self.abandoned().into_iter().collect()),
            ParticipantCommand::LiftQuarantine { .. } if !self.quarantined => Err(ParticipantRefusal::NotQuarantined),
            ParticipantCommand::LiftQuarantine { reason } => Ok(vec![lifted(&reason)]),
        }
    }

    fn apply(&mut self, event: &ParticipantEvent, moment: &Moment) {
        match event {
            ParticipantEvent::WorkStarted(started) => {
                self.leave();
                self.last_run = Some(started.run_id);
                self.at_work =
                    Some(Work { run_id: started.run_id, attempt: started.attempt, try_number: started.try_number });
            }
            ParticipantEvent::ChildStarted(started) => {
                self.adopt(started.child);
            }
            ParticipantEvent::FreezeRequested(requested) => {
                self.owes_thaw = Some(requested.run_id);
                self.gated = requested.children.iter().map(|child| child.child_id).collect();
                requested.children.iter().for_each(|child| self.adopt(*child));
            }
            // Its commands have ended well. What they left on purpose, to keep the moment they froze, is not to be ended before it is read.
            ParticipantEvent::Thawed(_) => {
                self.owes_thaw = None;
                let gated = std::mem::take(&mut self.gated);
                self.children.retain(|child| !gated.contains(&child.child_id));
            }
            ParticipantEvent::WorkCompleted(completed) => {
                self.leave();
                self.children.clear();
                self.failures_in_a_row = 0;
                self.last_failure = None;
                if self.good_runs.len() >= MAX_GOOD {
                    self.good_runs.pop_front();
                }
                self.good_runs.push_back((completed.run_id, moment.time));
            }
            ParticipantEvent::WorkFailed(failed) => {
                self.leave();
                if failed.failure.code != NOT_ENDED {
                    self.children.clear();
                }
                self.failed(&failed.failure, moment.time);
            }
            ParticipantEvent::BarrierFailed(failed) => {
                self.last_run = Some(failed.run_id);
                self.failed(&failed.failure, moment.time);
            }
            ParticipantEvent::WorkStuck(stuck) => {
                self.stuck = true;
                self.failed(&stuck.failure, moment.time);
            }
            ParticipantEvent::WorkReturned(_) | ParticipantEvent::AttemptAbandoned(_) => self.leave(),
            ParticipantEvent::Quarantined(_) => self.quarantined = true,
            ParticipantEvent::QuarantineLifted(_) => {
                self.quarantined = false;
                self.failures_in_a_row = 0;
            }
        }
    }

    fn effects(&self, events: &[ParticipantEvent]) -> Vec<ParticipantEffect> {
        let started = events.iter().any(|event| matches!(event, ParticipantEvent::WorkStarted(_)));
        self.at_work.iter().filter(|_| started).cloned().map(ParticipantEffect::Drive).collect()
    }
}

impl Participant {
    fn start(&self, participant: ParticipantName, work: &Work) -> Result<Vec<ParticipantEvent>, ParticipantRefusal> {
        if self.stuck {
            return Err(ParticipantRefusal::Stuck(self.at_work.as_ref().map_or(work.run_id, |work| work.run_id)));
        }
        // The same attempt and try again would be a second instance beside the first.
        if self.at_work.as_ref() == Some(work) {
            return Err(ParticipantRefusal::AtWork(work.run_id));
        }
        let started = ParticipantEvent::WorkStarted(WorkStartedV1 {
            participant,
            run_id: work.run_id,
            attempt: work.attempt,
            try_number: work.try_number,
        });
        Ok(self.abandoned().into_iter().chain([started]).collect())
    }

    fn abandoned(&self) -> Option<ParticipantEvent> {
        self.at_work.as_ref().map(|left| {
            ParticipantEvent::AttemptAbandoned(AttemptAbandonedV1 { run_id: left.run_id, attempt: left.attempt })
        })
    }

    fn is_at(&self, work: &Work) -> Result<(), ParticipantRefusal> {
        if self.at_work.as_ref() == Some(work) { Ok(()) } else { Err(ParticipantRefusal::NotAtWork) }
    }

    /// A failure, and the quarantine that follows where it is one too many.
    fn with_quarantine(&self, event: ParticipantEvent, counts: bool) -> Vec<ParticipantEvent> {
        let failures = self.failures_in_a_row.saturating_add(1);
        let mut events = vec![event];
        if counts && !self.quarantined && failures >= QUARANTINE_AFTER {
            events.push(ParticipantEvent::Quarantined(ParticipantQuarantinedV1 { failures }));
        }
        events
    }

    fn adopt(&mut self, child: ChildV1) {
        if self.children.len() >= MAX_CHILDREN {
            self.children.remove(0);
        }
        self.children.push(child);
    }

    fn leave(&mut self) {
        self.at_work = None;
        self.stuck = false;
    }

    fn failed(&mut self, failure: &Failure, at: Timestamp) {
        if counts(failure) {
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        }
        if failure.kind != FailureKind::Cancelled {
            self.last_failure = Some((failure.clone(), at));
        }
    }
}

/// Whether a failure is the participant's: being told to stop is not, and what endpoints do not take is not.
fn counts(failure: &Failure) -> bool {
    failure.kind != FailureKind::Cancelled && failure.code != NOT_TAKEN
}

fn lifted(reason: &str) -> ParticipantEvent {
    let reason = cut(reason, Failure::MAX_MESSAGE).to_owned();
    ParticipantEvent::QuarantineLifted(QuarantineLiftedV1 { reason })
}

#[cfg(test)]
mod tests;
