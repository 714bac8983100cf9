//! `stop`.

use std::time::{Duration, Instant};

use holdfast_model::ids::Position;
use holdfast_model::run::{RunStatus, RunView, Trigger};

use super::args::StopArgs;
use super::door::{Door, holder};
use super::exit::{CliError, CliResult, Exit};
use super::output::printable;
use super::{Context, errors};
use crate::api::ErrorCode;
use crate::api::commands::StopBackupServer;

/// How often it is looked whether the home is free.
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn stop(context: &Context, args: &StopArgs) -> CliResult {
    let Some(door) = Door::attach(context).await? else {
        let message = match holder(context) {
            Some(holder) => format!("`{}` (process {}) has the home, and lets nobody in", holder.what, holder.pid),
            None => "no server has the home".to_owned(),
        };
        return Err(CliError::new(
            Exit::Failed,
            ErrorCode::NotAServer.as_str(),
            message,
            "`holdfast serve` starts one.",
        ));
    };
    let server = holder(context);
    let before = context.view_if_there()?.map_or(Position::START, |view| view.log().head());
    door.ask(&StopBackupServer { grace_s: args.grace }).await?;
    context.output.note("the server stops");
    // It may back up once more before; how long that takes is its configuration's.
    let until =
        Instant::now() + args.grace.map_or(context.config.server.grace, Duration::from_secs) + context.lock_wait;
    let over = door.client().closed();
    let _ = tokio::time::timeout(until.saturating_duration_since(Instant::now()), over).await;
    while holder(context).is_some_and(|now| server.as_ref().is_none_or(|server| server.pid == now.pid)) {
        if Instant::now() >= until {
            let next = "It ends by itself; `holdfast status` shows whether it has.";
            return Err(CliError::new(
                Exit::Busy,
                "SERVER_STOPS",
                "the server was told to stop, and has not ended",
                next,
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
    let last = last_backup(context, before)?;
    let good = last.as_ref().is_none_or(|run| run.status == RunStatus::Completed);
    context.output.value(&serde_json::json!({ "ok": true, "last_backup": last }))?;
    match &last {
        None => context.output.line("the server has stopped")?,
        Some(run) if good => context.output.line(format!("the server has stopped, after run {}", run.run_id))?,
        Some(run) => {
            let (status, why) = (run.status.as_str(), printable(run.error_summary.as_bytes()));
            context
                .output
                .alert(format!("the server has stopped; run {}, which it made before, is {status}: {why}", run.run_id));
        }
    }
    Ok(if good { Exit::Good } else { Exit::Warnings })
}

/// The run that the server made before it stopped, where it is configured to.
fn last_backup(context: &Context, after: Position) -> Result<Option<RunView>, CliError> {
    let Some(view) = context.view_if_there()? else { return Ok(None) };
    let newest = view.history().newest_first().take_while(|entry| entry.requested > after);
    let last = newest.into_iter().find(|entry| entry.trigger == Trigger::Shutdown).map(|entry| entry.run_id);
    let run = last.map(|run_id| view.run(run_id)).transpose().map_err(errors::view)?;
    Ok(run.and_then(|run| run.view(false)))
}
