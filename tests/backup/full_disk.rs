//! A full disk fails the run with that reason; reading and deleting go on, and backups too once there is room.

use std::fs;

use serde_json::Value;

use crate::support::kill::{
    events, expect_all_still_there, expect_good, expect_no_leftovers, expect_nothing_to_resume,
};
use crate::support::mount::{Filler, Mount};
use crate::support::{Home, large_tree, small_tree, text};

/// A home on a disk of its own. The mount is dropped before the folder it lies in.
struct SmallDisk {
    _mount: Mount,
    home: Home,
}

impl SmallDisk {
    fn new(mebibytes: u64) -> Self {
        let home = Home::new();
        let mount = Mount::small_disk(&home.path(), mebibytes);
        Self { _mount: mount, home }
    }
}

fn expect_reason(run: &Value) {
    let reason = text(&run["error_summary"]);
    let codes = ["STORAGE_FULL", "NOT_ENOUGH_SPACE", "NO_SPACE", "No space left on device"];
    assert!(codes.iter().any(|code| reason.contains(code)), "the reason is not the full disk: {reason:?}");
}

/// What must go well once there is room, also on a disk that was full before.
fn expect_backups_work(home: &Home) {
    let run = home.back_up(["small"]);
    expect_good(home, &run, &home.beside("small"));
    expect_nothing_to_resume(home);
    expect_no_leftovers(home);
}

#[test]
fn a_backup_that_fills_the_disk_fails_with_that_reason_and_leaves_room() {
    let disk = SmallDisk::new(96);
    let home = &disk.home;
    small_tree(&home.beside("small"));
    large_tree(&home.beside("large"), 120);
    let good = home.back_up(["small"]);

    let failed = home.holdfast(["backup", "large"]).run();

    failed.expect(1);
    let run = home.newest_run();
    let shown = home.show(&run);
    assert_eq!(shown["status"], "failed", "{shown}");
    expect_reason(&shown);
    failed.says(&run).says("STORAGE_FULL");
    home.holdfast(["runs", "--status", "failed"]).run().expect(0).says(&run);
    expect_good(home, &good, &home.beside("small"));
    expect_backups_work(home);
    home.holdfast(["delete", &run]).run().expect(0);
    home.holdfast(["delete", &good]).run().expect(0);
    expect_backups_work(home);
}

#[test]
fn a_backup_for_which_there_is_visibly_no_room_is_refused_before_it_writes() {
    let disk = SmallDisk::new(64);
    let home = &disk.home;
    small_tree(&home.beside("small"));
    large_tree(&home.beside("large"), 80);

    home.holdfast(["backup", "large", "--compression", "none"]).run().expect(1).says("NOT_ENOUGH_SPACE");

    let shown = home.show(&home.newest_run());
    assert_eq!(shown["status"], "failed", "{shown}");
    expect_reason(&shown);
    expect_backups_work(home);
}

#[test]
fn a_disk_that_somebody_else_fills_while_a_backup_runs_fails_the_run_and_loses_nothing() {
    let disk = SmallDisk::new(96);
    let home = &disk.home;
    small_tree(&home.beside("small"));
    large_tree(&home.beside("large"), 30);
    let good = home.back_up(["small"]);
    let mut backup = home.holdfast(["--json", "backup", "large", "--compression", "zstd:12"]).spawn();
    backup.wait_for_json("a participant at work", |line| line["progress"]["phase"] == "backup");
    let filler = Filler::take_all(&home.path());
    let seen = events(home);

    let failed = backup.wait();

    failed.expect(1);
    let run = home.newest_run();
    let shown = home.show(&run);
    assert_eq!(shown["status"], "failed", "the reserve of the log holds its last words: {shown}\n{failed}");
    expect_reason(&shown);
    expect_all_still_there(home, &seen);
    home.holdfast(["show", &run]).run().expect(0);
    home.holdfast(["log", "events"]).run().expect(0);
    home.holdfast(["restore", &good, "--target", "out"]).run().expect(0);
    home.holdfast(["delete", &run]).run().expect(0);
    filler.give_back();
    expect_backups_work(home);
}

#[test]
fn on_a_full_disk_runs_are_listed_and_deleted_and_a_backup_says_why_not() {
    let disk = SmallDisk::new(96);
    let home = &disk.home;
    small_tree(&home.beside("small"));
    large_tree(&home.beside("large"), 10);
    let large = home.back_up(["large"]);
    let small = home.back_up(["small"]);
    let seen = events(home);
    let _filler = Filler::take_all(&home.path());

    let refused = home.holdfast(["backup", "small"]).run();
    refused.expect(1);
    let words = [refused.out(), refused.err()].concat().to_lowercase();
    assert!(words.contains("space") || words.contains("free"), "the reason is not the full disk: {refused}");
    home.holdfast(["runs"]).run().expect(0).says(&large).says(&small);
    home.holdfast(["show", &large]).run().expect(0);
    home.holdfast(["verify", &large]).run().expect(0);

    home.holdfast(["delete", &large]).run().expect(0);

    expect_all_still_there(home, &seen);
    assert_eq!(home.show(&large)["deleted"], true);
    assert!(!home.path().join("backups/completed").join(&large).exists());
    expect_backups_work(home);
}

#[test]
fn a_first_backup_on_a_full_disk_says_so_and_works_once_there_is_room() {
    let disk = SmallDisk::new(64);
    let home = &disk.home;
    small_tree(&home.beside("small"));
    // A home may only be made in a folder that holds nothing else.
    let elsewhere = home.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let root = home.path().join("home");
    let filler = Filler::take_all(&elsewhere);

    let refused = home.holdfast(["backup", "small", "--home"]).arg(&root).run();
    refused.expect(if refused.code() == Some(2) { 2 } else { 1 });
    assert!(!refused.err().contains("panicked"), "{refused}");
    let words = refused.err().to_lowercase();
    assert!(words.contains("space") || words.contains("free"), "the reason is not the full disk: {refused}");

    filler.give_back();
    home.holdfast(["backup", "small", "--home"]).arg(&root).run().expect(0);
    home.holdfast(["verify", "latest", "--home"]).arg(&root).run().expect(0);
}
