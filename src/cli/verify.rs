//! `verify`: every size and stored hash again from disk.

use holdfast_model::failure::Warnings;
use holdfast_model::ids::RunId;
use holdfast_model::run::{Retained, Run, RunVerifiedV1};

use super::args::{RunArg, VerifyArgs};
use super::exit::{CliError, CliResult, Exit};
use super::output::{counted, printable, size};
use super::{Context, errors, runs};
use crate::engine::{EngineError, HomeView};
use crate::restore::RunSource;
use crate::storage::{Storage, StorageError};

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
        match check(context, &view, run, run_id) {
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
    let damaged = results.iter().filter(|(_, report)| !report.errors.is_empty()).count();
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
    let kept = view.history().newest_first().filter(|entry| entry.outcome.is_some() && !entry.deleted);
    let all = kept.map(|entry| view.run(entry.run_id)).collect::<Result<Vec<_>, _>>().map_err(errors::view)?;
    Ok(all.into_iter().filter(|run| run.target().is_some()).collect())
}

/// What was found of one run.
struct Checked {
    files: u64,
    bytes: u64,
    errors: Vec<(String, String)>,
    /// Files beside those of the run: named, and no fault of it.
    extra: Vec<String>,
}

/// Takes sizes and hashes of a run again; `None` where it was deleted meanwhile.
fn check(context: &Context, view: &HomeView, run: &Run, run_id: RunId) -> Result<Option<Checked>, CliError> {
    let lease = match Storage::at(view.home().backups()).lease(run_id) {
        Ok(lease) => lease,
        Err(error @ StorageError::RunDirectoryMissing { .. }) => {
            let now = context.view()?.run(run_id).map_err(errors::view)?;
            let errors = vec![(run.path(), error.to_string())];
            let missing = Checked { files: 0, bytes: 0, errors, extra: Vec::new() };
            return Ok((now.retained() == Retained::Kept).then_some(missing));
        }
        Err(error) => {
            let exit = if error.retryable() { Exit::Busy } else { Exit::Failed };
            return Err(CliError::new(exit, error.code(), error, ""));
        }
    };
    let report = lease.verify(run.sums_sha256(), &mut |_| {});
    let mut checked = Checked {
        files: report.files.len() as u64,
        bytes: report.files.iter().map(|file| file.size_bytes).sum(),
        errors: report.faults().map(|(file, error)| (file.name.clone(), error.to_string())).collect(),
        extra: report.extra,
    };
    // Where manifest and list are gone the log still knows the artifacts.
    let unlisted: Vec<_> = run
        .good_artifacts()
        .filter(|artifact| !report.files.iter().any(|file| file.name == artifact.stored.file.as_str()))
        .collect();
    if !unlisted.is_empty() {
        let source = RunSource::open(view.home(), run, None, true).map_err(errors::restore);
        for artifact in unlisted {
            let read = source.as_ref().map_err(ToString::to_string).and_then(|source| {
                let reader = source.reader(artifact).map_err(|error| error.to_string())?;
                reader.check_stored(&mut |_| {}).map_err(|error| error.to_string())
            });
            checked.files += 1;
            checked.bytes += artifact.stored.size_bytes;
            checked.errors.extend(read.err().map(|error| (artifact.stored.file.to_string(), error)));
        }
    }
    Ok(Some(checked))
}

fn show(context: &Context, run_id: RunId, report: &Checked) -> Result<(), CliError> {
    let ok = report.errors.is_empty();
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

/// Records what was found, where the home can be had: a verification must not wait for a long backup.
async fn record(context: &Context, results: &[(RunId, Checked)]) {
    if let Err(error) = try_record(context, results).await {
        context.output.note(format!("note: this verification is not recorded in the event log: {error}"));
    }
}

async fn try_record(context: &Context, results: &[(RunId, Checked)]) -> Result<(), EngineError> {
    let engine = context.engine("verify", context.lock_wait.min(std::time::Duration::from_secs(2))).await?;
    let mut result = Ok(());
    for (run_id, report) in results {
        let mut errors = Warnings::default();
        report.errors.iter().for_each(|(file, error)| errors.add(&format!("{file}: {error}")));
        let verified = RunVerifiedV1 { ok: report.errors.is_empty(), files: report.files, bytes: report.bytes, errors };
        result = result.and(engine.record_verified(*run_id, verified).await);
    }
    engine.stop().await;
    result
}
