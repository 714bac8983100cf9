//! `lock` and `unlock`.

use std::sync::Arc;

use holdfast_model::run::Run;

use super::args::{LockArgs, RunArg, UnlockArgs};
use super::exit::{CliError, CliResult, Exit};
use super::output::printable;
use super::runs::find;
use super::{Context, errors};

pub(super) async fn lock(context: &Context, args: &LockArgs) -> CliResult {
    // An id that means nothing is told apart before the home is taken.
    find(&context.view()?, RunArg::Id(args.run), context.output)?;
    let engine = context.engine("lock", context.lock_wait).await.map_err(errors::engine)?;
    let result = engine.lock(args.run, &args.reason).await;
    engine.stop().await;
    let run = result.map_err(errors::engine)?;
    show(context, &run)?;
    let reason =
        if args.reason.is_empty() { String::new() } else { format!(" ({})", printable(args.reason.as_bytes())) };
    context.output.line(format!("run {} is locked{reason}: it is not deleted until it is unlocked", args.run))?;
    Ok(Exit::Good)
}

pub(super) async fn unlock(context: &Context, args: &UnlockArgs) -> CliResult {
    find(&context.view()?, RunArg::Id(args.run), context.output)?;
    let engine = context.engine("unlock", context.lock_wait).await.map_err(errors::engine)?;
    let result = engine.unlock(args.run).await;
    engine.stop().await;
    let run = result.map_err(errors::engine)?;
    show(context, &run)?;
    context.output.line(format!("run {} is not locked: it may be deleted", args.run))?;
    Ok(Exit::Good)
}

/// The run as it stands now. An engine started for this goes on with no run, so an open one is shown as interrupted.
fn show(context: &Context, run: &Arc<Run>) -> Result<(), CliError> {
    match run.view(false) {
        Some(view) => context.output.value(&view),
        None => Ok(()),
    }
}
