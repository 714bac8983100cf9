//! What is recorded without anything being done in the world about it: tokens, the audit, maintenance.
//!
//! The actor of a stream is kept while a wish for it is on its way, so two wishes for one stream are decided one after the other, each on
//! what the one before left. Idle ones are let go once there are many; the next wish starts them again from their stream.

use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use actix::{Addr, Context, Handler, Message, ResponseFuture};
use holdfast_model::access::Access;
use holdfast_model::aggregate::Aggregate;
use holdfast_model::audit::Audit;
use holdfast_model::codec::Origin;
use holdfast_model::event::Event;
use holdfast_model::ids::{Position, StreamId, Version};
use holdfast_model::maintenance::Maintenance;

use crate::event_sourced::{Answer, Command, CommandError, EventSourced, ReplayError, Role};
use crate::ports::World;
use crate::root::{Root, RootError};

/// How many of these actors are there before idle ones are let go.
const MAX_ACTORS: usize = 64;

/// State that nothing in the world follows from.
pub trait Recorded: Aggregate<Effect = (), Event: Into<Event> + TryFrom<Event>> + Unpin + Sync {
    /// Whether decisions depend on what was recorded before. Where they do not, the stream is not read when its actor starts.
    const REMEMBERS: bool = true;
}

impl Recorded for Access {}
impl Recorded for Maintenance {}
impl Recorded for Audit {
    const REMEMBERS: bool = false;
}

/// A wish for the state of a stream. The root has it obeyed by the stream's actor.
pub struct Tell<A: Recorded> {
    /// Whose state.
    pub stream: StreamId,
    /// The wish.
    pub command: A::Command,
    /// Who asks.
    pub origin: Origin,
}

/// What a wish that was granted led to.
#[derive(Debug, Clone, PartialEq)]
pub struct Told<A> {
    /// The state right after it.
    pub state: A,
    /// The version of its stream then.
    pub version: Version,
    /// The position of the last event it led to; none where it was so already.
    pub recorded: Option<Position>,
}

impl<A: Recorded> Message for Tell<A>
where
    RootError: From<CommandError<A::Refusal>>,
{
    type Result = Result<Told<A>, RootError>;
}

struct RecordRole<A> {
    stream: StreamId,
    state: PhantomData<fn() -> A>,
}

type RecordActor<A> = EventSourced<RecordRole<A>>;

impl<A: Recorded> Role for RecordRole<A> {
    type Aggregate = A;

    fn stream(&self) -> StreamId {
        self.stream.clone()
    }

    fn act(&mut self, (): (), _state: &A, _me: &Addr<EventSourced<Self>>) {}
}

/// A wish that is answered with the state after it.
struct Ask<A: Recorded>(Command<A>);

impl<A: Recorded> Message for Ask<A> {
    type Result = Result<Told<A>, CommandError<A::Refusal>>;
}

impl<A: Recorded> Handler<Ask<A>> for RecordActor<A> {
    type Result = Answer<Told<A>, A::Refusal>;

    fn handle(&mut self, message: Ask<A>, ctx: &mut Context<Self>) -> Self::Result {
        self.obey(message.0, ctx, |actor, recorded| Told {
            state: actor.state.clone(),
            version: actor.version(),
            recorded,
        })
    }
}

/// The actors by their streams.
#[derive(Default)]
pub(crate) struct Records(BTreeMap<StreamId, Entry>);

struct Entry {
    /// An address, of a type that the stream decides.
    actor: Box<dyn Any>,
    /// Shared with every wish that is on its way.
    wishes: Arc<()>,
}

impl Records {
    fn actor<A: Recorded>(
        &mut self,
        stream: StreamId,
        world: &World,
    ) -> Result<(Addr<RecordActor<A>>, Arc<()>), ReplayError> {
        let living = self.0.get(&stream).and_then(|entry| {
            let actor = entry.actor.downcast_ref::<Addr<RecordActor<A>>>().filter(|actor| actor.connected())?;
            Some((actor.clone(), entry.wishes.clone()))
        });
        if let Some(living) = living {
            return Ok(living);
        }
        if self.0.len() >= MAX_ACTORS {
            self.0.retain(|_, entry| Arc::strong_count(&entry.wishes) > 1);
        }
        let role = RecordRole { stream: stream.clone(), state: PhantomData };
        let actor = if A::REMEMBERS {
            EventSourced::start(role, world.clone())?
        } else {
            let version = world.log.stream_version(&stream)?;
            EventSourced::start_at(role, A::default(), version, world.clone())
        };
        let wishes = Arc::default();
        self.0.insert(stream, Entry { actor: Box::new(actor.clone()), wishes: Arc::clone(&wishes) });
        Ok((actor, wishes))
    }
}

impl<A: Recorded> Handler<Tell<A>> for Root
where
    RootError: From<CommandError<A::Refusal>>,
{
    type Result = ResponseFuture<Result<Told<A>, RootError>>;

    fn handle(&mut self, message: Tell<A>, _ctx: &mut Context<Self>) -> Self::Result {
        let Tell { stream, command, origin } = message;
        let found = self.records.actor::<A>(stream, &self.world);
        Box::pin(async move {
            let (actor, _on_its_way) = found?;
            Ok(actor.send(Ask(Command { command, origin })).await.map_err(|_| RootError::Gone)??)
        })
    }
}
