//! What is decided about a run's copies.

use std::collections::BTreeSet;

use super::super::{
    CopiesPlannedV2, LocalCopyRemovalRequestedV1, Places, Refusal, RemoteCopyDeletedV1, Retained, Run,
    RunDeleteRequestedV1, Stage, UploadCompletedV2, UploadFailedV1, UploadInterruptedV1, UploadStartedV1,
    UploadStreamStartedV1, UploadTryFailedV1, UploadsRequestedV1,
};
use super::{COPY_ALTERED, CopyStatus, MAX_COPIES, RunCopy, Uploaded};
use crate::event::RunEvent;
use crate::failure::{Failure, FailureKind};
use crate::ids::EndpointName;
use crate::run::Outcome;
use crate::run::words::{Copies, RequireEndpoints, Staging};
use crate::supervision;

impl Run {
    pub(in crate::run) fn plan_copies(copies: Copies) -> Result<Option<RunEvent>, Refusal> {
        let Copies { endpoints, require, keep_local, staging } = copies;
        let endpoints = distinct(endpoints)?;
        if endpoints.is_empty() {
            return match staging {
                // That one was needed, and there was none to go to, is never forgotten: such a run is not good.
                Staging::Local if require != RequireEndpoints::None => {
                    Ok(Some(RunEvent::CopiesPlanned(CopiesPlannedV2 { endpoints, require, keep_local, staging })))
                }
                Staging::Local => Ok(None),
                Staging::None => {
                    let why =
                        "without staging here the run needs an endpoint that its artifacts go to, and none takes it";
                    Err(Refusal::Invalid(why.to_owned()))
                }
            };
        }
        Ok(Some(RunEvent::CopiesPlanned(CopiesPlannedV2 { endpoints, require, keep_local, staging })))
    }

    pub(in crate::run) fn stream_starts(&self, endpoint: EndpointName) -> Result<Vec<RunEvent>, Refusal> {
        if !matches!(self.stage, Stage::Preparing | Stage::Barrier | Stage::Working) || self.is_stopping() {
            return Err(Refusal::OutOfOrder);
        }
        let started = UploadStreamStartedV1 { endpoint, attempt: self.attempt };
        Ok(vec![RunEvent::UploadStreamStarted(started)])
    }

    /// What follows a publish: of a run that was staged elsewhere, which endpoints have it.
    pub(in crate::run) fn published_at(
        &self,
        published: RunEvent,
        copies: Vec<(EndpointName, Result<Uploaded, Failure>)>,
    ) -> Vec<RunEvent> {
        let planned = |name: &EndpointName| self.planned_copies.endpoints.contains(name);
        let ends = copies.into_iter().filter(|(name, _)| planned(name)).map(|(endpoint, result)| match result {
            Ok(Uploaded { stored_bytes, sent_bytes, check, address }) => {
                let address = Some(address);
                RunEvent::UploadCompleted(UploadCompletedV2 { endpoint, stored_bytes, sent_bytes, check, address })
            }
            Err(failure) => RunEvent::UploadFailed(UploadFailedV1 { endpoint, failure: failure.bounded() }),
        });
        let mut events: Vec<_> = std::iter::once(published).chain(ends).collect();
        if events.len() > 1 {
            // These copies have come just now, to where their endpoints are.
            let mut after = self.clone();
            after.apply_all(&events);
            if after.may_leave(|copy| copy.status == CopyStatus::Uploaded) {
                events.push(RunEvent::LocalCopyRemovalRequested(LocalCopyRemovalRequestedV1 {}));
            }
        }
        events
    }

    pub(in crate::run) fn request_uploads(&self, endpoints: Vec<EndpointName>) -> Result<Vec<RunEvent>, Refusal> {
        if self.stage != Stage::Ended {
            return Err(Refusal::Active);
        }
        if !self.may_be_copied() {
            return Err(Refusal::NotUploadable);
        }
        let mut endpoints = distinct(endpoints)?;
        // One that is said to be there is looked at again: who asks may know better.
        let settled = |name: &EndpointName| {
            let status = self.copy_at(name).map(|copy| copy.status);
            status.is_some_and(CopyStatus::is_open)
        };
        endpoints.retain(|name| !settled(name));
        let new = endpoints.iter().filter(|name| self.copy_at(name).is_none()).count();
        if self.copies.len() + new > MAX_COPIES {
            return Err(Refusal::Invalid(format!("a run has copies at {MAX_COPIES} endpoints at most")));
        }
        if endpoints.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![RunEvent::UploadsRequested(UploadsRequestedV1 { endpoints })])
    }

    /// Whether it is one that copies are made of, and its directory is there.
    pub(super) fn may_be_copied(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Completed | Outcome::Partial)) && self.retained == Retained::Kept
    }

    pub(in crate::run) fn begin_upload(
        &self,
        endpoint: &EndpointName,
        max_tries: u32,
        retry_delay_ms: u64,
    ) -> Result<Vec<RunEvent>, Refusal> {
        let copy = self.open_copy(endpoint, CopyStatus::Pending)?;
        let started = UploadStartedV1 {
            endpoint: endpoint.clone(),
            try_number: copy.tries.saturating_add(1),
            max_tries: max_tries.max(1),
            retry_delay_ms,
        };
        Ok(vec![RunEvent::UploadStarted(started)])
    }

    pub(in crate::run) fn end_upload(
        &self,
        endpoint: &EndpointName,
        try_number: u32,
        result: Result<Uploaded, Failure>,
    ) -> Result<Vec<RunEvent>, Refusal> {
        let copy = self.open_copy(endpoint, CopyStatus::Uploading)?;
        // One that was stopped is not waited for any more: whoever had it stopped has said what becomes of it.
        let stopped = matches!(&result, Err(failure) if failure.kind == FailureKind::Cancelled);
        if copy.tries != try_number || stopped {
            return Err(Refusal::OutOfOrder);
        }
        let endpoint = endpoint.clone();
        let event = match result {
            Ok(Uploaded { stored_bytes, sent_bytes, check, address }) => {
                let address = Some(address);
                RunEvent::UploadCompleted(UploadCompletedV2 { endpoint, stored_bytes, sent_bytes, check, address })
            }
            Err(failure) => {
                let failure = failure.bounded();
                let again = matches!(failure.kind, FailureKind::Retryable | FailureKind::Timeout);
                match self.id() {
                    Some(run_id) if again && copy.tries < copy.max_tries => {
                        let pause =
                            supervision::retry_delay_ms(copy.retry_delay_ms, run_id, endpoint.as_str(), copy.tries);
                        RunEvent::UploadTryFailed(UploadTryFailedV1 {
                            endpoint,
                            try_number,
                            failure,
                            retry_after_ms: pause,
                        })
                    }
                    _ => RunEvent::UploadFailed(UploadFailedV1 { endpoint, failure }),
                }
            }
        };
        Ok(vec![event])
    }

    /// The endpoint will not take it, as it stands: it is not tried.
    pub(in crate::run) fn refuse_upload(
        &self,
        endpoint: &EndpointName,
        failure: Failure,
    ) -> Result<Vec<RunEvent>, Refusal> {
        self.open_copy(endpoint, CopyStatus::Pending)?;
        let failed = UploadFailedV1 { endpoint: endpoint.clone(), failure: failure.bounded() };
        Ok(vec![RunEvent::UploadFailed(failed)])
    }

    /// Every open upload is given up.
    pub(in crate::run) fn cancel_uploads(&self, reason: &str) -> Vec<RunEvent> {
        let why = if reason.is_empty() { "somebody asked to stop it" } else { reason };
        let failure = Failure::new(FailureKind::Cancelled, "CANCELLED", why).bounded();
        let open = self.copies.iter().filter(|copy| copy.status.is_open());
        open.map(|copy| {
            RunEvent::UploadFailed(UploadFailedV1 { endpoint: copy.endpoint.clone(), failure: failure.clone() })
        })
        .collect()
    }

    /// Whoever had the open ones to do is gone.
    pub(in crate::run) fn resume_uploads(&self, only: Option<&EndpointName>) -> Vec<RunEvent> {
        if self.stage != Stage::Ended {
            return Vec::new();
        }
        let open = self.copies.iter().filter(|copy| copy.status.is_open());
        let open = open.filter(|copy| only.is_none_or(|only| copy.endpoint == *only));
        open.map(|copy| RunEvent::UploadInterrupted(UploadInterruptedV1 { endpoint: copy.endpoint.clone() })).collect()
    }

    pub(in crate::run) fn copy_deleted(&self, endpoint: &EndpointName) -> Vec<RunEvent> {
        let gone = |copy: &RunCopy| copy.status == CopyStatus::Uploaded || copy.altered && !copy.status.is_open();
        let there = self.copy_at(endpoint).is_some_and(gone);
        let deleted = || RunEvent::RemoteCopyDeleted(RemoteCopyDeletedV1 { endpoint: endpoint.clone() });
        there.then(deleted).into_iter().collect()
    }

    /// The copy was read there, and is not what was published: it counts no more. While others are on their way nothing is said.
    pub(in crate::run) fn copy_altered(&self, endpoint: &EndpointName, failure: Failure) -> Vec<RunEvent> {
        let there = self.copy_at(endpoint).is_some_and(|copy| copy.status == CopyStatus::Uploaded);
        let failed = || {
            let failure = Failure { code: COPY_ALTERED.into(), ..failure }.bounded();
            RunEvent::UploadFailed(UploadFailedV1 { endpoint: endpoint.clone(), failure })
        };
        (there && !self.is_uploading()).then(failed).into_iter().collect()
    }

    /// Whoever has this log now does not have the run's directory. Where a copy is kept elsewhere the run is kept there alone, and else it is
    /// gone; a lock does not bring it back, and what has no directory cannot be sent anywhere.
    pub(in crate::run) fn moved_away(&self) -> Vec<RunEvent> {
        if self.stage != Stage::Ended || self.retained != Retained::Kept || self.importing.is_some() {
            return Vec::new();
        }
        let failure = Failure::new(FailureKind::Fatal, "RUN_DIRECTORY_MISSING", "the run is not here any more");
        let open = self.copies.iter().filter(|copy| copy.status.is_open());
        let mut events: Vec<_> = open
            .map(|copy| {
                let (endpoint, failure) = (copy.endpoint.clone(), failure.clone());
                RunEvent::UploadFailed(UploadFailedV1 { endpoint, failure })
            })
            .collect();
        // One that came from an endpoint is there.
        let elsewhere = self.imported.is_some() || self.copies.iter().any(|copy| copy.status == CopyStatus::Uploaded);
        events.push(match elsewhere {
            true => RunEvent::LocalCopyRemovalRequested(LocalCopyRemovalRequestedV1 {}),
            false => RunEvent::DeleteRequested(RunDeleteRequestedV1 {}),
        });
        events
    }

    fn open_copy(&self, endpoint: &EndpointName, status: CopyStatus) -> Result<&RunCopy, Refusal> {
        let copy = self.copy_at(endpoint).filter(|copy| copy.status == status);
        copy.filter(|_| self.stage == Stage::Ended).ok_or(Refusal::OutOfOrder)
    }

    /// Whether its directory is to go now, by where endpoints are.
    #[must_use]
    pub fn may_leave_at(&self, places: &Places) -> bool {
        self.may_leave(|copy| places.hold(copy))
    }

    /// Its directory goes, where it is to go by now.
    pub(in crate::run) fn leave(&self, places: &Places) -> Vec<RunEvent> {
        let leave = || RunEvent::LocalCopyRemovalRequested(LocalCopyRemovalRequestedV1 {});
        self.may_leave_at(places).then(leave).into_iter().collect()
    }

    /// Whether its directory is to go: what was asked for is elsewhere, and nobody needs it here.
    pub(super) fn may_leave(&self, there: impl Fn(&RunCopy) -> bool) -> bool {
        let planned = &self.planned_copies;
        let settled = self.stage == Stage::Ended
            && self.importing.is_none()
            && self.has_copies(self.enough(), there)
            && !self.is_uploading()
            && self.may_be_copied();
        // Of what was staged elsewhere nothing is here that a lock could keep.
        let is_free = self.lock.is_none() && self.last_verified.as_ref().is_none_or(|verified| verified.ok);
        settled && (self.is_staged_elsewhere() || !planned.keep_local && is_free)
    }
}

/// Each endpoint once, and not too many.
fn distinct(endpoints: Vec<EndpointName>) -> Result<Vec<EndpointName>, Refusal> {
    let mut seen = BTreeSet::new();
    let endpoints: Vec<_> = endpoints.into_iter().filter(|name| seen.insert(name.clone())).collect();
    if endpoints.len() > MAX_COPIES {
        return Err(Refusal::Invalid(format!("a run has copies at {MAX_COPIES} endpoints at most")));
    }
    Ok(endpoints)
}
