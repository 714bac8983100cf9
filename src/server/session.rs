//! One connection that stays, whichever door it came by: who it speaks for, what it has asked and not been answered yet, what it is
//! subscribed to.
//!
//! Each request is a task of its own, so a long command never holds up the connection; only what the next message depends on (`Auth`,
//! `Subscribe`, `Unsubscribe`) is done before that is looked at. A connection's end ends its subscriptions, and nothing else: commands
//! that have begun go on. So does the end of a token that it rests on: the connection is told so and closed.

mod flight;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use holdfast_model::ids::Position;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use uuid::Uuid;

use self::flight::Flight;
use super::feed::Subscription;
use super::lobby::{Entered, Lobby};
use super::outbox::{Closed, Outbox, Queue, Reason};
use super::pace::Pace;
use super::places::{Place, Stranger};
use crate::api::envelope::{self, Request};
use crate::api::{ApiError, Caller, Channel, Door, ErrorCode, Principal, RawReply, Session, SessionFuture};
use crate::config::ServerLimits;

/// Commands that the messages after them depend on.
const IN_ORDER: [&str; 3] = ["Auth", "Subscribe", "Unsubscribe"];
/// Questions of one connection that are worked on at a time, until their answers have found room: what one client makes the server hold in
/// answers is bounded by so many, however many it asks for.
const READS: usize = 2;
/// How long the next message waits after one that was too much: it keeps a flood from taking a processor for its refusals.
const BREATH: Duration = Duration::from_millis(5);

/// One connection that stays.
pub(super) struct Connection {
    lobby: Arc<Lobby>,
    door: Door,
    source: String,
    outbox: Outbox,
    pace: Pace,
    state: Mutex<State>,
    reads: Arc<Semaphore>,
    /// How many requests are not answered yet.
    in_flight: watch::Sender<usize>,
    place: Weak<Place>,
}

/// A client's stay. It ends with this: its place is free, its subscriptions are over, and nobody works for its answers any more.
pub(super) struct Visit {
    pub(super) connection: Arc<Connection>,
    _place: Arc<Place>,
    _entered: Entered,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.connection.outbox.close(Reason::Gone);
        self.connection.end_subscriptions();
    }
}

/// Who comes in.
pub(super) enum Newcomer {
    Known(Principal),
    Stranger(Stranger),
}

#[derive(Default)]
struct State {
    principal: Option<Principal>,
    /// A token was shown, in whichever way.
    known: bool,
    /// Whom the one that was shown last stands for.
    shown: Option<Principal>,
    /// A token that it rested on has ended, and so does the connection.
    ended: bool,
    /// A message came, whatever it was.
    spoke: bool,
    /// A request was made.
    asked: bool,
    ext_ids: BTreeSet<String>,
    subscriptions: BTreeMap<Channel, (Option<Uuid>, Subscription)>,
}

impl Connection {
    /// A client's stay, and the queue its messages are taken from.
    ///
    /// # Errors
    /// [`ErrorCode::TooManyConnections`].
    pub(super) fn open(
        lobby: &Arc<Lobby>,
        door: Door,
        source: String,
        newcomer: Newcomer,
    ) -> Result<(Visit, Queue), ApiError> {
        let (principal, stranger) = match newcomer {
            Newcomer::Known(principal) => (Some(principal), None),
            Newcomer::Stranger(stranger) => (None, Some(stranger)),
        };
        let limits = &lobby.settings().limits;
        let place = Arc::new(lobby.places.admit(door, stranger, limits)?);
        let (outbox, queue) = Outbox::new(limits, lobby.gauges.clone());
        let known = principal.is_some();
        let connection = Arc::new(Self {
            lobby: lobby.clone(),
            door,
            source,
            outbox,
            pace: Pace::new(limits),
            state: Mutex::new(State { principal, known, ..State::default() }),
            reads: Arc::new(Semaphore::new(READS)),
            in_flight: watch::Sender::new(0),
            place: Arc::downgrade(&place),
        });
        let entered = lobby.enter(&connection);
        Ok((Visit { connection, _place: place, _entered: entered }, queue))
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The limits as they are now.
    pub(super) fn limits(&self) -> ServerLimits {
        self.lobby.settings().limits.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The longest message that is taken now, in bytes.
    pub(super) fn message_limit(&self) -> usize {
        let limits = &self.lobby.settings().limits;
        if self.state().known { limits.message } else { limits.message_before_auth }
    }

    /// Whether a token was shown or a request made.
    pub(super) fn has_asked(&self) -> bool {
        let state = self.state();
        state.known || state.asked
    }

    /// Whether anything came from the client.
    pub(super) fn has_spoken(&self) -> bool {
        self.state().spoke
    }

    /// Whether a token was shown.
    pub(super) fn is_known(&self) -> bool {
        self.state().known
    }

    /// Whether nobody knows who it is, and it waits for nothing.
    pub(super) fn is_forgotten(&self) -> bool {
        let state = self.state();
        !state.known && state.subscriptions.is_empty() && *self.in_flight.borrow() == 0
    }

    /// Waits until each request is answered.
    pub(super) async fn all_answered(&self) {
        // The sender lives as long as this does.
        let _ = self.in_flight.subscribe().wait_for(|in_flight| *in_flight == 0).await;
    }

    /// Tells of what the log holds up to `last`, and then no more.
    pub(super) fn end_subscriptions_after(&self, last: Position) -> Vec<watch::Sender<Position>> {
        self.state().subscriptions.values().filter_map(|(_, subscription)| subscription.end_after(last)).collect()
    }

    pub(super) fn end_subscriptions(&self) {
        let ended = std::mem::take(&mut self.state().subscriptions);
        drop(ended);
    }

    /// Counts something that came and is no request. Lets whoever sends too much of it wait.
    pub(super) async fn count(&self) {
        if self.pace.check().is_err() {
            self.lobby.gauges.limited();
            tokio::time::sleep(BREATH).await;
        }
    }

    /// Takes a message and has it answered. Waits where the client does not take its answers.
    pub(super) async fn message(self: &Arc<Self>, message: &[u8]) {
        let message = message.trim_ascii();
        if message.is_empty() {
            return self.count().await;
        }
        let limited = self.pace.check();
        self.state().spoke = true;
        if message == b"ping" && limited.is_ok() {
            let _ = self.outbox.send(Bytes::from_static(b"pong")).await;
            return;
        }
        let request = Request::read(message);
        if request.is_err()
            && self.door == Door::WebSocket
            && let Some(token) = envelope::authorization(message)
        {
            let is_limited = limited.is_err();
            self.authorize(&token, limited.err()).await;
            if is_limited {
                self.lobby.gauges.limited();
                tokio::time::sleep(BREATH).await;
            }
            return;
        }
        if let Err(error) = limited {
            self.lobby.gauges.limited();
            let (ext_id, command) = match request {
                Ok(request) => (Some(request.ext_id), request.command),
                Err(unread) => (unread.0, String::new()),
            };
            self.record_refusal(&command, &error).await;
            self.refuse(ext_id.as_deref(), &error).await;
            tokio::time::sleep(BREATH).await;
            return;
        }
        match request {
            Ok(request) => self.begin(request).await,
            Err(unread) => {
                self.record_refusal("", &unread.1).await;
                self.refuse(unread.0.as_deref(), &unread.1).await;
            }
        }
    }

    /// Records what did not come as far as a command, where it is known who sent it.
    async fn record_refusal(&self, command: &str, error: &ApiError) {
        let principal = self.speaks_as();
        let caller = Caller { principal, door: self.door, source: self.source.clone() };
        self.lobby.dispatcher.refused(&caller, command, error).await;
    }

    /// Whom the connection, or else the token that was shown on it last, stands for.
    fn speaks_as(&self) -> Option<Principal> {
        let state = self.state();
        state.principal.clone().or_else(|| state.shown.clone())
    }

    /// Answers a message with an error.
    pub(super) async fn refuse(&self, ext_id: Option<&str>, error: &ApiError) {
        let _ = self.outbox.send(envelope::error(ext_id, error).into()).await;
    }

    /// Answers a message that was not even taken.
    pub(super) async fn refuse_large(&self) {
        let limit = self.message_limit();
        let text = format!("the message has more than {limit} bytes, which is the most that is taken here");
        self.refuse(None, &ApiError::new(ErrorCode::MessageTooLarge, text)).await;
    }

    async fn begin(self: &Arc<Self>, request: Request) {
        let flight = match self.take_off(&request.ext_id) {
            Ok(flight) => flight,
            Err(error) => {
                self.record_refusal(&request.command, &error).await;
                return self.refuse(Some(&request.ext_id), &error).await;
            }
        };
        let in_order = IN_ORDER.contains(&request.command.as_str());
        let answered = self.clone().answer(request, flight);
        if in_order {
            answered.await;
        } else {
            // What has begun goes on without the client; only its answer does not.
            let outbox = self.outbox.clone();
            drop(self.lobby.dispatcher.engine().data_plane().spawn(async move {
                tokio::select! {
                    () = answered => {}
                    _ = outbox.closed() => {}
                }
            }));
        }
    }

    async fn answer(self: Arc<Self>, request: Request, mut flight: Flight) {
        let in_order = IN_ORDER.contains(&request.command.as_str());
        let (result, turn) = self.call(&request).await;
        let status = result.as_ref().map_or_else(|error| error.code.status(), |reply| reply.status);
        self.lobby.gauges.answered(&request.command, status);
        let message: Bytes = envelope::answer(&request.ext_id, &result).into();
        drop((result, request));
        if let Ok(room) = self.outbox.room(message.len()).await {
            // Before the client can know of it, the `extID` is free again.
            flight.land();
            room.put(message);
        }
        drop(turn);
        // What a subscription sends comes after the answer to it.
        if in_order {
            self.state().subscriptions.values().for_each(|(_, subscription)| subscription.begin());
        }
    }

    async fn call(self: &Arc<Self>, request: &Request) -> (Result<RawReply, ApiError>, Option<OwnedSemaphorePermit>) {
        let principal = match self.speaks_for(request).await {
            Ok(principal) => principal,
            Err(error) => return (Err(error), None),
        };
        let caller = Caller { principal, door: self.door, source: self.source.clone() };
        let data = request.data.as_deref().map_or("{}", |data| data.get());
        let session: Arc<dyn Session> = self.clone();
        self.lobby.call(caller, Some(session), &request.command, data, Some(&self.reads)).await
    }

    /// Who a request is from: whoever its token stands for, or the connection speaks for.
    async fn speaks_for(&self, request: &Request) -> Result<Option<Principal>, ApiError> {
        if self.state().ended {
            return Err(token_ended());
        }
        if let Some(token) = &request.token {
            let principal = self.lobby.dispatcher.authenticate(token, &self.source).await?;
            self.has_shown(&principal);
            return Ok(Some(principal));
        }
        let principal = self.state().principal.clone();
        let engine = self.lobby.dispatcher.engine();
        if let Some(token) = principal.as_ref().and_then(|principal| principal.token_id) {
            let now = engine.now();
            let is_live = |token: &holdfast_model::access::Token| token.is_live(now);
            if !engine.read(|known| known.access.token(token).is_some_and(is_live)).await? {
                return Err(token_ended());
            }
        }
        Ok(principal)
    }

    /// Refuses more channels than there may be, before anything changes.
    fn check_room(&self, channels: &[(Channel, Option<Position>)]) -> Result<(), ApiError> {
        let most = self.lobby.settings().limits.channels;
        let mut all: BTreeSet<Channel> = self.state().subscriptions.keys().copied().collect();
        all.extend(channels.iter().map(|(channel, _)| *channel));
        if all.len() <= most {
            return Ok(());
        }
        let text = format!("a connection has at most {most} channels: unsubscribe from one of them");
        Err(ApiError::new(ErrorCode::LimitReached, text))
    }

    fn has_shown(&self, principal: &Principal) {
        let mut state = self.state();
        if state.ended {
            return;
        }
        state.known = true;
        state.shown = Some(principal.clone());
        drop(state);
        if let Some(place) = self.place.upgrade()
            && let Err(error) = place.known()
        {
            self.end(Reason::Unknown, error);
        }
    }

    /// Says why it ends, and ends it.
    fn end(&self, reason: Reason, why: ApiError) {
        let (outbox, is_told) = (self.outbox.clone(), self.door != Door::WebSocket);
        drop(self.lobby.dispatcher.engine().data_plane().spawn(async move {
            // A WebSocket is told by its close frame.
            if is_told {
                let _ = outbox.send(envelope::error(None, &why).into()).await;
            }
            outbox.close(reason);
        }));
    }

    /// The right to tell a client at length why it has to go.
    pub(super) fn tell(&self) -> Option<OwnedSemaphorePermit> {
        self.lobby.places.tell()
    }

    /// Lets another have its place: it is about to end.
    pub(super) fn free_place(&self) {
        if let Some(place) = self.place.upgrade() {
            place.free();
        }
    }

    /// The tokens that what it has rests on.
    pub(super) fn tokens(&self) -> BTreeSet<Uuid> {
        let state = self.state();
        let own = state.principal.as_ref().and_then(|principal| principal.token_id);
        let shown = state.shown.as_ref().and_then(|principal| principal.token_id);
        state.subscriptions.values().filter_map(|(token, _)| *token).chain(own).chain(shown).collect()
    }

    /// A token that it rests on was revoked, or has expired: it has nothing any more from now on, is told so, and ends.
    pub(super) fn token_has_ended(self: &Arc<Self>) {
        let mut state = self.state();
        if std::mem::replace(&mut state.ended, true) {
            return;
        }
        (state.known, state.principal, state.shown) = (false, None, None);
        let subscriptions = std::mem::take(&mut state.subscriptions);
        drop(state);
        drop(subscriptions);
        self.end(Reason::TokenEnded, token_ended());
    }

    async fn authorize(&self, authorization: &str, limited: Option<ApiError>) {
        let token = bearer(authorization).unwrap_or(authorization);
        let result = match limited {
            Some(error) => Err(error),
            None => self.lobby.dispatcher.authenticate(token, &self.source).await,
        };
        let message = match result {
            Ok(principal) => {
                self.authenticate(principal);
                serde_json::json!({ "event": "authorization", "success": true })
            }
            Err(error) => {
                serde_json::json!({ "event": "authorization", "success": false, "error": error.code.as_str() })
            }
        };
        let _: Result<(), Closed> = self.outbox.send(message.to_string().into()).await;
    }
}

/// What is said to who came with a token that is no longer good.
fn token_ended() -> ApiError {
    let text = "the token of this connection was revoked or has expired: connect again with another";
    ApiError::new(ErrorCode::InvalidToken, text)
}

/// The token of an `Authorization` of RFC 6750.
pub(super) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Session for Connection {
    fn authenticate(&self, principal: Principal) {
        self.has_shown(&principal);
        let mut state = self.state();
        if !state.ended {
            state.principal = Some(principal);
        }
    }

    fn subscribe<'a>(
        &'a self,
        principal: &'a Principal,
        channels: &'a [(Channel, Option<Position>)],
    ) -> SessionFuture<'a, Result<Position, ApiError>> {
        Box::pin(async move {
            self.check_room(channels)?;
            let by = principal.token_id;
            let mut from = self.lobby.head();
            for (channel, since) in channels {
                // The one before ends first: nothing of it comes after the beginning of the new one.
                let before = self.state().subscriptions.remove(channel);
                drop(before);
                let engine = self.lobby.dispatcher.engine();
                let (at, subscription) =
                    Subscription::new(engine, *channel, *since, principal.role, self.outbox.clone());
                from = from.min(at);
                let mut state = self.state();
                if state.ended {
                    return Err(token_ended());
                }
                state.subscriptions.insert(*channel, (by, subscription));
            }
            Ok(from)
        })
    }

    fn unsubscribe(&self, channels: &[Channel]) -> Vec<Channel> {
        let mut state = self.state();
        let (ended, left): (BTreeMap<_, _>, _) = std::mem::take(&mut state.subscriptions)
            .into_iter()
            .partition(|(channel, _)| channels.is_empty() || channels.contains(channel));
        let names = left.keys().copied().collect();
        state.subscriptions = left;
        drop((state, ended));
        names
    }
}
