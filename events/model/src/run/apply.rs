//! Folding a run's facts into its state.

use super::{
    ArtifactStoredV1, Barrier, Check, LastVerified, Outcome, ParticipantStatus, Retained, Run, RunEffect,
    RunParticipant, Stage, Target, Try,
};
use crate::aggregate::{Aggregate, Moment};
use crate::event::RunEvent;
use crate::failure::{Failure, FailureKind, Warnings};
use crate::ids::{ParticipantName, Timestamp};

impl Aggregate for Run {
    type Command = super::RunCommand;
    type Event = RunEvent;
    type Effect = RunEffect;
    type Refusal = super::Refusal;

    fn decide(&self, command: super::RunCommand, _now: Timestamp) -> Result<Vec<RunEvent>, super::Refusal> {
        super::decide::decide(self, command)
    }

    fn apply(&mut self, event: &RunEvent, moment: &Moment) {
        let now = moment.time;
        // A lock is not work: it must not give an interrupted run more time to be resumed in.
        if !matches!(event, RunEvent::Locked(_) | RunEvent::Unlocked(_)) {
            self.updated_at = now;
        }
        if self.apply_import(event, moment) {
            return;
        }
        match event {
            RunEvent::Requested(request) => {
                if self.stage != Stage::Unknown {
                    return;
                }
                self.stage = Stage::Queued;
                self.requested_at = now;
                self.requested_by.clone_from(&moment.principal);
                self.request = Some(request.clone());
            }
            RunEvent::ParticipantPlanned(plan) => self.participants.push(RunParticipant {
                name: plan.participant.clone(),
                kind: plan.kind.clone(),
                critical: plan.critical,
                definition_sha256: plan.definition_sha256,
                definition: String::new(),
                depends_on: plan.depends_on.clone(),
                max_tries: plan.max_tries,
                retry_delay_ms: plan.retry_delay_ms,
                format_version: plan.format_version,
                status: ParticipantStatus::Pending,
                tries: 0,
                retry_at: None,
                started_at: None,
                finished_at: None,
                failure: None,
                output: String::new(),
                artifacts: Vec::new(),
                warnings: Warnings::default(),
                notes: Warnings::default(),
                progress: None,
                furthest: 0,
                files: 0,
                frozen: None,
            }),
            RunEvent::DefinitionPart(part) => {
                self.with(&part.participant, |participant| participant.definition.push_str(&part.text));
            }
            RunEvent::Started(started) => {
                self.stage = Stage::Preparing;
                self.attempt = started.attempt;
                self.started_at.get_or_insert(now);
            }
            // What is owed is begun anew: the time nobody worked is no time it took.
            RunEvent::Interrupted(_) => self.check = Check { began: Some(now), took_us: None },
            RunEvent::Resumed(resumed) => {
                self.stage = Stage::Preparing;
                self.barrier = None;
                self.was_good = false;
                self.attempt = resumed.attempt;
            }
            RunEvent::ParticipantReset(reset) => self.with(&reset.participant, |participant| {
                participant.status = ParticipantStatus::Pending;
                participant.tries = 0;
                participant.retry_at = None;
                participant.output.clear();
                participant.started_at = None;
                participant.finished_at = None;
                participant.failure = None;
                participant.progress = None;
                participant.furthest = 0;
                participant.files = 0;
                participant.frozen = None;
                participant.artifacts.clear();
                participant.warnings = Warnings::default();
                participant.notes = Warnings::default();
            }),
            RunEvent::BarrierRequested(_) => {
                self.stage = Stage::Barrier;
                self.barrier = None;
            }
            RunEvent::ParticipantFrozen(frozen) => {
                self.with(&frozen.participant, |participant| participant.frozen = Some(frozen.clone()));
            }
            RunEvent::BarrierCompleted(completed) => {
                self.stage = Stage::Working;
                self.barrier = Some(Barrier { at: completed.at, longest_us: completed.longest_us });
            }
            RunEvent::BarrierAborted(_) => {
                self.stage = Stage::Working;
                self.barrier = None;
            }
            RunEvent::ParticipantStarted(started) => {
                self.stage = Stage::Working;
                self.with(&started.participant, |participant| {
                    participant.status = ParticipantStatus::Running;
                    participant.tries = started.try_number;
                    participant.retry_at = None;
                    participant.started_at = Some(now);
                    participant.artifacts.clear();
                    participant.progress = None;
                });
            }
            RunEvent::ParticipantProgressed(progress) => {
                self.with(&progress.participant, |participant| {
                    participant.furthest = participant.furthest.max(share(progress.bytes_done, progress.bytes_total));
                    participant.progress = Some(progress.clone());
                });
            }
            RunEvent::ArtifactStored(artifact) => self.store(artifact),
            RunEvent::ParticipantCompleted(completed) => self.with(&completed.participant, |participant| {
                participant.end(ParticipantStatus::Completed, now);
                participant.furthest = 10_000;
                participant.failure = None;
                participant.output.clear();
                participant.files = completed.files;
                participant.warnings = completed.warnings.clone();
                participant.notes = completed.notes.clone();
            }),
            RunEvent::ParticipantFailed(failed) => self.with(&failed.participant, |participant| {
                let status = match failed.failure.kind {
                    FailureKind::Timeout => ParticipantStatus::Timeout,
                    _ => ParticipantStatus::Failed,
                };
                participant.end(status, now);
                participant.failure = Some(failed.failure.clone());
                participant.output.clone_from(&failed.output);
            }),
            RunEvent::ParticipantTryFailed(failed) => self.with(&failed.participant, |participant| {
                participant.end(ParticipantStatus::Pending, now);
                participant.finished_at = None;
                participant.failure = Some(failed.failure.clone());
                participant.output.clone_from(&failed.output);
                let pause = i64::try_from(failed.retry_after_ms).unwrap_or(i64::MAX).saturating_mul(1000);
                participant.retry_at = Some(Timestamp(now.0.saturating_add(pause)));
            }),
            RunEvent::ParticipantDue(due) => self.with(&due.participant, |participant| participant.retry_at = None),
            RunEvent::ParticipantCancelled(cancelled) => {
                self.with(&cancelled.participant, |participant| participant.end(ParticipantStatus::Cancelled, now));
            }
            RunEvent::ParticipantSkipped(skipped) => {
                self.with(&skipped.participant, |participant| {
                    participant.end(ParticipantStatus::Skipped, now);
                    participant.failure = Some(Failure::new(FailureKind::Fatal, "NOT_RUN", &skipped.reason));
                });
            }
            RunEvent::CancelRequested(cancel) => self.cancel = Some(cancel.reason.clone()),
            RunEvent::TimedOut(_) => self.timed_out = true,
            RunEvent::Classified(classified) => {
                self.stage = Stage::Sealing;
                self.was_good |= matches!(classified.outcome, Outcome::Completed | Outcome::Partial);
                self.check = Check { began: Some(now), took_us: None };
                self.outcome = Some(classified.outcome);
                self.error_summary.clone_from(&classified.error_summary);
                self.finished_at = Some(now);
            }
            RunEvent::PublishRequested(requested) => {
                self.stage = Stage::Publishing;
                let took = self.check.began.map(|began| now.0.saturating_sub(began.0));
                self.check.took_us = took.and_then(|took| u64::try_from(took).ok());
                self.target = Some(requested.target);
                self.sums_sha256 = Some(requested.sums_sha256);
            }
            RunEvent::Published(published) => {
                self.stage = Stage::Ended;
                self.outcome = Some(published.outcome);
                self.target = Some(published.target);
            }
            RunEvent::Ended(ended) => {
                self.stage = Stage::Ended;
                self.outcome = Some(ended.outcome);
                self.error_summary.clone_from(&ended.error_summary);
                self.finished_at = Some(now);
                self.target = None;
            }
            RunEvent::Verified(verified) => {
                self.last_verified = Some(LastVerified { at: now, ok: verified.ok, errors: verified.errors.clone() });
            }
            RunEvent::Locked(locked) => self.lock = Some(locked.reason.clone()),
            RunEvent::Unlocked(_) => self.lock = None,
            RunEvent::DeleteRequested(_) => {
                self.retained = Retained::Deleting;
                self.delete_failure = None;
            }
            RunEvent::Deleted(_) => self.retained = Retained::Deleted,
            RunEvent::DeleteFailed(failed) => {
                self.retained = Retained::Kept;
                self.kept_remotely = false;
                self.delete_failure = Some(failed.failure.clone());
            }
            RunEvent::CopiesPlanned(_)
            | RunEvent::UploadsRequested(_)
            | RunEvent::UploadStarted(_)
            | RunEvent::UploadTryFailed(_)
            | RunEvent::UploadCompleted(_)
            | RunEvent::UploadFailed(_)
            | RunEvent::UploadInterrupted(_)
            | RunEvent::LocalCopyRemovalRequested(_)
            | RunEvent::UploadStreamStarted(_)
            | RunEvent::RemoteCopyDeleted(_) => {}
            // Folded above.
            RunEvent::ImportRequested(_)
            | RunEvent::Imported(_)
            | RunEvent::ParticipantImported(_)
            | RunEvent::ImportPublishRequested(_)
            | RunEvent::ImportCompleted(_)
            | RunEvent::ImportFailed(_) => {}
        }
        self.apply_copy(event, now);
    }

    fn effects(&self, events: &[RunEvent]) -> Vec<RunEffect> {
        let mut effects = Vec::new();
        for event in events {
            match event {
                RunEvent::Started(_) | RunEvent::Resumed(_) => {
                    effects.push(RunEffect::PrepareDirectory);
                    effects.extend(self.deadline());
                }
                RunEvent::BarrierRequested(_) => effects.push(RunEffect::Barrier),
                RunEvent::CancelRequested(_) | RunEvent::TimedOut(_) if self.stage == Stage::Barrier => {
                    effects.push(RunEffect::AbortBarrier);
                }
                RunEvent::ParticipantStarted(started) => {
                    effects.push(RunEffect::StartParticipant(started.participant.clone()));
                }
                RunEvent::ParticipantTryFailed(failed) => effects.push(RunEffect::RetryLater {
                    participant: failed.participant.clone(),
                    of: Try { attempt: self.attempt, number: failed.try_number },
                    after_ms: failed.retry_after_ms,
                }),
                RunEvent::CancelRequested(_) | RunEvent::TimedOut(_) if self.running() > 0 => {
                    effects.push(RunEffect::CancelParticipants);
                }
                RunEvent::Classified(_) => effects.push(RunEffect::Seal),
                RunEvent::PublishRequested(requested) => effects.push(RunEffect::Publish(requested.target)),
                RunEvent::Interrupted(_) if events.len() == 1 => effects.extend(self.owed()),
                RunEvent::DeleteRequested(_) => effects.push(RunEffect::Delete),
                RunEvent::Published(_) | RunEvent::Ended(_) => effects.push(RunEffect::Ended),
                _ => {}
            }
            self.copy_effects(event, &mut effects);
        }
        effects
    }
}

impl Run {
    /// What a process that died between a request and its answer left to be done again.
    fn owed(&self) -> Option<RunEffect> {
        match (self.stage, self.target) {
            (Stage::Sealing, _) => Some(RunEffect::Seal),
            (Stage::Publishing, Some(target)) => Some(RunEffect::Publish(target)),
            (Stage::Ended, _) if self.retained == Retained::Deleting => Some(RunEffect::Delete),
            _ => None,
        }
    }

    fn with(&mut self, name: &ParticipantName, change: impl FnOnce(&mut RunParticipant)) {
        if let Some(participant) = self.participants.iter_mut().find(|participant| participant.name == *name) {
            change(participant);
        }
    }

    fn store(&mut self, artifact: &ArtifactStoredV1) {
        self.with(&artifact.participant, |participant| participant.artifacts.push(artifact.clone()));
    }

    /// The place of its directory below home, as `backups/completed/<run_id>`; empty where it has none.
    #[must_use]
    pub fn path(&self) -> String {
        let Some(id) = self.id() else { return String::new() };
        match (self.stage, self.target, self.retained) {
            (Stage::Ended, Some(Target::Completed), Retained::Kept) => format!("backups/completed/{id}"),
            (Stage::Ended, Some(Target::Failed), Retained::Kept) => format!("backups/failed/{id}"),
            (Stage::Preparing | Stage::Barrier | Stage::Working | Stage::Sealing | Stage::Publishing, ..) => {
                format!("backups/.running/{id}")
            }
            _ => String::new(),
        }
    }
}

impl RunParticipant {
    fn end(&mut self, status: ParticipantStatus, now: Timestamp) {
        self.status = status;
        self.retry_at = None;
        self.finished_at = Some(now);
        if status != ParticipantStatus::Completed {
            self.artifacts.clear();
            self.files = 0;
        }
    }
}

/// How much of the content is done, in hundredths of a percent: 0 where the whole is not known, at most 99 % in any
/// case, since a source may grow while it is read.
pub(crate) fn share(bytes_done: u64, bytes_total: Option<u64>) -> u32 {
    match bytes_total {
        Some(total) if total > 0 => {
            let share = u128::from(bytes_done) * 10_000 / u128::from(total);
            u32::try_from(share).unwrap_or(u32::MAX).min(9_900)
        }
        _ => 0,
    }
}
