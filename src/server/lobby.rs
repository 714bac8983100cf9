//! Where all doors lead: what they share, who is in, and whose turn it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use holdfast_model::ids::Position;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use uuid::Uuid;

use super::gauges::Gauges;
use super::outbox::Reason;
use super::places::Places;
use super::session::Connection;
use crate::api::{ApiError, Caller, Dispatcher, ErrorCode, Kind, RawReply, Reach, Session, find};
use crate::config::ServerConfig;

/// Questions that are answered at a time, for each processor. The others wait in the order they came, and of each connection only a few do
/// ([`Connection`]): one that asks without end takes its turns with those that ask now and then.
const READS_PER_PROCESSOR: usize = 2;

/// What all doors of a server share.
pub(super) struct Lobby {
    pub(super) dispatcher: Dispatcher,
    pub(super) gauges: Arc<Gauges>,
    pub(super) places: Arc<Places>,
    settings: RwLock<Arc<ServerConfig>>,
    connections: Mutex<BTreeMap<u64, Weak<Connection>>>,
    next: AtomicU64,
    /// Requests at work, by whichever door.
    at_work: watch::Sender<usize>,
    /// Whether nothing is waited for any more.
    over: watch::Sender<bool>,
    reads: Arc<Semaphore>,
}

impl Lobby {
    pub(super) fn new(dispatcher: Dispatcher, settings: ServerConfig) -> Arc<Self> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let gauges = Arc::new(Gauges::new(dispatcher.engine().now()));
        Arc::new(Self {
            places: Places::new(gauges.clone()),
            gauges,
            dispatcher,
            settings: RwLock::new(Arc::new(settings)),
            connections: Mutex::default(),
            next: AtomicU64::new(0),
            at_work: watch::Sender::new(0),
            over: watch::Sender::new(false),
            reads: Arc::new(Semaphore::new(READS_PER_PROCESSOR * processors)),
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

    /// Nothing is waited for any more: commands whose end is far are answered with what they began.
    pub(super) fn end_waiting(&self) {
        self.over.send_replace(true);
    }

    /// Does a command. With the answer comes the connection's own turn where it took one: it holds it until the answer has found room.
    pub(super) async fn call(
        &self,
        caller: Caller,
        session: Option<Arc<dyn Session>>,
        command: &str,
        data: &str,
        own_turns: Option<&Arc<Semaphore>>,
    ) -> (Result<RawReply, ApiError>, Option<OwnedSemaphorePermit>) {
        let mut over = self.over.subscribe();
        let over = async move {
            // The sender lives as long as anybody asks.
            let _ = over.wait_for(|over| *over).await;
        };
        if !takes_turns(command) {
            return (self.dispatcher.call_until(caller, session, command, data, over).await, None);
        }
        // Neither is ever closed.
        let own = match own_turns {
            Some(turns) => turns.clone().acquire_owned().await.ok(),
            None => None,
        };
        let all = match caller.door.is_local() {
            false => self.reads.clone().acquire_owned().await.ok(),
            true => None,
        };
        // The turns go with the work, which goes on where whoever asked does not wait for it.
        let (dispatcher, command, data) = (self.dispatcher.clone(), command.to_owned(), data.to_owned());
        let work = self.dispatcher.engine().data_plane().spawn(async move {
            let result = dispatcher.call_until(caller, session, &command, &data, over).await;
            drop(all);
            (result, own)
        });
        let ended = |_| (Err(ApiError::new(ErrorCode::Internal, "the command ended without an answer")), None);
        work.await.unwrap_or_else(ended)
    }

    /// Sends something to everybody who has said something, and has room for it before the deadline.
    pub(super) async fn tell(&self, message: &'static [u8], within: Duration) {
        // Nothing is said to who has said nothing.
        let told = self.all().into_iter().filter(|connection| connection.has_spoken()).map(|connection| async move {
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

    /// Ends connections that rest on tokens that have been revoked or have expired.
    pub(super) async fn end_dead_tokens(&self) -> Result<(), ApiError> {
        let resting: Vec<_> = self.all().into_iter().map(|connection| (connection.tokens(), connection)).collect();
        let tokens: BTreeSet<Uuid> = resting.iter().flat_map(|(tokens, _)| tokens).copied().collect();
        if tokens.is_empty() {
            return Ok(());
        }
        let engine = self.dispatcher.engine();
        let now = engine.now();
        let is_dead = |token: &Uuid, known: &holdfast_model::access::Access| {
            !known.token(*token).is_some_and(|token| token.is_live(now))
        };
        let dead: BTreeSet<Uuid> =
            engine.read(|known| tokens.iter().filter(|token| is_dead(token, &known.access)).copied().collect()).await?;
        for (tokens, connection) in resting {
            if !tokens.is_disjoint(&dead) {
                connection.token_has_ended();
            }
        }
        Ok(())
    }

    /// The position everything that is recorded now is at or before.
    pub(super) fn head(&self) -> Position {
        self.dispatcher.engine().head()
    }
}

/// Whether a command is one of those that wait for their turn. What needs nobody known is soon done, and a connection that begins must not
/// wait for what others read.
fn takes_turns(command: &str) -> bool {
    find(command)
        .is_some_and(|entry| entry.kind == Kind::Read && entry.role.is_some() && entry.reach != Reach::Connections)
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
