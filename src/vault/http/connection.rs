//! One connection: ended where it is quiet for too long, whatever it is in the middle of.
//!
//! The HTTP library ends a connection that is quiet between two requests, but waits without end for the rest of a head that came after the
//! first one, and for a client that does not take its answer. So each is watched: one without a request at work for too long, or whose client
//! takes nothing of an answer, is shut down. Bytes of uploads are waited for where they are read.

use std::any::Any;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::Error;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream;
use actix_web::rt::task::JoinHandle;
use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

/// How long there may be no request at work, at most.
const QUIET: Duration = Duration::from_secs(60);

/// A connection.
pub(super) struct Connection {
    traffic: Arc<Traffic>,
    watch: Option<JoinHandle<()>>,
}

struct Traffic(Mutex<State>);

struct State {
    /// Requests whose answer is not there yet.
    at_work: usize,
    moved: Instant,
    /// How long nothing of an answer may be taken.
    idle: Duration,
    sending: usize,
}

impl Traffic {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When to look again; none where patience is over.
    fn look(&self, now: Instant) -> Option<Instant> {
        let state = self.state();
        let until = match (state.at_work, state.sending) {
            (0, 0) => state.moved + QUIET,
            (0, _) => state.moved + state.idle,
            _ => now + state.idle,
        };
        (now < until).then(|| until.min(now + state.idle))
    }
}

impl Connection {
    /// One that was just made. Must be called where its worker works.
    pub(super) fn new(io: &dyn Any, idle: Duration) -> Self {
        let socket = io.downcast_ref::<TcpStream>();
        let socket = socket.or_else(|| io.downcast_ref::<TlsStream<TcpStream>>().map(|tls| tls.get_ref().0));
        let socket = socket.and_then(|socket| socket.as_fd().try_clone_to_owned().ok());
        let traffic = Arc::new(Traffic(Mutex::new(State { at_work: 0, moved: Instant::now(), idle, sending: 0 })));
        let watch = socket.map(|socket| actix_web::rt::spawn(end_when_quiet(Arc::downgrade(&traffic), socket)));
        Self { traffic, watch }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

async fn end_when_quiet(traffic: Weak<Traffic>, socket: OwnedFd) {
    while let Some(traffic) = traffic.upgrade() {
        let Some(again) = traffic.look(Instant::now()) else {
            // Its worker sees the end, and does what it does at one.
            let _ = rustix::net::shutdown(&socket, rustix::net::Shutdown::Both);
            return;
        };
        drop(traffic);
        sleep_until(again).await;
    }
}

/// A request at work, then its answer on its way.
struct InFlight {
    traffic: Arc<Traffic>,
    sends: bool,
}

impl InFlight {
    fn begin(traffic: &Arc<Traffic>) -> Self {
        traffic.state().at_work += 1;
        Self { traffic: traffic.clone(), sends: false }
    }

    fn sends(&mut self) {
        let mut state = self.traffic.state();
        state.at_work = state.at_work.saturating_sub(1);
        state.sending += 1;
        state.moved = Instant::now();
        self.sends = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.traffic.state();
        match self.sends {
            true => state.sending = state.sending.saturating_sub(1),
            false => state.at_work = state.at_work.saturating_sub(1),
        }
        state.moved = Instant::now();
    }
}

/// In front of every path.
pub(super) async fn watched(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(connection) = request.conn_data::<Arc<Connection>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let mut in_flight = InFlight::begin(&connection.traffic);
    let response = next.call(request).await?.map_into_boxed_body();
    in_flight.sends();
    Ok(response.map_body(|_, body| BoxBody::new(Sent { body, in_flight })))
}

/// A body on its way.
struct Sent {
    body: BoxBody,
    in_flight: InFlight,
}

impl MessageBody for Sent {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        // Whoever asks for more has sent most of what was there before.
        this.in_flight.traffic.state().moved = Instant::now();
        Pin::new(&mut this.body).poll_next(context)
    }
}
