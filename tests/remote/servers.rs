//! Servers that die in the middle of an upload and come back, whose disk is full, who do not know who asks, or whose certificate has expired:
//! what the program says of it, and that the run here stays as it was.

use std::fs;

use holdfast::endpoints::Credentials;
use holdfast::remote::{Standing, UploadProgress, verify};
use serde_json::Value;
use tokio::task::block_in_place;

use crate::made::files;
use crate::side::{Side, VaultSide};
use crate::support::far::server_id;
use crate::support::far_side::{FarSide, hand_over};
use crate::support::mount::Mount;
use crate::support::tls::{Certificate, TlsWay};
use crate::support::{Home, Random, root};

/// A home whose configuration takes folders with a file of such a length each, as they are.
fn home_of(lengths: &[usize]) -> Home {
    let home = Home::new();
    let mut config = "[pipeline]\ncompression = 'none'\n".to_owned();
    for (number, length) in lengths.iter().enumerate() {
        let folder = home.beside(format!("source-{number}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("bytes"), Random(*length as u64).bytes(*length)).unwrap();
        config += &format!("[[participant]]\nname = 'p{number}'\nkind = 'files'\npaths = ['{}']\n", folder.display());
    }
    fs::create_dir(home.path()).unwrap();
    fs::write(home.path().join("config.toml"), config).unwrap();
    home
}

fn copy(run: &Value) -> Value {
    let rows = run["endpoints"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == "far").unwrap_or_else(|| panic!("no copy: {run}")).clone()
}

/// The server is killed while the second file is on its way, and comes back by the same port: the program goes on by itself, or by the next
/// `upload` where its tries were used up before; and what the server had of the first file it is not sent again.
async fn dies_and_comes_back(mut far: FarSide, tries: u32, after: u64) {
    let home = home_of(&[1_500_000, 6_000_000]);
    let side = Side::Far(far);
    let slow = ["--bandwidth", "2MB", "--streams", "1", "--retry-attempts", &tries.to_string(), "--retry-delay", "1"];
    block_in_place(|| side.add_to(&home, "far", side.port(), &[&slow[..], &["--timeout", "5"]].concat()));
    let Side::Far(back) = side else { panic!("a far side") };
    far = back;
    let run = block_in_place(|| {
        let mut running = home.holdfast(["backup", "--json"]).spawn();
        running.wait_for_json("bytes of the second file", |line| {
            line["message_type"] == "upload" && line["rows"][0]["bytes_done"].as_u64().is_some_and(|done| done > after)
        });
        far.kill();
        let run = home.newest_run();
        running.wait_for_json("a failed try", |line| line["event"]["type"] == "UploadTryFailed");
        let shown = home.show(&run);
        let standing = (&shown["status"], &shown["remote_status"], &shown["good"]);
        assert_eq!(standing, (&"completed".into(), &"uploading".into(), &true.into()), "{shown}");
        if tries == 2 {
            running.wait().expect(3);
            let shown = home.show(&run);
            let row = copy(&shown);
            assert_eq!((&shown["remote_status"], &row["tries"]), (&"failed".into(), &2.into()), "{shown}");
            far.start();
            home.holdfast(["endpoints", "set", "far", "--retry-attempts", "9"]).run().expect(0);
            home.holdfast(["upload", &run]).run().expect(0);
        } else {
            far.start();
            running.wait().expect(0);
        }
        run
    });
    let shown = block_in_place(|| home.show(&run));
    let row = copy(&shown);
    assert_eq!((&shown["remote_status"], &row["status"]), (&"completed".into(), &"uploaded".into()), "{shown}");
    assert!(row["tries"].as_u64().is_some_and(|count| tries == 2 || count > 1), "{row}");
    let (sent, stored) = (row["sent_bytes"].as_u64().unwrap(), row["stored_bytes"].as_u64().unwrap());
    assert!(sent + 1_500_000 <= stored, "the first file was there: {row}");
    let side = Side::Far(far);
    let remote = side.remote(server_id(&home));
    assert_eq!(remote.runs(10, "").await.unwrap().rows.len(), 1);
    verify(&*remote, run.parse().unwrap(), &UploadProgress::default()).await.unwrap();
    block_in_place(|| {
        home.holdfast(["verify", &run]).run().expect(0);
        home.holdfast(["remote", "verify", "far", &run]).run().expect(0);
        drop(side);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_sftp_server_dies_and_comes_back() {
    dies_and_comes_back(FarSide::sftp(), 100, 3_500_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webdav_server_dies_and_comes_back() {
    dies_and_comes_back(FarSide::webdav(), 100, 3_500_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_s3_server_dies_and_comes_back() {
    // It takes its time to come back, and five failures would have it left alone for a minute.
    // It takes long to come back. Of a file in one part nothing counts before it is there: the second one begins once the first and its index are.
    dies_and_comes_back(FarSide::s3(), 2, 1_504_300).await;
}

/// A run that is larger than the disk there: that is told, no run is shown, nothing here changes; once there is room the same run gets there.
async fn is_full(far: FarSide, disk: Mount, tells: &[&str]) {
    let home = home_of(&[2_000_000, 60_000_000]);
    let side = Side::Far(far);
    let flags = ["--retry-attempts", "2", "--retry-delay", "0", "--timeout", "20", "--streams", "1"];
    block_in_place(|| side.add_to(&home, "far", side.port(), &flags));
    let backup = block_in_place(|| home.holdfast(["backup"]).run());
    backup.expect(3);
    let run = block_in_place(|| home.newest_run());
    let shown = block_in_place(|| home.show(&run));
    let row = copy(&shown);
    assert_eq!((&shown["status"], &shown["remote_status"]), (&"completed".into(), &"failed".into()), "{shown}");
    assert!(tells.iter().any(|code| row["error_code"] == *code), "{row}");
    let before = files(&block_in_place(|| home.run_dir(&run)));
    let remote = side.remote(server_id(&home));
    assert!(remote.runs(10, "").await.unwrap().rows.is_empty(), "no run is shown");
    assert!(matches!(remote.standing(run.parse().unwrap()).await.unwrap(), Standing::Open(_)));
    disk.grow(300);
    block_in_place(|| {
        home.holdfast(["upload", &run, "--to", "far"]).run().expect(0);
        home.holdfast(["remote", "verify", "far", &run]).run().expect(0);
        home.holdfast(["verify", &run]).run().expect(0);
        assert!(files(&home.run_dir(&run)) == before);
        drop(disk);
        drop(side);
    });
}

/// A disk for the data of a server that has none of its own open yet. A folder can go once nothing is mounted in it: a side outlives its disk.
fn on_a_small_disk(far: FarSide) -> (FarSide, Mount) {
    let disk = Mount::small_disk(&far.data, 48);
    hand_over(&far.data);
    (far, disk)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_an_sftp_server_is_full() {
    if root() {
        let (far, disk) = on_a_small_disk(FarSide::sftp());
        is_full(far, disk, &["REMOTE_FULL"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_a_webdav_server_is_full() {
    if root() {
        let (far, disk) = on_a_small_disk(FarSide::webdav());
        is_full(far, disk, &["REMOTE_FULL"]).await;
    }
}

/// SeaweedFS has no word for a full disk: it is an error of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_an_s3_server_is_full() {
    if root() {
        let mut disk = None;
        let far = FarSide::s3_in(|data| disk = Some(Mount::small_disk(data, 48)));
        is_full(far, disk.unwrap(), &["REMOTE_UNAVAILABLE"]).await;
    }
}

/// Whoever is not known there, or not allowed, is told so at once, and is not tried again.
#[test]
fn who_is_not_known_there_is_told_so() {
    let home = home_of(&[10_000]);
    let sides = [Side::vault(true), Side::Far(FarSide::sftp()), Side::Far(FarSide::webdav()), Side::Far(FarSide::s3())];
    let run = home.back_up([""; 0]);
    for (number, side) in sides.into_iter().enumerate() {
        let name = format!("far-{number}");
        let Credentials { login, .. } = side.credentials();
        let mut url = side.url_by(side.port());
        if let Side::Far(far) = &side
            && url.starts_with("sftp")
        {
            url = url.replace(&far.beside("id").display().to_string(), &far.beside("stranger").display().to_string());
        }
        let wrong = home.beside(format!("{name}-password"));
        fs::write(&wrong, "hunter2-hunter2").unwrap();
        let add = ["endpoints", "add", &name, "--url", &url, "--plaintext", "true", "--retry-attempts", "5"];
        let mut add = home.holdfast(add).args(["--retry-delay", "0"]);
        if !login.is_empty() {
            add = add.args(["--login", &login]);
        }
        if !url.starts_with("sftp") {
            add = add.arg("--password-file").arg(&wrong);
        }
        add.run().expect(0);
        let upload = home.holdfast(["upload", &run, "--to", &name]).run();
        upload.expect(1);
        assert!(!upload.err().contains("hunter2"), "{upload}");
        let shown = home.show(&run);
        let row = shown["endpoints"].as_array().unwrap().iter().find(|row| row["name"] == *name).unwrap().clone();
        assert_eq!((&row["error_code"], &row["tries"]), (&"REMOTE_CREDENTIALS".into(), &1.into()), "{url}: {row}");
        assert_eq!((&shown["status"], &shown["good"]), (&"completed".into(), &true.into()), "{shown}");
    }
    home.holdfast(["verify", &run]).run().expect(0);
}

/// A certificate that is not valid any more is refused by name and date, before anything is said; the renewed one is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_refused() {
    let home = home_of(&[100_000]);
    let (expired, valid) = (Certificate::until(2021, &home.beside("")), Certificate::until(2100, &home.beside("")));
    let run = block_in_place(|| home.back_up([""; 0]));
    let (webdav, s3) = (FarSide::webdav(), FarSide::s3());
    let mut vault = VaultSide::new(true);
    let add = |name: &str, url: &str, login: &str, password: &str| {
        let file = home.beside(format!("{name}-password"));
        fs::write(&file, password).unwrap();
        let flags = ["--url", url, "--plaintext", "true", "--retry-attempts", "3", "--retry-delay", "0"];
        let add = home.holdfast(["endpoints", "add", name]).args(flags).arg("--password-file").arg(file);
        block_in_place(|| if login.is_empty() { add } else { add.args(["--login", login]) }.run()).expect(0);
    };
    let refused = |name: &str| {
        let upload = block_in_place(|| home.holdfast(["upload", &run, "--to", name]).run());
        upload.expect(1).says("REMOTE_CREDENTIALS").says("expired at 2021-01-01T00:00:00Z").says("certificate");
        let shown = block_in_place(|| home.show(&run));
        let row = shown["endpoints"].as_array().unwrap().iter().find(|row| row["name"] == *name).unwrap().clone();
        assert_eq!((&row["status"], &row["tries"]), (&"failed".into(), &1.into()), "{row}");
        upload.err()
    };
    let taken = |name: &str| {
        block_in_place(|| home.holdfast(["upload", &run, "--to", name]).run()).expect(0);
        block_in_place(|| home.holdfast(["remote", "verify", name, &run]).run()).expect(0);
    };
    let flags = |certificate: &Certificate| {
        [("--tls-cert", &certificate.cert), ("--tls-key", &certificate.key)]
            .map(|(flag, path)| [flag.to_owned(), path.display().to_string()])
            .concat()
    };
    let serve = |vault: &mut VaultSide, certificate: &Certificate, port| {
        let flags = flags(certificate);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        block_in_place(|| {
            vault.kill();
            vault.serve_with(port, &flags);
        });
    };
    serve(&mut vault, &expired, 0);
    let fingerprint = vault.fingerprint.clone().unwrap();
    let by = |ca: &Certificate, port| format!("vault://localhost:{port}/?ca_file={}", ca.ca.display());
    add("vault", &by(&expired, vault.port), "", &vault.token);
    let told = refused("vault");
    assert!(told.contains(&format!("sha256:{fingerprint}")), "{told}");
    let port = vault.port;
    serve(&mut vault, &valid, port);
    let set = ["endpoints", "set", "vault", "--url", &by(&valid, port)];
    let password = home.beside("vault-password");
    block_in_place(|| home.holdfast(set).arg("--password-file").arg(&password).run()).expect(0);
    taken("vault");

    for far in [webdav, s3] {
        let Credentials { login, password } = far.credentials();
        let password = secrecy::ExposeSecret::expose_secret(&password).to_owned();
        let kind = far.url.split_once(':').unwrap().0.to_owned();
        for (certificate, is_good) in [(&expired, false), (&valid, true)] {
            let way = TlsWay::to(far.port, certificate).await;
            let url = far.url_by(way.port).replace("webdav:", "webdavs:").replace("http://", "https://");
            let url = url.replace("127.0.0.1", "localhost");
            let separator = if url.contains('?') { '&' } else { '?' };
            let name = format!("{kind}-{is_good}");
            add(&name, &format!("{url}{separator}ca_file={}", certificate.ca.display()), &login, &password);
            if is_good {
                // Apache does not know that it is spoken to with TLS, and takes whole URLs for those of another server.
                taken(&name);
                assert!(way.told() > 100_000);
            } else {
                let told = refused(&name);
                assert!(told.contains("the certificate of localhost"), "{told}");
                assert_eq!(way.told(), 0, "nothing is said to it");
            }
        }
        block_in_place(|| drop(far));
    }
    block_in_place(|| home.holdfast(["verify", &run]).run()).expect(0);
    block_in_place(|| drop(vault));
}
