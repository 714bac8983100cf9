//! `ParticipantActor`: drives one participant's work for one run at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use actix::{Addr, AsyncContext, Context, Handler, Message};
use holdfast_model::codec::Origin;
use holdfast_model::event::ParticipantEvent;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ParticipantName, RunId, StreamId};
use holdfast_model::participant::{Participant, ParticipantCommand, ParticipantEffect, Work};
use holdfast_model::run::{ParticipantCompletedV1, ParticipantProgressedV1, RunCommand, RunParticipant};

use crate::event_sourced::{Command, EventSourced, Role};
use crate::ports::{Job, Stop, World, Written};
use crate::report::Report;
use crate::run::RunActor;

/// The actor of one participant.
pub type ParticipantActor = EventSourced<ParticipantRole>;

/// The live counts of everything at work, by run and participant.
pub type LiveCounts = Arc<Mutex<BTreeMap<(RunId, ParticipantName), Arc<Report>>>>;

/// What a run wants a participant to do.
struct Assignment {
    run: Addr<RunActor>,
    work: Work,
    participant: RunParticipant,
    compression: String,
    origin: Origin,
    stop: Stop,
    result: Option<Result<Written, Failure>>,
}

/// A participant beside its state.
pub struct ParticipantRole {
    name: ParticipantName,
    world: World,
    live: LiveCounts,
    assignment: Option<Assignment>,
    /// What follows once the work under way has ended.
    next: Option<Assign>,
}

impl ParticipantRole {
    /// The role of the participant called `name`.
    #[must_use]
    pub fn new(name: ParticipantName, world: World, live: LiveCounts) -> Self {
        Self { name, world, live, assignment: None, next: None }
    }

    fn job(&self, work: Work, assignment: &Assignment) -> Job {
        let (run, name, origin) = (assignment.run.clone(), self.name.clone(), assignment.origin.clone());
        let report = Arc::new(Report::new(
            self.world.clock.clone(),
            Box::new(move |counts| {
                let progress = ParticipantProgressedV1 {
                    participant: name.clone(),
                    bytes_done: counts.bytes_done,
                    bytes_total: counts.bytes_total,
                    files_done: counts.files_done,
                    files_total: counts.files_total,
                };
                // A full mailbox only means that a newer step will follow.
                let _ = run.try_send(Command { command: RunCommand::Progress(progress), origin: origin.clone() });
            }),
        ));
        if let Ok(mut live) = self.live.lock() {
            live.insert((work.run_id, self.name.clone()), report.clone());
        }
        Job {
            work,
            participant: assignment.participant.clone(),
            compression: assignment.compression.clone(),
            report,
            stop: assignment.stop.clone(),
        }
    }

    /// Tells the run how it ended.
    fn report(&mut self) {
        let Some(assignment) = self.assignment.take() else { return };
        let participant = self.name.clone();
        let died =
            || Failure::new(FailureKind::Retryable, "PARTICIPANT_ACTOR_DIED", "its actor ended before its work did");
        let command = match assignment.result.unwrap_or_else(|| Err(died())) {
            Ok(written) => RunCommand::Complete {
                artifacts: written.artifacts,
                completed: ParticipantCompletedV1 {
                    participant,
                    files: written.files,
                    warnings: written.warnings,
                    notes: written.notes,
                },
            },
            Err(failure) => RunCommand::Fail { participant, failure },
        };
        assignment.run.do_send(Command { command, origin: assignment.origin });
    }
}

impl Role for ParticipantRole {
    type Aggregate = Participant;

    fn stream(&self) -> StreamId {
        StreamId::participant(&self.name)
    }

    fn act(&mut self, effect: ParticipantEffect, _state: &Participant, me: &Addr<ParticipantActor>) {
        let ParticipantEffect::Drive(work) = effect;
        let Some(assignment) = &self.assignment else { return };
        let run_id = work.run_id;
        let job = self.job(work, assignment);
        let driven = self.world.participants.drive(job);
        let (me, live, name) = (me.clone(), self.live.clone(), self.name.clone());
        self.world.data_plane.spawn(async move {
            let result = driven.await;
            if let Ok(mut live) = live.lock() {
                live.remove(&(run_id, name));
            }
            me.do_send(WorkEnded { run_id, result });
        });
    }

    fn folded(&mut self, events: &[ParticipantEvent], _state: &Participant) {
        let ended = |event: &ParticipantEvent| {
            matches!(event, ParticipantEvent::WorkCompleted(_) | ParticipantEvent::WorkFailed(_))
        };
        if events.iter().any(ended) {
            self.report();
        }
    }

    fn gone(&mut self) {
        if let Some(assignment) = &self.assignment {
            assignment.stop.request();
        }
        self.report();
    }
}

/// Work for a run.
pub(crate) struct Assign {
    pub(crate) run: Addr<RunActor>,
    pub(crate) work: Work,
    pub(crate) participant: RunParticipant,
    pub(crate) compression: String,
    pub(crate) origin: Origin,
}

impl Message for Assign {
    type Result = ();
}

impl Handler<Assign> for ParticipantActor {
    type Result = ();

    fn handle(&mut self, message: Assign, ctx: &mut Context<Self>) {
        if let Some(busy) = &self.role.assignment {
            // The run's actor was started again, or a new run follows an abandoned one: never two tries at a time.
            busy.stop.request();
            self.role.next = Some(message);
            return;
        }
        let name = message.participant.name.clone();
        self.role.assignment = Some(Assignment {
            run: message.run,
            work: message.work.clone(),
            participant: message.participant,
            compression: message.compression,
            origin: message.origin.clone(),
            stop: Stop::default(),
            result: None,
        });
        let command = ParticipantCommand::Start { participant: name, work: message.work };
        ctx.address().do_send(Command::<Participant> { command, origin: message.origin });
    }
}

/// The participant's code has returned.
struct WorkEnded {
    run_id: RunId,
    result: Result<Written, Failure>,
}

impl Message for WorkEnded {
    type Result = ();
}

impl Handler<WorkEnded> for ParticipantActor {
    type Result = ();

    fn handle(&mut self, message: WorkEnded, ctx: &mut Context<Self>) {
        let at_work = self.state.at_work().is_some_and(|work| work.run_id == message.run_id);
        let Some(assignment) = self.role.assignment.as_mut().filter(|_| at_work) else { return };
        let command = match &message.result {
            Ok(_) => ParticipantCommand::Completed,
            Err(failure) => ParticipantCommand::Failed(failure.clone()),
        };
        assignment.result = Some(message.result);
        let origin = assignment.origin.clone();
        ctx.address().do_send(Command::<Participant> { command, origin });
        if let Some(next) = self.role.next.take() {
            ctx.address().do_send(next);
        }
    }
}

/// Stop working for a run.
pub(crate) struct StopWork {
    pub(crate) run_id: RunId,
}

impl Message for StopWork {
    type Result = ();
}

impl Handler<StopWork> for ParticipantActor {
    type Result = ();

    fn handle(&mut self, message: StopWork, _ctx: &mut Context<Self>) {
        if let Some(assignment) = self.role.assignment.as_ref().filter(|one| one.work.run_id == message.run_id) {
            assignment.stop.request();
        }
        // Work that has not begun ends before it does.
        if let Some(next) = self.role.next.take_if(|next| next.work.run_id == message.run_id) {
            let failure = Failure::new(FailureKind::Cancelled, "CANCELLED", "stopped before it began");
            let command = RunCommand::Fail { participant: next.participant.name, failure };
            next.run.do_send(Command { command, origin: next.origin });
        }
    }
}
