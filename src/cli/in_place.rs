//! `restore --in-place`: participants of a run back into where their data came from, all or none.
//!
//! A server, or an application that has modules, restores them itself; else the home is taken for it, and open runs are left to whoever
//! comes after: what they would back up is what is being replaced.

use std::time::Instant;

use holdfast_model::ids::{ParticipantName, RestoreId, StreamId};
use holdfast_model::restore::{Restore, RestoreStatus, RestoreView};
use holdfast_model::run::{ParticipantStatus, Run};
use serde::Serialize;
use tokio::time::timeout;

use super::args::{Limit, RestoreArgs, RunArg};
use super::door::{Door, Purpose, is_gone};
use super::exit::{CliError, CliResult, Exit};
use super::in_the_way::InTheWay;
use super::interrupts::Interrupts;
use super::output::{counted, printable, seconds, size};
use super::{Context, browse, errors, key, restores, runs};
use crate::api::ErrorCode;
use crate::api::commands::{CancelRestoreRun, GetRestoreRun, StartRestoreRun};
use crate::api::text::Reason;
use crate::client::ClientError;
use crate::encryption::FileKeys;
use crate::own_state;
use crate::participant::Descriptor;
use crate::restore::{Key, RunSource, is_damage};

pub(super) async fn restore(context: &Context, args: &RestoreArgs, run: RunArg) -> CliResult {
    let names = args.participant.iter().map(|name| browse::name(name)).collect::<Result<Vec<_>, _>>()?;
    let only = if let [name] = &*names { Some(name) } else { None };
    let run = runs::find_with(&context.view()?, run, only, context.output)?;
    let (run, file_keys) = file_keys(context, args, run)?;
    let run_id = run.id().ok_or_else(|| CliError::new(Exit::NoSuchRun, "BACKUP_RUN_NOT_FOUND", "no such run", ""))?;
    if has_modules(&run, &names) && Door::attach(context).await?.is_none() {
        let text = "the modules are the application's, and it does not run, or does not serve its home";
        return Err(CliError::new(Exit::Busy, "APPLICATION_NOT_RUNNING", text, "Start it, then restore."));
    }
    if let Some(doubt) = doubts(&run, &names).filter(|_| !context.output.json) {
        context.output.note(format!("note: {doubt}"));
    }
    let request = StartRestoreRun {
        run_id,
        participants: names,
        dry_run: args.dry_run,
        force: args.force,
        safety: args.safety.unwrap_or_default(),
        delete: args.delete,
        timeout_s: args.timeout.map(Limit::seconds),
        accept_incomplete: args.accept_incomplete,
        wait: false,
        reason: Reason::default(),
        target: None,
        overwrite: None,
        file_keys,
    };
    let (door, begun) = begun(context, &request).await?;
    let result = match (begun, args.dry_run) {
        (Err(error), _) => Err(refused(error, &run)),
        (Ok(planned), true) => would_be(context, &planned),
        (Ok(begun), false) => match ended(context, &door, begun).await {
            Ok(ended) => told(context, &ended),
            Err(error) => Err(error),
        },
    };
    door.close().await;
    result
}

/// The keys of the run's files, unwrapped here: the private key itself is handed to nobody. And the run, with what they tell of it.
fn file_keys(context: &Context, args: &RestoreArgs, run: Run) -> Result<(Run, Option<FileKeys>), CliError> {
    let key = key::of(context, &args.key, &run)?;
    match &key {
        Key::Without => Ok((run, None)),
        key => {
            let source = RunSource::open(context.view()?.home(), &run, None, true, key).map_err(errors::restore)?;
            Ok((source.run().clone(), source.keys().cloned()))
        }
    }
}

/// What a program is told of a restore, as the last line.
#[derive(Serialize)]
struct Summary<'a> {
    message_type: &'a str,
    exit_code: u8,
    #[serde(flatten)]
    restore: &'a RestoreView,
}

/// Says what whoever restores should know of these bytes before.
fn doubts(run: &Run, names: &[ParticipantName]) -> Option<&'static str> {
    let good = run.participants().iter().filter(|one| one.status == ParticipantStatus::Completed);
    let (mut all, mut meant) = (0, 0);
    for one in good.filter(|one| !own_state::is_own(run, &one.name)) {
        all += 1;
        meant += usize::from(names.is_empty() || names.contains(&one.name));
    }
    match run.barrier() {
        None if meant > 1 => Some("the run has no barrier: its participants may be of different moments"),
        Some(_) if meant < all => {
            Some("only some of the participants of one moment are restored: the others stay as they are now")
        }
        _ => None,
    }
}

/// Whether any of what is meant belongs to an application.
fn has_modules(run: &Run, names: &[ParticipantName]) -> bool {
    let is_meant = |name: &ParticipantName| names.is_empty() || names.contains(name);
    let good = run.participants().iter().filter(|one| one.status == ParticipantStatus::Completed);
    good.filter(|one| is_meant(&one.name)).any(|one| one.kind == Descriptor::MODULE)
}

/// Asks for it, once nothing else is at work. Whoever goes meanwhile leaves it to the next owner.
async fn begun(
    context: &Context,
    request: &StartRestoreRun,
) -> Result<(Door, Result<RestoreView, ClientError>), CliError> {
    let until = Instant::now() + context.lock_wait;
    let left = || until.saturating_duration_since(Instant::now());
    let mut interrupts = Interrupts::new()?;
    loop {
        let door = Door::open(context, Purpose::Restore, left()).await?;
        let error = match door.client().ask(request).await {
            Ok(begun) => return Ok((door, Ok(begun))),
            Err(error) => error,
        };
        let other = InTheWay::of(&error).filter(|_| !left().is_zero());
        match other {
            Some(other) => {
                context.output.note(format!("{other} is at work: its end is waited for"));
                tokio::select! {
                    ended = timeout(left(), other.ended(&door)) => match ended {
                        Ok(Err(error)) if !is_gone(&error) => return Err(errors::client(error)),
                        _ => {}
                    },
                    () = interrupts.next() => {
                        door.close().await;
                        return Err(CliError::new(Exit::Cancelled, "CANCELLED", "nothing was begun", ""));
                    }
                }
            }
            None if is_gone(&error) && !left().is_zero() => {}
            _ => return Ok((door, Err(error))),
        }
        door.close().await;
    }
}

/// Why it was not begun, and what can be done.
fn refused(error: ClientError, run: &Run) -> CliError {
    let ClientError::Refused(refused) = &error else { return errors::client(error) };
    let cause = refused.detail.as_ref().and_then(|detail| detail["cause"].as_str()).unwrap_or_default();
    let run_id = run.id().map(|id| id.to_string()).unwrap_or_default();
    match refused.code {
        ErrorCode::MaintenanceRequired => {
            let next = "`holdfast maintenance on` says that nobody works with the data; --force restores without.";
            let message = "a restore in place replaces live data, and there is no maintenance";
            CliError::new(Exit::Failed, refused.code.as_str(), message, next)
        }
        ErrorCode::BackupRunNotRestorable if is_damage(cause) => {
            let next = "Nothing was touched. `holdfast verify --all` tells which runs are good; restore one of those.";
            CliError::new(Exit::Damaged, cause, &refused.message, next)
        }
        ErrorCode::BackupRunNotRestorable if !cause.is_empty() => {
            let message = refused.message.replace("`accept_incomplete`", "--accept-incomplete");
            CliError::new(Exit::Failed, cause, message, "Nothing was touched.")
        }
        ErrorCode::RestoreNotSupported => {
            let next = format!(
                "Restore the others by --participant NAME. A command takes its artifact back by `restore` in its [[participant]], for \
                 example\n    restore = [\"pg_restore\", \"--clean\", \"--dbname\", \"shop\"]\n  or is fed by hand:\n    \
                 holdfast dump {run_id} --participant NAME | pg_restore --clean --dbname shop\n  Files also go into a folder: \
                 `holdfast restore {run_id} --target DIR`."
            );
            CliError::new(Exit::Usage, refused.code.as_str(), &refused.message, next)
        }
        _ => errors::client(error),
    }
}

/// Says what would be done.
fn would_be(context: &Context, planned: &RestoreView) -> CliResult {
    context.output.value(&Summary { message_type: "summary", exit_code: Exit::Good as u8, restore: planned })?;
    for one in &planned.participants {
        let bytes = one.participant.artifacts.iter().map(|artifact| artifact.content_bytes).sum();
        context.output.line(format!(
            "{} ({}): {} would be restored",
            one.participant.name,
            one.participant.kind,
            size(bytes)
        ))?;
        for note in &one.participant.notes.first {
            context.output.line(format!("  {}", printable(note.as_bytes())))?;
        }
    }
    context.output.line(format!(
        "run {} is whole: {} were read again; nothing was touched",
        planned.source_run_id,
        size(planned.bytes)
    ))?;
    Ok(Exit::Good)
}

/// Waits for a restore's end, and says how far it is. Ctrl-C asks it to stop, and is then waited for; once more leaves it.
pub(super) async fn ended(context: &Context, door: &Door, begun: RestoreView) -> Result<RestoreView, CliError> {
    let Ok(restore_id) = begun.restore_id.parse::<RestoreId>() else {
        return Err(CliError::failed("SERVER_UNREADABLE", "the restore has no id"));
    };
    let mut interrupts = Interrupts::new()?;
    let mut asked = false;
    let mut phase = String::new();
    let mut tell = |view: &RestoreView| {
        if phase != view.phase && view.status == RestoreStatus::Running {
            phase.clone_from(&view.phase);
            let _ = context.output.value(&serde_json::json!({
                "message_type": "status", "restore_id": restore_id, "phase": phase,
            }));
            if !context.output.json {
                context.output.note(format!("restore {restore_id}: {}", doing(&phase)));
            }
        }
    };
    tell(&begun);
    let other = InTheWay::Restore(restore_id);
    let waiting = other.followed(door, &mut tell);
    tokio::pin!(waiting);
    loop {
        tokio::select! {
            // Where the way to it broke, it is seen below how it stands.
            _ = &mut waiting => break,
            () = interrupts.next() => {
                if asked {
                    let next = format!("It goes on, or the next start settles it: `holdfast restore show {restore_id}`.");
                    return Err(CliError::new(Exit::Cancelled, "LEFT", "not waited for any more", next));
                }
                asked = true;
                context.output.note("asked to stop: what was touched is put back (once more leaves it as it is)");
                let wish = CancelRestoreRun { restore_id, reason: Reason::default() };
                match door.client().ask(&wish).await {
                    Ok(_) => {}
                    // It ended meanwhile.
                    Err(ClientError::Refused(error)) if error.code == ErrorCode::RestoreRunNotCancellable => {}
                    Err(error) => return Err(errors::client(error)),
                }
            }
        }
    }
    match door.ask(&GetRestoreRun { restore_id }).await {
        Ok(restored) => Ok(restored),
        // A server that stops waits for it and goes: the log under the home has how it ended.
        Err(error) => ended_meanwhile(context, restore_id).ok_or(error),
    }
}

/// A restore that has ended, as the log under the home has it.
fn ended_meanwhile(context: &Context, restore_id: RestoreId) -> Option<RestoreView> {
    let restore = context.view().ok()?.fold::<Restore>(&StreamId::restore(restore_id)).ok()?;
    restore.view(false).filter(|view| view.finished_at != 0)
}

/// A phase, for people.
fn doing(phase: &str) -> &str {
    match phase {
        "validate" => "reads the run again",
        "quiesce" => "waits until the participants stand still",
        "safety_snapshot" => "keeps the state before",
        "stage" => "makes all ready beside the live data",
        "commit" => "puts it in place",
        "verify" => "looks at what is in place",
        "rollback" => "puts back the state before",
        other => other,
    }
}

/// Tells how it ended.
pub(super) fn told(context: &Context, restored: &RestoreView) -> CliResult {
    let id = &restored.restore_id;
    if restored.status != RestoreStatus::Completed {
        let next = match restored.status {
            RestoreStatus::RollbackFailed if restored.pre_restore_path.is_empty() => {
                "Not all is as before, and nothing was kept of that. Restore again, or put it right and say `holdfast maintenance off`."
                    .to_owned()
            }
            RestoreStatus::RollbackFailed => {
                format!("Not all is as before. `holdfast restore retry {id}` tries again.")
            }
            RestoreStatus::Running | RestoreStatus::Interrupted => format!("It goes on: `holdfast restore show {id}`."),
            RestoreStatus::Failed => "Nothing was touched.".to_owned(),
            _ => "All is as before.".to_owned(),
        };
        let (exit, code) = match restored.status {
            RestoreStatus::Cancelled => (Exit::Cancelled, "CANCELLED"),
            RestoreStatus::RolledBack if restored.error_code == "CANCELLED" => (Exit::Cancelled, "CANCELLED"),
            _ if is_damage(&restored.error_code) => (Exit::Damaged, &*restored.error_code),
            _ => (Exit::Failed, "RESTORE_FAILED"),
        };
        let mut message = restored.error_summary.clone();
        for one in restored.participants.iter().filter(|one| !one.participant.output.is_empty()) {
            runs::said(&one.participant.output, "\n    ").for_each(|line| message.push_str(&line));
        }
        return Err(CliError::new(exit, code, message, next));
    }
    context.output.value(&Summary { message_type: "summary", exit_code: Exit::Good as u8, restore: restored })?;
    for one in restored.participants.iter().filter(|_| !context.output.json) {
        runs::said(&one.participant.output, "  ").for_each(|line| context.output.note(line));
    }
    let took = restored.finished_at.saturating_sub(restored.started_at) as f64;
    let into = match &*restored.participants {
        [one] => format!("participant {}", one.participant.name),
        all => counted(all.len() as u64, "participant"),
    };
    context.output.line(format!(
        "restored {} of run {} into {into} in {}, every byte verified",
        size(restored.bytes),
        restored.source_run_id,
        seconds(took),
    ))?;
    restores::kept(context, restored)?;
    Ok(Exit::Good)
}
