//! `verify`: every size and stored hash again from disk.

use std::time::Duration;

use holdfast_model::ids::{EndpointName, RunId};
use holdfast_model::run::{Retained, Run};

use super::args::{KeyArgs, RunArg, VerifyArgs};
use super::browse::Unheard;
use super::door::{Door, Purpose};
use super::exit::{CliError, CliResult, Exit};
use super::output::{counted, printable, size};
use super::{Context, errors, key, runs};
use crate::api::commands::RecordValidation;
use crate::engine::{HomeView, VerifyReport, verify_run};
use crate::restore::{Key, RunSource, copy};
use crate::storage::StorageError;

/// How long a home in use is waited for to record what was found.
const RECORD_WAIT: Duration = Duration::from_secs(2);

pub(super) async fn verify(context: &Context, args: &VerifyArgs) -> CliResult {
    let out = context.output;
    let view = context.view()?;
    let chosen = chosen(&view, args, context)?;
    if chosen.is_empty() {
        out.value(&serde_json::json!({ "ok": true, "rows": [] }))?;
        out.line("nothing to verify: no run has a directory")?;
        return Ok(Exit::Good);
    }
    let mut results = Vec::new();
    let mut unchecked = None;
    for run in &chosen {
        let Some(run_id) = run.id() else { continue };
        match check(context, (&view, &args.key), run, run_id) {
            Ok(Some(checked)) => {
                show(context, run_id, &checked)?;
                results.push((run_id, checked));
            }
            Ok(None) => context.output.note(format!("run {run_id} has been deleted meanwhile")),
            // The others are looked at all the same.
            Err(error) => {
                context.output.note(format!("run {run_id} could not be verified: {error}"));
                unchecked = unchecked.or(Some(error));
            }
        }
    }
    drop(view);
    record(context, &results).await;
    let damaged = results.iter().filter(|(_, report)| !report.is_good()).count();
    if damaged == 0 {
        return unchecked.map_or(Ok(Exit::Good), Err);
    }
    let damaged = format!("{} of {} damaged", damaged, counted(results.len() as u64, "run"));
    let next = "Restore from another run (`holdfast runs`), and back up again now.";
    Err(CliError::new(Exit::Damaged, "BACKUP_VALIDATION_FAILED", damaged, next))
}

fn chosen(view: &HomeView, args: &VerifyArgs, context: &Context) -> Result<Vec<Run>, CliError> {
    let run = args.run.unwrap_or(RunArg::Latest);
    if !args.all {
        let run = runs::find(view, run, context.output)?;
        if let Some(elsewhere) = run.elsewhere_at(view.places()).filter(|_| run.retained() != Retained::Kept) {
            let read =
                |at: &EndpointName| format!("`holdfast remote verify {at} {}` reads it there.", elsewhere.run_id);
            let next = elsewhere.first().map(read).unwrap_or_default();
            return Err(CliError::new(Exit::NoSuchRun, "BACKUP_RUN_NOT_FOUND", elsewhere.to_string(), next));
        }
        if run.is_open() || run.target().is_none() || run.retained() != Retained::Kept {
            let (exit, message) = match run.is_open() {
                true => (Exit::Failed, "the run has not ended: there is nothing final to verify"),
                false => (Exit::NoSuchRun, "the run has no directory"),
            };
            let next = "`holdfast runs` shows how runs stand; `holdfast resume` goes on with an interrupted one.";
            return Err(CliError::new(exit, "BACKUP_RUN_NOT_ENDED", message, next));
        }
        return Ok(vec![run]);
    }
    let kept =
        view.history().newest_first().filter(|entry| entry.outcome.is_some() && !entry.deleted && !entry.kept_remotely);
    let all = kept.map(|entry| view.run(entry.run_id)).collect::<Result<Vec<_>, _>>().map_err(errors::view)?;
    Ok(all.into_iter().filter(|run| run.target().is_some()).collect())
}

/// Takes sizes and hashes of a run again; `None` where it was deleted meanwhile.
fn check(
    context: &Context,
    (view, key): (&HomeView, &KeyArgs),
    run: &Run,
    run_id: RunId,
) -> Result<Option<VerifyReport>, CliError> {
    match verify_run(view.home(), run, run_id) {
        Ok(mut report) => {
            if report.is_good() && run.encryption().is_on() {
                content(context, (view, key), run, &mut report)?;
            }
            Ok(Some(report))
        }
        Err(error @ StorageError::RunDirectoryMissing { .. }) => {
            let now = context.view()?.run(run_id).map_err(errors::view)?;
            Ok((now.retained() == Retained::Kept).then(|| VerifyReport::missing(run, &error)))
        }
        Err(error) => {
            let exit = if error.retryable() { Exit::Busy } else { Exit::Failed };
            Err(CliError::new(exit, error.code(), error, ""))
        }
    }
}

/// Reads the content of an encrypted run, where its key is at hand; else says that it was not looked at.
fn content(
    context: &Context,
    (view, key): (&HomeView, &KeyArgs),
    run: &Run,
    report: &mut VerifyReport,
) -> Result<(), CliError> {
    let unread = |why: &str| {
        let run_id = run.id().map(|id| id.to_string()).unwrap_or_default();
        let checked = "the stored bytes are checked, the content was not looked at";
        context.output.note(format!("note: run {run_id}: {why}: {checked}"));
        Ok(())
    };
    let ring = match key::ring(context, key) {
        Ok(ring) if ring.is_empty() => return unread("it is encrypted and no key is given"),
        Ok(ring) => ring,
        Err(error) if !key.is_given() => return unread(&format!("the configured key cannot be used ({error})")),
        Err(error) => return Err(key::refused(&error)),
    };
    let source = match RunSource::open(view.home(), run, None, true, &Key::Ring(ring)) {
        // After a change of keys the configured one opens newer runs alone.
        Err(error) if error.is_about_keys() && !key.is_given() => return unread("the configured key does not open it"),
        source => source.map_err(errors::restore)?,
    };
    for artifact in source.artifacts() {
        let read = source.frames(artifact).and_then(|_| {
            let reader = source.reader(artifact)?;
            copy(&reader, &mut std::io::sink(), &Unheard, &mut 0)
        });
        report.errors.extend(read.err().map(|error| (artifact.stored.file.to_string(), error.to_string())));
    }
    Ok(())
}

fn show(context: &Context, run_id: RunId, report: &VerifyReport) -> Result<(), CliError> {
    let ok = report.is_good();
    let errors: Vec<_> =
        report.errors.iter().map(|(file, error)| serde_json::json!({ "file": file, "error": error })).collect();
    context.output.value(&serde_json::json!({
        "run_id": run_id, "ok": ok, "files": report.files, "bytes": report.bytes, "errors": errors,
        "extra": report.extra,
    }))?;
    for name in &report.extra {
        context.output.note(format!("note: {} in its directory is not of run {run_id}", printable(name.as_bytes())));
    }
    if ok {
        let files = counted(report.files, "file");
        return context.output.line(format!("run {run_id}: {files}, {}, all as recorded", size(report.bytes)));
    }
    context.output.result(format!("run {run_id}: DAMAGED"))?;
    report.errors.iter().try_for_each(|(file, error)| {
        context.output.result(format!("  {}: {}", printable(file.as_bytes()), printable(error.as_bytes())))
    })
}

/// Records what was found, where the home can be had: a verification must not wait for a long backup that lets nobody in.
async fn record(context: &Context, results: &[(RunId, VerifyReport)]) {
    if let Err(error) = try_record(context, results).await {
        let why = error.message;
        context.output.note(format!("note: this verification is not recorded in the event log: {why}"));
    }
}

async fn try_record(context: &Context, results: &[(RunId, VerifyReport)]) -> Result<(), CliError> {
    let wait = context.lock_wait.min(RECORD_WAIT);
    let door = Door::open(context, Purpose::Brief("verify"), wait).await?;
    let mut result = Ok(());
    for (run_id, report) in results {
        let recorded = door.ask(&RecordValidation::of(*run_id, report.recorded())).await;
        result = result.and(recorded.map(drop));
    }
    door.close().await;
    result
}
