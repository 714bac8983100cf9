//! `backup` and `resume`: the work itself is the owner's, of whichever process that is.

use std::time::Instant;

use holdfast_model::ids::{ParticipantName, Position, RunId};
use holdfast_model::run::RunView;

use super::args::{BackupArgs, Limit};
use super::door::{Door, Purpose, is_gone};
use super::exit::{CliError, CliResult, Exit};
use super::follow::{Followed, Whose, follow, listen};
use super::in_the_way::InTheWay;
use super::interrupts::Interrupts;
use super::participants::unknown_participant;
use super::summary::summarise;
use super::{Context, absolute, errors, uploads};
use crate::api::commands::{GetBackupParticipants, StartFullBackup};
use crate::client::Events;
use crate::config::Source;
use crate::encryption;
use crate::engine::{ParticipantRow, left_keys};
use crate::files::{FilesSpec, RawPath};
use crate::own_state;

/// Largest file of exclude patterns read, in bytes.
const MAX_EXCLUDES: u64 = 1 << 20;

const EXAMPLES: &str = "\
Nothing is configured to be backed up. Name what to take:

  holdfast backup /srv/data                                a folder
  holdfast backup /etc /home --exclude .cache/             several, without what a pattern matches
  holdfast backup / --one-file-system --compression zstd:3   a whole system, smaller

What is to be backed up again and again stands in a configuration: holdfast init writes one, then: holdfast backup

Then: holdfast runs, holdfast verify latest, holdfast restore latest --target ./out";

pub(super) async fn backup(context: &Context, args: &BackupArgs) -> CliResult {
    let request = request(args)?;
    let mut interrupts: Option<Interrupts> = None;
    let until = Instant::now() + context.lock_wait;
    // An owner that is about to end begins nothing: the next one does, which may be this process.
    loop {
        let door = match &mut interrupts {
            None => open(context, args, until).await?,
            Some(interrupts) => tokio::select! {
                door = open(context, args, until) => door?,
                () = interrupts.next() => return Err(nothing_begun()),
            },
        };
        if door.engine().is_none() {
            check(&known(&door).await?, args)?;
        }
        if interrupts.is_none() {
            note_same_disk(context, args);
        }
        let interrupts = match &mut interrupts {
            Some(interrupts) => interrupts,
            None => interrupts.insert(Interrupts::new()?),
        };
        let request = StartFullBackup { endpoints: args.to.endpoints(&door).await?, ..request.clone() };
        let result = make(context, &door, &request, until, interrupts).await;
        match result {
            Ok(None) => {
                gone(door, until, interrupts).await?;
            }
            Err(error) if error.code == "STOPPED" => {
                door.close().await;
                return Err(error);
            }
            Ok(Some(exit)) => {
                door.close_after_others(context, interrupts).await;
                return Ok(exit);
            }
            Err(error) => {
                door.close_after_others(context, interrupts).await;
                return Err(error);
            }
        }
    }
}

/// Waits until an owner that takes nothing new is gone.
async fn gone(door: Door, until: Instant, interrupts: &mut Interrupts) -> Result<(), CliError> {
    let left = until.saturating_duration_since(Instant::now());
    let ended = tokio::select! {
        ended = tokio::time::timeout(left, door.client().closed()) => ended.is_ok(),
        () = interrupts.next() => return Err(nothing_begun()),
    };
    door.close().await;
    if ended {
        return Ok(());
    }
    let next = "Wait for its end, or give a longer --lock-wait.";
    Err(CliError::new(Exit::Busy, "SERVER_DRAINING", "whoever has the home is about to end, and has not yet", next))
}

fn nothing_begun() -> CliError {
    CliError::new(Exit::Cancelled, "CANCELLED", "cancelled; no run was begun", "")
}

/// The owner there is, or the home. What is wrong with the request is told before the home is taken.
async fn open(context: &Context, args: &BackupArgs, until: Instant) -> Result<Door, CliError> {
    if let Some(door) = Door::attach(context).await? {
        return Ok(door);
    }
    let names: Vec<_> = context.config.participants.iter().map(|one| one.descriptor.name.clone()).collect();
    check(&names, args)?;
    let wait = until.saturating_duration_since(Instant::now());
    let door = Door::open(context, Purpose::Work("backup"), wait).await?;
    door.engine().iter().flat_map(|engine| engine.settled()).for_each(|line| context.output.note(line));
    Ok(door)
}

/// The participants that whoever owns the home knows, and that can be named: the installation itself takes part unasked.
async fn known(door: &Door) -> Result<Vec<ParticipantName>, CliError> {
    let rows = door.ask(&GetBackupParticipants {}).await?.rows;
    let nameable = rows.into_iter().filter(|row| row.configured && row.kind != own_state::KIND);
    Ok(nameable.map(|row| row.name).collect())
}

fn check(known: &[ParticipantName], args: &BackupArgs) -> Result<(), CliError> {
    let unknown = args.participant.iter().find(|name| !known.iter().any(|known| known.as_str() == *name));
    if let Some(unknown) = unknown {
        return Err(unknown_participant(unknown, known.iter().map(ToString::to_string)));
    }
    if args.paths.is_empty() && known.is_empty() {
        return Err(CliError::new(Exit::Usage, "NOTHING_TO_BACK_UP", EXAMPLES, ""));
    }
    Ok(())
}

/// Goes on with what was interrupted, and makes the backup. `None` where the owner ended before it had begun it.
async fn make(
    context: &Context,
    door: &Door,
    request: &StartFullBackup,
    until: Instant,
    interrupts: &mut Interrupts,
) -> Result<Option<Exit>, CliError> {
    let mut ended_badly = false;
    for (run_id, before) in resumed(door).await? {
        context.output.note(format!("first going on with run {run_id}, which was interrupted"));
        let followed = attend(context, door, interrupts, run_id, Some(before), Whose::Ours).await?;
        let end = summarise(context.output, &followed.run, followed.seconds);
        if followed.interrupted {
            return end.map(Some);
        }
        // How an old run ends must not keep the new one from being made.
        if let Err(error) = end {
            ended_badly = true;
            context.output.alert(error.to_string());
        }
    }
    let Some((run, mut events)) = begin(context, door, request, until, interrupts).await? else { return Ok(None) };
    let run_id = id(&run)?;
    let followed = follow(context, door, &mut events, interrupts, run_id, Whose::Ours).await?;
    let summary = summarise(context.output, &followed.run, followed.seconds);
    tell_quarantine(context, door, &followed).await;
    let summary = match summary {
        Ok(exit) if followed.run.remote_status != "none" || uploads::needs_copies(&followed.run) => {
            let view = uploads::attend(context, door, interrupts, run_id, Whose::Ours).await?;
            context.output.value(&serde_json::json!({ "message_type": "copies", "run": view }))?;
            uploads::conclude(context.output, run_id, &view, exit)
        }
        summary => summary,
    };
    // How the copies of an old run end must not hide how this one did.
    ended_badly |= !matches!(uploads::attend_others(context, door, interrupts).await, Ok(Exit::Good));
    match summary {
        Ok(Exit::Good) if ended_badly => Ok(Some(Exit::Warnings)),
        summary => summary.map(Some),
    }
}

/// The runs that an engine of this process goes on with, each with the position before its request.
async fn resumed(door: &Door) -> Result<Vec<(RunId, Position)>, CliError> {
    let Some(engine) = door.engine() else { return Ok(Vec::new()) };
    let runs: Vec<_> = engine.resumed().iter().map(|handle| handle.run_id).collect();
    let before = |run: RunId, requested: Option<Position>| {
        (run, Position(requested.map_or(0, |requested| requested.0.saturating_sub(1))))
    };
    let found = engine.read(|projections| {
        let requested = |run| projections.history.run(run).map(|entry| entry.requested);
        runs.iter().map(|run| before(*run, requested(*run))).collect()
    });
    found.await.map_err(errors::engine)
}

/// Listens to a run that is open, and follows it.
async fn attend(
    context: &Context,
    door: &Door,
    interrupts: &mut Interrupts,
    run_id: RunId,
    before: Option<Position>,
    whose: Whose,
) -> Result<Followed, CliError> {
    let mut events = listen(door, before).await.map_err(errors::client)?;
    follow(context, door, &mut events, interrupts, run_id, whose).await
}

/// Has the backup begun, once no other run is in its way. `None` where the owner ends before.
async fn begin(
    context: &Context,
    door: &Door,
    request: &StartFullBackup,
    until: Instant,
    interrupts: &mut Interrupts,
) -> Result<Option<(RunView, Events)>, CliError> {
    let mut told: Option<InTheWay> = None;
    loop {
        // Before it is asked for, so that nothing of it is missed.
        let events = match listen(door, None).await {
            Ok(events) => events,
            Err(error) if door.engine().is_none() && is_gone(&error) => return Ok(None),
            Err(error) => return Err(errors::client(error)),
        };
        let error = match door.client().ask(request).await {
            Ok(run) => return Ok(Some((run, events))),
            Err(error) if door.engine().is_none() && is_gone(&error) && Instant::now() < until => return Ok(None),
            Err(error) => error,
        };
        let Some(other) = InTheWay::of(&error) else { return Err(errors::client(error)) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(errors::client(error));
        }
        if told.as_ref() != Some(&other) {
            let wait = super::output::seconds(left.as_secs_f64());
            context.output.note(format!("{other} is at work: its end is waited for, at most {wait} (--lock-wait)"));
        }
        tokio::select! {
            // Where the time is over, the next refusal is told.
            ended = tokio::time::timeout(left, other.ended(door)) => match ended {
                Ok(Err(error)) if door.engine().is_none() && is_gone(&error) => return Ok(None),
                Ok(Err(error)) => return Err(errors::client(error)),
                Ok(Ok(())) | Err(_) => {}
            },
            () = interrupts.next() => {
                return Err(nothing_begun());
            }
        }
        told = Some(other);
    }
}

pub(super) async fn resume(context: &Context) -> CliResult {
    let Some(open) = left_open(context)? else {
        context.output.value(&serde_json::json!({ "message_type": "status", "message": "nothing to resume" }))?;
        context.output.line("nothing to resume: every run has ended")?;
        return Ok(Exit::Good);
    };
    let door = Door::open(context, Purpose::Work("resume"), context.lock_wait).await?;
    door.engine().iter().flat_map(|engine| engine.settled()).for_each(|line| context.output.note(line));
    let mut interrupts = Interrupts::new()?;
    let mut result = resume_all(context, &door, open, &mut interrupts).await;
    if !matches!(&result, Err(error) if error.exit == Exit::Cancelled) {
        let copied = uploads::attend_others(context, &door, &mut interrupts).await;
        result = match (result, copied) {
            (Ok(Exit::Good), copied) => copied,
            (Ok(_), Err(error)) => Err(error),
            (result, _) => result,
        };
    }
    match &result {
        Err(error) if error.code == "STOPPED" => door.close().await,
        _ => door.close_after_others(context, &mut interrupts).await,
    }
    result
}

/// The runs that have not ended, each with the position before its request; `None` where there is nothing at all to settle.
fn left_open(context: &Context) -> Result<Option<Vec<(RunId, Position)>>, CliError> {
    let Some(view) = context.view_if_there()? else { return Ok(None) };
    let history = view.history();
    let open: Vec<_> =
        history.open().map(|entry| (entry.run_id, Position(entry.requested.0.saturating_sub(1)))).collect();
    let keys = left_keys(view.home());
    let owed = history.deleting().next().is_some() || history.importing().next().is_some();
    let owed = owed || history.uploading().next().is_some();
    let left = keys || owed || !open.is_empty() || !history.open_restores().is_empty();
    Ok(left.then_some(open))
}

/// Follows each run to its end; the worst of the ends is the command's.
async fn resume_all(
    context: &Context,
    door: &Door,
    open: Vec<(RunId, Position)>,
    interrupts: &mut Interrupts,
) -> CliResult {
    let (runs, whose) = match door.engine() {
        Some(_) => (resumed(door).await?, Whose::Ours),
        // Whoever owns the home has gone on with them already.
        None => (open, Whose::Theirs),
    };
    let mut worst: CliResult = Ok(Exit::Good);
    for (run_id, before) in runs {
        context.output.note(match whose {
            Whose::Ours => format!("going on with run {run_id}"),
            Whose::Theirs => format!("run {run_id} is at work"),
        });
        let mut events = listen(door, Some(before)).await.map_err(errors::client)?;
        let followed = follow(context, door, &mut events, interrupts, run_id, whose).await?;
        let end = summarise(context.output, &followed.run, followed.seconds);
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

fn id(run: &RunView) -> Result<RunId, CliError> {
    run.run_id.parse().map_err(|error| CliError::failed("SERVER_UNREADABLE", error))
}

/// What is asked for: the run itself at once, its end is heard of.
fn request(args: &BackupArgs) -> Result<StartFullBackup, CliError> {
    let participants = args.participant.iter().map(|name| name.parse()).collect::<Result<Vec<_>, _>>();
    let request = StartFullBackup {
        // A name that is none is told as one that is not there.
        participants: participants.unwrap_or_default(),
        trigger: args.trigger,
        wait: false,
        consistency: args.consistency,
        staging: args.staging,
        strict: args.strict,
        compression: args.compression,
        encrypt_to: recipients(&args.encrypt_to)?,
        timeout_s: args.timeout.map(Limit::seconds),
        ..StartFullBackup::default()
    };
    if args.paths.is_empty() { Ok(request) } else { ad_hoc(args, request) }
}

/// Public keys, each once. What is wrong with one is told before anything is begun.
fn recipients(given: &[String]) -> Result<Vec<String>, CliError> {
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let keys = encryption::recipients(given.iter().map(String::as_str));
    let keys = keys.map_err(|error| CliError::new(Exit::Usage, error.code(), error, ""))?;
    Ok(keys.opened_by())
}

/// The same with the files and folders of the command line.
fn ad_hoc(args: &BackupArgs, request: StartFullBackup) -> Result<StartFullBackup, CliError> {
    let paths = args.paths.iter().map(|path| absolute(path)).collect::<Result<Vec<_>, _>>()?;
    let name = args.name.as_ref().map(|name| {
        name.parse().map_err(|error| CliError::new(Exit::Usage, "INVALID_DATA", error, "Give another --name."))
    });
    let mut exclude = args.exclude.clone();
    for file in &args.exclude_from {
        exclude.extend(patterns(file)?);
    }
    let spec = FilesSpec { paths, exclude, one_file_system: args.one_file_system };
    spec.check_patterns().map_err(|error| {
        CliError::new(Exit::Usage, error.code(), &error, "A pattern is what a line of a .gitignore may be.")
    })?;
    let FilesSpec { paths, exclude, one_file_system } = spec;
    Ok(StartFullBackup {
        paths: paths.iter().map(|path| RawPath::from(path.as_path())).collect(),
        name: name.transpose()?,
        exclude,
        one_file_system: Some(one_file_system),
        allow_empty: Some(args.allow_empty),
        ..request
    })
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

fn note_same_disk(context: &Context, args: &BackupArgs) {
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
    let home = device(&context.home);
    let mut paths = args.paths.iter().chain(configured.flatten());
    if home.is_some() && paths.any(|path| device(path) == home) {
        context.output.note(format!(
            "note: {} is on the same file system as the source: it does not survive the loss of that disk",
            context.home.display()
        ));
    }
}

/// Says which participants of the run are in quarantine: they are tried once a run, and that is easily taken for bad luck.
async fn tell_quarantine(context: &Context, door: &Door, followed: &Followed) {
    let bad: Vec<_> = followed.run.participants.iter().filter(|one| !one.ok).map(|one| one.name.as_str()).collect();
    if bad.is_empty() {
        return;
    }
    let Ok(known) = door.ask(&GetBackupParticipants {}).await else { return };
    let quarantined = |row: &&ParticipantRow| row.quarantined && bad.contains(&row.name.as_str());
    for row in known.rows.iter().filter(quarantined) {
        let name = &row.name;
        context.output.alert(format!(
            "{name} failed {} times in a row and is in quarantine: each run tries it once, until it is good or \
             `holdfast participants reset {name}`",
            row.failures
        ));
    }
}
