//! `/ws`: a connection that stays, one JSON object a text message.

use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::http::header::{HOST, ORIGIN};
use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{Item, Message, MessageStream, ProtocolError};
use bytes::BytesMut;
use tokio::time::{Instant, sleep_until, timeout};

use super::frames::{Control, Frames};
use super::{Peer, Scheme, answer, commands, source};
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
        if let Some(peer) = request.conn_data::<Peer>() {
            drop(peer.begin()?);
        }
        from_where(&request, &lobby.settings(), scheme.secure)?;
        let source = source(&request);
        let principal = commands::authenticate(&request, &lobby, &source).await?;
        let (visit, queue) = Connection::open(&lobby, Door::WebSocket, source, None, principal)?;
        let (response, _, stream) = actix_ws::handle(&request, body).map_err(|error| {
            ApiError::new(ErrorCode::InvalidMessage, format!("this is no opening of a WebSocket: {error}"))
        })?;
        let control = Control::new(visit.connection.outbox().clone());
        let reader = Reader { visit, control: control.clone(), whole: None };
        actix_web::rt::spawn(reader.run(stream));
        Ok(response.map_body(|_, before| Frames::new(queue, control, before).boxed()))
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
    /// A message of several frames that is not whole yet.
    whole: Option<BytesMut>,
}

/// When there is something to do though nothing comes in.
struct Times {
    opened: Instant,
    heard: Instant,
    ping: Instant,
    pong: Option<Instant>,
}

impl Reader {
    async fn run(mut self, stream: MessageStream) {
        let reason = self.read(stream).await;
        let outbox = self.connection().outbox().clone();
        outbox.close(reason);
        // What is queued is sent, as far as the client takes it, and the close frame after it.
        let patience = self.connection().limits().slow_consumer;
        let _ = timeout(patience, outbox.abandoned()).await;
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.visit.connection
    }

    async fn read(&mut self, mut stream: MessageStream) -> Reason {
        let now = Instant::now();
        let ping = now + self.connection().limits().ws_ping;
        let mut times = Times { opened: now, heard: now, ping, pong: None };
        let outbox = self.connection().outbox().clone();
        let mut closed = std::pin::pin!(outbox.closed());
        loop {
            let most = self.connection().message_limit();
            stream = stream.max_frame_size(most);
            let look = self.look_at(&times);
            let message = tokio::select! {
                // What came in time is looked at before what did not.
                biased;
                reason = &mut closed => return reason,
                message = stream.recv() => message,
                () = sleep_until(look) => match self.look(&mut times) {
                    Some(reason) => return reason,
                    None => continue,
                },
            };
            times.pong = None;
            let over = match message {
                Some(Ok(message)) => self.take(message, most, &mut times).await,
                Some(Err(ProtocolError::Overflow)) => self.too_large().await,
                // The worker says so of a client that went; everything else is against the protocol.
                Some(Err(ProtocolError::Io(error))) if error.kind() != std::io::ErrorKind::InvalidData => {
                    Some(Reason::Gone)
                }
                Some(Err(_)) => Some(Reason::Protocol),
                None => Some(Reason::Gone),
            };
            if let Some(reason) = over {
                return reason;
            }
        }
    }

    /// Takes a frame. Says why the connection is over, where it is.
    async fn take(&mut self, message: Message, most: usize, times: &mut Times) -> Option<Reason> {
        match message {
            Message::Text(text) => {
                times.heard = Instant::now();
                self.connection().message(text.as_bytes()).await;
            }
            Message::Continuation(Item::FirstText(part)) => {
                self.whole = Some(BytesMut::from(&part[..]));
            }
            Message::Continuation(Item::Continue(part) | Item::Last(part)) if self.whole.is_none() => {
                drop(part);
                return Some(Reason::Protocol);
            }
            Message::Continuation(Item::Continue(part)) => return self.add(&part, most).await,
            Message::Continuation(Item::Last(part)) => {
                if let Some(over) = self.add(&part, most).await {
                    return Some(over);
                }
                times.heard = Instant::now();
                let whole = self.whole.take().unwrap_or_default();
                self.connection().message(&whole).await;
            }
            Message::Continuation(Item::FirstBinary(_)) | Message::Binary(_) => return Some(Reason::Binary),
            Message::Ping(payload) => self.control.pong(payload),
            Message::Pong(_) | Message::Nop => {}
            Message::Close(_) => return Some(Reason::Left),
        }
        None
    }

    async fn add(&mut self, part: &[u8], most: usize) -> Option<Reason> {
        let whole = self.whole.get_or_insert_default();
        if whole.len() + part.len() > most {
            return self.too_large().await;
        }
        whole.extend_from_slice(part);
        None
    }

    async fn too_large(&self) -> Option<Reason> {
        self.connection().refuse_large().await;
        Some(Reason::TooLarge)
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
