//! `status`: who has the home, what is at work, and what somebody has to see to.

use holdfast_model::history::RunEntry;
use holdfast_model::ids::{ParticipantName, RestoreId, RunId, StreamId};
use holdfast_model::maintenance::Maintenance;
use holdfast_model::participant::Participant;
use holdfast_model::progress::Progress;
use holdfast_model::restore::Restore;
use serde_json::json;

use super::door::{Door, holder};
use super::exit::{CliError, CliResult, Exit};
use super::output::{printable, time};
use super::runs::is_away;
use super::{Context, errors, progress};
use crate::api::commands::{GetBackupProgress, Hello};
use crate::engine::HomeView;

pub(super) async fn status(context: &Context) -> CliResult {
    let out = context.output;
    let Some(view) = context.view_if_there()? else {
        out.value(&json!({ "home": context.home, "exists": false }))?;
        out.result(format!("home        {}, not there yet: `holdfast backup PATH` makes it", context.home.display()))?;
        return Ok(Exit::Good);
    };
    let holder = holder(context);
    let door = Door::attach(context).await?;
    let (hello, at_work) = match &door {
        Some(door) => (Some(door.ask(&Hello {}).await?), Some(door.ask(&GetBackupProgress {}).await?)),
        None => (None, None),
    };
    let maintenance = view.fold::<Maintenance>(&StreamId::maintenance()).map_err(errors::view)?;
    let restores = view.history().open_restores();
    let open: Vec<_> = view.history().open().map(|entry| entry.run_id).collect();
    let good = |entry: &RunEntry| view.run(entry.run_id).is_ok_and(|run| run.is_good_at(view.places()));
    let last = view.history().newest_good(good).map(|entry| entry.run_id);
    let last = last.map(|run| view.run(run)).transpose().map_err(errors::view)?;
    let last = last.and_then(|run| run.view_at(view.owned(), view.places()));
    let quarantined: Vec<_> = quarantined(&view);
    let owing = |(name, one): (&ParticipantName, &Participant)| Some((name.to_string(), one.owes_thaw()?));
    let standing: Vec<_> = view.history().participants().iter().filter_map(owing).collect();
    let rollback_failed = half_restored(&view)?;
    let uploading: Vec<_> = view.history().uploading().map(|entry| entry.run_id).collect();
    let damaged: Vec<_> = view.history().damaged().map(|entry| entry.run_id).collect();
    out.value(&json!({
        "home": context.home, "exists": true,
        "owner": holder.as_ref().map(|holder| json!({
            "pid": holder.pid, "what": holder.what, "since": holder.since, "listens": door.is_some(),
            "version": hello.as_ref().map(|hello| &hello.version), "epoch": hello.as_ref().map(|hello| &hello.epoch),
        })),
        "open_runs": open,
        "open_restores": restores,
        "progress": at_work,
        "last_good_run": last,
        "quarantined": quarantined,
        "damaged_runs": damaged,
        "uploading_runs": uploading,
        "maintenance": maintenance.enabled,
        "rollback_failed": rollback_failed.as_ref().map(|(restore, _)| restore),
        "owe_thaw": standing.iter().map(|(name, _)| name).collect::<Vec<_>>(),
    }))?;
    let mut lines = vec![format!("home        {}", context.home.display())];
    lines.push(match &holder {
        Some(holder) => {
            let listens = if door.is_some() { "" } else { ", lets nobody in" };
            let since = time(holder.since);
            format!(
                "owner       `{}` (process {}) since {since}{listens}",
                printable(holder.what.as_bytes()),
                holder.pid
            )
        }
        None => "owner       none".to_owned(),
    });
    lines.push(format!("at work     {}", working(at_work.as_ref(), &open, &restores, view.owned())));
    lines.push(match &last {
        Some(run) => {
            let away = if is_away(run) { "; not here: `holdfast show` says where" } else { "" };
            format!("last good   run {}, ended {}{away}", run.run_id, time(run.finished_at))
        }
        None => "last good   none".to_owned(),
    });
    if !quarantined.is_empty() {
        let names = quarantined.join(", ");
        lines.push(format!("quarantine  {names}: `holdfast participants` says why"));
    }
    if let Some(last) = uploading.last() {
        let more = if uploading.len() > 1 { format!(", and {} more", uploading.len() - 1) } else { String::new() };
        let next = if holder.is_some() { "" } else { ": `holdfast resume` goes on with it" };
        lines.push(format!("copies      run {last}{more}: not at all of its endpoints yet{next}"));
    }
    if let Some(last) = damaged.last() {
        let more = if damaged.len() > 1 { format!(", and {} more", damaged.len() - 1) } else { String::new() };
        lines.push(format!(
            "damaged     run {last}{more}: `holdfast show {last}` says what, `holdfast backup` makes a new one"
        ));
    }
    if let Some((restore, next)) = &rollback_failed {
        lines.push(format!("half restored  restore {restore} could not be rolled back: {next}"));
    }
    for (name, run) in standing.iter().filter(|_| open.is_empty()) {
        lines.push(format!(
            "standing    {name} may stand still: it was told to for run {run} and is not known to have gone on; the next start runs its `thaw`"
        ));
    }
    if maintenance.enabled {
        lines.push(format!("maintenance on since {}", time(maintenance.since.map_or(0, |since| since.seconds()))));
    }
    out.result(lines.join("\n"))?;
    Ok(Exit::Good)
}

fn working(at_work: Option<&Progress>, open: &[RunId], restores: &[RestoreId], owned: bool) -> String {
    match (at_work.filter(|progress| progress.active), open.first()) {
        (Some(progress), _) => progress::line(progress),
        (None, None) if owned && !restores.is_empty() => {
            format!("restore {}", restores.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        (None, None) => match restores.first() {
            None => "nothing".to_owned(),
            Some(restore) => format!(
                "nothing known; restore {restore} has no end: `holdfast resume` settles it where it was interrupted"
            ),
        },
        (None, Some(run)) if owned => format!("run {run}"),
        (None, Some(run)) => format!("nothing; run {run} was interrupted: `holdfast resume` goes on with it"),
    }
}

/// What there is to do about a restore that could not be rolled back.
fn half_restored(view: &HomeView) -> Result<Option<(RestoreId, String)>, CliError> {
    let Some(restore_id) = view.history().half_restored().newest() else { return Ok(None) };
    let restore = view.fold::<Restore>(&StreamId::restore(restore_id)).map_err(errors::view)?;
    let next = match restore.has_safety_snapshot() {
        true => format!("`holdfast restore retry {restore_id}`"),
        false => "restore again, or put it right and say `holdfast maintenance off`".to_owned(),
    };
    Ok(Some((restore_id, next)))
}

fn quarantined(view: &HomeView) -> Vec<String> {
    let participants = view.history().participants().iter();
    participants.filter(|(_, state)| state.is_quarantined()).map(|(name, _)| name.to_string()).collect()
}
