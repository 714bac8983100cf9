//! What is in a home is not lost to a command that means something else, and nothing small in it keeps the rest from working.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::kill::{events, expect_good, killed_after};
use crate::support::mount::Mount;
use crate::support::{Home, small_tree};

#[test]
fn a_restore_never_writes_into_the_home() {
    let home = Home::new();
    small_tree(&home.beside("log"));
    home.back_up(["log"]);
    let before = events(&home);
    for target in ["home", "home/new", "home/backups", "home/log"] {
        home.holdfast(["restore", "latest", "--overwrite", "--target", target])
            .run()
            .expect(2)
            .says("outside of the home");
    }
    std::os::unix::fs::symlink(home.path(), home.beside("way")).unwrap();
    home.holdfast(["restore", "latest", "--overwrite", "--target", "way"]).run().expect(2);
    assert_eq!(events(&home), before, "nothing was begun");
}

#[test]
fn a_restore_around_the_home_does_not_lead_into_it() {
    let home = Home::new();
    let name = home.path().file_name().unwrap().to_owned();
    let other = Home::new();
    small_tree(&other.beside(&name));
    other.holdfast(["backup"]).arg(other.beside(&name)).arg("--home").arg(home.path()).run().expect(0);
    let around = home.path().parent().unwrap().to_owned();
    let before = events(&home);
    home.holdfast(["restore", "latest", "--overwrite", "--target"])
        .arg(&around)
        .run()
        .expect(2)
        .says("leads into the home");
    assert_eq!(events(&home), before);
}

#[test]
fn a_home_whose_log_is_gone_is_not_begun_anew_over_its_runs() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    let run = home.back_up(["source"]);
    let aside = home.beside("log-aside");
    fs::rename(home.path().join("log"), &aside).unwrap();
    for args in [&["runs"][..], &["backup", "source"], &["verify", "--all"]] {
        home.holdfast(args).run().expect(1).says("put it back from a copy");
    }
    let _ = fs::remove_dir_all(home.path().join("log"));
    fs::rename(aside, home.path().join("log")).unwrap();
    expect_good(&home, &run, &source);
}

#[test]
fn a_home_made_by_hand_is_closed_to_others() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    fs::create_dir_all(home.path()).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    home.back_up(["source"]);
    assert_eq!(home.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn an_old_run_that_ends_badly_does_not_keep_a_new_one_from_being_made() {
    let scratch = Home::new();
    let source = small_tree(&scratch.beside("source"));
    let home = killed_after("ParticipantStarted", &source, Some("-2d"));
    let finished = home.holdfast(["backup", "source"]).run();
    // Good itself, and yet somebody has to hear of the other one.
    finished.expect(3).says("RESUME_WINDOW_PASSED");
    let statuses: Vec<_> = home.runs().iter().map(|row| row["status"].clone()).collect();
    assert_eq!(statuses, ["completed", "failed"]);
}

#[test]
fn what_cannot_be_unlinked_keeps_nothing_else_from_working() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    let first = home.back_up(["source"]);
    let stuck = home.path().join("backups/.deleting").join(&first).join("mounted");
    fs::create_dir_all(&stuck).unwrap();
    let mounted = Mount::small_disk(&stuck, 1);
    let second = home.back_up(["source"]);
    home.holdfast(["delete", &second]).run().expect(0);
    expect_good(&home, &first, &source);
    drop(mounted);
    home.back_up(["source"]);
    assert!(!stuck.exists(), "it goes once it can");
}

#[test]
fn a_run_that_cannot_be_deleted_says_why_at_once_and_is_kept() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    let run = home.back_up(["source"]);
    let directory = home.run_dir(&run);
    // A mount point cannot be renamed.
    let mounted = Mount::second_way(&directory, &directory);
    home.holdfast(["delete", &run]).run().expect(1).says("could not be deleted, and is kept");
    drop(mounted);
    expect_good(&home, &run, &source);
    home.holdfast(["delete", &run]).run().expect(0);
}

#[test]
fn a_wrong_command_line_is_told_as_json_with_json() {
    let home = Home::new();
    for args in [&["show", "nope", "--json"][..], &["--json", "bogus"], &["--json", "runs", "--limit", "0"]] {
        let told = home.holdfast(args).run().expect(2).json();
        assert_eq!((&told["message_type"], &told["exit_code"]), (&"error".into(), &2.into()), "{told}");
    }
}
