//! The barrier: the participants of a run stand still together for a moment, so that what each of them has then is of one and the same.
//!
//! One fact before it and one after it, and none between: nobody who stands still waits for the log. What a process that died left open
//! is aborted by the next one, and made again for all: a moment that is gone cannot be gone back to.

use std::collections::BTreeSet;

use super::{
    BarrierAbortedV1, BarrierCompletedV1, BarrierRequestedV1, Consistency, ParticipantFailedV2, ParticipantFrozenV1,
    ParticipantSkippedV1, ParticipantStatus, Run, RunParticipant,
};
use crate::event::RunEvent;
use crate::failure::{Failure, FailureKind, cut};
use crate::ids::{ParticipantName, Timestamp};

/// A moment that all participants stood still at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// When.
    pub at: Timestamp,
    /// How long it was from the first that was told to stand still to the last that went on, in microseconds.
    pub longest_us: u64,
}

/// A participant that failed before it stood still, or while it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFrozen {
    /// Which.
    pub participant: ParticipantName,
    /// Why.
    pub failure: Failure,
    /// The end of what its program said.
    pub output: String,
}

/// What came of a barrier that held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The moment.
    pub barrier: Barrier,
    /// Those that stood still.
    pub frozen: Vec<ParticipantFrozenV1>,
    /// Optional ones that did not.
    pub left_out: Vec<NotFrozen>,
}

impl Run {
    /// Whether all its artifacts are to be of one moment.
    #[must_use]
    pub fn wants_barrier(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.consistency == Consistency::Barrier)
    }

    /// The moment its artifacts are of, once there is one.
    #[must_use]
    pub fn barrier(&self) -> Option<Barrier> {
        self.barrier
    }

    /// The participants that have not begun, each after those it depends on: the order they are frozen in.
    #[must_use]
    pub fn freeze_order(&self) -> Vec<&RunParticipant> {
        let mut left: Vec<_> =
            self.participants.iter().filter(|one| one.status == ParticipantStatus::Pending).collect();
        let mut order = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let waiting: BTreeSet<_> = left.iter().map(|one| &one.name).collect();
            let is_free = |one: &&RunParticipant| !one.depends_on.iter().any(|name| waiting.contains(name));
            let (free, rest): (Vec<_>, Vec<_>) = left.iter().copied().partition(is_free);
            // A request in which one waits for itself is refused, so there is always one that is free.
            if free.is_empty() {
                order.extend(rest);
                break;
            }
            order.extend(free);
            left = rest;
        }
        order
    }

    /// Its directory is there: what comes next.
    pub(super) fn directory_ready(&self) -> Vec<RunEvent> {
        let budget_ms = self.request.as_ref().map_or(0, |request| request.freeze_budget_ms);
        match self.wants_barrier() && !self.is_stopping() && !self.all_ended() {
            true => vec![RunEvent::BarrierRequested(BarrierRequestedV1 { budget_ms })],
            false => self.go_on(Vec::new()),
        }
    }

    /// The barrier held. Where somebody had asked to stop meanwhile, nothing follows from that.
    pub(super) fn barrier_held(&self, held: Held) -> Vec<RunEvent> {
        if self.is_stopping() {
            let cancelled = Failure::new(FailureKind::Cancelled, "CANCELLED", "the run was cancelled");
            return self.barrier_failed(cancelled, None);
        }
        let Held { barrier: Barrier { at, longest_us }, mut frozen, mut left_out } = held;
        let mut open: BTreeSet<_> = self.freeze_order().into_iter().map(|one| one.name.clone()).collect();
        left_out.retain(|one| open.remove(&one.participant));
        frozen.retain(|one| open.remove(&one.participant));
        // Who was not there writes nothing: it would be of another moment.
        left_out.extend(open.into_iter().map(|participant| NotFrozen {
            participant,
            failure: Failure::new(FailureKind::Fatal, "BARRIER_MISSED", "it did not stand still with the others"),
            output: String::new(),
        }));
        let mut events: Vec<_> = frozen.into_iter().map(RunEvent::ParticipantFrozen).collect();
        events.push(RunEvent::BarrierCompleted(BarrierCompletedV1 { at, longest_us }));
        events.extend(left_out.into_iter().map(failed));
        self.go_on(events)
    }

    /// The barrier did not hold: nobody writes, since nothing would be of one moment.
    pub(super) fn barrier_failed(&self, failure: Failure, by: Option<NotFrozen>) -> Vec<RunEvent> {
        // Who was told to stop says no more than that; the run knows why.
        let failure = self.time_up().filter(|_| failure.kind == FailureKind::Cancelled).unwrap_or(failure).bounded();
        let reason = match &by {
            Some(by) => format!("the barrier was aborted, because of {}", by.participant),
            None => format!("the barrier was aborted: {failure}"),
        };
        let mut events = vec![RunEvent::BarrierAborted(BarrierAbortedV1 { failure })];
        let others = self.participants.iter().filter(|one| one.status == ParticipantStatus::Pending);
        let others = others.filter(|one| by.as_ref().is_none_or(|by| by.participant != one.name));
        let skipped = others.map(|one| {
            let reason = cut(&reason, Failure::MAX_MESSAGE).to_owned();
            RunEvent::ParticipantSkipped(ParticipantSkippedV1 { participant: one.name.clone(), reason })
        });
        let skipped: Vec<_> = skipped.collect();
        let is_pending = |by: &NotFrozen| {
            self.participant(&by.participant).is_some_and(|one| one.status == ParticipantStatus::Pending)
        };
        events.extend(by.filter(is_pending).map(failed));
        events.extend(skipped);
        self.go_on(events)
    }

    /// What is concluded of a barrier that was under way when its process died: whoever stood still goes on.
    pub(super) fn barrier_lost(&self) -> RunEvent {
        let text = "the process that held the participants is gone";
        let failure = Failure::new(FailureKind::Retryable, "BARRIER_INTERRUPTED", text);
        RunEvent::BarrierAborted(BarrierAbortedV1 { failure })
    }
}

fn failed(one: NotFrozen) -> RunEvent {
    RunEvent::ParticipantFailed(ParticipantFailedV2 {
        participant: one.participant,
        failure: one.failure.bounded(),
        output: cut(&one.output, super::MAX_OUTPUT).to_owned(),
    })
}
