//! Mailbox → decide → append → fold → effects, once for every actor that owns a stream.
//!
//! While an append is under way the actor takes no other message, so a decision is always made on the state it will be
//! folded into. An append that fails for another reason than a full disk ends the actor's trust in its state: it says so to
//! [`World::lose`], and the next process replays.

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use holdfast_log::{Append, AppendError, Appended};
use holdfast_model::aggregate::{Aggregate, Moment};
use holdfast_model::codec::{CodecError, Envelope, Origin, record};
use holdfast_model::event::Event;
use holdfast_model::ids::{Position, StreamId, Version};

use crate::ports::World;

/// How many events of a stream are read at a time.
const REPLAY_BATCH: usize = 1000;

/// What an actor is beside its state: its stream, and what it does about effects.
pub trait Role: Sized + Unpin + 'static {
    /// The state.
    type Aggregate: Aggregate<Event: Into<Event> + TryFrom<Event>> + Unpin;

    /// Whose events.
    fn stream(&self) -> StreamId;

    /// Does what an effect asks, without waiting: work goes behind a port, its answer comes to `me` as a message.
    fn act(
        &mut self,
        effect: <Self::Aggregate as Aggregate>::Effect,
        state: &Self::Aggregate,
        me: &Addr<EventSourced<Self>>,
    );

    /// Sees events that are durable and folded, before their effects.
    fn folded(&mut self, _events: &[<Self::Aggregate as Aggregate>::Event], _state: &Self::Aggregate) {}

    /// The actor's last act, also when it panicked: whoever waits for it must learn that it is gone.
    fn gone(&mut self) {}
}

/// An actor whose state is folded from its stream.
pub struct EventSourced<R: Role> {
    pub(crate) role: R,
    pub(crate) state: R::Aggregate,
    version: Version,
    world: World,
}

/// A wish for an actor, with who it comes from.
pub struct Command<A: Aggregate> {
    /// The wish.
    pub command: A::Command,
    /// Who asked.
    pub origin: Origin,
}

impl<A: Aggregate> Message for Command<A> {
    type Result = Result<(), CommandError<A::Refusal>>;
}

/// Why a wish was not granted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandError<E: std::error::Error> {
    /// The state says no.
    #[error("{0}")]
    Refused(E),
    /// What was decided does not fit an event.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// What was decided could not be recorded, so it did not happen.
    #[error("{0}")]
    NotRecorded(String),
    /// It is not known whether it was recorded: the next start will tell.
    #[error("{0}")]
    OutcomeUnknown(String),
}

/// Why a stream could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] holdfast_log::ReadError),
    /// An event could not be.
    #[error("event {position}: {source}")]
    Codec {
        /// Where it is.
        position: holdfast_model::ids::Position,
        /// Why.
        source: CodecError,
    },
}

/// Folds a stream from the log.
///
/// # Errors
/// [`ReplayError`] where the log or an event cannot be read.
pub fn replay<A: Aggregate<Event: TryFrom<Event>>>(
    log: &dyn holdfast_log::ReadLog,
    stream: &StreamId,
) -> Result<(A, Version), ReplayError> {
    replay_on(log, stream, A::default(), Version::NONE)
}

/// Folds what a stream holds after `version` onto the state up to there.
///
/// # Errors
/// As [`replay`].
pub fn replay_on<A: Aggregate<Event: TryFrom<Event>>>(
    log: &dyn holdfast_log::ReadLog,
    stream: &StreamId,
    mut state: A,
    mut version: Version,
) -> Result<(A, Version), ReplayError> {
    loop {
        let records = log.read_stream(stream, version.next(), REPLAY_BATCH)?;
        if records.is_empty() {
            return Ok((state, version));
        }
        for record in records {
            version = record.version;
            let position = record.position;
            let envelope = Envelope::read(record).map_err(|source| ReplayError::Codec { position, source })?;
            let moment = envelope.moment();
            if let Ok(event) = envelope.data.try_into() {
                state.apply(&event, &moment);
            }
        }
    }
}

impl<R: Role> EventSourced<R> {
    /// Starts the actor on what its stream holds.
    ///
    /// # Errors
    /// [`ReplayError`] where the stream cannot be folded.
    pub fn start(role: R, world: World) -> Result<Addr<Self>, ReplayError> {
        let (state, version) = replay(&*world.log, &role.stream())?;
        Ok(Self::start_at(role, state, version, world))
    }

    /// Starts the actor on a state that was folded up to `version`.
    pub(crate) fn start_at(role: R, state: R::Aggregate, version: Version, world: World) -> Addr<Self> {
        Self { role, state, version, world }.start()
    }

    /// How many events its state is folded from.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// What it shares with the others.
    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    fn append(&self, events: &[Event], origin: &Origin, moment: &Moment) -> Result<Append, CodecError> {
        let records = events.iter().map(|event| record(event, self.world.clock.new_id(), moment.time, origin));
        Ok(Append { stream: self.role.stream(), expected: self.version, events: records.collect::<Result<_, _>>()? })
    }

    fn fold(
        &mut self,
        events: &[<R::Aggregate as Aggregate>::Event],
        appended: &Appended,
        moment: &Moment,
        me: &Addr<Self>,
    ) {
        self.version = appended.version;
        for event in events {
            self.state.apply(event, moment);
        }
        self.role.folded(events, &self.state);
        for effect in self.state.effects(events) {
            self.role.act(effect, &self.state, me);
        }
    }
}

impl<R: Role> Actor for EventSourced<R> {
    type Context = Context<Self>;
}

impl<R: Role> Drop for EventSourced<R> {
    fn drop(&mut self) {
        self.role.gone();
    }
}

/// The answer to a wish: at once where nothing is to be recorded, else once it is durable.
pub struct Answer<T, E: std::error::Error>(tokio::sync::oneshot::Receiver<Result<T, CommandError<E>>>);

/// What the refusal of a role's state is.
type RefusalOf<R> = <<R as Role>::Aggregate as Aggregate>::Refusal;

impl<R: Role> EventSourced<R> {
    /// Decides, records, folds; then `tell` says what is answered, from the state and the position of the last event that was recorded
    /// for this wish.
    pub(crate) fn obey<T: Send + 'static>(
        &mut self,
        wish: Command<R::Aggregate>,
        ctx: &mut Context<Self>,
        tell: impl FnOnce(&Self, Option<Position>) -> T + 'static,
    ) -> Answer<T, RefusalOf<R>> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let moment = Moment { time: self.world.clock.now(), principal: wish.origin.principal.clone() };
        let events = match self.state.decide(wish.command, moment.time) {
            Ok(events) => events,
            Err(refusal) => {
                let _ = reply.send(Err(CommandError::Refused(refusal)));
                return Answer(answer);
            }
        };
        if events.is_empty() {
            let _ = reply.send(Ok(tell(self, None)));
            return Answer(answer);
        }
        let recorded: Vec<Event> = events.iter().cloned().map(Into::into).collect();
        let append = match self.append(&recorded, &wish.origin, &moment) {
            Ok(append) => append,
            Err(error) => {
                let _ = reply.send(Err(error.into()));
                return Answer(answer);
            }
        };
        let world = self.world.clone();
        let persisted = async move { persist(&world, append).await }.into_actor(self).map(
            move |result, actor, ctx: &mut Context<Self>| {
                let answer = match result {
                    Ok(appended) => {
                        actor.fold(&events, &appended, &moment, &ctx.address());
                        Ok(tell(actor, Some(appended.last)))
                    }
                    Err(error) => {
                        let text = error.to_string();
                        actor.world.lose(text.clone());
                        ctx.stop();
                        Err(match error {
                            AppendError::OutcomeUnknown { .. } => CommandError::OutcomeUnknown(text),
                            _ => CommandError::NotRecorded(text),
                        })
                    }
                };
                let _ = reply.send(answer);
            },
        );
        // The context polls nothing else until the events are durable and folded.
        ctx.wait(persisted);
        Answer(answer)
    }
}

impl<R: Role> Handler<Command<R::Aggregate>> for EventSourced<R> {
    type Result = Answer<(), RefusalOf<R>>;

    fn handle(&mut self, message: Command<R::Aggregate>, ctx: &mut Context<Self>) -> Self::Result {
        self.obey(message, ctx, |_, _| ())
    }
}

/// Appends; on a full disk gives up the reserve and tries once more.
async fn persist(world: &World, append: Append) -> Result<Appended, AppendError> {
    match world.log.append(append.clone()).await {
        Err(AppendError::NoSpace { .. }) if world.reserve.release() => world.log.append(append).await,
        result => result,
    }
}

impl<A, M, T, E> MessageResponse<A, M> for Answer<T, E>
where
    A: Actor,
    M: Message<Result = Result<T, CommandError<E>>>,
    T: Send + 'static,
    E: std::error::Error + Send + 'static,
{
    fn handle(self, _ctx: &mut A::Context, sender: Option<OneshotSender<M::Result>>) {
        if let Some(sender) = sender {
            actix::spawn(async move {
                if let Ok(answer) = self.0.await {
                    let _ = sender.send(answer);
                }
            });
        }
    }
}
