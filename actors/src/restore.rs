//! `RestoreActor`: one restore's state machine against the world.
//!
//! Of a restore into a folder it records the request and the end, and nothing follows from that. A restore in place
//! is a row of steps: each is done behind its port, its answer comes back as a message, and what is recorded says which is next.

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Recipient};
use holdfast_model::codec::Origin;
use holdfast_model::event::RestoreEvent;
use holdfast_model::ids::{RestoreId, StreamId, Timestamp};
use holdfast_model::restore::{Restore, RestoreCommand, RestoreEffect, Step};
use tokio::sync::watch;
use tracing::Instrument;

use crate::event_sourced::{Command, CommandError, EventSourced, Role};
use crate::ports::{RestoreJob, Stop, World};

/// The actor of one restore.
pub type RestoreActor = EventSourced<RestoreRole>;

/// A restore that can be watched to its end.
#[derive(Debug, Clone)]
pub struct RestoreHandle {
    /// Which.
    pub restore_id: RestoreId,
    /// Its state, each time it changed durably.
    pub watch: watch::Receiver<Arc<Restore>>,
    /// True once it has ended and nobody stands still for it who need not.
    pub released: watch::Receiver<bool>,
}

/// A restore beside its state.
pub struct RestoreRole {
    /// Which.
    pub(crate) restore_id: RestoreId,
    /// Who all that follows goes back to.
    pub(crate) origin: Origin,
    pub(crate) world: World,
    /// Who is told of the end.
    pub(crate) ended: Recipient<RestoreEnded>,
    /// Ends the step under way.
    pub(crate) stop: Stop,
    /// The state for whoever watches.
    pub(crate) watch: Arc<watch::Sender<Arc<Restore>>>,
    pub(crate) released: Arc<watch::Sender<bool>>,
}

/// A restore has ended, or its actor is gone.
#[derive(Debug, Clone, Copy)]
pub struct RestoreEnded {
    /// Which.
    pub restore_id: RestoreId,
}

impl actix::Message for RestoreEnded {
    type Result = ();
}

impl RestoreRole {
    fn take(&mut self, step: Step, restore: &Restore, me: &Addr<RestoreActor>) {
        // What is undone is undone to its end: nobody can ask that to stop.
        self.stop = Stop::default();
        let job = RestoreJob { restore: Arc::new(restore.clone()), step: step.clone(), stop: self.stop.clone() };
        let done = self.world.restores.step(job);
        let (me, origin, world) = (me.clone(), self.origin.clone(), self.world.clone());
        let told = async move {
            let command = match done.await {
                Ok(did) => RestoreCommand::Did(step, did),
                Err(failure) => RestoreCommand::StepFailed(step, failure),
            };
            // Nothing would ever move the restore on.
            if let Ok(Err(CommandError::Codec(error))) = me.send(Command::<Restore> { command, origin }).await {
                world.lose(error.to_string());
            }
        };
        let correlation_id = self.origin.correlation_id;
        let span = tracing::info_span!("restore", restore_id = %self.restore_id, %correlation_id);
        self.world.data_plane.spawn(told.instrument(span));
    }

    /// Comes back at that time, unless it has ended by then. Outside the actor: one that waits for the log polls no timer.
    fn time_out_at(&self, at: Timestamp, me: &Addr<RestoreActor>) {
        let left = u64::try_from(at.0.saturating_sub(self.world.clock.now().0)).unwrap_or(0);
        let (me, origin, mut watch) = (me.downgrade(), self.origin.clone(), self.watch.subscribe());
        self.world.data_plane.spawn(async move {
            let over = async { watch.wait_for(|restore| !restore.is_open()).await.map(drop) };
            if tokio::time::timeout(Duration::from_micros(left), over).await.is_err()
                && let Some(me) = me.upgrade()
            {
                me.do_send(Command::<Restore> { command: RestoreCommand::TimedOut, origin });
            }
        });
    }

    fn end(&self) {
        self.released.send_replace(true);
        self.ended.do_send(RestoreEnded { restore_id: self.restore_id });
    }

    fn release(&self, restore: &Restore) {
        if !restore.is_in_steps() {
            return self.end();
        }
        let release = self.world.restores.release(Arc::new(restore.clone()));
        let (released, ended, restore_id) = (self.released.clone(), self.ended.clone(), self.restore_id);
        self.world.data_plane.spawn(async move {
            release.await;
            released.send_replace(true);
            ended.do_send(RestoreEnded { restore_id });
        });
    }
}

impl Role for RestoreRole {
    type Aggregate = Restore;

    fn stream(&self) -> StreamId {
        StreamId::restore(self.restore_id)
    }

    fn act(&mut self, effect: RestoreEffect, restore: &Restore, me: &Addr<RestoreActor>) {
        match effect {
            RestoreEffect::Do(step) => {
                self.released.send_replace(false);
                self.take(step, restore, me);
            }
            RestoreEffect::Deadline { at } => self.time_out_at(at, me),
            RestoreEffect::Stop => self.stop.request(),
            RestoreEffect::Release => self.release(restore),
            RestoreEffect::Ended => {
                self.world.restores.forget(self.restore_id);
                self.end();
            }
        }
    }

    fn folded(&mut self, events: &[RestoreEvent], restore: &Restore) {
        for event in events {
            let (restore_id, event) = (self.restore_id, event.name());
            tracing::info!(%restore_id, event, phase = restore.phase(), "restore");
        }
        self.watch.send_replace(Arc::new(restore.clone()));
    }

    fn gone(&mut self) {
        self.ended.do_send(RestoreEnded { restore_id: self.restore_id });
    }
}
