//! The steps of a restore in place: which is next follows from what is recorded.

use super::{Restore, RestoreParticipantPlannedV1, RestoreRequestedV3, RestoreStatus, Safety};
use crate::ids::{ParticipantName, Sha256, Timestamp};
use crate::run::ArtifactStoredV1;

/// One step of a restore in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Reads every artifact again.
    Verify,
    /// Has all participants keep their data from changing.
    Quiesce,
    /// Keeps the state before.
    Snapshot,
    /// Gives a participant its artifacts, beside its live data.
    Stage(ParticipantName),
    /// Has a participant put what is staged in the place of its live data.
    Commit(ParticipantName),
    /// Has a participant look at what it has now.
    Check(ParticipantName),
    /// Puts a participant back to the state before.
    RollBack(ParticipantName),
    /// Throws away what is staged, and where nothing was touched what was kept of the state before.
    Discard,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Did {
    /// It is done.
    Done,
    /// It is done; content bytes were read.
    Read(u64),
    /// It is done, and a program said this last.
    Said(String),
    /// The state before is kept.
    Kept(SafetySnapshot),
}

/// A safety snapshot that was read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetySnapshot {
    /// The moment it is of.
    pub at: Timestamp,
    /// SHA-256 of the list of hashes in its directory.
    pub sums_sha256: Sha256,
    /// What it holds.
    pub artifacts: Vec<ArtifactStoredV1>,
}

/// A restore in place that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRestore {
    /// What is asked for.
    pub request: RestoreRequestedV3,
    /// The participants, in any order.
    pub participants: Vec<NewParticipant>,
}

/// A participant of a restore that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewParticipant {
    /// What is recorded of it.
    pub planned: RestoreParticipantPlannedV1,
    /// Modules that are committed before it, where they are part of the restore.
    pub depends_on: Vec<ParticipantName>,
}

/// How far a participant of a restore has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restoring {
    /// What was planned.
    pub planned: RestoreParticipantPlannedV1,
    /// Whether all is staged.
    pub staged: bool,
    /// Whether its live data may have been touched.
    pub touched: bool,
    /// Whether its live data is what was staged.
    pub committed: bool,
    /// What its program said while it took that.
    pub output: String,
    /// Whether it has looked at that.
    pub checked: bool,
    /// Whether it was put back.
    pub rolled_back: bool,
    /// What is kept of the state before.
    pub safety_artifacts: Vec<ArtifactStoredV1>,
}

impl Restoring {
    pub(super) fn new(planned: RestoreParticipantPlannedV1) -> Self {
        let safety_artifacts = Vec::new();
        Self {
            planned,
            staged: false,
            touched: false,
            committed: false,
            output: String::new(),
            checked: false,
            rolled_back: false,
            safety_artifacts,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ParticipantName {
        &self.planned.participant
    }
}

impl Restore {
    /// The participants it is made into, in the order they are committed in; none where it is made otherwise.
    #[must_use]
    pub fn participants(&self) -> &[Restoring] {
        &self.participants
    }

    /// Whether it is made in place.
    #[must_use]
    pub fn is_in_steps(&self) -> bool {
        !self.participants.is_empty()
    }

    /// Whether it has been asked for and has no end.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status == RestoreStatus::Running
    }

    /// Whether it is decided that it is not made.
    #[must_use]
    pub fn is_rolling_back(&self) -> bool {
        self.rolling_back.is_some()
    }

    /// Whether the live data of any participant may have been touched.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        self.participants.iter().any(|one| one.touched)
    }

    /// Whether the state before is kept.
    #[must_use]
    pub fn has_safety_snapshot(&self) -> bool {
        self.safety.is_some()
    }

    /// Whether the state before is on disk: what touched nothing has thrown it away, and later it may have been removed.
    #[must_use]
    pub fn keeps_safety_snapshot(&self) -> bool {
        let thrown_away = self.finished_at.is_some() && !self.is_touched();
        self.safety.is_some() && !thrown_away && self.safety_removed.is_none()
    }

    /// When the state before was removed, where it was kept until then.
    #[must_use]
    pub fn safety_removed(&self) -> Option<Timestamp> {
        self.safety_removed
    }

    /// Whether nothing needs the state before any more.
    #[must_use]
    pub fn may_remove_safety(&self) -> bool {
        self.keeps_safety_snapshot() && !self.is_open() && self.status != RestoreStatus::RollbackFailed
    }

    /// The step that is under way, or is to be: what is recorded says it, and nothing else.
    #[must_use]
    pub fn step(&self) -> Option<Step> {
        if !self.is_open() || !self.is_in_steps() {
            return None;
        }
        let first = |is_left: fn(&Restoring) -> bool| self.participants.iter().find(|one| is_left(one));
        if self.is_rolling_back() {
            let last = self.participants.iter().rev().find(|one| one.touched && !one.rolled_back);
            return Some(match last {
                Some(_) if !self.quiesced => Step::Quiesce,
                Some(last) => Step::RollBack(last.name().clone()),
                None => Step::Discard,
            });
        }
        if !self.source_verified {
            return Some(Step::Verify);
        }
        if !self.quiesced {
            return Some(Step::Quiesce);
        }
        let wants_safety = self.request.as_ref().is_some_and(|request| request.safety != Safety::None);
        if wants_safety && self.safety.is_none() && self.unkept.is_none() && !self.decided {
            return Some(Step::Snapshot);
        }
        if let Some(one) = first(|one| !one.staged) {
            return Some(Step::Stage(one.name().clone()));
        }
        if let Some(one) = first(|one| !one.committed) {
            return Some(Step::Commit(one.name().clone()));
        }
        first(|one| !one.checked).map(|one| Step::Check(one.name().clone()))
    }

    /// Where it is on its way, in one word for people and programs.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match self.step() {
            None if self.is_open() => "restore",
            None => "done",
            Some(Step::Verify) => "validate",
            Some(Step::Quiesce) => "quiesce",
            Some(Step::Snapshot) => "safety_snapshot",
            Some(Step::Stage(_)) => "stage",
            Some(Step::Commit(_)) => "commit",
            Some(Step::Check(_)) => "verify",
            Some(Step::RollBack(_) | Step::Discard) => "rollback",
        }
    }
}
