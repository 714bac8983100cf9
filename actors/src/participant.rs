//! `ParticipantActor`: drives one participant's work for one run at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use actix::{Addr, AsyncContext, Context, Handler, Message};
use holdfast_model::codec::Origin;
use holdfast_model::event::ParticipantEvent;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ParticipantName, RunId, StreamId};
use holdfast_model::participant::{
    ChildV1, Participant, ParticipantCommand, ParticipantEffect, ParticipantRefusal, Standing, Work,
};
use holdfast_model::progress::Counts;
use holdfast_model::run::{
    Copies, Encryption, ParticipantCompletedV1, ParticipantProgressedV1, RunCommand, RunParticipant, Try,
};

use crate::event_sourced::{Command, EventSourced, Role};
use crate::ports::{Admit, Job, Known, Note, Stop, WorkFailure, World, Written};
use crate::report::Report;
use crate::run::RunActor;

/// The actor of one participant.
pub type ParticipantActor = EventSourced<ParticipantRole>;

/// The live counts of everything at work, by run and participant.
pub type LiveCounts = Arc<Mutex<BTreeMap<(RunId, ParticipantName), Arc<Report>>>>;

/// What a run wants a participant to do.
struct Assignment {
    assign: Assign,
    stop: Stop,
    /// Where its code tells how far it has come, once it has begun.
    report: Option<Arc<Report>>,
    result: Option<Result<Written, WorkFailure>>,
}

/// A participant beside its state.
pub struct ParticipantRole {
    name: ParticipantName,
    world: World,
    live: LiveCounts,
    /// What its code is at, also when the run does not wait for it any more.
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

    fn job(
        &self,
        assignment: &Assignment,
        report: Arc<Report>,
        left_over: Vec<ChildV1>,
        me: &Addr<ParticipantActor>,
    ) -> Job {
        let assign = &assignment.assign;
        if let Ok(mut live) = self.live.lock() {
            live.insert((assign.work.run_id, self.name.clone()), report.clone());
        }
        Job {
            work: assign.work.clone(),
            participant: assign.participant.clone(),
            compression: assign.compression.clone(),
            encryption: assign.encryption.clone(),
            copies: assign.copies.clone(),
            report,
            stop: assignment.stop.clone(),
            left_over,
            admit: self.admitter(assign, me),
            note: note(assign.work.run_id, me, &assign.origin, &self.world),
            stuck: {
                let (me, work) = (me.clone(), assign.work.clone());
                Box::new(move |failure| me.do_send(WorkOverdue { work: work.clone(), failure }))
            },
        }
    }

    /// Sends the steps that are to be recorded to the run.
    fn recorder(&self, assign: &Assign) -> Box<dyn Fn(Counts) + Send + Sync> {
        let (run, name, origin, of) = (assign.run.clone(), self.name.clone(), assign.origin.clone(), assign.of());
        Box::new(move |counts| {
            let progress = ParticipantProgressedV1 {
                participant: name.clone(),
                bytes_done: counts.bytes_done,
                bytes_total: counts.bytes_total,
                files_done: counts.files_done,
                files_total: counts.files_total,
            };
            // A full mailbox only means that a newer step will follow.
            let _ = run.try_send(Command { command: RunCommand::Progress { of, progress }, origin: origin.clone() });
        })
    }

    /// Records processes in the participant's own stream; answers once that is durable.
    fn admitter(&self, assign: &Assign, me: &Addr<ParticipantActor>) -> Admit {
        let (me, work, origin) = (me.clone(), assign.work.clone(), assign.origin.clone());
        let data_plane = self.world.data_plane.clone();
        Arc::new(move |child| {
            let command = ParticipantCommand::ChildStarted { work: work.clone(), child };
            let recorded = me.send(Command::<Participant> { command, origin: origin.clone() });
            let refused = |text: String| Failure::new(FailureKind::Retryable, "CHILD_NOT_RECORDED", text);
            match data_plane.block_on(recorded) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(refused(format!("a process that was started cannot be recorded: {error}"))),
                Err(_) => Err(refused("a process that was started cannot be recorded: the engine stops".into())),
            }
        })
    }

    /// Tells the run how it ended.
    fn report(&mut self, may_retry: bool) {
        let Some(assignment) = self.assignment.take() else { return };
        let died =
            || Failure::new(FailureKind::Retryable, "PARTICIPANT_ACTOR_DIED", "its actor ended before its work did");
        let result = assignment.result.unwrap_or_else(|| Err(died().into()));
        if result.is_err() {
            last_seen(assignment.report.as_ref());
        }
        assignment.assign.answer(result, may_retry);
    }
}

/// Records what is known of a participant's standstill for a run, in the participant's own stream.
pub(crate) fn note(run_id: RunId, actor: &Addr<ParticipantActor>, origin: &Origin, world: &World) -> Note {
    let (actor, origin, data_plane) = (actor.clone(), origin.clone(), world.data_plane.clone());
    Arc::new(move |known| {
        let command = match known {
            Known::Thawed => {
                let command = ParticipantCommand::Thawed { run_id };
                actor.do_send(Command::<Participant> { command, origin: origin.clone() });
                return Ok(());
            }
            Known::Child(child) => ParticipantCommand::PhaseChild { run_id, child },
            Known::Freeze(children) => ParticipantCommand::Freeze { run_id, children },
        };
        let refused = |why: &dyn std::fmt::Display| {
            let text = format!("it cannot be recorded that it is to stand still, so it does not: {why}");
            Failure::new(FailureKind::Retryable, "FREEZE_NOT_RECORDED", text)
        };
        match data_plane.block_on(actor.send(Command::<Participant> { command, origin: origin.clone() })) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(refused(&error)),
            Err(_) => Err(refused(&"the engine stops")),
        }
    })
}

impl Role for ParticipantRole {
    type Aggregate = Participant;

    fn stream(&self) -> StreamId {
        StreamId::participant(&self.name)
    }

    fn act(&mut self, effect: ParticipantEffect, state: &Participant, me: &Addr<ParticipantActor>) {
        let ParticipantEffect::Drive(work) = effect;
        let Some(assignment) = self.assignment.as_ref().filter(|assignment| assignment.assign.work == work) else {
            return;
        };
        let report = Arc::new(Report::new(self.world.clock.clone(), self.recorder(&assignment.assign)));
        let job = self.job(assignment, report.clone(), state.children().to_vec(), me);
        if let Some(assignment) = &mut self.assignment {
            assignment.report = Some(report);
        }
        let driven = self.world.participants.drive(job);
        let (me, live, name) = (me.clone(), self.live.clone(), self.name.clone());
        self.world.data_plane.spawn(async move {
            let result = driven.await;
            if let Ok(mut live) = live.lock() {
                live.remove(&(work.run_id, name));
            }
            me.do_send(WorkEnded { work, result });
        });
    }

    fn folded(&mut self, events: &[ParticipantEvent], state: &Participant) {
        for event in events {
            match event {
                ParticipantEvent::WorkCompleted(_) | ParticipantEvent::WorkFailed(_) => {
                    self.report(!state.is_quarantined());
                }
                // The run goes on without it; its code is still there.
                ParticipantEvent::WorkStuck(stuck) => {
                    if let Some(assignment) = &self.assignment {
                        last_seen(assignment.report.as_ref());
                        assignment.assign.answer(Err(stuck.failure.clone().into()), false);
                    }
                    // Whoever waits for its end waits no longer.
                    if let Some(next) = self.next.take() {
                        refuse(&next, state);
                    }
                }
                ParticipantEvent::WorkReturned(_) => self.assignment = None,
                _ => {}
            }
        }
    }

    fn gone(&mut self) {
        if let Some(assignment) = &self.assignment {
            assignment.stop.request();
        }
        self.report(true);
    }
}

/// Work for a run.
pub(crate) struct Assign {
    pub(crate) run: Addr<RunActor>,
    pub(crate) work: Work,
    pub(crate) participant: RunParticipant,
    pub(crate) compression: String,
    pub(crate) encryption: Encryption,
    pub(crate) copies: Copies,
    pub(crate) origin: Origin,
}

impl Assign {
    fn of(&self) -> Try {
        Try { attempt: self.work.attempt, number: self.work.try_number }
    }

    fn answer(&self, result: Result<Written, WorkFailure>, may_retry: bool) {
        let (participant, of) = (self.participant.name.clone(), self.of());
        let command = match result {
            Ok(written) => RunCommand::Complete {
                of,
                artifacts: written.artifacts,
                completed: ParticipantCompletedV1 {
                    participant,
                    files: written.files,
                    warnings: written.warnings,
                    notes: written.notes,
                },
            },
            Err(WorkFailure { failure, output }) => RunCommand::Fail { participant, of, failure, output, may_retry },
        };
        self.run.do_send(Command { command, origin: self.origin.clone() });
    }
}

impl Message for Assign {
    type Result = ();
}

impl Handler<Assign> for ParticipantActor {
    type Result = ();

    fn handle(&mut self, message: Assign, ctx: &mut Context<Self>) {
        // Also where this actor was started again, and knows of the code only what its stream says.
        if self.state.standing() == Standing::Stuck {
            return refuse(&message, &self.state);
        }
        if let Some(busy) = &self.role.assignment {
            // The run's actor was started again, or a new run follows an abandoned one: never two tries at a time.
            busy.stop.request();
            self.role.next = Some(message);
            return;
        }
        let command = ParticipantCommand::Start { participant: self.role.name.clone(), work: message.work.clone() };
        let origin = message.origin.clone();
        self.role.assignment = Some(Assignment { assign: message, stop: Stop::default(), report: None, result: None });
        ctx.address().do_send(Command::<Participant> { command, origin });
    }
}

/// Records how far the code had come, before its failure is: what was shown of it live is in the record.
fn last_seen(report: Option<&Arc<Report>>) {
    if let Some(report) = report {
        report.record_last();
    }
}

/// Its code did not return from earlier work: nothing new is begun beside it.
fn refuse(message: &Assign, state: &Participant) {
    let run_id = state.at_work().map_or(message.work.run_id, |work| work.run_id);
    let text = ParticipantRefusal::Stuck(run_id).to_string();
    message.answer(Err(Failure::new(FailureKind::Fatal, "PARTICIPANT_STUCK", text).into()), false);
}

/// The participant's code has returned.
struct WorkEnded {
    work: Work,
    result: Result<Written, WorkFailure>,
}

impl Message for WorkEnded {
    type Result = ();
}

impl Handler<WorkEnded> for ParticipantActor {
    type Result = ();

    fn handle(&mut self, message: WorkEnded, ctx: &mut Context<Self>) {
        let ours = |one: &&mut Assignment| one.assign.work == message.work;
        let Some(assignment) = self.role.assignment.as_mut().filter(ours) else { return };
        let work = message.work;
        let command = match &message.result {
            Ok(_) => ParticipantCommand::Completed(work),
            Err(WorkFailure { failure, .. }) => ParticipantCommand::Failed { work, failure: failure.clone() },
        };
        assignment.result = Some(message.result);
        let origin = assignment.assign.origin.clone();
        ctx.address().do_send(Command::<Participant> { command, origin });
        if let Some(next) = self.role.next.take() {
            ctx.address().do_send(next);
        }
    }
}

/// The participant's deadline passed, it was told to stop, and its code has not returned.
struct WorkOverdue {
    work: Work,
    failure: Failure,
}

impl Message for WorkOverdue {
    type Result = ();
}

impl Handler<WorkOverdue> for ParticipantActor {
    type Result = ();

    fn handle(&mut self, message: WorkOverdue, ctx: &mut Context<Self>) {
        let ours = |one: &&Assignment| one.assign.work == message.work && one.result.is_none();
        let Some(assignment) = self.role.assignment.as_ref().filter(ours) else { return };
        tracing::error!(participant = %self.role.name, failure = %message.failure, "it was told to stop and has not returned");
        let command = ParticipantCommand::Stuck { work: message.work, failure: message.failure };
        let origin = assignment.assign.origin.clone();
        ctx.address().do_send(Command::<Participant> { command, origin });
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
        if let Some(busy) = self.role.assignment.as_ref().filter(|one| one.assign.work.run_id == message.run_id) {
            busy.stop.request();
        }
        // Work that has not begun ends before it does.
        if let Some(next) = self.role.next.take_if(|next| next.work.run_id == message.run_id) {
            let failure = Failure::new(FailureKind::Cancelled, "CANCELLED", "stopped before it began");
            next.answer(Err(failure.into()), false);
        }
    }
}
