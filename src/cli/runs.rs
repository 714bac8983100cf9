//! `runs` and `show`.

use holdfast_model::history::RunEntry;
use holdfast_model::ids::{ParticipantName, Position, StreamId};
use holdfast_model::run::{Consistency, Outcome, Run, RunStatus, RunView, Stage};
use holdfast_model::story::Level;

use super::args::{RunArg, RunsArgs, ShowArgs};
use super::exit::{CliError, CliResult, Exit};
use super::output::{Output, count, counted, printable, seconds, size, table, time};
use super::{Context, errors};
use crate::engine::{HomeView, LogRow};

/// The run an argument means. For `latest` a note says which newer ones were passed over.
pub(super) fn find(view: &HomeView, run: RunArg, out: Output) -> Result<Run, CliError> {
    find_with(view, run, None, out)
}

/// The newest good run in which a participant is good and whose directory is here, however many others took part, and the newer ones passed
/// over because they were found damaged or are kept on endpoints alone.
fn latest_of<'a>(
    view: &'a HomeView,
    participant: &ParticipantName,
) -> Result<(Option<&'a RunEntry>, Vec<&'a RunEntry>), CliError> {
    let mut passed = Vec::new();
    let completed = |entry: &&RunEntry| !entry.deleted && entry.outcome == Some(Outcome::Completed);
    let mut away = None;
    for entry in view.history().made_here().into_iter().filter(completed) {
        let run = view.run(entry.run_id).map_err(errors::view)?;
        if !run.good_artifacts().any(|artifact| artifact.participant == *participant) {
            continue;
        }
        if entry.is_good() && !entry.kept_remotely {
            return Ok((Some(entry), passed));
        }
        if entry.is_good() {
            away = away.or(Some(entry));
        }
        passed.push(entry);
    }
    Ok((away.or(passed.first().copied()), Vec::new()))
}

/// Why `latest` is not this run, in a word.
fn because(entry: &RunEntry) -> &'static str {
    match entry.outcome {
        None => "open",
        Some(Outcome::Completed) if entry.damaged => "damaged",
        Some(Outcome::Completed) if entry.is_lost() => "at no endpoint any more",
        Some(Outcome::Completed) if entry.kept_remotely => "kept on endpoints alone",
        Some(Outcome::Completed) if entry.ad_hoc => "of paths named for it",
        Some(Outcome::Completed) => "of some participants",
        Some(outcome) => RunStatus::from(outcome).as_str(),
    }
}

/// Says which run `latest` is where newer ones were passed over, or where it is not what it was.
fn tell_passed(out: Output, latest: &RunEntry, passed: &[&RunEntry]) {
    if latest.damaged {
        out.note(format!(
            "latest is {}, which was found damaged when it was last verified: there is no better",
            latest.run_id
        ));
    }
    if passed.is_empty() {
        return;
    }
    let newer: Vec<_> = passed.iter().take(5).map(|entry| format!("{} ({})", entry.run_id, because(entry))).collect();
    let more = if passed.len() > newer.len() { ", …" } else { "" };
    let passed_over = counted(passed.len() as u64, "newer run");
    out.note(format!("latest is {}; passed over {passed_over}: {}{more}", latest.run_id, newer.join(", ")));
}

/// The same; `latest` of a participant is the newest run that has it.
pub(super) fn find_with(
    view: &HomeView,
    run: RunArg,
    participant: Option<&ParticipantName>,
    out: Output,
) -> Result<Run, CliError> {
    let run_id = match run {
        RunArg::Id(run_id) => run_id,
        RunArg::Latest => {
            let of_participant = participant.map(|participant| latest_of(view, participant)).transpose()?;
            let (latest, passed) = match of_participant {
                Some((Some(latest), passed)) => (Some(latest), passed),
                Some((None, _)) | None => view.history().latest(),
            };
            let latest = latest.ok_or_else(|| {
                CliError::new(
                    Exit::NoSuchRun,
                    "BACKUP_RUN_NOT_FOUND",
                    "there is no completed run",
                    "`holdfast runs` lists all of them; `holdfast backup PATH` makes one.",
                )
            })?;
            tell_passed(out, latest, &passed);
            latest.run_id
        }
    };
    let run = view.run(run_id).map_err(errors::view)?;
    if run.stage() == Stage::Unknown {
        return Err(CliError::new(
            Exit::NoSuchRun,
            "BACKUP_RUN_NOT_FOUND",
            format!("there is no run {run_id}"),
            "`holdfast runs` lists all of them.",
        ));
    }
    Ok(run)
}

pub(super) fn runs(context: &Context, args: &RunsArgs) -> CliResult {
    let out = context.output;
    let Some(view) = context.view_if_there()? else {
        out.value(&serde_json::json!({ "rows": [] }))?;
        out.line("no runs yet: `holdfast backup PATH` makes the first")?;
        return Ok(Exit::Good);
    };
    let mut rows = Vec::new();
    for entry in view.history().newest_first() {
        if rows.len() >= args.limit as usize {
            break;
        }
        if entry.deleted && !args.deleted {
            continue;
        }
        let run = view.run(entry.run_id).map_err(errors::view)?;
        let Some(row) = run.view_at(view.owned(), view.places()) else { continue };
        if args.status.is_none_or(|status| status == row.status) {
            rows.push((row, run.files()));
        }
    }
    if out.json {
        let rows: Vec<_> = rows.iter().map(|(row, _)| row).collect();
        out.value(&serde_json::json!({ "rows": rows }))?;
    } else if rows.is_empty() {
        out.line("no such runs")?;
    } else {
        let cells: Vec<_> = rows.iter().map(|(row, files)| cells(row, *files)).collect();
        out.result(table(&["RUN", "STATUS", "STARTED", "TOOK", "FILES", "SIZE", "STORED", "WHAT"], &cells))?;
    }
    Ok(Exit::Good)
}

fn cells(row: &RunView, files: u64) -> Vec<String> {
    let names: Vec<_> = row.participants.iter().map(|participant| participant.name.as_str()).collect();
    let warnings: u64 = row.participants.iter().map(|participant| participant.warnings.count).sum();
    let damaged = row.participants.iter().flat_map(|one| &one.artifacts).any(|one| !one.validation_error.is_empty());
    let status = match warnings {
        _ if row.deleted => "deleted".to_owned(),
        _ if is_away(row)
            && !row.endpoints.iter().any(|copy| copy.status == "uploaded")
            && row.imported_from.is_none() =>
        {
            format!("{}, LOST", row.status.as_str())
        }
        _ if is_away(row) => format!("{}, away", row.status.as_str()),
        _ if damaged => format!("{}, DAMAGED", row.status.as_str()),
        0 => row.status.as_str().to_owned(),
        _ => format!("{} (!)", row.status.as_str()),
    };
    let scope = if row.requested_participants.is_empty() { "" } else { "only " };
    let what = if row.error_summary.is_empty() {
        format!("{scope}{}", names.join(", "))
    } else {
        printable(row.error_summary.as_bytes())
    };
    vec![
        row.run_id.clone(),
        status,
        time(row.started_at),
        took(row),
        count(files),
        size(row.size_bytes),
        size(row.stored_bytes),
        holdfast_model::failure::cut(&what, 100).to_owned(),
    ]
}

/// Whether it is kept on endpoints alone.
pub(super) fn is_away(row: &RunView) -> bool {
    let ended = matches!(row.status, RunStatus::Completed | RunStatus::Partial);
    ended && !row.deleted && row.path.is_empty() && !row.endpoints.is_empty()
}

fn took(row: &RunView) -> String {
    if row.finished_at == 0 || row.started_at == 0 {
        return "-".into();
    }
    seconds((row.finished_at - row.started_at).max(0) as f64)
}

pub(super) fn show(context: &Context, args: &ShowArgs) -> CliResult {
    let out = context.output;
    let view = context.view()?;
    let run = find(&view, args.run, out)?;
    if args.log {
        return log(out, &view, &run);
    }
    let Some(row) = run.view_at(view.owned(), view.places()) else { return Ok(Exit::Failed) };
    out.value(&row)?;
    out.result(story(&row, &run, &view))?;
    Ok(Exit::Good)
}

/// Each recorded event of a run as a line. Details stand in `--json`.
fn log(out: Output, view: &HomeView, run: &Run) -> CliResult {
    let Some(run_id) = run.id() else { return Ok(Exit::Failed) };
    let stream = StreamId::run(run_id);
    // The log of a run has its own bound: hundreds of events, not millions.
    for envelope in view.events(Some(&stream), Position::START, usize::MAX).map_err(errors::view)? {
        let row = LogRow::from(&envelope);
        out.value(&row)?;
        let mark = match row.level {
            Level::Debug => "  ",
            Level::Info => "* ",
            Level::Warning => "! ",
            Level::Error => "!!",
        };
        out.result(format!("{}  {mark} {}", time(row.time), printable(row.message.as_bytes())))?;
    }
    Ok(Exit::Good)
}

/// What a program said, a line each.
pub(super) fn said<'a>(output: &'a str, indent: &'a str) -> impl Iterator<Item = String> + 'a {
    output.lines().map(move |line| format!("{indent}{}", printable(line.as_bytes())))
}

fn story(row: &RunView, run: &Run, view: &HomeView) -> String {
    let (root, places) = (view.home().root(), view.places());
    let mut lines = vec![format!("run        {}", row.run_id), format!("status     {}", row.status.as_str())];
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{name:<10} {value}"));
        }
    };
    field("reason", printable(row.error_summary.as_bytes()));
    if row.status == RunStatus::Interrupted {
        field("next", "`holdfast resume` goes on with it".into());
    }
    field("job", printable(row.job.as_bytes()));
    field("type", format!("{}, {}", row.run_type.as_str(), row.trigger.as_str()));
    let by = if row.requested_by.is_empty() { String::new() } else { format!(" by {}", row.requested_by) };
    field("requested", format!("{}{by}", time(run.requested_at().seconds())));
    field("started", time(row.started_at));
    field("finished", time(row.finished_at));
    if row.attempt > 1 {
        field("attempts", row.attempt.to_string());
    }
    field(
        "size",
        format!("{} in {}, stored as {}", size(row.size_bytes), counted(run.files(), "file"), size(row.stored_bytes)),
    );
    match (row.deleted, row.path.as_str()) {
        (true, _) => field("directory", "deleted".into()),
        (false, "") => match run.elsewhere_at(places).map(|at| (at.first().cloned(), at.names())) {
            Some((Some(first), names)) => {
                let back = format!("`holdfast remote import {first} {}` brings it back", row.run_id);
                field("directory", format!("not here but at {names}: {back}"));
            }
            Some((None, _)) => field("directory", "not here, and no endpoint is known to have it any more".into()),
            None => {}
        },
        (false, path) => field("directory", root.join(path).display().to_string()),
    }
    if let Some(from) = &row.imported_from {
        field("came back", format!("{} from {}", time(from.imported_at), from.endpoint));
        field("made by", format!("installation {}", from.server_id));
        if from.masked {
            field("encrypted", "names and sizes are shown by `holdfast ls RUN --identity KEY`".into());
        }
    }
    if let Some(barrier) = run.barrier() {
        let held = seconds(barrier.longest_us as f64 / 1e6);
        field("moment", format!("{}, one for all; they stood still for {held}", time(barrier.at.seconds())));
    } else if row.consistency.mode == Consistency::Barrier {
        field("moment", "none: the participants did not stand still together".into());
    }
    if row.locked {
        let reason = printable(row.lock_reason.as_bytes());
        field("locked", if reason.is_empty() { "yes".into() } else { reason });
    }
    if let Some(last) = run.last_verified() {
        let result = if last.ok { "all as recorded" } else { "DAMAGED" };
        field("verified", format!("{}: {result}", time(last.at.seconds())));
    }
    for copy in &row.endpoints {
        let said = match copy.status.as_str() {
            "uploaded" => format!("{}, checked by {}", size(copy.stored_bytes), copy.check),
            _ => printable(copy.error.as_bytes()),
        };
        let said = if said.is_empty() { said } else { format!(": {said}") };
        field("copy", format!("{}, {}{said}", copy.name, copy.status));
    }
    for participant in &row.participants {
        let weight = if participant.critical { "critical" } else { "optional" };
        let (name, kind) = (&participant.name, printable(participant.kind.as_bytes()));
        lines.push(format!("\nparticipant {name} ({kind}, {weight}): {}", participant.status));
        if participant.tries > 1 {
            lines.push(format!("  tries    {}", participant.tries));
        }
        if !participant.error.is_empty() {
            lines.push(format!("  error    {}", printable(participant.error.as_bytes())));
        }
        if !participant.output.is_empty() {
            lines.push("  output".to_owned());
            lines.extend(said(&participant.output, "    "));
        }
        for artifact in &participant.artifacts {
            let compression = match &*artifact.encryption {
                "none" => artifact.compression.clone(),
                encryption => format!("{}, {encryption}", artifact.compression),
            };
            lines.push(format!("  artifact {} ({compression}, {})", artifact.logical_name, size(artifact.size_bytes)));
            lines.push(format!("    sha256  {}  stored", artifact.sha256));
            lines.push(format!("    sha256  {}  content, {}", artifact.content_sha256, size(artifact.content_bytes)));
            if !artifact.opened_by.is_empty() {
                lines.push(format!("    opened by {}", artifact.opened_by.join(", ")));
            }
            if !artifact.validation_error.is_empty() {
                lines.push(format!("    DAMAGED {}", printable(artifact.validation_error.as_bytes())));
            }
        }
        for (title, warnings) in [("warning", &participant.warnings), ("note", &participant.notes)] {
            if warnings.count > 0 {
                lines.push(format!("  {}", counted(warnings.count, title)));
                lines.extend(warnings.first.iter().map(|text| format!("    {}", printable(text.as_bytes()))));
            }
        }
    }
    lines.join("\n")
}
