//! `restore`.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_model::ids::{RestoreId, RunId};
use holdfast_model::restore::RestoreCompletedV1;

use super::args::{RestoreArgs, RunArg};
use super::door::{Door, Purpose};
use super::exit::{CliError, CliResult, Exit};
use super::output::{counted, printable, seconds, size};
use super::watcher::{Watcher, cancel_on_signal};
use super::{Context, absolute, browse, errors, in_place, restores};
use crate::api::commands::{BeginRestore, EndRestore, RestoreEnd};
use crate::engine::{RestoreClaim, RestoreOutcome, restore_failure};
use crate::files::RawPath;
use crate::restore::{IntoFolder, Prepared, Request, RestoreError, Restored};

/// How long a restore waits for a home in use before it goes on without a record.
const RECORD_WAIT: Duration = Duration::from_secs(2);

pub(super) async fn restore(context: &Context, args: &RestoreArgs) -> CliResult {
    if let Some(about) = &args.about {
        return restores::about(context, about).await;
    }
    let Some(run) = args.run else {
        return Err(CliError::new(Exit::Usage, "USAGE", "no run is named", "Give a run id, or `latest`."));
    };
    match &args.target {
        Some(target) => into_folder(context, args, run, target).await,
        None => in_place::restore(context, args, run).await,
    }
}

async fn into_folder(context: &Context, args: &RestoreArgs, run: RunArg, target: &Path) -> CliResult {
    let out = context.output;
    if args.participant.len() > 1 {
        let next = "Name one and restore the others into folders of their own, or leave it out for all.";
        return Err(CliError::new(Exit::Usage, "USAGE", "one --participant goes into a folder at a time", next));
    }
    let participant = args.participant.first().map(String::as_str);
    let source = browse::open(context, run, participant, args.accept_incomplete, &args.key)?;
    let source = if participant.is_none() { source.without_own_state() } else { source };
    let run_id = source.run_id();
    let request = Request {
        restore_id: RestoreId(uuid::Uuid::now_v7()),
        target: absolute(target)?,
        paths: args.path.iter().map(|path| RawPath::from(path.as_path())).collect(),
        overwrite: args.overwrite,
    };
    let restore_id = request.restore_id;
    let watcher = Arc::new(Watcher::default());
    let cancel = tokio::spawn(cancel_on_signal(watcher.clone()));

    let began = Instant::now();
    let preparing = watcher.clone();
    let recorded = request.clone();
    let target = request.target.as_os_str().as_bytes().to_vec();
    // The source lives on the thread that reads it; what is recorded in between is sent to and fro.
    let (to_worker, go) = std::sync::mpsc::channel::<Option<Arc<RestoreClaim>>>();
    let (prepared, is_prepared) = tokio::sync::oneshot::channel();
    let work = tokio::task::spawn_blocking(move || -> Result<Restored, RestoreError> {
        let ready = IntoFolder::prepare(&source, request, &*preparing)?;
        let _ = prepared.send(Facts::of(&ready));
        // Whoever does not answer has given up.
        let Ok(claim) = go.recv() else { return Err(crate::files::FilesError::Cancelled.into()) };
        ready.run(&*preparing, &mut |restored| {
            note(claim.as_deref(), &RestoreOutcome::Ready { completed: facts_of(restored), target: target.clone() });
        })
    });
    let mut claim = None;
    let mut in_place = false;
    if let Ok(facts) = is_prepared.await {
        in_place = facts.staging.is_empty();
        claim = begin(context, run_id, &recorded, &facts).await.map(Arc::new);
        watcher.expect(facts.files, facts.bytes, out.has_terminal());
        let _ = to_worker.send(claim.clone());
    }
    let result = work.await.map_err(|panic| CliError::failed("RESTORE_PANICKED", panic))?;
    cancel.abort();
    watcher.finish();
    if let Some(claim) = claim {
        let (outcome, end) = match &result {
            Ok(restored) => {
                let RestoreCompletedV1 { files, bytes, warnings } = facts_of(restored);
                let end = RestoreEnd::Completed { files, bytes, warnings };
                (RestoreOutcome::Completed(facts_of(restored)), end)
            }
            Err(error) => {
                let failure = restore_failure(error);
                (RestoreOutcome::Failed(failure.clone()), RestoreEnd::Failed(failure.into()))
            }
        };
        // The next owner of the home records it where this process cannot.
        note(Some(&claim), &outcome);
        if record(context, restore_id, end).await {
            claim.recorded();
        }
    }
    let restored = result.map_err(|error| failed(error, in_place))?;
    summarise(context, run_id, restore_id, &recorded.target, &restored, began.elapsed().as_secs_f64())
}

/// What was found out before anything is written.
struct Facts {
    staging: Vec<u8>,
    files: u64,
    bytes: u64,
}

impl Facts {
    fn of(prepared: &Prepared<'_>) -> Self {
        let staging = prepared.staging().map(|path| path.as_os_str().as_bytes().to_vec()).unwrap_or_default();
        Self { staging, files: prepared.files(), bytes: prepared.bytes() }
    }
}

/// Records that the restore begins. On a home that is in use by one that lets nobody in, or cannot be written, it goes on without a record,
/// and says so: whoever restores is in need.
async fn begin(context: &Context, run_id: RunId, request: &Request, facts: &Facts) -> Option<RestoreClaim> {
    let begun = try_begin(context, run_id, request, facts).await;
    if let Err(why) = &begun {
        context.output.note(format!("note: this restore is not recorded in the event log: {why}"));
    }
    begun.ok()
}

async fn try_begin(context: &Context, run_id: RunId, request: &Request, facts: &Facts) -> Result<RestoreClaim, String> {
    let wait = RECORD_WAIT.min(context.lock_wait);
    let door = Door::open(context, Purpose::Brief("restore"), wait).await.map_err(|error| error.message)?;
    let home = context.view().map_err(|error| error.message)?.home().clone();
    let recorded = async {
        // Whoever reads of the restore sees by the claim that it is alive.
        let claim = RestoreClaim::take(&home, request.restore_id).map_err(|error| error.to_string())?;
        let begin = BeginRestore {
            restore_id: request.restore_id,
            run_id,
            target: request.target.display().to_string(),
            staging: facts.staging.clone(),
            selections: u32::try_from(request.paths.len()).unwrap_or(u32::MAX),
            overwrite: request.overwrite,
        };
        door.ask(&begin).await.map_err(|error| error.message)?;
        Ok(claim)
    };
    let recorded = recorded.await;
    door.close().await;
    recorded
}

fn facts_of(restored: &Restored) -> RestoreCompletedV1 {
    RestoreCompletedV1 { files: restored.files, bytes: restored.bytes, warnings: restored.warnings }
}

fn note(claim: Option<&RestoreClaim>, outcome: &RestoreOutcome) {
    if let Some(Err(error)) = claim.map(|claim| claim.note(outcome)) {
        tracing::warn!(%error, "how the restore stands cannot be noted");
    }
}

/// Records the restore's end, and says whether that was done.
async fn record(context: &Context, restore_id: RestoreId, end: RestoreEnd) -> bool {
    let recorded = match Door::open(context, Purpose::Brief("restore"), context.lock_wait).await {
        Ok(door) => {
            let recorded = door.ask(&EndRestore { restore_id, end }).await;
            door.close().await;
            recorded.map(drop)
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &recorded {
        let why = &error.message;
        context
            .output
            .note(format!("note: the end of this restore is recorded by the next command that owns the home: {why}"));
    }
    recorded.is_ok()
}

/// What goes straight into a folder with other things in it stays there when it ends early.
fn failed(error: RestoreError, in_place: bool) -> CliError {
    let mut told = errors::restore(error);
    if in_place && matches!(told.exit, Exit::Cancelled | Exit::Damaged) {
        if told.exit == Exit::Cancelled {
            told.message = "cancelled".into();
        }
        told.next = "What was restored until then is in the target; --overwrite replaces it on another try.".into();
    }
    told
}

fn summarise(
    context: &Context,
    run_id: RunId,
    restore_id: RestoreId,
    target: &Path,
    restored: &Restored,
    took: f64,
) -> CliResult {
    let out = context.output;
    let exit = if restored.warnings == 0 { Exit::Good } else { Exit::Warnings };
    out.value(&serde_json::json!({
        "message_type": "summary", "restore_id": restore_id, "source_run_id": run_id, "status": "completed",
        "target": target.display().to_string(), "files": restored.files, "folders": restored.folders,
        "bytes": restored.bytes, "warnings": restored.warnings, "stored_bytes_read": restored.stored_bytes_read,
        "seconds": took, "exit_code": exit as u8,
    }))?;
    for warning in &restored.first_warnings {
        out.note(format!("warning: {}", printable(warning.as_bytes())));
    }
    out.line(format!(
        "restored {} ({}) of run {run_id} to {} in {}, every byte verified",
        counted(restored.files, "file"),
        size(restored.bytes),
        target.display(),
        seconds(took),
    ))?;
    Ok(exit)
}
