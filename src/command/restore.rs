//! A command that takes its artifact back.
//!
//! Its commit is the `restore` command, fed with the artifact. Nothing lies beside the live data before: what is staged is the knowledge that
//! every byte of the artifact is as recorded, and the hashes are taken once more while the command reads. A command that is cut short may
//! have done half of what it does: that is made good by the same command, fed with the state before. So a `restore` command is one that
//! can be run again, over what an earlier one left.

use std::io::{self, Read};
use std::sync::PoisonError;

use holdfast_model::failure::FailureKind;

use super::child::Call;
use super::participant::CommandParticipant;
use super::phases::PhasedCommand;
use super::program::could_run;
use super::spec::CommandSpec;
use crate::participant::{
    Alone, Artifacts, Capture, Offer, Participant, ParticipantError, Planned, Quiesced, Restore, RestorePhase, Staging,
};
use crate::pipeline::ArtifactReader;

/// Bytes read at a time where they are only looked at.
const CHUNK: usize = 256 << 10;

/// The artifact that a `restore` command will be fed with, and under which key.
pub(super) struct Staged {
    key: String,
    reader: ArtifactReader,
}

impl CommandParticipant {
    fn restore_command(&self) -> Result<&CommandSpec, ParticipantError> {
        let text = "the configuration has no `restore` command for it";
        self.definition.restore.as_ref().ok_or_else(|| ParticipantError::fatal("NO_RESTORE_COMMAND", text))
    }

    /// A call that says for which restore it is.
    fn for_restore<'a>(
        &'a self,
        spec: &'a CommandSpec,
        phase: &'a RestorePhase,
        stopped: &'a dyn Fn() -> bool,
    ) -> Call<'a> {
        Call::new(spec, &self.launcher)
            .stopped_by(stopped)
            .admitted_by(&**phase.admit())
            .variable("HOLDFAST_RESTORE_ID", phase.restore_id().to_string())
            .variable("HOLDFAST_RUN_ID", phase.run_id().to_string())
            .variable("HOLDFAST_PARTICIPANT", phase.participant().as_str())
    }
}

impl Restore for CommandParticipant {
    fn plan(&self, offer: &Offer) -> Result<Planned, ParticipantError> {
        could_run(self.restore_command()?).map_err(|error| error.said(&[]).of("its restore"))?;
        if let Some(verify) = &self.definition.verify {
            could_run(verify).map_err(|error| error.said(&[]).of("its verify"))?;
        }
        if let [_] = offer.artifacts() {
            let text =
                "its `restore` command is fed with the artifact, and again with the state before where anything fails";
            return Ok(Planned::compensated().note(text));
        }
        let text = "its `restore` command takes one artifact, and the run has another number of them for it";
        Err(ParticipantError::fatal("NOT_ONE_STREAM", text))
    }

    /// A command cannot keep others from its data: that is what maintenance says.
    fn quiesce(&self, _phase: &RestorePhase) -> Result<Box<dyn Quiesced>, ParticipantError> {
        Ok(Box::new(AsItIs(self.clone())))
    }

    fn stage(&self, staging: &mut Staging) -> Result<(), ParticipantError> {
        let key = staging.phase().key();
        let Some(mut artifact) = staging.next_artifact() else {
            return Err(ParticipantError::fatal("NOT_ONE_STREAM", "there is no artifact to feed it with"));
        };
        let mut chunk = vec![0; CHUNK];
        while artifact.read(&mut chunk)? > 0 {}
        let staged = Staged { key, reader: artifact.into_reader() };
        *self.staged.lock().unwrap_or_else(PoisonError::into_inner) = Some(staged);
        Ok(())
    }

    fn commit(&self, phase: &RestorePhase) -> Result<(), ParticipantError> {
        let staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner).take();
        let staged = staged.filter(|staged| staged.key == phase.key());
        let Some(staged) = staged else {
            return Err(ParticipantError::fatal("NOT_STAGED", "nothing was made ready for it"));
        };
        let stopped = || phase.stopped() || phase.time_left().is_some_and(|left| left.is_zero());
        let mut content = staged.reader.stream();
        let call = self.for_restore(self.restore_command()?, phase, &stopped);
        let finished = call.feed(&mut content).map_err(|error| error.of("its restore"))?;
        phase.say(&String::from_utf8_lossy(&finished.said));
        Ok(())
    }

    fn verify(&self, phase: &RestorePhase) -> Result<(), ParticipantError> {
        let Some(spec) = &self.definition.verify else { return Ok(()) };
        let stopped = || phase.stopped() || phase.time_left().is_some_and(|left| left.is_zero());
        let done = self.for_restore(spec, phase, &stopped).take(&mut io::sink());
        done.map(drop).map_err(|error| error.of("its verify"))
    }

    fn discard(&self, _phase: &RestorePhase) -> Result<(), ParticipantError> {
        *self.staged.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

/// A command's participant in a restore.
struct AsItIs(CommandParticipant);

impl Quiesced for AsItIs {
    /// Nothing yet: what it has is what its `command` says when it is written.
    fn capture(&mut self, _phase: &RestorePhase) -> Result<Box<dyn Capture>, ParticipantError> {
        Ok(Box::new(Whole(self.0.clone())))
    }

    fn stands_still(&self) -> bool {
        false
    }

    fn resume(self: Box<Self>) -> Result<(), ParticipantError> {
        Ok(())
    }
}

/// All that a backup of it does: where it has a `freeze`, its command reads what that leaves behind.
struct Whole(CommandParticipant);

impl Capture for Whole {
    fn write(&mut self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        let written = match PhasedCommand::of(&self.0) {
            Some(phased) => Alone(phased).write(artifacts),
            None => self.0.write(artifacts),
        };
        written.map_err(|error| match error.failure().kind {
            FailureKind::Cancelled => error,
            _ => error.of("its state before"),
        })
    }
}
