//! OpenDAL's requests over our HTTP client: our trust, our deadlines, and each piece of a body counted as the connection takes it.
//!
//! Requests of an upload are tried again here, and nowhere above: OpenDAL's writer gives a part out of its hands before it is sent, so that a
//! call of it that failed and is made again completes the upload without that part.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Method, Request, Response, header};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, Result};

use crate::endpoints::layer::retry::Attempts;
use crate::endpoints::source::pieces;
use crate::endpoints::{self, Meter, StoreError};

/// Sends requests and counts what moves.
pub(super) struct Transport {
    client: reqwest::Client,
    limit: Duration,
    meter: Meter,
    attempts: Attempts,
    tried_again: Arc<AtomicBool>,
}

impl Transport {
    pub(super) fn new(client: reqwest::Client, limit: Duration, meter: Meter, attempts: Attempts) -> Self {
        Self { client, limit, meter, attempts, tried_again: Arc::default() }
    }

    /// Whether a request was made more than once; its first answer may have been lost.
    pub(super) fn tried_again(&self) -> Arc<AtomicBool> {
        self.tried_again.clone()
    }

    /// The answer's head; an error where nothing moves for too long.
    async fn answer(&self, request: reqwest::RequestBuilder, sent: Meter) -> Result<reqwest::Response> {
        let mut answer = std::pin::pin!(request.send());
        loop {
            let seen = sent.beats();
            match tokio::time::timeout(self.limit, &mut answer).await {
                Ok(answer) => {
                    return answer.map_err(|error| failed(endpoints::http::unanswered("ask S3".into(), &error)));
                }
                Err(_) if sent.beats() != seen => {}
                Err(_) => return Err(failed(self.late())),
            }
        }
    }

    fn late(&self) -> StoreError {
        let why = format!("nothing moved for {} s", self.limit.as_secs_f64());
        StoreError::new(endpoints::ErrorKind::Timeout, "ask S3", why)
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let mut done = 0;
        loop {
            let answer = self.once(request.clone()).await;
            done += 1;
            let asked = match &answer {
                _ if done >= self.attempts.total => return answer.and_then(asked_to_wait),
                Ok(answer) if matches!(answer.status().as_u16(), 408 | 429 | 500 | 502 | 503 | 504) => {
                    endpoints::http::retry_after(answer.headers())
                }
                Err(error) if error.is_temporary() => None,
                _ => return answer,
            };
            self.tried_again.store(true, Ordering::Relaxed);
            tracing::debug!(done, "another attempt of a request of an upload");
            tokio::time::sleep(self.attempts.pause(done, asked)).await;
        }
    }
}

impl Transport {
    async fn once(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let (parts, body) = request.into_parts();
        let is_head = parts.method == Method::HEAD;
        let mut headers = parts.headers;
        let mut builder = self.client.request(parts.method, parts.uri.to_string());
        // What moves in this request alone: other parts of the same upload do not excuse it.
        let sent = Meter::default();
        if !body.is_empty() {
            headers.insert(header::CONTENT_LENGTH, body.len().into());
            let (all, one) = (self.meter.clone(), sent.clone());
            let pieces = stream::iter(body).flat_map(pieces).map(move |piece| {
                all.beat();
                one.beat();
                Ok::<_, std::convert::Infallible>(piece)
            });
            builder = builder.body(reqwest::Body::wrap_stream(pieces));
        }
        let response = self.answer(builder.headers(headers), sent).await?;
        let length = if is_head { None } else { response.content_length() };
        let mut answer = Response::new(());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        let (limit, late) = (self.limit, self.late());
        let bytes = response.bytes_stream().map_ok(Buffer::from);
        let bytes = bytes.map_err(|error| failed(endpoints::http::unanswered("read from S3".into(), &error)));
        let timed = stream::unfold(Some((Box::pin(bytes), late)), move |reading| async move {
            let (mut bytes, late) = reading?;
            match tokio::time::timeout(limit, bytes.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(some))) => Some((Ok(some), Some((bytes, late)))),
                Ok(Some(Err(error))) => Some((Err(error), None)),
                Err(_) => Some((Err(failed(late)), None)),
            }
        });
        Ok(answer.map(|()| HttpBody::new(Box::pin(timed), length)))
    }
}

/// OpenDAL does not pass on for how long the far side wants to be left alone: such an answer is an error here already.
fn asked_to_wait(answer: Response<HttpBody>) -> Result<Response<HttpBody>> {
    let status = answer.status();
    let asked = endpoints::http::retry_after(answer.headers());
    match matches!(status.as_u16(), 429 | 503) && asked.is_some() {
        true => Err(failed(endpoints::http::refused("ask S3".into(), status, answer.headers()))),
        false => Ok(answer),
    }
}

fn failed(error: StoreError) -> Error {
    let temporary = error.kind().retryable();
    Error::new(ErrorKind::Unexpected, "HTTP").with_temporary(temporary).set_source(error)
}
