//! `progress`: how far the run at work has come.

use holdfast_model::progress::{Phase, Progress};
use holdfast_model::run::RunStatus;

use super::args::ProgressArgs;
use super::bar::Display;
use super::door::Door;
use super::exit::{CliError, CliResult, Exit};
use super::interrupts::Interrupts;
use super::output::{printable, seconds, size};
use super::{Context, errors};
use crate::api::Channel;
use crate::api::commands::GetBackupProgress;
use crate::api::envelope::EventType;
use crate::client::Heard;

pub(super) async fn progress(context: &Context, args: &ProgressArgs) -> CliResult {
    let Some(door) = Door::attach(context).await? else {
        let message = "nobody who could say it has the home";
        let next = "`holdfast status` shows what is open; `holdfast resume` goes on with an interrupted run.";
        return Err(CliError::new(Exit::Failed, "NOT_A_SERVER", message, next));
    };
    if args.follow {
        return follow(context, &door).await;
    }
    let progress = door.ask(&GetBackupProgress {}).await?;
    context.output.value(&progress)?;
    context.output.result(line(&progress))?;
    Ok(Exit::Good)
}

/// How far a run is, in one line.
pub(super) fn line(progress: &Progress) -> String {
    if !progress.active {
        return match progress.run_id.as_str() {
            "" => "no run is at work, and there has been none".to_owned(),
            last => format!("no run is at work; the last one was {last}"),
        };
    }
    let mut text = format!("run {}: {:.0} %", progress.run_id, progress.overall_percent.floor());
    if !progress.message.is_empty() {
        text.push_str(&format!(", {}", printable(progress.message.as_bytes())));
    }
    if progress.phase == Phase::Backup && progress.bytes_total > 0 {
        text.push_str(&format!(", {} of {}", size(progress.bytes_done), size(progress.bytes_total)));
    }
    if let Some(eta) = progress.eta_seconds.filter(|eta| *eta > 0) {
        text.push_str(&format!(", {} to go", seconds(eta as f64)));
    }
    text
}

/// Shows the run at work, or the next one, to its end. Ctrl-C leaves it alone.
async fn follow(context: &Context, door: &Door) -> CliResult {
    let mut events = door.client().events();
    door.client().subscribe(&[Channel::BackupProgress], None).await.map_err(errors::client)?;
    let mut interrupts = Interrupts::new()?;
    let mut display = Display::new(context.output);
    loop {
        let heard = tokio::select! {
            heard = events.next() => heard.map_err(errors::client)?,
            () = interrupts.next() => {
                display.finish();
                return Ok(Exit::Good);
            }
        };
        let Heard::Notice(notice) = heard else { continue };
        if notice.channel != Channel::BackupProgress {
            continue;
        }
        let progress: Progress = notice.read().map_err(errors::client)?;
        display.progress(&progress);
        if notice.event_type == EventType::Final {
            display.finish();
            let status = progress.status.map_or("ended", RunStatus::as_str);
            context.output.line(format!("run {} {status}: `holdfast show {}`", progress.run_id, progress.run_id))?;
            return Ok(Exit::Good);
        }
    }
}
