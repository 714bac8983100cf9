//! What happens to a run, as lines of the process's log: for those who watch that one and not the event log.

use holdfast_model::codec::Origin;
use holdfast_model::event::RunEvent;
use holdfast_model::ids::RunId;
use holdfast_model::run::{Outcome, Run};
use tracing::{info, warn};

/// Tells of facts that were just recorded. `run` is the state after them.
pub(crate) fn tell(run_id: RunId, origin: &Origin, events: &[RunEvent], run: &Run) {
    for event in events {
        match event {
            RunEvent::Requested(request) => {
                let (principal, correlation_id) = (origin.principal.as_str(), origin.correlation_id);
                info!(%run_id, principal, %correlation_id, trigger = request.trigger.as_str(), "run requested");
            }
            RunEvent::Started(started) => info!(%run_id, attempt = started.attempt, "run started"),
            RunEvent::Interrupted(interrupted) => warn!(%run_id, reason = interrupted.reason, "run was interrupted"),
            RunEvent::Resumed(resumed) => info!(%run_id, attempt = resumed.attempt, "run resumed"),
            RunEvent::ParticipantStarted(started) => {
                info!(%run_id, participant = %started.participant, try_number = started.try_number, "participant started");
            }
            RunEvent::ParticipantCompleted(completed) => {
                let warnings = completed.warnings.count;
                info!(%run_id, participant = %completed.participant, warnings, "participant completed");
            }
            RunEvent::ParticipantTryFailed(failed) => {
                let (participant, failure) = (&failed.participant, &failed.failure);
                warn!(%run_id, %participant, code = failure.code, %failure, "a try failed and is made again");
            }
            RunEvent::ParticipantFailed(failed) => {
                let (participant, failure) = (&failed.participant, &failed.failure);
                warn!(%run_id, %participant, code = failure.code, %failure, "participant failed");
            }
            RunEvent::CancelRequested(cancel) => {
                let (principal, correlation_id) = (origin.principal.as_str(), origin.correlation_id);
                info!(%run_id, principal, %correlation_id, reason = cancel.reason, "run is to be cancelled");
            }
            RunEvent::TimedOut(timed_out) => {
                warn!(%run_id, attempt = timed_out.attempt, timeout_ms = timed_out.timeout_ms, "run took too long");
            }
            RunEvent::UploadStarted(started) => {
                info!(%run_id, endpoint = %started.endpoint, try_number = started.try_number, "upload started");
            }
            RunEvent::UploadCompleted(completed) => {
                let (stored_bytes, sent_bytes) = (completed.stored_bytes, completed.sent_bytes);
                info!(%run_id, endpoint = %completed.endpoint, stored_bytes, sent_bytes, "upload completed");
            }
            RunEvent::UploadTryFailed(failed) => {
                let (endpoint, failure) = (&failed.endpoint, &failed.failure);
                warn!(%run_id, %endpoint, code = failure.code, %failure, "a try of an upload failed and is made again");
            }
            RunEvent::UploadFailed(failed) => {
                let (endpoint, failure) = (&failed.endpoint, &failed.failure);
                warn!(%run_id, %endpoint, code = failure.code, %failure, "upload failed");
            }
            RunEvent::Published(published) => ended(run_id, published.outcome, run),
            RunEvent::Ended(end) => ended(run_id, end.outcome, run),
            RunEvent::Deleted(_) => info!(%run_id, "run deleted"),
            RunEvent::DeleteFailed(failed) => {
                warn!(%run_id, code = failed.failure.code, failure = %failed.failure, "run could not be deleted");
            }
            _ => {}
        }
    }
}

fn ended(run_id: RunId, outcome: Outcome, run: &Run) {
    let status = holdfast_model::run::RunStatus::from(outcome).as_str();
    let (size_bytes, stored_bytes) = (run.size_bytes(), run.stored_bytes());
    if outcome == Outcome::Completed {
        info!(%run_id, status, size_bytes, stored_bytes, "run ended");
    } else {
        warn!(%run_id, status, size_bytes, stored_bytes, reason = run.error_summary(), "run ended");
    }
}
