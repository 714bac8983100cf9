//! `restore --in-place`: a participant's artifact into its `restore` command.
//!
//! The home is owned meanwhile: no backup takes what is half restored, and how the restore ends is recorded. A claim tells the next
//! owner of the home which process to end where this one is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use holdfast_log::owner::OwnerError;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ParticipantName, RestoreId, RunId, StreamId};
use holdfast_model::maintenance::Maintenance;
use holdfast_model::restore::{Restore, RestoreCompletedV1, RestoreStatus, RestoreView, Safety};
use tokio::time::timeout;

use super::args::{RestoreArgs, RunArg};
use super::door::{Door, holder, is_server};
use super::exit::{CliError, CliResult, Exit};
use super::in_the_way::InTheWay;
use super::interrupts::Interrupts;
use super::output::{seconds, size};
use super::runs::said;
use super::watcher::{Watcher, cancel_on_signal};
use super::{Context, browse, errors};
use crate::api::ErrorCode;
use crate::api::commands::{GetRestoreRun, StartRestoreRun};
use crate::api::text::Reason;
use crate::client::ClientError;
use crate::command::{Finished, Launcher};
use crate::engine::{Asked, EngineError, Holdfast, InPlaceRecord, InPlaceWork, in_place_failure};
use crate::restore::{InPlace, RestoreError};

pub(super) async fn restore(context: &Context, args: &RestoreArgs, run: RunArg) -> CliResult {
    if args.dry_run || args.safety.is_some_and(|safety| safety == Safety::Required) {
        let text = "a command's restore has no dry run, and nothing is kept of the state before it";
        return Err(CliError::new(Exit::Usage, "RESTORE_NOT_SUPPORTED", text, "Leave out --dry-run and --safety."));
    }
    let source = browse::open(context, run, args.participant.as_deref(), args.accept_incomplete)?;
    let run_id = source.run_id();
    let participant = browse::participant(args.participant.as_deref())?
        .ok_or_else(|| CliError::new(Exit::Usage, "USAGE", "no participant is named", "Give --participant NAME."))?;
    let config = context.config.clone();
    let plan = InPlace::plan(&source, &participant, &config).map_err(|error| unplanned(error, run_id, &participant))?;
    let (artifact, bytes) = (plan.artifact().logical_name.clone(), plan.artifact().content_bytes);
    // A server restores it itself. One that ends with its work is waited for.
    if holder(context).is_some_and(|holder| is_server(&holder))
        && let Some(door) = Door::attach(context).await?
    {
        drop(source);
        let restored = by_the_server(context, &door, args, run_id, &participant).await?;
        return told(context, &restored, run_id, &participant, artifact.as_str(), bytes);
    }
    if !args.force && !is_maintenance(context)? {
        return Err(guarded());
    }
    let asked = Asked { force: args.force, safety: Safety::None };
    let record = Record::begin(context, run_id, &participant, asked).await?;
    // Without a record it has an id all the same, for whoever reads the summary.
    let restore_id = record.as_ref().map_or_else(|| RestoreId(uuid::Uuid::now_v7()), |one| one.record.restore_id());

    let began = Instant::now();
    let watcher = Arc::new(Watcher::default());
    let cancel = tokio::spawn(cancel_on_signal(watcher.clone()));
    watcher.expect(1, bytes, context.output.has_terminal());
    let begun = Arc::new(AtomicBool::new(false));
    let (watching, beginning) = (watcher.clone(), begun.clone());
    let claim = record.as_ref().map(|one| one.record.claim().clone());
    let (name, config, launcher) = (participant.clone(), Arc::new(config), Launcher::this_program());
    let work = InPlaceWork { source, participant: name, config, launcher, claim };
    let work = tokio::task::spawn_blocking(move || {
        work.run(&*watching, || {
            watching.again();
            beginning.store(true, Ordering::Release);
        })
    });
    let result = work.await.map_err(|panic| CliError::failed("RESTORE_PANICKED", panic));
    cancel.abort();
    watcher.finish();
    if let Some(record) = record {
        let end = match &result {
            Ok(Ok(_)) => Ok(RestoreCompletedV1 { files: 0, bytes, warnings: 0 }),
            Ok(Err(error)) => Err(in_place_failure(error, begun.load(Ordering::Acquire))),
            Err(panic) => Err(Failure::new(FailureKind::Fatal, &panic.code, &panic.message)),
        };
        record.end(context, end).await;
    }
    let finished = result?.map_err(|error| failed(error, begun.load(Ordering::Acquire)))?;
    let took = began.elapsed().as_secs_f64();
    context.output.value(&serde_json::json!({
        "message_type": "summary", "restore_id": restore_id, "source_run_id": run_id, "status": "completed",
        "participant": participant, "artifact": artifact, "bytes": bytes, "output": said_text(&finished),
        "seconds": took, "exit_code": Exit::Good as u8,
    }))?;
    // With JSON it stands in the value.
    said(&said_text(&finished), "  ").filter(|_| !context.output.json).for_each(|line| context.output.note(line));
    context.output.line(format!(
        "restored {artifact} ({}) of run {run_id} into participant {participant} in {}, every byte verified",
        size(bytes),
        seconds(took),
    ))?;
    Ok(Exit::Good)
}

/// Whether there is maintenance, as far as can be read.
fn is_maintenance(context: &Context) -> Result<bool, CliError> {
    let maintenance = context.view()?.fold::<Maintenance>(&StreamId::maintenance()).map_err(errors::view)?;
    Ok(maintenance.enabled)
}

fn guarded() -> CliError {
    let next = "`holdfast maintenance on` says that nobody works with the data; --force restores without.";
    let message = "a restore in place replaces live data, and there is no maintenance";
    CliError::new(Exit::Failed, ErrorCode::MaintenanceRequired.as_str(), message, next)
}

/// Has the server restore it, once nothing else is at work there.
async fn by_the_server(
    context: &Context,
    door: &Door,
    args: &RestoreArgs,
    run_id: RunId,
    participant: &ParticipantName,
) -> Result<RestoreView, CliError> {
    let request = StartRestoreRun {
        run_id,
        participants: vec![participant.clone()],
        dry_run: false,
        force: args.force,
        safety: Safety::None,
        accept_incomplete: args.accept_incomplete,
        wait: false,
        reason: Reason::default(),
        target: None,
        overwrite: None,
    };
    let until = Instant::now() + context.lock_wait;
    let mut interrupts = Interrupts::new()?;
    let mut restored = loop {
        let error = match door.client().ask(&request).await {
            Ok(restored) => break restored,
            Err(ClientError::Refused(error)) if error.code == ErrorCode::MaintenanceRequired => return Err(guarded()),
            Err(error) => error,
        };
        let left = until.saturating_duration_since(Instant::now());
        let Some(other) = InTheWay::of(&error).filter(|_| !left.is_zero()) else { return Err(errors::client(error)) };
        tokio::select! {
            ended = timeout(left, other.ended(door)) => ended.unwrap_or(Ok(())).map_err(errors::client)?,
            () = interrupts.next() => return Err(CliError::new(Exit::Cancelled, "CANCELLED", "nothing was begun", "")),
        }
    };
    let Ok(restore_id) = restored.restore_id.parse::<RestoreId>() else {
        return Err(CliError::failed("SERVER_UNREADABLE", "the restore has no id"));
    };
    if restored.status == RestoreStatus::Running {
        tokio::select! {
            ended = InTheWay::Restore(restore_id).ended(door) => drop(ended),
            () = interrupts.next() => {
                let next = format!("The server goes on with restore {restore_id}: a command that is half done is not ended.");
                return Err(CliError::new(Exit::Cancelled, "LEFT", "not waited for any more", next));
            }
        }
        restored = match door.ask(&GetRestoreRun { restore_id }).await {
            Ok(restored) => restored,
            // A server that stops waits for it and goes: the log under the home has how it ended.
            Err(error) => ended_meanwhile(context, restore_id).ok_or(error)?,
        };
    }
    Ok(restored)
}

/// A restore that has ended, as the log under the home has it.
fn ended_meanwhile(context: &Context, restore_id: RestoreId) -> Option<RestoreView> {
    let restore = context.view().ok()?.fold::<Restore>(&StreamId::restore(restore_id)).ok()?;
    restore.view(false).filter(|view| view.finished_at != 0)
}

/// Tells how a restore by the server ended.
fn told(
    context: &Context,
    restored: &RestoreView,
    run_id: RunId,
    participant: &ParticipantName,
    artifact: &str,
    bytes: u64,
) -> CliResult {
    if restored.status != RestoreStatus::Completed {
        let next = "What the command did until then stays: what it restored is not complete.";
        return Err(CliError::new(Exit::Failed, "RESTORE_FAILED", &restored.error_summary, next));
    }
    let took = restored.finished_at.saturating_sub(restored.started_at) as f64;
    context.output.value(&serde_json::json!({
        "message_type": "summary", "restore_id": restored.restore_id, "source_run_id": run_id, "status": "completed",
        "participant": participant, "artifact": artifact, "bytes": bytes, "output": "", "seconds": took,
        "exit_code": Exit::Good as u8,
    }))?;
    context.output.line(format!(
        "restored {artifact} ({}) of run {run_id} into participant {participant} in {}, every byte verified",
        size(bytes),
        seconds(took),
    ))?;
    Ok(Exit::Good)
}

fn said_text(finished: &Finished) -> String {
    String::from_utf8_lossy(&finished.said).into_owned()
}

/// The home, owned while a restore in place is under way, and the restore's record in it.
struct Record {
    engine: Holdfast,
    record: InPlaceRecord,
}

impl Record {
    /// Records that the restore begins. A home in use is waited for: whoever has it may be backing up what is to be restored. One
    /// that cannot be written goes without a record, and that is said: whoever restores is in need.
    async fn begin(
        context: &Context,
        run_id: RunId,
        participant: &ParticipantName,
        asked: Asked,
    ) -> Result<Option<Self>, CliError> {
        let unrecorded = |why: String| {
            context.output.note(format!("note: this restore is not recorded in the event log: {why}"));
            Ok(None)
        };
        let engine = match context.engine("restore", context.lock_wait).await {
            Ok(engine) => engine,
            Err(error @ EngineError::Owner(OwnerError::Held { .. })) => return Err(errors::engine(error)),
            Err(error) => return unrecorded(error.to_string()),
        };
        if engine.unended().contains(participant) {
            let left = engine.settled().join("; ");
            engine.stop().await;
            return Err(CliError::new(Exit::Busy, "COMMAND_NOT_ENDED", left, "End it, then restore again."));
        }
        match engine.begin_in_place(run_id, participant, asked).await {
            Ok(record) => Ok(Some(Self { engine, record })),
            Err(error) => {
                engine.stop().await;
                unrecorded(error.to_string())
            }
        }
    }

    /// Records the end. Where that cannot be done the claim stays, and the next owner of the home does it.
    async fn end(self, context: &Context, end: Result<RestoreCompletedV1, Failure>) {
        if let Err(error) = self.record.end(end).await {
            context.output.note(format!(
                "note: the end of this restore is recorded by the next command that owns the home: {error}"
            ));
        }
        self.engine.stop().await;
    }
}

/// Why it cannot be made, and what can be done instead.
fn unplanned(error: RestoreError, run_id: RunId, participant: &ParticipantName) -> CliError {
    match error {
        RestoreError::NoRestoreCommand { .. } => {
            let next = format!(
                "Write what takes it back into its [[participant]], for example\n    \
                 restore = [\"pg_restore\", \"--clean\", \"--dbname\", \"shop\"]\n  \
                 or feed it by hand:\n    \
                 holdfast dump {run_id} --participant {participant} | pg_restore --clean --dbname shop"
            );
            CliError::new(Exit::Usage, error.code(), &error, next)
        }
        error => errors::restore(error),
    }
}

/// What a command has done, it alone can undo.
fn failed(error: RestoreError, begun: bool) -> CliError {
    let mut message = error.to_string();
    if let RestoreError::Command { error, .. } = &error {
        said(error.output(), "\n    ").for_each(|line| message.push_str(&line));
    }
    let cancelled = error.is_cancelled();
    let mut told = errors::restore(error);
    if !begun {
        if cancelled {
            told.message = "cancelled; nothing was restored".into();
        }
        return told;
    }
    told.message = if cancelled { "cancelled; the command was ended".into() } else { message };
    told.next = "What the command did until then stays: what it restored is not complete.".into();
    told
}
