//! So many streams to one far side at once; the others wait for their turn, in order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::Semaphore;

use crate::endpoints::{
    Answer, ByteStream, ErrorKind, ObjectName, Page, Prefix, Put, Range, Source, Stat, Store, StoreError,
};

/// A store through which so many puts and gets go at once. Small questions are not held up.
pub struct Concurrency<S> {
    inner: S,
    turns: Arc<Semaphore>,
}

impl<S> Concurrency<S> {
    /// At most `most` streams, at least one.
    pub fn new(inner: S, most: usize) -> Self {
        Self { inner, turns: Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS))) }
    }

    async fn turn(&self) -> Result<tokio::sync::OwnedSemaphorePermit, StoreError> {
        let turn = self.turns.clone().acquire_owned().await;
        turn.map_err(|_| StoreError::new(ErrorKind::Fatal, "wait for a turn", "the endpoint is closed"))
    }
}

impl<S: Store> Store for Concurrency<S> {
    fn put<'a>(&'a self, name: &'a ObjectName, source: &'a dyn Source, put: &'a Put) -> Answer<'a, u64> {
        Box::pin(async move {
            let _turn = self.turn().await?;
            self.inner.put(name, source, put).await
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, range: Range) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let turn = self.turn().await?;
            let stream = self.inner.get(name, range).await?;
            // The turn is over when the stream is dropped.
            Ok(stream.inspect(move |_| _ = &turn).boxed())
        })
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
