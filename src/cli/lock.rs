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
    find(&context.view()?, RunArg::Id(args.run), context.output)?;
    let door = Door::open(context, Purpose::Brief("lock"), context.lock_wait).await?;
    let result = door.ask(&LockBackupRun { run_id: args.run, reason }).await;
    door.close().await;
    result?;
    show(context, args.run)?;
    let reason =
        if args.reason.is_empty() { String::new() } else { format!(" ({})", printable(args.reason.as_bytes())) };
    context.output.line(format!("run {} is locked{reason}: it is not deleted until it is unlocked", args.run))?;
    Ok(Exit::Good)
}

pub(super) async fn unlock(context: &Context, args: &UnlockArgs) -> CliResult {
    find(&context.view()?, RunArg::Id(args.run), context.output)?;
    let door = Door::open(context, Purpose::Brief("unlock"), context.lock_wait).await?;
    let result = door.ask(&UnlockBackupRun { run_id: args.run, reason: Reason::default() }).await;
    door.close().await;
    result?;
    show(context, args.run)?;
    context.output.line(format!("run {} is not locked: it may be deleted", args.run))?;
    Ok(Exit::Good)
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
