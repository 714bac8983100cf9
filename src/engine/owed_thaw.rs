//! The thaws that a process owed when it died: the first thing that the next start does.

use actix::Addr;
use holdfast_actors::root::Root;
use holdfast_model::history::History;
use holdfast_model::ids::{ParticipantName, RunId};
use holdfast_model::participant::ParticipantCommand;

use super::settle::for_participant;
use super::{EngineError, Start};
use crate::command::{CommandParticipant, Launcher, thaw_left_over};
use crate::config::Source;
use crate::participant::ParticipantError;

/// Lets go whoever was told to stand still and is not known to have been let go, and says so, a line each. Those that depend on others go
/// on before these, as in a run. Who cannot be let go is owed it still: the next start tries again.
pub(super) async fn settle(
    root: &Addr<Root>,
    history: &History,
    start: &Start,
    launcher: &Launcher,
) -> Result<Vec<String>, EngineError> {
    let mut owed: Vec<_> =
        history.participants().iter().filter_map(|(name, one)| Some((name.clone(), one.owes_thaw()?))).collect();
    let place = |name: &ParticipantName| start.config.participants.iter().position(|one| one.descriptor.name == *name);
    owed.sort_by_key(|(name, _)| std::cmp::Reverse(place(name)));
    let mut told = Vec::new();
    for (name, run_id) in owed {
        match thaw(&name, run_id, start, launcher).await {
            Ok(()) => {
                let command = ParticipantCommand::Thawed { run_id };
                for_participant(root, &name, command, &start.origin).await?;
                tracing::warn!(participant = %name, %run_id, "it was let go, which a process that died owed it");
                told.push(format!(
                    "{name} was let go: a process that died in run {run_id} may have left it standing still"
                ));
            }
            Err(error) => {
                tracing::error!(participant = %name, %run_id, %error, "it may stand still, and could not be let go");
                told.push(format!(
                    "{name} may stand still since run {run_id}, and could not be let go; the next start tries again: {error}"
                ));
            }
        }
    }
    Ok(told)
}

async fn thaw(
    name: &ParticipantName,
    run_id: RunId,
    start: &Start,
    launcher: &Launcher,
) -> Result<(), ParticipantError> {
    let found = start.config.participants.iter().find(|one| one.descriptor.name == *name);
    let Some(Source::Command(definition)) = found.map(|one| &one.source) else {
        let text = "it is not in the configuration: start with the one that has its `thaw`";
        return Err(ParticipantError::fatal("THAW_MISSING", text));
    };
    let commands = CommandParticipant::new(definition.clone(), launcher.clone());
    let name = name.clone();
    let thawed = tokio::task::spawn_blocking(move || thaw_left_over(&commands, &name, run_id)).await;
    thawed.unwrap_or_else(|panic| Err(ParticipantError::fatal("THAW_PANICKED", panic.to_string())))
}
