//! `lock` and `unlock`.

use holdfast_model::ids::RunId;

use super::args::{LockArgs, RunArg, UnlockArgs};
use super::door::{Door, Purpose};
use super::exit::{CliError, CliResult, Exit};
use super::output::printable;
use super::runs::find;
use super::{Context, errors};
use crate::api::commands::{LockBackupRun, UnlockBackupRun};
use crate::api::text::Reason;

pub(super) async fn lock(context: &Context, args: &LockArgs) -> CliResult {
    let reason = reason(&args.reason)?;
    // An id that means nothing is told apart before the home is taken.
    let run_id = found(context, args.run)?;
    let door = Door::open(context, Purpose::Brief("lock"), context.lock_wait).await?;
    let result = door.ask(&LockBackupRun { run_id, reason }).await;
    door.close().await;
    result?;
    show(context, run_id)?;
    let reason =
        if args.reason.is_empty() { String::new() } else { format!(" ({})", printable(args.reason.as_bytes())) };
    context.output.line(format!("run {run_id} is locked{reason}: it is not deleted until it is unlocked"))?;
    Ok(Exit::Good)
}

pub(super) async fn unlock(context: &Context, args: &UnlockArgs) -> CliResult {
    let run_id = found(context, args.run)?;
    let door = Door::open(context, Purpose::Brief("unlock"), context.lock_wait).await?;
    let result = door.ask(&UnlockBackupRun { run_id, reason: Reason::default() }).await;
    door.close().await;
    result?;
    show(context, run_id)?;
    context.output.line(format!("run {run_id} is not locked: it may be deleted"))?;
    Ok(Exit::Good)
}

fn found(context: &Context, run: RunArg) -> Result<RunId, CliError> {
    let run = find(&context.view()?, run, context.output)?;
    run.id().ok_or_else(|| CliError::failed("RUN_UNREADABLE", "the run has no id"))
}

/// A reason as commands take it.
pub(super) fn reason(text: &str) -> Result<Reason, CliError> {
    let refuse = |rule| CliError::new(Exit::Usage, "INVALID_DATA", format!("--reason: {rule}"), "Say it in one line.");
    text.to_owned().try_into().map_err(refuse)
}

/// The run as it stands now. Whoever was asked knows of open runs only whether it works on them itself.
fn show(context: &Context, run_id: RunId) -> Result<(), CliError> {
    if !context.output.json {
        return Ok(());
    }
    let view = context.view()?;
    match view.run(run_id).map_err(errors::view)?.view(view.owned()) {
        Some(run) => context.output.value(&run),
        None => Ok(()),
    }
}
