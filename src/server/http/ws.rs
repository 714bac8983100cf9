//! `/ws`: a connection that stays, one JSON object a text message.

use std::sync::Arc;

use actix_web::http::header::{HOST, ORIGIN};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until, timeout};

use super::incoming::{Decoder, Fault, Incoming};
use super::outgoing::{Control, Outgoing};
use super::peer::{InFlight, Peer};
use super::{Scheme, answer, commands, source};
use crate::api::{ApiError, Door, ErrorCode};
use crate::config::{Origin, ServerConfig};
use crate::server::lobby::Lobby;
use crate::server::outbox::Reason;
use crate::server::session::{Connection, Visit};

/// Opens one.
pub(super) async fn open(
    request: HttpRequest,
    body: web::Payload,
    lobby: web::Data<Lobby>,
    scheme: web::Data<Scheme>,
) -> HttpResponse {
    let lobby = lobby.into_inner();
    let opened = async {
        let in_flight = request.conn_data::<Peer>().map(Peer::begin).transpose()?;
        from_where(&request, &lobby.settings(), scheme.secure)?;
        let source = source(&request);
        let principal = commands::authenticate(&request, &lobby, &source).await?;
        let (visit, queue) = Connection::open(&lobby, Door::WebSocket, source, None, principal)?;
        let mut response = actix_http::ws::handshake(request.head()).map_err(|error| {
            ApiError::new(ErrorCode::InvalidMessage, format!("this is no opening of a WebSocket: {error}"))
        })?;
        let control = Control::new(visit.connection.outbox().clone());
        let outgoing = Outgoing::new(queue, control.clone());
        let response = response.message_body(outgoing).map_err(|error| {
            tracing::error!(%error, "the answer to the opening of a WebSocket could not be made");
            ApiError::new(ErrorCode::Internal, "the connection could not be made a WebSocket")
        })?;
        actix_web::rt::spawn(Reader { visit, control, _in_flight: in_flight }.run(body));
        Ok(HttpResponse::from(response.map_into_boxed_body()))
    };
    opened.await.unwrap_or_else(|error: ApiError| answer::error(&error))
}

/// Refuses pages that are not allowed to. What is no browser sends no `Origin`.
fn from_where(request: &HttpRequest, settings: &ServerConfig, secure: bool) -> Result<(), ApiError> {
    let Some(origin) = request.headers().get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let scheme = if secure { "https" } else { "http" };
    let own = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let own = own.and_then(|host| format!("{scheme}://{host}").parse::<Origin>().ok());
    if settings.allows(origin) || own.is_some_and(|own| origin.parse() == Ok(own)) {
        return Ok(());
    }
    let text = format!("pages of {origin:?} may not connect: name it in [server] allowed_origins");
    Err(ApiError::new(ErrorCode::Forbidden, text))
}

/// What comes in.
struct Reader {
    visit: Visit,
    control: Control,
    /// Its connection is at work until it ends.
    _in_flight: Option<InFlight>,
}

/// When there is something to do though nothing comes in.
struct Times {
    opened: Instant,
    heard: Instant,
    ping: Instant,
    pong: Option<Instant>,
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
        let mut decoder = Decoder::default();
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
                    Ok(Some(Incoming::Text(text))) => {
                        times.heard = Instant::now();
                        self.connection().message(&text).await;
                    }
                    Ok(Some(Incoming::Ping(payload))) => self.control.pong(payload),
                    Ok(Some(Incoming::Pong)) => {}
                    Ok(Some(Incoming::Close)) => return Reason::Left,
                    Err(fault) => return self.fault(fault).await,
                }
                if self.connection().outbox().is_closed() {
                    return closed.await;
                }
            }
        }
    }

    async fn fault(&self, fault: Fault) -> Reason {
        match fault {
            Fault::TooLarge => {
                self.connection().refuse_large().await;
                Reason::TooLarge
            }
            Fault::Binary => Reason::Binary,
            Fault::NotText => Reason::NotText,
            Fault::Protocol => Reason::Protocol,
        }
    }

    /// When to look at the times next.
    fn look_at(&self, times: &Times) -> Instant {
        let limits = self.connection().limits();
        let first = (!self.connection().has_asked()).then_some(times.opened + limits.ws_idle);
        [first, times.pong, Some(times.ping), Some(times.heard + limits.tcp_idle)]
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
        if now >= times.heard + limits.tcp_idle {
            if self.connection().is_forgotten() {
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
