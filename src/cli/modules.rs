//! `restore --in-place` into modules of an application: the application does it, all or none.

use holdfast_model::ids::{ParticipantName, RestoreId};
use holdfast_model::restore::{RestoreStatus, RestoreView};
use holdfast_model::run::ParticipantStatus;

use super::args::{RestoreArgs, RunArg};
use super::door::Door;
use super::exit::{CliError, CliResult, Exit};
use super::in_the_way::InTheWay;
use super::interrupts::Interrupts;
use super::output::{Output, counted, seconds, size};
use super::runs::find;
use super::{Context, browse, restores};
use crate::api::commands::{GetRestoreRun, StartRestoreRun};
use crate::api::text::Reason;
use crate::participant::Descriptor;

/// Whether the run's participants that are to be restored are modules: all, or the one that is named.
pub(super) fn are_meant(context: &Context, args: &RestoreArgs, run: RunArg) -> Result<bool, CliError> {
    let named = browse::participant(args.participant.as_deref())?;
    // Whoever then restores it says which run that is.
    let run = find(&context.view()?, run, Output { quiet: true, ..context.output })?;
    let is_meant = |name: &ParticipantName| named.as_ref().is_none_or(|named| named == name);
    let mut meant = run
        .participants()
        .iter()
        .filter(|one| one.status == ParticipantStatus::Completed && is_meant(&one.name))
        .peekable();
    Ok(meant.peek().is_some() && meant.all(|one| one.kind == Descriptor::MODULE))
}

pub(super) async fn restore(context: &Context, args: &RestoreArgs, run: RunArg) -> CliResult {
    let run_id = find(&context.view()?, run, context.output)?
        .id()
        .ok_or_else(|| CliError::new(Exit::Failed, "BACKUP_RUN_NOT_FOUND", "there is no such run", ""))?;
    let Some(door) = Door::attach(context).await? else {
        let text = "the modules are the application's, and it does not run, or does not serve its home";
        return Err(CliError::new(Exit::Busy, "APPLICATION_NOT_RUNNING", text, "Start it, then restore."));
    };
    let request = StartRestoreRun {
        run_id,
        participants: browse::participant(args.participant.as_deref())?.into_iter().collect(),
        dry_run: args.dry_run,
        force: args.force,
        safety: args.safety.unwrap_or_default(),
        accept_incomplete: args.accept_incomplete,
        wait: false,
        reason: Reason::default(),
        target: None,
        overwrite: None,
    };
    let begun = door.ask(&request).await?;
    if args.dry_run {
        context.output.value(&begun)?;
        for one in &begun.participants {
            let bytes = one.participant.artifacts.iter().map(|artifact| artifact.content_bytes).sum();
            let notes = one.participant.notes.first.join("; ");
            context.output.line(format!("{}: {} would be restored; {notes}", one.participant.name, size(bytes)))?;
        }
        return Ok(Exit::Good);
    }
    let ended = ended(&door, begun).await?;
    told(context, &ended)
}

/// Waits for a restore's end, whatever it is.
pub(super) async fn ended(door: &Door, begun: RestoreView) -> Result<RestoreView, CliError> {
    let Ok(restore_id) = begun.restore_id.parse::<RestoreId>() else {
        return Err(CliError::failed("SERVER_UNREADABLE", "the restore has no id"));
    };
    let mut interrupts = Interrupts::new()?;
    tokio::select! {
        ended = InTheWay::Restore(restore_id).ended(door) => drop(ended),
        () = interrupts.next() => {
            let next = format!("The application goes on with it: `holdfast restore cancel {restore_id}` stops it.");
            return Err(CliError::new(Exit::Cancelled, "LEFT", "not waited for any more", next));
        }
    }
    door.ask(&GetRestoreRun { restore_id }).await
}

/// Tells how it ended.
pub(super) fn told(context: &Context, restored: &RestoreView) -> CliResult {
    let id = &restored.restore_id;
    if restored.status != RestoreStatus::Completed {
        let next = match restored.status {
            RestoreStatus::RollbackFailed => {
                format!("Not all is as before. `holdfast restore retry {id}` tries again.")
            }
            RestoreStatus::Running => format!("It goes on: `holdfast restore show {id}`."),
            _ => "All modules are as before.".to_owned(),
        };
        let (exit, code) = match restored.status {
            RestoreStatus::Cancelled => (Exit::Cancelled, "CANCELLED"),
            _ => (Exit::Failed, "RESTORE_FAILED"),
        };
        return Err(CliError::new(exit, code, &restored.error_summary, next));
    }
    context.output.value(restored)?;
    let took = restored.finished_at.saturating_sub(restored.started_at) as f64;
    context.output.line(format!(
        "restored {} ({}) of run {} in {}, every byte verified",
        counted(restored.participants.len() as u64, "module"),
        size(restored.bytes),
        restored.source_run_id,
        seconds(took),
    ))?;
    restores::kept(context, restored)?;
    Ok(Exit::Good)
}
