//! `init`: writes a configuration that is commented and passes `config check`.

mod named;
mod questions;
#[cfg(test)]
mod tests;
mod text;

use std::io::{self, ErrorKind, IsTerminal};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use holdfast_log::durable;
use holdfast_model::ids::ParticipantName;

use self::text::{Chosen, Participant, Takes};
use super::args::InitArgs;
use super::exit::{CliError, CliResult, Exit};
use super::output::{Output, counted};
use super::{absolute, config};
use crate::config::Config;

/// Writes the file to `--output`, else to where the other commands look for it.
pub(super) fn init(args: &InitArgs, given: Option<&Path>, home: &Path, output: Output) -> CliResult {
    let default = config::default_place(home);
    let place = match args.output.as_deref().or(given) {
        Some(path) => absolute(path)?,
        None => default.clone(),
    };
    // Told before anything is asked.
    if !args.force && place.symlink_metadata().is_ok() {
        return Err(CliError::new(
            Exit::Usage,
            "CONFIG_EXISTS",
            format!("there is a configuration {} already", place.display()),
            "Change it with an editor, or replace it with --force.",
        ));
    }
    let chosen = if !args.files.is_empty() || !args.command.is_empty() {
        from_flags(args)?
    } else if !output.json && io::stdin().is_terminal() && io::stderr().is_terminal() {
        from_answers()?
    } else {
        Chosen::default()
    };
    let text = text::configuration(&chosen);
    Config::parse(&text, &place).map_err(|error| config::invalid(&error))?;
    if place == default {
        make_home(home).map_err(|error| not_written(home, &error))?;
    }
    durable::write_atomic(&place, text.as_bytes(), 0o600).map_err(|error| not_written(&place, &error))?;
    told(&chosen, &place, &option(&place, home), output)
}

fn from_flags(args: &InitArgs) -> Result<Chosen, CliError> {
    let wrong = |reason: String| CliError::new(Exit::Usage, "USAGE", reason, "`holdfast init --help` shows examples.");
    let mut participants: Vec<Participant> = Vec::new();
    for (name, path) in &args.files {
        let path = named::path(path).map_err(wrong)?;
        let same = participants.iter_mut().find(|participant| participant.name == *name);
        if let Some(Participant { takes: Takes::Files(paths), .. }) = same {
            paths.push(path);
            continue;
        }
        let name = free_name(&participants, name).map_err(wrong)?;
        participants.push(Participant { name, takes: Takes::Files(vec![path]) });
    }
    for (name, script) in &args.command {
        let name = free_name(&participants, name).map_err(wrong)?;
        let command = named::script(script).map_err(wrong)?;
        participants.push(Participant { name, takes: Takes::Command { command, restore: None } });
    }
    Ok(Chosen { participants, ..Chosen::default() })
}

fn free_name(participants: &[Participant], name: &ParticipantName) -> Result<ParticipantName, String> {
    named::new_name(participants, name.as_str())
}

fn from_answers() -> Result<Chosen, CliError> {
    questions::ask(&mut io::stdin().lock(), &mut io::stderr().lock()).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => {
            CliError::new(Exit::Cancelled, "CANCELLED", "the answers ended; nothing was written", "")
        }
        _ => CliError::failed("TERMINAL", format!("cannot ask on the terminal: {error}")),
    })
}

/// The home's folder and what lies above it; what is new is for its owner alone.
fn make_home(home: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(home)?;
    durable::sync_dir(durable::parent(home))
}

fn not_written(path: &Path, error: &io::Error) -> CliError {
    let next = "Nothing was written. See to what the system says, or name another place with --output FILE.";
    CliError::new(Exit::Failed, "CONFIG_NOT_WRITTEN", format!("cannot write {}: {error}", path.display()), next)
}

/// What the next commands must be told to find the file.
fn option(place: &Path, home: &Path) -> String {
    let usual = super::home(std::env::var_os("HOLDFAST_HOME").map(PathBuf::from));
    if place != config::default_place(home) {
        format!(" --config {}", text::for_shell(place))
    } else if usual.is_ok_and(|usual| usual == home) {
        String::new()
    } else {
        format!(" --home {}", text::for_shell(home))
    }
}

fn told(chosen: &Chosen, place: &Path, option: &str, output: Output) -> CliResult {
    let next = [format!("holdfast config check{option}"), format!("holdfast backup{option}")];
    let count = chosen.participants.len();
    output.value(&serde_json::json!({ "ok": true, "path": place, "participants": count, "next": next }))?;
    output.result(format!("wrote {} with {}", place.display(), counted(count as u64, "participant")))?;
    let intro = if count == 0 { "Say in it what is to be backed up, then:" } else { "Next:" };
    output.line(format!("{intro}\n  {}", next.join("\n  ")))?;
    Ok(Exit::Good)
}
