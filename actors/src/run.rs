//! `RunActor`: one run's state machine against the world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, AsyncContext, Context, Handler, Message, Recipient};
use holdfast_model::codec::Origin;
use holdfast_model::event::RunEvent;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{EndpointName, ParticipantName, RunId, StreamId, Timestamp};
use holdfast_model::participant::{Participant, ParticipantCommand, Work};
use holdfast_model::run::{Held, NotFrozen, Run, RunCommand, RunEffect, Target, Try, Uploaded};
use tokio::sync::watch;
use tracing::Instrument;

use crate::endpoint::{Carry, CommitStreamed, FindEndpoint, Halt, Offer, Stream};
use crate::event_sourced::{Command, CommandError, EventSourced, Role};
use crate::participant::{Assign, ParticipantActor, StopWork, note};
use crate::ports::{BarrierFailure, BarrierJob, DirectoryFailure, PortFuture, Stop, World};
use crate::told;

/// The actor of one run.
pub type RunActor = EventSourced<RunRole>;

/// Finds the actor of a participant, and starts it where there is none.
pub type FindParticipant = Arc<dyn Fn(&ParticipantName) -> Option<Addr<ParticipantActor>> + Send + Sync>;

/// A run beside its state.
pub struct RunRole {
    /// Which.
    pub(crate) run_id: RunId,
    /// Who all that follows goes back to.
    pub(crate) origin: Origin,
    pub(crate) world: World,
    pub(crate) find: FindParticipant,
    pub(crate) find_endpoint: FindEndpoint,
    /// Who is told of the end.
    pub(crate) ended: Recipient<RunEnded>,
    /// Ends a barrier that is under way.
    pub(crate) barrier_stop: Stop,
    /// The state for whoever watches.
    pub(crate) watch: Arc<watch::Sender<Arc<Run>>>,
}

/// A run has ended, or its actor is gone.
#[derive(Debug, Clone, Copy)]
pub struct RunEnded {
    /// Which.
    pub run_id: RunId,
}

impl Message for RunEnded {
    type Result = ();
}

impl RunRole {
    fn spawn<T: Send + 'static>(
        &self,
        me: &Addr<RunActor>,
        work: PortFuture<T>,
        command: impl FnOnce(T) -> RunCommand + Send + 'static,
    ) {
        let (me, origin, world) = (me.clone(), self.origin.clone(), self.world.clone());
        let told = async move {
            let command = command(work.await);
            // Damage that the run cannot pin on a participant of its own leaves nothing to go on with.
            let instead = match &command {
                RunCommand::SealFoundDamage(damage) => damage.first().map(|(_, failure)| failure.clone()),
                _ => None,
            };
            match (me.send(Command::<Run> { command, origin: origin.clone() }).await, instead) {
                (Ok(Err(CommandError::Refused(_))), Some(failure)) => {
                    me.do_send(Command::<Run> { command: RunCommand::DirectoryLost(failure), origin });
                }
                // Nothing would ever move the run on.
                (Ok(Err(CommandError::Codec(error))), _) => world.lose(error.to_string()),
                _ => {}
            }
        };
        let span = tracing::info_span!("run", run_id = %self.run_id, correlation_id = %self.origin.correlation_id);
        self.world.data_plane.spawn(told.instrument(span));
    }

    fn start_participant(&self, name: &ParticipantName, run: &Run, me: &Addr<RunActor>) {
        let (Some(participant), Some(request)) = (run.participant(name), run.request()) else { return };
        let work = Work { run_id: self.run_id, attempt: run.attempt(), try_number: participant.tries };
        match (self.find)(name) {
            Some(actor) => actor.do_send(Assign {
                run: me.clone(),
                work,
                participant: participant.clone(),
                compression: request.compression.clone(),
                encryption: request.encryption.clone(),
                copies: run.planned_copies().clone(),
                origin: self.origin.clone(),
            }),
            None => self.world.lose(format!("the stream of participant {name} cannot be read")),
        }
    }
}

impl RunRole {
    /// Comes back after the pause. A run that has ended or is at work otherwise by then refuses it.
    fn retry_later(&self, participant: ParticipantName, of: Try, after_ms: u64, me: &Addr<RunActor>) {
        let (me, origin) = (me.downgrade(), self.origin.clone());
        self.world.data_plane.spawn(async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            if let Some(me) = me.upgrade() {
                me.do_send(Command::<Run> { command: RunCommand::Retry { participant, of }, origin });
            }
        });
    }
}

impl RunRole {
    /// Comes back when the attempt has taken so long, unless it is over by then. Outside the actor: one that waits for the log polls no timer.
    fn time_out_later(&self, attempt: u32, after_ms: u64, me: &Addr<RunActor>) {
        let (me, origin, mut watch) = (me.downgrade(), self.origin.clone(), self.watch.subscribe());
        self.world.data_plane.spawn(async move {
            let is_over = |run: &Arc<Run>| !run.is_open() || run.attempt() > attempt;
            let over = async { watch.wait_for(is_over).await.map(drop) };
            if tokio::time::timeout(Duration::from_millis(after_ms), over).await.is_err()
                && let Some(me) = me.upgrade()
            {
                me.do_send(Command::<Run> { command: RunCommand::TimedOut { attempt }, origin });
            }
        });
    }
}

/// The endpoints that a run's copies were planned for.
fn planned(run: &Run) -> Vec<EndpointName> {
    run.planned_copies().endpoints.clone()
}

/// What came of a run's commit at an endpoint.
type Committed = (EndpointName, Result<Uploaded, Failure>);

fn gone() -> Failure {
    Failure::new(FailureKind::Fatal, "ENDPOINT_MISSING", "its actor is gone")
}

/// Why a run that is not kept here is kept by no endpoint either, if that is so.
fn kept_nowhere(copies: &[Committed]) -> Option<Failure> {
    if copies.iter().any(|(_, result)| result.is_ok()) {
        return None;
    }
    let reasons: Vec<_> = copies
        .iter()
        .filter_map(|(name, result)| Some(format!("{name}: {}", result.as_ref().err()?.message)))
        .collect();
    let text = format!("no endpoint has the run, and without staging it is nowhere else: {}", reasons.join("; "));
    Some(Failure::new(FailureKind::Fatal, "NOT_KEPT_ANYWHERE", text))
}

fn lost_or_damaged(failure: DirectoryFailure) -> RunCommand {
    match failure {
        DirectoryFailure::Damaged(damage) => RunCommand::SealFoundDamage(damage),
        DirectoryFailure::Lost(failure) => RunCommand::DirectoryLost(failure),
    }
}

impl Role for RunRole {
    type Aggregate = Run;

    fn stream(&self) -> StreamId {
        StreamId::run(self.run_id)
    }

    fn act(&mut self, effect: RunEffect, run: &Run, me: &Addr<RunActor>) {
        let backups = &self.world.backups;
        match effect {
            RunEffect::PrepareDirectory => self.spawn(me, backups.prepare(self.run_id), |result| match result {
                Ok(()) => RunCommand::DirectoryReady,
                Err(failure) => RunCommand::DirectoryFailed(failure),
            }),
            RunEffect::Barrier => self.barrier(run, me),
            RunEffect::AbortBarrier => self.barrier_stop.request(),
            RunEffect::StartParticipant(name) => self.start_participant(&name, run, me),
            RunEffect::RetryLater { participant, of, after_ms } => self.retry_later(participant, of, after_ms, me),
            RunEffect::Deadline { attempt, after_ms } => self.time_out_later(attempt, after_ms, me),
            RunEffect::CancelParticipants => {
                for participant in run.participants() {
                    if let Some(actor) = (self.find)(&participant.name) {
                        actor.do_send(StopWork { run_id: self.run_id });
                    }
                }
            }
            RunEffect::Seal => {
                self.world.participants.release(self.run_id);
                self.spawn(me, backups.seal(Arc::new(run.clone())), |result| match result {
                    Ok(sums_sha256) => RunCommand::Sealed { sums_sha256 },
                    Err(failure) => lost_or_damaged(failure),
                });
            }
            RunEffect::Publish(target) => self.publish(target, run, me),
            RunEffect::Delete => self.delete(run, me),
            RunEffect::Leave => self.spawn(me, self.world.uploads.places(planned(run)), RunCommand::Leave),
            RunEffect::OfferUpload(endpoint) => self.offer_upload(&endpoint, me),
            RunEffect::Upload { endpoint, try_number } => {
                let (run, actor, origin) = (Arc::new(run.clone()), me.clone(), self.origin.clone());
                if let Some(found) = (self.find_endpoint)(&endpoint) {
                    found.do_send(Carry { run, actor, try_number, origin });
                }
            }
            RunEffect::RetryUpload { endpoint, after_ms } => self.retry_upload(endpoint, after_ms, me),
            RunEffect::StopUpload(endpoint) => {
                if let Some(found) = (self.find_endpoint)(&endpoint) {
                    found.do_send(Halt(self.run_id));
                }
            }
            RunEffect::StreamUpload(endpoint) => self.stream_upload(&endpoint, run, me),
            RunEffect::Ended => {
                self.world.participants.release(self.run_id);
                let open: Vec<_> = run.copies().iter().filter(|copy| copy.status.is_open()).collect();
                let open: Vec<_> = open.into_iter().map(|copy| copy.endpoint.clone()).collect();
                self.world.uploads.written(self.run_id, &open, run.was_given_up());
                self.ended.do_send(RunEnded { run_id: self.run_id });
            }
        }
    }

    fn folded(&mut self, events: &[RunEvent], run: &Run) {
        told::tell(self.run_id, &self.origin, events, run);
        self.watch.send_replace(Arc::new(run.clone()));
    }

    fn gone(&mut self) {
        self.ended.do_send(RunEnded { run_id: self.run_id });
    }
}

impl RunRole {
    fn offer_upload(&self, endpoint: &EndpointName, me: &Addr<RunActor>) {
        match (self.find_endpoint)(endpoint) {
            Some(found) => found.do_send(Offer { run_id: self.run_id, run: me.clone(), origin: self.origin.clone() }),
            None => self.world.lose(format!("the stream of endpoint {endpoint} cannot be read")),
        }
    }

    /// Has the endpoint take artifacts while they are written, where it or the run is set up so.
    fn stream_upload(&self, endpoint: &EndpointName, run: &Run, me: &Addr<RunActor>) {
        match (self.find_endpoint)(endpoint) {
            Some(found) => found.do_send(Stream {
                run_id: self.run_id,
                run: me.clone(),
                staging: run.planned_copies().staging,
                encryption: run.encryption().clone(),
                origin: self.origin.clone(),
            }),
            None => self.world.lose(format!("the stream of endpoint {endpoint} cannot be read")),
        }
    }

    /// Offers it again after the pause. A run that does not want it any more says so when its turn comes.
    fn retry_upload(&self, endpoint: EndpointName, after_ms: u64, me: &Addr<RunActor>) {
        let (me, find, origin, run_id) = (me.downgrade(), self.find_endpoint.clone(), self.origin.clone(), self.run_id);
        self.world.data_plane.spawn(async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            if let (Some(run), Some(found)) = (me.upgrade(), find(&endpoint)) {
                found.do_send(Offer { run_id, run, origin });
            }
        });
    }

    fn barrier(&mut self, run: &Run, me: &Addr<RunActor>) {
        self.barrier_stop = Stop::default();
        let budget_ms = run.request().map_or(0, |request| request.freeze_budget_ms);
        let noted = |name: &ParticipantName| {
            let actor = (self.find)(name)?;
            Some((name.clone(), note(self.run_id, &actor, &self.origin, &self.world)))
        };
        let job = BarrierJob {
            run_id: self.run_id,
            participants: run.freeze_order().into_iter().cloned().collect(),
            budget: Duration::from_millis(budget_ms),
            stop: self.barrier_stop.clone(),
            clock: self.world.clock.clone(),
            notes: run.participants().iter().filter_map(|one| noted(&one.name)).collect(),
        };
        let held = self.world.participants.barrier(job);
        let counted = self.count_failures(run, held);
        self.spawn(me, counted, |result| match result {
            Ok(held) => RunCommand::BarrierHeld(held),
            Err(BarrierFailure { failure, by, .. }) => RunCommand::BarrierFailed { failure, by: by.map(|by| *by) },
        });
    }

    /// Has each participant that failed in a barrier say so in its own stream, before the run does: its supervision goes by that. Who stood
    /// still for nothing because of another one has not failed.
    fn count_failures(
        &self,
        run: &Run,
        held: PortFuture<Result<Held, BarrierFailure>>,
    ) -> PortFuture<Result<Held, BarrierFailure>> {
        let (run_id, origin) = (self.run_id, self.origin.clone());
        let actors: BTreeMap<_, _> =
            run.participants().iter().filter_map(|one| Some((one.name.clone(), (self.find)(&one.name)?))).collect();
        Box::pin(async move {
            let result = held.await;
            let failed: Vec<_> = match &result {
                Ok(held) => held.left_out.iter().collect(),
                Err(failure) => failure.left_out.iter().chain(failure.by.as_deref()).collect(),
            };
            for NotFrozen { participant, failure, .. } in failed {
                let Some(actor) = actors.get(participant) else { continue };
                let command = ParticipantCommand::BarrierFailed { run_id, failure: failure.clone() };
                let recorded = actor.send(Command::<Participant> { command, origin: origin.clone() }).await;
                if !matches!(recorded, Ok(Ok(()))) {
                    tracing::error!(%run_id, %participant, %failure, "its failure in the barrier cannot be counted");
                }
            }
            result
        })
    }

    fn publish(&self, target: Target, run: &Run, me: &Addr<RunActor>) {
        let run = Arc::new(run.clone());
        let backups = self.world.backups.clone();
        let commits = match target {
            Target::Completed if run.is_staged_elsewhere() => Some(self.commit_at(&run)),
            _ => None,
        };
        // Asked for here where nothing comes before it: a port that panics takes this actor with it, and a new one goes on.
        let here = commits.is_none().then(|| backups.publish(run.clone(), target));
        let published: PortFuture<Result<Vec<Committed>, DirectoryFailure>> = Box::pin(async move {
            if let Some(here) = here {
                return here.await.map(|()| Vec::new());
            }
            let copies = match commits {
                Some(commits) => commits.await,
                None => Vec::new(),
            };
            // Nothing is here that could be said to be a backup: it is one where the far sides say that they have it.
            match kept_nowhere(&copies) {
                None => backups.publish(run, target).await.map(|()| copies),
                Some(failure) => {
                    if let Some(run_id) = run.id() {
                        backups.discard(run_id).await;
                    }
                    Err(DirectoryFailure::Lost(failure))
                }
            }
        });
        self.spawn(me, published, |result| match result {
            Ok(copies) => RunCommand::Published { copies },
            Err(failure) => lost_or_damaged(failure),
        });
    }

    /// Has each endpoint that artifacts went to make the run exist there.
    fn commit_at(&self, run: &Arc<Run>) -> PortFuture<Vec<Committed>> {
        let planned = run.planned_copies().endpoints.iter();
        let asked: Vec<_> = planned
            .map(|name| {
                let answer = (self.find_endpoint)(name)
                    .map(|found| found.send(CommitStreamed { run: run.clone(), origin: self.origin.clone() }));
                (name.clone(), answer)
            })
            .collect();
        Box::pin(async move {
            let mut copies = Vec::new();
            for (name, answer) in asked {
                let result = match answer {
                    Some(answer) => answer.await.unwrap_or_else(|_| Err(gone())),
                    None => Err(gone()),
                };
                copies.push((name, result));
            }
            copies
        })
    }

    fn delete(&self, run: &Run, me: &Addr<RunActor>) {
        let deleted = self.world.backups.delete(Arc::new(run.clone()));
        let (me, origin) = (me.clone(), self.origin.clone());
        self.world.data_plane.spawn(async move {
            let command = match deleted.await {
                Ok(()) => RunCommand::Deleted,
                Err(failure) => RunCommand::DeleteFailed(failure),
            };
            me.do_send(Command::<Run> { command, origin });
        });
    }
}

/// Somebody else had worked on the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TakenOver {
    /// When this one took over.
    pub(crate) at: Timestamp,
    /// Whether the process before was stopped in good order.
    pub(crate) stopped: bool,
}

/// The run's turn has come.
pub(crate) struct Turn {
    /// Where an earlier process, or an earlier actor, may have worked on it.
    pub(crate) recover: Option<TakenOver>,
}

impl Message for Turn {
    type Result = ();
}

impl Handler<Turn> for RunActor {
    type Result = ();

    fn handle(&mut self, message: Turn, ctx: &mut Context<Self>) {
        let (me, origin) = (ctx.address(), self.role.origin.clone());
        let Some(TakenOver { at: taken_over, stopped }) = message.recover else {
            me.do_send(Command::<Run> { command: RunCommand::Start, origin });
            return;
        };
        let (world, run_id) = (self.world().clone(), self.role.run_id);
        let run = Arc::new(self.state.clone());
        let data_plane = world.data_plane.clone();
        data_plane.spawn(async move {
            // Where only the actor died, code may be at work for it in this process: nobody writes while it is looked at.
            world.participants.stop(run_id).await;
            let inspection = match world.backups.inspect(run).await {
                Ok(inspection) => inspection,
                // The run stays open: the next start looks again.
                Err(failure) => {
                    return world.lose(format!("the directory of run {run_id} cannot be looked at: {failure}"));
                }
            };
            let command =
                RunCommand::Recover { found: inspection.found, broken: inspection.broken, taken_over, stopped };
            // One that was left waiting in the queue has nothing to recover, and starts; for others the start is refused.
            if me.send(Command::<Run> { command, origin: origin.clone() }).await.is_ok() {
                me.do_send(Command::<Run> { command: RunCommand::Start, origin });
            }
        });
    }
}
