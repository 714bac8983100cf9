//! Copies of a run on endpoints: which are wanted, how each stands, and what follows once they are there.
//!
//! ```text
//! pending ─ UploadStarted ─► uploading ─ UploadCompleted ─► uploaded ─ RemoteCopyDeleted ─► deleted
//!    ▲                          │  └──── UploadFailed ────► failed ─┐
//!    ├── UploadTryFailed ───────┤                                   │
//!    ├── UploadInterrupted ─────┘                                   │
//!    └── UploadsRequested ◄─────────────────────────────────────────┘
//! ```
//!
//! None of it changes how the run ended: that was said when it was published. Whether a copy that came there still counts is said by
//! [`Places`]: its endpoint may be another place by now.

use std::collections::BTreeSet;

use super::{
    CopiesPlannedV2, LocalCopyRemovalRequestedV1, Outcome, Places, Refusal, RemoteCopyDeletedV1, Retained, Run,
    RunDeleteRequestedV1, RunEffect, Stage, UploadCheck, UploadCompletedV2, UploadFailedV1, UploadInterruptedV1,
    UploadStartedV1, UploadStreamStartedV1, UploadTryFailedV1, UploadsRequestedV1,
};
use crate::event::RunEvent;
use crate::failure::{Failure, FailureKind};
use crate::ids::{EndpointName, Timestamp};
use crate::run::words::{Copies, RequireEndpoints, Staging};
use crate::supervision;

/// The code of a copy that was read at its endpoint and is not what was published.
pub const COPY_ALTERED: &str = "REMOTE_RUN_ALTERED";
/// Most endpoints of one run.
pub const MAX_COPIES: usize = 50;

/// How a copy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyStatus {
    /// Waits for its turn, or for another try.
    Pending,
    /// On its way.
    Uploading,
    /// There, whole.
    Uploaded,
    /// Not there, and not tried any more.
    Failed,
    /// It was there, and was deleted.
    Deleted,
}

impl CopyStatus {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CopyStatus::Pending => "pending",
            CopyStatus::Uploading => "uploading",
            CopyStatus::Uploaded => "uploaded",
            CopyStatus::Failed => "failed",
            CopyStatus::Deleted => "deleted",
        }
    }

    /// Whether something will still be done about it.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, CopyStatus::Pending | CopyStatus::Uploading)
    }
}

/// A copy of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCopy {
    /// Where.
    pub endpoint: EndpointName,
    /// How it stands.
    pub status: CopyStatus,
    /// Tries since it was asked for last.
    pub tries: u32,
    /// Tries in all, as the endpoint was configured when the last one began.
    pub max_tries: u32,
    /// The pause after the first try, in milliseconds.
    pub retry_delay_ms: u64,
    /// When it is tried again, while it waits for that.
    pub retry_at: Option<Timestamp>,
    /// When the last try began.
    pub started_at: Option<Timestamp>,
    /// When it was there, or given up.
    pub finished_at: Option<Timestamp>,
    /// Why it is not there, or why its last try failed.
    pub failure: Option<Failure>,
    /// Bytes there.
    pub stored_bytes: u64,
    /// Bytes that were sent in the last try.
    pub sent_bytes: u64,
    /// How it was checked there.
    pub check: Option<UploadCheck>,
    /// Where it came to, once it is there and that is known.
    pub address: Option<String>,
    /// Whether it was found altered there, and not found whole or deleted since.
    pub altered: bool,
}

impl RunCopy {
    pub(super) fn wanted(endpoint: EndpointName) -> Self {
        Self {
            endpoint,
            status: CopyStatus::Pending,
            tries: 0,
            max_tries: 1,
            retry_delay_ms: 0,
            retry_at: None,
            started_at: None,
            finished_at: None,
            failure: None,
            stored_bytes: 0,
            sent_bytes: 0,
            check: None,
            address: None,
            altered: false,
        }
    }
}

/// What a try to upload a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Bytes of all its files there.
    pub stored_bytes: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// How it was checked there.
    pub check: UploadCheck,
    /// The address of the endpoint, without what only says how it is spoken to.
    pub address: String,
}

/// How all copies of a run stand, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoteStatus {
    /// There are none, and none are wanted.
    None,
    /// Some are pending or on their way.
    Uploading,
    /// All are there.
    Completed,
    /// Some are there.
    Partial,
    /// None is there.
    Failed,
}

impl RemoteStatus {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RemoteStatus::None => "none",
            RemoteStatus::Uploading => "uploading",
            RemoteStatus::Completed => "completed",
            RemoteStatus::Partial => "partial",
            RemoteStatus::Failed => "failed",
        }
    }
}

impl Run {
    /// Where copies were to go when it was asked for, and what is expected of them.
    #[must_use]
    pub fn planned_copies(&self) -> &Copies {
        &self.planned_copies
    }

    /// Its copies, also those that were asked for later.
    #[must_use]
    pub fn copies(&self) -> &[RunCopy] {
        &self.copies
    }

    /// The copy at an endpoint.
    #[must_use]
    pub fn copy_at(&self, endpoint: &EndpointName) -> Option<&RunCopy> {
        self.copies.iter().find(|copy| copy.endpoint == *endpoint)
    }

    /// Whether an upload of it is pending or on its way.
    #[must_use]
    pub fn is_uploading(&self) -> bool {
        self.copies.iter().any(|copy| copy.status.is_open())
    }

    /// How all its copies stand.
    #[must_use]
    pub fn remote_status(&self) -> RemoteStatus {
        self.status_of_copies(|copy| copy.status == CopyStatus::Uploaded)
    }

    /// The same, of the copies that are where they were brought.
    #[must_use]
    pub fn remote_status_at(&self, places: &Places) -> RemoteStatus {
        self.status_of_copies(|copy| places.hold(copy))
    }

    fn status_of_copies(&self, there: impl Fn(&RunCopy) -> bool) -> RemoteStatus {
        let kept = || self.copies.iter().filter(|copy| copy.status != CopyStatus::Deleted);
        let uploaded = kept().filter(|copy| there(copy)).count();
        match kept().count() {
            0 => RemoteStatus::None,
            _ if self.is_uploading() => RemoteStatus::Uploading,
            all if uploaded == all => RemoteStatus::Completed,
            _ if uploaded > 0 => RemoteStatus::Partial,
            _ => RemoteStatus::Failed,
        }
    }

    /// Whether as many endpoints as are required have a copy.
    #[must_use]
    pub fn has_required_copies(&self) -> bool {
        self.has_copies(self.planned_copies.require, |copy| copy.status == CopyStatus::Uploaded)
    }

    fn has_copies(&self, require: RequireEndpoints, there: impl Fn(&RunCopy) -> bool) -> bool {
        let planned = &self.planned_copies.endpoints;
        let there = |name: &&EndpointName| self.copy_at(name).is_some_and(&there);
        require.is_met(planned.len(), planned.iter().filter(there).count())
    }

    /// Whether it completed, and as many copies as are required are there.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_completed() && self.has_required_copies()
    }

    /// The same, of the copies that are where they were brought.
    #[must_use]
    pub fn is_good_at(&self, places: &Places) -> bool {
        self.is_completed() && self.has_copies(self.planned_copies.require, |copy| places.hold(copy))
    }

    fn is_completed(&self) -> bool {
        self.stage == Stage::Ended && self.outcome == Some(Outcome::Completed)
    }

    /// Whether its directory is here, and was as recorded when it was last read.
    #[must_use]
    pub fn is_whole_here(&self) -> bool {
        self.retained == Retained::Kept
            && self.target.is_some()
            && !self.is_staged_elsewhere()
            && self.last_verified.as_ref().is_none_or(|verified| verified.ok)
    }

    /// Whether its directory was taken away because its copies are kept elsewhere.
    #[must_use]
    pub fn is_kept_remotely(&self) -> bool {
        self.kept_remotely
    }

    /// What is said where something is asked of a run whose directory is not here: it was deleted, or is kept on endpoints alone.
    #[must_use]
    pub fn not_here(&self) -> Refusal {
        match self.id().filter(|_| self.kept_remotely) {
            Some(run_id) => Refusal::KeptElsewhere { run_id, endpoint: self.kept_at() },
            None => Refusal::Deleted,
        }
    }

    /// An endpoint that it can be brought back from, as commands name it.
    #[must_use]
    pub fn kept_at(&self) -> String {
        let there = self.copies.iter().find(|copy| copy.status == CopyStatus::Uploaded);
        let there = there.map(|copy| &copy.endpoint);
        // One that came from an endpoint is there.
        let there = there.or_else(|| self.imported.as_ref().map(|from| &from.endpoint));
        there.map_or_else(|| "ENDPOINT".to_owned(), ToString::to_string)
    }

    pub(super) fn plan_copies(copies: Copies) -> Result<Option<RunEvent>, Refusal> {
        let Copies { endpoints, require, keep_local, staging } = copies;
        let endpoints = distinct(endpoints)?;
        if endpoints.is_empty() {
            return match staging {
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

    /// Whether its artifacts go straight to endpoints, and are not written here.
    #[must_use]
    pub fn is_staged_elsewhere(&self) -> bool {
        self.planned_copies.staging == Staging::None
    }

    /// Whether bytes of artifacts went to the endpoint while these were written. What is there of a file may then be of an earlier try.
    #[must_use]
    pub fn has_streamed(&self, endpoint: &EndpointName) -> bool {
        self.streamed.contains(endpoint)
    }

    /// How many must have it before it need not be here.
    fn enough(&self) -> RequireEndpoints {
        match (self.planned_copies.require, self.planned_copies.staging) {
            (_, Staging::None) | (RequireEndpoints::Any, _) => RequireEndpoints::Any,
            (RequireEndpoints::None | RequireEndpoints::All, _) => RequireEndpoints::All,
        }
    }

    pub(super) fn stream_starts(&self, endpoint: EndpointName) -> Result<Vec<RunEvent>, Refusal> {
        if !matches!(self.stage, Stage::Preparing | Stage::Barrier | Stage::Working) || self.is_stopping() {
            return Err(Refusal::OutOfOrder);
        }
        let started = UploadStreamStartedV1 { endpoint, attempt: self.attempt };
        Ok(vec![RunEvent::UploadStreamStarted(started)])
    }

    /// What follows a publish: of a run that was staged elsewhere, which endpoints have it.
    pub(super) fn published_at(
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

    pub(super) fn request_uploads(&self, endpoints: Vec<EndpointName>) -> Result<Vec<RunEvent>, Refusal> {
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
    fn may_be_copied(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Completed | Outcome::Partial)) && self.retained == Retained::Kept
    }

    pub(super) fn begin_upload(
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

    pub(super) fn end_upload(
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
    pub(super) fn refuse_upload(&self, endpoint: &EndpointName, failure: Failure) -> Result<Vec<RunEvent>, Refusal> {
        self.open_copy(endpoint, CopyStatus::Pending)?;
        let failed = UploadFailedV1 { endpoint: endpoint.clone(), failure: failure.bounded() };
        Ok(vec![RunEvent::UploadFailed(failed)])
    }

    /// Every open upload is given up.
    pub(super) fn cancel_uploads(&self, reason: &str) -> Vec<RunEvent> {
        let why = if reason.is_empty() { "somebody asked to stop it" } else { reason };
        let failure = Failure::new(FailureKind::Cancelled, "CANCELLED", why).bounded();
        let open = self.copies.iter().filter(|copy| copy.status.is_open());
        open.map(|copy| {
            RunEvent::UploadFailed(UploadFailedV1 { endpoint: copy.endpoint.clone(), failure: failure.clone() })
        })
        .collect()
    }

    /// Whoever had the open ones to do is gone.
    pub(super) fn resume_uploads(&self, only: Option<&EndpointName>) -> Vec<RunEvent> {
        if self.stage != Stage::Ended {
            return Vec::new();
        }
        let open = self.copies.iter().filter(|copy| copy.status.is_open());
        let open = open.filter(|copy| only.is_none_or(|only| copy.endpoint == *only));
        open.map(|copy| RunEvent::UploadInterrupted(UploadInterruptedV1 { endpoint: copy.endpoint.clone() })).collect()
    }

    pub(super) fn copy_deleted(&self, endpoint: &EndpointName) -> Vec<RunEvent> {
        let gone = |copy: &RunCopy| copy.status == CopyStatus::Uploaded || copy.altered && !copy.status.is_open();
        let there = self.copy_at(endpoint).is_some_and(gone);
        let deleted = || RunEvent::RemoteCopyDeleted(RemoteCopyDeletedV1 { endpoint: endpoint.clone() });
        there.then(deleted).into_iter().collect()
    }

    /// The copy was read there, and is not what was published: it counts no more. While others are on their way nothing is said.
    pub(super) fn copy_altered(&self, endpoint: &EndpointName, failure: Failure) -> Vec<RunEvent> {
        let there = self.copy_at(endpoint).is_some_and(|copy| copy.status == CopyStatus::Uploaded);
        let failed = || {
            let failure = Failure { code: COPY_ALTERED.into(), ..failure }.bounded();
            RunEvent::UploadFailed(UploadFailedV1 { endpoint: endpoint.clone(), failure })
        };
        (there && !self.is_uploading()).then(failed).into_iter().collect()
    }

    /// Whoever has this log now does not have the run's directory. Where a copy is kept elsewhere the run is kept there alone, and else it is
    /// gone; a lock does not bring it back, and what has no directory cannot be sent anywhere.
    pub(super) fn moved_away(&self) -> Vec<RunEvent> {
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
    pub(super) fn leave(&self, places: &Places) -> Vec<RunEvent> {
        let leave = || RunEvent::LocalCopyRemovalRequested(LocalCopyRemovalRequestedV1 {});
        self.may_leave_at(places).then(leave).into_iter().collect()
    }

    /// Whether its directory is to go: what was asked for is elsewhere, and nobody needs it here.
    fn may_leave(&self, there: impl Fn(&RunCopy) -> bool) -> bool {
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

    pub(super) fn apply_copy(&mut self, event: &RunEvent, now: Timestamp) {
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
    pub(super) fn copy_effects(&self, event: &RunEvent, effects: &mut Vec<RunEffect>) {
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

/// Each endpoint once, and not too many.
fn distinct(endpoints: Vec<EndpointName>) -> Result<Vec<EndpointName>, Refusal> {
    let mut seen = BTreeSet::new();
    let endpoints: Vec<_> = endpoints.into_iter().filter(|name| seen.insert(name.clone())).collect();
    if endpoints.len() > MAX_COPIES {
        return Err(Refusal::Invalid(format!("a run has copies at {MAX_COPIES} endpoints at most")));
    }
    Ok(endpoints)
}
