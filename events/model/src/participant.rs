//! A participant across runs: the facts its supervision goes by.
//!
//! Work itself is in the run's stream. Here stands what outlives a run: whether it is at work for one, how it ended,
//! and how many failures in a row there were.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Aggregate, Moment};
use crate::event::ParticipantEvent;
use crate::failure::Failure;
use crate::ids::{ParticipantName, RunId, Timestamp};

/// It began to work for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkStartedV1 {
    /// Which.
    pub participant: ParticipantName,
    /// For which run.
    pub run_id: RunId,
    /// The run's attempt.
    pub attempt: u32,
    /// The try within it.
    pub try_number: u32,
}

/// It gave all it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkCompletedV1 {
    /// For which run.
    pub run_id: RunId,
}

/// It did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkFailedV1 {
    /// For which run.
    pub run_id: RunId,
    /// Why.
    pub failure: Failure,
}

/// The process it worked in is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptAbandonedV1 {
    /// For which run.
    pub run_id: RunId,
    /// The run's attempt.
    pub attempt: u32,
}

/// A process that works for it: enough to find it again after the one that started it died, and to take no other for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildV1 {
    /// Its own, also in the environment of what it starts.
    pub child_id: Uuid,
    /// Its process group, which is the id of its first process.
    pub group: u32,
    /// When its first process began: clock ticks after boot, field 22 of `/proc/<pid>/stat` (proc(5)).
    pub started: u64,
    /// Of which boot of the machine: `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Uuid,
}

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

/// The state of a participant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Participant {
    at_work: Option<Work>,
    failures_in_a_row: u32,
    last_failure: Option<Failure>,
    last_good_run: Option<RunId>,
}

impl Participant {
    /// What it is at work for.
    #[must_use]
    pub fn at_work(&self) -> Option<&Work> {
        self.at_work.as_ref()
    }

    /// Failures since it was last good.
    #[must_use]
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }

    /// Why it failed last.
    #[must_use]
    pub fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    /// The last run it was good in.
    #[must_use]
    pub fn last_good_run(&self) -> Option<RunId> {
        self.last_good_run
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
    /// It gave all it has.
    Completed,
    /// It did not.
    Failed(Failure),
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
    /// It is not at work.
    #[error("the participant is not at work")]
    NotAtWork,
}

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
        match (command, &self.at_work) {
            (ParticipantCommand::Start { participant, work }, left) => {
                // The same attempt and try again would be a second instance beside the first.
                if left.as_ref() == Some(&work) {
                    return Err(ParticipantRefusal::AtWork(work.run_id));
                }
                let abandoned = left.as_ref().map(|left| {
                    ParticipantEvent::AttemptAbandoned(AttemptAbandonedV1 {
                        run_id: left.run_id,
                        attempt: left.attempt,
                    })
                });
                let started = ParticipantEvent::WorkStarted(WorkStartedV1 {
                    participant,
                    run_id: work.run_id,
                    attempt: work.attempt,
                    try_number: work.try_number,
                });
                Ok(abandoned.into_iter().chain([started]).collect())
            }
            (ParticipantCommand::Completed, Some(work)) => {
                Ok(vec![ParticipantEvent::WorkCompleted(WorkCompletedV1 { run_id: work.run_id })])
            }
            (ParticipantCommand::Failed(failure), Some(work)) => {
                Ok(vec![ParticipantEvent::WorkFailed(WorkFailedV1 { run_id: work.run_id, failure: failure.bounded() })])
            }
            (ParticipantCommand::Completed | ParticipantCommand::Failed(_), None) => Err(ParticipantRefusal::NotAtWork),
        }
    }

    fn apply(&mut self, event: &ParticipantEvent, _moment: &Moment) {
        match event {
            ParticipantEvent::WorkStarted(started) => {
                self.at_work =
                    Some(Work { run_id: started.run_id, attempt: started.attempt, try_number: started.try_number });
            }
            ParticipantEvent::WorkCompleted(completed) => {
                self.at_work = None;
                self.failures_in_a_row = 0;
                self.last_failure = None;
                self.last_good_run = Some(completed.run_id);
            }
            ParticipantEvent::WorkFailed(failed) => {
                self.at_work = None;
                // Being told to stop is no fault of the participant's.
                if failed.failure.kind != crate::failure::FailureKind::Cancelled {
                    self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
                    self.last_failure = Some(failed.failure.clone());
                }
            }
            ParticipantEvent::AttemptAbandoned(_) => self.at_work = None,
        }
    }

    fn effects(&self, events: &[ParticipantEvent]) -> Vec<ParticipantEffect> {
        let started = events.iter().any(|event| matches!(event, ParticipantEvent::WorkStarted(_)));
        self.at_work.iter().filter(|_| started).cloned().map(ParticipantEffect::Drive).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;
    use crate::given::{Given, given};

    fn run(counter: u32) -> RunId {
        RunId::new(Timestamp(0), counter)
    }

    fn work(counter: u32, attempt: u32) -> Work {
        Work { run_id: run(counter), attempt, try_number: 1 }
    }

    fn start(counter: u32, attempt: u32) -> ParticipantCommand {
        ParticipantCommand::Start { participant: "db".parse().expect("a name"), work: work(counter, attempt) }
    }

    fn started(counter: u32, attempt: u32) -> ParticipantEvent {
        let participant = "db".parse().expect("a name");
        ParticipantEvent::WorkStarted(WorkStartedV1 { participant, run_id: run(counter), attempt, try_number: 1 })
    }

    fn abandoned(counter: u32, attempt: u32) -> ParticipantEvent {
        ParticipantEvent::AttemptAbandoned(AttemptAbandonedV1 { run_id: run(counter), attempt })
    }

    fn completed(counter: u32) -> ParticipantEvent {
        ParticipantEvent::WorkCompleted(WorkCompletedV1 { run_id: run(counter) })
    }

    fn failed(counter: u32, failure: Failure) -> ParticipantEvent {
        ParticipantEvent::WorkFailed(WorkFailedV1 { run_id: run(counter), failure })
    }

    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, "CODE", "it did not work")
    }

    fn at_work() -> Given<Participant> {
        given([started(1, 1)])
    }

    #[test]
    fn it_works_for_one_run_and_is_free_again() {
        let free = given::<Participant>([])
            .when(start(1, 1))
            .then_do([started(1, 1)], [ParticipantEffect::Drive(work(1, 1))])
            .when(ParticipantCommand::Completed)
            .then_do([completed(1)], []);
        assert_eq!((free.state().at_work(), free.state().last_good_run()), (None, Some(run(1))));
    }

    #[test]
    fn the_same_work_is_not_begun_beside_itself() {
        at_work().when(start(1, 1)).refused(ParticipantRefusal::AtWork(run(1)));
    }

    #[test]
    fn work_that_a_dead_process_left_is_abandoned_by_the_next() {
        for next in [start(1, 2), start(2, 1)] {
            let ParticipantCommand::Start { work, .. } = next.clone() else { panic!("a start") };
            let begun = started(work.run_id.counter(), work.attempt);
            let run = at_work().when(next).then_do([abandoned(1, 1), begun], [ParticipantEffect::Drive(work.clone())]);
            assert_eq!(run.state().at_work(), Some(&work));
        }
    }

    #[test]
    fn failures_in_a_row_are_counted_until_it_is_good_once() {
        let bad = failure(FailureKind::Fatal);
        let mut state = at_work();
        for counter in 2..5 {
            state = state
                .when(ParticipantCommand::Failed(bad.clone()))
                .then_do([failed(counter - 1, bad.clone())], [])
                .when(start(counter, 1))
                .then([started(counter, 1)]);
        }
        assert_eq!((state.state().failures_in_a_row(), state.state().last_failure()), (3, Some(&bad)));
        let good = state.when(ParticipantCommand::Completed).then([completed(4)]);
        assert_eq!((good.state().failures_in_a_row(), good.state().last_failure()), (0, None));
    }

    #[test]
    fn being_told_to_stop_or_losing_its_process_is_no_failure_of_its_own() {
        let stop = failure(FailureKind::Cancelled);
        let run = at_work().when(ParticipantCommand::Failed(stop.clone())).then([failed(1, stop)]);
        assert_eq!((run.state().failures_in_a_row(), run.state().last_failure()), (0, None));
        assert_eq!(at_work().and([abandoned(1, 1)]).state().failures_in_a_row(), 0);
    }

    #[test]
    fn an_answer_without_work_is_refused() {
        let idle = || given::<Participant>([]);
        idle().when(ParticipantCommand::Completed).refused(ParticipantRefusal::NotAtWork);
        let late = ParticipantCommand::Failed(failure(FailureKind::Fatal));
        idle().when(late).refused(ParticipantRefusal::NotAtWork);
    }
}
