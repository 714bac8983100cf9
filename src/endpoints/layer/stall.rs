//! The deadline of an attempt: an answer in time, and while a stream goes, movement in time. And a stream that is as long as it was said to
//! be, or is not kept.
//!
//! An upload of hours is no stall, and one byte an hour is. While the source is waited for, the far side owes nothing.

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use crate::endpoints::source::wrong_length;
use crate::endpoints::{
    Answer, ByteStream, ErrorKind, Meter, ObjectName, Page, Prefix, Put, Range, Source, Stat, Store, StoreError,
};

/// A listing or a sweep asks the far side many things; it has so many times as long.
const MANY: u32 = 20;

/// A store whose attempts end in time.
pub struct Stall<S> {
    inner: S,
    limit: Duration,
}

impl<S> Stall<S> {
    /// Each answer, and each piece of a stream, has so long.
    pub fn new(inner: S, limit: Duration) -> Self {
        Self { inner, limit }
    }

    async fn within<T>(&self, limit: Duration, doing: String, answer: Answer<'_, T>) -> Result<T, StoreError> {
        timeout(limit, answer).await.unwrap_or_else(|_| Err(late(self.limit, doing)))
    }
}

pub(crate) fn late(limit: Duration, doing: String) -> StoreError {
    StoreError::new(ErrorKind::Timeout, doing, format!("nothing moved for {} s", limit.as_secs_f64()))
}

/// An attempt that ends once its meter does not move for so long, unless that is excused.
pub(crate) async fn moving<T, E: From<StoreError>>(
    limit: Duration,
    meter: &Meter,
    doing: impl FnOnce() -> String,
    attempt: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut attempt = pin!(attempt);
    loop {
        let seen = meter.beats();
        match timeout(limit, &mut attempt).await {
            Ok(result) => return result,
            Err(_) if meter.beats() != seen || meter.is_excused() => {}
            Err(_) => return Err(late(limit, doing()).into()),
        }
    }
}

/// A stream that ends with an error once nothing comes for so long.
pub(crate) fn watched(stream: ByteStream, limit: Duration, doing: String) -> ByteStream {
    stream::unfold(Some((stream, doing)), move |reading| async move {
        let (mut stream, doing) = reading?;
        match timeout(limit, stream.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some((stream, doing)))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Err(_) => Some((Err(late(limit, doing)), None)),
        }
    })
    .boxed()
}

/// What is read here, watched: whether it is waited for, what went wrong with it, and whether it was as long as said.
struct Watched<'a> {
    source: &'a dyn Source,
    meter: Meter,
    failed: Arc<Mutex<Option<StoreError>>>,
}

struct Reading {
    stream: ByteStream,
    meter: Meter,
    failed: Arc<Mutex<Option<StoreError>>>,
    read: AtomicU64,
    expected: Option<u64>,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<bytes::Bytes, StoreError>> {
        let excuse = self.meter.excuse();
        let next = self.stream.next().await;
        drop(excuse);
        let next = match next {
            Some(Ok(bytes)) => self.last(bytes).await,
            next => next,
        };
        let read = self.read.load(Ordering::Relaxed);
        let error = match (next, self.expected) {
            (Some(Ok(bytes)), expected) => {
                let read = read.saturating_add(bytes.len() as u64);
                self.read.store(read, Ordering::Relaxed);
                match expected {
                    Some(expected) if read > expected => wrong_length(expected, read),
                    _ => return Some(Ok(bytes)),
                }
            }
            (Some(Err(error)), _) => error,
            (None, Some(expected)) if read != expected => wrong_length(expected, read),
            (None, _) => return None,
        };
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        Some(Err(error))
    }
}

impl Reading {
    /// A piece; where it should be the last one, only once it is. Who was told a length may ask for nothing after that.
    async fn last(&mut self, bytes: bytes::Bytes) -> Option<Result<bytes::Bytes, StoreError>> {
        let read = self.read.load(Ordering::Relaxed).saturating_add(bytes.len() as u64);
        if self.expected != Some(read) {
            return Some(Ok(bytes));
        }
        let _excuse = self.meter.excuse();
        loop {
            match self.stream.next().await {
                None => return Some(Ok(bytes)),
                Some(Ok(more)) if more.is_empty() => {}
                Some(Ok(more)) => return Some(Err(wrong_length(read, read.saturating_add(more.len() as u64)))),
                Some(Err(error)) => return Some(Err(error)),
            }
        }
    }
}

impl Source for Watched<'_> {
    fn open(&self) -> Answer<'_, ByteStream> {
        Box::pin(async move {
            let excuse = self.meter.excuse();
            let opened = self.source.open().await;
            drop(excuse);
            let reading = Reading {
                stream: opened?.fuse().boxed(),
                meter: self.meter.clone(),
                failed: self.failed.clone(),
                read: AtomicU64::new(0),
                expected: self.source.length(),
            };
            Ok(stream::unfold(Some(reading), |reading| async move {
                let mut reading = reading?;
                let next = reading.next().await?;
                let more = next.is_ok().then_some(reading);
                Some((next, more))
            })
            .boxed())
        })
    }

    fn length(&self) -> Option<u64> {
        self.source.length()
    }
}

impl<S: Store> Store for Stall<S> {
    fn put<'a>(&'a self, name: &'a ObjectName, source: &'a dyn Source, put: &'a Put) -> Answer<'a, u64> {
        Box::pin(async move {
            let meter = put.meter.clone();
            let failed = Arc::new(Mutex::new(None));
            let watched = Watched { source, meter: meter.clone(), failed: failed.clone() };
            let attempt = self.inner.put(name, &watched, put);
            let result = moving(self.limit, &meter, || format!("write {name}"), attempt).await;
            // What a connection says of a body that broke off is not why it broke off.
            let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
            result.map_err(|error| failed.unwrap_or(error))
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, range: Range) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let stream = self.within(self.limit, format!("read {name}"), self.inner.get(name, range)).await?;
            Ok(watched(stream, self.limit, format!("read {name}")))
        })
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, Stat> {
        Box::pin(self.within(self.limit, format!("look at {name}"), self.inner.stat(name)))
    }

    fn list<'a>(&'a self, prefix: &'a Prefix, after: Option<&'a ObjectName>, most: usize) -> Answer<'a, Page> {
        let listing = self.inner.list(prefix, after, most);
        Box::pin(self.within(
            self.limit.saturating_mul(MANY),
            crate::endpoints::tree::listing(prefix.as_str()),
            listing,
        ))
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, ()> {
        Box::pin(self.within(self.limit, format!("delete {name}"), self.inner.delete(name)))
    }

    fn sweep(&self, older_than: Duration) -> Answer<'_, u64> {
        Box::pin(self.within(self.limit.saturating_mul(MANY), "sweep".into(), self.inner.sweep(older_than)))
    }
}
