//! Artifacts that are streams of their participant's own: listed, written out and restored as the files they are shown as.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::support::tree::Tree;
use crate::support::{Home, Random, small_tree, text};
use holdfast::config::Config;
use holdfast::engine::{self, Backup};
use holdfast::participant::{Artifacts, ParticipantError};
use serde_json::Value;
use std::io::Write;

/// What the module of these tests stores: several frames of one artifact, and a small one.
fn snapshot() -> Vec<u8> {
    let mut bytes = Random(11).bytes(5_000_000);
    bytes.extend(std::iter::repeat_n(b'a', 5_000_000));
    bytes
}

const JOURNAL: &[u8] = b"1 opened\n2 closed\n";

fn write(artifacts: &mut Artifacts, name: &str, bytes: &[u8]) -> Result<(), ParticipantError> {
    let mut sink = artifacts.create(name)?;
    sink.write_all(bytes)?;
    sink.finish()
}

/// A module with two artifacts, one with one, and a participant of files, backed up by an application.
fn backed_up() -> (Home, String) {
    let home = Home::new();
    let tree = small_tree(&home.beside("site"));
    let config = format!("[[participant]]\nname = 'web'\nkind = 'files'\npaths = ['{}']\n", tree.display());
    let config = Config::parse(&config, Path::new("config.toml")).unwrap();
    let run = back_up(&home, config, |builder| {
        builder
            .participant("accounts", |artifacts: &mut Artifacts| {
                write(artifacts, "accounts.snapshot", &snapshot())?;
                write(artifacts, "accounts.journal", JOURNAL)
            })
            .participant("queue", |artifacts: &mut Artifacts| write(artifacts, "queue.state", b"one, two\n"))
    });
    (home, run)
}

/// Has an application of these participants back all of them up, and gives the run's id.
fn back_up(home: &Home, config: Config, with: impl FnOnce(engine::Builder) -> engine::Builder) -> String {
    let engine = with(engine::Holdfast::builder(home.path()).config(config)).start_blocking().unwrap();
    let handle = engine.back_up(Backup::full()).unwrap();
    let run = engine.wait(handle).unwrap();
    engine.stop();
    let view = run.view(false).unwrap();
    assert_eq!(serde_json::to_value(view.status).unwrap(), "completed", "{view:?}");
    view.run_id
}

/// Changes one byte in the middle of a file.
fn damage(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn entry<'a>(entries: &'a [Value], path: &str) -> &'a Value {
    entries.iter().find(|entry| entry["path"] == path).unwrap_or_else(|| panic!("no {path}"))
}

#[test]
fn a_stream_is_listed_as_one_file_and_each_entry_says_whose_it_is() {
    let (home, run) = backed_up();
    let started = home.show(&run)["started_at"].as_i64().unwrap();
    let entries = home.holdfast(["--json", "ls", "latest"]).run().expect(0).json_lines();
    let stream = entry(&entries, "accounts.snapshot");
    assert_eq!(stream["participant"], "accounts");
    assert_eq!((&stream["kind"], &stream["size"]), (&"file".into(), &10_000_000.into()), "{stream}");
    assert_eq!(stream["mode"], 0o600);
    assert_eq!(stream["mtime"][0], started);
    assert_eq!(entry(&entries, "site/etc/hosts")["participant"], "web");
    assert_eq!(entry(&entries, "queue.state")["participant"], "queue");

    let listed = home.holdfast(["ls", "latest"]).run();
    let listed = listed.expect(0).out();
    let line = |path: &str| listed.lines().find(|line| line.ends_with(path)).unwrap().to_owned();
    assert!(line(" accounts.snapshot").starts_with("accounts  -rw------- -"), "{listed}");
    assert!(line(" site/etc/hosts").starts_with("web       -rw"), "{listed}");
    // Of one participant alone it needs no telling.
    let own = home.holdfast(["ls", "latest", "--participant", "queue"]).run();
    assert!(own.expect(0).out().starts_with("-rw-------"), "{}", own.out());
    home.holdfast(["ls", "latest", "queue.state"]).run().expect(0).says("queue.state");
    home.holdfast(["ls", "latest", "queue.state/x"]).run().expect(2);
}

#[test]
fn a_stream_is_dumped_by_its_name_or_by_its_participant() {
    let (home, _) = backed_up();
    let dump = |args: &[&str]| home.holdfast(["dump", "latest"]).args(args).run();
    assert!(dump(&["accounts.snapshot"]).expect(0).stdout == snapshot());
    assert_eq!(dump(&["--participant", "accounts", "accounts.journal"]).expect(0).stdout, JOURNAL);
    assert_eq!(dump(&["--participant", "queue"]).expect(0).stdout, b"one, two\n");
    assert_eq!(dump(&["site/etc/hosts"]).expect(0).out(), "127.0.0.1 localhost\n");
    let several = dump(&["--participant", "accounts"]);
    several.expect(2).says("accounts.snapshot").says("accounts.journal").says("holdfast dump RUN NAME");
    dump(&["--participant", "web"]).expect(2).says("holdfast dump RUN PATH");
    dump(&["--participant", "nobody"]).expect(2).says("nobody");
    dump(&["--participant", "queue", "accounts.journal"]).expect(2);
    dump(&[]).expect(2);
}

#[test]
fn all_compressions_give_a_stream_back() {
    let home = Home::new();
    for method in ["none", "zstd:3", "gzip:2", "brotli:2"] {
        let config = format!("[pipeline]\ncompression = '{method}'\n");
        let config = Config::parse(&config, Path::new("config.toml")).unwrap();
        back_up(&home, config, |builder| {
            builder.participant("accounts", |artifacts: &mut Artifacts| {
                write(artifacts, "accounts.snapshot", &snapshot())?;
                write(artifacts, "accounts.nothing", b"")
            })
        });
        assert!(
            home.holdfast(["dump", "latest", "accounts.snapshot"]).run().expect(0).stdout == snapshot(),
            "{method}"
        );
        let target = home.beside(method.replace(':', "-"));
        home.holdfast(["restore", "latest", "--target"]).arg(&target).run().expect(0);
        assert!(fs::read(target.join("accounts.snapshot")).unwrap() == snapshot(), "{method}");
        assert_eq!(fs::read(target.join("accounts.nothing")).unwrap(), b"");
    }
}

#[test]
fn streams_are_restored_as_files_beside_trees() {
    let (home, run) = backed_up();
    let summary = home.holdfast(["--json", "restore", "latest", "--target", "out"]).run().expect(0).summary();
    assert_eq!(summary["files"].as_u64(), Some(3 + 4), "{summary}");
    assert_eq!(summary["warnings"], 0);
    let file = home.beside("out/accounts.snapshot");
    assert!(fs::read(&file).unwrap() == snapshot());
    assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
    assert_eq!(file.metadata().unwrap().mtime(), home.show(&run)["started_at"].as_i64().unwrap());
    assert_eq!(fs::read(home.beside("out/accounts.journal")).unwrap(), JOURNAL);
    Tree::read(&home.beside("site")).expect_same(&Tree::read(&home.beside("out/site")));
    assert_eq!(fs::read_dir(home.beside("out")).unwrap().count(), 4, "nothing else is in the target");

    // Into an empty folder, and a choice of several participants.
    fs::create_dir(home.beside("some")).unwrap();
    let some = ["--target", "some", "--path", "queue.state", "--path", "site/etc/hosts"];
    home.holdfast(["restore", "latest"]).args(some).run().expect(0);
    assert_eq!(fs::read(home.beside("some/queue.state")).unwrap(), b"one, two\n");
    assert_eq!(fs::read_to_string(home.beside("some/site/etc/hosts")).unwrap(), "127.0.0.1 localhost\n");
    assert_eq!(fs::read_dir(home.beside("some")).unwrap().count(), 2);
    let none = ["--target", "none", "--path", "queue.state", "--path", "nothing.such"];
    home.holdfast(["restore", "latest"]).args(none).run().expect(2).says("nothing.such");
    assert!(!home.beside("none").exists());
}

#[test]
fn what_is_in_the_way_of_a_stream_is_kept_unless_overwriting() {
    let (home, _) = backed_up();
    fs::create_dir(home.beside("out")).unwrap();
    fs::write(home.beside("out/queue.state"), "mine\n").unwrap();
    let linked = home.beside("linked");
    fs::hard_link(home.beside("out/queue.state"), &linked).unwrap();
    let restore = |args: &[&str]| home.holdfast(["restore", "latest", "--target", "out"]).args(args).run();
    restore(&[]).expect(1).says("queue.state").says("--overwrite");
    assert_eq!(fs::read_dir(home.beside("out")).unwrap().count(), 1, "nothing is written");

    restore(&["--overwrite"]).expect(0);
    assert_eq!(fs::read(home.beside("out/queue.state")).unwrap(), b"one, two\n");
    assert_eq!(fs::read_to_string(linked).unwrap(), "mine\n", "a file is replaced as a whole, not written into");
    assert_eq!(fs::read_dir(home.beside("out")).unwrap().count(), 4);

    fs::remove_file(home.beside("out/queue.state")).unwrap();
    fs::create_dir(home.beside("out/queue.state")).unwrap();
    restore(&["--overwrite", "--path", "queue.state"]).expect(1).says("queue.state");
}

#[test]
fn participants_that_would_mix_in_one_folder_are_refused() {
    let home = Home::new();
    fs::create_dir_all(home.beside("srv/shop.dump")).unwrap();
    fs::write(home.beside("srv/shop.dump/notes"), "a folder of that name\n").unwrap();
    let path = home.beside("srv/shop.dump");
    let config = format!("[[participant]]\nname = 'web'\nkind = 'files'\npaths = ['{}']\n", path.display());
    let config = Config::parse(&config, Path::new("config.toml")).unwrap();
    back_up(&home, config, |builder| {
        builder.participant("shop", |artifacts: &mut Artifacts| write(artifacts, "shop.dump", b"rows\n"))
    });
    for more in [&[][..], &["--overwrite"]] {
        let refused = home.holdfast(["restore", "latest", "--target", "out"]).args(more).run();
        refused.expect(1).says("both web and shop have `shop.dump`").says("--participant");
        assert!(!home.beside("out").exists());
    }
    home.holdfast(["restore", "latest", "--target", "out", "--participant", "shop"]).run().expect(0);
    assert_eq!(fs::read(home.beside("out/shop.dump")).unwrap(), b"rows\n");
}

#[test]
fn a_damaged_stream_is_never_taken_for_a_good_one() {
    let (home, run) = backed_up();
    let folder = home.run_dir(&run);
    damage(&folder.join("accounts.snapshot.lz4"));
    let dumped = home.holdfast(["dump", "latest", "accounts.snapshot"]).run();
    dumped.expect(4).says("must not be used");
    assert!(dumped.stdout.len() < 10_000_000);
    for args in [&[][..], &["--path", "accounts.snapshot"]] {
        home.holdfast(["restore", "latest", "--target", "out"]).args(args).run().expect(4);
        assert!(!home.beside("out").exists());
    }
    // Nor into a folder that holds something.
    fs::create_dir(home.beside("held")).unwrap();
    fs::write(home.beside("held/mine"), "").unwrap();
    for args in [&[][..], &["--path", "accounts.snapshot"]] {
        home.holdfast(["restore", "latest", "--target", "held"]).args(args).run().expect(4);
        assert_eq!(fs::read_dir(home.beside("held")).unwrap().count(), 1);
    }
    // The others of the run are as good as before.
    assert_eq!(home.holdfast(["dump", "latest", "queue.state"]).run().expect(0).stdout, b"one, two\n");
}

#[test]
fn the_manifest_and_show_say_what_each_participant_is() {
    let (home, run) = backed_up();
    let manifest: Value = serde_json::from_slice(&fs::read(home.run_dir(&run).join("manifest.json")).unwrap()).unwrap();
    let kinds: Vec<_> = manifest["participants"].as_array().unwrap().iter().map(|one| text(&one["kind"])).collect();
    assert_eq!(kinds, ["files", "module", "module"]);
    let shown = home.holdfast(["show", "latest"]).run();
    shown.expect(0).says("participant web (files, critical): completed");
    shown.says("participant queue (module, critical): completed");
}
