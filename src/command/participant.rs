//! A command as a participant: its output is an artifact, and its `restore` takes the artifact back.

use std::io;
use std::sync::{Arc, Mutex};

use holdfast_model::ids::ArtifactName;
use serde::{Deserialize, Serialize};

use super::child::Call;
use super::error::CommandError;
use super::launch::Launcher;
use super::program::could_run;
use super::restore::Staged;
use super::spec::CommandSpec;
use crate::participant::{Artifacts, Participant, ParticipantError, Preflight, Restore};

/// The commands of a participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandDefinition {
    /// Its output is the artifact.
    pub command: CommandSpec,
    /// The artifact's name, for example `site.sql`.
    pub artifact: ArtifactName,
    /// Whether no output at all is a good answer.
    #[serde(default)]
    pub allow_empty: bool,
    /// Run before: fails where the command could not work. Its output is ignored.
    #[serde(default)]
    pub preflight: Option<CommandSpec>,
    /// Takes the artifact back on its standard input.
    #[serde(default)]
    pub restore: Option<CommandSpec>,
    /// Run after `restore`: fails where what is there now is not good, and all is put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<CommandSpec>,
    /// The slow work before `freeze`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<CommandSpec>,
    /// Keeps the data from changing, and leaves behind what `command` reads that moment by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<CommandSpec>,
    /// Lets the data change again. Run once for each `freeze` that was begun, also where that failed or its process died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thaw: Option<CommandSpec>,
}

impl CommandDefinition {
    /// All its commands, by the keys of the configuration.
    pub(crate) fn commands(&self) -> [(&'static str, Option<&CommandSpec>); 7] {
        [
            ("command", Some(&self.command)),
            ("preflight", self.preflight.as_ref()),
            ("restore", self.restore.as_ref()),
            ("verify", self.verify.as_ref()),
            ("prepare", self.prepare.as_ref()),
            ("freeze", self.freeze.as_ref()),
            ("thaw", self.thaw.as_ref()),
        ]
    }

    /// All its commands, to change them.
    pub(crate) fn commands_mut(&mut self) -> impl Iterator<Item = &mut CommandSpec> {
        let others = [
            &mut self.preflight,
            &mut self.restore,
            &mut self.verify,
            &mut self.prepare,
            &mut self.freeze,
            &mut self.thaw,
        ];
        [&mut self.command].into_iter().chain(others.into_iter().flatten())
    }
}

/// A participant that is a command.
#[derive(Clone)]
pub struct CommandParticipant {
    pub(super) definition: CommandDefinition,
    pub(super) launcher: Launcher,
    /// From its staging in a restore to its commit.
    pub(super) staged: Arc<Mutex<Option<Staged>>>,
}

impl CommandParticipant {
    /// A participant of these commands, started through `launcher`.
    #[must_use]
    pub fn new(definition: CommandDefinition, launcher: Launcher) -> Self {
        Self { definition, launcher, staged: Arc::default() }
    }
}

impl Participant for CommandParticipant {
    /// Runs the preflight command; without one, sees that the command's program can be found and executed, its folder entered and
    /// its secrets read.
    fn preflight(&self, check: &Preflight) -> Result<(), ParticipantError> {
        could_run(&self.definition.command).map_err(|error| error.said(&[]))?;
        let CommandDefinition { prepare, freeze, thaw, .. } = &self.definition;
        for (what, spec) in [("its prepare", prepare), ("its freeze", freeze), ("its thaw", thaw)] {
            spec.as_ref().map_or(Ok(()), could_run).map_err(|error| error.said(&[]).of(what))?;
        }
        let Some(spec) = &self.definition.preflight else { return Ok(()) };
        let stopped = || check.stopped();
        let call = Call::new(spec, &self.launcher).stopped_by(&stopped);
        match check.admit() {
            Some(admit) => call.admitted_by(&**admit).take(&mut io::sink()),
            None => call.take(&mut io::sink()),
        }
        .map(drop)
        .map_err(|error| error.of("its preflight"))
    }

    fn restore(&self) -> Option<&dyn Restore> {
        self.definition.restore.as_ref().map(|_| self as &dyn Restore)
    }

    fn write(&self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        let surroundings = artifacts.surroundings().clone();
        let mut sink = artifacts.create(self.definition.artifact.as_str())?;
        let stopped = || surroundings.stop.requested();
        let finished = Call::new(&self.definition.command, &self.launcher)
            .stopped_by(&stopped)
            .admitted_by(&*surroundings.admit)
            .variable("HOLDFAST_RUN_ID", surroundings.work.run_id.to_string())
            .variable("HOLDFAST_PARTICIPANT", surroundings.participant.as_str())
            .take(&mut sink)?;
        if finished.bytes == 0 && !self.definition.allow_empty {
            return Err(CommandError::Empty.said(&finished.said));
        }
        sink.finish()
    }
}
