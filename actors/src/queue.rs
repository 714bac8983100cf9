//! `Queue`: who works when. First come, first served, a bounded number at a time.
//!
//! What it holds is derived from the runs' own events: it has no stream, and a start fills it anew from what is open.

use std::collections::{BTreeMap, VecDeque};

use actix::{Actor, Addr, Context, Handler, Message};
use holdfast_model::ids::RunId;

use crate::run::{RunActor, RunEnded, TakenOver, Turn};

/// Admission of runs.
pub struct Queue {
    limit: usize,
    waiting: VecDeque<Enqueue>,
    active: BTreeMap<RunId, Addr<RunActor>>,
}

impl Queue {
    /// A queue that admits `limit` runs at a time.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), waiting: VecDeque::new(), active: BTreeMap::new() }
    }

    fn admit(&mut self) {
        while self.active.len() < self.limit {
            let Some(Enqueue { run_id, actor, recover }) = self.waiting.pop_front() else { return };
            actor.do_send(Turn { recover });
            self.active.insert(run_id, actor);
        }
    }
}

impl Actor for Queue {
    type Context = Context<Self>;
}

/// A run wants its turn.
pub(crate) struct Enqueue {
    pub(crate) run_id: RunId,
    pub(crate) actor: Addr<RunActor>,
    /// Where an earlier process, or an earlier actor, may have worked on it.
    pub(crate) recover: Option<TakenOver>,
}

impl Message for Enqueue {
    type Result = ();
}

impl Handler<Enqueue> for Queue {
    type Result = ();

    fn handle(&mut self, message: Enqueue, _ctx: &mut Context<Self>) {
        self.waiting.push_back(message);
        self.admit();
    }
}

impl Handler<RunEnded> for Queue {
    type Result = ();

    fn handle(&mut self, message: RunEnded, _ctx: &mut Context<Self>) {
        self.active.remove(&message.run_id);
        self.waiting.retain(|waiting| waiting.run_id != message.run_id);
        self.admit();
    }
}
