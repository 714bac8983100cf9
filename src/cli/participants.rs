//! `participants`: who takes part, how they stand, whether they could write now.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use holdfast_actors::ports::Stop;
use holdfast_model::history::History;

use super::args::{ParticipantsArgs, ParticipantsCommand};
use super::door::{Door, Purpose};
use super::exit::{CliError, CliResult, Exit};
use super::lock::reason;
use super::output::{printable, table, time};
use super::{Context, errors};
use crate::api::ErrorCode;
use crate::api::commands::{GetBackupParticipants, ResetBackupParticipant};
use crate::command::Launcher;
use crate::engine::{ParticipantRow, Registered, configured, defined, participant_rows};
use crate::participant::Preflight;

pub(super) async fn run(context: &Context, args: &ParticipantsArgs) -> CliResult {
    match &args.command {
        None => list(context).await,
        Some(ParticipantsCommand::Test { names }) => test(context, names),
        Some(ParticipantsCommand::Reset { name }) => reset(context, name).await,
    }
}

/// The participants, as whoever owns the home lists them.
async fn rows(context: &Context, owner: Option<&Door>) -> Result<Vec<ParticipantRow>, CliError> {
    if let Some(owner) = owner {
        return Ok(owner.ask(&GetBackupParticipants {}).await?.rows);
    }
    let defined = defined(configured(&context.config, &context.home, &Launcher::this_program()));
    let Some(view) = context.view_if_there()? else {
        return Ok(participant_rows(defined, &History::default(), &[], false));
    };
    let open = view.history().open().map(|entry| view.run(entry.run_id));
    let open: Vec<_> = open.collect::<Result<_, _>>().map_err(errors::view)?;
    Ok(participant_rows(defined, view.history(), &open, view.owned()))
}

async fn list(context: &Context) -> CliResult {
    let out = context.output;
    let owner = Door::attach(context).await?;
    let rows = rows(context, owner.as_ref()).await?;
    if out.json {
        out.value(&serde_json::json!({ "rows": rows }))?;
    } else if rows.is_empty() {
        out.line("no participants: `holdfast init` writes a configuration")?;
    } else {
        let cells: Vec<_> = rows.iter().map(cells).collect();
        out.result(table(
            &["PARTICIPANT", "KIND", "", "STATE", "FAILURES", "NEXT RETRY", "LAST GOOD", "LAST FAILURE"],
            &cells,
        ))?;
    }
    Ok(Exit::Good)
}

fn cells(row: &ParticipantRow) -> Vec<String> {
    let weight = match (row.configured, row.critical) {
        (true, true) => "critical",
        (true, false) => "optional",
        (false, _) => "not configured",
    };
    let good = match (row.last_good_run, row.last_good_run_status.as_str()) {
        (None, _) => "never".to_owned(),
        (Some(run), "" | "completed") => format!("{}, run {run}", time(row.last_good_at)),
        (Some(run), status) => format!("{}, run {run} ({status})", time(row.last_good_at)),
    };
    let failure = match row.last_error.as_str() {
        "" => String::new(),
        error => format!("{}: {}", time(row.last_failed_at), printable(error.as_bytes())),
    };
    let kind = row.kind.clone();
    let retry = if row.next_retry == 0 { "-".to_owned() } else { time(row.next_retry) };
    let (name, state, failures) = (row.name.to_string(), row.state.clone(), row.failures.to_string());
    vec![name, kind, weight.to_owned(), state, failures, retry, good, failure]
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
    let attached = Door::attach(context).await?;
    let rows = rows(context, attached.as_ref()).await?;
    let Some(row) = rows.iter().find(|row| row.name.as_str() == name) else {
        return Err(unknown_participant(name, rows.iter().map(|row| row.name.to_string())));
    };
    let lifted = match row.quarantined {
        false => false,
        true => {
            let door = match attached {
                Some(door) => door,
                None => Door::open(context, Purpose::Brief("participants"), context.lock_wait).await?,
            };
            let reset = ResetBackupParticipant { name: row.name.clone(), reason: reason("asked by the user")? };
            let result = door.ask(&reset).await;
            door.close().await;
            match result {
                // A run that went well meanwhile has lifted it.
                Err(error) if error.code == ErrorCode::NotQuarantined.as_str() => false,
                result => result.map(|_| true)?,
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

pub(super) fn unknown_participant(name: &str, known: impl Iterator<Item = String>) -> CliError {
    let known: Vec<_> = known.collect();
    let next = match known.is_empty() {
        true => "There is none in the configuration: `holdfast init` writes one.".to_owned(),
        false => format!("There are: {}.", known.join(", ")),
    };
    CliError::new(Exit::Usage, "UNKNOWN_PARTICIPANT", format!("no participant is called {name:?}"), next)
}
