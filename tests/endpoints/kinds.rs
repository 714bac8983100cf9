//! The suite on each kind, and what each has of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use holdfast::endpoints::{Address, Bytewise, Credentials, ErrorKind, Prefix, Put, Range, open};

use crate::conformance::{Ends, Unsaid, content, kind, limits, name, names, put, read, store, strangers, suite};
use crate::far_side::{FarSide, LOGIN, PASSWORD, READER, hand_over};
use crate::support::mount::Mount;

fn credentials(login: &str, password: &str) -> Credentials {
    Credentials { login: login.into(), password: password.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder() {
    let far = FarSide::file();
    suite(&far, 1100).await;
    let left: Vec<_> = fs::read_dir(far.data.join(".holdfast-partial")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webdav() {
    let far = FarSide::webdav();
    suite(&far, 1100).await;
    let partial = far.data.join(".holdfast-partial");
    for left in ["0192f0c1-2345-7abc-8def-0123456789ab", "foreign"] {
        fs::write(partial.join(left), "x").unwrap();
    }
    hand_over(&partial);
    assert_eq!(store(&far).sweep(Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(store(&far).sweep(Duration::ZERO).await.unwrap(), 1);
    assert!(partial.join("foreign").exists(), "only what Holdfast left is swept");
    strangers(&far, credentials(LOGIN, "wrong"), Some(credentials(READER, PASSWORD))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp() {
    let far = FarSide::sftp();
    suite(&far, 1100).await;
    let mut other = far.url.replace("/id&", "/stranger&");
    let refused = open(&Address::parse(&other).unwrap(), far.credentials(), &limits()).unwrap();
    assert_eq!(kind(put(&*refused, "x", "x").await), ErrorKind::Credentials);
    other = far.url.replace(&format!("key_file={}&", far.beside("id").display()), "");
    let refused = open(&Address::parse(&other).unwrap(), credentials(far.login(), "hunter2"), &limits()).unwrap();
    assert_eq!(kind(put(&*refused, "x", "x").await), ErrorKind::Credentials, "no password is known there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3() {
    let far = FarSide::s3();
    suite(&far, 1100).await;
    strangers(&far, credentials(LOGIN, "wrong"), Some(credentials(READER, PASSWORD))).await;
    let nowhere = Address::parse(&far.url.replace("//bucket", "//other-bucket")).unwrap();
    let nowhere = open(&nowhere, far.credentials(), &limits()).unwrap();
    assert!(matches!(kind(put(&*nowhere, "x", "x").await), ErrorKind::Fatal | ErrorKind::Denied));
}

/// An unknown host is told with its fingerprint and the line to add; a changed one is told as such.
#[tokio::test]
async fn a_host_is_not_trusted_unseen() {
    let far = FarSide::sftp();
    let known = far.beside("known");
    let line = fs::read_to_string(&known).unwrap();
    fs::write(&known, "").unwrap();
    let error = put(&*store(&far), "x", "x").await.unwrap_err();
    let told = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Credentials);
    assert!(told.contains("SHA256:") && told.contains(&format!("\n{}\n", line.trim())), "{told}");
    let other = fs::read_to_string(far.beside("stranger.pub")).unwrap();
    fs::write(&known, format!("[127.0.0.1]:{} {other}", far.port)).unwrap();
    let told = put(&*store(&far), "x", "x").await.unwrap_err().to_string();
    assert!(told.contains("somebody stands in between"), "{told}");
    fs::write(&known, line).unwrap();
    put(&*store(&far), "x", "x").await.unwrap();
}

#[tokio::test]
async fn nobody_there() {
    let mut far = FarSide::webdav();
    far.kill();
    assert_eq!(kind(put(&*store(&far), "x", "x").await), ErrorKind::Retryable);
    let gone = Address::parse("sftp://no-such-host.invalid/x?known_hosts=/dev/null").unwrap();
    let gone = open(&gone, credentials("me", "x"), &limits()).unwrap();
    assert_eq!(kind(put(&*gone, "x", "x").await), ErrorKind::Retryable);
    let missing = Address::parse("file:///nowhere/at/all").unwrap();
    let missing = open(&missing, credentials("", ""), &limits()).unwrap();
    assert_eq!(kind(put(&*missing, "x", "x").await), ErrorKind::Fatal, "a mount that is missing is not made");
    let plain = Address::parse("webdav://192.0.2.1/dav").unwrap();
    assert_eq!(kind(open(&plain, credentials(LOGIN, PASSWORD), &limits()).map(drop)), ErrorKind::Credentials);
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_left_on_it() {
    for far in [FarSide::file(), FarSide::sftp(), FarSide::webdav()] {
        let _disk = Mount::small_disk(&far.data, 4);
        hand_over(&far.data);
        let store = store(&far);
        put(&*store, "a/small", "x").await.unwrap();
        let large = Unsaid { bytes: content(8 << 20), ends: Ends::Well, length: Some(8 << 20) };
        let full = store.put(&name("a/large"), &large, &Put::default()).await;
        assert_eq!(kind(full), ErrorKind::Full, "{}", far.url);
        assert_eq!(names(&*store, &Prefix::top(), 10).await, ["a/small"]);
        assert_eq!(put(&*store, "a/fits", content(2 << 20)).await.unwrap(), 2 << 20, "the room is free again");
    }
}

#[tokio::test]
async fn links_lead_nowhere() {
    let far = FarSide::file();
    let outside = far.beside("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, far.data.join("folder")).unwrap();
    symlink(outside.join("secret"), far.data.join("file")).unwrap();
    let store = store(&far);
    assert_eq!(names(&*store, &Prefix::top(), 10).await, [""; 0]);
    for at in ["file", "folder/secret"] {
        read(&*store, at, Range::ALL).await.unwrap_err();
        store.stat(&name(at)).await.unwrap_err();
    }
    store.put(&name("folder/new"), &Bytewise("x".into()), &Put::default()).await.unwrap_err();
    let _ = store.delete(&name("folder/secret")).await;
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was written there or taken away");
    put(&*store, "own", "x").await.unwrap();
    assert_eq!(fs::metadata(far.data.join("own")).unwrap().permissions().mode() & 0o777, 0o600);
}

/// What does not move ends in time; so long as bytes move, it does not.
#[tokio::test]
async fn a_far_side_that_hangs_is_given_up() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut limits = limits();
    limits.timeout = Duration::from_millis(300);
    limits.attempts.total = 2;
    for url in [
        format!("webdav://127.0.0.1:{port}/x"),
        format!("s3://bucket?endpoint=http://127.0.0.1:{port}"),
        format!("sftp://127.0.0.1:{port}/x?known_hosts=/dev/null"),
    ] {
        let store = open(&Address::parse(&url).unwrap(), credentials("me", "x"), &limits).unwrap();
        let began = std::time::Instant::now();
        assert_eq!(kind(put(&*store, "x", "x").await), ErrorKind::Timeout, "{url}");
        assert_eq!(kind(store.stat(&name("x")).await), ErrorKind::Timeout, "{url}");
        assert!(began.elapsed() < Duration::from_secs(20), "{url}: {:?}", began.elapsed());
    }
}
