//! Answers over HTTP.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use serde::Serialize;

use crate::vault::error::Problem;
use crate::vault::wire::TUS_VERSION;

/// When it is worth another try, in seconds.
const SOON: &str = "1";

/// Why something was not done.
pub(super) fn problem(problem: &Problem) -> HttpResponse {
    let mut response = json(problem.status, &problem.body());
    match problem.status {
        // RFC 6750, section 3.
        401 => response = with(response, "www-authenticate", "Bearer realm=\"holdfast vault\""),
        412 => response = with(response, "tus-version", TUS_VERSION),
        423 | 429 | 503 => response = with(response, "retry-after", SOON),
        _ => {}
    }
    match &problem.location {
        Some(location) => with(response, "location", location),
        None => response,
    }
}

/// An answer with a body.
pub(super) fn json(status: u16, body: &impl Serialize) -> HttpResponse {
    let text = serde_json::to_vec(body).unwrap_or_default();
    let mut response = empty(status);
    response = with(response, "content-type", "application/json");
    response.set_body(actix_web::body::BoxBody::new(text))
}

/// An answer without a body.
pub(super) fn empty(status: u16) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let response = HttpResponse::build(status).finish();
    with(with(response, "cache-control", "no-store"), "x-content-type-options", "nosniff")
}

/// With a header more.
pub(super) fn with(mut response: HttpResponse, name: &'static str, value: &str) -> HttpResponse {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

/// A time as HTTP writes it (RFC 9110, section 5.6.7).
pub(super) fn date(seconds: i64) -> String {
    let at = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_time_reads_as_http_writes_it() {
        assert_eq!(super::date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
