//! A command as a participant that stands still for a moment.
//!
//! Between freeze and thaw nothing waits for the log: the processes for both are started beforehand and held at a gate, and it is on record
//! that a thaw is owed before the first of them becomes its command. For each freeze that was begun, thaw is run once: when all was
//! captured, when anything failed, and by the next process where this one died. Whoever could not be let go is owed that further on.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use holdfast_actors::ports::Known;
use holdfast_model::failure::FailureKind;
use holdfast_model::ids::{ParticipantName, RunId};

use super::child::{Call, Gated, Stream};
use super::error::CommandError;
use super::launch::{Direction, Word};
use super::participant::CommandParticipant;
use super::spec::CommandSpec;
use crate::participant::{
    Artifacts, Capture, Frozen, Participant, ParticipantError, Phase, Phased, Preflight, Restore, THAW_WITHIN, Thaw,
    overdue,
};

/// A participant that is a command with a `freeze` and a `thaw`.
pub(crate) struct PhasedCommand {
    commands: CommandParticipant,
    freeze: CommandSpec,
    thaw: CommandSpec,
    /// From the end of its preparation to its freeze; it works for one run at a time.
    ready: Mutex<Option<Ready>>,
}

/// The processes that wait to become the commands.
struct Ready {
    freeze: Gated,
    thaw: Gated,
}

impl PhasedCommand {
    /// `None` where it cannot stand still.
    pub(crate) fn of(commands: &CommandParticipant) -> Option<Self> {
        let (freeze, thaw) = (commands.definition.freeze.clone()?, commands.definition.thaw.clone()?);
        Some(Self { commands: commands.clone(), freeze, thaw, ready: Mutex::new(None) })
    }

    fn take_ready(&self) -> Option<Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn call<'a>(&'a self, spec: &'a CommandSpec, phase: &Phase, stopped: &'a dyn Fn() -> bool) -> Call<'a> {
        for_run(&self.commands, spec, phase.run_id(), phase.participant()).stopped_by(stopped)
    }
}

/// A call that says for whom and for which run it is.
fn for_run<'a>(
    commands: &'a CommandParticipant,
    spec: &'a CommandSpec,
    run_id: RunId,
    participant: &ParticipantName,
) -> Call<'a> {
    Call::new(spec, &commands.launcher)
        .variable("HOLDFAST_RUN_ID", run_id.to_string())
        .variable("HOLDFAST_PARTICIPANT", participant.as_str())
}

/// What was ended because its time was over has not been cancelled.
fn in_time(phase: &Phase, code: &str, what: &str, error: ParticipantError) -> ParticipantError {
    let over = phase.time_left().is_some_and(|left| left.is_zero());
    match error.failure().kind {
        FailureKind::Cancelled if over => overdue(code, format!("its {what} did not end in time")).into(),
        _ => error,
    }
}

fn is_over(phase: &Phase) -> bool {
    phase.stopped() || phase.time_left().is_some_and(|left| left.is_zero())
}

impl Phased for PhasedCommand {
    fn preflight(&self, check: &Preflight) -> Result<(), ParticipantError> {
        self.commands.preflight(check)
    }

    fn restore(&self) -> Option<&dyn Restore> {
        Participant::restore(&self.commands)
    }

    /// Runs `prepare`, starts the processes for freeze and thaw, and has it recorded that a thaw will be owed.
    fn prepare(&self, phase: &Phase) -> Result<(), ParticipantError> {
        let over = || is_over(phase);
        if let Some(spec) = &self.commands.definition.prepare {
            let admit = |child| phase.note(Known::Child(child));
            let call = self.call(spec, phase, &over).admitted_by(&admit);
            let done = call.take(&mut io::sink());
            done.map_err(|error| in_time(phase, "PREPARE_TIMEOUT", "prepare", error.of("its prepare")))?;
        }
        let gate = |spec, what| {
            let gated = self.call(spec, phase, &over).gate(Direction::Take);
            gated.map_err(|error| in_time(phase, "PREPARE_TIMEOUT", what, error.said(&[]).of(&format!("its {what}"))))
        };
        let ready = Ready { freeze: gate(&self.freeze, "freeze")?, thaw: gate(&self.thaw, "thaw")? };
        phase.note(Known::Freeze(vec![ready.freeze.record(), ready.thaw.record()]))?;
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(ready);
        Ok(())
    }

    fn stand_down(&self, phase: &Phase) {
        if self.take_ready().is_some() {
            let _ = phase.note(Known::Thawed);
        }
    }

    fn freeze(&self, phase: &Phase) -> Result<Box<dyn Frozen>, ParticipantError> {
        let Some(Ready { freeze, thaw }) = self.take_ready() else {
            return Err(ParticipantError::fatal("NOT_PREPARED", "its freeze was not prepared"));
        };
        let over = || is_over(phase);
        let still = Box::new(Still {
            commands: self.commands.clone(),
            thaw: self.thaw.clone(),
            gated: Some(thaw),
            phase: phase.clone(),
        });
        let call = self.call(&self.freeze, phase, &over);
        let begun = match call.go(freeze, Word::Go) {
            Ok(begun) => begun,
            Err(error) => {
                let refused = error.was_refused();
                let error = in_time(phase, "FREEZE_BUDGET_EXCEEDED", "freeze", error.said(&[]).of("its freeze"));
                // Only what the system refused has certainly not run.
                if refused {
                    let _ = phase.note(Known::Thawed);
                    return Err(error);
                }
                return Err(after_abort(still, error));
            }
        };
        match begun.follow(&call, Stream::Into(&mut io::sink())) {
            Ok(_) => Ok(still),
            // Half of what it freezes may stand still.
            Err(error) => {
                let error = in_time(phase, "FREEZE_BUDGET_EXCEEDED", "freeze", error.of("its freeze"));
                Err(after_abort(still, error))
            }
        }
    }
}

fn after_abort(still: Box<Still>, error: ParticipantError) -> ParticipantError {
    if let Err(thawed) = still.thaw(Thaw::Abort) {
        tracing::error!(error = %thawed, "a participant whose freeze failed could not be let go");
    }
    error
}

/// A command's participant that stands still.
struct Still {
    commands: CommandParticipant,
    thaw: CommandSpec,
    gated: Option<Gated>,
    phase: Phase,
}

impl Frozen for Still {
    /// Nothing but a mark: what `freeze` left behind says how that moment is read.
    fn capture(&mut self, _phase: &Phase) -> Result<Box<dyn Capture>, ParticipantError> {
        Ok(Box::new(Moment(self.commands.clone())))
    }

    fn thaw(mut self: Box<Self>, how: Thaw) -> Result<(), ParticipantError> {
        let word = match how {
            Thaw::Done => Word::Go,
            Thaw::Abort => Word::Abort,
        };
        let (run_id, participant) = (self.phase.run_id(), self.phase.participant());
        let _waited_for = self.phase.thaws();
        let until = Instant::now() + THAW_WITHIN;
        let over = || Instant::now() >= until;
        let call = for_run(&self.commands, &self.thaw, run_id, participant).stopped_by(&over);
        let gated = self.gated.take().ok_or_else(|| ParticipantError::fatal("NOT_FROZEN", "it was thawed before"))?;
        thawed(&call, gated, word)?;
        self.phase.note(Known::Thawed)?;
        Ok(())
    }
}

/// Runs a thaw by the process that waits for it; where that is gone, by a new one.
fn thawed(call: &Call<'_>, gated: Gated, word: Word) -> Result<(), ParticipantError> {
    let failed = |error: CommandError| error.said(&[]).of("its thaw");
    let begun = match call.go(gated, word) {
        Err(error) if !error.was_refused() => {
            tracing::warn!(%error, "the process that waited to thaw is gone: another one does");
            call.gate(Direction::Take).and_then(|gated| call.go(gated, word))
        }
        begun => begun,
    };
    let done = begun.map_err(failed)?.follow(call, Stream::Into(&mut io::sink()));
    done.map(drop).map_err(|error| error.of("its thaw"))
}

/// Lets go what a process that died left standing still: runs `thaw`, which is told that it is an abort.
///
/// # Errors
/// Why it could not be let go, or that there is no `thaw`.
pub(crate) fn thaw_left_over(
    commands: &CommandParticipant,
    participant: &ParticipantName,
    run_id: RunId,
) -> Result<(), ParticipantError> {
    let Some(spec) = &commands.definition.thaw else {
        let text = "the configuration has no `thaw` for it any more: let it go by hand, or give back its `thaw`";
        return Err(ParticipantError::fatal("THAW_MISSING", text));
    };
    let until = Instant::now() + THAW_WITHIN;
    let over = || Instant::now() >= until;
    let call = for_run(commands, spec, run_id, participant).stopped_by(&over);
    let gated = call.gate(Direction::Take).map_err(|error| error.said(&[]).of("its thaw"))?;
    thawed(&call, gated, Word::Abort)
}

/// What a command reads a frozen moment by is what its `freeze` left behind.
struct Moment(CommandParticipant);

impl Capture for Moment {
    fn write(&mut self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        self.0.write(artifacts)
    }
}
