//! `EndpointActor`: one endpoint, and what waits to be sent there.
//!
//! Its stream holds how the endpoint is configured and how it does; what became of each upload is in the stream of its run. One run is on
//! its way there at a time, the one that was offered first. What waits is not recorded here: runs know their open uploads, and offer them
//! again where this actor, or the process, is gone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseFuture};
use holdfast_model::codec::Origin;
use holdfast_model::endpoint::{Endpoint, EndpointCommand, EndpointEffect, EndpointRefusal, plaintext_refused};
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{EndpointName, RunId, StreamId};
use holdfast_model::run::{Encryption, Run, RunCommand, Staging, Uploaded};
use tracing::Instrument;

use crate::event_sourced::{Answer, Command, CommandError, EventSourced, Role};
use crate::ports::{UploadJob, World};
use crate::record::Told;
use crate::run::RunActor;

/// The actor of one endpoint.
pub type EndpointActor = EventSourced<EndpointRole>;

/// Finds the actor of an endpoint, and starts it where there is none.
pub type FindEndpoint = Arc<dyn Fn(&EndpointName) -> Option<Addr<EndpointActor>> + Send + Sync>;

/// An endpoint beside its state.
pub struct EndpointRole {
    pub(crate) name: EndpointName,
    pub(crate) world: World,
    /// Who is told when this actor is gone.
    pub(crate) gone: Recipient<EndpointGone>,
    /// Runs that wait for their turn, the first offered first.
    waiting: VecDeque<Offer>,
    /// The run whose turn it is.
    busy: Option<RunId>,
    /// Whether [`Next`] comes once the endpoint was left alone long enough.
    waking: bool,
}

/// The actor of an endpoint is gone, and what waited for it is forgotten.
pub struct EndpointGone(pub(crate) EndpointName);

impl Message for EndpointGone {
    type Result = ();
}

impl EndpointRole {
    pub(crate) fn new(name: EndpointName, world: World, gone: Recipient<EndpointGone>) -> Self {
        Self { name, world, gone, waiting: VecDeque::new(), busy: None, waking: false }
    }
}

impl Role for EndpointRole {
    type Aggregate = Endpoint;

    fn stream(&self) -> StreamId {
        StreamId::endpoint(&self.name)
    }

    fn act(&mut self, effect: EndpointEffect, _state: &Endpoint, me: &Addr<EndpointActor>) {
        match effect {
            EndpointEffect::LookAgain => me.do_send(Next),
        }
    }

    fn gone(&mut self) {
        self.gone.do_send(EndpointGone(self.name.clone()));
    }
}

/// A run wants to be sent there.
pub(crate) struct Offer {
    pub(crate) run_id: RunId,
    pub(crate) run: Addr<RunActor>,
    /// Who the upload goes back to.
    pub(crate) origin: Origin,
}

impl Message for Offer {
    type Result = ();
}

impl Handler<Offer> for EndpointActor {
    type Result = ();

    fn handle(&mut self, offer: Offer, ctx: &mut Context<Self>) {
        let waiting = &mut self.role.waiting;
        match waiting.iter_mut().find(|one| one.run_id == offer.run_id) {
            Some(one) => *one = offer,
            None => waiting.push_back(offer),
        }
        self.next(&ctx.address());
    }
}

/// See whether somebody can have his turn.
struct Next;

impl Message for Next {
    type Result = ();
}

impl Handler<Next> for EndpointActor {
    type Result = ();

    fn handle(&mut self, _message: Next, ctx: &mut Context<Self>) {
        self.role.waking = false;
        self.next(&ctx.address());
    }
}

/// A run's turn is over.
struct Over(RunId);

impl Message for Over {
    type Result = ();
}

impl Handler<Over> for EndpointActor {
    type Result = ();

    fn handle(&mut self, message: Over, ctx: &mut Context<Self>) {
        if self.role.busy == Some(message.0) {
            self.role.busy = None;
        }
        self.next(&ctx.address());
    }
}

impl EndpointActor {
    fn next(&mut self, me: &Addr<Self>) {
        if self.role.busy.is_some() {
            return;
        }
        let Some(offer) = self.role.waiting.pop_front() else { return };
        let Some(config) = self.state.config() else {
            let failure = missing(&self.role.name);
            let command = RunCommand::UploadRefused { endpoint: self.role.name.clone(), failure };
            offer.run.do_send(Command::<Run> { command, origin: offer.origin });
            return me.do_send(Next);
        };
        if let Some(pause) = self.pause() {
            self.role.waiting.push_front(offer);
            if std::mem::replace(&mut self.role.waking, true) {
                return;
            }
            let me = me.downgrade();
            // Outside the actor: one that waits for the log polls no timer.
            self.role.world.data_plane.spawn(async move {
                tokio::time::sleep(pause).await;
                if let Some(me) = me.upgrade() {
                    me.do_send(Next);
                }
            });
            return;
        }
        self.role.busy = Some(offer.run_id);
        let command = RunCommand::UploadBegins {
            endpoint: self.role.name.clone(),
            max_tries: config.retry_attempts,
            retry_delay_ms: config.retry_delay_s.saturating_mul(1000),
        };
        let me = me.clone();
        self.role.world.data_plane.spawn(async move {
            let begun = offer.run.send(Command::<Run> { command, origin: offer.origin }).await;
            // It has changed its mind, or its actor is gone and will offer it again.
            if !matches!(begun, Ok(Ok(()))) {
                me.do_send(Over(offer.run_id));
            }
        });
    }

    /// How long it is still left alone.
    fn pause(&self) -> Option<Duration> {
        let until = self.state.health().until()?;
        let left = until.0.saturating_sub(self.role.world.clock.now().0);
        u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_micros)
    }
}

/// A run has said that its upload begins.
pub(crate) struct Carry {
    pub(crate) run: Arc<Run>,
    pub(crate) actor: Addr<RunActor>,
    pub(crate) try_number: u32,
    pub(crate) origin: Origin,
}

impl Message for Carry {
    type Result = ();
}

impl Handler<Carry> for EndpointActor {
    type Result = ();

    fn handle(&mut self, message: Carry, ctx: &mut Context<Self>) {
        let Carry { run, actor, try_number, origin } = message;
        let Some(run_id) = run.id() else { return };
        let (me, endpoint, world) = (ctx.address(), self.role.name.clone(), self.role.world.clone());
        let uploaded = match self.state.config() {
            Some(config) => world.uploads.upload(UploadJob { run, endpoint: config.clone() }),
            None => Box::pin(std::future::ready(Err(missing(&endpoint)))),
        };
        let span = tracing::info_span!("upload", %run_id, %endpoint, correlation_id = %origin.correlation_id);
        let data_plane = world.data_plane.clone();
        let carried = async move {
            let result = uploaded.await;
            let of_endpoint = fared(run_id, &result);
            // Whoever sees the run go on, or another one have its turn, sees how the endpoint does.
            let _ = me.send(Command::<Endpoint> { command: of_endpoint, origin: origin.clone() }).await;
            let command = RunCommand::UploadEnded { endpoint, try_number, result };
            let _ = actor.send(Command::<Run> { command, origin }).await;
            me.do_send(Over(run_id));
        };
        data_plane.spawn(carried.instrument(span));
    }
}

/// A run begins, or begins again, whose artifacts may go there while they are written.
pub(crate) struct Stream {
    pub(crate) run_id: RunId,
    pub(crate) run: Addr<RunActor>,
    pub(crate) staging: Staging,
    pub(crate) encryption: Encryption,
    pub(crate) origin: Origin,
}

impl Message for Stream {
    type Result = ();
}

impl Handler<Stream> for EndpointActor {
    type Result = ();

    fn handle(&mut self, message: Stream, _ctx: &mut Context<Self>) {
        let Stream { run_id, run, staging, encryption, origin } = message;
        let (endpoint, uploads) = (self.role.name.clone(), self.role.world.uploads.clone());
        let Some(config) = self.state.config().cloned() else {
            return uploads.no_stream(run_id, &endpoint, missing(&endpoint));
        };
        // Who is left alone gets its copy afterwards; a run that is kept nowhere else tries all the same.
        let wanted = staging == Staging::None || config.stream && config.enable && self.pause().is_none();
        if !wanted {
            return;
        }
        if let Some(reason) = plaintext_refused(&config, &encryption) {
            let failure = Failure::new(FailureKind::Fatal, "ENCRYPTION_REQUIRED", reason.to_string());
            return uploads.no_stream(run_id, &endpoint, failure);
        }
        self.role.world.data_plane.spawn(async move {
            // Before the first byte goes: what is there then is not taken for what was published.
            let command = RunCommand::StreamUpload(endpoint.clone());
            match run.send(Command::<Run> { command, origin }).await {
                Ok(Ok(())) => uploads.stream(run_id, config, staging),
                _ => {
                    let late = Failure::new(FailureKind::Fatal, "RUN_ENDED", "the run takes no artifacts any more");
                    uploads.no_stream(run_id, &endpoint, late);
                }
            }
        });
    }
}

/// A run whose artifacts are there, and nowhere else, is to exist there.
pub(crate) struct CommitStreamed {
    pub(crate) run: Arc<Run>,
    pub(crate) origin: Origin,
}

impl Message for CommitStreamed {
    type Result = Result<Uploaded, Failure>;
}

impl Handler<CommitStreamed> for EndpointActor {
    type Result = ResponseFuture<Result<Uploaded, Failure>>;

    fn handle(&mut self, message: CommitStreamed, ctx: &mut Context<Self>) -> Self::Result {
        let CommitStreamed { run, origin } = message;
        let (me, run_id) = (ctx.address(), run.id());
        let uploaded = match (self.state.config(), run_id) {
            (Some(config), Some(_)) => self.role.world.uploads.upload(UploadJob { run, endpoint: config.clone() }),
            _ => Box::pin(std::future::ready(Err(missing(&self.role.name)))),
        };
        let done = self.role.world.data_plane.spawn(async move {
            let result = uploaded.await;
            if let Some(run_id) = run_id {
                let _ = me.send(Command::<Endpoint> { command: fared(run_id, &result), origin }).await;
            }
            result
        });
        let panicked =
            |error: tokio::task::JoinError| Failure::new(FailureKind::Fatal, "UPLOAD_PANICKED", error.to_string());
        Box::pin(async move { done.await.map_err(panicked)? })
    }
}

/// What an upload says of the endpoint.
fn fared(run_id: RunId, result: &Result<Uploaded, Failure>) -> EndpointCommand {
    match result {
        Ok(_) => EndpointCommand::Succeeded,
        Err(failure) => EndpointCommand::TryFailed { run_id, failure: failure.clone() },
    }
}

fn missing(endpoint: &EndpointName) -> Failure {
    let text = format!("no endpoint is called {endpoint}: it was taken out of the configuration");
    Failure::new(FailureKind::Fatal, "ENDPOINT_MISSING", text)
}

/// An upload is not wanted any more. Comes after the [`Carry`] that began it, so that it finds it.
pub(crate) struct Halt(pub(crate) RunId);

impl Message for Halt {
    type Result = ();
}

impl Handler<Halt> for EndpointActor {
    type Result = ();

    fn handle(&mut self, message: Halt, _ctx: &mut Context<Self>) {
        self.role.world.uploads.stop(message.0, &self.role.name);
    }
}

/// A wish about an endpoint, answered with its state after it.
pub(crate) struct Ask(pub(crate) Command<Endpoint>);

impl Message for Ask {
    type Result = Result<Told<Endpoint>, CommandError<EndpointRefusal>>;
}

impl Handler<Ask> for EndpointActor {
    type Result = Answer<Told<Endpoint>, EndpointRefusal>;

    fn handle(&mut self, message: Ask, ctx: &mut Context<Self>) -> Self::Result {
        self.obey(message.0, ctx, |actor, recorded| Told {
            state: actor.state.clone(),
            version: actor.version(),
            recorded,
        })
    }
}
