//! How a run's progress is shown: a bar on a terminal, a line a phase elsewhere, JSON lines for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_model::ids::{ParticipantName, RunId, Version};
use holdfast_model::progress::{Phase, Progress};
use holdfast_model::run::{Run, Try};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::exit::CliError;
use super::output::{Output, counted, printable, seconds, size};
use crate::engine::Holdfast;

pub(super) struct Display {
    out: Output,
    bar: Option<ProgressBar>,
    phase: Option<Phase>,
    last: Option<Progress>,
    /// The last event shown.
    shown: Version,
    /// Participants whose last failed try was shown, and which that was.
    failed_tries: BTreeMap<ParticipantName, Try>,
    /// Whether whoever read the output has gone away. The run goes on: it is not for them alone.
    unheard: bool,
}

impl Display {
    pub(super) fn new(out: Output) -> Self {
        let bar = out.has_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template("{prefix:>9} {bar:28.cyan/blue} {percent:>3}%  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { out, bar, phase: None, last: None, shown: Version::NONE, failed_tries: BTreeMap::new(), unheard: false }
    }

    /// Shows what was recorded of the run since the last time.
    pub(super) fn events(&mut self, engine: &Holdfast, run_id: RunId) -> Result<(), CliError> {
        if !self.out.json || self.unheard {
            return Ok(());
        }
        for event in engine.run_events(run_id, self.shown).map_err(super::errors::engine)? {
            self.shown = event.version;
            self.say(&serde_json::json!({ "message_type": "event", "event": event }));
        }
        Ok(())
    }

    /// Says which tries failed that there will be another one of.
    pub(super) fn tries(&mut self, run: &Run) {
        for participant in run.participants().iter().filter(|participant| participant.retry_at.is_some()) {
            let of = Try { attempt: run.attempt(), number: participant.tries };
            let Some(failure) = participant.failure.as_ref() else { continue };
            if self.out.json || self.failed_tries.insert(participant.name.clone(), of) == Some(of) {
                continue;
            }
            let (name, max) = (&participant.name, participant.max_tries);
            let reason = printable(failure.to_string().as_bytes());
            let line = format!("{name}: try {} of {max} failed, and is made again soon: {reason}", of.number);
            match &self.bar {
                Some(bar) => bar.suspend(|| self.out.note(line)),
                None => self.out.note(line),
            }
        }
    }

    /// Shows how far the run is.
    pub(super) fn progress(&mut self, progress: &Progress) {
        if self.out.json {
            if self.last.as_ref() != Some(progress) {
                self.say(&serde_json::json!({ "message_type": "status", "progress": progress }));
                self.last = Some(progress.clone());
            }
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_prefix(word(progress.phase));
            bar.set_position(progress.overall_percent as u64);
            bar.set_message(detail(progress));
            return;
        }
        if self.phase != Some(progress.phase) {
            self.phase = Some(progress.phase);
            if !matches!(progress.phase, Phase::Idle | Phase::Done | Phase::Failed) {
                self.out.note(format!("{}: {}", progress.run_id, progress.message));
            }
        }
    }

    fn say(&mut self, value: &serde_json::Value) {
        self.unheard = self.unheard || self.out.value(value).is_err();
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Idle | Phase::Queued => "queued",
        Phase::Prepare => "prepare",
        Phase::Barrier => "barrier",
        Phase::Backup => "backup",
        Phase::Validate => "verify",
        Phase::Finalize => "publish",
        Phase::PublishRemote => "upload",
        Phase::Done => "done",
        Phase::Failed => "failed",
    }
}

fn detail(progress: &Progress) -> String {
    if progress.phase != Phase::Backup {
        return progress.message.clone();
    }
    let files = progress.participants.iter().map(|participant| participant.files_done).sum();
    let of = match progress.bytes_total {
        0 => String::new(),
        total => format!(" of {}", size(total)),
    };
    let mut text =
        format!("{}{of}, {}, {}/s", size(progress.bytes_done), counted(files, "file"), size(progress.bytes_per_second));
    if progress.eta_seconds > 0 {
        text.push_str(&format!(", {} to go", seconds(progress.eta_seconds as f64)));
    }
    text
}
