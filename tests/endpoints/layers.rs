//! The layers around a store, with time that does not pass by itself.

use std::time::Duration;

use futures_util::StreamExt;
use holdfast::endpoints::layer::bandwidth::{Bandwidth, Bucket};
use holdfast::endpoints::layer::concurrency::Concurrency;
use holdfast::endpoints::{Bytewise, Put, Range, Store};
use tokio::time::Instant;

use holdfast::endpoints::file::FileStore;

use crate::conformance::{content, name};
use crate::far_side::FarSide;

fn folder(far: &FarSide) -> FileStore {
    FileStore::new(far.data.clone())
}

/// Two uploads to one endpoint share its bandwidth.
#[tokio::test]
async fn bandwidth_is_shared() {
    let (one, two) = (FarSide::file(), FarSide::file());
    let bucket = Bucket::new(8 << 20);
    let (one, two) = (Bandwidth::new(folder(&one), bucket.clone()), Bandwidth::new(folder(&two), bucket));
    let bytes = Bytewise(content(4 << 20));
    let began = Instant::now();
    let (at, how) = (name("x"), Put::default());
    let (first, second) = tokio::join!(one.put(&at, &bytes, &how), two.put(&at, &bytes, &how));
    assert_eq!((first.unwrap(), second.unwrap()), (4 << 20, 4 << 20));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(700), "8 MiB at 8 MiB/s, but for a burst of a quarter: {took:?}");
}

/// A stream holds its turn until it is dropped.
#[tokio::test]
async fn so_many_streams_at_once() {
    let far = FarSide::file();
    let limited = Concurrency::new(folder(&far), 1);
    let at = name("x");
    limited.put(&at, &Bytewise("x".into()), &Put::default()).await.unwrap();
    let stream = limited.get(&at, Range::ALL).await.unwrap();
    let mut second = limited.get(&at, Range::ALL);
    assert!(futures_util::poll!(&mut second).is_pending());
    limited.stat(&at).await.unwrap();
    drop(stream);
    assert_eq!(second.await.unwrap().next().await.unwrap().unwrap(), "x");
}
