//! `stop`.

use std::time::{Duration, Instant};

use super::Context;
use super::args::StopArgs;
use super::door::{Door, holder};
use super::exit::{CliError, CliResult, Exit};
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
    context.output.value(&serde_json::json!({ "ok": true }))?;
    context.output.line("the server has stopped")?;
    Ok(Exit::Good)
}
