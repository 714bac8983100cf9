//! Artifacts that go to far sides while they are written: beside the disk, and instead of it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::copies::way;
use crate::side::{Side, VaultSide};
use crate::support::far::server_id;
use crate::support::far_side::FarSide;
use crate::support::mount::Mount;
use crate::support::proxy::Proxy;
use crate::support::{Home, Random, text};

/// A home with a configuration: the far sides `(name, URL, login, password file)`, and what a shell says as the only participant.
struct Setup {
    home: Home,
    config: PathBuf,
}

impl Setup {
    fn new(runs: &str, sides: &[(&str, &Side, Option<u16>)], script: &str, more: &str) -> Self {
        let home = Home::new();
        let mut text = format!("[runs]\n{runs}\nretry_delay = \"0s\"\n[pipeline]\ncompression = \"none\"\n");
        for (name, side, port) in sides {
            let (mut url, flags) = way(side, &home);
            if let Some(port) = port {
                url = url.replace(&format!(":{}", side.port()), &format!(":{port}"));
                if let Side::Far(far) = side {
                    // An SFTP server is known by its port, too.
                    far.address_by(*port);
                }
            }
            let of = |flag: &str| flags.iter().position(|one| one == flag).map(|at| flags[at + 1].clone());
            text.push_str(&format!(
                "[[endpoint]]\nname = \"{name}\"\nurl = \"{url}\"\nplaintext = true\nretry_delay = \"0s\"\n"
            ));
            text.push_str("timeout = \"5s\"\n");
            text.push_str(more);
            if let Some(login) = of("--login") {
                text.push_str(&format!("login = \"{login}\"\n"));
            }
            if let Some(password) = of("--password-file") {
                let own = home.beside(format!("password-of-{name}"));
                fs::copy(password, &own).unwrap();
                text.push_str(&format!("password_file = \"{}\"\n", own.display()));
            }
        }
        let data = home.beside("data");
        let script = format!("cd '{}'; {script}", home.beside("").display());
        fs::write(&data, Random(3).bytes(30_000_000)).unwrap();
        text.push_str(&format!(
            "[[participant]]\nname = \"db\"\nkind = \"command\"\nartifact = \"db.dump\"\ncommand = [\"sh\", \"-c\", {script:?}]\n"
        ));
        let config = home.beside("config.toml");
        fs::write(&config, text).unwrap();
        Self { home, config }
    }

    fn backup(&self) -> crate::support::Invocation {
        self.home.holdfast(["backup", "--json", "--config"]).arg(&self.config)
    }

    fn shown(&self) -> Value {
        self.home.show(&self.home.newest_run())
    }

    fn at(&self, name: &str) -> Value {
        let shown = self.shown();
        let rows = shown["endpoints"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{shown}")).clone()
    }

    /// The run at an endpoint is whole, and what was dumped is in it.
    fn is_there(&self, name: &str) {
        let run = self.home.newest_run();
        let config = self.config.to_str().unwrap();
        self.home.holdfast(["remote", "verify", name, &run, "--config", config]).run().expect(0);
        let listed = self.home.json(["remote", "list", name, "--config", config]);
        assert_eq!(listed["rows"].as_array().unwrap().len(), 1, "{listed}");
        self.home.holdfast(["delete", &run, "--config", config]).run();
        self.home.holdfast(["remote", "import", name, &run, "--config", config]).run().expect(0);
        let dumped = self.home.holdfast(["dump", &run, "db.dump", "--config", config]).run();
        dumped.expect(0);
        assert!(dumped.stdout == fs::read(self.home.beside("data")).unwrap(), "the bytes are the bytes");
    }
}

/// Bytes of all files below a folder.
fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_below(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

const NONE: &str = "staging = \"none\"\nmax_tries = 1";
const CAT: &str = "cat data";

fn staged_nowhere(side: &Side) {
    let setup = Setup::new(NONE, &[("far", side, None)], CAT, "");
    let summary = setup.backup().run();
    summary.expect(0);
    let shown = setup.shown();
    assert_eq!((&shown["status"], &shown["good"], &shown["path"]), (&"completed".into(), &true.into(), &"".into()));
    assert_eq!(setup.at("far")["status"], "uploaded");
    assert!(bytes_below(&setup.home.path().join("backups")) < 1_000_000, "nothing of it was written here");
    setup.is_there("far");
}

#[test]
fn staged_nowhere_to_a_folder() {
    staged_nowhere(&Side::Far(FarSide::file()));
}

#[test]
fn staged_nowhere_to_a_vault() {
    staged_nowhere(&Side::vault(true));
}

#[test]
fn staged_nowhere_to_sftp() {
    staged_nowhere(&Side::Far(FarSide::sftp()));
}

#[test]
fn staged_nowhere_to_webdav() {
    staged_nowhere(&Side::Far(FarSide::webdav()));
}

#[test]
fn staged_nowhere_to_s3() {
    staged_nowhere(&Side::Far(FarSide::s3()));
}

/// The machine's own disk has no room for what is backed up, and the memory does not grow with it.
#[test]
fn a_machine_without_the_room_backs_up_all_the_same() {
    let side = Side::vault(false);
    let script = "head -c 500000000 /dev/zero | tr '\\0' x";
    let setup = Setup::new(NONE, &[("far", &side, None)], script, "");
    // The log takes its ballast of it.
    let disk = Mount::small_disk(&setup.home.path(), 200);
    let mut running = setup.backup().spawn();
    let status = format!("/proc/{}/status", running.pid().as_raw_nonzero());
    running.wait_for_json("most of it was written", |line| {
        line["progress"]["bytes_done"].as_u64().is_some_and(|done| done > 400_000_000)
    });
    let status = fs::read_to_string(status).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 200_000, "{peak} kB in memory");
    running.wait().expect(0);
    let run = setup.home.newest_run();
    let config = setup.config.to_str().unwrap();
    setup.home.holdfast(["remote", "verify", "far", &run, "--config", config]).run().expect(0);
    assert_eq!(setup.at("far")["stored_bytes"].as_u64().unwrap() / 1_000_000, 500);
    drop(disk);
}

/// One endpoint breaks in the middle: the other has the run, which is good where one is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_that_breaks_costs_its_copy_and_not_the_run() {
    let (broken, sound) = (Side::Far(FarSide::webdav()), Side::vault(true));
    let proxy = Proxy::to(broken.port()).await;
    proxy.break_after(10_000_000);
    let runs = format!("{NONE}\nrequire_endpoints = \"any\"");
    let setup = Setup::new(&runs, &[("broken", &broken, Some(proxy.port)), ("sound", &sound, None)], CAT, "");
    tokio::task::block_in_place(|| {
        setup.backup().run();
        let shown = setup.shown();
        assert_eq!((&shown["status"], &shown["good"]), (&"completed".into(), &true.into()), "{shown}");
        assert_eq!(shown["remote_status"], "partial");
        assert_eq!(
            (&setup.at("broken")["status"], &setup.at("sound")["status"]),
            (&"failed".into(), &"uploaded".into())
        );
        setup.is_there("sound");
    });
}

/// Where none has it, the run has failed, and nothing says otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_no_endpoint_has_did_not_complete() {
    let side = Side::vault(false);
    let proxy = Proxy::to(side.port()).await;
    proxy.break_after(10_000_000);
    let setup = Setup::new(NONE, &[("far", &side, Some(proxy.port))], CAT, "retry_attempts = 1\n");
    tokio::task::block_in_place(|| {
        setup.backup().run().expect(1);
        let shown = setup.shown();
        assert_eq!((&shown["status"], &shown["good"]), (&"failed".into(), &false.into()), "{shown}");
        assert!(shown.to_string().contains("ARTIFACT_NOT_TAKEN"), "{shown}");
    });
    proxy.mend();
    tokio::task::block_in_place(|| {
        setup.backup().run().expect(0);
        setup.is_there("far");
    });
}

/// What came to far sides of a run that failed in the end is gone with it: it would take room there that counts.
#[test]
fn a_run_that_failed_leaves_nothing_at_its_far_sides() {
    let (folder, vault) = (Side::Far(FarSide::file()), Side::vault(false));
    let sides: [(&str, &Side, Option<u16>); 2] = [("folder", &folder, None), ("vault", &vault, None)];
    for runs in [NONE, "max_tries = 1"] {
        let script = "cat data; echo done >&2; while [ ! -e go ]; do sleep 0.05; done; exit 1";
        let setup = Setup::new(runs, &sides, script, "stream = true\n");
        let files = "[[participant]]\nname = \"files\"\nkind = \"files\"\npaths = [\"data\"]\n";
        let config = fs::read_to_string(&setup.config).unwrap();
        fs::write(
            &setup.config,
            format!("{config}{}", files.replace("\"data\"", &format!("{:?}", setup.home.beside("data")))),
        )
        .unwrap();
        let mut running = setup.backup().spawn();
        running.wait_for_json("all of it was written", |line| {
            line["progress"]["bytes_done"].as_u64().is_some_and(|done| done >= 60_000_000)
        });
        fs::write(setup.home.beside("go"), "").unwrap();
        running.wait().expect(1);
        let run = setup.home.newest_run();
        let shown = setup.home.show(&run);
        assert_eq!((&shown["status"], &shown["remote_status"]), (&"failed".into(), &"none".into()), "{shown}");
        let config = setup.config.to_str().unwrap();
        setup.home.holdfast(["verify", &run, "--config", config]).run().expect(0);
        let kept =
            shown["participants"].as_array().unwrap().iter().any(|one| one["artifacts"] != serde_json::json!([]));
        assert_eq!(kept, runs != NONE, "{shown}");
        for side in [&folder, &vault] {
            let left = bytes_below(&side.data(server_id(&setup.home)));
            assert!(left < 1_000_000, "{left} bytes are left of a run with {runs:?}");
        }
    }
}

/// A participant is tried again with all that the endpoints have of it thrown away.
#[test]
fn a_second_try_replaces_what_the_first_one_sent() {
    for (side, runs) in [
        (Side::Far(FarSide::file()), "staging = \"none\"\nmax_tries = 2"),
        (Side::vault(false), "staging = \"none\"\nmax_tries = 2"),
        (Side::Far(FarSide::file()), "max_tries = 2"),
        (Side::vault(false), "max_tries = 2"),
    ] {
        // As many bytes, and others.
        let script =
            "if [ -e tried ]; then cat data; else touch tried; tr '\\0-\\377' '\\1-\\377\\0' < data; exit 1; fi";
        let setup = Setup::new(runs, &[("far", &side, None)], script, "stream = true\n");
        setup.backup().run().expect(0);
        assert_eq!(setup.at("far")["status"], "uploaded", "{runs}");
        setup.is_there("far");
    }
}

/// Killed in the middle, the run begins anew, and what was sent of the first attempt is not taken for the second one's.
#[test]
fn a_kill_in_the_middle_begins_anew() {
    for runs in ["staging = \"none\"", ""] {
        for side in [Side::Far(FarSide::file()), Side::vault(false)] {
            let script =
                "if [ -e tried ]; then cat data; else touch tried; tr '\\0-\\377' '\\1-\\377\\0' < data; sleep 600; fi";
            let setup = Setup::new(runs, &[("far", &side, None)], script, "stream = true\n");
            let mut running = setup.backup().spawn();
            running.wait_for_json("most of it was written", |line| {
                line["progress"]["bytes_done"].as_u64().is_some_and(|done| done >= 30_000_000)
            });
            running.kill();
            setup.home.holdfast(["resume", "--config"]).arg(&setup.config).run().expect(0);
            assert_eq!(setup.shown()["status"], "completed");
            assert_eq!(setup.at("far")["status"], "uploaded", "{runs}");
            setup.is_there("far");
        }
    }
}

/// The bytes are on their way before the participant has said its last one, and are not sent again at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_follows_what_is_being_written() {
    for side in [Side::vault(true), Side::Far(FarSide::sftp()), Side::Far(FarSide::s3()), Side::Far(FarSide::webdav())]
    {
        let proxy = Proxy::to(side.port()).await;
        let script = "cat data; while [ ! -e go ]; do sleep 0.05; done";
        let setup = Setup::new("max_tries = 1", &[("far", &side, Some(proxy.port))], script, "stream = true\n");
        // S3 has parts of 16 MiB, the last two of which wait for more.
        fs::write(setup.home.beside("data"), Random(4).bytes(60_000_000)).unwrap();
        let mut running = setup.backup().spawn();
        // All but the last pieces: what is held back, and what waits for a part to be full.
        proxy.carried(14_000_000).await;
        fs::write(setup.home.beside("go"), "").unwrap();
        tokio::task::block_in_place(|| {
            running.wait_for_json("its end", |line| line["message_type"] == "summary");
            running.wait().expect(0);
        });
        let row = setup.at("far");
        let (sent, stored) = (row["sent_bytes"].as_u64().unwrap(), row["stored_bytes"].as_u64().unwrap());
        assert!(row["status"] == "uploaded" && stored > 60_000_000 && sent < 1_000_000, "{row}");
        let carried = proxy.mend();
        assert!(carried < 66_000_000, "{carried} bytes went");
        let shown = setup.shown();
        assert!(!text(&shown["path"]).is_empty(), "it stays here, too: {shown}");
        tokio::task::block_in_place(|| setup.is_there("far"));
    }
}

/// What breaks while it is followed is sent after the publish, to a vault from the byte where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_on_the_way_is_sent_afterwards() {
    let side = VaultSide::new(true);
    let side = Side::Vault(side);
    let proxy = Proxy::to(side.port()).await;
    let script = "cat data; while [ ! -e go ]; do sleep 0.05; done";
    let setup =
        Setup::new("max_tries = 1", &[("far", &side, Some(proxy.port))], script, "stream = true\nretry_attempts = 2\n");
    proxy.break_after(20_000_000);
    let running = setup.backup().spawn();
    proxy.broken().await;
    fs::write(setup.home.beside("go"), "").unwrap();
    tokio::task::block_in_place(|| {
        running.wait().expect(3);
        let shown = setup.shown();
        assert_eq!((&shown["status"], &shown["remote_status"]), (&"completed".into(), &"failed".into()), "{shown}");
        assert!(proxy.mend() >= 20_000_000);
        setup.home.holdfast(["upload", "latest", "--to", "far", "--config"]).arg(&setup.config).run().expect(0);
        let row = setup.at("far");
        assert!(row["status"] == "uploaded" && row["sent_bytes"].as_u64().unwrap() < 15_000_000, "{row}");
        setup.is_there("far");
    });
    let carried = proxy.mend();
    assert!(carried < 20_000_000, "it went on by the byte: {carried} bytes more");
}
