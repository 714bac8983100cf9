//! What follows from a wish about a restore, and from what is recorded of it.

use std::collections::BTreeSet;

use super::{
    Did, INTERRUPTED, MAX_INTERRUPTIONS, MAX_NAMES, MAX_PATH, NewParticipant, NewRestore, Restore,
    RestoreCancelRequestedV1, RestoreCommand, RestoreCommitDecidedV1, RestoreCompletedV1, RestoreFailedV1,
    RestoreInterruptedV1, RestorePartV1, RestoreParticipantCommittedV2, RestoreParticipantStagedV1, RestoreQuiescedV1,
    RestoreRefusal, RestoreRequestedV3, RestoreRetryRequestedV1, RestoreRollbackDecidedV1, RestoreRollbackFailedV1,
    RestoreRolledBackV1, RestoreSourceVerifiedV1, RestoreStatus, Safety, SafetyArtifactStoredV1,
    SafetySnapshotRemovedV1, SafetySnapshotSkippedV1, SafetySnapshotTakenV1, Step,
};
use crate::aggregate::Moment;
use crate::event::RestoreEvent;
use crate::failure::{Failure, FailureKind, cut};
use crate::ids::{ParticipantName, Timestamp};

/// Longest reason of a cancellation that is kept, in bytes.
const MAX_REASON: usize = 512;
/// Longest text of a program that is kept, in bytes.
const MAX_OUTPUT: usize = 2048;

impl Restore {
    pub(super) fn decide_now(
        &self,
        command: RestoreCommand,
        now: Timestamp,
    ) -> Result<Vec<RestoreEvent>, RestoreRefusal> {
        let events = match (command, self.status) {
            (RestoreCommand::Request(request), RestoreStatus::Unknown) => vec![requested(request)?],
            (RestoreCommand::Begin(new), RestoreStatus::Unknown) => begun(new)?,
            (RestoreCommand::Request(_) | RestoreCommand::Begin(_), _) => return Err(RestoreRefusal::Exists),
            (RestoreCommand::Complete(completed), RestoreStatus::Running) if !self.is_in_steps() => {
                vec![RestoreEvent::Completed(completed)]
            }
            (RestoreCommand::Fail(failure), RestoreStatus::Running) if !self.is_in_steps() => vec![failed(failure)],
            (RestoreCommand::Did(step, did), RestoreStatus::Running) => {
                self.at(&step)?;
                self.did(step, did)?
            }
            (RestoreCommand::StepFailed(step, failure), RestoreStatus::Running) => {
                self.at(&step)?;
                self.step_failed(step, failure.bounded())
            }
            (RestoreCommand::Cancel { reason }, RestoreStatus::Running) if self.is_in_steps() => {
                // It is decided already, or the wish is known.
                if self.is_rolling_back() || self.stopped().is_some() {
                    return Ok(Vec::new());
                }
                let reason = cut(&reason, MAX_REASON).to_owned();
                // What follows from it is decided once the step under way has come to its end.
                return Ok(vec![RestoreEvent::CancelRequested(RestoreCancelRequestedV1 { reason })]);
            }
            // As with a cancel.
            (RestoreCommand::TimedOut, RestoreStatus::Running) => return Ok(self.time_out()),
            (RestoreCommand::RemoveSafety, _) if self.may_remove_safety() => {
                vec![RestoreEvent::SafetySnapshotRemoved(SafetySnapshotRemovedV1 {})]
            }
            (RestoreCommand::RemoveSafety, _) => return Err(RestoreRefusal::SafetyKept),
            (RestoreCommand::Recover, RestoreStatus::Running) if self.is_in_steps() => self.recovered(),
            (RestoreCommand::Retry, RestoreStatus::RollbackFailed) if self.safety.is_some() => {
                vec![RestoreEvent::RetryRequested(RestoreRetryRequestedV1 {})]
            }
            (RestoreCommand::Retry, RestoreStatus::RollbackFailed) => return Err(RestoreRefusal::NoSafetySnapshot),
            (RestoreCommand::Retry, RestoreStatus::Unknown) => return Err(RestoreRefusal::NotFound),
            (RestoreCommand::Retry, _) => return Err(RestoreRefusal::NothingToRetry),
            _ => return Err(RestoreRefusal::NotRunning),
        };
        Ok(self.and_what_follows(events, now))
    }

    fn at(&self, step: &Step) -> Result<(), RestoreRefusal> {
        if self.step().as_ref() == Some(step) { Ok(()) } else { Err(RestoreRefusal::NotAtStep) }
    }

    fn did(&self, step: Step, did: Did) -> Result<Vec<RestoreEvent>, RestoreRefusal> {
        let part = |participant| RestorePartV1 { participant };
        Ok(match (step, did) {
            (Step::Verify, Did::Read(bytes)) => {
                let participants = u32::try_from(self.participants.len()).unwrap_or(u32::MAX);
                vec![RestoreEvent::SourceVerified(RestoreSourceVerifiedV1 { participants, bytes })]
            }
            (Step::Quiesce, Did::Done) => vec![RestoreEvent::Quiesced(RestoreQuiescedV1 {})],
            (Step::Snapshot, Did::Kept(kept)) => {
                let stored = |artifact| RestoreEvent::SafetyArtifactStored(SafetyArtifactStoredV1 { artifact });
                let mut events: Vec<_> = kept.artifacts.into_iter().map(stored).collect();
                let taken = SafetySnapshotTakenV1 { at: kept.at, sums_sha256: kept.sums_sha256 };
                events.push(RestoreEvent::SafetySnapshotTaken(taken));
                events
            }
            (Step::Stage(participant), Did::Read(bytes)) => {
                vec![RestoreEvent::ParticipantStaged(RestoreParticipantStagedV1 { participant, bytes })]
            }
            (Step::Commit(participant), Did::Done) => {
                vec![RestoreEvent::ParticipantCommitted(RestorePartV1 { participant }.into())]
            }
            (Step::Commit(participant), Did::Said(output)) => {
                let output = cut(&output, MAX_OUTPUT).to_owned();
                vec![RestoreEvent::ParticipantCommitted(RestoreParticipantCommittedV2 { participant, output })]
            }
            (Step::Check(name), Did::Done) => vec![RestoreEvent::ParticipantVerified(part(name))],
            (Step::RollBack(name), Did::Done) => vec![RestoreEvent::ParticipantRolledBack(part(name))],
            (Step::Discard, Did::Done) => vec![self.undone()],
            _ => return Err(RestoreRefusal::NotAtStep),
        })
    }

    fn step_failed(&self, step: Step, failure: Failure) -> Vec<RestoreEvent> {
        // What was told to stop says so in words of its own.
        let stopped = self.stopped().filter(|_| !self.is_rolling_back());
        let is_stopped = stopped.is_some();
        let failure = stopped.unwrap_or(failure);
        let best_effort = self.request.as_ref().is_some_and(|request| request.safety == Safety::BestEffort);
        vec![match step {
            // Nobody stands still yet.
            Step::Verify => failed(failure),
            Step::Snapshot if best_effort && !is_stopped && failure.kind != FailureKind::Cancelled => {
                RestoreEvent::SafetySnapshotSkipped(SafetySnapshotSkippedV1 { failure })
            }
            Step::RollBack(participant) => rollback_failed(Some(participant), failure),
            Step::Quiesce if self.is_rolling_back() => rollback_failed(None, failure),
            // What stays beside the live data does no harm, and the next stage throws it away.
            Step::Discard => self.undone(),
            Step::Quiesce | Step::Snapshot | Step::Stage(_) | Step::Commit(_) | Step::Check(_) => roll_back(failure),
        }]
    }

    /// All that was done is undone.
    fn undone(&self) -> RestoreEvent {
        match &self.rolling_back {
            Some(failure) if self.is_touched() => {
                RestoreEvent::RolledBack(RestoreRolledBackV1 { failure: failure.clone() })
            }
            Some(failure) => failed(failure.clone()),
            None => failed(Failure::new(FailureKind::Fatal, INTERRUPTED, "it was undone")),
        }
    }

    /// What is concluded where a process, or an actor, that worked on it is gone.
    fn recovered(&self) -> Vec<RestoreEvent> {
        let at = self.phase();
        let reason = format!("the process that worked on it is gone; it was at {at}");
        let mut events = vec![RestoreEvent::Interrupted(RestoreInterruptedV1 { reason })];
        let too_often = self.interruptions >= MAX_INTERRUPTIONS;
        if self.is_rolling_back() {
            if self.interruptions >= 2 * MAX_INTERRUPTIONS && self.is_touched() {
                let text = "its process died each time it was rolled back: see why, then `restore retry`";
                let failure = Failure::new(FailureKind::Fatal, "RESTORE_ATTEMPTS_EXHAUSTED", text);
                events.push(rollback_failed(None, failure));
            }
        } else if !self.decided {
            let text = format!("its process ended early, at {at}, before anything was touched: restore again");
            let interrupted = || Failure::new(FailureKind::Fatal, INTERRUPTED, text);
            events.push(roll_back(self.stopped().unwrap_or_else(interrupted)));
        } else if too_often {
            let text = "its process died each time it was gone on with: see why, then restore again";
            events.push(roll_back(Failure::new(FailureKind::Fatal, "RESTORE_ATTEMPTS_EXHAUSTED", text)));
        }
        events
    }

    /// The facts, and those that follow from them by themselves.
    fn and_what_follows(&self, mut events: Vec<RestoreEvent>, now: Timestamp) -> Vec<RestoreEvent> {
        let moment = Moment { time: now, principal: String::new() };
        let mut after = self.clone();
        events.iter().for_each(|event| after.fold(event, &moment));
        while let Some(event) = after.follows() {
            after.fold(&event, &moment);
            events.push(event);
        }
        events
    }

    fn follows(&self) -> Option<RestoreEvent> {
        if !self.is_open() || !self.is_in_steps() {
            return None;
        }
        if self.is_rolling_back() {
            let text =
                "no safety snapshot was kept of the state before, so what was begun cannot be put back: restore again";
            let no_way_back = self.is_touched() && self.safety.is_none();
            let failure = no_way_back.then(|| Failure::new(FailureKind::Fatal, "NO_SAFETY_SNAPSHOT", text));
            return failure.map(|failure| rollback_failed(None, failure));
        }
        if let Some(stopped) = self.stopped() {
            return Some(roll_back(stopped));
        }
        match self.step() {
            Some(Step::Commit(_)) if !self.decided => Some(RestoreEvent::CommitDecided(RestoreCommitDecidedV1 {})),
            Some(Step::Commit(participant)) => {
                let is_begun = self.participants.iter().any(|one| *one.name() == participant && one.touched);
                (!is_begun).then_some(RestoreEvent::CommitStarted(RestorePartV1 { participant }))
            }
            None => {
                let bytes = self.participants.iter().fold(0, |sum: u64, one| sum.saturating_add(one.planned.bytes));
                Some(RestoreEvent::Completed(RestoreCompletedV1 { files: 0, bytes, warnings: 0 }))
            }
            Some(_) => None,
        }
    }
}

fn requested(mut request: RestoreRequestedV3) -> Result<RestoreEvent, RestoreRefusal> {
    if request.staging.len() > MAX_PATH {
        return Err(RestoreRefusal::PathTooLong);
    }
    if request.names() > MAX_NAMES {
        return Err(RestoreRefusal::TooManyParticipants);
    }
    request.target = cut(&request.target, 1024).to_owned();
    Ok(RestoreEvent::Requested(request))
}

fn begun(new: NewRestore) -> Result<Vec<RestoreEvent>, RestoreRefusal> {
    let names: BTreeSet<_> = new.participants.iter().map(|one| &one.planned.participant).collect();
    let asked: BTreeSet<_> = new.request.participants.iter().map(|one| &one.name).collect();
    if names.is_empty() || names.len() != new.participants.len() || names != asked {
        return Err(RestoreRefusal::Participants);
    }
    let mut events = vec![requested(new.request)?];
    events.extend(in_order(new.participants).into_iter().map(|one| RestoreEvent::ParticipantPlanned(one.planned)));
    Ok(events)
}

/// Each after those it depends on. Where some wait for each other, they come last, as they were named.
fn in_order(mut left: Vec<NewParticipant>) -> Vec<NewParticipant> {
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waiting: BTreeSet<ParticipantName> = left.iter().map(|one| one.planned.participant.clone()).collect();
        let is_free = |one: &NewParticipant| !one.depends_on.iter().any(|name| waiting.contains(name));
        let (free, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(is_free);
        if free.is_empty() {
            order.extend(rest);
            break;
        }
        order.extend(free);
        left = rest;
    }
    order
}

fn failed(failure: Failure) -> RestoreEvent {
    RestoreEvent::Failed(RestoreFailedV1 { failure: failure.bounded() })
}

fn roll_back(failure: Failure) -> RestoreEvent {
    RestoreEvent::RollbackDecided(RestoreRollbackDecidedV1 { failure })
}

fn rollback_failed(participant: Option<ParticipantName>, failure: Failure) -> RestoreEvent {
    RestoreEvent::RollbackFailed(RestoreRollbackFailedV1 { participant, failure })
}
