//! The root's side of restores: their actors, each started from its stream when it is first asked for.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::{Addr, AsyncContext, Context, Handler, Message, ResponseFuture};
use holdfast_model::codec::Origin;
use holdfast_model::ids::{RestoreId, StreamId};
use holdfast_model::restore::{Restore, RestoreCommand};
use tokio::sync::watch;

use crate::event_sourced::{Command, EventSourced, ReplayError, replay};
use crate::ports::{Stop, World};
use crate::restore::{RestoreActor, RestoreEnded, RestoreHandle, RestoreRole};
use crate::root::{Root, RootError};

/// How often the actor of one restore is started again after it panicked, before the restore is left to the next process.
const MAX_ACTOR_RESTARTS: u32 = 3;
/// How many restores' actors are there before idle ones are let go.
const MAX_ACTORS: usize = 64;

/// The actors by their restores.
#[derive(Default)]
pub(crate) struct Restores(BTreeMap<RestoreId, Entry>);

struct Entry {
    actor: Addr<RestoreActor>,
    watch: Arc<watch::Sender<Arc<Restore>>>,
    released: Arc<watch::Sender<bool>>,
    restarts: u32,
    /// Shared with every wish that is on its way.
    wishes: Arc<()>,
}

impl Entry {
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.wishes) == 1 && !self.watch.borrow().is_open()
    }
}

impl Restores {
    fn entry(
        &mut self,
        restore_id: RestoreId,
        origin: &Origin,
        world: &World,
        me: &Addr<Root>,
    ) -> Result<&mut Entry, ReplayError> {
        if self.0.len() >= MAX_ACTORS && !self.0.contains_key(&restore_id) {
            self.0.retain(|_, entry| !entry.is_idle());
        }
        match self.0.entry(restore_id) {
            // Where its actor has just died, what follows from that is on its way.
            Slot::Occupied(slot) => Ok(slot.into_mut()),
            Slot::Vacant(slot) => {
                let (restore, _) = replay::<Restore>(&*world.log, &StreamId::restore(restore_id))?;
                let watch = Arc::new(watch::Sender::new(Arc::new(restore)));
                let released = Arc::new(watch::Sender::new(false));
                let actor = start(restore_id, origin, world, &watch, &released, me)?;
                Ok(slot.insert(Entry { actor, watch, released, restarts: 0, wishes: Arc::default() }))
            }
        }
    }
}

fn start(
    restore_id: RestoreId,
    origin: &Origin,
    world: &World,
    watch: &Arc<watch::Sender<Arc<Restore>>>,
    released: &Arc<watch::Sender<bool>>,
    me: &Addr<Root>,
) -> Result<Addr<RestoreActor>, ReplayError> {
    let role = RestoreRole {
        restore_id,
        origin: origin.clone(),
        world: world.clone(),
        ended: me.clone().recipient(),
        stop: Stop::default(),
        watch: watch.clone(),
        released: released.clone(),
    };
    EventSourced::start(role, world.clone())
}

/// A wish about a restore, which may not be there yet.
pub struct ForRestore {
    /// Which.
    pub restore_id: RestoreId,
    /// The wish.
    pub command: RestoreCommand,
    /// Who asks.
    pub origin: Origin,
}

impl Message for ForRestore {
    type Result = Result<RestoreHandle, RootError>;
}

impl Handler<ForRestore> for Root {
    type Result = ResponseFuture<Result<RestoreHandle, RootError>>;

    fn handle(&mut self, message: ForRestore, ctx: &mut Context<Self>) -> Self::Result {
        let ForRestore { restore_id, command, origin } = message;
        let found = self.restores.entry(restore_id, &origin, &self.world, &ctx.address()).map(|entry| {
            let handle =
                RestoreHandle { restore_id, watch: entry.watch.subscribe(), released: entry.released.subscribe() };
            (entry.actor.clone(), handle, entry.wishes.clone())
        });
        Box::pin(async move {
            let (actor, handle, _on_its_way) = found?;
            let command = Command::<Restore> { command, origin };
            actor.send(command).await.map_err(|_| RootError::Gone)??;
            Ok(handle)
        })
    }
}

impl Handler<RestoreEnded> for Root {
    type Result = ();

    fn handle(&mut self, message: RestoreEnded, ctx: &mut Context<Self>) {
        let restore_id = message.restore_id;
        let (world, me) = (self.world.clone(), ctx.address());
        let Some(entry) = self.restores.0.get_mut(&restore_id) else { return };
        if !entry.watch.borrow().is_open() {
            // Whoever wants something of it later starts it from its stream.
            if entry.is_idle() {
                self.restores.0.remove(&restore_id);
            }
            return;
        }
        if entry.actor.connected() || world.lost.borrow().is_some() {
            return;
        }
        // Its actor is gone and the restore is not at its end: the actor panicked. A new one starts from the stream.
        entry.restarts += 1;
        world.actor_restarts.fetch_add(1, Ordering::Relaxed);
        if entry.restarts > MAX_ACTOR_RESTARTS || !entry.watch.borrow().is_in_steps() {
            return world
                .lose(format!("the actor of restore {restore_id} ended early: the next start settles the restore"));
        }
        tracing::error!(%restore_id, restarts = entry.restarts, "the restore's actor ended early and is started again");
        match start(restore_id, &self.origin, &world, &entry.watch, &entry.released, &me) {
            Ok(actor) => {
                entry.actor = actor.clone();
                actor.do_send(Command::<Restore> { command: RestoreCommand::Recover, origin: self.origin.clone() });
            }
            Err(error) => world.lose(format!("restore {restore_id} cannot be replayed: {error}")),
        }
    }
}
