//! What somebody has to see to, derived from the log: nothing of it is stored, so an alert is told again by reading again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codec::Envelope;
use crate::event::{
    AuditEvent, EndpointEvent, Event, MaintenanceEvent, ParticipantEvent, RestoreEvent, RunEvent, SystemEvent,
    VaultClientEvent,
};
use crate::failure::{FailureKind, Warnings};
use crate::ids::{RestoreId, RunId};
use crate::restore::CUT_SHORT;
use crate::run::{Outcome, Run};
use crate::vault::UploadEnd;

/// What happened, as a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AlertCode {
    /// A run ended without what was asked for.
    RunFailed,
    /// A run ended, and optional participants of it did not give what they have.
    RunPartial,
    /// A run was stopped by request.
    RunCancelled,
    /// A run was stopped by its deadline.
    RunTimeout,
    /// A run completed, and something was left out.
    RunWarnings,
    /// A run was interrupted: the process that worked on it is gone, or was stopped.
    RunInterrupted,
    /// A run goes on after that.
    RunResumed,
    /// The files of a run are not as they were recorded.
    RunDamaged,
    /// A run could not be deleted.
    RunDeleteFailed,
    /// A copy of a run did not get to an endpoint.
    UploadFailed,
    /// An endpoint failed so often in a row that it is left alone for a while.
    EndpointUnavailable,
    /// It takes uploads again.
    EndpointRecovered,
    /// A run could not be brought back from an endpoint.
    RunImportFailed,
    /// A participant failed so often in a row that runs try it only once.
    ParticipantQuarantined,
    /// A participant is tried as others are again.
    QuarantineLifted,
    /// A participant was told to stop and did not return.
    ParticipantStuck,
    /// It has returned.
    ParticipantReturned,
    /// A restore ended without anything in its place.
    RestoreFailed,
    /// A restore was begun and did not come to its end, and all is as before.
    RestoreRolledBack,
    /// A restore was begun, did not come to its end, and not all could be put back: what it was made into is of no one state.
    RestoreRollbackFailed,
    /// A restore goes on without a safety snapshot of the state before.
    SafetySnapshotSkipped,
    /// Maintenance is on because of a restore that could not be rolled back, until somebody ends it.
    MaintenanceLeftOn,
    /// The event log was not whole when it was opened, and was put right.
    LogRepaired,
    /// What a client brought to a vault was not what it said, or is not there any more.
    VaultUploadDamaged,
    /// Tokens were shown that are not known.
    TokensGuessed,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing to do: something is well again.
    Info,
    /// To be looked at.
    Warning,
    /// Data is not backed up, or not safe.
    Critical,
}

/// Something to see to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// What happened.
    pub alert: AlertCode,
    /// How much it matters.
    pub severity: Severity,
    /// The same for people.
    pub message: String,
    /// The run it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The participant it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// The restore it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_id: Option<String>,
    /// The endpoint it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The position of the event it follows from.
    pub position: u64,
    /// When that was recorded, in Unix seconds.
    pub time: i64,
}

/// What is told of one event: code, severity, message.
type Told = (AlertCode, Severity, String);

impl Alert {
    /// The run whose state [`Alert::of`] needs to tell of this event.
    #[must_use]
    pub fn needs(envelope: &Envelope) -> Option<RunId> {
        match envelope.data {
            Event::RunEvent(RunEvent::Published(_)) => envelope.stream.run_id(),
            _ => None,
        }
    }

    /// What somebody has to see to because of this event. `run` is the state of the run it belongs to, folded at least that far, where
    /// [`Alert::needs`] asks for one; without it there is no reason in the message, and warnings are not seen.
    #[must_use]
    pub fn of(envelope: &Envelope, run: Option<&Run>) -> Option<Self> {
        let (alert, severity, message) = match &envelope.data {
            Event::RunEvent(event) => of_run(event, run),
            Event::ParticipantEvent(event) => of_participant(event),
            Event::RestoreEvent(event) => of_restore(event),
            Event::SystemEvent(event) => of_system(event),
            Event::AuditEvent(event) => of_audit(event),
            Event::MaintenanceEvent(event) => of_maintenance(event),
            Event::VaultClientEvent(event) => of_vault_client(event),
            Event::EndpointEvent(event) => of_endpoint(event),
            Event::AccessEvent(_) | Event::VaultAccessEvent(_) => None,
        }?;
        let stream = &envelope.stream;
        let run_id = stream.run_id().or_else(|| work_of(&envelope.data)).map(|run_id| run_id.to_string());
        Some(Self {
            alert,
            severity,
            message,
            run_id,
            participant: stream.participant_name().map(|name| name.to_string()),
            restore_id: stream
                .restore_id()
                .or_else(|| cause_of(&envelope.data))
                .map(|restore_id| restore_id.to_string()),
            endpoint: crate::story::endpoint_of(envelope).map(|name| name.to_string()),
            position: envelope.position.0,
            time: envelope.time.seconds(),
        })
    }
}

/// The run a participant's event is about.
fn work_of(event: &Event) -> Option<RunId> {
    match event {
        Event::ParticipantEvent(ParticipantEvent::WorkStuck(stuck)) => Some(stuck.run_id),
        Event::ParticipantEvent(ParticipantEvent::WorkReturned(returned)) => Some(returned.run_id),
        _ => None,
    }
}

/// The restore because of which there is maintenance.
fn cause_of(event: &Event) -> Option<RestoreId> {
    match event {
        Event::MaintenanceEvent(MaintenanceEvent::Enabled(enabled)) => enabled.restore_id,
        _ => None,
    }
}

fn of_run(event: &RunEvent, run: Option<&Run>) -> Option<Told> {
    match event {
        RunEvent::Published(published) => {
            let summary = run.map(Run::error_summary).unwrap_or_default();
            ended(published.outcome, summary, run.map_or(0, Run::warning_count))
        }
        RunEvent::Ended(end) => ended(end.outcome, &end.error_summary, 0),
        RunEvent::Interrupted(interrupted) => {
            let text = format!("the run was interrupted: {}", interrupted.reason);
            Some((AlertCode::RunInterrupted, Severity::Warning, text))
        }
        RunEvent::Resumed(resumed) => {
            let text = format!("the run goes on, in attempt {}", resumed.attempt);
            Some((AlertCode::RunResumed, Severity::Info, text))
        }
        RunEvent::Verified(verified) if !verified.ok => {
            let text = format!("the run's files are not as they were recorded: {}", some(&verified.errors));
            Some((AlertCode::RunDamaged, Severity::Critical, text))
        }
        RunEvent::DeleteFailed(failed) => {
            let text = format!("the run could not be deleted, and is kept: {}", failed.failure);
            Some((AlertCode::RunDeleteFailed, Severity::Warning, text))
        }
        RunEvent::UploadFailed(failed) if failed.failure.kind != FailureKind::Cancelled => {
            let text = format!("the run has no copy at {}: {}", failed.endpoint, failed.failure);
            Some((AlertCode::UploadFailed, Severity::Critical, text))
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
        | RunEvent::RemoteCopyDeleted(_) => None,
        RunEvent::ImportFailed(failed) if failed.failure.kind != FailureKind::Cancelled => {
            let text = format!("the run could not be brought back from its endpoint: {}", failed.failure);
            Some((AlertCode::RunImportFailed, Severity::Warning, text))
        }
        RunEvent::Requested(_)
        | RunEvent::ParticipantPlanned(_)
        | RunEvent::DefinitionPart(_)
        | RunEvent::Started(_)
        | RunEvent::ParticipantReset(_)
        | RunEvent::ParticipantStarted(_)
        | RunEvent::ParticipantProgressed(_)
        | RunEvent::ArtifactStored(_)
        | RunEvent::ParticipantCompleted(_)
        | RunEvent::ParticipantFailed(_)
        | RunEvent::ParticipantCancelled(_)
        | RunEvent::ParticipantSkipped(_)
        | RunEvent::CancelRequested(_)
        | RunEvent::TimedOut(_)
        | RunEvent::Classified(_)
        | RunEvent::PublishRequested(_)
        | RunEvent::Verified(_)
        | RunEvent::DeleteRequested(_)
        | RunEvent::Deleted(_)
        | RunEvent::ParticipantTryFailed(_)
        | RunEvent::ParticipantDue(_)
        | RunEvent::Locked(_)
        | RunEvent::Unlocked(_)
        | RunEvent::BarrierRequested(_)
        | RunEvent::ParticipantFrozen(_)
        | RunEvent::BarrierCompleted(_)
        | RunEvent::BarrierAborted(_)
        | RunEvent::ImportRequested(_)
        | RunEvent::Imported(_)
        | RunEvent::ParticipantImported(_)
        | RunEvent::ImportPublishRequested(_)
        | RunEvent::ImportCompleted(_)
        | RunEvent::ImportFailed(_) => None,
    }
}

fn ended(outcome: Outcome, summary: &str, warnings: u64) -> Option<Told> {
    let because = |text: &str| if summary.is_empty() { text.to_owned() } else { format!("{text}: {summary}") };
    let told = match outcome {
        Outcome::Completed if warnings == 0 => return None,
        Outcome::Completed => {
            let things = if warnings == 1 { "1 thing".to_owned() } else { format!("{warnings} things") };
            (AlertCode::RunWarnings, Severity::Warning, format!("the run completed, and left {things} out"))
        }
        Outcome::Partial => {
            (AlertCode::RunPartial, Severity::Warning, because("the run completed without all of its participants"))
        }
        Outcome::Failed => (AlertCode::RunFailed, Severity::Critical, because("the run failed")),
        Outcome::Cancelled => (AlertCode::RunCancelled, Severity::Warning, because("the run was stopped")),
        Outcome::Timeout => (AlertCode::RunTimeout, Severity::Critical, because("the run took longer than it may")),
    };
    Some(told)
}

fn of_participant(event: &ParticipantEvent) -> Option<Told> {
    match event {
        ParticipantEvent::Quarantined(quarantined) => {
            let text = format!(
                "it failed {} times in a row: each run tries it only once until it is good again",
                quarantined.failures
            );
            Some((AlertCode::ParticipantQuarantined, Severity::Critical, text))
        }
        ParticipantEvent::QuarantineLifted(lifted) => {
            let text = format!("it is tried as others are again: {}", lifted.reason);
            Some((AlertCode::QuarantineLifted, Severity::Info, text))
        }
        ParticipantEvent::WorkStuck(stuck) => {
            let text = format!("it was told to stop and has not returned: {}", stuck.failure);
            Some((AlertCode::ParticipantStuck, Severity::Critical, text))
        }
        ParticipantEvent::WorkReturned(_) => {
            Some((AlertCode::ParticipantReturned, Severity::Info, "it was stuck, and has returned".to_owned()))
        }
        ParticipantEvent::WorkStarted(_)
        | ParticipantEvent::WorkCompleted(_)
        | ParticipantEvent::WorkFailed(_)
        | ParticipantEvent::AttemptAbandoned(_)
        | ParticipantEvent::ChildStarted(_)
        | ParticipantEvent::FreezeRequested(_)
        | ParticipantEvent::Thawed(_)
        | ParticipantEvent::BarrierFailed(_) => None,
    }
}

fn of_endpoint(event: &EndpointEvent) -> Option<Told> {
    match event {
        EndpointEvent::Unavailable(unavailable) => {
            let text = format!(
                "the endpoint failed {} times in a row, and is left alone for {} s: {}",
                unavailable.failures, unavailable.pause_s, unavailable.failure
            );
            Some((AlertCode::EndpointUnavailable, Severity::Critical, text))
        }
        EndpointEvent::Recovered(_) => {
            Some((AlertCode::EndpointRecovered, Severity::Info, "the endpoint takes uploads again".to_owned()))
        }
        EndpointEvent::Added(_)
        | EndpointEvent::Updated(_)
        | EndpointEvent::Deleted(_)
        | EndpointEvent::TryFailed(_)
        | EndpointEvent::RemoteDeleteRequested(_)
        | EndpointEvent::RemoteRunDeleted(_)
        | EndpointEvent::RemoteDeleteFailed(_) => None,
    }
}

fn of_vault_client(event: &VaultClientEvent) -> Option<Told> {
    match event {
        VaultClientEvent::UploadRemoved(removed) => {
            let what = match removed.end {
                UploadEnd::Damaged => {
                    "came with another hash than its client said: its network or its disk changes bytes"
                }
                UploadEnd::Lost => "is not on the vault's disk any more: somebody or something deleted it",
                UploadEnd::Terminated | UploadEnd::Expired => return None,
            };
            let text = format!("upload {} {what}", removed.upload_id);
            Some((AlertCode::VaultUploadDamaged, Severity::Warning, text))
        }
        VaultClientEvent::UploadCreated(_)
        | VaultClientEvent::UploadOpened(_)
        | VaultClientEvent::UploadClosed(_)
        | VaultClientEvent::UploadFinished(_)
        | VaultClientEvent::RunCommitRequested(_)
        | VaultClientEvent::RunCommitted(_)
        | VaultClientEvent::RunDeleteRequested(_)
        | VaultClientEvent::RunDeleted(_) => None,
    }
}

fn of_restore(event: &RestoreEvent) -> Option<Told> {
    match event {
        RestoreEvent::Failed(failed) if failed.failure.code == CUT_SHORT => {
            let text = format!(
                "the restore was stopped half-way, and what it was to restore is not whole: {}",
                failed.failure
            );
            Some((AlertCode::RestoreFailed, Severity::Critical, text))
        }
        RestoreEvent::Failed(failed) if failed.failure.kind != FailureKind::Cancelled => {
            let text = format!("the restore failed: {}", failed.failure);
            Some((AlertCode::RestoreFailed, Severity::Warning, text))
        }
        RestoreEvent::RollbackFailed(failed) => {
            let of = failed.participant.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
            let text = format!(
                "THE DATA IS NOT WHOLE: a restore was begun, and its rollback{of} failed: {}; see to that, then `holdfast restore retry`",
                failed.failure
            );
            Some((AlertCode::RestoreRollbackFailed, Severity::Critical, text))
        }
        RestoreEvent::RolledBack(back) if back.failure.kind != FailureKind::Cancelled => {
            let text = format!("the restore was rolled back, and all is as before: {}", back.failure);
            Some((AlertCode::RestoreRolledBack, Severity::Warning, text))
        }
        RestoreEvent::SafetySnapshotSkipped(skipped) => {
            let text = format!(
                "the restore goes on without a safety snapshot, so there is no way back from it: {}",
                skipped.failure
            );
            Some((AlertCode::SafetySnapshotSkipped, Severity::Warning, text))
        }
        RestoreEvent::Requested(_)
        | RestoreEvent::Completed(_)
        | RestoreEvent::Failed(_)
        | RestoreEvent::ParticipantPlanned(_)
        | RestoreEvent::SourceVerified(_)
        | RestoreEvent::Quiesced(_)
        | RestoreEvent::SafetyArtifactStored(_)
        | RestoreEvent::SafetySnapshotTaken(_)
        | RestoreEvent::ParticipantStaged(_)
        | RestoreEvent::CommitDecided(_)
        | RestoreEvent::CommitStarted(_)
        | RestoreEvent::ParticipantCommitted(_)
        | RestoreEvent::ParticipantVerified(_)
        | RestoreEvent::RollbackDecided(_)
        | RestoreEvent::ParticipantRolledBack(_)
        | RestoreEvent::RolledBack(_)
        | RestoreEvent::RetryRequested(_)
        | RestoreEvent::CancelRequested(_)
        | RestoreEvent::TimedOut(_)
        | RestoreEvent::SafetySnapshotRemoved(_)
        | RestoreEvent::Interrupted(_) => None,
    }
}

fn of_maintenance(event: &MaintenanceEvent) -> Option<Told> {
    match event {
        MaintenanceEvent::Enabled(enabled) => {
            let restore_id = enabled.restore_id?;
            let text = format!(
                "maintenance is on, since restore {restore_id} could not be rolled back: `holdfast restore retry {restore_id}`, and once \
                 all is well `holdfast maintenance off`"
            );
            Some((AlertCode::MaintenanceLeftOn, Severity::Critical, text))
        }
        MaintenanceEvent::Disabled(_) => None,
    }
}

fn of_system(event: &SystemEvent) -> Option<Told> {
    match event {
        SystemEvent::LogRepaired(repaired) => {
            let text = format!("the event log was not whole and was put right: {}", repaired.what);
            Some((AlertCode::LogRepaired, Severity::Warning, text))
        }
        SystemEvent::HomeCreated(_) | SystemEvent::EngineStarted(_) | SystemEvent::EngineStopped(_) => None,
    }
}

fn of_audit(event: &AuditEvent) -> Option<Told> {
    match event {
        AuditEvent::GuessesSummed(guesses) => {
            let addresses = guesses.more_sources.saturating_add(guesses.sources.len() as u64);
            let (tokens, were) = match guesses.count {
                1 => ("1 token".to_owned(), "that is not known was"),
                count => (format!("{count} tokens"), "that are not known were"),
            };
            let addresses = if addresses == 1 { "1 address".to_owned() } else { format!("{addresses} addresses") };
            let text = format!("{tokens} {were} shown, from {addresses}");
            Some((AlertCode::TokensGuessed, Severity::Warning, text))
        }
        AuditEvent::CommandRecorded(_) | AuditEvent::RefusalsSummed(_) => None,
    }
}

/// The first of them, and how many more there are.
fn some(warnings: &Warnings) -> String {
    let first = warnings.first.first().map_or("", String::as_str);
    match warnings.count.saturating_sub(1) {
        0 => first.to_owned(),
        more => format!("{first}, and {more} more"),
    }
}

#[cfg(test)]
mod tests;
