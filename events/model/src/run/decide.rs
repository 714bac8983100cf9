//! From wishes to facts.

use std::collections::BTreeSet;

use super::{
    ArtifactStoredV1, DEFINITION_PART, DefinitionPartV1, MAX_ARTIFACTS, MAX_DEFINITION, MAX_DEPENDENCIES, MAX_JOB,
    MAX_KEY, MAX_KIND, MAX_OUTPUT, MAX_PARTICIPANTS, MAX_REQUEST_EVENTS, NewParticipant, NewRun, Outcome,
    ParticipantCancelledV1, ParticipantCompletedV1, ParticipantDueV1, ParticipantFailedV2, ParticipantPlannedV3,
    ParticipantSkippedV1, ParticipantStartedV1, ParticipantStatus, ParticipantTryFailedV1, RESERVED_FILES, Refusal,
    Retained, Run, RunCancelRequestedV1, RunClassifiedV1, RunCommand, RunDeleteFailedV1, RunDeleteRequestedV1,
    RunDeletedV1, RunEndedV1, RunLockedV1, RunParticipant, RunPublishRequestedV1, RunPublishedV1, RunStartedV1,
    RunUnlockedV1, RunVerifiedV1, Stage, Try,
};
use crate::event::RunEvent;
use crate::failure::{Failure, FailureKind, cut};
use crate::ids::ParticipantName;
use crate::supervision::{self, MAX_TRIES};

type Decision = Result<Vec<RunEvent>, Refusal>;

pub(super) fn decide(run: &Run, command: RunCommand) -> Decision {
    if let Some(decision) = run.decide_import(&command) {
        return decision;
    }
    match (command, run.stage) {
        (RunCommand::Request(new), Stage::Unknown) => request(new),
        (RunCommand::Request(_), _) => Err(Refusal::Exists),
        (_, Stage::Unknown) => Err(Refusal::NotFound),

        (RunCommand::Start, Stage::Queued) => Ok(vec![RunEvent::Started(RunStartedV1 { attempt: 1 })]),
        (RunCommand::DirectoryReady, Stage::Preparing) => Ok(run.directory_ready()),
        (RunCommand::BarrierHeld(held), Stage::Barrier) => Ok(run.barrier_held(held)),
        (RunCommand::BarrierFailed { failure, by }, Stage::Barrier) => Ok(run.barrier_failed(failure, by)),
        (RunCommand::DirectoryFailed(failure), Stage::Preparing) => Ok(run.end_without_directory(failure)),

        (RunCommand::Progress { of, progress }, Stage::Working) => {
            run.at_work(&progress.participant, of)?;
            Ok(vec![RunEvent::ParticipantProgressed(progress)])
        }
        (RunCommand::Complete { of, artifacts, completed }, Stage::Working) => run.complete(of, artifacts, completed),
        (RunCommand::Fail { participant, of, failure, output, may_retry }, Stage::Working) => {
            run.fail(&participant, of, failure, &output, may_retry)
        }
        (RunCommand::Retry { participant, of }, Stage::Working) => run.retry(&participant, of),

        (RunCommand::Cancel { .. }, stage) if run.is_stopping() && stage != Stage::Ended => Ok(Vec::new()),
        (RunCommand::Cancel { reason }, Stage::Queued) => {
            let mut events = run.cancel(&reason);
            let reason = cut(&reason, Failure::MAX_MESSAGE);
            events.push(ended(Outcome::Cancelled, format!("cancelled while it waited in the queue: {reason}")));
            Ok(events)
        }
        (RunCommand::Cancel { reason }, Stage::Preparing | Stage::Barrier | Stage::Working) => Ok(run.cancel(&reason)),
        (RunCommand::Cancel { reason }, Stage::Ended) if run.is_uploading() => Ok(run.cancel_uploads(&reason)),
        (RunCommand::Cancel { .. }, _) => Err(Refusal::NotActive),
        (RunCommand::TimedOut { attempt }, Stage::Preparing | Stage::Barrier | Stage::Working) => run.time_out(attempt),

        (RunCommand::Sealed { sums_sha256 }, Stage::Sealing) => {
            let target = run.outcome.unwrap_or(Outcome::Failed).target();
            Ok(vec![RunEvent::PublishRequested(RunPublishRequestedV1 { target, sums_sha256 })])
        }
        (RunCommand::SealFoundDamage(damage), Stage::Sealing | Stage::Publishing) => run.damaged(damage),
        (RunCommand::DirectoryLost(failure), Stage::Sealing | Stage::Publishing) => {
            Ok(run.end_without_directory(failure))
        }
        (RunCommand::Published { copies }, Stage::Publishing) => {
            let end = run.outcome.zip(run.target);
            let published = end.map(|(outcome, target)| RunEvent::Published(RunPublishedV1 { outcome, target }));
            Ok(published.map(|published| run.published_at(published, copies)).unwrap_or_default())
        }
        (RunCommand::StreamUpload(endpoint), _) => run.stream_starts(endpoint),

        (RunCommand::Recover { found, broken, taken_over, stopped }, _) => {
            Ok(run.recover(found, &broken, taken_over, stopped))
        }

        (RunCommand::CopyDeleted(endpoint), _) => Ok(run.copy_deleted(&endpoint)),
        (RunCommand::ResumeUploads { only }, _) => Ok(run.resume_uploads(only.as_ref())),
        (RunCommand::UploadEnded { endpoint, try_number, result }, _) => run.end_upload(&endpoint, try_number, result),
        (RunCommand::UploadRefused { endpoint, failure }, _) => run.refuse_upload(&endpoint, failure),

        (_, Stage::Ended) if run.retained == Retained::Deleted => Err(Refusal::Deleted),
        (RunCommand::UploadTo(endpoints), _) => run.request_uploads(endpoints),
        (RunCommand::UploadBegins { endpoint, max_tries, retry_delay_ms }, _) => {
            run.begin_upload(&endpoint, max_tries, retry_delay_ms)
        }
        (RunCommand::Verified(_), Stage::Ended) if run.retained == Retained::Deleting => Err(Refusal::Deleted),
        (RunCommand::Verified(verified), Stage::Ended) => {
            Ok(vec![RunEvent::Verified(RunVerifiedV1 { errors: verified.errors.bounded(), ..verified })])
        }
        (RunCommand::Lock { .. } | RunCommand::Unlock, Stage::Ended) if run.retained == Retained::Deleting => {
            Err(Refusal::Deleted)
        }
        (RunCommand::Lock { reason }, _) => Ok(run.lock_for(&reason)),
        (RunCommand::Unlock, _) if run.lock.is_none() => Ok(Vec::new()),
        (RunCommand::Unlock, _) => Ok(vec![RunEvent::Unlocked(RunUnlockedV1 {})]),
        (RunCommand::Delete, Stage::Ended) if run.retained == Retained::Deleting => Ok(Vec::new()),
        (RunCommand::Delete, Stage::Ended) if run.lock.is_some() => {
            Err(Refusal::Locked(run.lock.clone().unwrap_or_default()))
        }
        (RunCommand::Delete, Stage::Ended) if run.is_uploading() => Err(Refusal::Uploading),
        (RunCommand::Delete, Stage::Ended) => Ok(vec![RunEvent::DeleteRequested(RunDeleteRequestedV1 {})]),
        (RunCommand::Deleted, Stage::Ended) if run.retained == Retained::Deleting => {
            Ok(vec![RunEvent::Deleted(RunDeletedV1 {})])
        }
        (RunCommand::DeleteFailed(failure), Stage::Ended) if run.retained == Retained::Deleting => {
            Ok(vec![RunEvent::DeleteFailed(RunDeleteFailedV1 { failure: failure.bounded() })])
        }
        (RunCommand::Delete | RunCommand::Verified(_), _) => Err(Refusal::Active),

        _ => Err(Refusal::OutOfOrder),
    }
}

fn request(new: NewRun) -> Decision {
    let invalid = |text: String| Err(Refusal::Invalid(text));
    if new.participants.is_empty() {
        return invalid("a run needs at least one participant".into());
    }
    if new.participants.len() > MAX_PARTICIPANTS {
        return invalid(format!("a run has at most {MAX_PARTICIPANTS} participants"));
    }
    if let Some(reason) = new.request.encryption.invalid() {
        return invalid(reason);
    }
    if new.request.compression.len() > MAX_KIND {
        return invalid(format!("the name of the compression is longer than {MAX_KIND} bytes"));
    }
    if new.request.job.len() > MAX_JOB {
        return invalid(format!("the name of the job is longer than {MAX_JOB} bytes"));
    }
    if new.request.idempotency_key.len() > MAX_KEY {
        return invalid(format!("the idempotency key is longer than {MAX_KEY} bytes"));
    }
    let all: BTreeSet<_> = new.participants.iter().map(|participant| participant.name.clone()).collect();
    if let Some(name) = never_begun(&new.participants) {
        return invalid(format!("{name} waits for itself: take one of the names out of depends_on"));
    }
    let mut events = vec![RunEvent::Requested(new.request)];
    events.extend(Run::plan_copies(new.copies)?);
    let mut names = BTreeSet::new();
    for participant in new.participants {
        if participant.depends_on.len() > MAX_DEPENDENCIES {
            return invalid(format!("{} depends on more than {MAX_DEPENDENCIES} participants", participant.name));
        }
        if !(1..=MAX_TRIES).contains(&participant.max_tries) {
            return invalid(format!("{} is tried 1 to {MAX_TRIES} times", participant.name));
        }
        if !names.insert(participant.name.as_str().to_ascii_lowercase()) {
            return invalid(format!(
                "two participants are called {}: names are told apart without case",
                participant.name
            ));
        }
        if participant.kind.len() > MAX_KIND {
            return invalid(format!("the kind of {} is longer than {MAX_KIND} bytes", participant.name));
        }
        if participant.definition.len() > MAX_DEFINITION {
            return invalid(format!("the definition of {} is larger than {MAX_DEFINITION} bytes", participant.name));
        }
        let parts = split(&participant.definition);
        events.push(RunEvent::ParticipantPlanned(ParticipantPlannedV3 {
            participant: participant.name.clone(),
            kind: participant.kind,
            critical: participant.critical,
            definition_sha256: participant.definition_sha256,
            definition_parts: u32::try_from(parts.len()).unwrap_or(u32::MAX),
            // A scoped run may leave out what another participant waits for.
            depends_on: participant.depends_on.into_iter().filter(|name| all.contains(name)).collect(),
            max_tries: participant.max_tries,
            retry_delay_ms: participant.retry_delay_ms,
            format_version: participant.format_version,
        }));
        events.extend(parts.into_iter().map(|text| {
            RunEvent::DefinitionPart(DefinitionPartV1 { participant: participant.name.clone(), text: text.to_owned() })
        }));
    }
    if events.len() > MAX_REQUEST_EVENTS {
        return invalid(
            "the definitions of all participants together are too large: name fewer paths or patterns".into(),
        );
    }
    Ok(events)
}

/// A participant that would never have its turn, because it waits for itself through others.
fn never_begun(participants: &[NewParticipant]) -> Option<&ParticipantName> {
    let mut left: Vec<_> = participants.iter().collect();
    loop {
        let before = left.len();
        let waits: BTreeSet<_> = left.iter().map(|participant| &participant.name).collect();
        let free = |one: &&NewParticipant| !one.depends_on.iter().any(|name| waits.contains(name));
        let next: Vec<_> = left.iter().copied().filter(|one| !free(one)).collect();
        left = next;
        if left.is_empty() || left.len() == before {
            return left.first().map(|participant| &participant.name);
        }
    }
}

/// Cuts a definition into pieces that fit an event each.
fn split(mut text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    while !text.is_empty() {
        let (part, rest) = text.split_at(cut(text, DEFINITION_PART).len());
        parts.push(part);
        text = rest;
    }
    parts
}

impl Run {
    /// What follows once `events` are applied: the next participants, or the classification.
    pub(super) fn go_on(&self, events: Vec<RunEvent>) -> Vec<RunEvent> {
        let mut after = self.clone();
        after.apply_all(&events);
        let mut events = events;
        if after.all_ended() {
            events.push(after.classify());
            return events;
        }
        if after.is_stopping() {
            return events;
        }
        let ready = after.participants.iter().filter(|participant| after.is_ready(participant));
        events.extend(ready.take(after.free()).map(begin));
        events
    }

    fn lock_for(&self, reason: &str) -> Vec<RunEvent> {
        let reason = cut(reason, Failure::MAX_MESSAGE);
        if self.lock.as_deref() == Some(reason) {
            return Vec::new();
        }
        vec![RunEvent::Locked(RunLockedV1 { reason: reason.to_owned() })]
    }

    /// How many more may be at work.
    fn free(&self) -> usize {
        let limit = self.request.as_ref().map_or(1, |request| request.max_parallel.max(1)) as usize;
        limit.saturating_sub(self.running())
    }

    /// Whether it has not begun, waits for no pause, and all it depends on have ended, well or not.
    fn is_ready(&self, participant: &RunParticipant) -> bool {
        let open = |name: &ParticipantName| self.participant(name).is_some_and(|other| other.status.is_open());
        participant.status == ParticipantStatus::Pending
            && participant.retry_at.is_none()
            && !participant.depends_on.iter().any(open)
    }

    /// The participant, where this try of it is at work.
    fn at_work(&self, name: &ParticipantName, of: Try) -> Result<&RunParticipant, Refusal> {
        let this = |participant: &&RunParticipant| {
            participant.status == ParticipantStatus::Running
                && (self.attempt, participant.tries) == (of.attempt, of.number)
        };
        self.participant(name).filter(this).ok_or(Refusal::OutOfOrder)
    }

    fn retry(&self, name: &ParticipantName, of: Try) -> Decision {
        let waits = |participant: &&RunParticipant| {
            participant.retry_at.is_some() && (self.attempt, participant.tries) == (of.attempt, of.number)
        };
        let participant = self.participant(name).filter(waits).ok_or(Refusal::OutOfOrder)?;
        Ok(match self.free() {
            0 => vec![RunEvent::ParticipantDue(ParticipantDueV1 { participant: name.clone() })],
            _ => vec![begin(participant)],
        })
    }

    /// Applies facts whose time does not matter to what is decided from them.
    pub(super) fn apply_all(&mut self, events: &[RunEvent]) {
        use crate::aggregate::{Aggregate, Moment};
        let moment = Moment { time: self.updated_at, principal: String::new() };
        events.iter().for_each(|event| self.apply(event, &moment));
    }

    fn complete(&self, of: Try, artifacts: Vec<ArtifactStoredV1>, completed: ParticipantCompletedV1) -> Decision {
        let name = completed.participant.clone();
        let participant = self.at_work(&name, of)?;
        if artifacts.iter().any(|artifact| artifact.participant != name || artifact.compression.len() > MAX_KIND) {
            return Err(Refusal::Invalid(format!("an artifact given by {name} is not one of {name}")));
        }
        let strict = self.request.as_ref().is_some_and(|request| request.strict);
        let refusal = if artifacts.is_empty() {
            Some(("SOURCE_EMPTY", "it wrote no artifact".to_owned()))
        } else if artifacts.len() > MAX_ARTIFACTS {
            Some(("TOO_MANY_ARTIFACTS", format!("it wrote more than {MAX_ARTIFACTS} artifacts: put several into one")))
        } else if let Some(taken) = self.taken(&participant.name, &artifacts) {
            Some((
                "ARTIFACT_NAME_TAKEN",
                format!("the artifact name {taken} is used twice in the run: give each artifact its own name"),
            ))
        } else if strict && completed.warnings.count > 0 {
            let first = completed.warnings.first.first().map_or("", String::as_str);
            let count = completed.warnings.count;
            Some(("STRICT_WARNINGS", format!("{count} warnings, and the run is strict; the first: {first}")))
        } else {
            None
        };
        if let Some((code, message)) = refusal {
            return self.fail(&name, of, Failure::new(FailureKind::Fatal, code, message), "", false);
        }
        let mut events: Vec<_> = artifacts.into_iter().map(RunEvent::ArtifactStored).collect();
        events.push(RunEvent::ParticipantCompleted(ParticipantCompletedV1 {
            warnings: completed.warnings.bounded(),
            notes: completed.notes.bounded(),
            ..completed
        }));
        Ok(self.go_on(events))
    }

    /// A file name among `artifacts` that is used twice, by another participant or by the run itself, without regard to
    /// case.
    fn taken(&self, name: &ParticipantName, artifacts: &[ArtifactStoredV1]) -> Option<String> {
        let others = self.participants.iter().filter(|participant| participant.name != *name);
        let mut held: BTreeSet<_> = others
            .flat_map(|participant| &participant.artifacts)
            .flat_map(files)
            .chain(RESERVED_FILES)
            .map(str::to_ascii_lowercase)
            .collect();
        artifacts.iter().flat_map(files).find(|file| !held.insert(file.to_ascii_lowercase())).map(str::to_owned)
    }

    fn fail(&self, name: &ParticipantName, of: Try, failure: Failure, output: &str, may_retry: bool) -> Decision {
        let participant = self.at_work(name, of)?;
        let failure = failure.bounded();
        let output = cut(output, MAX_OUTPUT).to_owned();
        let name = name.clone();
        let again = may_retry
            && !self.is_stopping()
            && participant.tries < participant.max_tries
            && supervision::may_be_mended(failure.kind);
        let event = if failure.kind == FailureKind::Cancelled && self.cancel.is_some() {
            RunEvent::ParticipantCancelled(ParticipantCancelledV1 { participant: name })
        } else if let Some(failure) = self.time_up().filter(|_| failure.kind == FailureKind::Cancelled) {
            RunEvent::ParticipantFailed(ParticipantFailedV2 { participant: name, failure, output })
        } else if let Some(run_id) = self.id().filter(|_| again) {
            let try_number = participant.tries;
            let base = participant.retry_delay_ms;
            let retry_after_ms = supervision::retry_delay_ms(base, run_id, name.as_str(), try_number);
            RunEvent::ParticipantTryFailed(ParticipantTryFailedV1 {
                participant: name,
                try_number,
                failure,
                output,
                retry_after_ms,
            })
        } else {
            RunEvent::ParticipantFailed(ParticipantFailedV2 { participant: name, failure, output })
        };
        Ok(self.go_on(vec![event]))
    }

    fn cancel(&self, reason: &str) -> Vec<RunEvent> {
        let reason = cut(reason, Failure::MAX_MESSAGE).to_owned();
        let mut events = vec![RunEvent::CancelRequested(RunCancelRequestedV1 { reason })];
        let pending = self.participants.iter().filter(|participant| participant.status == ParticipantStatus::Pending);
        events.extend(pending.map(|participant| {
            RunEvent::ParticipantCancelled(ParticipantCancelledV1 { participant: participant.name.clone() })
        }));
        // Before its directory is there nothing can be sealed: the directory's answer goes on from here.
        if self.stage == Stage::Working { self.go_on(events) } else { events }
    }

    /// The end the run has by what its participants came to.
    fn classify(&self) -> RunEvent {
        let failed = |participant: &&RunParticipant| participant.status != ParticipantStatus::Completed;
        let bad: Vec<_> = self.participants.iter().filter(failed).collect();
        let outcome = if self.cancel.is_some() {
            Outcome::Cancelled
        } else if self.timed_out {
            Outcome::Timeout
        } else if self.outcome == Some(Outcome::Failed) {
            // What was found while sealing never makes an end better that was known before.
            Outcome::Failed
        } else if bad.is_empty() {
            Outcome::Completed
        } else if bad.len() == self.participants.len() || bad.iter().any(|participant| participant.critical) {
            Outcome::Failed
        } else {
            Outcome::Partial
        };
        RunEvent::Classified(RunClassifiedV1 { outcome, error_summary: self.summary(outcome, &bad) })
    }

    fn summary(&self, outcome: Outcome, bad: &[&RunParticipant]) -> String {
        if outcome == Outcome::Cancelled {
            return format!("cancelled: {}", self.cancel.as_deref().unwrap_or_default());
        }
        if let Some(failure) = self.time_up() {
            return self.overran(&failure);
        }
        let reason = |participant: &&RunParticipant| match &participant.failure {
            Some(failure) => format!("{}: {failure}", participant.name),
            None => format!("{}: not run", participant.name),
        };
        let mut text = bad.iter().take(3).map(reason).collect::<Vec<_>>().join("; ");
        if bad.len() > 3 {
            text.push_str(&format!("; and {} more", bad.len() - 3));
        }
        cut(&text, 2 * Failure::MAX_MESSAGE).to_owned()
    }

    /// Puts before an end without a directory an event for each participant that is open, and for each whose artifacts
    /// are gone with the directory.
    pub(super) fn end_without_directory(&self, failure: Failure) -> Vec<RunEvent> {
        let failure = failure.bounded();
        let outcome = self.stopped().unwrap_or(Outcome::Failed);
        let error_summary = failure.to_string();
        let mut events = self.close_open("the run ended before");
        let lost = self.participants.iter().filter(|participant| participant.status == ParticipantStatus::Completed);
        events.extend(lost.map(|participant| {
            let participant = participant.name.clone();
            failed(participant, failure.clone())
        }));
        events.push(ended(outcome, error_summary));
        events
    }

    /// An event for each participant that will not run any more.
    fn close_open(&self, reason: &str) -> Vec<RunEvent> {
        let open = self.participants.iter().filter(|participant| participant.status.is_open());
        open.map(|participant| self.not_run(participant, reason)).collect()
    }

    pub(super) fn not_run(&self, participant: &RunParticipant, reason: &str) -> RunEvent {
        let (participant, status) = (participant.name.clone(), participant.status);
        if self.cancel.is_some() {
            RunEvent::ParticipantCancelled(ParticipantCancelledV1 { participant })
        } else if let Some(time_up) = self.time_up().filter(|_| status == ParticipantStatus::Running) {
            failed(participant, time_up)
        } else {
            RunEvent::ParticipantSkipped(ParticipantSkippedV1 { participant, reason: reason.into() })
        }
    }

    /// Fails the completed participants whose artifacts are not as recorded, and calls the run anew.
    fn damaged(&self, damage: Vec<(ParticipantName, Failure)>) -> Decision {
        let good = |name: &ParticipantName| {
            self.participant(name).is_some_and(|participant| participant.status == ParticipantStatus::Completed)
        };
        let mut events: Vec<_> = damage
            .into_iter()
            .filter(|(name, _)| good(name))
            .map(|(participant, failure)| failed(participant, failure.bounded()))
            .collect();
        // Without a participant to fail the run would be sealed again for the same reason, and so for ever.
        if events.is_empty() {
            return Err(Refusal::OutOfOrder);
        }
        let mut after = self.clone();
        after.apply_all(&events);
        events.push(after.classify());
        Ok(events)
    }
}

fn begin(participant: &RunParticipant) -> RunEvent {
    RunEvent::ParticipantStarted(ParticipantStartedV1 {
        participant: participant.name.clone(),
        try_number: participant.tries.saturating_add(1),
    })
}

fn failed(participant: ParticipantName, failure: Failure) -> RunEvent {
    RunEvent::ParticipantFailed(ParticipantFailedV2 { participant, failure, output: String::new() })
}

fn ended(outcome: Outcome, error_summary: String) -> RunEvent {
    RunEvent::Ended(RunEndedV1 { outcome, error_summary })
}

/// The files an artifact has in the run directory.
pub(super) fn files(artifact: &ArtifactStoredV1) -> impl Iterator<Item = &str> {
    [Some(&artifact.stored), artifact.index.as_ref()].into_iter().flatten().map(|stored| stored.file.as_str())
}
