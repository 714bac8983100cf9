//! `restores`, and `restore show`, `restore retry`, `restore cancel`.

use holdfast_model::ids::{RestoreId, StreamId};
use holdfast_model::restore::{Restore, RestoreStatus, RestoreView, Safety};

use super::args::{AboutRestore, RestoresArgs};
use super::door::{Door, Purpose};
use super::exit::{CliError, CliResult, Exit};
use super::lock::reason;
use super::output::{printable, size, table, time};
use super::{Context, errors, in_place};
use crate::api::commands::{CancelRestoreRun, RetryRestoreRun};

pub(super) fn list(context: &Context, args: &RestoresArgs) -> CliResult {
    let out = context.output;
    let mut rows = Vec::new();
    if let Some(view) = context.view_if_there()? {
        for entry in view.history().restores_newest_first().take(args.limit as usize) {
            let restore = view.fold::<Restore>(&StreamId::restore(entry.restore_id)).map_err(errors::view)?;
            rows.extend(restore.view(view.owned()));
        }
    }
    if out.json {
        out.value(&serde_json::json!({ "rows": rows }))?;
    } else if rows.is_empty() {
        out.line("no restores yet: `holdfast restore RUN --target DIR` makes one")?;
    } else {
        let cells: Vec<_> = rows.iter().map(cells).collect();
        out.result(table(&["RESTORE", "STATUS", "STARTED", "RUN", "SIZE", "INTO"], &cells))?;
    }
    Ok(Exit::Good)
}

fn cells(row: &RestoreView) -> Vec<String> {
    vec![
        row.restore_id.clone(),
        row.status.as_str().to_owned(),
        time(row.started_at),
        row.source_run_id.clone(),
        if row.bytes == 0 { "-".to_owned() } else { size(row.bytes) },
        printable(row.target.as_bytes()),
    ]
}

pub(super) async fn about(context: &Context, about: &AboutRestore) -> CliResult {
    match about {
        AboutRestore::Show { restore_id } => show(context, *restore_id),
        AboutRestore::Retry { restore_id } => {
            let door = Door::open(context, Purpose::Restore, context.lock_wait).await?;
            let ended = match door.ask(&RetryRestoreRun { restore_id: *restore_id }).await {
                Ok(begun) => in_place::ended(context, &door, begun).await,
                Err(error) => Err(error),
            };
            door.close().await;
            let ended = ended?;
            // What was asked for is that all is as before.
            if ended.status != RestoreStatus::RolledBack {
                return in_place::told(context, &ended);
            }
            context.output.value(&ended)?;
            context.output.line(format!("restore {restore_id} is rolled back: all is as before it"))?;
            Ok(Exit::Good)
        }
        AboutRestore::Cancel { restore_id, reason: why } => {
            let wish = CancelRestoreRun { restore_id: *restore_id, reason: reason(why)? };
            let restore = attach(context).await?.ask(&wish).await?;
            context.output.value(&restore)?;
            context.output.line(format!("restore {restore_id} is being cancelled: what it touched is put back"))?;
            Ok(Exit::Good)
        }
    }
}

async fn attach(context: &Context) -> Result<Door, CliError> {
    Door::attach(context).await?.ok_or_else(|| {
        let text = "nobody is at work in this home, or whoever is does not listen";
        CliError::new(Exit::Busy, "RESTORE_RUN_NOT_ACTIVE", text, "`holdfast restores` shows how restores stand.")
    })
}

fn show(context: &Context, restore_id: RestoreId) -> CliResult {
    let out = context.output;
    let view = context.view()?;
    let restore = view.fold::<Restore>(&StreamId::restore(restore_id)).map_err(errors::view)?;
    let Some(row) = restore.view(view.owned()) else {
        let text = format!("there is no restore {restore_id}");
        return Err(CliError::new(
            Exit::NoSuchRun,
            "RESTORE_RUN_NOT_FOUND",
            text,
            "`holdfast restores` lists all of them.",
        ));
    };
    out.value(&row)?;
    out.line(format!("restore {} of run {}: {}", row.restore_id, row.source_run_id, row.status.as_str()))?;
    out.line(format!("  into     {}", printable(row.target.as_bytes())))?;
    out.line(format!("  started  {}", time(row.started_at)))?;
    if row.finished_at != 0 {
        out.line(format!("  ended    {}", time(row.finished_at)))?;
    } else {
        out.line(format!("  phase    {}", row.phase))?;
    }
    if row.safety_removed_at != 0 {
        out.line(format!("  before   what was before it was kept, and removed on {}", time(row.safety_removed_at)))?;
    }
    if !row.error_summary.is_empty() {
        out.line(format!("  reason   {}", printable(row.error_summary.as_bytes())))?;
    }
    for one in &row.participants {
        let notes = one.participant.notes.first.join("; ");
        let notes = if notes.is_empty() { notes } else { format!(", {notes}") };
        out.line(format!("  {}  {}{notes}", one.participant.status, one.participant.name))?;
    }
    kept(context, &row)?;
    Ok(Exit::Good)
}

/// Says where the state before is kept.
pub(super) fn kept(context: &Context, row: &RestoreView) -> Result<(), CliError> {
    if row.pre_restore_path.is_empty() {
        if row.status == RestoreStatus::Completed && row.safety == Safety::BestEffort.as_str() {
            let why = printable(row.safety_error.as_bytes());
            context.output.alert(format!("nothing is kept of the state before: {why}"));
        }
        return Ok(());
    }
    let path = context.home.join(&row.pre_restore_path);
    context.output.line(format!("the state before is kept in {}", path.display()))
}
