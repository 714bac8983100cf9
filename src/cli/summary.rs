//! What is said of a run that has ended.

use holdfast_model::run::{RunStatus, RunView};

use super::exit::{CliError, CliResult};
use super::output::{Output, counted, exit_of, printable, seconds, size};

/// Lines of a failed command's standard error that are shown.
const SAID: usize = 5;

/// The end of what a failed command said; all of it is in `show`.
fn said(out: Output, output: &str) {
    let lines: Vec<_> = output.lines().collect();
    let shown = lines.get(lines.len().saturating_sub(SAID)..).unwrap_or_default();
    shown.iter().for_each(|line| out.alert(format!("  | {}", printable(line.as_bytes()))));
}

/// Tells how a run ended, after so many seconds.
pub(super) fn summarise(out: Output, view: &RunView, took: f64) -> CliResult {
    let warnings = view.participants.iter().fold(0_u64, |sum, one| sum.saturating_add(one.warnings.count));
    let good = view.participants.iter().filter(|one| one.ok);
    let files = good.fold(0_u64, |sum, one| sum.saturating_add(one.files));
    let exit = exit_of(view.status, warnings);
    if out.json {
        out.value(&serde_json::json!({
            "message_type": "summary", "run": view, "files": files, "seconds": took, "exit_code": exit as u8,
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
            let warned = match warnings {
                0 => String::new(),
                warnings => format!(" with {}", counted(warnings, "warning")),
            };
            let restore = match view.status {
                // `latest` is the newest full run.
                RunStatus::Completed if !view.requested_participants.is_empty() => format!("{id} --target ./out"),
                RunStatus::Completed => "latest --target ./out".to_owned(),
                _ => format!("{id} --accept-incomplete --target ./out"),
            };
            // What is said of its copies says how one comes back whose directory goes.
            let restore = match view.keep_local || view.endpoints.is_empty() {
                true => format!(" Restore: holdfast restore {restore}"),
                false => String::new(),
            };
            out.line(format!(
                "run {id} {}{warned}: {}{} → {} in {}, verified.{restore}",
                view.status.as_str(),
                if files > 0 { format!("{}, ", counted(files, "file")) } else { String::new() },
                size(view.size_bytes),
                size(view.stored_bytes),
                seconds(took),
            ))?;
        }
        status => {
            // The status says already that it was cancelled.
            let reason = view.error_summary.strip_prefix("cancelled: ").unwrap_or(&view.error_summary);
            let reason = printable(reason.as_bytes());
            let kept = match view.participants.iter().any(|one| one.ok && !one.artifacts.is_empty()) {
                true => format!("What was whole by then: holdfast restore {id} --accept-incomplete --target ./out. "),
                false => String::new(),
            };
            let next = match status {
                RunStatus::Cancelled => format!("{kept}Start it again when it suits."),
                RunStatus::Timeout => {
                    format!("{kept}A longer --timeout, or `timeout` in [runs], gives it more time.")
                }
                _ => format!("`holdfast show {id}` says more."),
            };
            let ended = if status == RunStatus::Timeout { "timed out" } else { status.as_str() };
            return Err(CliError::new(exit, "BACKUP_RUN_FAILED", format!("run {id} {ended}: {reason}"), next));
        }
    }
    Ok(exit)
}
