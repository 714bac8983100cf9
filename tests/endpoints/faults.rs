//! What goes wrong on the way: nothing is lost, nothing is doubled, and what is tried again ends right.

use std::sync::Arc;
use std::time::Duration;

use holdfast::endpoints::{Bytewise, ErrorKind, Prefix, Put, Range, Store, open};

use crate::conformance::{Ends, Unsaid, content, kind, limits, name, names, put, read, replacing, store};
use crate::far_side::FarSide;
use crate::proxy::{Fault, Proxy};

async fn through(far: &FarSide, proxy: &Proxy) -> Arc<dyn Store> {
    let mut limits = limits();
    limits.timeout = Duration::from_secs(2);
    open(&far.address_by(proxy.port), far.credentials(), &limits).unwrap()
}

/// Each fault at each step of a put: afterwards the bytes are there once, whole, and nothing else.
async fn each(far: &FarSide, steps: &[&'static str], faults: &[Fault], length: usize) {
    let proxy = Proxy::to(far.port).await;
    let store = through(far, &proxy).await;
    store.put(&name("warm/up"), &Bytewise("x".into()), &replacing()).await.unwrap();
    let bytes = content(length);
    let mut expected = vec!["warm/up".to_owned()];
    let under = format!("fault-{length}");
    for (number, (step, fault)) in
        steps.iter().flat_map(|step| faults.iter().map(move |fault| (*step, *fault))).enumerate()
    {
        let at = format!("{under}/{number}");
        proxy.arm(step, fault);
        let sent = put(&*store, &at, bytes.clone()).await;
        assert_eq!(sent.unwrap_or_else(|error| panic!("{step} {fault:?}: {error}")), length as u64);
        assert!(proxy.is_spent(), "{step} {fault:?} happened");
        let found = read(&*store, &at, Range::ALL).await.unwrap();
        let differs = found.iter().zip(&bytes).position(|(one, other)| one != other);
        assert_eq!((found.len(), differs), (length, None), "{step} {fault:?}");
        expected.push(at);
    }
    expected.remove(0);
    expected.sort();
    assert_eq!(names(&*store, &Prefix::new(under.as_str()).unwrap(), 100).await, expected);
    // A stream that breaks goes on where it was.
    proxy.arm("", Fault::Cut(length / 2));
    assert!(read(&*store, &format!("{under}/0"), Range::ALL).await.unwrap() == bytes);
    // More faults than attempts are told, with how often it was tried.
    (0..12).for_each(|_| proxy.arm("", Fault::Drop));
    let error = put(&*store, "fault/never", "x").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Retryable && error.attempts() == 3, "{error:?}");
}

const HTTP: [Fault; 5] = [Fault::Drop, Fault::LoseAnswer, Fault::Hang, Fault::Answer(500), Fault::Answer(429)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webdav() {
    each(&FarSide::webdav(), &["PUT /", "MOVE /"], &HTTP, 3 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3() {
    let far = FarSide::s3();
    each(&far, &["POST /bucket", "partNumber=2", "uploadId="], &HTTP, 20 << 20).await;
    each(&far, &["PUT /bucket"], &HTTP, 100_000).await;
    // A stream that cannot be read twice comes through, too: its parts are sent again.
    let proxy = Proxy::to(far.port).await;
    let store = through(&far, &proxy).await;
    let once = Unsaid { bytes: content(40 << 20), ends: Ends::Well, length: None };
    proxy.arm("partNumber=1", Fault::Answer(503));
    proxy.arm("partNumber=2", Fault::LoseAnswer);
    store.put(&name("once"), &once, &Put::default()).await.unwrap();
    assert!(proxy.is_spent());
    assert!(read(&*store, "once", Range::ALL).await.unwrap() == content(40 << 20));
    let stat = store.stat(&name("once")).await.unwrap();
    assert_eq!(stat.size, 40 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp() {
    // What is in it cannot be seen from outside: the fault meets whatever is under way.
    each(&FarSide::sftp(), &[""], &[Fault::Drop, Fault::LoseAnswer, Fault::Hang], 3 << 20).await;
}

/// The commit was done and its answer lost: the next attempt finds its own bytes. Those of somebody else are not taken for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_of_a_commit() {
    let far = FarSide::webdav();
    let proxy = Proxy::to(far.port).await;
    let store = through(&far, &proxy).await;
    proxy.arm("MOVE /", Fault::LoseAnswer);
    put(&*store, "own", content(100_000)).await.unwrap();
    proxy.arm("MOVE /", Fault::LoseAnswer);
    store.put(&name("own"), &Bytewise(content(200_000)), &replacing()).await.unwrap();
    assert!(read(&*store, "own", Range::ALL).await.unwrap() == content(200_000));
    proxy.arm("MOVE /", Fault::Drop);
    put(&*crate::conformance::store(&far), "theirs", content(99_999)).await.unwrap();
    assert_eq!(kind(put(&*store, "theirs", content(100_000)).await), ErrorKind::Exists);
    assert!(read(&*store, "theirs", Range::ALL).await.unwrap() == content(99_999));
}

/// A server that is killed in the middle of an upload and comes back: the upload ends right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back() {
    for mut far in [FarSide::webdav(), FarSide::sftp()] {
        let store = store(&far);
        put(&*store, "before", "x").await.unwrap();
        far.kill();
        let told = Put::default();
        let (at, bytes) = (name("after"), Bytewise(content(5 << 20)));
        let mut limits = limits();
        limits.attempts.total = 50;
        limits.attempts.delay = Duration::from_millis(100);
        let patient = open(&far.address(), far.credentials(), &limits).unwrap();
        let mut putting = patient.put(&at, &bytes, &told);
        let gone = futures_util::poll!(&mut putting);
        assert!(gone.is_pending());
        tokio::task::block_in_place(|| far.start());
        assert_eq!(putting.await.unwrap(), 5 << 20, "{}", far.url);
        assert!(read(&*store, "after", Range::ALL).await.unwrap() == content(5 << 20));
    }
}
