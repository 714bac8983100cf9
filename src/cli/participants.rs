//! `participants`: who takes part, how they stand, whether they could write now.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use holdfast_actors::ports::Stop;
use holdfast_model::ids::ParticipantName;
use holdfast_model::participant::{Participant, Standing};
use holdfast_model::run::RunStatus;

use super::args::{ParticipantsArgs, ParticipantsCommand};
use super::exit::{CliError, CliResult, Exit};
use super::output::{printable, table, time};
use super::{Context, errors};
use crate::command::Launcher;
use crate::config::Source;
use crate::engine::{EngineError, Registered, configured};
use crate::participant::{Descriptor, Preflight};

pub(super) async fn run(context: &Context, args: &ParticipantsArgs) -> CliResult {
    match &args.command {
        None => list(context),
        Some(ParticipantsCommand::Test { names }) => test(context, names),
        Some(ParticipantsCommand::Reset { name }) => reset(context, name).await,
    }
}

/// A participant of the configuration, of the log, or of both.
struct Row {
    name: ParticipantName,
    descriptor: Option<Descriptor>,
    restore_supported: bool,
    state: Participant,
    /// What became of the last run it was good in.
    last_good_run: Option<&'static str>,
}

fn rows(context: &Context) -> Result<(Vec<Row>, bool), CliError> {
    let view = context.view_if_there()?;
    let mut known = view.as_ref().map(|view| view.history().participants().clone()).unwrap_or_default();
    let mut rows: Vec<_> = context
        .config
        .participants
        .iter()
        .map(|one| Row {
            name: one.descriptor.name.clone(),
            descriptor: Some(one.descriptor.clone()),
            restore_supported: match &one.source {
                Source::Files(_) => true,
                Source::Command(definition) => definition.restore.is_some(),
            },
            state: known.remove(&one.descriptor.name).unwrap_or_default(),
            last_good_run: None,
        })
        .collect();
    rows.extend(known.into_iter().map(|(name, state)| Row {
        name,
        descriptor: None,
        restore_supported: false,
        state,
        last_good_run: None,
    }));
    if let Some(view) = &view {
        for row in &mut rows {
            let entry = row.state.last_good().and_then(|(run, _)| view.history().run(run));
            row.last_good_run = entry.map(|entry| match entry.outcome {
                _ if entry.deleted => "deleted",
                Some(outcome) => RunStatus::from(outcome).as_str(),
                None => "open",
            });
        }
    }
    Ok((rows, view.is_some_and(|view| view.owned())))
}

fn list(context: &Context) -> CliResult {
    let out = context.output;
    let (rows, owned) = rows(context)?;
    if out.json {
        let rows: Vec<_> = rows.iter().map(|row| row.json(owned)).collect();
        out.value(&serde_json::json!({ "rows": rows }))?;
    } else if rows.is_empty() {
        out.line("no participants: `holdfast init` writes a configuration")?;
    } else {
        let cells: Vec<_> = rows.iter().map(|row| row.cells(owned)).collect();
        out.result(table(&["PARTICIPANT", "KIND", "", "STATE", "FAILURES", "LAST GOOD", "LAST FAILURE"], &cells))?;
    }
    Ok(Exit::Good)
}

impl Row {
    fn kind(&self) -> &str {
        self.descriptor.as_ref().map_or("-", |descriptor| descriptor.kind.as_str())
    }

    /// What is at work without a living process is what a dead one left.
    fn standing(&self, owned: bool) -> &'static str {
        match self.state.standing() {
            Standing::Working | Standing::Stuck if !owned => "interrupted",
            standing => standing.as_str(),
        }
    }

    /// A run in which it was good may have failed for another one, or be gone.
    fn last_good_run_is(&self) -> String {
        match self.last_good_run {
            None | Some("completed") => String::new(),
            Some(status) => format!(" ({status})"),
        }
    }

    fn cells(&self, owned: bool) -> Vec<String> {
        let weight = match &self.descriptor {
            Some(descriptor) if descriptor.critical => "critical",
            Some(_) => "optional",
            None => "not configured",
        };
        let good = self.state.last_good().map_or("never".to_owned(), |(run, at)| {
            format!("{}, run {run}{}", time(at.seconds()), self.last_good_run_is())
        });
        let failure = self
            .state
            .last_failure()
            .map(|(failure, at)| format!("{}: {}", time(at.seconds()), printable(failure.to_string().as_bytes())));
        vec![
            self.name.to_string(),
            self.kind().to_owned(),
            weight.to_owned(),
            self.standing(owned).to_owned(),
            self.state.failures_in_a_row().to_string(),
            good,
            failure.unwrap_or_default(),
        ]
    }

    fn json(&self, owned: bool) -> serde_json::Value {
        let seconds = |limit: Option<Duration>| limit.map(|limit| limit.as_secs_f64());
        let deadlines = self.descriptor.as_ref().map(|descriptor| {
            let deadlines = descriptor.deadlines;
            serde_json::json!({
                "preflight_seconds": seconds(deadlines.preflight), "write_seconds": seconds(deadlines.write),
                "stall_seconds": seconds(deadlines.stall),
            })
        });
        let (last_good_run, last_good_at) = self.state.last_good().unzip();
        let (last_error, last_failed_at) = self.state.last_failure().unzip();
        serde_json::json!({
            "name": self.name,
            "configured": self.descriptor.is_some(),
            "critical": self.descriptor.as_ref().is_some_and(|descriptor| descriptor.critical),
            "kind": self.kind(),
            "restore_supported": self.restore_supported,
            "dry_run_supported": false,
            "barrier_supported": false,
            "depends_on": self.descriptor.as_ref().map(|descriptor| descriptor.depends_on.clone()).unwrap_or_default(),
            "deadlines": deadlines,
            "state": self.standing(owned),
            "quarantined": self.state.is_quarantined(),
            "failures": self.state.failures_in_a_row(),
            "last_run": self.state.last_run(),
            "last_good_run": last_good_run,
            "last_good_run_status": self.last_good_run.unwrap_or_default(),
            "last_good_at": last_good_at.map_or(0, |at| at.seconds()),
            "last_error": last_error.map(ToString::to_string).unwrap_or_default(),
            "last_failed_at": last_failed_at.map_or(0, |at| at.seconds()),
        })
    }
}

/// Asks each named participant, or all, whether it could write now.
fn test(context: &Context, names: &[String]) -> CliResult {
    let out = context.output;
    let all = configured(&context.config, &context.home, &Launcher::this_program());
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|one| one.descriptor.name.as_str() == *name)) {
        return Err(unknown_participant(unknown, all.iter().map(|one| one.descriptor.name.to_string())));
    }
    let mut exit = Exit::Good;
    for participant in all {
        let name = participant.descriptor.name.clone();
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name.as_str()) {
            continue;
        }
        let answer = ask(participant);
        let error = answer.as_ref().err();
        out.value(&serde_json::json!({
            "message_type": "test", "participant": name, "ok": error.is_none(),
            "error": error.map(|error| &error.code), "message": error.map(|error| &error.message),
            "output": error.map(|error| &error.output),
        }))?;
        match error {
            None => out.line(format!("{name}: ready"))?,
            Some(error) => {
                exit = Exit::Failed;
                out.line(format!("{name}: NOT ready: {} ({})", printable(error.message.as_bytes()), error.code))?;
                let said = error.output.lines().map(|line| format!("  {}", printable(line.as_bytes())));
                said.into_iter().try_for_each(|line| out.line(line))?;
            }
        }
    }
    Ok(exit)
}

/// Why a participant could not write.
struct NotReady {
    code: String,
    message: String,
    output: String,
}

/// Asks on a thread of its own: one that hangs is left behind, this process ends soon.
fn ask(participant: Registered) -> Result<(), NotReady> {
    let limit = participant.descriptor.deadlines.preflight;
    let stop = Stop::default();
    let check = Preflight::asked(stop.clone());
    let (answer, answered) = channel();
    std::thread::spawn(move || {
        let _ = answer.send(participant.code.preflight(&check));
    });
    let answered = |wait| match answered.recv_timeout(wait) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Some(NotReady {
            code: error.failure().code.clone(),
            message: error.failure().message.clone(),
            output: error.output().to_owned(),
        })),
        Err(RecvTimeoutError::Timeout) => Err(None),
        Err(RecvTimeoutError::Disconnected) => Err(Some(NotReady {
            code: "PARTICIPANT_PANICKED".into(),
            message: "its code panicked".into(),
            output: String::new(),
        })),
    };
    match answered(limit.unwrap_or(Duration::from_secs(3600))) {
        Err(Some(error)) => Err(error),
        Ok(()) => Ok(()),
        Err(None) => {
            stop.request();
            // A command is ended by its own thread; give it the time.
            let _ = answered(Duration::from_secs(10));
            let message = format!("no answer within {:?}", limit.unwrap_or_default());
            Err(NotReady { code: "PREFLIGHT_TIMEOUT".into(), message, output: String::new() })
        }
    }
}

async fn reset(context: &Context, name: &str) -> CliResult {
    let (rows, _) = rows(context)?;
    let Some(row) = rows.iter().find(|row| row.name.as_str() == name) else {
        return Err(unknown_participant(name, rows.iter().map(|row| row.name.to_string())));
    };
    let lifted = match row.state.is_quarantined() {
        false => false,
        true => {
            let engine = context.engine("participants", context.lock_wait).await.map_err(errors::engine)?;
            let result = engine.lift_quarantine(&row.name, "asked by the user").await;
            engine.stop().await;
            match result {
                Err(error) if is_out_of_it(&error) => false,
                result => result.map(|()| true).map_err(errors::engine)?,
            }
        }
    };
    context.output.value(&serde_json::json!({ "ok": true, "participant": name, "was_quarantined": lifted }))?;
    context.output.line(match lifted {
        true => format!("{name} is out of quarantine: the next run tries it as often as others"),
        false => format!("{name} is not in quarantine"),
    })?;
    Ok(Exit::Good)
}

/// A run that went well meanwhile has lifted it.
fn is_out_of_it(error: &EngineError) -> bool {
    error.code() == "PARTICIPANT_NOT_QUARANTINED"
}

pub(super) fn unknown_participant(name: &str, known: impl Iterator<Item = String>) -> CliError {
    let known: Vec<_> = known.collect();
    let next = match known.is_empty() {
        true => "There is none in the configuration: `holdfast init` writes one.".to_owned(),
        false => format!("There are: {}.", known.join(", ")),
    };
    CliError::new(Exit::Usage, "UNKNOWN_PARTICIPANT", format!("no participant is called {name:?}"), next)
}
