//! Attempts: what may succeed later is tried again after a pause that doubles, with chance in it so that many do not come back at once.
//!
//! An attempt may have succeeded although its answer never came. Everything here can be repeated, so nothing is lost or doubled by that; only a
//! put that refuses to replace can then meet its own bytes. They are compared with what was to be sent: the same bytes are a success.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream};

use crate::endpoints::{
    Answer, ByteStream, ErrorKind, ObjectName, Page, Prefix, Put, Range, Source, Stat, Store, StoreError,
};

/// Longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(300);

/// How often, and how long between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// All attempts, the first included; at least one.
    pub total: u32,
    /// The pause before the second.
    pub delay: Duration,
}

impl Attempts {
    /// The pause after so many attempts: doubled each time, and half to all of it by chance.
    pub(in crate::endpoints) fn pause(self, done: u32, asked: Option<Duration>) -> Duration {
        let doubled =
            self.delay.saturating_mul(1_u32.checked_shl(done.saturating_sub(1)).unwrap_or(u32::MAX)).min(LONGEST);
        let mut random = [0; 2];
        // Without chance the pause is only longer.
        let chance =
            getrandom::fill(&mut random).map_or(1.0, |()| f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX));
        doubled.mul_f64(0.5 + chance / 2.0).max(asked.unwrap_or_default().min(LONGEST))
    }
}

/// A store that tries again.
pub struct Retry<S> {
    inner: Arc<S>,
    attempts: Attempts,
}

impl<S: Store + 'static> Retry<S> {
    /// Tries so often.
    pub fn new(inner: S, attempts: Attempts) -> Self {
        Self { inner: Arc::new(inner), attempts }
    }

    async fn again<'a, T>(&'a self, attempt: impl FnMut() -> Answer<'a, T>) -> Result<T, StoreError> {
        again(self.attempts, attempt).await
    }

    /// Whether what is there is what was to be sent, byte by byte.
    async fn is_there(&self, name: &ObjectName, source: &dyn Source) -> Result<u64, StoreError> {
        let mut here = Comparison::of(source.open().await?);
        let mut there = Comparison::of(self.inner.get(name, Range::ALL).await?);
        let mut same = 0;
        loop {
            let (left, right) = (here.some().await?.len(), there.some().await?.len());
            let both = left.min(right);
            if both == 0 || here.rest.get(..both) != there.rest.get(..both) {
                let is_same = left == 0 && right == 0;
                let other = || StoreError::new(ErrorKind::Exists, format!("write {name}"), "something else is there");
                return is_same.then_some(same).ok_or_else(other);
            }
            here.rest.advance(both);
            there.rest.advance(both);
            same += both as u64;
        }
    }
}

/// Tries until it succeeds, or another attempt does not help.
pub(crate) async fn again<'a, T>(
    attempts: Attempts,
    mut attempt: impl FnMut() -> Answer<'a, T>,
) -> Result<T, StoreError> {
    let mut done = 0;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        done += 1;
        pause(attempts, done, error).await?;
    }
}

/// Waits before the next attempt, or says that there is none.
pub(crate) async fn pause(attempts: Attempts, done: u32, error: StoreError) -> Result<(), StoreError> {
    if !error.kind().retryable() || done >= attempts.total || error.attempts() >= attempts.total.max(2) {
        let tried = error.attempts().max(done);
        return Err(error.tried(tried));
    }
    tracing::debug!(%error, done, "another attempt");
    tokio::time::sleep(attempts.pause(done, error.retry_after())).await;
    Ok(())
}

struct Comparison {
    stream: ByteStream,
    rest: Bytes,
}

impl Comparison {
    fn of(stream: ByteStream) -> Self {
        Self { stream, rest: Bytes::new() }
    }

    /// What comes next; nothing at the end.
    async fn some(&mut self) -> Result<&Bytes, StoreError> {
        while self.rest.is_empty() {
            match self.stream.next().await {
                Some(bytes) => self.rest = bytes?,
                None => break,
            }
        }
        Ok(&self.rest)
    }
}

/// Opens a stream at a range.
pub(crate) type Opener = Box<dyn Fn(Range) -> Answer<'static, ByteStream> + Send + Sync>;

/// A stream that goes on where it broke off. `stream` is the first attempt's, if there was one.
pub(crate) fn resuming(attempts: Attempts, range: Range, stream: Option<ByteStream>, opener: Opener) -> ByteStream {
    let resuming = Resuming { opener, attempts, range, stream, done: 0 };
    stream::unfold(Some(resuming), |resuming| async move {
        let mut resuming = resuming?;
        let next = resuming.next().await?;
        let more = next.is_ok().then_some(resuming);
        Some((next, more))
    })
    .boxed()
}

struct Resuming {
    opener: Opener,
    attempts: Attempts,
    /// What is still to come.
    range: Range,
    stream: Option<ByteStream>,
    /// Attempts since something came.
    done: u32,
}

impl Resuming {
    async fn next(&mut self) -> Option<Result<Bytes, StoreError>> {
        loop {
            let next = match &mut self.stream {
                Some(stream) => stream.next().await?,
                None => match (self.opener)(self.range).await {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            match next {
                Ok(bytes) => {
                    self.done = 0;
                    self.range.from += bytes.len() as u64;
                    self.range.length = self.range.length.map(|left| left.saturating_sub(bytes.len() as u64));
                    return Some(Ok(bytes));
                }
                Err(error) => {
                    self.stream = None;
                    self.done += 1;
                    if let Err(error) = pause(self.attempts, self.done, error).await {
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}

impl<S: Store + 'static> Store for Retry<S> {
    fn put<'a>(&'a self, name: &'a ObjectName, source: &'a dyn Source, put: &'a Put) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut done = 0;
            loop {
                put.meter.reached(0);
                let error = match self.inner.put(name, source, put).await {
                    Ok(bytes) => return Ok(bytes),
                    Err(error) if error.kind() == ErrorKind::Exists && done > 0 => {
                        return self.again(|| Box::pin(self.is_there(name, source))).await;
                    }
                    Err(error) => error,
                };
                done += 1;
                pause(self.attempts, done, error).await?;
            }
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, range: Range) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let stream = self.again(|| self.inner.get(name, range)).await?;
            let (store, name) = (self.inner.clone(), name.clone());
            let opener: Opener = Box::new(move |range| {
                let (store, name) = (store.clone(), name.clone());
                Box::pin(async move { store.get(&name, range).await })
            });
            Ok(resuming(self.attempts, range, Some(stream), opener))
        })
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, Stat> {
        Box::pin(self.again(|| self.inner.stat(name)))
    }

    fn list<'a>(&'a self, prefix: &'a Prefix, after: Option<&'a ObjectName>, most: usize) -> Answer<'a, Page> {
        Box::pin(self.again(move || self.inner.list(prefix, after, most)))
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, ()> {
        Box::pin(self.again(|| self.inner.delete(name)))
    }

    fn sweep(&self, older_than: Duration) -> Answer<'_, u64> {
        Box::pin(self.again(move || self.inner.sweep(older_than)))
    }
}
