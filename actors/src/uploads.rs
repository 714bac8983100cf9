//! Copies on endpoints as the root sees them: their actors, and what is gone on with where one of these, or a process, is gone.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use actix::{Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture};
use holdfast_model::codec::Origin;
use holdfast_model::endpoint::{Endpoint, EndpointCommand};
use holdfast_model::ids::{EndpointName, RunId};
use holdfast_model::run::{Run, RunCommand};

use crate::endpoint::{Ask, EndpointActor, EndpointGone, EndpointRole, FindEndpoint};
use crate::event_sourced::{Command, EventSourced};
use crate::ports::World;
use crate::record::Told;
use crate::root::{MAX_ACTOR_RESTARTS, Root, RootError, start_run};

/// Endpoints' actors, each started when it is first asked for and again when it is gone.
pub(crate) fn endpoints(world: World, gone: Recipient<EndpointGone>) -> FindEndpoint {
    let known: Mutex<BTreeMap<EndpointName, Addr<EndpointActor>>> = Mutex::default();
    Arc::new(move |name| {
        let mut known = known.lock().ok()?;
        if let Some(actor) = known.get(name).filter(|actor| actor.connected()) {
            return Some(actor.clone());
        }
        let role = EndpointRole::new(name.clone(), world.clone(), gone.clone());
        match EventSourced::start(role, world.clone()) {
            Ok(actor) => {
                known.insert(name.clone(), actor.clone());
                Some(actor)
            }
            Err(error) => {
                tracing::error!(endpoint = %name, %error, "the endpoint's stream cannot be replayed");
                None
            }
        }
    })
}

/// A wish about an endpoint, answered with its state after it.
pub struct ForEndpoint {
    /// Which.
    pub endpoint: EndpointName,
    /// The wish.
    pub command: EndpointCommand,
    /// Who asks.
    pub origin: Origin,
}

impl Message for ForEndpoint {
    type Result = Result<Told<Endpoint>, RootError>;
}

impl Handler<ForEndpoint> for Root {
    type Result = ResponseFuture<Result<Told<Endpoint>, RootError>>;

    fn handle(&mut self, message: ForEndpoint, _ctx: &mut Context<Self>) -> Self::Result {
        let actor = (self.find_endpoint)(&message.endpoint);
        Box::pin(async move {
            let command = Command::<Endpoint> { command: message.command, origin: message.origin };
            let actor = actor.ok_or(RootError::Gone)?;
            Ok(actor.send(Ask(command)).await.map_err(|_| RootError::Gone)??)
        })
    }
}

impl Handler<EndpointGone> for Root {
    type Result = ();

    /// What waited for it is offered anew, to a new actor.
    fn handle(&mut self, message: EndpointGone, _ctx: &mut Context<Self>) {
        if self.world.lost.borrow().is_some() {
            return;
        }
        let endpoint = message.0;
        tracing::error!(%endpoint, "the endpoint's actor ended early; what waited for it is offered again");
        self.world.actor_restarts.fetch_add(1, Ordering::Relaxed);
        for (run_id, entry) in &self.runs {
            let open = entry.watch.borrow().copy_at(&endpoint).is_some_and(|copy| copy.status.is_open());
            if !open {
                continue;
            }
            self.world.uploads.stop(*run_id, &endpoint);
            let command = RunCommand::ResumeUploads { only: Some(endpoint.clone()) };
            entry.actor.do_send(Command::<Run> { command, origin: self.origin.clone() });
        }
    }
}

/// Go on with the open uploads of ended runs, which a process before had to do.
pub struct ResumeUploads {
    /// Of which runs, in this order.
    pub runs: Vec<RunId>,
}

impl Message for ResumeUploads {
    type Result = Result<(), RootError>;
}

impl Handler<ResumeUploads> for Root {
    type Result = Result<(), RootError>;

    fn handle(&mut self, message: ResumeUploads, ctx: &mut Context<Self>) -> Self::Result {
        let (origin, me) = (self.origin.clone(), ctx.address());
        for run_id in message.runs {
            let entry = self.run(run_id, &origin, &me)?;
            let command = RunCommand::ResumeUploads { only: None };
            entry.actor.do_send(Command::<Run> { command, origin: origin.clone() });
        }
        Ok(())
    }
}

impl Root {
    /// A new actor in the place of one that panicked while copies of its run were on their way.
    pub(crate) fn go_on_uploading(&mut self, run_id: RunId, me: &Addr<Self>) {
        let (origin, find) = (self.origin.clone(), (&self.find, &self.find_endpoint));
        let Some(entry) = self.runs.get_mut(&run_id) else { return };
        entry.restarts += 1;
        self.world.actor_restarts.fetch_add(1, Ordering::Relaxed);
        if entry.restarts > MAX_ACTOR_RESTARTS {
            tracing::error!(%run_id, "the run's actor ended often while copies were on their way: the next start goes on");
            return;
        }
        let open: Vec<_> = entry.watch.borrow().copies().iter().map(|copy| copy.endpoint.clone()).collect();
        open.iter().for_each(|endpoint| self.world.uploads.stop(run_id, endpoint));
        match start_run(&self.world, find, run_id, &origin, &entry.watch, me) {
            Ok(actor) => {
                entry.actor = actor.clone();
                actor.do_send(Command::<Run> { command: RunCommand::ResumeUploads { only: None }, origin });
            }
            Err(error) => self.world.lose(format!("run {run_id} cannot be replayed: {error}")),
        }
    }
}
