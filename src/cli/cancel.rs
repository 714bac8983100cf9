//! `cancel`.

use super::Context;
use super::args::{CancelArgs, RunArg};
use super::door::{Door, Purpose, holder};
use super::exit::{CliError, CliResult, Exit};
use super::lock::reason;
use super::runs::find;
use crate::api::commands::CancelBackupRun;

pub(super) async fn cancel(context: &Context, args: &CancelArgs) -> CliResult {
    let reason = reason(&args.reason)?;
    let run = find(&context.view()?, RunArg::Id(args.run), context.output)?;
    let door = match Door::attach(context).await? {
        // Copies that nobody makes now would be gone on with by the next start.
        None if run.is_uploading() => Some(Door::open(context, Purpose::Brief("cancel"), context.lock_wait).await?),
        door => door,
    };
    let Some(door) = door else {
        if let Some(holder) = holder(context) {
            let message = format!("`{}` (process {}) has the home, and lets nobody in", holder.what, holder.pid);
            return Err(CliError::new(Exit::Busy, "HOME_IN_USE", message, "Wait for it, or end it by Ctrl-C."));
        }
        let (message, next) = match run.is_open() {
            true => ("nobody works on it", "`holdfast resume` goes on with it; Ctrl-C then cancels it."),
            false => ("it has ended", "`holdfast runs` shows how runs stand."),
        };
        let message = format!("run {} cannot be cancelled: {message}", args.run);
        return Err(CliError::new(Exit::Busy, "BACKUP_RUN_NOT_ACTIVE", message, next));
    };
    let cancelled = door.ask(&CancelBackupRun { run_id: args.run, reason }).await;
    door.close().await;
    let run = cancelled?;
    context.output.value(&run)?;
    context
        .output
        .line(format!("run {} is being cancelled: `holdfast show {}` says how it ended", args.run, args.run))?;
    Ok(Exit::Good)
}
