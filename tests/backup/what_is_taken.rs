//! What a backup takes and what it leaves out, and that nothing is left out in silence.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Home, small_tree, text};

/// The paths in the newest completed run.
fn taken(home: &Home) -> Vec<String> {
    let entries = home.holdfast(["--json", "ls", "latest"]).run().expect(0).json_lines();
    entries.iter().map(|entry| text(&entry["path"])).collect()
}

#[test]
fn exclude_leaves_out_what_matches() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    fs::create_dir_all(source.join("build/target")).unwrap();
    fs::write(source.join("build/target/x.o"), "x").unwrap();
    fs::write(source.join("build/y.o"), "y").unwrap();
    fs::write(source.join("build/keep.o"), "keep").unwrap();
    home.back_up([
        "source",
        "--exclude",
        "target/",
        "--exclude",
        "*.o",
        "--exclude",
        "!keep.o",
        "--exclude",
        "/etc/deep",
    ]);
    let expected = [
        "source",
        "source/build",
        "source/build/keep.o",
        "source/empty",
        "source/etc",
        "source/etc/hosts",
        "source/etc/zero-length",
        "source/link",
        "source/readme.txt",
    ];
    assert_eq!(taken(&home), expected);
}

#[test]
fn exclude_from_reads_patterns_from_a_file() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    fs::write(home.beside("patterns"), "# not wanted\n\netc/\n*.txt\n").unwrap();
    home.back_up(["source", "--exclude-from", "patterns"]);
    assert_eq!(taken(&home), ["source", "source/empty", "source/link"]);
    home.holdfast(["backup", "source", "--exclude-from", "no-such-file"]).run().expect(2).says("no-such-file");
}

#[test]
fn a_pattern_that_is_none_is_refused() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    home.holdfast(["backup", "source", "--exclude", "[z-a]"]).run().expect(2).says("[z-a]");
    home.holdfast(["backup", "source", "--exclude", "a{b"]).run().expect(2).says("a{b");
    assert!(!home.path().join("backups").exists(), "no run was begun");
}

#[test]
fn one_file_system_stops_at_mounts() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    fs::create_dir(source.join("mounted")).unwrap();
    let mount = "mount -t tmpfs none source/mounted && echo other > source/mounted/other";
    home.holdfast(["backup", "source", "--one-file-system"]).with_mounts(mount).run().expect(0);
    let paths = taken(&home);
    assert!(paths.contains(&"source/mounted".into()) && !paths.contains(&"source/mounted/other".into()), "{paths:?}");

    home.holdfast(["backup", "source"]).with_mounts(mount).run().expect(0);
    assert!(taken(&home).contains(&"source/mounted/other".into()), "without the flag mounts are part of it");
}

#[test]
fn pseudo_file_systems_are_left_out() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    fs::create_dir(source.join("proc")).unwrap();
    let mount = "mount --bind /proc source/proc";
    home.holdfast(["backup", "source"]).with_mounts(mount).run().expect(0).says("pseudo file system");
    let paths = taken(&home);
    assert!(!paths.iter().any(|path| path.starts_with("source/proc/")), "{paths:?}");
}

#[test]
fn home_is_never_part_of_a_backup() {
    let home = Home::new();
    small_tree(&home.beside("tree/source"));
    let inside = home.beside("tree/kept-here");
    for _ in 0..2 {
        home.holdfast(["backup", "tree", "--home"]).arg(&inside).run().expect(0).says("own home");
    }
    let listed = home.holdfast(["--json", "ls", "latest", "--home"]).arg(&inside).run();
    let paths: Vec<_> = listed.expect(0).json_lines().iter().map(|entry| text(&entry["path"])).collect();
    assert!(!paths.iter().any(|path| path.starts_with("tree/kept-here/")), "{paths:?}");

    // By another name too: device and inode count, not the path.
    let bound = "mkdir other-name && mount --bind tree/kept-here other-name";
    let backup = home.holdfast(["backup", "other-name", "--home"]).arg(&inside).with_mounts(bound).run();
    backup.expect(1).says("own home");
}

#[test]
fn a_home_on_the_disk_of_the_source_gets_one_line_that_says_so() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    let backup = home.holdfast(["backup", "source"]).run();
    backup.expect(0);
    let lines = backup.err().lines().filter(|line| line.contains("same file system")).count();
    assert_eq!(lines, 1, "{backup}");
}

#[test]
fn an_empty_folder_fails_unless_it_may_be_empty() {
    let home = Home::new();
    fs::create_dir(home.beside("empty")).unwrap();
    home.holdfast(["backup", "empty"]).run().expect(1).says("SOURCE_EMPTY").says("--allow-empty");
    let run = home.newest_run();
    assert_eq!(home.show(&run)["status"], "failed");
    home.holdfast(["show", "latest"]).run().expect(10);
    home.back_up(["empty", "--allow-empty"]);
    home.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
    assert_eq!(fs::read_dir(home.beside("out/empty")).unwrap().count(), 0);
}

#[test]
fn a_path_that_is_not_there_fails_the_run() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    home.holdfast(["backup", "source", "no-such-folder"]).run().expect(1).says("no-such-folder");
    let run = home.show(&home.newest_run());
    assert_eq!(run["status"], "failed");
    assert!(text(&run["error_summary"]).contains("no-such-folder"), "{run}");
    assert!(text(&run["path"]).starts_with("backups/failed/"), "{run}");
    assert_eq!(home.running_leftovers(), Vec::<std::path::PathBuf>::new());
}

/// A source with one file that cannot be read, and one folder that cannot be listed.
fn with_unreadable(home: &Home) {
    let source = small_tree(&home.beside("source"));
    fs::write(source.join("secret"), "closed\n").unwrap();
    fs::create_dir_all(source.join("closed/inside")).unwrap();
    for path in ["secret", "closed"] {
        fs::set_permissions(source.join(path), fs::Permissions::from_mode(0o000)).unwrap();
    }
}

#[test]
fn what_cannot_be_read_is_a_warning_and_exit_code_3() {
    let home = Home::new();
    with_unreadable(&home);
    let backup = home.holdfast(["backup", "source"]).without_privileges().run();
    backup.expect(3).says("secret").says("closed").says("2 warnings");
    let run = home.show("latest");
    assert_eq!(run["status"], "completed");
    let warnings = &run["participants"][0]["warnings"];
    assert_eq!(warnings["count"], 2, "{warnings}");
    let paths = taken(&home);
    assert!(paths.contains(&"source/etc/hosts".into()) && !paths.contains(&"source/secret".into()), "{paths:?}");
    home.holdfast(["verify", "latest"]).run().expect(0);
    home.holdfast(["show", "latest"]).run().expect(0).says("2 warnings");
    home.holdfast(["runs"]).run().expect(0).says("completed (!)");
}

#[test]
fn strict_turns_a_warning_into_a_failure() {
    let home = Home::new();
    with_unreadable(&home);
    home.holdfast(["backup", "source", "--strict"]).without_privileges().run().expect(1).says("strict");
    let run = home.show(&home.newest_run());
    assert_eq!(run["status"], "failed");
    home.holdfast(["backup", "source", "--strict", "--exclude", "secret", "--exclude", "closed"]).run().expect(0);
}

#[test]
fn a_given_path_that_cannot_be_read_fails_the_run() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    fs::set_permissions(&source, fs::Permissions::from_mode(0o000)).unwrap();
    let backup = home.holdfast(["backup", "source"]).without_privileges().run();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o755)).unwrap();
    backup.expect(1).says("source");
    assert_eq!(home.show(&home.newest_run())["status"], "failed");
}

#[test]
fn a_file_that_vanishes_while_the_backup_runs_is_a_warning() {
    let home = Home::new();
    let source = crate::support::large_tree(&home.beside("source"), 48);
    let last = source.join("zz-last");
    fs::write(&last, "soon gone\n").unwrap();
    let mut backup =
        home.holdfast(["backup", "--json", "source", "--config"]).arg(crate::support::slow_settings(&home)).spawn();
    backup.wait_for_json("bytes", |line| line["progress"]["bytes_done"].as_u64().is_some_and(|bytes| bytes > 0));
    fs::remove_file(&last).unwrap();
    let ended = backup.wait();
    ended.expect(3);
    let warnings = ended.summary()["run"]["participants"][0]["warnings"].clone();
    assert!(warnings["count"] == 1 && warnings["first"].to_string().contains("zz-last"), "{warnings}");
    home.holdfast(["verify", "latest"]).run().expect(0);
}

#[test]
fn a_file_that_shrinks_or_grows_while_it_is_read_is_a_warning() {
    for (change, length, says) in [("shrinks", 1000, "shrank"), ("grows", 50_000_000, "grew")] {
        let home = Home::new();
        let source = home.beside("source");
        fs::create_dir(&source).unwrap();
        let before = crate::support::Random(9).bytes(48_000_000);
        fs::write(source.join(change), &before).unwrap();
        fs::write(source.join("zz-after"), "what follows is not harmed\n").unwrap();
        let settings = crate::support::slow_settings(&home);
        let mut backup = home.holdfast(["backup", "--json", "source", "--config"]).arg(settings).spawn();
        backup.wait_for_json("bytes", |line| line["progress"]["bytes_done"].as_u64().is_some_and(|bytes| bytes > 0));
        fs::File::options().write(true).open(source.join(change)).unwrap().set_len(length).unwrap();
        let ended = backup.wait();
        let warnings = ended.expect(3).summary()["run"]["participants"][0]["warnings"].clone();
        assert!(warnings["count"] == 1 && warnings["first"].to_string().contains(says), "{change}: {warnings}");

        home.holdfast(["verify", "latest"]).run().expect(0);
        home.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
        let stored = fs::read(home.beside("out/source").join(change)).unwrap();
        assert_eq!(stored.len(), before.len(), "as long as it was when it was opened");
        assert!(stored[..1000] == before[..1000]);
        assert_eq!(fs::read_to_string(home.beside("out/source/zz-after")).unwrap(), "what follows is not harmed\n");
    }
}

#[test]
fn paths_are_taken_however_they_are_given() {
    use crate::support::tree::{Tree, raw};
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    let odd = small_tree(&home.beside(raw(b"odd-\xff\n")));
    std::os::unix::fs::symlink("source", home.beside("link")).unwrap();
    fs::create_dir(home.beside(".hidden")).unwrap();
    fs::write(home.beside(".hidden/file"), "x").unwrap();
    let backup = |folder: &std::path::Path, path: &std::path::Path| {
        let finished = home.holdfast(["backup", "--json"]).arg(path).current_dir(folder).run();
        text(&finished.expect(0).summary()["run"]["participants"][0]["name"])
    };
    let beside = home.beside("");
    assert_eq!(backup(&source, ".".as_ref()), "source", "the current folder");
    assert_eq!(taken(&home)[0], "source");
    assert_eq!(backup(&beside, "./source/".as_ref()), "source");
    assert_eq!(backup(&beside, ".hidden".as_ref()), "hidden");
    assert_eq!(taken(&home), [".hidden", ".hidden/file"]);
    assert_eq!(backup(&beside, "link".as_ref()), "link", "a given link is followed");
    home.holdfast(["restore", "latest", "--target", "by-link"]).run().expect(0);
    Tree::read(&source).expect_same(&Tree::read(&home.beside("by-link/link")));

    backup(&beside, &odd);
    home.holdfast(["restore", "latest", "--target", "by-odd-name"]).run().expect(0);
    let restored = home.beside("by-odd-name").join(odd.file_name().unwrap());
    Tree::read(&odd).expect_same(&Tree::read(&restored));
}

#[test]
fn an_unchanged_tree_gives_the_same_bytes() {
    let home = Home::new();
    crate::support::awkward::plant(&home.beside("awkward"));
    let digest = |run: &str| text(&home.show(run)["participants"][0]["artifacts"][0]["content_sha256"]);
    let (first, second) = (home.back_up(["awkward"]), home.back_up(["awkward", "--compression", "zstd:1"]));
    assert_eq!(digest(&first), digest(&second));
}
