//! What the facts of a run's copies make of it, and what they ask of the world.

use super::super::{Retained, Run, RunEffect};
use super::{COPY_ALTERED, CopyStatus, RunCopy};
use crate::event::RunEvent;
use crate::failure::FailureKind;
use crate::ids::{EndpointName, Timestamp};
use crate::run::words::Copies;

impl Run {
    pub(in crate::run) fn apply_copy(&mut self, event: &RunEvent, now: Timestamp) {
        match event {
            RunEvent::CopiesPlanned(planned) => {
                self.planned_copies = Copies {
                    endpoints: planned.endpoints.clone(),
                    require: planned.require,
                    keep_local: planned.keep_local,
                    staging: planned.staging,
                };
            }
            RunEvent::UploadStreamStarted(started) => drop(self.streamed.insert(started.endpoint.clone())),
            RunEvent::Published(_) if self.may_be_copied() => {
                let planned = self.planned_copies.endpoints.clone();
                planned.into_iter().for_each(|endpoint| self.want(endpoint));
            }
            RunEvent::UploadsRequested(requested) => {
                requested.endpoints.iter().for_each(|endpoint| self.want(endpoint.clone()));
            }
            RunEvent::UploadStarted(started) => self.with_copy(&started.endpoint, |copy| {
                copy.status = CopyStatus::Uploading;
                copy.tries = started.try_number;
                copy.max_tries = started.max_tries;
                copy.retry_delay_ms = started.retry_delay_ms;
                copy.retry_at = None;
                copy.started_at = Some(now);
            }),
            RunEvent::UploadTryFailed(failed) => self.with_copy(&failed.endpoint, |copy| {
                copy.status = CopyStatus::Pending;
                copy.failure = Some(failed.failure.clone());
                let pause = i64::try_from(failed.retry_after_ms).unwrap_or(i64::MAX).saturating_mul(1000);
                copy.retry_at = Some(Timestamp(now.0.saturating_add(pause)));
            }),
            RunEvent::UploadInterrupted(interrupted) => self.with_copy(&interrupted.endpoint, |copy| {
                // What another process was doing when it ended is no failure of the endpoint.
                if copy.status == CopyStatus::Uploading {
                    copy.tries = copy.tries.saturating_sub(1);
                }
                copy.status = CopyStatus::Pending;
                copy.retry_at = None;
            }),
            RunEvent::UploadCompleted(completed) => self.with_copy(&completed.endpoint, |copy| {
                copy.status = CopyStatus::Uploaded;
                copy.failure = None;
                copy.altered = false;
                copy.finished_at = Some(now);
                copy.stored_bytes = completed.stored_bytes;
                copy.sent_bytes = completed.sent_bytes;
                copy.check = Some(completed.check);
                copy.address.clone_from(&completed.address);
            }),
            RunEvent::UploadFailed(failed) => self.with_copy(&failed.endpoint, |copy| {
                copy.status = CopyStatus::Failed;
                copy.retry_at = None;
                copy.altered |= failed.failure.code == COPY_ALTERED;
                copy.failure = Some(failed.failure.clone());
                copy.finished_at = Some(now);
            }),
            RunEvent::RemoteCopyDeleted(deleted) => {
                self.with_copy(&deleted.endpoint, |copy| {
                    copy.status = CopyStatus::Deleted;
                    copy.altered = false;
                });
            }
            RunEvent::LocalCopyRemovalRequested(_) => {
                self.retained = Retained::Deleting;
                self.kept_remotely = true;
                self.delete_failure = None;
            }
            _ => {}
        }
    }

    /// Wants a copy, also where there was one that failed or was deleted.
    fn want(&mut self, endpoint: EndpointName) {
        let wanted = RunCopy::wanted(endpoint);
        match self.copies.iter_mut().find(|copy| copy.endpoint == wanted.endpoint) {
            Some(copy) => *copy = RunCopy { altered: copy.altered, ..wanted },
            None => self.copies.push(wanted),
        }
    }

    fn with_copy(&mut self, endpoint: &EndpointName, change: impl FnOnce(&mut RunCopy)) {
        if let Some(copy) = self.copies.iter_mut().find(|copy| copy.endpoint == *endpoint) {
            change(copy);
        }
    }

    /// What copies ask of the world after an event.
    pub(in crate::run) fn copy_effects(&self, event: &RunEvent, effects: &mut Vec<RunEffect>) {
        match event {
            RunEvent::Started(_) | RunEvent::Resumed(_) => {
                effects.extend(self.planned_copies.endpoints.iter().cloned().map(RunEffect::StreamUpload));
            }
            RunEvent::Published(_) => {
                let pending = self.copies.iter().filter(|copy| copy.status == CopyStatus::Pending);
                effects.extend(pending.map(|copy| RunEffect::OfferUpload(copy.endpoint.clone())));
            }
            RunEvent::UploadsRequested(requested) => {
                effects.extend(requested.endpoints.iter().cloned().map(RunEffect::OfferUpload));
            }
            RunEvent::UploadInterrupted(interrupted) => {
                effects.push(RunEffect::OfferUpload(interrupted.endpoint.clone()));
            }
            RunEvent::UploadStarted(started) => {
                effects.push(RunEffect::Upload { endpoint: started.endpoint.clone(), try_number: started.try_number });
            }
            RunEvent::UploadTryFailed(failed) => effects
                .push(RunEffect::RetryUpload { endpoint: failed.endpoint.clone(), after_ms: failed.retry_after_ms }),
            RunEvent::UploadFailed(failed) if failed.failure.kind == FailureKind::Cancelled => {
                effects.push(RunEffect::StopUpload(failed.endpoint.clone()));
            }
            RunEvent::LocalCopyRemovalRequested(_) => effects.push(RunEffect::Delete),
            _ => {}
        }
        // What its directory still waited for may have been this.
        let settled = matches!(event, RunEvent::UploadCompleted(_) | RunEvent::UploadFailed(_) | RunEvent::Unlocked(_));
        if settled && self.may_leave(|copy| copy.status == CopyStatus::Uploaded) {
            effects.push(RunEffect::Leave);
        }
    }
}
