//! Where a restore goes: it looks before it writes, replaces nothing unasked, and is whole or not there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::support::tree::Tree;
use crate::support::{Finished, Home, Random, small_tree};

/// A home with one completed run of the small tree `source`.
fn backed_up() -> Home {
    let home = Home::new();
    small_tree(&home.beside("source"));
    home.back_up(["source"]);
    home
}

/// The names beside the home: what a restore leaves beside its target.
fn beside(home: &Home) -> Vec<String> {
    let entries = fs::read_dir(home.beside("")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn into_a_folder_that_is_not_there() {
    let home = backed_up();
    let before = beside(&home);
    home.holdfast(["restore", "latest", "--target", "not/yet/there"]).run().expect(0);
    Tree::read(&home.beside("source")).expect_same(&Tree::read(&home.beside("not/yet/there/source")));
    let mut after = before;
    after.push("not".into());
    after.sort();
    assert_eq!(beside(&home), after, "nothing else is left beside the target");
    assert_eq!(fs::read_dir(home.beside("not/yet")).unwrap().count(), 1);
}

#[test]
fn into_an_empty_folder() {
    let home = backed_up();
    fs::create_dir(home.beside("out")).unwrap();
    fs::set_permissions(home.beside("out"), fs::Permissions::from_mode(0o750)).unwrap();
    home.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
    Tree::read(&home.beside("source")).expect_same(&Tree::read(&home.beside("out/source")));
    assert_eq!(
        home.beside("out").metadata().unwrap().mode() & 0o7777,
        0o750,
        "the folder that was there keeps its mode"
    );
}

#[test]
fn beside_what_a_folder_holds_already() {
    let home = backed_up();
    fs::create_dir_all(home.beside("out/other")).unwrap();
    fs::write(home.beside("out/other/mine"), "mine\n").unwrap();
    home.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
    Tree::read(&home.beside("source")).expect_same(&Tree::read(&home.beside("out/source")));
    assert_eq!(fs::read_to_string(home.beside("out/other/mine")).unwrap(), "mine\n");
}

#[test]
fn what_is_in_the_way_is_named_and_nothing_is_written() {
    let home = backed_up();
    fs::create_dir_all(home.beside("out/source/etc")).unwrap();
    fs::write(home.beside("out/source/etc/hosts"), "mine\n").unwrap();
    let before = Tree::read(&home.beside("out"));
    let refused = home.holdfast(["restore", "latest", "--target", "out"]).run();
    refused.expect(1).says("source/etc/hosts").says("--overwrite");
    before.expect_same(&Tree::read(&home.beside("out")));
}

#[test]
fn overwrite_replaces_files_and_leaves_the_rest() {
    let home = backed_up();
    fs::create_dir_all(home.beside("out/source/etc")).unwrap();
    fs::write(home.beside("out/source/etc/hosts"), "mine\n").unwrap();
    fs::write(home.beside("out/source/etc/more"), "not in the backup\n").unwrap();
    let linked = home.beside("out/linked");
    fs::hard_link(home.beside("out/source/etc/hosts"), &linked).unwrap();
    symlink("/etc/hostname", home.beside("out/source/readme.txt")).unwrap();
    home.holdfast(["restore", "latest", "--target", "out", "--overwrite"]).run().expect(0);

    let restored = Tree::read(&home.beside("out/source"));
    assert_eq!(fs::read_to_string(home.beside("out/source/etc/more")).unwrap(), "not in the backup\n");
    Tree::read(&home.beside("source")).expect_same(&restored.without(&["etc/more"]));
    assert_eq!(fs::read_to_string(linked).unwrap(), "mine\n", "a file is replaced as a whole, not written into");
}

#[test]
fn a_folder_is_never_replaced_by_a_file_nor_the_other_way_round() {
    for kind in ["folder for a file", "file for a folder"] {
        let home = backed_up();
        if kind == "folder for a file" {
            fs::create_dir_all(home.beside("out/source/readme.txt/mine")).unwrap();
        } else {
            fs::create_dir_all(home.beside("out/source")).unwrap();
            fs::write(home.beside("out/source/etc"), "mine\n").unwrap();
        }
        let before = Tree::read(&home.beside("out"));
        home.holdfast(["restore", "latest", "--target", "out", "--overwrite"]).run().expect(1).says("source/");
        before.expect_same(&Tree::read(&home.beside("out")));
    }
}

#[test]
fn links_in_the_target_lead_nowhere() {
    let home = backed_up();
    fs::create_dir_all(home.beside("out/source")).unwrap();
    fs::create_dir(home.beside("elsewhere")).unwrap();
    symlink(home.beside("elsewhere"), home.beside("out/source/etc")).unwrap();
    let refused = home.holdfast(["restore", "latest", "--target", "out", "--overwrite"]).run();
    refused.expect(1).says("source/etc");
    assert_eq!(fs::read_dir(home.beside("elsewhere")).unwrap().count(), 0, "nothing is written through a link");
}

#[test]
fn a_target_that_is_no_folder_is_refused() {
    let home = backed_up();
    fs::write(home.beside("file"), "mine\n").unwrap();
    home.holdfast(["restore", "latest", "--target", "file"]).run().expect(1).says("file");
    home.holdfast(["restore", "latest", "--target", "file/below"]).run().expect(1).says("file");
    assert_eq!(fs::read_to_string(home.beside("file")).unwrap(), "mine\n");
    home.holdfast(["restore", "latest"]).run().expect(2).says("--target");
}

#[test]
fn without_privileges_a_restore_warns_of_what_it_could_not_set() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    if !crate::support::root() {
        return not_root_is_covered_elsewhere(&home);
    }
    std::os::unix::fs::lchown(source.join("etc/hosts"), Some(12_345), Some(54_321)).unwrap();
    home.back_up(["source"]);
    let restored = home.holdfast(["restore", "latest", "--target", "out"]).without_privileges().run();
    assert!(matches!(restored.code(), Some(0 | 3)), "{restored}");
    let got = fs::read(home.beside("out/source/etc/hosts")).unwrap();
    assert_eq!(got, b"127.0.0.1 localhost\n");
    if restored.code() == Some(3) {
        restored.says("etc/hosts");
    }
}

/// Whoever is not root owns all that the tests make: the plain round trip is the test.
fn not_root_is_covered_elsewhere(home: &Home) {
    home.back_up(["source"]);
    home.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
    Tree::read(&home.beside("source")).expect_same(&Tree::read(&home.beside("out/source")));
}

#[test]
fn a_restore_is_recorded() {
    let home = backed_up();
    let summary = home.holdfast(["--json", "restore", "latest", "--target", "out"]).run().expect(0).summary();
    let stream = format!("restore/{}", crate::support::text(&summary["restore_id"]));
    let events = home.holdfast(["--json", "log", "events", "--stream", stream.as_str()]).run().expect(0).json_lines();
    let types: Vec<_> = events.iter().map(|event| crate::support::text(&event["type"])).collect();
    assert_eq!(types, ["RestoreRequested", "RestoreCompleted"]);
}

/// A home with one run that takes a while to restore: little to read, much to write.
fn much_backed_up() -> Home {
    let home = Home::new();
    fs::create_dir(home.beside("source")).unwrap();
    for number in 0..40 {
        let line = format!("{} and so on\n", Random(number).next());
        fs::write(home.beside("source").join(format!("{number}")), line.repeat(300_000)).unwrap();
    }
    home.back_up(["source", "--compression", "zstd:1"]);
    home
}

/// Restores into `out` and sends Ctrl-C as soon as the log says that the restore has begun.
fn restore_and_interrupt(home: &Home) -> Finished {
    let mut follow = home.holdfast(["--json", "log", "events", "--follow"]).spawn();
    follow.wait_for_json("the backup", |event| event["type"] == "RunPublished");
    let restore = home.holdfast(["restore", "latest", "--target", "out"]).spawn();
    follow.wait_for_json("the restore's begin", |event| event["type"] == "RestoreRequested");
    restore.signal(rustix::process::Signal::INT);
    restore.wait()
}

#[test]
fn ctrl_c_takes_back_what_a_restore_has_written() {
    let home = much_backed_up();
    let before = beside(&home);
    let ended = restore_and_interrupt(&home);
    if ended.code() == Some(0) {
        // It was faster than the signal.
        return Tree::read(&home.beside("source")).expect_same(&Tree::read(&home.beside("out/source")));
    }
    ended.expect(130).says("nothing was left");
    assert_eq!(beside(&home), before, "a restore is there whole or not at all");
}

#[test]
fn ctrl_c_in_a_folder_with_other_things_says_what_it_leaves() {
    let home = much_backed_up();
    fs::create_dir_all(home.beside("out/other")).unwrap();
    let ended = restore_and_interrupt(&home);
    if ended.code() != Some(0) {
        ended.expect(130).says("--overwrite");
        assert!(!ended.err().contains("nothing was left"), "{ended}");
    }
    home.holdfast(["restore", "latest", "--target", "out", "--overwrite"]).run().expect(0);
    Tree::read(&home.beside("source")).expect_same(&Tree::read(&home.beside("out/source")));
}
