//! A store as it is configured: its kind, and the layers around it.

use std::sync::Arc;
use std::time::Duration;

use holdfast_model::endpoint::EndpointConfigV2;
use secrecy::SecretString;

use super::file::FileStore;
use super::layer::bandwidth::{Bandwidth, Bucket};
use super::layer::concurrency::Concurrency;
use super::layer::retry::{Attempts, Retry};
use super::layer::stall::Stall;
use super::s3::S3Store;
use super::sftp::SftpStore;
use super::webdav::WebdavStore;
use super::{Address, ErrorKind, Store, StoreError};

/// Streams to one far side at once.
const STREAMS: usize = 4;

/// Who Holdfast is at a far side.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The login; at S3 the access key.
    pub login: String,
    /// The password; at S3 the secret key, and what decrypts a key file.
    pub password: SecretString,
}

/// What a far side is given and granted.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long nothing may move in an attempt.
    pub timeout: Duration,
    /// How often something is tried, and how long between.
    pub attempts: Attempts,
    /// The bytes of a second, where they are limited. All stores of one endpoint are given the same bucket.
    pub bandwidth: Option<Bucket>,
    /// Streams at once.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let attempts = Attempts { total: 3, delay: Duration::from_secs(5) };
        Self { timeout: Duration::from_secs(30), attempts, bandwidth: None, streams: STREAMS }
    }
}

impl Limits {
    /// As an endpoint is configured. Clones share its bandwidth; what is made anew has one of its own.
    #[must_use]
    pub fn of(config: &EndpointConfigV2) -> Self {
        let attempts = Attempts { total: config.retry_attempts, delay: Duration::from_secs(config.retry_delay_s) };
        let bandwidth = (config.bandwidth > 0).then(|| Bucket::new(config.bandwidth));
        let streams = usize::try_from(config.streams).unwrap_or(STREAMS).max(1);
        Self { timeout: Duration::from_secs(config.timeout_s), attempts, bandwidth, streams }
    }
}

/// The store at an address. The far side is not asked yet.
///
/// # Errors
/// [`StoreError`] where it cannot be set up: files that are not there, credentials that are missing.
pub fn open(address: &Address, credentials: Credentials, limits: &Limits) -> Result<Arc<dyn Store>, StoreError> {
    let Credentials { login, password } = credentials;
    if login.is_empty() && matches!(address, Address::S3(_) | Address::Sftp(_)) {
        let why = "no `login` is configured (s3: the access key)";
        return Err(StoreError::new(ErrorKind::Credentials, format!("use {}://", address.kind()), why));
    }
    Ok(match address {
        Address::File { root } => layered(FileStore::new(root.clone()), limits),
        Address::S3(s3) => layered(S3Store::new(s3, &login, &password, limits.timeout, limits.attempts)?, limits),
        Address::Webdav(webdav) => layered(WebdavStore::new(webdav, &login, password, limits.timeout)?, limits),
        Address::Vault(_) => {
            let why = "a vault keeps runs and is no store of single files";
            return Err(StoreError::new(ErrorKind::Fatal, "use vault:// as a store", why));
        }
        Address::Sftp(sftp) => layered(SftpStore::new(sftp.clone(), &login, password, limits.timeout), limits),
    })
}

fn layered(store: impl Store + 'static, limits: &Limits) -> Arc<dyn Store> {
    let store = Stall::new(store, limits.timeout);
    match &limits.bandwidth {
        Some(bucket) => tried(Bandwidth::new(store, bucket.clone()), limits),
        None => tried(store, limits),
    }
}

fn tried(store: impl Store + 'static, limits: &Limits) -> Arc<dyn Store> {
    Arc::new(Concurrency::new(Retry::new(store, limits.attempts), limits.streams))
}
