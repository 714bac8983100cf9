//! What every kind of far side does with runs, in one suite.

use std::fs;

use futures_util::TryStreamExt;
use holdfast::endpoints::{ErrorKind, Range};
use holdfast::remote::{Remote, RemoteRun, Standing, UploadProgress, Verify, fetch, upload, verify};
use uuid::Uuid;

use crate::made::{Made, Published, files};
use crate::side::{Side, kind};
use crate::support::far_side::FarSide;
use crate::support::long;

async fn listed(remote: &dyn Remote, most: usize) -> Vec<RemoteRun> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = remote.runs(most, &cursor).await.unwrap();
        assert!(page.rows.len() <= most);
        rows.extend(page.rows);
        match page.next_cursor {
            Some(next) => cursor = next,
            None => return rows,
        }
    }
}

async fn suite(side: &Side) {
    let published = Published::new();
    let (plain, plain_dir) = published.run();
    let (hidden, hidden_dir, _) = published.encrypted();
    let server_id = published.server_id;
    let remote = side.remote(server_id);
    let remote = &*remote;
    let progress = UploadProgress::default();
    assert_eq!(listed(remote, 10).await, []);
    assert_eq!(remote.standing(plain).await.unwrap(), Standing::Open([].into()));

    // There, and there once.
    for (run_id, folder) in [(plain, &plain_dir), (hidden, &hidden_dir)] {
        let sent = upload(remote, folder, run_id, Verify::Size, &progress).await.unwrap();
        let bytes: u64 = files(folder).values().map(|bytes| bytes.len() as u64).sum();
        assert_eq!((sent.sent_bytes, sent.held_bytes, sent.was_there), (bytes, 0, false));
        assert_eq!((progress.done(), progress.total(), sent.row.stored_bytes), (bytes, bytes, bytes));
        let again = upload(remote, folder, run_id, Verify::Readback, &progress).await.unwrap();
        assert_eq!((again.sent_bytes, again.held_bytes, again.was_there), (0, bytes, true));
        assert_eq!(again.row.sums_sha256, sent.row.sums_sha256);
        let standing = remote.standing(run_id).await.unwrap();
        assert_eq!(standing, Standing::Committed { sums_sha256: sent.row.sums_sha256 });
    }

    // Listed, and only to whom they belong.
    for most in [1, 10] {
        let rows = listed(remote, most).await;
        assert_eq!(rows.iter().map(|row| row.run_id).collect::<Vec<_>>(), [hidden, plain]);
        assert_eq!(rows.iter().map(|row| row.encrypted).collect::<Vec<_>>(), [true, false]);
        let row = &rows[1];
        assert_eq!((row.run_type.as_str(), row.status.as_str()), ("full", "completed"));
        assert_eq!(row.files as usize, files(&plain_dir).len());
        assert!(row.started_at > 1_700_000_000 && row.finished_at >= row.started_at && row.received_at > 1_700_000_000);
    }
    if !side.is_vault() {
        let other = side.remote(Uuid::from_u128(4711));
        assert_eq!(listed(&*other, 10).await, []);
        assert_eq!(kind(other.run(plain).await), ErrorKind::NotFound);
        let foreign = upload(&*other, &plain_dir, plain, Verify::Size, &progress).await;
        assert_eq!(kind(foreign), ErrorKind::Fatal, "what another installation made");
    }

    // Looked at, read in part, verified, and back byte by byte.
    let head = remote.run(plain).await.unwrap();
    let here = files(&plain_dir);
    assert_eq!((&head.manifest[..], &head.sums[..]), (&here["manifest.json"][..], &here["SHA256SUMS"][..]));
    let (name, bytes) = here.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let file = name.parse().unwrap();
    for (from, length) in [(0, 10), (1_000_000, 2_000_000), (bytes.len() - 5, 100), (bytes.len(), 1)] {
        let range = Range { from: from as u64, length: Some(length as u64) };
        let read: Vec<u8> =
            remote.read(plain, &file, range).await.unwrap().try_collect::<Vec<_>>().await.unwrap().concat();
        assert!(read == bytes[from..(from + length).min(bytes.len())], "{from} {length}");
    }
    assert_eq!(verify(remote, plain, &progress).await.unwrap().sums_sha256, head.row.sums_sha256);
    assert_eq!(progress.done(), progress.total());
    for (run_id, folder) in [(plain, &plain_dir), (hidden, &hidden_dir)] {
        let into = tempfile::tempdir().unwrap();
        fetch(remote, run_id, into.path(), &progress).await.unwrap();
        assert!(files(into.path()) == files(folder), "{run_id}");
        // What is good is kept, what is not comes again.
        let manifest = into.path().join(name);
        if manifest.is_file() {
            fs::write(&manifest, "cut").unwrap();
        }
        fetch(remote, run_id, into.path(), &progress).await.unwrap();
        assert!(files(into.path()) == files(folder), "{run_id} again");
    }

    names_at_their_limits(side, server_id).await;
    damaged_here(side, server_id).await;
    damaged_there(side, server_id).await;

    // Gone, and gone again.
    for _ in 0..2 {
        remote.delete(plain).await.unwrap();
        assert!(listed(remote, 10).await.iter().all(|row| row.run_id != plain));
    }
    assert_eq!(kind(remote.run(plain).await), ErrorKind::NotFound);
    let into = tempfile::tempdir().unwrap();
    assert_eq!(kind(fetch(remote, plain, into.path(), &progress).await), ErrorKind::NotFound);
    let again = upload(remote, &plain_dir, plain, Verify::Readback, &progress).await;
    if side.is_vault() {
        assert_eq!(kind(again), ErrorKind::Denied, "what a vault deleted it does not take again");
    } else {
        again.unwrap();
        assert!(listed(remote, 10).await.iter().any(|row| row.run_id == plain));
        let before = listed(remote, 10).await;
        assert_eq!(remote.rebuild().await.unwrap(), before.len() as u64);
        let after = listed(remote, 10).await;
        assert_eq!(
            after.iter().map(|row| row.run_id).collect::<Vec<_>>(),
            before.iter().map(|row| row.run_id).collect::<Vec<_>>()
        );
    }
    assert_eq!(remote.sweep().await.unwrap(), 0, "nothing was left over");
}

async fn names_at_their_limits(side: &Side, server_id: Uuid) {
    let longest = "x".repeat(124);
    let made = Made::new(server_id, 1, &[(&longest, 10), ("_.-", 1), ("a..b", 5), ("A", 3), ("0", 300_000)]);
    let remote = side.remote(server_id);
    upload(&*remote, made.dir(), made.run_id, Verify::Readback, &UploadProgress::default()).await.unwrap();
    let into = tempfile::tempdir().unwrap();
    fetch(&*remote, made.run_id, into.path(), &UploadProgress::default()).await.unwrap();
    assert!(files(into.path()) == files(made.dir()));
}

/// What is damaged here does not get there.
async fn damaged_here(side: &Side, server_id: Uuid) {
    let made = Made::new(server_id, 2, &[("good", 70_000), ("bad", 5_000_000), ("short", 9)]);
    let remote = side.remote(server_id);
    let send = || async { upload(&*remote, made.dir(), made.run_id, Verify::Size, &UploadProgress::default()).await };
    let path = made.dir().join("bad.lz4");
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[4_999_999] ^= 1;
    for damaged in [bad, good[1..].to_vec()] {
        fs::write(&path, damaged).unwrap();
        let error = send().await.unwrap_err();
        assert!(error.kind() == ErrorKind::Source && error.to_string().contains("not as recorded"), "{error}");
        let standing = remote.standing(made.run_id).await.unwrap();
        let Standing::Open(held) = standing else { panic!("{standing:?}") };
        assert!(held.get(&"bad.lz4".parse().unwrap()).is_none_or(|held| held.bytes < 5_000_000), "{held:?}");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(kind(send().await), ErrorKind::Source);
    assert!(listed(&*remote, 100).await.iter().all(|row| row.run_id != made.run_id));
    fs::write(&path, good).unwrap();
    send().await.unwrap();
    verify(&*remote, made.run_id, &UploadProgress::default()).await.unwrap();
}

/// What is damaged there is found.
async fn damaged_there(side: &Side, server_id: Uuid) {
    let made = Made::new(server_id, 3, &[("one", 400_000), ("two", 100)]);
    let remote = side.remote(server_id);
    upload(&*remote, made.dir(), made.run_id, Verify::Size, &UploadProgress::default()).await.unwrap();
    let bytes = fs::read(made.dir().join("one.lz4")).unwrap();
    side.damage(server_id, made.run_id, "one.lz4", bytes.clone()).await;
    let into = tempfile::tempdir().unwrap();
    let progress = UploadProgress::default();
    for found in
        [verify(&*remote, made.run_id, &progress).await, fetch(&*remote, made.run_id, into.path(), &progress).await]
    {
        let error = found.unwrap_err();
        assert!(error.kind() == ErrorKind::Altered && error.to_string().contains("one.lz4"), "{error}");
    }
    assert!(!into.path().join("manifest.json").exists());
    side.damage(server_id, made.run_id, "one.lz4", bytes[1..].to_vec()).await;
    assert!(verify(&*remote, made.run_id, &progress).await.unwrap_err().to_string().contains("399999 bytes of 400000"));
    side.damage(server_id, made.run_id, "manifest.json", fs::read(made.dir().join("manifest.json")).unwrap()).await;
    assert_eq!(kind(verify(&*remote, made.run_id, &progress).await), ErrorKind::Altered);
    assert_eq!(kind(fetch(&*remote, made.run_id, into.path(), &progress).await), ErrorKind::Altered);
    remote.delete(made.run_id).await.unwrap();
    if side.is_vault() {
        return;
    }
    // What is held from before is taken by its size, or read back.
    let again = Made::new(server_id, 4, &[("one", 400_000), ("two", 100)]);
    side.damage(server_id, again.run_id, "one.lz4", fs::read(again.dir().join("one.lz4")).unwrap()).await;
    let sent = upload(&*remote, again.dir(), again.run_id, Verify::Readback, &progress).await.unwrap();
    assert_eq!(sent.sent_bytes, again.bytes(), "it was sent once more");
    verify(&*remote, again.run_id, &progress).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault() {
    suite(&Side::vault(true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder() {
    suite(&Side::Far(FarSide::file())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webdav() {
    suite(&Side::Far(FarSide::webdav())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp() {
    suite(&Side::Far(FarSide::sftp())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3() {
    suite(&Side::Far(FarSide::s3())).await;
}

/// Many small runs: each listed once, in order, in pages of any size; and as many after the list was made anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_runs() {
    let sides: Vec<Side> = match long() {
        true => {
            vec![Side::vault(true), Side::Far(FarSide::s3()), Side::Far(FarSide::webdav()), Side::Far(FarSide::sftp())]
        }
        false => vec![Side::vault(true), Side::Far(FarSide::file())],
    };
    let count = if long() { 1100 } else { 80 };
    let server_id = Uuid::from_u128(1);
    for side in sides {
        let remote = side.remote(server_id);
        let mut expected = Vec::new();
        for number in 1..=count {
            let made = Made::new(server_id, number, &[("a", 100)]);
            upload(&*remote, made.dir(), made.run_id, Verify::Size, &UploadProgress::default()).await.unwrap();
            expected.push(made.run_id);
        }
        for most in [7, 100, 1000] {
            let mut found: Vec<_> = listed(&*remote, most).await.iter().map(|row| row.run_id).collect();
            if side.is_vault() {
                found.reverse();
                assert_eq!(found, expected, "the one received last first");
                continue;
            }
            found.reverse();
            expected.sort();
            assert_eq!(found, expected, "{most} a page");
        }
        assert_eq!(remote.rebuild().await.unwrap(), u64::from(count));
        assert_eq!(listed(&*remote, 100).await.len() as u32, count);
    }
}
