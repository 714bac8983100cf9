//! `log events` and `log replay`.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_model::aggregate::Aggregate;
use holdfast_model::codec::Envelope;
use holdfast_model::event::Event;
use holdfast_model::ids::{Position, StreamId};
use holdfast_model::run::{Run, RunStatus};
use tokio::signal::unix::{SignalKind, signal};

use super::args::{EventsArgs, LogCommand, ReplayArgs};
use super::exit::{CliError, CliResult, Exit};
use super::output::{Output, counted, printable, table};
use super::{Context, errors};
use crate::engine::{HomeView, fold_history};

/// How many events are read at a time.
const BATCH: usize = 1000;
/// Events listed where no limit is given.
const LIMIT: u64 = 1000;
/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn run(context: &Context, command: &LogCommand) -> CliResult {
    match command {
        LogCommand::Events(args) => events(context, args).await,
        LogCommand::Replay(args) => replay(context, args),
    }
}

async fn events(context: &Context, args: &EventsArgs) -> CliResult {
    let mut next = args.from;
    let mut left = args.limit.unwrap_or(if args.follow { u64::MAX } else { LIMIT });
    let mut view = context.view()?;
    list(context, &view, args, &mut next, &mut left)?;
    if !args.follow {
        return Ok(Exit::Good);
    }
    // One listener for all of it: a Ctrl-C while the log is looked at is not lost. Until here, in what may be a long
    // catching up, Ctrl-C ends the process as usual.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| CliError::failed("SIGNALS", error))?;
    while left > 0 {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {
                view.refresh().map_err(errors::view)?;
                list(context, &view, args, &mut next, &mut left)?;
            }
            _ = interrupt.recv() => break,
        }
    }
    Ok(Exit::Good)
}

/// Shows what the log holds from `next` on, at most `left` events, and moves both.
fn list(
    context: &Context,
    view: &HomeView,
    args: &EventsArgs,
    next: &mut Position,
    left: &mut u64,
) -> Result<(), CliError> {
    while *left > 0 {
        let batch = usize::try_from(*left).unwrap_or(BATCH).min(BATCH);
        let events = view.events(args.stream.as_ref(), *next, batch).map_err(errors::view)?;
        let Some(last) = events.last() else { break };
        *next = last.position.next();
        *left -= (events.len() as u64).min(*left);
        events.iter().try_for_each(|event| show(context.output, event))?;
    }
    Ok(())
}

fn show(out: Output, event: &Envelope) -> Result<(), CliError> {
    if out.json {
        return out.value(event);
    }
    let data = serde_json::to_string(&event.data).map_err(|error| CliError::failed("JSON", error))?;
    let at = jiff::Timestamp::from_microsecond(event.time.0).map(|at| at.to_string()).unwrap_or_default();
    out.result(format!(
        "{:>6}  {at:<27}  {}@{}  {}  {}  {}",
        event.position,
        event.stream,
        event.version,
        event.event_type,
        if event.principal.is_empty() { "-".to_owned() } else { printable(event.principal.as_bytes()) },
        printable(data.as_bytes())
    ))
}

fn replay(context: &Context, args: &ReplayArgs) -> CliResult {
    let view = context.view()?;
    let head = view.log().head();
    let at = args.at.unwrap_or(head);
    if at > head {
        return Err(CliError::new(
            Exit::Usage,
            "POSITION_BEYOND_HEAD",
            format!("the log ends at position {head}"),
            "Give --at a position up to that one.",
        ));
    }
    match &args.stream {
        None => replay_all(context.output, &view, at),
        Some(stream) => replay_run(context.output, &view, stream, at),
    }
}

fn replay_all(out: Output, view: &HomeView, at: Position) -> CliResult {
    let history = fold_history(view.log(), at).map_err(errors::view)?;
    let mut statuses: BTreeMap<&str, u64> = BTreeMap::new();
    let mut rows = Vec::new();
    for entry in history.newest_first() {
        let status = match entry.outcome {
            Some(outcome) => RunStatus::from(outcome),
            None => fold_run(view, &StreamId::run(entry.run_id), at)?.0.status(at_work(view, at)),
        };
        let status = status.as_str();
        *statuses.entry(status).or_default() += 1;
        rows.push(vec![entry.requested.to_string(), entry.run_id.to_string(), status.to_owned()]);
    }
    out.value(&serde_json::json!({ "position": at, "events": at, "runs": statuses }))?;
    out.result(format!("{} folded, {}", counted(at.0, "event"), counted(rows.len() as u64, "run")))?;
    if !rows.is_empty() {
        out.result(table(&["POSITION", "RUN", "STATUS"], &rows))?;
    }
    Ok(Exit::Good)
}

/// Whether open runs were worked on at a position: in the past they were; at the head it depends on who owns the home.
fn at_work(view: &HomeView, at: Position) -> bool {
    at < view.log().head() || view.owned()
}

/// A run as of a position, and how many events it was folded from.
fn fold_run(view: &HomeView, stream: &StreamId, at: Position) -> Result<(Run, u64), CliError> {
    let mut run = Run::default();
    let mut next = Position(1);
    let mut folded = 0_u64;
    loop {
        let events = view.events(Some(stream), next, BATCH).map_err(errors::view)?;
        let Some(last) = events.last() else { return Ok((run, folded)) };
        next = last.position.next();
        for envelope in events.iter().filter(|envelope| envelope.position <= at) {
            if let Event::RunEvent(event) = &envelope.data {
                run.apply(event, &envelope.moment());
                folded += 1;
            }
        }
    }
}

fn replay_run(out: Output, view: &HomeView, stream: &StreamId, at: Position) -> CliResult {
    if stream.run_id().is_none() {
        let message = format!("{stream} is not the stream of a run");
        return Err(CliError::new(
            Exit::Usage,
            "INVALID_DATA",
            message,
            "Give it as run/ID, or leave it out for all runs.",
        ));
    }
    let (run, folded) = fold_run(view, stream, at)?;
    let Some(row) = run.view(at_work(view, at)) else {
        let message = format!("{stream} has no events up to position {at}");
        return Err(CliError::new(Exit::NoSuchRun, "BACKUP_RUN_NOT_FOUND", message, "`holdfast runs` lists all runs."));
    };
    out.value(&row)?;
    let status = row.status.as_str();
    out.result(format!("run {} as of position {at}: {status}, {} folded", row.run_id, counted(folded, "event")))?;
    for participant in &row.participants {
        let artifacts = counted(participant.artifacts.len() as u64, "artifact");
        out.result(format!("  {}: {}, {artifacts}", participant.name, participant.status))?;
    }
    Ok(Exit::Good)
}
