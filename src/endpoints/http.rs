//! HTTP to far sides: one client, its trust, and what answers and failures mean.
//!
//! TLS is rustls with ring. Who is trusted is said by a CA file, or by the system; there is no way to trust anybody. Redirects are not
//! followed: they would carry the request elsewhere than it was configured to go.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::{ErrorKind, StoreError};

/// Largest file of authorities that is read, in bytes.
const MAX_CA_FILE: u64 = 4 << 20;
/// How long a connection that is not used is kept.
const IDLE: Duration = Duration::from_secs(60);
/// Longest answer that is taken into memory, in bytes.
pub(super) const MAX_ANSWER: usize = 64 << 20;

/// A client for one far side.
pub(super) fn client(ca_file: Option<&Path>, limit: Duration) -> Result<reqwest::Client, StoreError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| fatal(&error))?;
    client_by(config.with_root_certificates(roots(ca_file)?).with_no_client_auth(), limit)
}

fn fatal(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::new(ErrorKind::Fatal, "set up HTTP", error.to_string())
}

/// A client with a trust of its own.
pub(crate) fn client_by(tls: ClientConfig, limit: Duration) -> Result<reqwest::Client, StoreError> {
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).redirect(reqwest::redirect::Policy::none());
    let builder = builder.user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION"))).no_proxy();
    let client = builder.connect_timeout(limit).pool_idle_timeout(IDLE).http1_only().build();
    client.map_err(|error| fatal(&error))
}

/// Who is trusted: those of a file, or those of the system.
pub(crate) fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        // Single ones that cannot be read are no reason to trust nobody.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let doing = || format!("use the CA file {}", path.display());
    let refuse = |why: &str| StoreError::new(ErrorKind::Credentials, doing(), why);
    let size = std::fs::metadata(path).map_err(|error| refuse(&error.to_string()))?.len();
    if size > MAX_CA_FILE {
        return Err(refuse("it is too large"));
    }
    let text = std::fs::read(path).map_err(|error| refuse(&error.to_string()))?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|_| refuse("it is no PEM"))?;
        roots.add(certificate).map_err(|_| refuse("a certificate in it is damaged"))?;
    }
    if roots.is_empty() { Err(refuse("there is no certificate in it")) } else { Ok(roots) }
}

/// What a request means that got no answer.
pub(crate) fn unanswered(doing: String, error: &reqwest::Error) -> StoreError {
    let host = error.url().and_then(|url| url.host_str().map(ToOwned::to_owned));
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut last = String::new();
    while let Some(error) = cause {
        if let Some(tls) = tls_error(error) {
            return untrusted(doing, tls, host.as_deref());
        }
        if !error.is::<reqwest::Error>() {
            last = error.to_string();
        }
        cause = error.source();
    }
    let what = if error.is_connect() { "no connection" } else { "the connection broke" };
    let why = if last.is_empty() { what.to_owned() } else { format!("{what}: {last}") };
    let kind = if error.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Retryable };
    StoreError::new(kind, doing, why)
}

fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut error = error;
    // Errors of the system wrap others, and wrapped ones again.
    while let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        error = inner;
    }
    error.downcast_ref()
}

fn untrusted(doing: String, error: &rustls::Error, host: Option<&str>) -> StoreError {
    match error {
        // Of a trust of our own, which says itself what to do.
        rustls::Error::InvalidCertificate(CertificateError::Other(own)) => {
            StoreError::new(ErrorKind::Credentials, doing, own.to_string())
        }
        rustls::Error::InvalidCertificate(wrong) => {
            let of = host.map_or_else(|| "its certificate".to_owned(), |host| format!("the certificate of {host}"));
            let why = match out_of_date(wrong) {
                Some(why) => format!("{of} {why}"),
                None => format!("{of} is not trusted ({wrong}); `ca_file=` names the authority that issued it"),
            };
            StoreError::new(ErrorKind::Credentials, doing, why)
        }
        other => StoreError::new(ErrorKind::Retryable, doing, format!("no TLS: {other}")),
    }
}

/// What is wrong with a certificate's dates, if it is that.
pub(crate) fn out_of_date(wrong: &CertificateError) -> Option<String> {
    let day = |time: UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("second {seconds} of 1970"), |at| at.to_string())
    };
    match wrong {
        CertificateError::ExpiredContext { not_after, .. } => {
            Some(format!("expired at {}: have it renewed there", day(*not_after)))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            Some(format!("is not valid before {}: set the clocks right, or wait", day(*not_before)))
        }
        _ => None,
    }
}

/// What a status means that is no success.
pub(super) fn refused(doing: String, status: StatusCode, headers: &HeaderMap) -> StoreError {
    let (kind, why) = match status.as_u16() {
        401 => (ErrorKind::Credentials, "login or password is wrong"),
        403 => (ErrorKind::Denied, "it is not allowed"),
        404 => (ErrorKind::NotFound, "it is not there"),
        412 => (ErrorKind::Exists, "something is there already"),
        413 => (ErrorKind::Fatal, "it is larger than the far side takes"),
        507 => (ErrorKind::Full, "there is no room"),
        300..=399 => (ErrorKind::Fatal, "it is somewhere else, and redirects are not followed"),
        408 | 423 | 425 | 429 | 500 | 502 | 503 | 504 => (ErrorKind::Retryable, "it cannot answer now"),
        _ => (ErrorKind::Fatal, "it is refused"),
    };
    StoreError::new(kind, doing, format!("{why} (HTTP {})", status.as_u16())).pausing(retry_after(headers))
}

/// The pause that is asked for, in seconds (RFC 9110, section 10.2.3); a date is not taken.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// A whole answer, where it is not longer than it may be.
pub(super) async fn body(doing: &str, mut response: reqwest::Response) -> Result<Vec<u8>, StoreError> {
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(|error| unanswered(doing.to_owned(), &error))? {
        if body.len() + bytes.len() > MAX_ANSWER {
            return Err(StoreError::new(ErrorKind::Fatal, doing, "the answer is too long"));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}
