//! A run that comes back from an endpoint, where it was deleted here, is damaged here, or was never here.
//!
//! ```text
//! ImportRequested ─► (files come) ─► [Imported ─► ParticipantImported…] ─► ImportPublishRequested ─► (rename) ─► ImportCompleted
//!        └────────────────────────────────── ImportFailed ◄───────────────────────────┘
//! ```
//!
//! What holds:
//!
//! - Until `ImportCompleted` nothing of the run changes: what comes is gathered beside it.
//! - A run that this log knows comes back only as what it was published as, by the hash of its list of hashes. So nobody who can write at
//!   the endpoint can put another run in its place, and its facts stay those of its own stream.
//! - A run this log does not know is what its manifest says, whole as it was read: its facts are recorded before it is in its place.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{
    ArtifactStoredV1, Barrier, MAX_ARTIFACTS, MAX_JOB, MAX_KIND, MAX_PARTICIPANTS, ParticipantImportedV1,
    ParticipantStatus, RESERVED_FILES, Refusal, Retained, Run, RunCommand, RunImportCompletedV1, RunImportFailedV1,
    RunImportPublishRequestedV1, RunImportRequestedV1, RunImportedV1, RunParticipant, RunRequestedV4, Stage,
};
use crate::aggregate::Moment;
use crate::event::RunEvent;
use crate::failure::{Failure, Warnings, cut};
use crate::ids::{EndpointName, Sha256, Timestamp};

/// Largest counter in the id of a run that is imported: the counter here goes on above it, and must have where to go.
pub const MAX_IMPORTED_COUNTER: u32 = u32::MAX / 2;
/// Longest name of who asked for a run elsewhere, in bytes.
const MAX_REQUESTED_BY: usize = 256;

/// Where a run came back from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedFrom {
    /// The endpoint.
    pub endpoint: EndpointName,
    /// The installation that made the run.
    pub server_id: Uuid,
    /// When it came.
    pub at: Timestamp,
}

/// An import under way, beside the run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Importing {
    requested: RunImportRequestedV1,
    facts: Option<RunImportedV1>,
    participants: Vec<RunParticipant>,
    publishing: Option<RunImportPublishRequestedV1>,
}

impl Run {
    /// What is being brought back, while it is.
    #[must_use]
    pub fn importing(&self) -> Option<&RunImportRequestedV1> {
        self.importing.as_ref().map(|importing| &importing.requested)
    }

    /// Where the directory that came is being renamed to, from its request to its end.
    #[must_use]
    pub fn import_publishing(&self) -> Option<&RunImportPublishRequestedV1> {
        self.importing.as_ref()?.publishing.as_ref()
    }

    /// SHA-256 of the list of hashes that what is being imported must have, once that is known.
    #[must_use]
    pub fn import_sums(&self) -> Option<Sha256> {
        let facts = self.importing.as_ref().and_then(|importing| importing.facts.as_ref());
        self.sums_sha256.or_else(|| facts.map(|facts| facts.sums_sha256))
    }

    /// Where it came back from last.
    #[must_use]
    pub fn imported(&self) -> Option<&ImportedFrom> {
        self.imported.as_ref()
    }

    /// Whether what it holds is known to whoever has a key alone: names are neutral ones, texts empty, content sizes 0.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        self.masked
    }

    /// The same run with its participants as the encrypted part of its manifest has them: what only a key tells, and no record does.
    #[must_use]
    pub fn revealed(&self, participants: &[(ParticipantImportedV1, Vec<ArtifactStoredV1>)]) -> Self {
        let participants = participants.iter().map(|(participant, artifacts)| {
            let artifacts = artifacts.clone();
            RunParticipant { artifacts, ..imported(participant) }
        });
        Self { participants: participants.collect(), ..self.clone() }
    }

    /// What follows from a wish about an import; `None` where it is about something else.
    pub(super) fn decide_import(&self, command: &RunCommand) -> Option<Result<Vec<RunEvent>, Refusal>> {
        let one = |event: RunEvent| Ok(vec![event]);
        Some(match (command, &self.importing) {
            (RunCommand::Import(_), Some(_)) => Err(Refusal::Importing),
            (RunCommand::Import(wish), None) => {
                self.may_import(wish).and_then(|()| one(RunEvent::ImportRequested(wish.clone())))
            }
            (RunCommand::ImportFacts(facts), Some(importing)) => {
                importing.take_facts(facts, self.request.is_none()).and_then(|facts| one(RunEvent::Imported(facts)))
            }
            (RunCommand::ImportParticipant { participant, artifacts }, Some(importing)) => {
                importing.take_participant(participant, artifacts)
            }
            (RunCommand::ImportWhole { sums_sha256 }, Some(importing)) => {
                self.publish_import(importing, *sums_sha256).map(|event| vec![event])
            }
            (RunCommand::ImportPublished, Some(importing)) if importing.publishing.is_some() => {
                one(RunEvent::ImportCompleted(RunImportCompletedV1 {}))
            }
            (RunCommand::ImportFailed(failure), Some(_)) => {
                one(RunEvent::ImportFailed(RunImportFailedV1 { failure: failure.clone().bounded() }))
            }
            (
                RunCommand::ImportFacts(_)
                | RunCommand::ImportParticipant { .. }
                | RunCommand::ImportWhole { .. }
                | RunCommand::ImportPublished
                | RunCommand::ImportFailed(_),
                _,
            ) => Err(Refusal::OutOfOrder),
            // What comes is to find the run as it was when it was asked for.
            (RunCommand::Request(_), Some(_)) => Err(Refusal::Exists),
            (RunCommand::Delete, Some(_)) => Err(Refusal::Importing),
            _ => return None,
        })
    }

    /// Whether the run may come back now.
    fn may_import(&self, wish: &RunImportRequestedV1) -> Result<(), Refusal> {
        if wish.run_id.counter() > MAX_IMPORTED_COUNTER {
            let text = format!("the number of run {} is too high for this installation to go on above it", wish.run_id);
            return Err(Refusal::Invalid(text));
        }
        match (self.stage, self.retained) {
            (Stage::Unknown, _) => Ok(()),
            (Stage::Ended, Retained::Deleting) => Err(Refusal::BeingDeleted),
            // It never had a directory that could have gone anywhere.
            (Stage::Ended, _) if self.sums_sha256.is_none() || self.target.is_none() => Err(Refusal::AnotherRun),
            (Stage::Ended, Retained::Deleted) => Ok(()),
            (Stage::Ended, Retained::Kept) if !wish.overwrite => Err(Refusal::IsHere),
            (Stage::Ended, Retained::Kept) => self.unlocked(),
            _ => Err(Refusal::Active),
        }
    }

    fn unlocked(&self) -> Result<(), Refusal> {
        self.lock.clone().map_or(Ok(()), |reason| Err(Refusal::Locked(reason)))
    }

    fn publish_import(&self, importing: &Importing, sums_sha256: Sha256) -> Result<RunEvent, Refusal> {
        if importing.publishing.is_some() {
            return Err(Refusal::OutOfOrder);
        }
        let (known, target) = match (&importing.facts, self.target) {
            (Some(facts), _) => {
                if importing.participants.len() != facts.participants as usize {
                    return Err(Refusal::OutOfOrder);
                }
                (facts.sums_sha256, facts.outcome.target())
            }
            (None, Some(target)) => (self.sums_sha256.ok_or(Refusal::AnotherRun)?, target),
            (None, None) => return Err(Refusal::OutOfOrder),
        };
        if known != sums_sha256 {
            return Err(Refusal::AnotherRun);
        }
        let replaces = self.request.is_some() && self.retained == Retained::Kept;
        if replaces {
            self.unlocked()?;
        }
        Ok(RunEvent::ImportPublishRequested(RunImportPublishRequestedV1 { target, replaces }))
    }

    /// Folds a fact of an import. `false` where it is one of something else.
    pub(super) fn apply_import(&mut self, event: &RunEvent, moment: &Moment) -> bool {
        match event {
            RunEvent::ImportRequested(requested) => {
                self.importing.get_or_insert_with(|| {
                    let (facts, participants, publishing) = (None, Vec::new(), None);
                    Box::new(Importing { requested: requested.clone(), facts, participants, publishing })
                });
            }
            RunEvent::Imported(facts) => self.with_import(|importing| importing.facts = Some(facts.clone())),
            RunEvent::ParticipantImported(participant) => {
                self.with_import(|importing| importing.participants.push(imported(participant)));
            }
            RunEvent::ArtifactStored(artifact) if self.importing.is_some() => self.with_import(|importing| {
                let own = importing.participants.iter_mut().find(|one| one.name == artifact.participant);
                own.into_iter().for_each(|one| one.artifacts.push(artifact.clone()));
            }),
            RunEvent::ImportPublishRequested(publish) => {
                self.with_import(|importing| importing.publishing = Some(publish.clone()));
            }
            RunEvent::ImportCompleted(_) => {
                if let Some(importing) = self.importing.take() {
                    self.arrive(*importing, moment.time);
                }
            }
            RunEvent::ImportFailed(_) => self.importing = None,
            _ => return false,
        }
        true
    }

    fn with_import(&mut self, change: impl FnOnce(&mut Importing)) {
        if let Some(importing) = &mut self.importing {
            change(importing);
        }
    }

    /// What came is the run from now on.
    fn arrive(&mut self, importing: Importing, now: Timestamp) {
        let Importing { requested, facts, participants, .. } = importing;
        if let Some(facts) = facts.filter(|_| self.request.is_none()) {
            self.masked = facts.masked;
            self.stage = Stage::Ended;
            self.requested_by.clone_from(&facts.requested_by);
            self.requested_at = facts.started_at;
            self.started_at = Some(facts.started_at);
            self.finished_at = Some(facts.finished_at);
            self.attempt = facts.attempt;
            self.participants = participants;
            self.barrier = facts.barrier_at.map(|at| Barrier { at, longest_us: facts.held_us });
            self.outcome = Some(facts.outcome);
            self.error_summary.clone_from(&facts.error_summary);
            self.target = Some(facts.outcome.target());
            self.sums_sha256 = Some(facts.sums_sha256);
            self.was_good = self.target == Some(super::Target::Completed);
            self.request = Some(request(facts));
        }
        self.retained = Retained::Kept;
        self.kept_remotely = false;
        // Whoever has it brought back wants it here.
        self.planned_copies.keep_local = true;
        self.planned_copies.staging = super::words::Staging::Local;
        self.delete_failure = None;
        self.last_verified = Some(super::LastVerified { at: now, ok: true, errors: Warnings::default() });
        let RunImportRequestedV1 { endpoint, server_id, .. } = requested;
        self.imported = Some(ImportedFrom { endpoint, server_id, at: now });
    }
}

impl Importing {
    fn take_facts(&self, facts: &RunImportedV1, unknown: bool) -> Result<RunImportedV1, Refusal> {
        if !unknown || self.facts.is_some() || self.publishing.is_some() {
            return Err(Refusal::OutOfOrder);
        }
        let invalid = |text: &str| Err(Refusal::Invalid(text.to_owned()));
        let RunImportRequestedV1 { run_id, server_id, .. } = self.requested;
        if (facts.run_id, facts.server_id) != (run_id, server_id) {
            return invalid("the manifest is of another run");
        }
        if let Some(reason) = facts.encryption.invalid() {
            return Err(Refusal::Invalid(reason));
        }
        if facts.participants == 0 || facts.participants as usize > MAX_PARTICIPANTS {
            return Err(Refusal::Invalid(format!("a run has 1 to {MAX_PARTICIPANTS} participants")));
        }
        if facts.compression.len() > MAX_KIND || facts.job.len() > MAX_JOB {
            return invalid("a name in the manifest is too long");
        }
        Ok(RunImportedV1 {
            error_summary: cut(&facts.error_summary, Failure::MAX_MESSAGE).to_owned(),
            requested_by: cut(&facts.requested_by, MAX_REQUESTED_BY).to_owned(),
            ..facts.clone()
        })
    }

    fn take_participant(
        &self,
        participant: &ParticipantImportedV1,
        artifacts: &[ArtifactStoredV1],
    ) -> Result<Vec<RunEvent>, Refusal> {
        let expected = self.facts.as_ref().map_or(0, |facts| facts.participants as usize);
        if self.participants.len() >= expected || self.publishing.is_some() {
            return Err(Refusal::OutOfOrder);
        }
        let name = &participant.participant;
        let invalid = |text: String| Err(Refusal::Invalid(text));
        if self.participants.iter().any(|other| other.name.as_str().eq_ignore_ascii_case(name.as_str())) {
            return invalid(format!("two participants are called {name}: names are told apart without case"));
        }
        if participant.status.is_open() || participant.kind.len() > MAX_KIND {
            return invalid(format!("what is said of participant {name} cannot be"));
        }
        if artifacts.len() > MAX_ARTIFACTS {
            return invalid(format!("{name} has more than {MAX_ARTIFACTS} artifacts"));
        }
        if !artifacts.is_empty() && participant.status != ParticipantStatus::Completed {
            return invalid(format!("{name} has artifacts, and did not complete"));
        }
        let foreign = |one: &ArtifactStoredV1| one.participant != *name || one.compression.len() > MAX_KIND;
        if artifacts.iter().any(foreign) {
            return invalid(format!("an artifact given by {name} is not one of {name}"));
        }
        let held = self.participants.iter().flat_map(|one| &one.artifacts).flat_map(super::decide::files);
        let mut held: BTreeSet<_> = held.chain(RESERVED_FILES).map(str::to_ascii_lowercase).collect();
        let mut files = artifacts.iter().flat_map(super::decide::files);
        if let Some(file) = files.find(|file| !held.insert(file.to_ascii_lowercase())) {
            return invalid(format!("the file {file} is named twice"));
        }
        let participant = ParticipantImportedV1 {
            failure: participant.failure.clone().map(Failure::bounded),
            warnings: participant.warnings.clone().bounded(),
            ..participant.clone()
        };
        let artifacts = artifacts.iter().cloned().map(RunEvent::ArtifactStored);
        Ok(std::iter::once(RunEvent::ParticipantImported(participant)).chain(artifacts).collect())
    }
}

/// A participant as its run says it was.
fn imported(participant: &ParticipantImportedV1) -> RunParticipant {
    RunParticipant {
        name: participant.participant.clone(),
        kind: participant.kind.clone(),
        critical: participant.critical,
        definition_sha256: Sha256([0; 32]),
        definition: String::new(),
        depends_on: Vec::new(),
        max_tries: 1,
        retry_delay_ms: 0,
        format_version: 0,
        status: participant.status,
        tries: 1,
        retry_at: None,
        started_at: participant.started_at,
        finished_at: participant.finished_at,
        failure: participant.failure.clone(),
        output: String::new(),
        artifacts: Vec::new(),
        warnings: participant.warnings.clone(),
        notes: Warnings::default(),
        progress: None,
        furthest: if participant.status == ParticipantStatus::Completed { 10_000 } else { 0 },
        files: 0,
        frozen: None,
    }
}

/// What was asked for there, as far as the manifest says it. What only matters while a run is at work is as if it had been once.
fn request(facts: RunImportedV1) -> RunRequestedV4 {
    RunRequestedV4 {
        run_id: facts.run_id,
        run_type: facts.run_type,
        trigger: facts.trigger,
        compression: facts.compression,
        strict: false,
        max_attempts: facts.attempt.max(1),
        resume_within_s: 0,
        max_parallel: 1,
        job: facts.job,
        idempotency_key: String::new(),
        consistency: facts.consistency,
        freeze_budget_ms: 0,
        timeout_ms: 0,
        encryption: facts.encryption,
    }
}
