//! Tries an endpoint out: writes a small file, finds it, reads it back, compares it, and takes it away. Nothing else there is touched.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt;
use uuid::Uuid;

use super::{Bytewise, ErrorKind, ObjectName, Prefix, Put, Range, Store, StoreError};

/// Bytes that are written.
const LENGTH: usize = 64 << 10;
/// The folder they are written in; it is empty afterwards.
const FOLDER: &str = "holdfast-test";

/// A step of a trial.
#[derive(Debug, Clone)]
pub struct Step {
    /// What was done.
    pub name: &'static str,
    /// How long that took.
    pub took: Duration,
    /// Why it failed, if it did. No other step follows but the last, which takes the file away.
    pub error: Option<StoreError>,
}

/// Tries a store out, and tells each step when it has ended. Says whether all were good.
pub async fn probe(store: &dyn Store, mut told: impl FnMut(&Step)) -> bool {
    let content = Bytes::from_iter(Uuid::now_v7().into_bytes().into_iter().cycle().take(LENGTH));
    let Ok(name) = ObjectName::new(format!("{FOLDER}/{}", Uuid::now_v7())) else { return false };
    let mut tell = |name, began: Instant, result: Result<(), StoreError>| {
        let step = Step { name, took: began.elapsed(), error: result.err() };
        told(&step);
        step.error.is_none()
    };
    let began = Instant::now();
    let wrote = store.put(&name, &Bytewise(content.clone()), &Put::default()).await;
    let wrote_it = wrote.is_ok();
    // Where the write has no answer it may be there all the same.
    let may_be_there = wrote.as_ref().map_or_else(|error| error.kind().retryable(), |_| true);
    let mut good = tell("write", began, wrote.map(drop));
    if wrote_it {
        let began = Instant::now();
        good = tell("list", began, find(store, &name).await);
    }
    if good {
        let began = Instant::now();
        good = tell("read", began, compare(store, &name, &content).await);
    }
    if may_be_there {
        let began = Instant::now();
        good &= tell("delete", began, take_away(store, &name).await);
    }
    good
}

async fn find(store: &dyn Store, name: &ObjectName) -> Result<(), StoreError> {
    let refuse = |why: &str| StoreError::new(ErrorKind::Fatal, format!("list {FOLDER}"), why);
    let prefix = Prefix::new(FOLDER).map_err(|error| refuse(&error.to_string()))?;
    let mut after = None;
    loop {
        let page = store.list(&prefix, after.as_ref(), super::MAX_PAGE).await?;
        if let Some(entry) = page.entries.iter().find(|entry| entry.name == *name) {
            let whole = entry.size == LENGTH as u64;
            return whole.then_some(()).ok_or_else(|| refuse("what was written is listed with another length"));
        }
        after = page.next;
        if after.is_none() {
            return Err(refuse("what was written is not listed"));
        }
    }
}

async fn compare(store: &dyn Store, name: &ObjectName, content: &Bytes) -> Result<(), StoreError> {
    let mut read = Vec::with_capacity(LENGTH);
    let mut stream = store.get(name, Range { from: 0, length: Some(2 * LENGTH as u64) }).await?;
    while let Some(bytes) = stream.try_next().await? {
        read.extend_from_slice(&bytes);
    }
    let other = || StoreError::new(ErrorKind::Fatal, format!("read {name}"), "it is not what was written");
    (read == *content).then_some(()).ok_or_else(other)
}

async fn take_away(store: &dyn Store, name: &ObjectName) -> Result<(), StoreError> {
    store.delete(name).await?;
    match store.stat(name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(StoreError::new(ErrorKind::Fatal, format!("delete {name}"), "it is still there")),
    }
}
