//! Who takes part: what the configuration and the application define, and what a run records of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_model::ids::ParticipantName;
use holdfast_model::run::{MAX_PARTICIPANTS, NewParticipant, RunType};

use super::registry::{self, Registered, Registry};
use super::request::What;
use super::{EngineError, Start};
use crate::command::{CommandParticipant, Launcher, PhasedCommand};
use crate::config::{Config, ParticipantConfig, RunsConfig, Source};
use crate::participant::{Alone, FilesDefinition, FilesParticipant, Participant, digest};

/// The participants of a run that is asked for: `all` are those there are, `own` is the installation itself, which is part of full runs.
///
/// # Errors
/// [`EngineError`] where there is none, or not one that is named.
pub(super) fn of(
    what: &What,
    all: &[Registered],
    own: Option<&Registered>,
    runs: &RunsConfig,
) -> Result<(RunType, Vec<NewParticipant>), EngineError> {
    match what {
        What::Files(name, definition) => {
            let participant = ad_hoc(name, definition, runs)?;
            Ok((RunType::Full, vec![participant]))
        }
        What::All if all.is_empty() => Err(EngineError::NoParticipants),
        // Last: it takes little, and what it holds is of before the run.
        What::All => {
            let own = own.filter(|_| all.len() < MAX_PARTICIPANTS);
            Ok((RunType::Full, all.iter().chain(own).map(by_digest).collect()))
        }
        What::Named(names) => {
            let is = |name: &ParticipantName| all.iter().any(|one| one.descriptor.name == *name);
            let unknown: Vec<_> = names.iter().filter(|name| !is(name)).map(ToString::to_string).collect();
            if !unknown.is_empty() || names.is_empty() {
                let known = all.iter().map(|one| one.descriptor.name.to_string()).collect();
                return Err(EngineError::UnknownParticipant { unknown, known });
            }
            let named = all.iter().filter(|one| names.contains(&one.descriptor.name));
            Ok((RunType::Scoped, named.map(by_digest).collect()))
        }
    }
}

/// Sees that all participants can stand still together.
///
/// # Errors
/// [`EngineError::CannotStandStill`] names those that cannot.
pub(super) fn can_stand_still(participants: &[NewParticipant], all: &[Registered]) -> Result<(), EngineError> {
    let can = |one: &NewParticipant| {
        all.iter().any(|registered| registered.descriptor.name == one.name && registered.code.phases().is_some())
    };
    let unable: Vec<_> = participants.iter().filter(|one| !can(one)).map(|one| one.name.to_string()).collect();
    if unable.is_empty() { Ok(()) } else { Err(EngineError::CannotStandStill(unable)) }
}

fn ad_hoc(
    name: &ParticipantName,
    definition: &FilesDefinition,
    runs: &RunsConfig,
) -> Result<NewParticipant, EngineError> {
    let definition = serde_json::to_string(definition).map_err(|error| EngineError::Thread(error.to_string()))?;
    Ok(NewParticipant {
        name: name.clone(),
        kind: FilesDefinition::KIND.into(),
        critical: true,
        definition_sha256: digest(&definition),
        definition,
        depends_on: Vec::new(),
        max_tries: runs.max_tries,
        retry_delay_ms: millis(runs.retry_delay),
        format_version: 1,
    })
}

/// The participants of the configuration, then those of the application.
pub(super) fn participants(start: &Start, home: &Path) -> Result<(Registry, Launcher), EngineError> {
    let commands = start.config.participants.iter().any(|one| matches!(one.source, Source::Command(_)));
    let launcher = match &start.launcher {
        Some(launcher) => launcher.clone(),
        None if commands => return Err(EngineError::NoLauncher),
        None => Launcher::this_program(),
    };
    let registry = Registry::new(configured(&start.config, home, &launcher), start.late_registration);
    let registry = registry.map_err(registry::taken)?;
    start.participants.iter().try_for_each(|participant| registry.add(participant.clone())).map_err(registry::taken)?;
    Ok((registry, launcher))
}

/// The participants of a configuration. `home` is never part of what they take.
pub(crate) fn configured(config: &Config, home: &Path, launcher: &Launcher) -> Vec<Registered> {
    let registered = |one: &ParticipantConfig| {
        let code: Arc<dyn Participant> = match &one.source {
            Source::Files(definition) => Arc::new(FilesParticipant::new(definition.clone(), home.to_owned())),
            Source::Command(definition) => {
                let commands = CommandParticipant::new(definition.clone(), launcher.clone());
                match PhasedCommand::of(&commands) {
                    Some(phased) => Arc::new(Alone(phased)),
                    None => Arc::new(commands),
                }
            }
        };
        Registered { descriptor: one.descriptor.clone(), code }
    };
    config.participants.iter().map(registered).collect()
}

/// A participant that the configuration or the application defines: the run records its digest.
fn by_digest(participant: &Registered) -> NewParticipant {
    let descriptor = &participant.descriptor;
    NewParticipant {
        name: descriptor.name.clone(),
        kind: descriptor.kind.clone(),
        critical: descriptor.critical,
        definition: String::new(),
        definition_sha256: descriptor.digest,
        depends_on: descriptor.depends_on.clone(),
        max_tries: descriptor.max_tries,
        retry_delay_ms: millis(descriptor.retry_delay),
        format_version: descriptor.format_version,
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
