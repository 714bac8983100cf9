//! A run, followed to its end: its progress and events as they come, and Ctrl-C.

use std::time::Instant;

use holdfast_model::ids::{Position, RunId, StreamId};
use holdfast_model::progress::Progress;
use holdfast_model::run::RunView;
use serde_json::Value;

use super::bar::Display;
use super::door::Door;
use super::exit::{CliError, Exit};
use super::interrupts::Interrupts;
use super::{Context, errors};
use crate::api::Channel;
use crate::api::commands::{CancelBackupRun, GetBackupRun};
use crate::api::envelope::EventType;
use crate::client::{ClientError, Events, Heard, Notice};

/// What is heard of a run.
const CHANNELS: [Channel; 2] = [Channel::BackupProgress, Channel::BackupEvents];

/// A run at its end.
pub(super) struct Followed {
    pub(super) run: RunView,
    pub(super) seconds: f64,
    /// Whether the user asked to stop while it was followed.
    pub(super) interrupted: bool,
}

/// Whose run it is, and so what Ctrl-C means to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Begun, or gone on with, by this command: the first Ctrl-C cancels it, the second one stops at once.
    Ours,
    /// Somebody else's: Ctrl-C leaves it alone.
    Theirs,
}

/// Subscribes to all that happens with a run after `since`, or from now on.
pub(super) async fn listen(door: &Door, since: Option<Position>) -> Result<Events, ClientError> {
    let events = door.client().events();
    door.client().subscribe(&CHANNELS, since.map(|since| since.0)).await?;
    Ok(events)
}

/// Shows a run to its end. What is subscribed to must reach back to its beginning.
pub(super) async fn follow(
    context: &Context,
    door: &Door,
    events: &mut Events,
    interrupts: &mut Interrupts,
    run_id: RunId,
    whose: Whose,
) -> Result<Followed, CliError> {
    let began = Instant::now();
    let mut follower = Follower {
        display: Display::new(context.output),
        stream: StreamId::run(run_id),
        run_id,
        heard: 0,
        told: 0,
        end: None,
    };
    let cancel = CancelBackupRun { run_id, reason: reason() };
    let mut cancelling = None;
    let mut interrupted = false;
    while !follower.is_over() {
        tokio::select! {
            biased;
            heard = events.next() => match heard {
                Ok(Heard::Notice(notice)) => follower.hear(&notice)?,
                // What was missed is in the log.
                Ok(Heard::Missed) => {
                    let again = door.client().subscribe(&CHANNELS, Some(follower.heard.min(follower.told))).await;
                    again.map_err(errors::client)?;
                }
                Err(error) => {
                    let gone = follower.gone(door, &error);
                    return follower.ended_meanwhile(context, door).ok_or(gone).map(|run| follower.followed(run, began, interrupted));
                }
            },
            error = door.broken() => {
                let broken = follower.broken(error);
                return follower.ended_meanwhile(context, door).ok_or(broken).map(|run| follower.followed(run, began, interrupted));
            }
            () = interrupts.next() => {
                if whose == Whose::Theirs {
                    let next = format!("It goes on. `holdfast cancel {run_id}` stops it.");
                    return Err(CliError::new(Exit::Cancelled, "LEFT", format!("run {run_id} is not waited for any more"), next));
                }
                if interrupted {
                    return Err(stopped(door, run_id));
                }
                interrupted = true;
                let twice = if door.engine().is_some() { "stops at once" } else { "leaves it to that" };
                context.output.note(format!("cancelling; Ctrl-C again {twice}"));
                cancelling = Some(Box::pin(door.client().ask(&cancel)));
            }
            answer = async { match &mut cancelling {
                Some(answer) => answer.await,
                None => std::future::pending().await,
            } } => {
                cancelling = None;
                // Too late to cancel means that its end is near.
                if let Err(error) = answer {
                    context.output.note(format!("it cannot be cancelled any more: {error}"));
                }
            }
        }
    }
    drop(cancelling);
    let run = match door.ask(&GetBackupRun { run_id }).await {
        Ok(run) => run,
        // An owner that ends with its work may be gone by now.
        Err(error) => follower.ended_meanwhile(context, door).ok_or(error)?,
    };
    Ok(follower.followed(run, began, interrupted))
}

fn reason() -> crate::api::text::Reason {
    "interrupted by the user".to_owned().try_into().unwrap_or_default()
}

/// What a second Ctrl-C leaves.
fn stopped(door: &Door, run_id: RunId) -> CliError {
    let (message, next) = match door.engine() {
        Some(_) => ("stopped at once", "The run is open: `holdfast resume` or the next backup settles it.".to_owned()),
        None => ("not waited for", format!("The run is being cancelled: `holdfast show {run_id}` says how it ended.")),
    };
    CliError::new(Exit::Cancelled, "STOPPED", message, next)
}

struct Follower {
    display: Display,
    run_id: RunId,
    stream: StreamId,
    /// The position up to which events were heard, and up to which progress was.
    heard: u64,
    told: u64,
    /// Where the run ended, and how it stood then.
    end: Option<(u64, Progress)>,
}

impl Follower {
    /// Whether the end came, and all that was recorded until then.
    fn is_over(&self) -> bool {
        self.end.as_ref().is_some_and(|(position, _)| self.heard >= *position)
    }

    fn hear(&mut self, notice: &Notice) -> Result<(), CliError> {
        match notice.channel {
            // Heard before it was missed on the other channel.
            Channel::BackupEvents if notice.seq <= self.heard => {}
            Channel::BackupEvents => {
                self.heard = notice.seq;
                let event: Value = notice.read().map_err(errors::client)?;
                if event.get("stream").and_then(Value::as_str) == Some(self.stream.as_str()) {
                    self.display.event(&event);
                }
            }
            Channel::BackupProgress => {
                self.told = self.told.max(notice.seq);
                let progress: Progress = notice.read().map_err(errors::client)?;
                if progress.run_id != self.run_id.to_string() {
                    return Ok(());
                }
                if notice.event_type == EventType::Final {
                    self.end = Some((notice.seq, progress));
                } else if self.end.is_none() {
                    self.display.progress(&progress);
                }
            }
            Channel::RestoreProgress | Channel::Alerts => {}
        }
        Ok(())
    }

    /// The run at its end, where its owner went away just after it: the log under the home has it. What was not heard of it is shown.
    fn ended_meanwhile(&mut self, context: &Context, door: &Door) -> Option<RunView> {
        if door.engine().is_some() {
            return None;
        }
        let view = context.view().ok()?;
        let run = view.run(self.run_id).ok().filter(|run| !run.is_open())?.view(true)?;
        for event in view.events(Some(&self.stream), Position(self.heard).next(), 1000).ok()? {
            self.display.event(&serde_json::to_value(event).ok()?);
        }
        Some(run)
    }

    fn followed(&mut self, run: RunView, began: Instant, interrupted: bool) -> Followed {
        self.finish();
        Followed { run, seconds: began.elapsed().as_secs_f64(), interrupted }
    }

    fn finish(&mut self) {
        if let Some((_, progress)) = self.end.take() {
            self.display.progress(&progress);
        }
        self.display.finish();
    }

    /// The owner went away while the run was at work.
    fn gone(&self, door: &Door, error: &ClientError) -> CliError {
        let told = errors::client(error.clone());
        if door.engine().is_some() { told } else { self.broken(told) }
    }

    fn broken(&self, told: CliError) -> CliError {
        self.display.finish();
        if told.code != "SERVER_GONE" {
            return told;
        }
        let next = format!(
            "The run is open, and loses nothing: `holdfast resume` or the next start of the server goes on with it, `holdfast show {}` says \
             how it stands.",
            self.run_id
        );
        let message = format!("the process that worked on run {} has gone away", self.run_id);
        CliError::new(Exit::Failed, &told.code, message, next)
    }
}
