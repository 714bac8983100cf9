//! `backup` and `resume`: an engine of one's own for as long as it takes.

use std::sync::Arc;
use std::time::Instant;

use holdfast_actors::root::RunHandle;
use holdfast_model::ids::ParticipantName;
use holdfast_model::run::{ParticipantStatus, Run, RunStatus};

use super::args::BackupArgs;
use super::bar::Display;
use super::exit::{CliError, CliResult, Exit};
use super::interrupts::Interrupts;
use super::output::{Output, counted, exit_of, printable, seconds, size};
use super::participants::unknown_participant;
use super::{Context, absolute, errors};
use crate::config::Source;
use crate::engine::{Backup, FilesDefinition, Holdfast};
use crate::files::FilesSpec;

/// Largest file of exclude patterns read, in bytes.
const MAX_EXCLUDES: u64 = 1 << 20;

/// Lines of a failed command's standard error that are shown.
const SAID: usize = 5;

const EXAMPLES: &str = "\
Nothing is configured to be backed up. Name what to take:

  holdfast backup /srv/data                                a folder
  holdfast backup /etc /home --exclude .cache/             several, without what a pattern matches
  holdfast backup / --one-file-system --compression zstd:3   a whole system, smaller

What is to be backed up again and again stands in a configuration: holdfast init writes one, then: holdfast backup

Then: holdfast runs, holdfast verify latest, holdfast restore latest --target ./out";

pub(super) async fn backup(context: &Context, args: &BackupArgs) -> CliResult {
    let backup = request(context, args)?;
    let engine = start(context, "backup").await?;
    note_same_disk(context, &engine, args);
    let resumed = engine.resumed().to_vec();
    let result = async {
        let mut ended_badly = false;
        for handle in resumed {
            context.output.note(format!("first going on with run {}, which was interrupted", handle.run_id));
            let followed = follow(context, &engine, handle).await?;
            if followed.interrupted {
                return summarise(context, &followed);
            }
            // How an old run ends must not keep the new one from being made.
            if let Err(error) = summarise(context, &followed) {
                ended_badly = true;
                context.output.alert(error.to_string());
            }
        }
        let handle = engine.back_up(backup).await.map_err(errors::engine)?;
        let followed = follow(context, &engine, handle).await?;
        let summary = summarise(context, &followed);
        tell_quarantine(context, &engine, &followed);
        match summary {
            Ok(Exit::Good) if ended_badly => Ok(Exit::Warnings),
            summary => summary,
        }
    }
    .await;
    engine.stop().await;
    result
}

pub(super) async fn resume(context: &Context) -> CliResult {
    let left = context.view_if_there()?.is_some_and(|view| {
        let history = view.history();
        history.open().next().is_some() || history.deleting().next().is_some() || !history.open_restores().is_empty()
    });
    if !left {
        context.output.value(&serde_json::json!({ "message_type": "status", "message": "nothing to resume" }))?;
        context.output.line("nothing to resume: every run has ended")?;
        return Ok(Exit::Good);
    }
    let engine = start(context, "resume").await?;
    let result = resume_all(context, &engine).await;
    engine.stop().await;
    result
}

/// Follows each run to its end; the worst of the ends is the command's.
async fn resume_all(context: &Context, engine: &Holdfast) -> CliResult {
    let mut worst: CliResult = Ok(Exit::Good);
    for handle in engine.resumed().to_vec() {
        context.output.note(format!("going on with run {}", handle.run_id));
        let followed = follow(context, engine, handle).await?;
        let end = summarise(context, &followed);
        if followed.interrupted {
            return end;
        }
        worst = match (worst, end) {
            (Err(first), Err(next)) => {
                context.output.note(format!("error: {next}"));
                Err(first)
            }
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
            (Ok(Exit::Good), Ok(exit)) => Ok(exit),
            (Ok(exit), Ok(_)) => Ok(exit),
        };
    }
    worst
}

async fn start(context: &Context, purpose: &'static str) -> Result<Holdfast, CliError> {
    let start = context.start(purpose, context.lock_wait, true);
    let engine = Holdfast::start(&context.home, start).await.map_err(errors::engine)?;
    engine.settled().iter().for_each(|line| context.output.note(line));
    Ok(engine)
}

fn request(context: &Context, args: &BackupArgs) -> Result<Backup, CliError> {
    let backup = if !args.paths.is_empty() {
        ad_hoc(args)?
    } else if !args.participant.is_empty() {
        Backup::scoped(args.participant.iter().map(|name| configured(context, name)).collect::<Result<Vec<_>, _>>()?)
    } else if context.config.participants.is_empty() {
        return Err(CliError::new(Exit::Usage, "NOTHING_TO_BACK_UP", EXAMPLES, ""));
    } else {
        Backup::full()
    };
    let backup = backup.trigger(args.trigger).strict(args.strict);
    Ok(match args.compression {
        Some(compression) => backup.compression(compression),
        None => backup,
    })
}

/// The files and folders of the command line.
fn ad_hoc(args: &BackupArgs) -> Result<Backup, CliError> {
    let paths = args.paths.iter().map(|path| absolute(path)).collect::<Result<Vec<_>, _>>()?;
    let name = match &args.name {
        Some(name) => {
            name.parse().map_err(|error| CliError::new(Exit::Usage, "INVALID_DATA", error, "Give another --name."))?
        }
        None => default_name(&paths),
    };
    let mut exclude = args.exclude.clone();
    for file in &args.exclude_from {
        exclude.extend(patterns(file)?);
    }
    let spec = FilesSpec { paths, exclude, one_file_system: args.one_file_system };
    spec.check_patterns().map_err(|error| {
        CliError::new(Exit::Usage, error.code(), &error, "A pattern is what a line of a .gitignore may be.")
    })?;
    Ok(Backup::files(name, FilesDefinition { spec, allow_empty: args.allow_empty }))
}

/// A participant of the configuration: one that is not there is told before the home is taken.
fn configured(context: &Context, name: &str) -> Result<ParticipantName, CliError> {
    let known = context.config.participants.iter().map(|one| &one.descriptor.name);
    known
        .clone()
        .find(|known| known.as_str() == name)
        .cloned()
        .ok_or_else(|| unknown_participant(name, known.map(ToString::to_string)))
}

/// The last part of the first path, as far as a name may have it.
fn default_name(paths: &[std::path::PathBuf]) -> ParticipantName {
    let last = paths.first().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let name: String = last.unwrap_or_else(|| "root".into()).chars().map(legal).take(48).collect();
    let name = name.trim_start_matches(['.', '-']);
    name.parse().or_else(|_| "files".parse()).unwrap_or_else(|_| unreachable!("`files` is a participant name"))
}

fn patterns(file: &std::path::Path) -> Result<Vec<String>, CliError> {
    let refuse = |error: &dyn std::fmt::Display| {
        let message = format!("cannot read the patterns in {}: {error}", file.display());
        CliError::new(Exit::Usage, "INVALID_DATA", message, "Give --exclude-from a file with one pattern a line.")
    };
    let length = std::fs::metadata(file).map_err(|error| refuse(&error))?.len();
    if length > MAX_EXCLUDES {
        return Err(refuse(&format!("it is larger than {MAX_EXCLUDES} bytes")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| refuse(&error))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn note_same_disk(context: &Context, engine: &Holdfast, args: &BackupArgs) {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &std::path::Path| path.metadata().ok().map(|facts| facts.dev());
    let configured = context.config.participants.iter().filter(|one| {
        args.paths.is_empty()
            && (args.participant.is_empty() || args.participant.contains(&one.descriptor.name.to_string()))
    });
    let configured = configured.filter_map(|one| match &one.source {
        Source::Files(definition) => Some(&definition.spec.paths),
        Source::Command(_) => None,
    });
    let home = device(engine.home().root());
    let mut paths = args.paths.iter().chain(configured.flatten());
    if home.is_some() && paths.any(|path| device(path) == home) {
        context.output.note(format!(
            "note: {} is on the same file system as the source: it does not survive the loss of that disk",
            engine.home().root().display()
        ));
    }
}

/// Shows a run to its end. The first Ctrl-C cancels it; the second stops at once.
async fn follow(context: &Context, engine: &Holdfast, handle: RunHandle) -> Result<Followed, CliError> {
    let run_id = handle.run_id;
    let began = Instant::now();
    let mut display = Display::new(context.output);
    let mut watch = handle.watch.clone();
    let ended = engine.wait(handle);
    tokio::pin!(ended);
    let mut interrupts = Interrupts::new()?;
    let mut cancelling = false;
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(250));
    let run = loop {
        tokio::select! {
            biased;
            run = &mut ended => break run.map_err(errors::engine)?,
            () = interrupts.next() => {
                if cancelling {
                    return Err(CliError::new(Exit::Cancelled, "STOPPED", "stopped at once",
                        "The run is open: `holdfast resume` or the next backup settles it."));
                }
                cancelling = true;
                context.output.note("cancelling; Ctrl-C again stops at once");
                // Too late to cancel means that its end is near.
                if let Err(error) = engine.cancel(run_id, "interrupted by the user").await {
                    context.output.note(format!("it cannot be cancelled any more: {error}"));
                }
            }
            changed = watch.changed() => {
                if changed.is_ok() {
                    let run = watch.borrow_and_update().clone();
                    display.events(engine, run_id)?;
                    display.tries(&run);
                    display.progress(&engine.progress(&run));
                }
            }
            _ = tick.tick() => {
                let run = watch.borrow().clone();
                display.progress(&engine.progress(&run));
            }
        }
    };
    // The end may come before its last change was looked at.
    display.events(engine, run_id)?;
    display.progress(&engine.progress(&run));
    display.finish();
    Ok(Followed { run, seconds: began.elapsed().as_secs_f64(), interrupted: cancelling })
}

/// A run at its end.
struct Followed {
    run: Arc<Run>,
    seconds: f64,
    /// Whether the user asked to stop while it was followed.
    interrupted: bool,
}

/// Says which participants of the run are in quarantine: they are tried once a run, and that is easily taken for bad luck.
fn tell_quarantine(context: &Context, engine: &Holdfast, followed: &Followed) {
    for participant in followed.run.participants().iter().filter(|one| one.status != ParticipantStatus::Completed) {
        let name = &participant.name;
        let Ok(state) = engine.participant(name) else { continue };
        if state.is_quarantined() {
            context.output.alert(format!(
                "{name} failed {} times in a row and is in quarantine: each run tries it once, until it is good or \
                 `holdfast participants reset {name}`",
                state.failures_in_a_row()
            ));
        }
    }
}

/// The end of what a failed command said; all of it is in `show`.
fn said(out: Output, output: &str) {
    let lines: Vec<_> = output.lines().collect();
    let shown = lines.get(lines.len().saturating_sub(SAID)..).unwrap_or_default();
    shown.iter().for_each(|line| out.alert(format!("  | {}", printable(line.as_bytes()))));
}

fn summarise(context: &Context, followed: &Followed) -> CliResult {
    let out = context.output;
    let (run, took) = (&followed.run, followed.seconds);
    let Some(view) = run.view(true) else { return Ok(Exit::Failed) };
    let exit = exit_of(view.status, run.warning_count());
    if out.json {
        out.value(&serde_json::json!({
            "message_type": "summary", "run": view, "files": run.files(), "seconds": took, "exit_code": exit as u8,
        }))?;
        return Ok(exit);
    }
    for participant in &view.participants {
        for warning in &participant.warnings.first {
            out.note(format!("warning: {}", printable(warning.as_bytes())));
        }
        let unlisted = participant.warnings.count.saturating_sub(participant.warnings.first.len() as u64);
        if unlisted > 0 {
            out.note(format!("warning: and {unlisted} more"));
        }
        if participant.notes.count > 0 {
            let first = participant.notes.first.first().map(|note| printable(note.as_bytes())).unwrap_or_default();
            let more = if participant.notes.count > 1 { ", …" } else { "" };
            out.note(format!("{} left out for good: {first}{more}", counted(participant.notes.count, "thing")));
        }
    }
    for participant in view.participants.iter().filter(|one| !one.ok && !one.error.is_empty()) {
        out.alert(format!("{} {}: {}", participant.name, participant.status, printable(participant.error.as_bytes())));
        said(out, &participant.output);
    }
    let id = &view.run_id;
    match view.status {
        RunStatus::Completed | RunStatus::Partial => {
            let warned = match run.warning_count() {
                0 => String::new(),
                warnings => format!(" with {}", counted(warnings, "warning")),
            };
            let restore = match view.status {
                // `latest` is the newest full run.
                RunStatus::Completed if !view.requested_participants.is_empty() => format!("{id} --target ./out"),
                RunStatus::Completed => "latest --target ./out".to_owned(),
                _ => format!("{id} --accept-incomplete --target ./out"),
            };
            out.line(format!(
                "run {id} {}{warned}: {}{} → {} in {}, verified. Restore: holdfast restore {restore}",
                view.status.as_str(),
                if run.files() > 0 { format!("{}, ", counted(run.files(), "file")) } else { String::new() },
                size(view.size_bytes),
                size(view.stored_bytes),
                seconds(took),
            ))?;
        }
        status => {
            // The status says already that it was cancelled.
            let reason = view.error_summary.strip_prefix("cancelled: ").unwrap_or(&view.error_summary);
            let reason = printable(reason.as_bytes());
            let next = match status {
                RunStatus::Cancelled => format!(
                    "What was whole by then: holdfast restore {id} --accept-incomplete. Start it again when it suits."
                ),
                _ => format!("`holdfast show {id}` says more."),
            };
            return Err(CliError::new(
                exit,
                "BACKUP_RUN_FAILED",
                format!("run {id} {}: {reason}", status.as_str()),
                next,
            ));
        }
    }
    Ok(exit)
}
