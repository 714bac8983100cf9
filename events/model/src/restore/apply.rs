//! What a restore's events make of it.

use super::{Restore, RestoreStatus, Restoring};
use crate::aggregate::Moment;
use crate::event::RestoreEvent;
use crate::failure::FailureKind;
use crate::ids::ParticipantName;

impl Restore {
    pub(super) fn fold(&mut self, event: &RestoreEvent, moment: &Moment) {
        match event {
            RestoreEvent::Requested(request) => {
                self.request = Some(request.clone());
                self.status = RestoreStatus::Running;
                self.started_at = moment.time;
            }
            RestoreEvent::ParticipantPlanned(planned) => self.participants.push(Restoring::new(planned.clone())),
            RestoreEvent::SourceVerified(_) => self.source_verified = true,
            RestoreEvent::Quiesced(_) => self.quiesced = true,
            RestoreEvent::SafetyArtifactStored(stored) => {
                let artifact = &stored.artifact;
                self.participant(&artifact.participant, |one| one.safety_artifacts.push(artifact.clone()));
            }
            RestoreEvent::SafetySnapshotTaken(taken) => self.safety = Some(taken.clone()),
            RestoreEvent::SafetySnapshotSkipped(skipped) => self.unkept = Some(skipped.failure.to_string()),
            RestoreEvent::ParticipantStaged(staged) => self.participant(&staged.participant, |one| one.staged = true),
            RestoreEvent::CommitDecided(_) => self.decided = true,
            RestoreEvent::CommitStarted(part) => self.participant(&part.participant, |one| one.touched = true),
            RestoreEvent::ParticipantCommitted(done) => self.participant(&done.participant, |one| {
                one.committed = true;
                one.output.clone_from(&done.output);
            }),
            RestoreEvent::ParticipantVerified(part) => self.participant(&part.participant, |one| one.checked = true),
            RestoreEvent::RollbackDecided(decided) => {
                self.error_summary = decided.failure.to_string();
                self.error_code.clone_from(&decided.failure.code);
                self.rolling_back = Some(decided.failure.clone());
            }
            RestoreEvent::ParticipantRolledBack(part) => {
                self.participant(&part.participant, |one| one.rolled_back = true);
            }
            RestoreEvent::TimedOut(_) => self.timed_out = true,
            RestoreEvent::SafetySnapshotRemoved(_) => self.safety_removed = Some(moment.time),
            RestoreEvent::CancelRequested(cancel) => self.cancel = Some(cancel.reason.clone()),
            RestoreEvent::Interrupted(_) => {
                self.interruptions = self.interruptions.saturating_add(1);
                self.begin_anew();
            }
            RestoreEvent::RetryRequested(_) => {
                self.status = RestoreStatus::Running;
                self.finished_at = None;
                self.interruptions = 0;
                self.begin_anew();
            }
            RestoreEvent::Completed(completed) => {
                self.completed = Some(completed.clone());
                self.end(RestoreStatus::Completed, moment);
            }
            RestoreEvent::Failed(failed) => {
                self.error_summary = failed.failure.to_string();
                self.error_code.clone_from(&failed.failure.code);
                let status = match failed.failure.kind {
                    FailureKind::Cancelled => RestoreStatus::Cancelled,
                    // Of one that is not made in steps it was never told apart.
                    FailureKind::Timeout if self.is_in_steps() => RestoreStatus::Timeout,
                    _ => RestoreStatus::Failed,
                };
                self.end(status, moment);
            }
            RestoreEvent::RolledBack(_) => self.end(RestoreStatus::RolledBack, moment),
            RestoreEvent::RollbackFailed(failed) => {
                let why = self.rolling_back.as_ref().map(|why| format!("; it was to be rolled back because {why}"));
                self.error_summary = format!("{}{}", failed.failure, why.unwrap_or_default());
                self.error_code.clone_from(&failed.failure.code);
                self.end(RestoreStatus::RollbackFailed, moment);
            }
        }
    }

    fn end(&mut self, status: RestoreStatus, moment: &Moment) {
        self.status = status;
        self.finished_at = Some(moment.time);
    }

    /// Nobody stands still any more, and nobody can tell what happened to live data meanwhile: what was done is done again, for all.
    fn begin_anew(&mut self) {
        self.quiesced = false;
        for one in &mut self.participants {
            (one.staged, one.committed, one.checked, one.rolled_back) = (false, false, false, false);
        }
    }

    fn participant(&mut self, name: &ParticipantName, change: impl FnOnce(&mut Restoring)) {
        if let Some(one) = self.participants.iter_mut().find(|one| one.name() == name) {
            change(one);
        }
    }
}
