//! Where all doors lead: what they share, who is in, and how many may be.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use holdfast_model::ids::Position;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use super::gauges::Gauges;
use super::outbox::Reason;
use super::session::Connection;
use crate::api::{ApiError, Caller, Dispatcher, Door, ErrorCode, Kind, RawReply, Session, find};
use crate::config::ServerConfig;

/// When it is worth another try for whom there was no place.
const COME_BACK: Duration = Duration::from_secs(1);

/// Questions that are answered at a time, for each processor. The others wait in the order they came, and of each connection only a few do
/// ([`Connection`]): one that asks without end takes its turns with those that ask now and then.
const READS_PER_PROCESSOR: usize = 2;

/// What all doors of a server share.
pub(super) struct Lobby {
    pub(super) dispatcher: Dispatcher,
    pub(super) gauges: Arc<Gauges>,
    settings: RwLock<Arc<ServerConfig>>,
    connections: Mutex<BTreeMap<u64, Weak<Connection>>>,
    next: AtomicU64,
    places: Mutex<Places>,
    /// Requests at work, by whichever door.
    at_work: watch::Sender<usize>,
    draining: AtomicBool,
    reads: Semaphore,
}

/// Who takes up how many places.
#[derive(Default)]
struct Places {
    /// Connections over TCP and WebSocket.
    network: usize,
    /// Connections over the Unix socket. They have places of their own, so that strangers cannot keep the operator out.
    local: usize,
    /// Those of `network` over TCP that nobody knows yet, by address.
    unknown: BTreeMap<IpAddr, usize>,
}

impl Places {
    fn of(&mut self, door: Door) -> &mut usize {
        if door.is_local() { &mut self.local } else { &mut self.network }
    }
}

impl Lobby {
    pub(super) fn new(dispatcher: Dispatcher, settings: ServerConfig) -> Arc<Self> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Arc::new(Self {
            gauges: Arc::new(Gauges::new(dispatcher.engine().now())),
            dispatcher,
            settings: RwLock::new(Arc::new(settings)),
            connections: Mutex::default(),
            next: AtomicU64::new(0),
            places: Mutex::default(),
            at_work: watch::Sender::new(0),
            draining: AtomicBool::new(false),
            reads: Semaphore::new(READS_PER_PROCESSOR * processors),
        })
    }

    /// The settings as they are now.
    pub(super) fn settings(&self) -> Arc<ServerConfig> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Other settings from now on. Those of a connection's queue and rate stay for connections that are open.
    pub(super) fn set(&self, settings: ServerConfig) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// A place for a connection that stays.
    ///
    /// # Errors
    /// [`ErrorCode::TooManyConnections`].
    pub(super) fn admit(self: &Arc<Self>, door: Door, address: Option<IpAddr>) -> Result<Place, ApiError> {
        let limits = &self.settings().limits;
        let mut places = self.places();
        if *places.of(door) >= limits.connections {
            return Err(self.full(format!("there are {} connections, and no more may be", limits.connections)));
        }
        let address = address.map(|address| address.to_canonical()).filter(|_| door == Door::Tcp);
        if let Some(address) = address {
            let unknown = places.unknown.entry(address).or_default();
            if *unknown >= limits.unauthenticated_per_address {
                let most = limits.unauthenticated_per_address;
                let text = format!("{most} connections from {address} have not shown a token yet: use `Auth` on them");
                return Err(self.full(text));
            }
            *unknown += 1;
        }
        *places.of(door) += 1;
        drop(places);
        self.gauges.came(door);
        Ok(Place { lobby: self.clone(), door, unknown: Mutex::new(address) })
    }

    fn full(&self, text: String) -> ApiError {
        self.gauges.turned_away();
        ApiError::new(ErrorCode::TooManyConnections, text).retry_after(COME_BACK)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a connection known until it is dropped.
    pub(super) fn enter(self: &Arc<Self>, connection: &Arc<Connection>) -> Entered {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.open().insert(id, Arc::downgrade(connection));
        Entered { lobby: self.clone(), id }
    }

    fn all(&self) -> Vec<Arc<Connection>> {
        self.open().values().filter_map(Weak::upgrade).collect()
    }

    /// Counts a request until it is answered.
    pub(super) fn work(self: &Arc<Self>) -> Working {
        self.at_work.send_modify(|at_work| *at_work += 1);
        Working(self.clone())
    }

    /// Waits until no request is at work, for so long at most.
    pub(super) async fn idle(&self, within: Duration) {
        let mut at_work = self.at_work.subscribe();
        let _ = tokio::time::timeout(within, at_work.wait_for(|at_work| *at_work == 0)).await;
    }

    /// From now on commands that begin work are refused.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Does a command, unless the server is about to stop.
    pub(super) async fn call(
        &self,
        caller: Caller,
        session: Option<Arc<dyn Session>>,
        command: &str,
        data: &str,
    ) -> Result<RawReply, ApiError> {
        let kind = find(command).map(|entry| entry.kind);
        if self.draining.load(Ordering::Acquire) && kind == Some(Kind::Work) {
            return Err(ApiError::new(ErrorCode::Draining, "the server is about to stop: ask again after its start"));
        }
        let _turn = match kind {
            // It is never closed.
            Some(Kind::Read) => self.reads.acquire().await.ok(),
            _ => None,
        };
        self.dispatcher.call(caller, session, command, data).await
    }

    /// Sends something to everybody who has room for it before the deadline.
    pub(super) async fn tell(&self, message: &'static [u8], within: Duration) {
        let told = self.all().into_iter().map(|connection| async move {
            let _ = connection.outbox().send(Bytes::from_static(message)).await;
        });
        let _ = tokio::time::timeout(within, futures_util::future::join_all(told)).await;
    }

    /// Waits until subscribers were sent what the log holds now, for so long at most. They are sent no more.
    pub(super) async fn end_subscriptions(&self, within: Duration) {
        let last = self.head();
        let ending: Vec<_> =
            self.all().iter().flat_map(|connection| connection.end_subscriptions_after(last)).collect();
        let ended = ending.iter().map(watch::Sender::closed);
        let _ = tokio::time::timeout(within, futures_util::future::join_all(ended)).await;
    }

    /// Ends all connections.
    pub(super) fn close(&self, reason: Reason) {
        for connection in self.all() {
            connection.outbox().close(reason);
        }
    }

    /// Takes from connections what tokens gave them that have been revoked or have expired.
    pub(super) async fn forget_dead_tokens(&self) -> Result<(), ApiError> {
        let engine = self.dispatcher.engine();
        for connection in self.all() {
            for token in connection.tokens() {
                if !is_live(engine, token).await? {
                    connection.forget(token);
                }
            }
        }
        Ok(())
    }

    /// The position everything that is recorded now is at or before.
    pub(super) fn head(&self) -> Position {
        self.dispatcher.engine().head()
    }
}

/// Whether a token is good now.
pub(super) async fn is_live(engine: &crate::engine::Holdfast, token: Uuid) -> Result<bool, ApiError> {
    let now = engine.now();
    Ok(engine.read(|known| known.access.token(token).is_some_and(|token| token.is_live(now))).await?)
}

/// A connection's place; free again when it is dropped.
pub(super) struct Place {
    lobby: Arc<Lobby>,
    door: Door,
    unknown: Mutex<Option<IpAddr>>,
}

impl Place {
    /// Says that it is known who has it.
    pub(super) fn known(&self) {
        let address = self.unknown.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(address) = address else { return };
        let mut places = self.lobby.places();
        if let Some(unknown) = places.unknown.get_mut(&address) {
            *unknown -= 1;
            if *unknown == 0 {
                places.unknown.remove(&address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.known();
        let mut places = self.lobby.places();
        *places.of(self.door) -= 1;
        drop(places);
        self.lobby.gauges.left(self.door);
    }
}

/// A connection that is known to its lobby.
pub(super) struct Entered {
    lobby: Arc<Lobby>,
    id: u64,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.lobby.open().remove(&self.id);
    }
}

/// A request at work.
pub(super) struct Working(Arc<Lobby>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.at_work.send_modify(|at_work| *at_work -= 1);
    }
}
