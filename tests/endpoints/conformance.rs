//! What every kind of store does, in one suite.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast::endpoints::layer::retry::Attempts;
use holdfast::endpoints::{
    Answer, ByteStream, Bytewise, Credentials, ErrorKind, Existing, Limits, ObjectName, Prefix, Put, Range, Source,
    Store, StoreError, open,
};

use crate::far_side::FarSide;

pub(crate) fn limits() -> Limits {
    let attempts = Attempts { total: 3, delay: Duration::from_millis(20) };
    Limits { timeout: Duration::from_secs(20), attempts, ..Limits::default() }
}

pub(crate) fn store(far: &FarSide) -> Arc<dyn Store> {
    open(&far.address(), far.credentials(), &limits()).unwrap()
}

pub(crate) fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

pub(crate) fn replacing() -> Put {
    Put { existing: Existing::Replace, ..Put::default() }
}

pub(crate) async fn put(store: &dyn Store, at: &str, bytes: impl Into<Bytes>) -> Result<u64, StoreError> {
    store.put(&name(at), &Bytewise(bytes.into()), &Put::default()).await
}

pub(crate) async fn read(store: &dyn Store, at: &str, range: Range) -> Result<Vec<u8>, StoreError> {
    let stream = store.get(&name(at), range).await?;
    stream
        .try_fold(Vec::new(), |mut all, bytes| async move {
            all.extend_from_slice(&bytes);
            Ok(all)
        })
        .await
}

pub(crate) async fn names(store: &dyn Store, prefix: &Prefix, most: usize) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(prefix, after.as_ref(), most).await.unwrap();
        assert!(page.entries.len() <= most);
        all.extend(page.entries.into_iter().map(|entry| entry.name.to_string()));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T, StoreError>) -> ErrorKind {
    let error = result.unwrap_err();
    println!("{}: {error}", error.code());
    assert!(!format!("{error} {error:?}").contains(crate::far_side::PASSWORD));
    error.kind()
}

/// Bytes that are not the same anywhere.
pub(crate) fn content(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    Bytes::from_iter((0..length).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    }))
}

/// A source of a length that is not said; it can be made to fail at its end, or never to end.
pub(crate) struct Unsaid {
    pub(crate) bytes: Bytes,
    pub(crate) ends: Ends,
    pub(crate) length: Option<u64>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Ends {
    Well,
    Badly,
    Never,
}

impl Source for Unsaid {
    fn open(&self) -> Answer<'_, ByteStream> {
        let pieces: Vec<_> = self.bytes.chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let stream = stream::iter(pieces);
        let stream = match self.ends {
            Ends::Well => stream.boxed(),
            Ends::Badly => {
                let error = StoreError::new(ErrorKind::Source, "read the artifact", "its disk is broken");
                stream.chain(stream::iter([Err(error)])).boxed()
            }
            Ends::Never => stream.chain(stream::pending()).boxed(),
        };
        std::future::ready(Ok(stream)).boxed()
    }

    fn length(&self) -> Option<u64> {
        self.length
    }
}

/// All that holds for every kind. `many` is how many names are listed.
pub(crate) async fn suite(far: &FarSide, many: usize) {
    let store = store(far);
    let store = &*store;
    round_trip(store).await;
    ranges(store).await;
    replacing_and_refusing(store).await;
    whole_or_not_there(store, far).await;
    lengths(store).await;
    names_at_their_limits(store).await;
    deleting(store).await;
    listing(store, many).await;
}

async fn round_trip(store: &dyn Store) {
    assert_eq!(names(store, &Prefix::top(), 10).await, [""; 0], "a new one is empty");
    for length in [0, 1, 65_536, 65_537, 20 << 20] {
        let (at, bytes, told) = (format!("trip/{length}"), content(length), Put::default());
        let sent = store.put(&name(&at), &Bytewise(bytes.clone()), &told).await.unwrap();
        assert_eq!((sent, told.meter.done()), (length as u64, length as u64));
        assert!(read(store, &at, Range::ALL).await.unwrap() == bytes, "{length}");
        let stat = store.stat(&name(&at)).await.unwrap();
        assert_eq!(stat.size, length as u64);
        let age = stat.modified.unwrap().elapsed().unwrap_or_default();
        assert!(age < Duration::from_secs(600), "{age:?}");
    }
}

async fn ranges(store: &dyn Store) {
    let bytes = content(100_000);
    put(store, "range/x", bytes.clone()).await.unwrap();
    for (from, length) in
        [(0, Some(1)), (1, Some(2)), (99_999, Some(1)), (50_000, None), (70_000, Some(60_000)), (5, Some(70_000))]
    {
        let range = Range { from, length };
        let end = length.map_or(100_000, |length| (from + length).min(100_000));
        let found = read(store, "range/x", range).await.unwrap();
        assert!(found == bytes[from as usize..end as usize], "{range:?}: {}", found.len());
    }
    assert_eq!(read(store, "range/x", Range { from: 100_000, length: None }).await.unwrap(), [0; 0], "at the end");
    assert_eq!(read(store, "range/x", Range { from: 7, length: Some(0) }).await.unwrap(), [0; 0], "nothing");
    read(store, "range/x", Range { from: 100_001, length: None }).await.unwrap_err();
    assert_eq!(kind(read(store, "range/none", Range::ALL).await), ErrorKind::NotFound);
    assert_eq!(kind(store.stat(&name("range/none")).await), ErrorKind::NotFound);
    assert_eq!(kind(store.stat(&name("nowhere/none")).await), ErrorKind::NotFound);
}

async fn replacing_and_refusing(store: &dyn Store) {
    put(store, "again/x", "first").await.unwrap();
    assert_eq!(kind(put(store, "again/x", "second").await), ErrorKind::Exists);
    assert_eq!(read(store, "again/x", Range::ALL).await.unwrap(), b"first");
    store.put(&name("again/x"), &Bytewise("third".into()), &replacing()).await.unwrap();
    store.put(&name("again/new"), &Bytewise("new".into()), &replacing()).await.unwrap();
    assert_eq!(read(store, "again/x", Range::ALL).await.unwrap(), b"third");
    assert_eq!(names(store, &Prefix::new("again").unwrap(), 10).await, ["again/new", "again/x"]);
}

/// While bytes are under way, and after they stopped, nothing is there; what is left behind can be swept.
async fn whole_or_not_there(store: &dyn Store, far: &FarSide) {
    let at = name("whole/x");
    let bad = Unsaid { bytes: content(20 << 20), ends: Ends::Badly, length: None };
    assert_eq!(kind(store.put(&at, &bad, &Put::default()).await), ErrorKind::Source);
    assert_eq!(kind(store.stat(&at).await), ErrorKind::NotFound);

    let never = Unsaid { bytes: content(40 << 20), ends: Ends::Never, length: None };
    let told = Put::default();
    {
        let mut putting = store.put(&at, &never, &told);
        // S3 has its first part of 16 MiB sent when there is a second one.
        let goal = if far.url.starts_with("s3") { 16 << 20 } else { 4 << 20 };
        tokio::time::timeout(Duration::from_secs(100), async {
            while told.meter.done() < goal {
                assert!(futures_util::poll!(&mut putting).is_pending());
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("bytes move");
        assert_eq!(kind(store.stat(&at).await), ErrorKind::NotFound);
        assert_eq!(names(store, &Prefix::new("whole").unwrap(), 10).await, [""; 0]);
    }
    // Dropped in the middle.
    assert_eq!(kind(store.stat(&at).await), ErrorKind::NotFound);
    assert_eq!(store.sweep(Duration::from_secs(3600)).await.unwrap(), 0, "a young one may be at work");
    let swept = tokio::time::timeout(Duration::from_secs(60), async {
        let mut swept = 0;
        // A server may notice late that nobody sends any more. A folder and Apache leave nothing.
        while swept == 0 && (far.url.starts_with("s3") || far.url.starts_with("sftp")) {
            swept += store.sweep(Duration::ZERO).await.unwrap();
        }
        swept
    });
    let swept = swept.await.expect("what is left is found");
    println!("swept {swept}");
    assert_eq!(store.sweep(Duration::ZERO).await.unwrap(), 0);
    let good = Unsaid { bytes: content(20 << 20), ends: Ends::Well, length: None };
    assert_eq!(store.put(&at, &good, &Put::default()).await.unwrap(), 20 << 20);
    assert!(read(store, "whole/x", Range::ALL).await.unwrap() == content(20 << 20));
}

/// A stream that is not as long as it was said to be is not kept.
async fn lengths(store: &dyn Store) {
    for (length, said) in [(1000, 1001), (1000, 999), (0, 1), (300_000, 200_000), (200_000, 300_000)] {
        let wrong = Unsaid { bytes: content(length), ends: Ends::Well, length: Some(said) };
        assert_eq!(
            kind(store.put(&name("length/x"), &wrong, &Put::default()).await),
            ErrorKind::Source,
            "{length} {said}"
        );
        assert_eq!(kind(store.stat(&name("length/x")).await), ErrorKind::NotFound);
    }
}

async fn names_at_their_limits(store: &dyn Store) {
    let long = "x".repeat(200);
    let deep = format!("limits/{}", vec!["d"; 20].join("/"));
    let limits =
        [format!("limits/{long}/{long}/{long}"), deep, "limits/...".into(), "limits/-._A0".into(), "limits/A".into()];
    for at in limits.iter().chain([&"limits/a".to_owned()]) {
        put(store, at, at.clone()).await.unwrap();
        assert_eq!(read(store, at, Range::ALL).await.unwrap(), at.as_bytes());
    }
    let mut all: Vec<_> = limits.iter().cloned().chain(["limits/a".to_owned()]).collect();
    all.sort();
    assert_eq!(names(store, &Prefix::new("limits").unwrap(), 3).await, all, "cases are told apart");
}

async fn deleting(store: &dyn Store) {
    put(store, "delete/a/b", "x").await.unwrap();
    put(store, "delete/c", "x").await.unwrap();
    store.delete(&name("delete/a/b")).await.unwrap();
    store.delete(&name("delete/a/b")).await.unwrap();
    store.delete(&name("nothing/here/at/all")).await.unwrap();
    assert_eq!(kind(store.stat(&name("delete/a/b")).await), ErrorKind::NotFound);
    assert_eq!(names(store, &Prefix::new("delete").unwrap(), 10).await, ["delete/c"]);
    put(store, "delete/a/b", "y").await.unwrap();
    assert_eq!(read(store, "delete/a/b", Range::ALL).await.unwrap(), b"y");
}

async fn listing(store: &dyn Store, many: usize) {
    let mut expected: Vec<_> = (0..many).map(|number| format!("many/{}/{number:05}", number % 3)).collect();
    let putting = stream::iter(expected.clone()).map(|at| async move { put(store, &at, "x").await.map(drop) });
    putting.buffer_unordered(8).try_collect::<()>().await.unwrap();
    expected.sort();
    let many = Prefix::new("many").unwrap();
    assert!(names(store, &many, 10_000).await == expected, "in one page");
    assert!(names(store, &many, 301).await == expected, "in pages");
    let one = Prefix::new("many/1").unwrap();
    let ones: Vec<_> = expected.iter().filter(|name| name.starts_with("many/1/")).cloned().collect();
    assert!(names(store, &one, 100).await == ones);
    assert_eq!(names(store, &Prefix::new("man").unwrap(), 10).await, [""; 0], "a prefix is a folder");
}

/// Nobody gets in with another password, and who may only read cannot write.
pub(crate) async fn strangers(far: &FarSide, wrong: Credentials, reader: Option<Credentials>) {
    put(&*store(far), "rights/x", "x").await.unwrap();
    let stranger = open(&far.address(), wrong, &limits()).unwrap();
    assert_eq!(kind(put(&*stranger, "rights/y", "y").await), ErrorKind::Credentials);
    assert_eq!(kind(read(&*stranger, "rights/x", Range::ALL).await), ErrorKind::Credentials);
    let Some(reader) = reader else { return };
    let reader = open(&far.address(), reader, &limits()).unwrap();
    assert_eq!(read(&*reader, "rights/x", Range::ALL).await.unwrap(), b"x");
    assert!(matches!(kind(put(&*reader, "rights/y", "y").await), ErrorKind::Denied | ErrorKind::Credentials));
    assert!(matches!(kind(reader.delete(&name("rights/x")).await), ErrorKind::Denied | ErrorKind::Credentials));
}
