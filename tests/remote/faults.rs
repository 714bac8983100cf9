//! What goes wrong on the way: nothing is lost, nothing is doubled, and what was acknowledged is not sent again.

use holdfast::endpoints::{Address, Credentials, ErrorKind};
use holdfast::remote::{Remote, Standing, UploadProgress, Verify, open, upload, verify};
use uuid::Uuid;

use crate::made::Made;
use crate::side::{Side, VaultSide, kind, limits};
use crate::support::far_side::{FarSide, LOGIN, PASSWORD, READER, hand_over};
use crate::support::mount::Mount;
use crate::support::proxy::{Fault, Proxy};
use crate::support::{Home, root};

const SERVER: Uuid = Uuid::from_u128(1);
/// What heads of requests and listings take beside the bytes of the files.
const HEADS: u64 = 60_000;

async fn held(remote: &dyn Remote, made: &Made) -> u64 {
    match remote.standing(made.run_id).await.unwrap() {
        Standing::Open(held) => held.values().map(|held| held.bytes).sum(),
        Standing::Committed { .. } => made.bytes(),
    }
}

/// The connection breaks for good in the middle of an upload; the next upload goes on where the far side is. Bytes are counted on the way.
async fn goes_on(side: &Side) {
    let made = Made::new(SERVER, 1, &[("a", 700_000), ("b", 9_000_000), ("c", 6_000_000), ("d", 30)]);
    let proxy = Proxy::to(side.port()).await;
    let by_proxy = side.by(proxy.port, SERVER, 1);
    let send = || async { upload(&*by_proxy, made.dir(), made.run_id, Verify::Size, &UploadProgress::default()).await };
    let mut held_before = 0;
    let parts = if side.is_vault() { [8_000_000, 5_000_000] } else { [8_000_000, 12_000_000] };
    for part in parts {
        proxy.break_after(part);
        let error = send().await.unwrap_err();
        assert!(error.kind().retryable(), "{error}");
        proxy.mend();
        let held_now = held(&*side.remote(SERVER), &made).await;
        assert!(held_now >= held_before, "what was acknowledged is still there");
        held_before = held_now;
    }
    // Of what went, a vault has all but a piece for each time that it broke; the others have whole files.
    let expected = if side.is_vault() { 13_000_000 - 2 * ((4 << 20) + HEADS) } else { 9_700_000 };
    assert!(held_before >= expected, "{held_before} bytes are held");
    assert!(side.remote(SERVER).runs(10, "").await.unwrap().rows.is_empty());
    proxy.mend();
    let sent = send().await.unwrap();
    let carried = proxy.mend();
    assert_eq!((sent.held_bytes, sent.sent_bytes), (held_before, made.bytes() - held_before));
    assert!(carried < sent.sent_bytes + HEADS + sent.sent_bytes / 10, "{carried} bytes went for {}", sent.sent_bytes);
    verify(&*side.remote(SERVER), made.run_id, &UploadProgress::default()).await.unwrap();

    // With attempts left it goes on by itself.
    let made = Made::new(SERVER, 2, &[("a", 9_000_000)]);
    let patient = side.by(proxy.port, SERVER, 5);
    let progress = UploadProgress::default();
    let upload = upload(&*patient, made.dir(), made.run_id, Verify::Size, &progress);
    proxy.break_after(5_000_000);
    let mending = async {
        proxy.broken().await;
        proxy.mend();
    };
    let (sent, ()) = tokio::join!(upload, mending);
    assert_eq!(sent.unwrap().sent_bytes, made.bytes());
    assert_eq!(side.remote(SERVER).runs(10, "").await.unwrap().rows.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_upload_to_a_vault_goes_on_by_the_byte() {
    goes_on(&Side::vault(true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_upload_to_webdav_goes_on_by_the_file() {
    goes_on(&Side::Far(FarSide::webdav())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_upload_to_sftp_goes_on_by_the_file() {
    goes_on(&Side::Far(FarSide::sftp())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_upload_to_s3_goes_on_by_the_file() {
    goes_on(&Side::Far(FarSide::s3())).await;
}

/// Each request that matters meets each fault: the run is there once and whole.
async fn each(side: &Side, steps: &[&'static str], faults: &[Fault]) {
    let proxy = Proxy::to(side.port()).await;
    let remote = side.by(proxy.port, SERVER, 3);
    let mut number = 10;
    for step in steps {
        for fault in faults {
            let made = Made::new(SERVER, number, &[("a", 5_000_000), ("b", 10)]);
            number += 1;
            proxy.arm(step, *fault);
            let sent = upload(&*remote, made.dir(), made.run_id, Verify::Size, &UploadProgress::default()).await;
            sent.unwrap_or_else(|error| panic!("{step} {fault:?}: {error}"));
            assert!(proxy.is_spent(), "{step} {fault:?} happened");
            let again =
                upload(&*remote, made.dir(), made.run_id, Verify::Size, &UploadProgress::default()).await.unwrap();
            assert!(again.was_there, "{step} {fault:?}");
            verify(&*remote, made.run_id, &UploadProgress::default()).await.unwrap();
        }
    }
    let rows = side.remote(SERVER).runs(1000, "").await.unwrap().rows;
    assert_eq!(rows.len() as u32, number - 10, "each once");
}

const FAULTS: [Fault; 4] = [Fault::Drop, Fault::LoseAnswer, Fault::Answer(500), Fault::Answer(429)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_to_a_vault_can_fail() {
    each(&Side::vault(false), &["POST /uploads", "PATCH /uploads", "/commit", "GET /uploads"], &FAULTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_to_webdav_can_fail() {
    each(&Side::Far(FarSide::webdav()), &["PUT /", "b.lz4", "manifest.json"], &FAULTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_to_s3_can_fail() {
    each(&Side::Far(FarSide::s3()), &["b.lz4", "manifest.json"], &FAULTS).await;
}

/// A vault that is killed in the middle of an upload and comes back, at another port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_comes_back_has_what_it_acknowledged() {
    let made = Made::new(SERVER, 1, &[("a", 12_000_000)]);
    let mut side = VaultSide::new(true);
    let progress = UploadProgress::default();
    {
        let proxy = Proxy::to(side.port).await;
        let remote = open(&address(&side, proxy.port), credentials(&side.token), &limits(1), SERVER).unwrap();
        let sending = upload(&*remote, made.dir(), made.run_id, Verify::Size, &progress);
        proxy.break_after(7_000_000);
        let killing = async {
            proxy.broken().await;
            tokio::task::block_in_place(|| side.kill());
        };
        let (sent, ()) = tokio::join!(sending, killing);
        assert!(sent.unwrap_err().kind().retryable());
    }
    side.serve();
    let remote = open(&address(&side, side.port), credentials(&side.token), &limits(3), SERVER).unwrap();
    let held = held(&*remote, &made).await;
    assert!(held >= 4 << 20, "{held} bytes are held");
    let sent = upload(&*remote, made.dir(), made.run_id, Verify::Size, &progress).await.unwrap();
    assert_eq!((sent.held_bytes, sent.sent_bytes), (held, made.bytes() - held));
    verify(&*remote, made.run_id, &progress).await.unwrap();
}

fn address(side: &VaultSide, port: u16) -> Address {
    let fingerprint = side.fingerprint.as_deref().unwrap();
    Address::parse(&format!("vault://127.0.0.1:{port}?fingerprint={fingerprint}")).unwrap()
}

fn credentials(token: &str) -> Credentials {
    Credentials { login: String::new(), password: token.to_owned().into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_told_so() {
    let made = Made::new(SERVER, 1, &[("a", 1000)]);
    let progress = UploadProgress::default();
    let side = VaultSide::new(true);
    let by =
        |token: &str, server_id| open(&address(&side, side.port), credentials(token), &limits(2), server_id).unwrap();
    let wrong = by("hunter2", SERVER);
    let error = upload(&*wrong, made.dir(), made.run_id, Verify::Size, &progress).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Credentials && !error.to_string().contains("hunter2"), "{error}");
    let append = by(&side.new_token("append", "append"), SERVER);
    upload(&*append, made.dir(), made.run_id, Verify::Size, &progress).await.unwrap();
    assert_eq!(kind(append.delete(made.run_id).await), ErrorKind::Denied);
    assert_eq!(
        kind(open(&address(&side, side.port), credentials(""), &limits(1), SERVER).map(drop)),
        ErrorKind::Credentials
    );
    let other = Made::new(SERVER, 2, &[("a", 1000)]);
    let reader = by(&side.new_token_of(SERVER, "reader", "read"), SERVER);
    assert_eq!(reader.runs(10, "").await.unwrap().rows.len(), 1);
    assert_eq!(kind(upload(&*reader, other.dir(), other.run_id, Verify::Size, &progress).await), ErrorKind::Denied);
    let third = side.new_token("third", "full");
    assert_eq!(by(&third, Uuid::from_u128(2)).runs(10, "").await.unwrap().rows.len(), 0);
    assert_eq!(kind(by(&third, SERVER).runs(10, "").await), ErrorKind::Credentials, "it belongs to another one");
    let webdav = FarSide::webdav();
    for (login, password, expected) in
        [(LOGIN, "wrong", ErrorKind::Credentials), (READER, PASSWORD, ErrorKind::Credentials)]
    {
        let credentials = Credentials { login: login.into(), password: password.into() };
        let remote = open(&webdav.address(), credentials, &limits(2), SERVER).unwrap();
        let found = kind(upload(&*remote, made.dir(), made.run_id, Verify::Size, &progress).await);
        assert!(found == expected || found == ErrorKind::Denied, "{login}: {found:?}");
    }
}

/// A far side whose disk is full says so, shows no run, and takes it once there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told() {
    if !root() {
        return;
    }
    let made = Made::new(SERVER, 1, &[("a", 2_000_000), ("b", 30_000_000)]);
    let small = Made::new(SERVER, 2, &[("a", 1_000_000)]);
    let far = FarSide::file();
    let far_root = far.data.clone();
    let home = Home::new();
    let vault_root = home.beside("vault");
    // A folder can go once nothing is mounted in it: a side outlives its disk.
    let far_disk = Mount::small_disk(&far_root, 24);
    let vault_disk = Mount::small_disk(&vault_root, 48);
    hand_over(&far_root);
    let vault = VaultSide::at(home, vault_root.clone(), true);
    for (side, disk) in [(Side::Far(far), far_disk), (Side::Vault(vault), vault_disk)] {
        let remote = side.remote(SERVER);
        let filler = match &side {
            Side::Vault(_) => vault_root.join("state/filler"),
            Side::Far(_) => far_root.join("filler"),
        };
        if side.is_vault() {
            std::fs::write(&filler, vec![7; 18 << 20]).unwrap();
        }
        let full = upload(&*remote, made.dir(), made.run_id, Verify::Size, &UploadProgress::default()).await;
        assert_eq!(kind(full), ErrorKind::Full);
        assert!(remote.runs(10, "").await.unwrap().rows.is_empty());
        remote.delete(made.run_id).await.unwrap();
        let _ = std::fs::remove_file(&filler);
        upload(&*remote, small.dir(), small.run_id, Verify::Size, &UploadProgress::default()).await.unwrap();
        assert_eq!(remote.runs(10, "").await.unwrap().rows.len(), 1);
        drop(disk);
    }
}
