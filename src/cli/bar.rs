//! How a run's progress is shown: a bar on a terminal, a line a phase elsewhere, JSON lines for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_model::progress::{Phase, Progress};
use holdfast_model::run::ParticipantTryFailedV1;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use serde::Deserialize;
use serde_json::Value;

use super::output::{Output, counted, printable, seconds, size};

pub(super) struct Display {
    out: Output,
    bar: Option<ProgressBar>,
    phase: Option<Phase>,
    last: Option<Progress>,
    /// How often each participant is tried.
    max_tries: BTreeMap<String, u64>,
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
        Self { out, bar, phase: None, last: None, max_tries: BTreeMap::new(), unheard: false }
    }

    /// Shows an event of the run; for people, which tries failed that there will be another one of.
    pub(super) fn event(&mut self, event: &Value) {
        if self.out.json {
            return self.say(&serde_json::json!({ "message_type": "event", "event": event }));
        }
        let data = &event["data"];
        match event["type"].as_str() {
            Some("ParticipantPlanned") => {
                if let (Some(name), Some(tries)) = (data["participant"].as_str(), data["max_tries"].as_u64()) {
                    self.max_tries.insert(name.to_owned(), tries);
                }
            }
            Some("ParticipantTryFailed") => {
                if let Ok(failed) = ParticipantTryFailedV1::deserialize(data) {
                    self.failed_try(&failed);
                }
            }
            // Some phases are over before anybody looks at how far the run is.
            Some("ParticipantStarted") => self.phase(event, Phase::Backup),
            Some("RunClassified") => self.phase(event, Phase::Validate),
            Some("RunPublishRequested") => self.phase(event, Phase::Finalize),
            _ => {}
        }
    }

    fn phase(&mut self, event: &Value, phase: Phase) {
        if self.bar.is_none() && self.phase != Some(phase) {
            self.phase = Some(phase);
            let run = event["stream"].as_str().unwrap_or_default().trim_start_matches("run/");
            self.out.note(format!("{run}: {}", phase.message()));
        }
    }

    fn failed_try(&self, failed: &ParticipantTryFailedV1) {
        let (name, number) = (failed.participant.as_str(), failed.try_number);
        let of = self.max_tries.get(name).map_or(String::new(), |max| format!(" of {max}"));
        let reason = printable(failed.failure.to_string().as_bytes());
        let line = format!("{name}: try {number}{of} failed, and is made again soon: {reason}");
        match &self.bar {
            Some(bar) => bar.suspend(|| self.out.note(line)),
            None => self.out.note(line),
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
        if matches!(progress.phase, Phase::Queued | Phase::PublishRemote) && self.phase != Some(progress.phase) {
            self.phase = Some(progress.phase);
            self.out.note(format!("{}: {}", progress.run_id, progress.message));
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
    if let Some(eta) = progress.eta_seconds.filter(|eta| *eta > 0) {
        text.push_str(&format!(", {} to go", seconds(eta as f64)));
    }
    text
}
