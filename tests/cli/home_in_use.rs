//! One home and several processes, or a home that is not as it should be: each gets its turn, or is told what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::kill::{
    events, expect_good, expect_no_leftovers, expect_nothing_to_resume, fingerprint, killed_after,
};
use crate::support::mount::Mount;
use crate::support::tree::Tree;
use crate::support::{Home, Running, large_tree, small_tree, text};

/// A backup that stands still in the middle of its work, and holds the home until it is woken.
fn stopped_backup(home: &Home) -> Running {
    large_tree(&home.beside("large"), 16);
    let mut backup = home.holdfast(["--json", "backup", "large", "--compression", "zstd:9"]).spawn();
    backup.wait_for_json("a participant at work", |line| line["progress"]["phase"] == "backup");
    backup.signal(Signal::STOP);
    backup
}

fn wake(backup: &Running) {
    backup.signal(Signal::CONT);
}

fn set_identity(home: &Home, field: &str, value: &str) {
    let path = home.path().join("home.json");
    let mut identity: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    identity[field] = value.into();
    fs::write(&path, serde_json::to_vec(&identity).unwrap()).unwrap();
}

#[test]
fn two_backups_of_one_home_wait_for_each_other_and_both_complete() {
    let home = Home::new();
    small_tree(&home.beside("small"));
    let first = stopped_backup(&home);
    let mut second = home.holdfast(["--json", "backup", "small"]).spawn();
    assert!(!second.ends_within(Duration::from_millis(500)), "it waits for the first");

    wake(&first);

    let (first, second) = (first.wait(), second.wait());
    let id = |summary: Value| text(&summary["run"]["run_id"]);
    let (first, second) = (id(first.expect(0).summary()), id(second.expect(0).summary()));
    assert_ne!(first, second);
    assert_eq!(home.newest_run(), second, "the later one to begin is the newer one");
    expect_good(&home, &first, &home.beside("large"));
    expect_good(&home, &second, &home.beside("small"));
    expect_nothing_to_resume(&home);
    expect_no_leftovers(&home);
}

#[test]
fn several_backups_at_once_on_a_new_home_all_complete() {
    let home = Home::new();
    let source = small_tree(&home.beside("small"));
    let all: Vec<_> = (0..4).map(|_| home.holdfast(["--json", "backup", "small"]).spawn()).collect();
    let ids: std::collections::BTreeSet<_> =
        all.into_iter().map(|backup| text(&backup.wait().expect(0).summary()["run"]["run_id"])).collect();
    assert_eq!(ids.len(), 4, "each has an id of its own");
    ids.iter().for_each(|run| expect_good(&home, run, &source));
    let created = events(&home).iter().filter(|event| event["type"] == "HomeCreated").count();
    assert_eq!(created, 1);
}

#[test]
fn whoever_does_not_want_to_wait_is_told_who_has_the_home() {
    let home = Home::new();
    small_tree(&home.beside("small"));
    let first = stopped_backup(&home);
    let pid = first.pid().as_raw_nonzero().to_string();

    for args in [&["backup", "small"][..], &["resume"]] {
        let refused = home.holdfast(args).args(["--lock-wait", "0.2"]).run();
        refused.expect(11).says("backup").says(&pid).says("--lock-wait");
    }

    wake(&first);
    first.wait().expect(0);
}

#[test]
fn readers_work_beside_a_running_backup_and_say_so() {
    let home = Home::new();
    let source = small_tree(&home.beside("small"));
    let earlier = home.back_up(["small"]);
    let backup = stopped_backup(&home);
    let running = home.newest_run();
    let before = events(&home);

    assert_eq!(home.runs()[0]["status"], "running");
    home.holdfast(["runs", "--status", "running"]).run().expect(0).says(&running);
    assert_eq!(home.show(&running)["status"], "running");
    home.holdfast(["show", "latest"]).run().expect(0).says(&earlier).says(&running);
    home.holdfast(["ls", "latest"]).run().expect(0).says("small/readme.txt");
    home.holdfast(["dump", "latest", "small/etc/hosts"]).run().expect(0).says("127.0.0.1");
    home.holdfast(["log", "replay", &format!("run/{running}")]).run().expect(0).says("running");
    assert_eq!(events(&home), before, "readers record nothing");
    let target = home.beside("out");
    home.holdfast(["restore", "latest", "--lock-wait", "0.2", "--target"]).arg(&target).run().expect(0);
    Tree::read(&source).expect_same(&Tree::read(&target.join("small")));
    let verify = home.holdfast(["verify", &earlier, "--lock-wait", "0.2"]).run();
    verify.expect(0);
    let delete = home.holdfast(["delete", &earlier, "--lock-wait", "0.2"]).run();
    delete.expect(11);

    wake(&backup);
    let ended = backup.wait();
    assert_eq!(ended.expect(0).summary()["run"]["run_id"], running.as_str());
    expect_good(&home, &running, &home.beside("large"));
}

#[test]
fn a_run_that_is_being_read_is_not_deleted_under_the_reader() {
    let home = Home::new();
    fs::create_dir(home.beside("source")).unwrap();
    let long = "a line of a file that takes long to read\n".repeat(2_000_000);
    fs::write(home.beside("source/long.txt"), &long).unwrap();
    let run = home.back_up(["source"]);
    let mut dump = home.holdfast(["dump", &run, "source/long.txt"]).spawn();
    dump.wait_for_line("the first line", |_| true);
    dump.signal(Signal::STOP);

    let mut delete = home.holdfast(["delete", &run]).spawn();
    assert!(delete.ends_within(Duration::from_secs(30)), "a deletion that cannot be done says so");
    let refused = delete.wait();
    assert!(matches!(refused.code(), Some(1 | 11)), "{refused}");
    refused.says("in use");
    assert_eq!(home.runs().len(), 1, "it is still there");
    home.holdfast(["verify", &run]).run().expect(0);

    dump.signal(Signal::CONT);
    let dumped = dump.wait();
    assert!(dumped.expect(0).out() == long, "all of it was read");
    home.holdfast(["delete", &run]).run().expect(0);
    assert!(home.runs().is_empty());
}

#[test]
fn a_home_on_a_read_only_mount_is_read_and_a_backup_says_what_to_do() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    let run = home.back_up(["source"]);
    let mount = Mount::read_only(&home.path());

    expect_reads_work(&home, &run, &source);
    let refused = home.holdfast(["backup", "source", "--lock-wait", "0.2"]).run();
    assert!(matches!(refused.code(), Some(1 | 2)), "{refused}");
    refused.says("Read-only file system");
    home.holdfast(["delete", &run, "--lock-wait", "0.2"]).run().says("Read-only file system");

    drop(mount);
    home.back_up(["source"]);
}

#[test]
fn a_home_that_this_user_may_not_write_is_read_all_the_same() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    let run = home.back_up(["source"]);
    let chmod = |mode: &str| {
        let done = home.command("chmod", ["-R", mode]).arg(home.path()).run();
        done.expect(0);
    };
    chmod("a-w");
    for command in [["runs", "--quiet"], ["show", "latest"], ["ls", "latest"]] {
        home.holdfast(command).without_privileges().run().expect(0);
    }
    let refused = home.holdfast(["backup", "source"]).without_privileges().run();
    assert!(matches!(refused.code(), Some(1 | 2)), "{refused}");
    refused.says("ermission");
    chmod("u+w");
    home.holdfast(["backup", "source"]).without_privileges().run().expect(0);
    expect_good(&home, &run, &source);
}

/// All that reads works on a home that cannot be written.
fn expect_reads_work(home: &Home, run: &str, source: &std::path::Path) {
    home.holdfast(["runs"]).run().expect(0).says(run);
    home.holdfast(["show", run]).run().expect(0);
    home.holdfast(["ls", run]).run().expect(0).says("source/readme.txt");
    home.holdfast(["dump", run, "source/etc/hosts"]).run().expect(0).says("127.0.0.1");
    home.holdfast(["log", "events"]).run().expect(0);
    home.holdfast(["log", "replay"]).run().expect(0);
    home.holdfast(["verify", run, "--lock-wait", "0.2"]).run().expect(0);
    let target = home.beside("out-of-read-only");
    home.holdfast(["restore", run, "--target"]).arg(&target).run().expect(0);
    Tree::read(source).expect_same(&Tree::read(&target.join("source")));
}

#[test]
fn a_home_that_cannot_be_entered_says_so() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    home.back_up(["source"]);
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o000)).unwrap();
    for command in [&["runs"][..], &["backup", "source"], &["restore", "latest", "--target", "out"]] {
        let refused = home.holdfast(command).without_privileges().run();
        assert!(matches!(refused.code(), Some(1 | 2)), "{refused}");
        refused.says(home.path().to_str().unwrap()).says("ermission");
    }
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    home.holdfast(["runs"]).without_privileges().run().expect(0);
}

#[test]
fn a_home_is_for_its_owner_alone_whatever_the_umask() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    let script = r#"umask 000; exec "$0" backup source"#;
    home.command("sh", ["-c", script, env!("CARGO_BIN_EXE_holdfast")]).run().expect(0);
    for path in fingerprint(&home.path()).into_keys().chain([home.path()]) {
        let mode = path.symlink_metadata().unwrap().permissions().mode();
        // What a library makes is closed by the folder it lies in.
        if path.starts_with(home.path().join("log/store")) {
            continue;
        }
        assert_eq!(mode & 0o077, 0, "{} has mode {:o}", path.display(), mode & 0o7777);
    }
}

#[test]
fn a_home_of_a_newer_program_is_refused_with_the_version_it_needs() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    let run = home.back_up(["source"]);

    set_identity(&home, "min_writer", "7.1.0");
    home.holdfast(["backup", "source"]).run().expect(2).says("7.1.0");
    home.holdfast(["delete", &run]).run().expect(2).says("7.1.0");
    expect_reads_work(&home, &run, &source);

    set_identity(&home, "min_reader", "8.2.0");
    for command in [
        &["runs"][..],
        &["show", "latest"],
        &["backup", "source"],
        &["resume"],
        &["restore", "latest", "--target", "o"],
    ] {
        home.holdfast(command).run().expect(2).says("8.2.0");
    }
    assert!(!home.beside("o").exists());
}

#[test]
fn a_folder_with_something_else_in_it_never_becomes_a_home() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    fs::create_dir(home.path()).unwrap();
    fs::write(home.path().join("letter.txt"), "not a home").unwrap();
    home.holdfast(["backup"]).arg(&source).run().expect(2).says("not empty");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing was put beside what is there");
}

#[test]
fn a_home_inside_what_is_backed_up_is_left_out_by_whatever_way_it_is_reached() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    let inside = source.join("etc/home");
    let way = source.join("way-to-it");
    let at_inside = |args: &[&str]| home.holdfast(args).arg("--home").arg(&inside).run();
    at_inside(&["backup", "source"]).expect(0);
    let _mount = Mount::second_way(&inside, &way);

    at_inside(&["backup", "source"]).expect(0);

    let listed = at_inside(&["ls", "latest"]);
    listed.expect(0).says("source/etc/hosts");
    assert!(!listed.out().contains("home.json") && !listed.out().contains("journal"), "{listed}");
    at_inside(&["restore", "latest", "--target", "out"]).expect(0);
    for path in ["source/etc/home/home.json", "source/etc/home/log", "source/way-to-it/home.json"] {
        assert!(!home.beside("out").join(path).exists(), "{path} was backed up");
    }
}

#[test]
fn a_clock_that_steps_back_keeps_ids_unique_and_order_by_position() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    let back_up = |clock: &str| {
        let finished = home.holdfast(["--json", "backup", "source"]).clock(clock).run();
        text(&finished.expect(0).summary()["run"]["run_id"])
    };
    let ids = [back_up("+0"), back_up("-2d"), back_up("-1d"), back_up("-3d")];

    let mut newest_first: Vec<_> = home.runs().iter().map(|row| text(&row["run_id"])).collect();
    newest_first.reverse();
    assert_eq!(newest_first, ids, "order is that of the log");
    let counters: Vec<_> = ids.iter().map(|id| id.rsplit('-').next().unwrap().to_owned()).collect();
    assert!(counters.is_sorted() && counters[0] != counters[3], "{ids:?}");
    assert!(ids[1] < ids[0], "the clock was taken as it stood: {ids:?}");
    assert_eq!(home.show("latest")["run_id"], ids[3].as_str(), "the newest by position, not by clock");
    ids.iter().for_each(|run| expect_good(&home, run, &source));
    for row in home.runs() {
        assert!(row["finished_at"].as_i64() >= row["started_at"].as_i64(), "{row}");
    }
}

#[test]
fn a_clock_that_steps_back_does_not_fool_the_resume_window() {
    for (began, resumed, completes) in [("+0", "-2d", true), ("+2d", "+0", true), ("-2d", "+0", false)] {
        let scratch = Home::new();
        let source = small_tree(&scratch.beside("source"));
        let home = killed_after("ParticipantStarted", &source, Some(began));
        let run = home.newest_run();
        assert_eq!(home.show(&run)["status"], "interrupted");

        let end = home.holdfast(["resume"]).clock(resumed).run();

        if completes {
            end.expect(0);
            expect_good(&home, &run, &source);
        } else {
            end.expect(1).says("RESUME_WINDOW_PASSED");
            assert_eq!(home.show(&run)["status"], "failed");
        }
        expect_nothing_to_resume(&home);
        expect_no_leftovers(&home);
    }
}
