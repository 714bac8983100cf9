//! So many bytes a second to and from one far side, whatever the number of streams: a token bucket.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use crate::endpoints::source::pieces;
use crate::endpoints::{Answer, ByteStream, ObjectName, Page, Prefix, Put, Range, Source, Stat, Store, StoreError};

/// How much may go at once after a pause.
const BURST: Duration = Duration::from_millis(250);

/// The bytes of a second, shared by all streams of an endpoint.
#[derive(Debug, Clone)]
pub struct Bucket {
    bytes_per_second: u64,
    /// When all that was taken so far is paid for.
    paid: Arc<Mutex<Instant>>,
}

impl Bucket {
    /// A bucket of so many bytes a second, at least one.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Waits until so many bytes may go.
    async fn take(&self, bytes: usize) {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let due = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let begin = (*paid).max(now.checked_sub(BURST).unwrap_or(now));
            *paid = begin + cost;
            *paid
        };
        tokio::time::sleep_until(due).await;
    }

    /// The same stream, no faster than the bucket allows.
    pub(crate) fn limit(self, stream: ByteStream) -> ByteStream {
        // Small pieces, so that several streams get the same share.
        let small = stream.map_ok(|bytes: Bytes| pieces(bytes).map(Ok::<_, StoreError>)).try_flatten();
        small
            .and_then(move |piece| {
                let bucket = self.clone();
                async move {
                    bucket.take(piece.len()).await;
                    Ok(piece)
                }
            })
            .boxed()
    }
}

/// A store whose streams go through a bucket.
pub struct Bandwidth<S> {
    inner: S,
    bucket: Bucket,
}

impl<S> Bandwidth<S> {
    /// Limits the streams of a store.
    pub fn new(inner: S, bucket: Bucket) -> Self {
        Self { inner, bucket }
    }
}

struct Limited<'a> {
    source: &'a dyn Source,
    bucket: &'a Bucket,
}

impl Source for Limited<'_> {
    fn open(&self) -> Answer<'_, ByteStream> {
        Box::pin(async move { Ok(self.bucket.clone().limit(self.source.open().await?)) })
    }

    fn length(&self) -> Option<u64> {
        self.source.length()
    }
}

impl<S: Store> Store for Bandwidth<S> {
    fn put<'a>(&'a self, name: &'a ObjectName, source: &'a dyn Source, put: &'a Put) -> Answer<'a, u64> {
        Box::pin(async move {
            let limited = Limited { source, bucket: &self.bucket };
            self.inner.put(name, &limited, put).await
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, range: Range) -> Answer<'a, ByteStream> {
        Box::pin(async move { Ok(self.bucket.clone().limit(self.inner.get(name, range).await?)) })
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, Stat> {
        self.inner.stat(name)
    }

    fn list<'a>(&'a self, prefix: &'a Prefix, after: Option<&'a ObjectName>, most: usize) -> Answer<'a, Page> {
        self.inner.list(prefix, after, most)
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, ()> {
        self.inner.delete(name)
    }

    fn sweep(&self, older_than: Duration) -> Answer<'_, u64> {
        self.inner.sweep(older_than)
    }
}
