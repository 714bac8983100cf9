//! `s3://`: an object store, by OpenDAL.
//!
//! - What fits into one part is one `PUT`. Anything longer is a multipart upload, which is there once it is completed. A part is 8 MiB, and
//!   more where the length would need more than 10,000 of them; where the length is unknown parts begin with 16 MiB and double after each
//!   thousand. Three parts are in memory at most: one that fills, one that waits, one that goes.
//! - Each part carries its CRC-32C, which the far side checks. A part that fails is sent again alone; so a stream that cannot be read twice comes
//!   through a short fault too. At the end the object's length is looked at.
//! - What a dead upload left are its parts, which cost money and are in no listing: `uploads` takes them away.
//! - Only the keys that are configured are used: nothing is taken from the environment, from files, or from the machine's cloud.

mod error;
mod keys;
mod parts;
mod transport;
mod uploads;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt, stream};
use opendal::options::WriteOptions;
use opendal::services::S3;
use opendal::{Buffer, HttpTransporter, OperationContext, Operator, Writer};
use reqsign_core::ProvideCredentialChain;
use secrecy::SecretString;

use self::error::of as error_of;
use self::keys::Keys;
use self::parts::Parts;
use self::transport::Transport;
use self::uploads::Uploads;
use super::layer::retry::Attempts;
use super::{
    Address, Answer, ByteStream, Entry, ErrorKind, Existing, MAX_PAGE, Meter, ObjectName, Page, Prefix, Put, Range,
    Source, Stat, Store, StoreError, http,
};
use crate::endpoints::address::S3Address;

/// Names asked for at once.
const LISTED: usize = 1000;

/// A bucket, or a part of one.
pub struct S3Store {
    operator: Operator,
    client: reqwest::Client,
    uploads: Uploads,
    limit: Duration,
    attempts: Attempts,
}

impl S3Store {
    /// A store that is spoken to with an access key and its secret. `limit` is how long each request may stand still.
    ///
    /// # Errors
    /// [`StoreError`] where it cannot be set up; the far side is not asked yet.
    pub fn new(
        address: &S3Address,
        access_key: &str,
        secret_key: &SecretString,
        limit: Duration,
        attempts: Attempts,
    ) -> Result<Self, StoreError> {
        let client = http::client(address.ca_file.as_deref(), limit)?;
        let amazon = || format!("https://s3.{}.amazonaws.com", address.region);
        let endpoint = address.endpoint.clone().unwrap_or_else(amazon);
        let keys = Keys::new(access_key, secret_key);
        let mut builder = S3::default()
            .root(&format!("/{}", address.prefix))
            .bucket(&address.bucket)
            .endpoint(&endpoint)
            .region(&address.region)
            .credential_provider_chain(ProvideCredentialChain::new().push(keys.clone()))
            .disable_config_load()
            .disable_ec2_metadata()
            .checksum_algorithm("crc32c");
        if !address.path_style {
            builder = builder.enable_virtual_host_style();
        }
        let operator = Operator::new(builder).map_err(|error| error_of("set up S3".into(), &error))?;
        let transport = Transport::new(client.clone(), limit, Meter::default(), Attempts { total: 1, ..attempts });
        let operator = operator.with_context(context(transport));
        let uploads = Uploads::new(address, &endpoint, keys, client.clone());
        Ok(Self { operator, client, uploads, limit, attempts })
    }

    /// An operator whose requests are counted by this meter and tried again; and whether one was.
    fn counted(&self, meter: &Meter) -> (Operator, Arc<AtomicBool>) {
        let transport = Transport::new(self.client.clone(), self.limit, meter.clone(), self.attempts);
        let tried_again = transport.tried_again();
        (self.operator.clone().with_context(context(transport)), tried_again)
    }

    async fn send(&self, name: &ObjectName, source: &dyn Source, put: &Put) -> Result<u64, StoreError> {
        let (operator, tried_again) = self.counted(&put.meter);
        // The transport watches each request itself.
        let _excuse = put.meter.excuse();
        if put.existing == Existing::Refuse && self.is_there(&operator, name).await? {
            return Err(StoreError::new(ErrorKind::Exists, format!("write {name}"), "something is there already"));
        }
        let mut stream = source.open().await?;
        let options = WriteOptions { if_not_exists: put.existing == Existing::Refuse, ..WriteOptions::default() };
        let writer = operator.writer_options(name.as_str(), options).await;
        let mut upload = Upload { writer: writer.map_err(|error| error_of(format!("write {name}"), &error))?, name };
        let mut parts = Parts::of(source.length());
        let sent = async {
            while let Some(bytes) = stream.try_next().await? {
                parts.add(bytes);
                while let Some(part) = parts.full() {
                    let part = part?;
                    let waits = part.len() as u64;
                    upload.write(part).await?;
                    // The writer keeps a part until the next one comes: it may be the only one.
                    put.meter.reached(parts.taken() - waits);
                }
            }
            if let Some(part) = parts.rest()? {
                upload.write(part).await?;
            }
            Ok::<(), StoreError>(())
        };
        let sent = match sent.await {
            Ok(()) => upload.complete(&operator, parts.taken()).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(()) => {
                put.meter.reached(parts.taken());
                Ok(parts.taken())
            }
            Err(error) => {
                // Nobody would go on with it. What cannot be taken away now is swept later.
                if let Err(left) = upload.writer.abort().await {
                    tracing::debug!(%left, %name, "parts of an upload stay until they are swept");
                }
                // What is there may be what the attempt before has written: whoever tries again compares it.
                if error.kind() == ErrorKind::Exists && tried_again.load(Ordering::Relaxed) {
                    let why = "something came to be there meanwhile";
                    return Err(StoreError::new(ErrorKind::Retryable, format!("write {name}"), why));
                }
                // Its requests were tried as often as they may be.
                let attempts = if error.kind().retryable() { self.attempts.total } else { 1 };
                Err(error.tried(attempts))
            }
        }
    }

    async fn is_there(&self, operator: &Operator, name: &ObjectName) -> Result<bool, StoreError> {
        match look_at(operator, name).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What is known of an object. The answer to a `HEAD` has no body, and so no reason for a refusal: that is asked for by a read.
async fn look_at(operator: &Operator, name: &ObjectName) -> Result<opendal::Metadata, StoreError> {
    let mut error = match operator.stat(name.as_str()).await {
        Ok(meta) => return Ok(meta),
        Err(error) => error,
    };
    if error.kind() == opendal::ErrorKind::PermissionDenied
        && let Err(reason) = operator.read_with(name.as_str()).range(0..1).await
    {
        error = reason;
    }
    Err(error_of(format!("look at {name}"), &error))
}

fn context(transport: Transport) -> OperationContext {
    OperationContext::new().with_http_transport(HttpTransporter::new(transport))
}

struct Upload<'a> {
    writer: Writer,
    name: &'a ObjectName,
}

impl Upload<'_> {
    async fn write(&mut self, part: Buffer) -> Result<(), StoreError> {
        self.writer.write(part).await.map_err(|error| error_of(format!("write {}", self.name), &error))
    }

    /// Completes it: from then on it is there. A call that failed is never made again.
    async fn complete(&mut self, operator: &Operator, bytes: u64) -> Result<(), StoreError> {
        let doing = || format!("write {}", self.name);
        match self.writer.close().await {
            Ok(_) => {}
            // Only this upload completes under its id. So one that is gone was completed by an answer that never came.
            Err(error) if error.kind() == opendal::ErrorKind::NotFound => {}
            Err(error) => return Err(error_of(doing(), &error)),
        }
        let kept = look_at(operator, self.name).await?.content_length();
        let short =
            || StoreError::new(ErrorKind::Retryable, doing(), format!("the far side kept {kept} of {bytes} bytes"));
        (kept == bytes).then_some(()).ok_or_else(short)
    }
}

impl Store for S3Store {
    fn put<'a>(&'a self, name: &'a ObjectName, source: &'a dyn Source, put: &'a Put) -> Answer<'a, u64> {
        Box::pin(self.send(name, source, put))
    }

    fn get<'a>(&'a self, name: &'a ObjectName, range: Range) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let doing = || format!("read {name}");
            let size = look_at(&self.operator, name).await?.content_length();
            if range.from > size {
                let why = format!("it has {size} bytes, and byte {} is asked for", range.from);
                return Err(StoreError::new(ErrorKind::Fatal, doing(), why));
            }
            let end = range.length.map_or(size, |length| range.from.saturating_add(length).min(size));
            if end == range.from {
                return Ok(stream::empty().boxed());
            }
            let reader = self.operator.reader(name.as_str()).await.map_err(|error| error_of(doing(), &error))?;
            let bytes = reader.into_bytes_stream(range.from..end).await.map_err(|error| error_of(doing(), &error))?;
            let name = name.clone();
            Ok(bytes.map_err(move |error| error::of_read(format!("read {name}"), &error)).boxed())
        })
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, Stat> {
        Box::pin(async move {
            let meta = look_at(&self.operator, name).await?;
            let modified = meta.last_modified().map(SystemTime::from);
            Ok(Stat { size: meta.content_length(), modified, sha256: None })
        })
    }

    fn list<'a>(&'a self, prefix: &'a Prefix, after: Option<&'a ObjectName>, most: usize) -> Answer<'a, Page> {
        Box::pin(async move {
            let failed = |error: &opendal::Error| error_of(crate::endpoints::tree::listing(prefix.as_str()), error);
            let most = most.clamp(1, MAX_PAGE);
            let folder = if prefix.as_str().is_empty() { String::new() } else { format!("{}/", prefix.as_str()) };
            let mut listing = self.operator.lister_with(&folder).recursive(true).limit((most + 1).min(LISTED));
            if let Some(after) = after {
                listing = listing.start_after(after.as_str());
            }
            let mut lister = listing.await.map_err(|error| failed(&error))?;
            let mut page = Page::default();
            while let Some(found) = lister.next().await {
                let found = match found {
                    Err(error) if error.kind() == opendal::ErrorKind::NotFound => break,
                    found => found.map_err(|error| failed(&error))?,
                };
                let meta = found.metadata();
                let Ok(name) = ObjectName::new(found.path()) else { continue };
                // A server may not know how to begin later.
                if !meta.is_file() || !prefix.holds(&name) || after.is_some_and(|after| name <= *after) {
                    continue;
                }
                if page.entries.len() == most {
                    page.next = page.entries.last().map(|entry| entry.name.clone());
                    break;
                }
                let modified = meta.last_modified().map(SystemTime::from);
                page.entries.push(Entry { name, size: meta.content_length(), modified });
            }
            Ok(page)
        })
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, ()> {
        Box::pin(async move {
            let deleted = self.operator.delete(name.as_str()).await;
            deleted.map_err(|error| error_of(format!("delete {name}"), &error))
        })
    }

    fn sweep(&self, older_than: Duration) -> Answer<'_, u64> {
        Box::pin(self.uploads.sweep(older_than))
    }
}

impl From<S3Address> for Address {
    fn from(address: S3Address) -> Self {
        Self::S3(address)
    }
}
