//! One connection of HTTP: how many requests it may make, and how long it may make none.
//!
//! The HTTP library ends a connection that is quiet between two requests, but waits without end for the rest of a request's head that
//! came after the first one, and for a client that does not take its answer. So each connection is watched from here: one that has no
//! request at work for too long is shut down, whatever it is in the middle of.

use std::any::Any;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::rt::net::TcpStream;
use actix_web::rt::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::api::{ApiError, Door, ErrorCode};
use crate::server::lobby::Lobby;
use crate::server::session::Pace;

/// How long there may be no request at work, at most.
const QUIET: Duration = Duration::from_secs(120);
/// When it is worth another try for a request that was one too many at a time.
const SOON: Duration = Duration::from_millis(100);

/// One connection.
pub(super) struct Peer {
    lobby: Arc<Lobby>,
    pace: Pace,
    traffic: Arc<Traffic>,
    watch: Option<JoinHandle<()>>,
}

struct Traffic {
    in_flight: AtomicUsize,
    quiet_since: Mutex<Instant>,
}

impl Peer {
    /// Of a connection that was just made. Must be called where its worker works.
    pub(super) fn new(lobby: &Arc<Lobby>, io: &dyn Any) -> Self {
        lobby.gauges.came(Door::Http);
        let limits = &lobby.settings().limits;
        let traffic = Arc::new(Traffic { in_flight: AtomicUsize::new(0), quiet_since: Mutex::new(Instant::now()) });
        let socket = io.downcast_ref::<TcpStream>();
        let socket = socket.or_else(|| io.downcast_ref::<TlsStream<TcpStream>>().map(|tls| tls.get_ref().0));
        let socket = socket.and_then(|socket| socket.as_fd().try_clone_to_owned().ok());
        let watch = socket.map(|socket| {
            let patience = QUIET.min(limits.tcp_idle);
            actix_web::rt::spawn(end_when_quiet(Arc::downgrade(&traffic), socket, patience))
        });
        Self { lobby: lobby.clone(), pace: Pace::new(limits), traffic, watch }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`] where it is one too many, in a second or at a time.
    pub(super) fn begin(&self) -> Result<InFlight, ApiError> {
        let most = self.lobby.settings().limits.in_flight;
        let begun = self.pace.check().and_then(|()| {
            let in_flight = InFlight(self.traffic.clone());
            if self.traffic.in_flight.fetch_add(1, Ordering::AcqRel) < most {
                return Ok(in_flight);
            }
            let text = format!("{most} requests of this connection are not answered yet: wait for one of them");
            Err(ApiError::new(ErrorCode::RateLimited, text).retry_after(SOON))
        });
        if begun.is_err() {
            self.lobby.gauges.limited();
        }
        begun
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
        self.lobby.gauges.left(Door::Http);
    }
}

/// A request at work.
pub(super) struct InFlight(Arc<Traffic>);

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.0.quiet_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Shuts a connection down once nothing was at work on it for long enough.
async fn end_when_quiet(traffic: Weak<Traffic>, socket: OwnedFd, patience: Duration) {
    loop {
        let Some(known) = traffic.upgrade() else { return };
        let until = *known.quiet_since.lock().unwrap_or_else(PoisonError::into_inner) + patience;
        let busy = known.in_flight.load(Ordering::Acquire) > 0;
        drop(known);
        let now = Instant::now();
        if !busy && now >= until {
            // Its worker sees the end, and does what it does at one.
            let _ = rustix::net::shutdown(&socket, rustix::net::Shutdown::Both);
            return;
        }
        sleep_until(if busy { now + patience } else { until }).await;
    }
}
