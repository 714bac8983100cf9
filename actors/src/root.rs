//! `Root`: replays what is open, starts the other actors in order, and is the door to them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, ResponseFuture};
use holdfast_model::access::AccessRefusal;
use holdfast_model::codec::Origin;
use holdfast_model::endpoint::EndpointRefusal;
use holdfast_model::ids::{ParticipantName, RunId, StreamId};
use holdfast_model::participant::{Participant, ParticipantCommand, ParticipantRefusal};
use holdfast_model::restore::RestoreRefusal;
use holdfast_model::run::{NewRun, Refusal, Retained, Run, RunCommand, Stage};
use tokio::sync::watch;

use crate::endpoint::FindEndpoint;
use crate::event_sourced::{Command, CommandError, EventSourced, ReplayError, replay};
use crate::participant::{LiveCounts, ParticipantActor, ParticipantRole};
use crate::ports::{Stop, World};
use crate::queue::{Enqueue, Queue};
use crate::record::Records;
use crate::restores::Restores;
use crate::run::{FindParticipant, RunActor, RunEnded, RunRole, TakenOver};
use crate::uploads;

/// How often an actor of one run is started again after it panicked, before the run is left to the next process.
pub(crate) const MAX_ACTOR_RESTARTS: u32 = 3;
/// How many runs' actors are there before idle ones are let go.
const MAX_RUN_ACTORS: usize = 64;

/// A run that can be watched to its end.
#[derive(Debug, Clone)]
pub struct RunHandle {
    /// Which.
    pub run_id: RunId,
    /// Its state, each time it changed durably.
    pub watch: watch::Receiver<Arc<Run>>,
}

/// Why a message to the root was not granted.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The run says no.
    #[error(transparent)]
    Command(#[from] CommandError<Refusal>),
    /// The restore says no.
    #[error(transparent)]
    Restore(#[from] CommandError<RestoreRefusal>),
    /// The endpoint says no.
    #[error(transparent)]
    Endpoint(#[from] CommandError<EndpointRefusal>),
    /// What is known of tokens says no.
    #[error(transparent)]
    Access(#[from] CommandError<AccessRefusal>),
    /// What is never refused could not be recorded.
    #[error(transparent)]
    Record(#[from] CommandError<Infallible>),
    /// The participant says no.
    #[error(transparent)]
    Participant(#[from] CommandError<ParticipantRefusal>),
    /// Its stream cannot be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The actor is gone.
    #[error("the actor ended before it answered")]
    Gone,
}

pub(crate) struct Entry {
    pub(crate) actor: Addr<RunActor>,
    pub(crate) watch: Arc<watch::Sender<Arc<Run>>>,
    pub(crate) restarts: u32,
    /// Shared with every wish that is on its way: while there is one, no second actor of the run may be started beside this one.
    wishes: Arc<()>,
}

impl Entry {
    /// Whether nothing would be lost if it were started anew when it is next asked for.
    fn is_idle(&self) -> bool {
        let run = self.watch.borrow();
        Arc::strong_count(&self.wishes) == 1
            && !run.is_open()
            && !run.is_uploading()
            && run.retained() != Retained::Deleting
    }
}

/// The first actor.
pub struct Root {
    pub(crate) world: World,
    queue: Addr<Queue>,
    pub(crate) find: FindParticipant,
    pub(crate) find_endpoint: FindEndpoint,
    pub(crate) runs: BTreeMap<RunId, Entry>,
    pub(crate) records: Records,
    pub(crate) restores: Restores,
    pub(crate) origin: Origin,
}

impl Root {
    /// Starts the root and its queue on the current actix system. `origin` is who recovery acts for.
    #[must_use]
    pub fn start(world: World, live: LiveCounts, max_runs: usize, origin: Origin) -> Addr<Self> {
        let find = participants(world.clone(), live);
        let queue = Queue::new(max_runs).start();
        Self::create(|ctx| Self {
            find_endpoint: uploads::endpoints(world.clone(), ctx.address().recipient()),
            world,
            queue,
            find,
            runs: BTreeMap::new(),
            records: Records::default(),
            restores: Restores::default(),
            origin,
        })
    }

    /// The actor of a run, started from its stream where it is not there.
    pub(crate) fn run(&mut self, run_id: RunId, origin: &Origin, me: &Addr<Self>) -> Result<&mut Entry, ReplayError> {
        use std::collections::btree_map::Entry as Slot;
        if self.runs.len() >= MAX_RUN_ACTORS && !self.runs.contains_key(&run_id) {
            self.runs.retain(|_, entry| !entry.is_idle());
        }
        match self.runs.entry(run_id) {
            Slot::Occupied(slot) => Ok(slot.into_mut()),
            Slot::Vacant(slot) => {
                let (run, _) = replay::<Run>(&*self.world.log, &StreamId::run(run_id))?;
                let watch = Arc::new(watch::Sender::new(Arc::new(run)));
                let actor = start_run(&self.world, (&self.find, &self.find_endpoint), run_id, origin, &watch, me)?;
                Ok(slot.insert(Entry { actor, watch, restarts: 0, wishes: Arc::default() }))
            }
        }
    }
}

pub(crate) fn start_run(
    world: &World,
    (find, find_endpoint): (&FindParticipant, &FindEndpoint),
    run_id: RunId,
    origin: &Origin,
    watch: &Arc<watch::Sender<Arc<Run>>>,
    me: &Addr<Root>,
) -> Result<Addr<RunActor>, ReplayError> {
    let role = RunRole {
        run_id,
        origin: origin.clone(),
        world: world.clone(),
        find: find.clone(),
        find_endpoint: find_endpoint.clone(),
        ended: me.clone().recipient(),
        barrier_stop: Stop::default(),
        watch: watch.clone(),
    };
    EventSourced::start(role, world.clone())
}

/// Participants' actors, each started when it is first asked for and again when it is gone.
fn participants(world: World, live: LiveCounts) -> FindParticipant {
    let known: Mutex<BTreeMap<ParticipantName, Addr<ParticipantActor>>> = Mutex::default();
    Arc::new(move |name| {
        let mut known = known.lock().ok()?;
        if let Some(actor) = known.get(name).filter(|actor| actor.connected()) {
            return Some(actor.clone());
        }
        let role = ParticipantRole::new(name.clone(), world.clone(), live.clone());
        match EventSourced::start(role, world.clone()) {
            Ok(actor) => {
                known.insert(name.clone(), actor.clone());
                Some(actor)
            }
            Err(error) => {
                tracing::error!(participant = %name, %error, "the participant's stream cannot be replayed");
                None
            }
        }
    })
}

impl Actor for Root {
    type Context = Context<Self>;
}

/// Make a run and give it its turn.
pub struct RequestRun {
    /// What is asked for, with an id that is not used.
    pub run: NewRun,
    /// Who asks.
    pub origin: Origin,
}

impl Message for RequestRun {
    type Result = Result<RunHandle, RootError>;
}

impl Handler<RequestRun> for Root {
    type Result = ResponseFuture<Result<RunHandle, RootError>>;

    fn handle(&mut self, message: RequestRun, ctx: &mut Context<Self>) -> Self::Result {
        let run_id = message.run.request.run_id;
        let queue = self.queue.clone();
        let entry = self
            .run(run_id, &message.origin, &ctx.address())
            .map(|entry| (entry.actor.clone(), entry.watch.subscribe(), entry.wishes.clone()));
        Box::pin(async move {
            let (actor, watch, _on_its_way) = entry?;
            let command = Command::<Run> { command: RunCommand::Request(message.run), origin: message.origin };
            actor.send(command).await.map_err(|_| RootError::Gone)??;
            queue.do_send(Enqueue { run_id, actor, recover: None });
            Ok(RunHandle { run_id, watch })
        })
    }
}

/// Give open runs their turn again.
pub struct ResumeRuns {
    /// Which, in this order.
    pub runs: Vec<RunId>,
    /// Whether the process that worked on them before was stopped in good order.
    pub stopped: bool,
}

impl Message for ResumeRuns {
    type Result = Result<Vec<RunHandle>, RootError>;
}

impl Handler<ResumeRuns> for Root {
    type Result = Result<Vec<RunHandle>, RootError>;

    fn handle(&mut self, message: ResumeRuns, ctx: &mut Context<Self>) -> Self::Result {
        let (origin, me, queue) = (self.origin.clone(), ctx.address(), self.queue.clone());
        let recover = Some(TakenOver { at: self.world.clock.now(), stopped: message.stopped });
        let mut handles = Vec::new();
        for run_id in message.runs {
            let entry = self.run(run_id, &origin, &me)?;
            queue.do_send(Enqueue { run_id, actor: entry.actor.clone(), recover });
            handles.push(RunHandle { run_id, watch: entry.watch.subscribe() });
        }
        Ok(handles)
    }
}

/// A wish about a run that is there.
pub struct ForRun {
    /// Which.
    pub run_id: RunId,
    /// The wish.
    pub command: RunCommand,
    /// Who asks.
    pub origin: Origin,
}

impl Message for ForRun {
    type Result = Result<RunHandle, RootError>;
}

impl Handler<ForRun> for Root {
    type Result = ResponseFuture<Result<RunHandle, RootError>>;

    fn handle(&mut self, message: ForRun, ctx: &mut Context<Self>) -> Self::Result {
        let run_id = message.run_id;
        let entry = self
            .run(run_id, &message.origin, &ctx.address())
            .map(|entry| (entry.actor.clone(), entry.watch.subscribe(), entry.wishes.clone()));
        Box::pin(async move {
            let (actor, watch, _on_its_way) = entry?;
            let command = Command::<Run> { command: message.command, origin: message.origin };
            actor.send(command).await.map_err(|_| RootError::Gone)??;
            Ok(RunHandle { run_id, watch })
        })
    }
}

/// Asks for a run that has not ended.
pub struct NextOpenRun;

impl Message for NextOpenRun {
    type Result = Option<RunHandle>;
}

impl Handler<NextOpenRun> for Root {
    type Result = Option<RunHandle>;

    fn handle(&mut self, _message: NextOpenRun, _ctx: &mut Context<Self>) -> Self::Result {
        let open = self.runs.iter().find(|(_, entry)| entry.watch.borrow().is_open());
        open.map(|(run_id, entry)| RunHandle { run_id: *run_id, watch: entry.watch.subscribe() })
    }
}

/// A wish about a participant.
pub struct ForParticipant {
    /// Which.
    pub participant: ParticipantName,
    /// The wish.
    pub command: ParticipantCommand,
    /// Who asks.
    pub origin: Origin,
}

impl Message for ForParticipant {
    type Result = Result<(), RootError>;
}

impl Handler<ForParticipant> for Root {
    type Result = ResponseFuture<Result<(), RootError>>;

    fn handle(&mut self, message: ForParticipant, _ctx: &mut Context<Self>) -> Self::Result {
        let actor = (self.find)(&message.participant);
        Box::pin(async move {
            let command = Command::<Participant> { command: message.command, origin: message.origin };
            let actor = actor.ok_or(RootError::Gone)?;
            Ok(actor.send(command).await.map_err(|_| RootError::Gone)??)
        })
    }
}

/// Asks for one run, where it has an actor.
pub struct FindRun(pub RunId);

impl Message for FindRun {
    type Result = Option<RunHandle>;
}

impl Handler<FindRun> for Root {
    type Result = Option<RunHandle>;

    fn handle(&mut self, message: FindRun, _ctx: &mut Context<Self>) -> Self::Result {
        let entry = self.runs.get(&message.0).filter(|entry| entry.watch.borrow().id().is_some())?;
        Some(RunHandle { run_id: message.0, watch: entry.watch.subscribe() })
    }
}

impl Handler<RunEnded> for Root {
    type Result = ();

    fn handle(&mut self, message: RunEnded, ctx: &mut Context<Self>) {
        let run_id = message.run_id;
        let Some(entry) = self.runs.get_mut(&run_id) else { return };
        let open = entry.watch.borrow().is_open();
        let stage = entry.watch.borrow().stage();
        if open && entry.actor.connected() {
            return;
        }
        self.queue.do_send(message);
        if !open
            && entry.watch.borrow().is_uploading()
            && !entry.actor.connected()
            && self.world.lost.borrow().is_none()
        {
            self.go_on_uploading(run_id, &ctx.address());
            return;
        }
        if !open && stage != Stage::Unknown && entry.watch.borrow().retained() != Retained::Deleting {
            // Whoever wants something of it later starts it from its stream. One with a wish on its way goes when there are many.
            if entry.is_idle() {
                self.runs.remove(&run_id);
            }
            return;
        }
        if !open || stage == Stage::Unknown || self.world.lost.borrow().is_some() {
            return;
        }
        // Its actor is gone and the run is not at its end: the actor panicked. A new one starts from the stream.
        entry.restarts += 1;
        self.world.actor_restarts.fetch_add(1, Ordering::Relaxed);
        if entry.restarts > MAX_ACTOR_RESTARTS {
            self.world
                .lose(format!("the actor of run {run_id} ended {MAX_ACTOR_RESTARTS} times: the next start resumes it"));
            return;
        }
        tracing::error!(%run_id, restarts = entry.restarts, "the run's actor ended early and is started again");
        let watch = entry.watch.clone();
        let find = (&self.find, &self.find_endpoint);
        match start_run(&self.world, find, run_id, &self.origin, &watch, &ctx.address()) {
            Ok(actor) => {
                if let Some(entry) = self.runs.get_mut(&run_id) {
                    entry.actor = actor.clone();
                }
                let recover = Some(TakenOver { at: self.world.clock.now(), stopped: false });
                self.queue.do_send(Enqueue { run_id, actor, recover });
            }
            Err(error) => self.world.lose(format!("run {run_id} cannot be replayed: {error}")),
        }
    }
}

/// Ends the actix system. What is open stays open in the log.
pub struct Shutdown;

impl Message for Shutdown {
    type Result = ();
}

impl Handler<Shutdown> for Root {
    type Result = ();

    fn handle(&mut self, _message: Shutdown, _ctx: &mut Context<Self>) {
        actix::System::current().stop();
    }
}
