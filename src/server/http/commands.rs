//! `POST /api/v1/<Command>`: the body is the command's `data`, the answer's body is the answer's.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;

use super::peer::Peer;
use super::{answer, source};
use crate::api::{ApiError, Caller, Door, ErrorCode, Principal, RawReply};
use crate::server::lobby::Lobby;
use crate::server::session::bearer;

/// How long a body may take.
const BODY: Duration = Duration::from_secs(30);

pub(super) async fn run(request: HttpRequest, body: web::Payload, lobby: web::Data<Lobby>) -> HttpResponse {
    let lobby = lobby.into_inner();
    let command = request.match_info().get("command").unwrap_or_default();
    let result = ask(&request, command, body, &lobby).await;
    let status = result.as_ref().map_or_else(|error| error.code.status(), |reply| reply.status);
    lobby.gauges.answered(command, status);
    let closes = result.as_ref().is_err_and(|error| error.code == ErrorCode::MessageTooLarge);
    let mut response = answer::of(result);
    if closes {
        response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    response
}

async fn ask(
    request: &HttpRequest,
    command: &str,
    body: web::Payload,
    lobby: &Arc<Lobby>,
) -> Result<RawReply, ApiError> {
    let _working = lobby.work();
    let source = source(request);
    let principal = authenticate(request, lobby, &source).await?;
    let limits = &lobby.settings().limits;
    let limit = if principal.is_some() { limits.message } else { limits.message_before_auth };
    let body = tokio::time::timeout(BODY, read(request, body, limit)).await.map_err(|_| {
        let text = format!("the body did not come within {} seconds", BODY.as_secs());
        ApiError::new(ErrorCode::RequestTimeout, text)
    })??;
    let data = data(request, &body)?;
    let caller = Caller { principal, door: Door::Http, source };
    lobby.call(caller, None, command, data, None).await.0
}

/// Who asks, where they say so.
pub(super) async fn authenticate(
    request: &HttpRequest,
    lobby: &Lobby,
    source: &str,
) -> Result<Option<Principal>, ApiError> {
    let Some(header) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
    let Some(token) = header.to_str().ok().and_then(bearer) else {
        let text = "the header Authorization has another form than `Bearer <token>`";
        return Err(ApiError::new(ErrorCode::InvalidToken, text));
    };
    let principal = lobby.dispatcher.authenticate(token, source).await?;
    if let Some(peer) = request.conn_data::<Arc<Peer>>() {
        peer.is_known();
    }
    Ok(Some(principal))
}

/// The body, and never more of it than may be.
async fn read(request: &HttpRequest, mut body: web::Payload, limit: usize) -> Result<web::BytesMut, ApiError> {
    let too_large = || {
        let text = format!("the body has more than {limit} bytes, which is the most that is taken here");
        ApiError::new(ErrorCode::MessageTooLarge, text)
    };
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut all = web::BytesMut::new();
    while let Some(part) = body.next().await {
        let part = part.map_err(|error| {
            ApiError::new(ErrorCode::InvalidMessage, format!("the body ended before it was whole: {error}"))
        })?;
        if all.len() + part.len() > limit {
            return Err(too_large());
        }
        all.extend_from_slice(&part);
    }
    Ok(all)
}

/// The command's `data`; an empty body is an empty object.
fn data<'a>(request: &HttpRequest, body: &'a [u8]) -> Result<&'a str, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok("{}");
    }
    if let Some(media_type) = request.headers().get(CONTENT_TYPE) {
        let essence = media_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let text = format!("the body is said to be {essence:?}: send application/json");
            return Err(ApiError::new(ErrorCode::UnsupportedMediaType, text));
        }
    }
    std::str::from_utf8(body).map_err(|_| ApiError::new(ErrorCode::InvalidMessage, "the body is not UTF-8"))
}
