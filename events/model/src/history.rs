//! The runs of an installation in the order they were asked for, what is still open, and how its participants stand.
//!
//! Small for each run, so that ten years of them fit in memory: about 250 bytes a run or restore. All of a run is folded from its
//! own stream when it is shown.

mod half;
mod imports;
mod keys;
mod there;

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use uuid::Uuid;

pub use self::half::HalfRestored;
use self::imports::Imports;
use self::keys::Keys;
pub use self::there::CopiesThere;
use self::there::EndpointBits;

use crate::aggregate::Aggregate;
use crate::codec::Envelope;
use crate::event::{Event, RestoreEvent, RunEvent, SystemEvent};
use crate::ids::{ParticipantName, Position, RestoreId, RunId, Timestamp};
use crate::participant::Participant;
use crate::run::{Outcome, RunType, Staging, Target, Trigger};

/// What is known of a run without folding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunEntry {
    /// The run.
    pub run_id: RunId,
    /// The position of its request: the order of runs.
    pub requested: Position,
    /// Whether it took some of the participants only.
    pub scoped: bool,
    /// What made it start.
    pub trigger: Trigger,
    /// How it ended; `None` while it is open.
    pub outcome: Option<Outcome>,
    /// The position of its end.
    pub ended: Option<Position>,
    /// When its end was recorded.
    pub ended_at: Option<Timestamp>,
    /// Whether it took what was named for it alone, and not what is configured: known by the definitions it records itself.
    pub ad_hoc: bool,
    /// When its files were last read again and were as recorded.
    pub verified_at: Option<Timestamp>,
    /// Whether they were not as recorded when they were last read again.
    pub damaged: bool,
    /// Whether it is kept from deletion.
    pub locked: bool,
    /// Whether its directory has been, or is being, deleted.
    pub deleted: bool,
    /// Whether a deletion was begun and not finished.
    pub deleting: bool,
    /// Whether its directory was taken away because copies are kept on endpoints.
    pub kept_remotely: bool,
    /// Whether its directory goes once copies are on endpoints, and nothing is known to keep it by now.
    pub leaving: bool,
    /// Its copies on endpoints.
    pub copies: CopyCounts,
    /// Where they are.
    pub there: CopiesThere,
    /// Whether it is known from elsewhere alone: its place in the log is that of its import.
    pub imported: bool,
    /// Whether another installation made it.
    pub foreign: bool,
}

/// How many copies of a run are wanted, and how many of these are not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyCounts {
    /// Planned with the run.
    pub planned: u8,
    /// Whether its directory goes once they are there.
    pub instead: bool,
    /// Pending or on their way.
    pub open: u8,
    /// Whether one ever came to its end well.
    pub came: bool,
}

/// What is known of a restore without folding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreEntry {
    /// The restore.
    pub restore_id: RestoreId,
    /// The position of its request: the order of restores.
    pub requested: Position,
    /// The position of its end.
    pub ended: Option<Position>,
}

/// All runs and restores.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    runs: BTreeMap<Position, RunEntry>,
    places: BTreeMap<RunId, Position>,
    run_ends: BTreeMap<Position, RunId>,
    keys: Keys,
    restores: BTreeMap<Position, RestoreEntry>,
    restore_places: BTreeMap<RestoreId, Position>,
    restore_ends: BTreeMap<Position, RestoreId>,
    half_restored: HalfRestored,
    participants: BTreeMap<ParticipantName, Participant>,
    highest_counter: u32,
    server_id: Option<Uuid>,
    imports: Imports,
    endpoints: EndpointBits,
    stopped: bool,
    folded_to: Position,
}

impl History {
    /// Folds the next event of the log.
    pub fn apply(&mut self, envelope: &Envelope) {
        self.folded_to = envelope.position;
        match &envelope.data {
            Event::RunEvent(RunEvent::Requested(request)) if !self.places.contains_key(&request.run_id) => {
                self.highest_counter = self.highest_counter.max(request.run_id.counter());
                self.places.insert(request.run_id, envelope.position);
                self.keys.note(envelope, request);
                self.runs.insert(
                    envelope.position,
                    RunEntry {
                        run_id: request.run_id,
                        requested: envelope.position,
                        scoped: request.run_type == RunType::Scoped,
                        trigger: request.trigger,
                        outcome: None,
                        ended: None,
                        ended_at: None,
                        ad_hoc: false,
                        verified_at: None,
                        damaged: false,
                        locked: false,
                        deleted: false,
                        deleting: false,
                        kept_remotely: false,
                        leaving: false,
                        copies: CopyCounts::default(),
                        there: CopiesThere::default(),
                        imported: false,
                        foreign: false,
                    },
                );
            }
            Event::RunEvent(event) => {
                self.apply_import(event, envelope);
                let entry = envelope.stream.run_id().and_then(|id| self.places.get(&id).copied());
                if let Some(entry) = entry.and_then(|place| self.runs.get_mut(&place)) {
                    let open = entry.ended.is_none();
                    entry.apply(event, envelope);
                    self.endpoints.apply(&mut entry.there, event);
                    if let (true, Some(ended)) = (open, entry.ended) {
                        self.run_ends.insert(ended, entry.run_id);
                    }
                }
            }
            Event::RestoreEvent(event) => {
                if let Some(restore_id) = envelope.stream.restore_id() {
                    self.half_restored.apply(restore_id, event);
                }
                self.apply_restore(event, envelope);
            }
            Event::MaintenanceEvent(event) => self.half_restored.seen_to(event),
            Event::SystemEvent(SystemEvent::HomeCreated(created)) => self.server_id = Some(created.server_id),
            Event::SystemEvent(SystemEvent::EngineStopped(_)) => self.stopped = true,
            Event::SystemEvent(SystemEvent::EngineStarted(_)) => self.stopped = false,
            Event::ParticipantEvent(event) => {
                if let Some(name) = envelope.stream.participant_name() {
                    self.participants.entry(name).or_default().apply(event, &envelope.moment());
                }
            }
            _ => {}
        }
    }

    fn apply_restore(&mut self, event: &RestoreEvent, envelope: &Envelope) {
        let position = envelope.position;
        match event {
            RestoreEvent::Requested(request) => {
                let restore_id = request.restore_id;
                if self.restore_places.contains_key(&restore_id) {
                    return;
                }
                self.restore_places.insert(restore_id, position);
                self.restores.insert(position, RestoreEntry { restore_id, requested: position, ended: None });
            }
            RestoreEvent::Completed(_)
            | RestoreEvent::Failed(_)
            | RestoreEvent::RolledBack(_)
            | RestoreEvent::RollbackFailed(_) => {
                let place = envelope.stream.restore_id().and_then(|id| self.restore_places.get(&id));
                let entry = place.and_then(|place| self.restores.get_mut(place));
                if let Some(entry) = entry.filter(|entry| entry.ended.is_none()) {
                    entry.ended = Some(position);
                    self.restore_ends.insert(position, entry.restore_id);
                }
            }
            RestoreEvent::RetryRequested(_) => {
                let place = envelope.stream.restore_id().and_then(|id| self.restore_places.get(&id));
                let entry = place.and_then(|place| self.restores.get_mut(place));
                if let Some(ended) = entry.and_then(|entry| entry.ended.take()) {
                    self.restore_ends.remove(&ended);
                }
            }
            _ => {}
        }
    }

    /// Who is as a restore left it that could not be rolled back.
    #[must_use]
    pub fn half_restored(&self) -> &HalfRestored {
        &self.half_restored
    }

    /// Every participant that ever worked, as its supervision knows it.
    #[must_use]
    pub fn participants(&self) -> &BTreeMap<ParticipantName, Participant> {
        &self.participants
    }

    /// The position of the last event folded.
    #[must_use]
    pub fn folded_to(&self) -> Position {
        self.folded_to
    }

    /// Whether the last process that worked on runs was stopped in good order while some were open.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        self.stopped
    }

    /// The highest counter of any run id, also of deleted runs.
    #[must_use]
    pub fn highest_counter(&self) -> u32 {
        self.highest_counter
    }

    /// Runs that were asked for before a position of the log, the newest first.
    pub fn newest_before(&self, position: Position) -> impl Iterator<Item = &RunEntry> {
        self.runs.range(..position).rev().map(|(_, entry)| entry)
    }

    /// All runs, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &RunEntry> {
        self.runs.values().rev()
    }

    /// Runs that have not ended, the oldest first.
    pub fn open(&self) -> impl Iterator<Item = &RunEntry> {
        self.runs.values().filter(|entry| entry.outcome.is_none())
    }

    /// Ended runs with uploads that are pending or on their way, the oldest first.
    pub fn uploading(&self) -> impl Iterator<Item = &RunEntry> {
        self.runs.values().filter(|entry| entry.ended.is_some() && entry.copies.open > 0)
    }

    /// Ended runs whose directory is to go, once their copies are where they should be, the newest first.
    pub fn leaving(&self) -> impl Iterator<Item = &RunEntry> {
        self.runs
            .values()
            .rev()
            .filter(|entry| entry.leaving && entry.ended.is_some() && !entry.locked && !entry.deleted)
    }

    /// Runs whose deletion was begun and not finished.
    pub fn deleting(&self) -> impl Iterator<Item = &RunEntry> {
        self.runs.values().filter(|entry| entry.deleting)
    }

    /// Ends of runs after a position, in the order of the log.
    pub fn ends_after(&self, position: Position) -> impl Iterator<Item = (Position, RunId)> {
        self.run_ends.range((Excluded(position), Unbounded)).map(|(position, id)| (*position, *id))
    }

    /// The run that `principal` asked for under an idempotency key at most a day before `now`.
    #[must_use]
    pub fn by_key(&self, principal: &str, key: &str, now: Timestamp) -> Option<RunId> {
        self.keys.find(principal, key, now)
    }

    /// All restores, the newest first.
    pub fn restores_newest_first(&self) -> impl Iterator<Item = &RestoreEntry> {
        self.restores.values().rev()
    }

    /// What is known of one restore.
    #[must_use]
    pub fn restore(&self, id: RestoreId) -> Option<&RestoreEntry> {
        self.restores.get(self.restore_places.get(&id)?)
    }

    /// Ends of restores after a position, in the order of the log.
    pub fn restore_ends_after(&self, position: Position) -> impl Iterator<Item = (Position, RestoreId)> {
        self.restore_ends.range((Excluded(position), Unbounded)).map(|(position, id)| (*position, *id))
    }

    /// Restores that have not ended, the oldest first.
    #[must_use]
    pub fn open_restores(&self) -> Vec<RestoreId> {
        self.restores.values().filter(|entry| entry.ended.is_none()).map(|entry| entry.restore_id).collect()
    }

    /// Kept runs whose files were not as recorded when they were last read, here or at the last endpoint that had them, the oldest first.
    pub fn damaged(&self) -> impl Iterator<Item = &RunEntry> {
        let damaged = |entry: &RunEntry| entry.damaged || entry.is_lost() && entry.there.is_altered();
        self.runs.values().filter(move |entry| !entry.deleted && damaged(entry))
    }

    /// The last run a participant was good in whose files were as recorded when they were last read again, and when that was.
    #[must_use]
    pub fn last_good(&self, participant: &ParticipantName) -> Option<(RunId, Timestamp)> {
        let passed = |run: RunId| self.run(run).is_some_and(|entry| entry.damaged || entry.is_lost());
        self.participants.get(participant)?.good_runs().find(|(run, _)| !passed(*run))
    }

    /// What is known of one run.
    #[must_use]
    pub fn run(&self, id: RunId) -> Option<&RunEntry> {
        self.runs.get(self.places.get(&id)?)
    }

    /// The newest good run made here whose directory is here, and the newer ones that were passed over for it, the newest first. A run of some
    /// participants, or of what was named for it alone, is passed over for one of all that is configured: it does not stand for what the
    /// other holds. Where no directory is here it is the newest good run that is kept on endpoints alone; where every completed run was found
    /// damaged it is the newest of them: [`RunEntry::is_good`] tells.
    #[must_use]
    pub fn latest(&self) -> (Option<&RunEntry>, Vec<&RunEntry>) {
        let made_here = self.made_here();
        let kept = || made_here.iter().copied().filter(|entry| !entry.deleted);
        let completed = |entry: &&RunEntry| entry.outcome == Some(Outcome::Completed);
        let latest = preferred(kept().filter(|entry| entry.is_good() && !entry.kept_remotely));
        let latest = latest.or_else(|| preferred(kept().filter(|entry| entry.is_good())));
        let latest = latest.or_else(|| kept().find(completed));
        let passed = kept().take_while(|entry| latest.is_none_or(|latest| entry.run_id != latest.run_id));
        (latest, passed.collect())
    }

    /// The newest good run made here, also where it is kept on endpoints alone, of those that `also` says it of: whoever folds a run knows
    /// more of its copies.
    #[must_use]
    pub fn newest_good(&self, also: impl Fn(&RunEntry) -> bool) -> Option<&RunEntry> {
        let good = |entry: &&RunEntry| !entry.deleted && entry.is_good() && also(entry);
        preferred(self.made_here().into_iter().filter(&good))
    }
}

/// The first of all that is configured, or where there is none the first.
fn preferred<'a>(runs: impl Iterator<Item = &'a RunEntry> + Clone) -> Option<&'a RunEntry> {
    runs.clone().find(|entry| !entry.scoped && !entry.ad_hoc).or_else(|| runs.into_iter().next())
}

impl RunEntry {
    /// Whether it completed, its files were as recorded when they were last read, and it is somewhere.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.outcome == Some(Outcome::Completed) && !self.damaged && !self.is_lost()
    }

    /// Whether it was kept on endpoints alone, and none of them is known to have it any more.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.kept_remotely && self.there.is_nowhere()
    }

    fn apply(&mut self, event: &RunEvent, envelope: &Envelope) {
        match event {
            // The end is known at `Classified`, but it is the end only once it is published.
            RunEvent::Ended(ended) => self.end(ended.outcome, envelope),
            RunEvent::Published(published) => {
                if published.target == Target::Completed {
                    self.copies.open = self.copies.planned;
                }
                self.end(published.outcome, envelope);
            }
            RunEvent::ParticipantPlanned(planned) if planned.definition_parts > 0 => self.ad_hoc = true,
            RunEvent::Verified(verified) => {
                self.damaged = !verified.ok;
                if verified.ok {
                    self.verified_at = Some(envelope.time);
                }
            }
            // What came was read whole.
            RunEvent::ImportCompleted(_) => {
                self.damaged = false;
                self.deleted = false;
                self.leaving = false;
                self.kept_remotely = false;
                self.copies.instead = false;
                self.verified_at = Some(envelope.time);
            }
            RunEvent::Locked(_) => self.locked = true,
            RunEvent::Unlocked(_) => self.locked = false,
            RunEvent::DeleteRequested(_) => {
                self.leaving = false;
                self.deleted = true;
                self.deleting = true;
            }
            RunEvent::Deleted(_) => self.deleting = false,
            RunEvent::DeleteFailed(_) => {
                self.deleted = false;
                self.deleting = false;
                self.leaving = std::mem::take(&mut self.kept_remotely);
            }
            RunEvent::LocalCopyRemovalRequested(_) => {
                self.leaving = false;
                self.deleting = true;
                self.kept_remotely = true;
            }
            RunEvent::UploadCompleted(_) | RunEvent::UploadFailed(_) => {
                self.copies.apply(event);
                self.leaving = self.copies.instead && self.copies.open == 0;
            }
            _ => self.copies.apply(event),
        }
    }
}

impl CopyCounts {
    fn apply(&mut self, event: &RunEvent) {
        // A run has fifty copies at most.
        let few = |many: usize| u8::try_from(many).unwrap_or(u8::MAX);
        match event {
            RunEvent::CopiesPlanned(planned) => {
                self.planned = few(planned.endpoints.len());
                self.instead = !planned.keep_local || planned.staging == Staging::None;
            }
            RunEvent::UploadsRequested(requested) => {
                self.open = self.open.saturating_add(few(requested.endpoints.len()));
            }
            RunEvent::UploadCompleted(_) => {
                self.came = true;
                self.open = self.open.saturating_sub(1);
            }
            RunEvent::UploadFailed(_) => self.open = self.open.saturating_sub(1),
            _ => {}
        }
    }
}

impl RunEntry {
    fn end(&mut self, outcome: Outcome, envelope: &Envelope) {
        self.outcome = Some(outcome);
        self.ended.get_or_insert(envelope.position);
        self.ended_at.get_or_insert(envelope.time);
    }
}

#[cfg(test)]
mod tests;
