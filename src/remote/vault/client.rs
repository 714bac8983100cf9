//! Requests to a vault, and what its answers mean.
//!
//! What a vault says in its own words is not passed on, but for its codes: those are stable, and this program says what they mean.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

use super::trust;
use crate::endpoints::address::VaultAddress;
use crate::endpoints::layer::retry::again;
use crate::endpoints::layer::stall::late;
use crate::endpoints::{ErrorKind, Limits, StoreError, http};
use crate::vault::wire::{SERVER_ID, TUS_VERSION, VaultFault};

/// Longest answer that is taken into memory, in bytes.
const MAX_ANSWER: usize = 32 << 20;
/// Longest answer that says why something is refused, in bytes.
const MAX_FAULT: usize = 64 << 10;

/// How long a vault that is busy is asked again soon; as long as it takes to notice that a connection is gone.
const PATIENCE: Duration = Duration::from_secs(45);
/// Shortest and longest pause until then.
const SOON: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long a vault that is busy is asked again without that being an attempt.
pub(super) struct Patience(Instant);

impl Patience {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    pub(super) fn is_left(&self) -> bool {
        self.0.elapsed() < PATIENCE
    }
}

/// A client of one vault.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: SecretString,
    server_id: Option<Uuid>,
    pub(super) limits: Limits,
}

/// An answer that is not good.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// The vault's code; empty where it said none.
    pub(super) code: String,
    retry_after: Option<Duration>,
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The vault says no.
    Refused(Refusal),
    /// There is none.
    Store(StoreError),
}

impl Client {
    /// A client. Without a server id the vault takes the one that the token is bound to.
    ///
    /// # Errors
    /// [`StoreError`] where there is no token, or TLS cannot be set up.
    pub(super) fn new(
        address: &VaultAddress,
        token: SecretString,
        limits: &Limits,
        server_id: Option<Uuid>,
    ) -> Result<Self, StoreError> {
        let token_is_text = HeaderValue::from_str(token.expose_secret()).is_ok();
        if token.expose_secret().is_empty() || !token_is_text {
            let why = "a vault is asked with a token: give it as the endpoint's password";
            return Err(StoreError::new(ErrorKind::Credentials, "use vault://", why));
        }
        let http = http::client_by(trust::config(&address.trust)?, limits.timeout)?;
        Ok(Self { http, base: address.base.clone(), token, server_id, limits: limits.clone() })
    }

    /// A request for a path, which begins without `/`.
    pub(super) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, StoreError> {
        let url = self.base.join(path).map_err(|_| StoreError::new(ErrorKind::Fatal, "ask", "it makes no URL"))?;
        // Somebody who answers for the vault may not lead the token elsewhere.
        if url.origin() != self.base.origin() {
            return Err(StoreError::new(ErrorKind::Fatal, "ask", "the far side names an address that is not its own"));
        }
        let request = self.http.request(method, url).bearer_auth(self.token.expose_secret());
        let request = request.header("Tus-Resumable", TUS_VERSION);
        Ok(match self.server_id {
            Some(server_id) => request.header(HeaderName::from_static(SERVER_ID), server_id.to_string()),
            None => request,
        })
    }

    /// Sends a request once. Its answer's head has to come in time; where the body is a stream, whoever sends it watches that.
    pub(super) async fn send(&self, doing: &str, request: RequestBuilder) -> Result<Response, Failure> {
        let answer = request.send().await.map_err(|error| http::unanswered(doing.to_owned(), &error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        // Where the body does not come the status says enough.
        let body = body(doing, answer, MAX_FAULT).await.unwrap_or_default();
        Err(Failure::Refused(Refusal::of(status, &headers, &body)))
    }

    /// The same within the time that an answer may take. A vault that is busy is asked again soon, for a while.
    pub(super) async fn ask(&self, doing: &str, request: RequestBuilder) -> Result<Response, Failure> {
        let limit = self.limits.timeout;
        let patience = Patience::new();
        loop {
            let again =
                request.try_clone().ok_or_else(|| StoreError::new(ErrorKind::Fatal, doing, "it has a stream"))?;
            let late = |_| Err(Failure::Store(late(limit, doing.to_owned())));
            match tokio::time::timeout(limit, self.send(doing, again)).await.unwrap_or_else(late) {
                Err(Failure::Refused(refusal)) if refusal.is_busy() && patience.is_left() => refusal.pause().await,
                answer => return answer,
            }
        }
    }

    /// Asks for something small as often as it may be tried.
    pub(super) async fn get<T: DeserializeOwned>(&self, doing: &str, path: &str) -> Result<T, StoreError> {
        let text = again(self.limits.attempts, || Box::pin(self.get_once(doing, path))).await?;
        serde_json::from_slice(&text).map_err(|_| StoreError::new(ErrorKind::Fatal, doing, "the answer is no vault's"))
    }

    async fn get_once(&self, doing: &str, path: &str) -> Result<Bytes, StoreError> {
        let answer = self.ask(doing, self.request(Method::GET, path)?).await.map_err(|failed| match failed.code() {
            // For who looks for it, and does not bring it.
            "RUN_DELETED" => StoreError::new(ErrorKind::NotFound, doing, "the run was deleted there (RUN_DELETED)"),
            _ => failed.told(doing),
        })?;
        let late = |_| Err(late(self.limits.timeout, doing.to_owned()));
        tokio::time::timeout(self.limits.timeout, body(doing, answer, MAX_ANSWER)).await.unwrap_or_else(late)
    }

    /// Asks for something to be done, as often as it may be tried; doing it again must be harmless.
    pub(super) async fn tell(&self, doing: &str, method: Method, path: &str) -> Result<(), Failure> {
        let refused = std::sync::Mutex::new(None);
        let told = again(self.limits.attempts, || {
            let (method, refused) = (method.clone(), &refused);
            Box::pin(async move {
                match self.ask(doing, self.request(method, path)?).await {
                    Ok(_) => Ok(()),
                    Err(Failure::Store(error)) => Err(error),
                    Err(Failure::Refused(refusal)) => {
                        let error = refusal.told(doing);
                        *refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(refusal);
                        Err(error)
                    }
                }
            })
        });
        told.await.map_err(|error| {
            let refusal = refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            match refusal {
                Some(refusal) if !error.kind().retryable() => Failure::Refused(refusal),
                _ => Failure::Store(error),
            }
        })
    }
}

/// A whole answer, where it is not longer than it may be.
async fn body(doing: &str, mut answer: Response, most: usize) -> Result<Bytes, StoreError> {
    let mut body = Vec::new();
    while let Some(bytes) = answer.chunk().await.map_err(|error| http::unanswered(doing.to_owned(), &error))? {
        if body.len() + bytes.len() > most {
            return Err(StoreError::new(ErrorKind::Fatal, doing, "the answer is too long"));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body.into())
}

impl Refusal {
    fn of(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let fault: Option<VaultFault> = serde_json::from_slice(body).ok();
        let code = fault.map(|fault| fault.error).unwrap_or_default();
        let legal = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let code = if code.len() <= 40 && code.bytes().all(legal) { code } else { String::new() };
        Self { status, code, retry_after: http::retry_after(headers) }
    }

    /// Whether another request is at it, or there are too many at once: a moment later it may do.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.status, 423 | 429)
    }

    /// Waits as long as the vault wants, within bounds.
    pub(super) async fn pause(&self) {
        tokio::time::sleep(self.retry_after.unwrap_or(SOON.0).clamp(SOON.0, SOON.1)).await;
    }

    /// What it means for whoever wanted something.
    pub(super) fn told(&self, doing: &str) -> StoreError {
        use ErrorKind::{Credentials, Denied, Exists, Fatal, Full, NotFound, Retryable};
        let (kind, why) = match (self.code.as_str(), self.status) {
            ("SERVER_ID_NEEDED", _) => (Credentials, "the token belongs to no installation yet, and none was named"),
            ("FOREIGN_SERVER_ID", _) => (Credentials, "the token belongs to another installation"),
            ("SERVER_ID_TAKEN", _) => {
                (Credentials, "the vault knows this installation by another token: have one made for its server id")
            }
            ("QUOTA_EXCEEDED", _) => (Full, "the quota there is used up"),
            ("RUN_DELETED", _) => (Denied, "the run was deleted there, and is not taken again"),
            ("RUN_IN_FUTURE", _) => (Denied, "by the vault's clock the run is of the future: set the clocks right"),
            ("MANIFEST_FOREIGN", _) => (Fatal, "the run was made by another installation"),
            ("RUN_INCOMPLETE" | "UPLOAD_UNFINISHED", _) => (Retryable, "not all of the run is there yet"),
            ("FILE_NOT_AS_LISTED" | "FILE_NOT_LISTED" | "SUMS_DISAGREE" | "RUN_LIST_INVALID", _) => {
                (Fatal, "what is there is not what the manifest says")
            }
            ("RUN_NOT_GOOD", _) => (Fatal, "the run did not end well, and is not kept there"),
            (_, 401) => (Credentials, "the token is not known there"),
            (_, 403) => (Denied, "the token does not permit it"),
            (_, 404 | 410) => (NotFound, "it is not there"),
            (_, 409) => (Exists, "what is there is otherwise"),
            (_, 413) => (Fatal, "it is larger than the vault takes"),
            (_, 507) => (Full, "there is no room"),
            (_, 423) => (Retryable, "something else is at it there"),
            (_, 429) => (Retryable, "too much at once"),
            (_, 460) => (Retryable, "it arrived otherwise than it was sent"),
            (_, 408 | 500..=599) => (Retryable, "the vault cannot answer now"),
            ("REQUEST_CUT_OFF", _) => (Retryable, "the request was cut off"),
            (_, 300..=399) => (Fatal, "it is somewhere else, and redirects are not followed"),
            _ => (Fatal, "it is refused"),
        };
        let said = if self.code.is_empty() { format!("HTTP {}", self.status) } else { self.code.clone() };
        StoreError::new(kind, doing, format!("{why} ({said})")).pausing(self.retry_after)
    }
}

impl Failure {
    pub(super) fn told(self, doing: &str) -> StoreError {
        match self {
            Self::Refused(refusal) => refusal.told(doing),
            Self::Store(error) => error,
        }
    }

    pub(super) fn code(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.code,
            Self::Store(_) => "",
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
