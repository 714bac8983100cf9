//! `/ws`: a connection that stays, one JSON object a text message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use actix_web::http::header::{HOST, ORIGIN};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until, timeout};

use super::incoming::{Frame, FrameFault, Frames};
use super::outgoing::{Control, Outgoing};
use super::peer::Peer;
use super::{Scheme, answer, commands, source};
use crate::api::{ApiError, Door, ErrorCode};
use crate::config::{Origin, ServerConfig};
use crate::server::lobby::Lobby;
use crate::server::outbox::Reason;
use crate::server::places::Stranger;
use crate::server::session::{Connection, Newcomer, Visit};

/// Opens one.
pub(super) async fn open(
    request: HttpRequest,
    body: web::Payload,
    lobby: web::Data<Lobby>,
    scheme: web::Data<Scheme>,
) -> HttpResponse {
    let lobby = lobby.into_inner();
    let opened = async {
        from_where(&request, &lobby.settings(), scheme.secure)?;
        let source = source(&request);
        let principal = commands::authenticate(&request, &lobby, &source).await?;
        let newcomer = match principal {
            Some(principal) => Newcomer::Known(principal),
            None => Newcomer::Stranger(stranger(&request, &lobby)?),
        };
        let (visit, queue) = Connection::open(&lobby, Door::WebSocket, source, newcomer)?;
        let mut response = actix_http::ws::handshake(request.head()).map_err(|error| {
            ApiError::new(ErrorCode::InvalidMessage, format!("this is no opening of a WebSocket: {error}"))
        })?;
        let control = Control::new(visit.connection.outbox().clone());
        let outgoing = Outgoing::new(queue, control.clone());
        let response = response.message_body(outgoing).map_err(|error| {
            tracing::error!(%error, "the answer to the opening of a WebSocket could not be made");
            ApiError::new(ErrorCode::Internal, "the connection could not be made a WebSocket")
        })?;
        actix_web::rt::spawn(Reader { visit, control }.run(body));
        Ok(HttpResponse::from(response.map_into_boxed_body()))
    };
    opened.await.unwrap_or_else(|error: ApiError| answer::error(&error))
}

/// The stranger who opens one: as the connection is counted already, or anew where it was known for a request before.
fn stranger(request: &HttpRequest, lobby: &Lobby) -> Result<Stranger, ApiError> {
    if let Some(stranger) = request.conn_data::<Arc<Peer>>().and_then(|peer| peer.take_stranger()) {
        return Ok(stranger);
    }
    let address = request.peer_addr().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
    lobby.places.stranger(address, &lobby.settings().limits)
}

/// Refuses pages that are not allowed to. What is no browser sends no `Origin`.
fn from_where(request: &HttpRequest, settings: &ServerConfig, secure: bool) -> Result<(), ApiError> {
    let Some(origin) = request.headers().get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let scheme = if secure { "https" } else { "http" };
    let own = request.headers().get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_unmistakable(host));
    let own = own.and_then(|host| format!("{scheme}://{host}").parse::<Origin>().ok());
    if settings.allows(origin) || own.is_some_and(|own| origin.parse() == Ok(own)) {
        return Ok(());
    }
    let text = format!("pages of {origin:?} may not connect: name it in [server] allowed_origins");
    Err(ApiError::new(ErrorCode::Forbidden, text))
}

/// Whether a host is nobody's but the one that answers: an address, or `localhost`. Any other name can be made to lead here by whoever
/// has it, and a page of theirs would pass for the server's own (DNS rebinding).
fn is_unmistakable(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok(),
    }
}

/// What comes in.
struct Reader {
    visit: Visit,
    control: Control,
}

/// When there is something to do though nothing comes in.
struct Times {
    opened: Instant,
    heard: Instant,
    ping: Instant,
    pong: Option<Instant>,
}

impl Times {
    /// From when on patience is counted. What somebody unknown says does not prolong it.
    fn since(&self, connection: &Connection) -> Instant {
        if connection.is_known() { self.heard } else { self.opened }
    }
}

impl Reader {
    async fn run(self, body: web::Payload) {
        let reason = self.read(body).await;
        let outbox = self.connection().outbox();
        outbox.close(reason);
        // What is queued is sent, as far as the client takes it, and the close frame after it.
        let patience = self.connection().limits().slow_consumer;
        let _ = timeout(patience, outbox.abandoned()).await;
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.visit.connection
    }

    async fn read(&self, mut body: web::Payload) -> Reason {
        let now = Instant::now();
        let ping = now + self.connection().limits().ws_ping;
        let mut times = Times { opened: now, heard: now, ping, pong: None };
        let mut decoder = Frames::default();
        let mut closed = std::pin::pin!(self.connection().outbox().closed());
        loop {
            let bytes = tokio::select! {
                // What came in time is looked at before what did not.
                biased;
                reason = &mut closed => return reason,
                bytes = body.next() => bytes,
                () = sleep_until(self.look_at(&times)) => match self.look(&mut times) {
                    Some(reason) => return reason,
                    None => continue,
                },
            };
            // The worker says so of a client that went.
            let Some(Ok(bytes)) = bytes else { return Reason::Gone };
            times.pong = None;
            decoder.add(&bytes);
            loop {
                match decoder.next(self.connection().message_limit()) {
                    Ok(None) => break,
                    Ok(Some(Frame::Text(text))) => {
                        times.heard = Instant::now();
                        self.connection().message(&text).await;
                    }
                    Ok(Some(Frame::Ping(payload))) => {
                        self.connection().count().await;
                        self.control.pong(payload);
                    }
                    Ok(Some(Frame::Pong | Frame::Nothing)) => self.connection().count().await,
                    Ok(Some(Frame::Close)) => return Reason::Left,
                    Err(fault) => return self.fault(fault).await,
                }
                if self.connection().outbox().is_closed() {
                    return closed.await;
                }
            }
        }
    }

    async fn fault(&self, fault: FrameFault) -> Reason {
        match fault {
            FrameFault::TooLarge => {
                self.connection().refuse_large().await;
                Reason::TooLarge
            }
            FrameFault::Binary => Reason::Binary,
            FrameFault::NotText => Reason::NotText,
            FrameFault::Protocol => Reason::Protocol,
        }
    }

    /// When to look at the times next.
    fn look_at(&self, times: &Times) -> Instant {
        let limits = self.connection().limits();
        let first = (!self.connection().has_asked()).then_some(times.opened + limits.ws_idle);
        [first, times.pong, Some(times.ping), Some(times.since(self.connection()) + limits.tcp_idle)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(times.ping)
    }

    /// Does what it is time for. Says why the connection is over, where it is.
    fn look(&self, times: &mut Times) -> Option<Reason> {
        let (now, limits) = (Instant::now(), self.connection().limits());
        if !self.connection().has_asked() && now >= times.opened + limits.ws_idle {
            return Some(Reason::Silent);
        }
        if times.pong.is_some_and(|due| now >= due) {
            return Some(Reason::Dead);
        }
        if now >= times.since(self.connection()) + limits.tcp_idle {
            if !self.connection().is_known() {
                return Some(Reason::Silent);
            }
            times.heard = now;
        }
        if now >= times.ping {
            times.ping = now + limits.ws_ping;
            times.pong = Some(now + limits.ws_pong);
            self.control.ping();
        }
        None
    }
}
