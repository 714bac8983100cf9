//! Sums over the whole log, for whoever watches the installation: how many runs ended how, how long they took, how much was stored, and
//! when each participant and job last had a run that is good and was read again.
//!
//! Folded from the log as [`crate::history`] is, so that counters survive restarts. Bounded: the newest [`MAX_SUBJECTS`] participants and
//! jobs, and for each of them the newest [`KEPT`] good runs.
//!
//! A good run counts as verified when it is published: every byte of it was read again for that. A later verification moves it on, or finds
//! damage; then the run does not count until one finds it whole again, and the run before it does. So does a deletion. A verification of an
//! older run says nothing about a newer one, and moves nothing while that one stands.

mod durations;
mod marks;

use std::collections::{BTreeMap, BTreeSet};

pub use self::durations::{BOUNDS_S, Durations};
pub use self::marks::{KEPT, Marks};
use crate::codec::Envelope;
use crate::event::{Event, ParticipantEvent, RunEvent, SystemEvent};
use crate::failure::FailureKind;
use crate::ids::{ParticipantName, RunId, Timestamp};
use crate::run::Outcome;

/// Participants, and jobs, that are told apart; the one that was at work the longest ago makes room.
pub const MAX_SUBJECTS: usize = 1000;

/// The sums.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    open: BTreeMap<RunId, OpenRun>,
    ended: BTreeMap<&'static str, u64>,
    participants: BTreeMap<ParticipantName, Marks>,
    jobs: BTreeMap<String, Marks>,
    durations: Durations,
    stored: Stored,
    verified: Verified,
    engine_starts: u64,
    resumed: u64,
    deleted: u64,
}

/// What was stored, also by runs that failed or were deleted since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// Artifacts.
    pub artifacts: u64,
    /// Bytes as the participants wrote them.
    pub content_bytes: u64,
    /// Bytes as they were stored.
    pub stored_bytes: u64,
}

/// Verifications of ended runs that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verified {
    /// All was as recorded.
    pub whole: u64,
    /// Something was not.
    pub damaged: u64,
}

/// What is known of a run until its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct OpenRun {
    job: String,
    started: Option<Timestamp>,
    good: BTreeSet<ParticipantName>,
}

impl Tally {
    /// Folds the next event of the log.
    pub fn apply(&mut self, envelope: &Envelope) {
        match &envelope.data {
            Event::RunEvent(event) => {
                if let Some(run_id) = envelope.stream.run_id() {
                    self.apply_run(run_id, event, envelope.time);
                }
            }
            Event::ParticipantEvent(event) => {
                let Some(name) = envelope.stream.participant_name() else { return };
                let marks = room(&mut self.participants, name);
                marks.at_work(envelope.time);
                match event {
                    ParticipantEvent::WorkStarted(work) => marks.tried(work.try_number),
                    // One that was told to stop has not failed.
                    ParticipantEvent::WorkFailed(work) if work.failure.kind != FailureKind::Cancelled => marks.failed(),
                    _ => {}
                }
            }
            Event::SystemEvent(SystemEvent::EngineStarted(_)) => self.engine_starts += 1,
            _ => {}
        }
    }

    fn apply_run(&mut self, run_id: RunId, event: &RunEvent, now: Timestamp) {
        match event {
            RunEvent::Requested(request) => {
                self.open.insert(run_id, OpenRun { job: request.job.clone(), ..OpenRun::default() });
            }
            RunEvent::Verified(verified) => {
                let count = if verified.ok { &mut self.verified.whole } else { &mut self.verified.damaged };
                *count += 1;
                self.each(|marks| marks.verified(run_id, verified.ok, now));
            }
            RunEvent::DeleteRequested(_) => self.each(|marks| marks.taken(run_id, true)),
            RunEvent::DeleteFailed(_) => self.each(|marks| marks.taken(run_id, false)),
            RunEvent::Deleted(_) => {
                self.deleted += 1;
                self.each(|marks| marks.deleted(run_id));
            }
            // What came was read whole, and so is what it replaced.
            RunEvent::ImportCompleted(_) => self.each(|marks| marks.verified(run_id, true, now)),
            RunEvent::Ended(ended) => self.end(run_id, ended.outcome, now),
            RunEvent::Published(published) => self.end(run_id, published.outcome, now),
            _ => self.apply_open(run_id, event, now),
        }
    }

    fn apply_open(&mut self, run_id: RunId, event: &RunEvent, now: Timestamp) {
        let Some(run) = self.open.get_mut(&run_id) else { return };
        match event {
            RunEvent::Started(_) => run.started = Some(now),
            RunEvent::Resumed(_) => self.resumed += 1,
            RunEvent::ParticipantCompleted(completed) => {
                run.good.insert(completed.participant.clone());
            }
            RunEvent::ParticipantReset(reset) => {
                run.good.remove(&reset.participant);
            }
            RunEvent::ArtifactStored(artifact) => {
                self.stored.artifacts += 1;
                self.stored.content_bytes = self.stored.content_bytes.saturating_add(artifact.content_bytes);
                self.stored.stored_bytes = self.stored.stored_bytes.saturating_add(artifact.stored.size_bytes);
            }
            _ => {}
        }
    }

    fn end(&mut self, run_id: RunId, outcome: Outcome, now: Timestamp) {
        // An end without a beginning, or a second one, is none.
        let Some(run) = self.open.remove(&run_id) else { return };
        *self.ended.entry(word(outcome)).or_default() += 1;
        if let Some(started) = run.started {
            self.durations.add(now.seconds_since(started));
        }
        // Of a partial run the participants that are good can be restored, and the job is not good.
        if matches!(outcome, Outcome::Completed | Outcome::Partial) {
            for name in run.good {
                room(&mut self.participants, name).published(run_id, now);
            }
        }
        if outcome == Outcome::Completed && !run.job.is_empty() {
            room(&mut self.jobs, run.job).published(run_id, now);
        }
    }

    fn each(&mut self, mut change: impl FnMut(&mut Marks)) {
        self.participants.values_mut().for_each(&mut change);
        self.jobs.values_mut().for_each(change);
    }

    /// How many runs ended so.
    #[must_use]
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.ended.get(word(outcome)).copied().unwrap_or(0)
    }

    /// Runs that have not ended.
    #[must_use]
    pub fn open_runs(&self) -> usize {
        self.open.len()
    }

    /// Runs that wait for their turn.
    #[must_use]
    pub fn queued_runs(&self) -> usize {
        self.open.values().filter(|run| run.started.is_none()).count()
    }

    /// How long runs took from their start to their end.
    #[must_use]
    pub fn durations(&self) -> &Durations {
        &self.durations
    }

    /// What was stored in all.
    #[must_use]
    pub fn stored(&self) -> Stored {
        self.stored
    }

    /// What verifications found.
    #[must_use]
    pub fn verified(&self) -> Verified {
        self.verified
    }

    /// How often an engine was started on the home.
    #[must_use]
    pub fn engine_starts(&self) -> u64 {
        self.engine_starts
    }

    /// How often a run was gone on with by another process.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.resumed
    }

    /// How many runs were deleted.
    #[must_use]
    pub fn deleted(&self) -> u64 {
        self.deleted
    }

    /// What is known of a participant.
    #[must_use]
    pub fn participant(&self, name: &ParticipantName) -> Option<&Marks> {
        self.participants.get(name)
    }

    /// Jobs that had a completed run, by name.
    pub fn jobs(&self) -> impl Iterator<Item = (&str, &Marks)> {
        self.jobs.iter().map(|(name, marks)| (name.as_str(), marks))
    }
}

fn word(outcome: Outcome) -> &'static str {
    crate::run::RunStatus::from(outcome).as_str()
}

/// The marks of this one; where there are too many, the one that was at work the longest ago goes.
fn room<K: Ord + Clone>(subjects: &mut BTreeMap<K, Marks>, key: K) -> &mut Marks {
    if subjects.len() >= MAX_SUBJECTS && !subjects.contains_key(&key) {
        let oldest = subjects.iter().min_by_key(|(_, marks)| marks.last_at_work()).map(|(key, _)| key.clone());
        oldest.and_then(|key| subjects.remove(&key));
    }
    subjects.entry(key).or_default()
}

#[cfg(test)]
mod tests;
