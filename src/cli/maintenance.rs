//! `maintenance`.

use holdfast_model::ids::StreamId;
use holdfast_model::maintenance::Maintenance;

use super::args::MaintenanceCommand;
use super::door::{Door, Purpose};
use super::exit::{CliResult, Exit};
use super::lock::reason;
use super::output::{printable, time};
use super::{Context, errors};
use crate::api::commands::SetMaintenance;

pub(super) async fn run(context: &Context, command: &MaintenanceCommand) -> CliResult {
    let (enabled, why) = match command {
        MaintenanceCommand::On { reason } => (true, reason),
        MaintenanceCommand::Off { reason } => (false, reason),
        MaintenanceCommand::Status => return status(context),
    };
    let set = SetMaintenance { enabled, reason: reason(why)? };
    let door = Door::open(context, Purpose::Brief("maintenance"), context.lock_wait).await?;
    let result = door.ask(&set).await;
    door.close().await;
    context.output.value(&result?)?;
    context.output.line(if enabled { "maintenance is on" } else { "maintenance is off" })?;
    Ok(Exit::Good)
}

fn status(context: &Context) -> CliResult {
    let out = context.output;
    let now = match context.view_if_there()? {
        Some(view) => view.fold::<Maintenance>(&StreamId::maintenance()).map_err(errors::view)?,
        None => Maintenance::default(),
    };
    let since = now.since.map_or(0, |since| since.seconds());
    out.value(&serde_json::json!({ "enabled": now.enabled, "reason": now.reason, "since": since, "by": now.by }))?;
    let why = if now.reason.is_empty() { String::new() } else { format!(": {}", printable(now.reason.as_bytes())) };
    out.result(match now.enabled {
        true => format!("maintenance is on since {}, by {}{why}", time(since), printable(now.by.as_bytes())),
        false => "maintenance is off".to_owned(),
    })?;
    Ok(Exit::Good)
}
