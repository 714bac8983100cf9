//! A restore in place: a participant's artifact into the `restore` command of the configuration.
//!
//! What the command has done cannot be undone from here. So nothing is begun before the whole artifact was read and was as recorded;
//! and it is checked again while it is fed, so that a command that takes its input for whole has had all of it.

use std::io::{self, Read};

use holdfast_model::failure::Failure;
use holdfast_model::ids::ParticipantName;
use holdfast_model::participant::ChildV1;
use holdfast_model::run::ArtifactStoredV1;

use super::error::RestoreError;
use super::source::{Form, RunSource};
use super::streams;
use crate::command::{Call, CommandSpec, Finished, Launcher};
use crate::config::{Config, Source};
use crate::files::{FilesError, Observer};
use crate::pipeline::{ContentStream, PipelineError};

/// Records a process durably before it becomes the command.
pub type Admit<'a> = &'a dyn Fn(ChildV1) -> Result<(), Failure>;

/// A restore in place that could be made.
pub struct InPlace<'a> {
    source: &'a RunSource,
    artifact: &'a ArtifactStoredV1,
    spec: &'a CommandSpec,
}

impl<'a> InPlace<'a> {
    /// Finds the artifact of `participant` and the command that takes it back. Reads nothing of it yet.
    ///
    /// # Errors
    /// [`RestoreError::HoldsFiles`], [`RestoreError::NoRestoreCommand`], [`RestoreError::NotOneStream`].
    pub fn plan(
        source: &'a RunSource,
        participant: &ParticipantName,
        config: &'a Config,
    ) -> Result<Self, RestoreError> {
        let artifact = source.only_stream(participant)?;
        let configured = config.participants.iter().find(|one| one.descriptor.name == *participant);
        let spec = configured.and_then(|one| match &one.source {
            Source::Command(definition) => definition.restore.as_ref(),
            Source::Files(_) => None,
        });
        let spec = spec.ok_or_else(|| RestoreError::NoRestoreCommand { participant: participant.clone() })?;
        Ok(Self { source, artifact, spec })
    }

    /// The artifact.
    #[must_use]
    pub fn artifact(&self) -> &ArtifactStoredV1 {
        self.artifact
    }

    /// Reads all of the artifact, and throws it away: both hashes are taken again.
    ///
    /// # Errors
    /// [`RestoreError`] where it is not as recorded, or the observer asked to stop.
    pub fn verify(&self, observer: &dyn Observer) -> Result<(), RestoreError> {
        streams::copy(&self.source.reader(self.artifact)?, &mut io::sink(), observer, &mut 0)
    }

    /// Runs the command with the artifact's content as its input. `admit` records its process before it is the command.
    ///
    /// # Errors
    /// [`RestoreError::Command`] where the command was not good; what it has done until then stays. As [`InPlace::verify`] where the
    /// artifact was changed meanwhile.
    pub fn run(
        &self,
        launcher: &Launcher,
        admit: Option<Admit<'_>>,
        observer: &dyn Observer,
    ) -> Result<Finished, RestoreError> {
        let reader = self.source.reader(self.artifact)?;
        let mut content = Watched { content: reader.stream(), observer, failed: None };
        let stopped = || observer.cancelled();
        let call = Call::new(self.spec, launcher)
            .stopped_by(&stopped)
            .variable("HOLDFAST_RUN_ID", self.source.run_id().to_string())
            .variable("HOLDFAST_PARTICIPANT", self.artifact.participant.as_str());
        let finished = match admit {
            Some(admit) => call.admitted_by(admit).feed(&mut content),
            None => call.feed(&mut content),
        };
        match (finished, content.failed) {
            (Ok(finished), _) => Ok(finished),
            (Err(_), Some(error)) => Err(error.into()),
            (Err(_), None) if observer.cancelled() => Err(FilesError::Cancelled.into()),
            (Err(error), None) => Err(RestoreError::Command { participant: self.artifact.participant.clone(), error }),
        }
    }
}

impl RunSource {
    /// The one artifact of a participant whose artifacts are streams.
    ///
    /// # Errors
    /// [`RestoreError::HoldsFiles`] where it has trees, [`RestoreError::NotOneStream`] where there are several.
    pub fn only_stream(&self, participant: &ParticipantName) -> Result<&ArtifactStoredV1, RestoreError> {
        let mut own = self.artifacts().iter().filter(|artifact| artifact.participant == *participant);
        match (own.next(), own.next()) {
            (Some(one), _) if self.form(one) == Form::Tree => {
                Err(RestoreError::HoldsFiles { participant: participant.clone() })
            }
            (Some(one), None) => Ok(one),
            (None, _) => Err(RestoreError::NoParticipant { run_id: self.run_id(), participant: participant.clone() }),
            (Some(_), Some(_)) => {
                let own = self.artifacts().iter().filter(|artifact| artifact.participant == *participant);
                let names = own.map(|artifact| artifact.logical_name.clone()).collect();
                Err(RestoreError::NotOneStream { participant: participant.clone(), names })
            }
        }
    }
}

/// Content on its way into a command. What is wrong with it is kept: a command is only told that there is no more.
struct Watched<'a> {
    content: ContentStream,
    observer: &'a dyn Observer,
    failed: Option<PipelineError>,
}

impl Read for Watched<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self.content.read(bytes) {
            Ok(count) => {
                self.observer.advance(0, count as u64);
                Ok(count)
            }
            Err(error) => {
                self.failed = PipelineError::inside(&error).cloned();
                Err(error)
            }
        }
    }
}
