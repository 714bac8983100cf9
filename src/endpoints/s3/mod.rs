//! `s3://`: an object store, by OpenDAL.
//!
//! - What fits into one part is one `PUT`. Anything longer is a multipart upload, which is there once it is completed. A part is 8 MiB, and
//!   more where the length would need more than 10,000 of them; where the length is unknown parts begin with 16 MiB and double after each
//!   thousand. Three parts are in memory at most: one that fills, one that waits, one that goes.
//! - Each part carries its MD5, which the far side checks. A part that fails is sent again alone; so a stream that cannot be read twice comes
//!   through a short fault too.
//! - What a dead upload left are its parts, which cost money and are in no listing: [`uploads`] takes them away.
//! - Only the keys that are configured are used: nothing is taken from the environment, from files, or from the machine's cloud.

mod error;
mod parts;
mod transport;
mod uploads;

use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt, stream};
use opendal::options::WriteOptions;
use opendal::services::S3;
use opendal::{Buffer, HttpTransporter, OperationContext, Operator, Writer};
use secrecy::{ExposeSecret, SecretString};

use self::error::of as error_of;
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
        let mut builder = S3::default()
            .root(&format!("/{}", address.prefix))
            .bucket(&address.bucket)
            .endpoint(&endpoint)
            .region(&address.region)
            .access_key_id(access_key)
            .secret_access_key(secret_key.expose_secret())
            .disable_config_load()
            .disable_ec2_metadata()
            .checksum_algorithm("md5");
        if !address.path_style {
            builder = builder.enable_virtual_host_style();
        }
        let operator = Operator::new(builder).map_err(|error| error_of("set up S3".into(), &error))?;
        let transport = Transport::new(client.clone(), limit, Meter::default());
        let operator = operator.with_context(context(transport));
        let uploads = Uploads::new(address, &endpoint, access_key, secret_key, client.clone());
        Ok(Self { operator, client, uploads, limit, attempts })
    }

    /// An operator whose requests are counted by this meter.
    fn counted(&self, meter: &Meter) -> Operator {
        self.operator.clone().with_context(context(Transport::new(self.client.clone(), self.limit, meter.clone())))
    }

    async fn send(&self, name: &ObjectName, source: &dyn Source, put: &Put) -> Result<u64, StoreError> {
        let operator = self.counted(&put.meter);
        // The transport watches each request itself.
        let _excuse = put.meter.excuse();
        if put.existing == Existing::Refuse && self.is_there(&operator, name).await? {
            return Err(StoreError::new(ErrorKind::Exists, format!("write {name}"), "something is there already"));
        }
        let mut stream = source.open().await?;
        let options = WriteOptions { if_not_exists: put.existing == Existing::Refuse, ..WriteOptions::default() };
        let writer = operator.writer_options(name.as_str(), options).await;
        let mut upload =
            Upload { writer: writer.map_err(|error| error_of(format!("write {name}"), &error))?, name, store: self };
        let mut parts = Parts::of(source.length());
        let sent = async {
            while let Some(bytes) = stream.try_next().await? {
                parts.add(bytes);
                while let Some(part) = parts.full() {
                    upload.write(part?).await?;
                    put.meter.reached(parts.taken());
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
                Err(error)
            }
        }
    }

    async fn is_there(&self, operator: &Operator, name: &ObjectName) -> Result<bool, StoreError> {
        match operator.stat(name.as_str()).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == opendal::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error_of(format!("look at {name}"), &error)),
        }
    }
}

fn context(transport: Transport) -> OperationContext {
    OperationContext::new().with_http_transport(HttpTransporter::new(transport))
}

struct Upload<'a> {
    writer: Writer,
    name: &'a ObjectName,
    store: &'a S3Store,
}

impl Upload<'_> {
    /// Sends a part, and again where that may help.
    async fn write(&mut self, part: Buffer) -> Result<(), StoreError> {
        let mut done = 0;
        loop {
            match self.writer.write(part.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => self.again(&mut done, &error).await?,
            }
        }
    }

    /// Completes it: from then on it is there.
    async fn complete(&mut self, operator: &Operator, bytes: u64) -> Result<(), StoreError> {
        let mut done = 0;
        loop {
            let error = match self.writer.close().await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            // Only this upload completes under its id. So one that is gone was completed by an answer that never came.
            if done > 0 && error.kind() == opendal::ErrorKind::NotFound {
                let there = operator.stat(self.name.as_str()).await;
                if there.is_ok_and(|meta| meta.content_length() == bytes) {
                    return Ok(());
                }
            }
            self.again(&mut done, &error).await?;
        }
    }

    async fn again(&self, done: &mut u32, error: &opendal::Error) -> Result<(), StoreError> {
        let error = error_of(format!("write {}", self.name), error);
        *done += 1;
        if !error.kind().retryable() || *done >= self.store.attempts.total {
            return Err(error.tried(*done));
        }
        tracing::debug!(%error, "another attempt of a part");
        tokio::time::sleep(self.store.attempts.pause(*done, None)).await;
        Ok(())
    }
}

impl Store for S3Store {
    fn put<'a>(&'a self, name: &'a ObjectName, source: &'a dyn Source, put: &'a Put) -> Answer<'a, u64> {
        Box::pin(self.send(name, source, put))
    }

    fn get<'a>(&'a self, name: &'a ObjectName, range: Range) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let doing = || format!("read {name}");
            let meta = self.operator.stat(name.as_str()).await.map_err(|error| error_of(doing(), &error))?;
            let size = meta.content_length();
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
            let meta = self.operator.stat(name.as_str()).await;
            let meta = meta.map_err(|error| error_of(format!("look at {name}"), &error))?;
            let modified = meta.last_modified().map(SystemTime::from);
            Ok(Stat { size: meta.content_length(), modified, sha256: None })
        })
    }

    fn list<'a>(&'a self, prefix: &'a Prefix, after: Option<&'a ObjectName>, most: usize) -> Answer<'a, Page> {
        Box::pin(async move {
            let failed = |error: &opendal::Error| error_of(format!("list {}", prefix.as_str()), error);
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
