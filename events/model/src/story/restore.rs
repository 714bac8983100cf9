//! The lines of a restore.

use super::{Level, Told, counted, size};
use crate::event::RestoreEvent;
use crate::failure::FailureKind;
use crate::figures::seconds;
use crate::ids::ParticipantName;

pub(super) fn told(event: &RestoreEvent, by: &str) -> Told {
    match event {
        RestoreEvent::Requested(request) => {
            let what = match request.selections {
                0 => "all".to_owned(),
                paths => counted(u64::from(paths), "path"),
            };
            let replaced = if request.overwrite { ", what is in the way is replaced" } else { "" };
            let text = format!(
                "restore of {what} of run {} to {}, asked for by {by}{replaced}",
                request.source_run, request.target
            );
            (Level::Info, text)
        }
        RestoreEvent::Completed(done) => {
            let files = if done.files > 0 { format!("{}, ", counted(done.files, "file")) } else { String::new() };
            let text = format!("restored: {files}{}, every byte verified", size(done.bytes));
            match done.warnings {
                0 => (Level::Info, text),
                some => (Level::Warning, format!("{text}; {}", counted(some, "warning"))),
            }
        }
        RestoreEvent::Failed(failed) if failed.failure.kind == FailureKind::Cancelled => {
            (Level::Warning, format!("the restore was cancelled: {}", failed.failure))
        }
        RestoreEvent::Failed(failed) => (Level::Error, format!("the restore failed: {}", failed.failure)),
        RestoreEvent::ParticipantPlanned(planned) => {
            let how = if planned.atomic { "in one step" } else { "not in one step" };
            let name = &planned.participant;
            (Level::Info, format!("{name} takes {} back, {how}", size(planned.bytes)))
        }
        RestoreEvent::SourceVerified(verified) => (
            Level::Info,
            format!("the run to restore from was read again and is as recorded: {}", size(verified.bytes)),
        ),
        RestoreEvent::Quiesced(_) => (Level::Info, "all participants of the restore stand still".into()),
        RestoreEvent::SafetyArtifactStored(stored) => {
            let artifact = &stored.artifact;
            let text =
                format!("{} of the state before is kept: {}", artifact.logical_name, size(artifact.content_bytes));
            (Level::Info, text)
        }
        RestoreEvent::SafetySnapshotTaken(_) => {
            (Level::Info, "the safety snapshot of the state before is whole and was read again".into())
        }
        RestoreEvent::SafetySnapshotSkipped(skipped) => {
            (Level::Warning, format!("there is no safety snapshot of the state before: {}", skipped.failure))
        }
        RestoreEvent::ParticipantStaged(staged) => {
            (Level::Info, format!("{} has staged {}", staged.participant, size(staged.bytes)))
        }
        RestoreEvent::CommitDecided(_) => (Level::Info, "all is staged: the restore is made".into()),
        RestoreEvent::CommitStarted(part) => (Level::Info, format!("{} commits", part.participant)),
        RestoreEvent::ParticipantCommitted(done) => {
            let said = done.output.lines().next_back().unwrap_or_default();
            let said = if said.is_empty() { String::new() } else { format!(", and said last: {said}") };
            (Level::Info, format!("{} has committed{said}", done.participant))
        }
        RestoreEvent::ParticipantVerified(part) => {
            (Level::Info, format!("{} has looked at what it has now", part.participant))
        }
        RestoreEvent::RollbackDecided(decided) => {
            (Level::Error, format!("the restore is not made, and undone: {}", decided.failure))
        }
        RestoreEvent::ParticipantRolledBack(part) => (Level::Info, format!("{} is as before", part.participant)),
        RestoreEvent::RolledBack(back) => {
            (Level::Warning, format!("the restore was rolled back, and all is as before: {}", back.failure))
        }
        RestoreEvent::RollbackFailed(failed) => {
            let who = failed.participant.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
            (Level::Error, format!("the rollback{who} failed, and not all is as before: {}", failed.failure))
        }
        RestoreEvent::RetryRequested(_) => (Level::Info, format!("the rollback is tried again, asked for by {by}")),
        RestoreEvent::CancelRequested(cancel) => {
            let reason = if cancel.reason.is_empty() { String::new() } else { format!(": {}", cancel.reason) };
            (Level::Warning, format!("the restore is to be cancelled, asked for by {by}{reason}"))
        }
        RestoreEvent::TimedOut(timed_out) => {
            let limit = seconds(timed_out.timeout_ms as f64 / 1000.0);
            (Level::Error, format!("the restore took {limit}, which is the most it may: what it touched is put back"))
        }
        RestoreEvent::SafetySnapshotRemoved(_) => (
            Level::Info,
            "the safety snapshot of the state before is removed: it was kept as long as it was to be".into(),
        ),
        RestoreEvent::Interrupted(interrupted) => {
            (Level::Warning, format!("the restore was interrupted: {}", interrupted.reason))
        }
    }
}

/// Whom an event is about.
pub(super) fn participant_of(event: &RestoreEvent) -> Option<&ParticipantName> {
    Some(match event {
        RestoreEvent::ParticipantPlanned(event) => &event.participant,
        RestoreEvent::SafetyArtifactStored(event) => &event.artifact.participant,
        RestoreEvent::ParticipantStaged(event) => &event.participant,
        RestoreEvent::ParticipantCommitted(event) => &event.participant,
        RestoreEvent::CommitStarted(event)
        | RestoreEvent::ParticipantVerified(event)
        | RestoreEvent::ParticipantRolledBack(event) => &event.participant,
        RestoreEvent::RollbackFailed(event) => event.participant.as_ref()?,
        _ => return None,
    })
}
