//! In front of every path: a request is counted, and so is its answer until the client has taken it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use bytes::Bytes;

use super::peer::{InFlight, Peer};
use super::{answer, commands, source};
use crate::api::{ApiError, Caller, Door};
use crate::server::lobby::Lobby;

/// Bytes of an answer that are given out at a time: the HTTP library holds no more of it beside the answer itself.
const PIECE: usize = 16 << 10;

/// Lets a request through where its connection may make it.
pub(super) async fn watched(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(peer) = request.conn_data::<Arc<Peer>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let mut in_flight = match peer.begin() {
        Ok(in_flight) => in_flight,
        Err(error) => {
            record(request.request(), &error).await;
            return Ok(request.into_response(answer::error(&error)));
        }
    };
    // Whoever watches whether it is well is answered in any case: what watches it may start it anew where it is not.
    let is_look = matches!(request.path(), "/healthz" | "/readyz");
    let outside_for = peer.is_outside();
    let is_brief = is_look && outside_for.is_some();
    if let Some(error) = outside_for
        && !is_look
        && let Some(refused) = outside(request.request(), error).await
    {
        return Ok(request.into_response(refused));
    }
    let mut response = next.call(request).await?.map_into_boxed_body();
    if is_brief {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    // What is a WebSocket from now on is at work until it ends.
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        in_flight.sends();
    }
    Ok(response.map_body(|_, body| BoxBody::new(Sent { body, rest: Bytes::new(), in_flight })))
}

/// The answer to a request on a connection for which there is no place; none where it shows a token that is right.
async fn outside(request: &HttpRequest, full: ApiError) -> Option<HttpResponse> {
    let lobby = request.app_data::<web::Data<Lobby>>()?;
    let error = match commands::authenticate(request, lobby, &source(request)).await {
        Ok(Some(_)) => return None,
        Ok(None) => full,
        Err(error) => error,
    };
    let mut response = answer::error(&error);
    response.head_mut().set_connection_type(ConnectionType::Close);
    Some(response)
}

/// Records a refusal, where it is known who asked.
async fn record(request: &HttpRequest, error: &ApiError) {
    let Some(lobby) = request.app_data::<web::Data<Lobby>>() else { return };
    let source = source(request);
    if let Ok(principal @ Some(_)) = commands::authenticate(request, lobby, &source).await {
        let caller = Caller { principal, door: Door::Http, source };
        let command = request.path().strip_prefix("/api/v1/").unwrap_or_default();
        lobby.dispatcher.refused(&caller, command, error).await;
    }
}

/// A body on its way.
struct Sent {
    body: BoxBody,
    /// What the body gave and was not given out yet.
    rest: Bytes,
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
        this.in_flight.moved();
        if this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_next(context) {
                Poll::Ready(Some(Ok(bytes))) => this.rest = bytes,
                other => return other,
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(piece)))
    }
}
