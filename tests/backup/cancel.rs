//! Ctrl-C cancels a backup and says so in the log; a second one stops at once, and the next start settles what is open.

use std::path::PathBuf;

use crate::support::{Home, Running, large_tree, slow_settings, text};
use rustix::process::Signal;

/// A backup that has begun to read and will take a while.
fn under_way(home: &Home) -> Running {
    large_tree(&home.beside("source"), 60);
    let settings = slow_settings(home);
    let mut backup = home.holdfast(["backup", "source", "--json", "--config"]).arg(settings).spawn();
    backup.wait_for_json("bytes", |line| line["progress"]["bytes_done"].as_u64().is_some_and(|bytes| bytes > 0));
    backup
}

#[test]
fn ctrl_c_cancels_a_backup() {
    let home = Home::new();
    let backup = under_way(&home);
    backup.signal(Signal::INT);
    let ended = backup.wait();
    let summary = ended.expect(130).summary();
    assert_eq!(summary["run"]["status"], "cancelled");
    let run = home.show(&home.newest_run());
    assert_eq!(run, summary["run"]);
    assert_eq!(run["participants"][0]["status"], "cancelled");
    assert!(text(&run["path"]).starts_with("backups/failed/"), "{run}");
    assert_eq!(home.running_leftovers(), Vec::<PathBuf>::new());
    let directory = home.path().join(text(&run["path"]));
    let artifacts = std::fs::read_dir(directory)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".tar"));
    assert_eq!(artifacts.count(), 0, "nothing half-written is kept");

    home.holdfast(["resume"]).run().expect(0).says("nothing to resume");
    home.holdfast(["restore", "latest", "--target", "out"]).run().expect(10);
    home.holdfast(["delete", text(&run["run_id"]).as_str()]).run().expect(0);
}

#[test]
fn a_polite_request_to_end_cancels_too() {
    let home = Home::new();
    let backup = under_way(&home);
    backup.signal(Signal::TERM);
    assert_eq!(backup.wait().expect(130).summary()["run"]["status"], "cancelled");
}

#[test]
fn a_second_ctrl_c_stops_at_once_and_the_next_start_settles_it() {
    let home = Home::new();
    large_tree(&home.beside("source"), 60);
    let settings = slow_settings(&home);
    let mut backup = home.holdfast(["backup", "source", "--config"]).arg(&settings).spawn();
    backup.wait_for_note("the phase of writing", |line| line.ends_with("writes artifacts"));
    backup.signal(Signal::INT);
    backup.wait_for_note("the answer to Ctrl-C", |line| line.contains("Ctrl-C again"));
    backup.signal(Signal::INT);
    backup.wait().expect(130);

    let run = home.newest_run();
    let before = home.show(&run);
    assert!(["cancelled", "interrupted"].contains(&text(&before["status"]).as_str()), "{before}");
    let resumed = home.holdfast(["resume"]).run();
    assert!(matches!(resumed.code(), Some(0 | 130)), "{resumed}");
    // The wish to cancel was recorded before the process stopped, so that is how the run ends.
    assert_eq!(home.show(&run)["status"], "cancelled");
    assert_eq!(home.running_leftovers(), Vec::<PathBuf>::new());
    home.holdfast(["resume"]).run().expect(0).says("nothing to resume");
    home.back_up(["source/part-0000.bin"]);
}
