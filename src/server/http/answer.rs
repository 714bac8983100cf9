//! Answers over HTTP.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use bytes::Bytes;

use crate::api::{ApiError, ErrorCode, RawReply};

/// What a command said.
pub(super) fn of(result: Result<RawReply, ApiError>) -> HttpResponse {
    match result {
        Ok(reply) => json(reply.status, Box::<str>::from(reply.data).into_string()),
        Err(problem) => error(&problem),
    }
}

/// An error, with what HTTP has to say of it.
pub(super) fn error(error: &ApiError) -> HttpResponse {
    let body = serde_json::to_string(&error.body()).unwrap_or_default();
    let mut response = json(error.code.status(), body);
    if matches!(error.code, ErrorCode::Unauthenticated | ErrorCode::InvalidToken) {
        // RFC 6750, section 3.
        let challenge = match error.code {
            ErrorCode::InvalidToken => "Bearer realm=\"holdfast\", error=\"invalid_token\"",
            _ => "Bearer realm=\"holdfast\"",
        };
        response = with_header(response, "www-authenticate", challenge);
    }
    if error.retryable && matches!(error.code.status(), 429 | 503) {
        let seconds = error.retry_after_ms.div_ceil(1000).max(1);
        response = with_header(response, "retry-after", &seconds.to_string());
    }
    response
}

/// With a header more.
pub(super) fn with_header(mut response: HttpResponse, name: &'static str, value: &str) -> HttpResponse {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

pub(super) fn json(status: u16, body: impl Into<Bytes>) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    HttpResponse::build(status)
        .insert_header(("content-type", "application/json"))
        .insert_header(("cache-control", "no-store"))
        .insert_header(("x-content-type-options", "nosniff"))
        .body(body.into())
}
