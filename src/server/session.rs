//! One connection that stays, whichever door it came by: who it speaks for, what it has asked and not been answered yet, what it is
//! subscribed to.
//!
//! Each request is a task of its own, so a long command never holds up the connection; only what the next message depends on (`Auth`,
//! `Subscribe`, `Unsubscribe`) is done before that is looked at. A connection's end ends its subscriptions, and nothing else: commands
//! that have begun go on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use holdfast_model::ids::Position;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use super::feed::Subscription;
use super::lobby::{Entered, Lobby, Place, Working, is_live};
use super::outbox::{Closed, Outbox, Queue, Reason};
use crate::api::envelope::{self, Request};
use crate::api::{ApiError, Caller, Channel, Door, ErrorCode, Kind, Principal, Session, SessionFuture, find};
use crate::config::ServerLimits;

/// Commands that the messages after them depend on.
const IN_ORDER: [&str; 3] = ["Auth", "Subscribe", "Unsubscribe"];
/// Questions of one connection that are worked on at a time, until their answers have found room: what one client makes the server hold in
/// answers is bounded by so many, however many it asks for.
const READS: usize = 2;
/// How long the next message waits after one that was too much: it keeps a flood from taking a processor for its refusals.
const BREATH: Duration = Duration::from_millis(5);
/// When it is worth another try for a request that was one too many at a time.
const SOON: Duration = Duration::from_millis(100);

/// One connection that stays.
pub(super) struct Connection {
    lobby: Arc<Lobby>,
    door: Door,
    source: String,
    outbox: Outbox,
    pace: Pace,
    state: Mutex<State>,
    reads: Semaphore,
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

#[derive(Default)]
struct State {
    principal: Option<Principal>,
    /// A token was shown, in whichever way.
    known: bool,
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
        address: Option<IpAddr>,
        principal: Option<Principal>,
    ) -> Result<(Visit, Queue), ApiError> {
        let place = Arc::new(lobby.admit(door, address)?);
        let limits = &lobby.settings().limits;
        let (outbox, queue) = Outbox::new(limits, lobby.gauges.clone());
        let known = principal.is_some();
        if known {
            place.known();
        }
        let connection = Arc::new(Self {
            lobby: lobby.clone(),
            door,
            source,
            outbox,
            pace: Pace::new(limits),
            state: Mutex::new(State { principal, known, ..State::default() }),
            reads: Semaphore::new(READS),
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
        self.state().subscriptions.values().map(|(_, subscription)| subscription.end_after(last)).collect()
    }

    pub(super) fn end_subscriptions(&self) {
        let ended = std::mem::take(&mut self.state().subscriptions);
        drop(ended);
    }

    /// Takes a message and has it answered. Waits where the client does not take its answers.
    pub(super) async fn message(self: &Arc<Self>, message: &[u8]) {
        let message = message.trim_ascii();
        if message.is_empty() {
            return;
        }
        let limited = self.pace.check();
        if message == b"ping" && limited.is_ok() {
            let _ = self.outbox.send(Bytes::from_static(b"pong")).await;
            return;
        }
        if let Some(token) = self.authorization(message) {
            self.authorize(&token, limited.err()).await;
            return;
        }
        let request = Request::read(message);
        if let Err(error) = limited {
            self.lobby.gauges.limited();
            let ext_id = request.map_or_else(|unread| unread.0, |request| Some(request.ext_id));
            self.refuse(ext_id.as_deref(), &error).await;
            tokio::time::sleep(BREATH).await;
            return;
        }
        match request {
            Ok(request) => self.begin(request).await,
            Err(unread) => self.refuse(unread.0.as_deref(), &unread.1).await,
        }
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
            Err(error) => return self.refuse(Some(&request.ext_id), &error).await,
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

    /// Takes a request's `extID`, and counts it as in flight.
    fn take_off(self: &Arc<Self>, ext_id: &str) -> Result<Flight, ApiError> {
        let most = self.lobby.settings().limits.in_flight;
        let mut state = self.state();
        state.asked = true;
        if state.ext_ids.contains(ext_id) {
            let text = format!("the extID {ext_id:?} belongs to a request that is not answered yet: use another");
            return Err(ApiError::new(ErrorCode::DuplicateExtId, text));
        }
        if state.ext_ids.len() >= most {
            drop(state);
            self.lobby.gauges.limited();
            let text = format!("{most} requests of this connection are not answered yet: wait for one of them");
            return Err(ApiError::new(ErrorCode::RateLimited, text).retry_after(SOON));
        }
        state.ext_ids.insert(ext_id.to_owned());
        drop(state);
        self.in_flight.send_modify(|in_flight| *in_flight += 1);
        let working = self.lobby.work();
        Ok(Flight { connection: self.clone(), ext_id: Some(ext_id.to_owned()), _working: working })
    }

    async fn answer(self: Arc<Self>, request: Request, mut flight: Flight) {
        let in_order = IN_ORDER.contains(&request.command.as_str());
        let is_read = find(&request.command).is_some_and(|entry| entry.kind == Kind::Read);
        let _turn = if is_read && !in_order { self.reads.acquire().await.ok() } else { None };
        let result = self.call(&request).await;
        let status = result.as_ref().map_or_else(|error| error.code.status(), |reply| reply.status);
        self.lobby.gauges.answered(&request.command, status);
        let message: Bytes = envelope::answer(&request.ext_id, &result).into();
        drop((result, request));
        if let Ok(room) = self.outbox.room(message.len()).await {
            // Before the client can know of it, the `extID` is free again.
            flight.land();
            room.put(message);
        }
        // What a subscription sends comes after the answer to it.
        if in_order {
            self.state().subscriptions.values().for_each(|(_, subscription)| subscription.begin());
        }
    }

    async fn call(self: &Arc<Self>, request: &Request) -> Result<crate::api::RawReply, ApiError> {
        let dispatcher = &self.lobby.dispatcher;
        let principal = match &request.token {
            Some(token) => {
                let principal = dispatcher.authenticate(token, &self.source).await?;
                self.is_known();
                Some(principal)
            }
            None => self.principal().await?,
        };
        let caller = Caller { principal, door: self.door, source: self.source.clone() };
        let data = request.data.as_deref().map_or("{}", |data| data.get());
        let session: Arc<dyn Session> = self.clone();
        self.lobby.call(caller, Some(session), &request.command, data).await
    }

    /// Who the connection speaks for. A token that is no longer good speaks for nobody.
    async fn principal(&self) -> Result<Option<Principal>, ApiError> {
        let principal = self.state().principal.clone();
        if let Some(token) = principal.as_ref().and_then(|principal| principal.token_id)
            && !is_live(self.lobby.dispatcher.engine(), token).await?
        {
            self.forget(token);
            return Ok(None);
        }
        Ok(principal)
    }

    /// Takes a channel's subscription away, and refuses another one where there are too many.
    fn make_room(&self, channel: Channel, most: usize) -> Result<Option<(Option<Uuid>, Subscription)>, ApiError> {
        let mut state = self.state();
        let before = state.subscriptions.remove(&channel);
        if state.subscriptions.len() < most {
            return Ok(before);
        }
        let text = format!("a connection has at most {most} channels: unsubscribe from one of them");
        Err(ApiError::new(ErrorCode::LimitReached, text))
    }

    fn is_known(&self) {
        self.state().known = true;
        if let Some(place) = self.place.upgrade() {
            place.known();
        }
    }

    /// The tokens that what it has rests on.
    pub(super) fn tokens(&self) -> BTreeSet<Uuid> {
        let state = self.state();
        let own = state.principal.as_ref().and_then(|principal| principal.token_id);
        state.subscriptions.values().filter_map(|(token, _)| *token).chain(own).collect()
    }

    /// Takes away what a token gave it.
    pub(super) fn forget(&self, token: Uuid) {
        let mut state = self.state();
        if state.principal.as_ref().is_some_and(|principal| principal.token_id == Some(token)) {
            state.principal = None;
        }
        let (ended, left): (BTreeMap<_, _>, _) =
            std::mem::take(&mut state.subscriptions).into_iter().partition(|(_, (by, _))| *by == Some(token));
        state.subscriptions = left;
        drop((state, ended));
    }

    /// The token of a WebSocket's message that only says who is there.
    fn authorization(&self, message: &[u8]) -> Option<String> {
        #[derive(Deserialize)]
        struct Authorization {
            authorization: String,
            command: Option<IgnoredAny>,
        }
        if self.door != Door::WebSocket || self.state().known {
            return None;
        }
        let read: Authorization = serde_json::from_slice(message).ok()?;
        read.command.is_none().then_some(read.authorization)
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

/// The token of an `Authorization` of RFC 6750.
pub(super) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Session for Connection {
    fn authenticate(&self, principal: Principal) {
        let before = self.state().principal.replace(principal);
        drop(before);
        self.is_known();
    }

    fn subscribe<'a>(
        &'a self,
        principal: &'a Principal,
        channels: &'a [Channel],
        since: Option<Position>,
    ) -> SessionFuture<'a, Result<Position, ApiError>> {
        Box::pin(async move {
            let most = self.lobby.settings().limits.channels;
            let by = principal.token_id;
            let mut from = self.lobby.head();
            for channel in channels {
                // The one before ends first: nothing of it comes after the beginning of the new one.
                let before = self.make_room(*channel, most)?;
                drop(before);
                let engine = self.lobby.dispatcher.engine();
                let (at, subscription) =
                    Subscription::new(engine, *channel, since, principal.role, self.outbox.clone());
                from = from.min(at);
                self.state().subscriptions.insert(*channel, (by, subscription));
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

/// A request in flight.
struct Flight {
    connection: Arc<Connection>,
    ext_id: Option<String>,
    _working: Working,
}

impl Flight {
    /// Frees its `extID`.
    fn land(&mut self) {
        if let Some(ext_id) = self.ext_id.take() {
            self.connection.state().ext_ids.remove(&ext_id);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.land();
        self.connection.in_flight.send_modify(|in_flight| *in_flight -= 1);
    }
}

/// How many requests a connection may make in a second.
pub(super) struct Pace(DefaultDirectRateLimiter);

impl Pace {
    pub(super) fn new(limits: &ServerLimits) -> Self {
        let quota = Quota::per_second(limits.requests_per_second).allow_burst(limits.burst);
        Self(RateLimiter::direct(quota))
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`] where it is one too many.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        self.0.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            ApiError::new(ErrorCode::RateLimited, "these are more requests a second than a connection may make")
                .retry_after(wait.max(Duration::from_millis(1)))
        })
    }
}
