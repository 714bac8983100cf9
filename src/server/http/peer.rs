//! One connection of HTTP: who may have it, how many requests it may make, and how long it may make none.
//!
//! A connection is a stranger's until it shows a token. One for which there is no place among strangers is heard all the same, for a moment:
//! a token that is right opens it, and anything else closes it.
//!
//! The HTTP library ends a connection that is quiet between two requests, but waits without end for the rest of a request's head that
//! came after the first one, and for a client that does not take its answer. So each connection is watched from here: one that has no
//! request at work for too long, or takes nothing of an answer, is shut down, whatever it is in the middle of.

use std::any::Any;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::rt::net::TcpStream;
use actix_web::rt::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::api::{ApiError, Door, ErrorCode};
use crate::server::Gauges;
use crate::server::lobby::Lobby;
use crate::server::pace::Pace;
use crate::server::places::Stranger;

/// How long there may be no request at work, at most.
const QUIET: Duration = Duration::from_secs(120);
/// How long it may be where there is no place, and no token was shown.
const DOORSTEP: Duration = Duration::from_secs(2);
/// When it is worth another try for a request that was one too many at a time.
const SOON: Duration = Duration::from_millis(100);

/// One connection.
pub(super) struct Peer {
    lobby: Arc<Lobby>,
    pace: Pace,
    standing: Mutex<Standing>,
    traffic: Arc<Traffic>,
    watch: Option<JoinHandle<()>>,
}

/// Whose a connection is.
enum Standing {
    /// A token was shown, or it is counted elsewhere.
    Known,
    Stranger(Stranger),
    /// There is no place for another stranger.
    Outside(ApiError),
}

/// What goes on on a connection.
struct Traffic(Mutex<State>);

struct State {
    /// Requests that are worked on, and answers that are on their way.
    at_work: usize,
    sending: usize,
    /// When something moved last.
    moved: Instant,
    /// How long nothing may be at work.
    patience: Duration,
    /// How long nothing of an answer may be taken.
    slow_consumer: Duration,
}

impl Traffic {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether patience with it is over.
    fn look(&self, now: Instant) -> Look {
        let state = self.state();
        let until = match (state.at_work, state.sending) {
            (0, 0) => state.moved + state.patience,
            (0, _) => state.moved + state.slow_consumer,
            _ => now + state.slow_consumer,
        };
        match now < until {
            // An answer may be on its way before that.
            true => Look::Again(until.min(now + state.slow_consumer)),
            false => Look::Over { slow: state.sending > 0 },
        }
    }
}

/// What a look at a connection says.
enum Look {
    /// Look again then.
    Again(Instant),
    /// It is to end; `slow` where its client did not take an answer.
    Over { slow: bool },
}

impl Peer {
    /// Of a connection that was just made. Must be called where its worker works.
    pub(super) fn new(lobby: &Arc<Lobby>, io: &dyn Any) -> Self {
        lobby.gauges.came(Door::Http);
        let limits = &lobby.settings().limits;
        let socket = io.downcast_ref::<TcpStream>();
        let socket = socket.or_else(|| io.downcast_ref::<TlsStream<TcpStream>>().map(|tls| tls.get_ref().0));
        // One that has gone already is somewhere too.
        let address = socket.and_then(|socket| socket.peer_addr().ok());
        let address = address.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |address| address.ip());
        let (standing, patience) = match lobby.places.stranger(address, limits) {
            Ok(stranger) => (Standing::Stranger(stranger), QUIET.min(limits.tcp_idle)),
            Err(error) => (Standing::Outside(error), DOORSTEP),
        };
        let state =
            State { at_work: 0, sending: 0, moved: Instant::now(), patience, slow_consumer: limits.slow_consumer };
        let traffic = Arc::new(Traffic(Mutex::new(state)));
        let socket = socket.and_then(|socket| socket.as_fd().try_clone_to_owned().ok());
        let watch = socket
            .map(|socket| actix_web::rt::spawn(end_when_quiet(Arc::downgrade(&traffic), socket, lobby.gauges.clone())));
        Self { lobby: lobby.clone(), pace: Pace::new(limits), standing: Mutex::new(standing), traffic, watch }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`] where it is one too many, in a second or at a time.
    pub(super) fn begin(&self) -> Result<InFlight, ApiError> {
        let most = self.lobby.settings().limits.in_flight;
        let begun = self.pace.check().and_then(|()| {
            let mut state = self.traffic.state();
            if state.at_work + state.sending < most {
                state.at_work += 1;
                return Ok(InFlight { traffic: self.traffic.clone(), sends: false });
            }
            let text = format!("{most} requests of this connection are not answered yet: wait for one of them");
            Err(ApiError::new(ErrorCode::RateLimited, text).retry_after(SOON))
        });
        if begun.is_err() {
            self.lobby.gauges.limited();
        }
        begun
    }

    /// Why there is no place for it, where no token was shown.
    pub(super) fn is_outside(&self) -> Option<ApiError> {
        match &*self.standing() {
            Standing::Outside(error) => Some(error.clone()),
            Standing::Known | Standing::Stranger(_) => None,
        }
    }

    /// A token was shown.
    pub(super) fn is_known(&self) {
        let before = std::mem::replace(&mut *self.standing(), Standing::Known);
        if matches!(before, Standing::Outside(_)) {
            self.traffic.state().patience = QUIET.min(self.lobby.settings().limits.tcp_idle);
        }
    }

    /// The stranger whose it is, who is counted elsewhere from now on.
    pub(super) fn take_stranger(&self) -> Option<Stranger> {
        match std::mem::replace(&mut *self.standing(), Standing::Known) {
            Standing::Stranger(stranger) => Some(stranger),
            Standing::Known | Standing::Outside(_) => None,
        }
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

/// A request at work, until its answer was taken.
pub(super) struct InFlight {
    traffic: Arc<Traffic>,
    sends: bool,
}

impl InFlight {
    /// The answer is there: from now on it is the client's turn.
    pub(super) fn sends(&mut self) {
        let mut state = self.traffic.state();
        if !self.sends {
            self.sends = true;
            state.at_work -= 1;
            state.sending += 1;
        }
        state.moved = Instant::now();
    }

    /// The client took something.
    pub(super) fn moved(&self) {
        self.traffic.state().moved = Instant::now();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.traffic.state();
        match self.sends {
            true => state.sending -= 1,
            false => state.at_work -= 1,
        }
        state.moved = Instant::now();
    }
}

/// Shuts a connection down once nothing was at work on it, or nothing of an answer taken, for long enough.
async fn end_when_quiet(traffic: Weak<Traffic>, socket: OwnedFd, gauges: Arc<Gauges>) {
    while let Some(look) = traffic.upgrade().map(|traffic| traffic.look(Instant::now())) {
        match look {
            Look::Again(at) => sleep_until(at).await,
            Look::Over { slow } => {
                if slow {
                    gauges.was_slow();
                }
                // Its worker sees the end, and does what it does at one.
                let _ = rustix::net::shutdown(&socket, rustix::net::Shutdown::Both);
                return;
            }
        }
    }
}
