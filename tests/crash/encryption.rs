//! What is encrypted, killed at each point: a backup is resumed without any private key, and a restore is ended without the one that it was
//! begun with.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::kill::{copy, expect_nothing_to_resume, for_each, kill_at, points, twin};
use crate::support::tree::Tree;
use crate::support::{Home, long, small_tree, text};

/// A home whose data is encrypted to a key that lies beside it.
fn configured() -> Home {
    let home = Home::new();
    small_tree(&home.beside("data"));
    fs::write(home.beside("rows"), "1\n2\n").unwrap();
    fs::create_dir(home.path()).unwrap();
    home.holdfast(["key", "generate", "--output", "key"]).run().expect(0);
    configure(&home);
    home
}

fn configure(home: &Home) {
    let key = fs::read_to_string(home.beside("key")).unwrap();
    let public = key.split_whitespace().find(|word| word.starts_with("age1")).unwrap();
    let (data, rows) = (home.beside("data"), home.beside("rows"));
    let text = format!(
        "[encryption]\nencrypt_to = ['{public}']\n[[participant]]\nname = 'web'\nkind = 'files'\npaths = ['{}']\n\
         [[participant]]\nname = 'db'\nkind = 'command'\ncommand = ['cat', '{rows}']\nrestore = ['sh', '-c', 'cat > {rows}']\n",
        data.display(),
        rows = rows.display()
    );
    fs::write(home.path().join("config.toml"), text).unwrap();
}

fn trial(model: &Home) -> Home {
    let home = twin(model);
    copy(&model.beside("data"), &home.beside("data"));
    copy(&model.beside("rows"), &home.beside("rows"));
    copy(&model.beside("key"), &home.beside("key"));
    configure(&home);
    home
}

/// Nothing that could open a run lies in the home.
fn expect_no_keys(home: &Home) {
    let found = home.command("find", [home.path().join("backups")]).args(["-name", "*.keys"]).run();
    assert_eq!(found.expect(0).out(), "");
}

#[test]
fn a_backup_killed_at_each_point_is_resumed_with_public_keys_alone() {
    let model = configured();
    // What its first command makes is not what is killed here.
    home_is_made(&model);
    let whole = trial(&model);
    let passed = points(&whole, &["backup", "--json"]);
    let completed = AtomicUsize::new(0);
    for_each("point", passed.len(), |number| {
        // Neighbours are much the same: a half of them says enough each time.
        if !long() && number % 2 != 0 {
            return;
        }
        let home = trial(&model);
        kill_at(&home, &["backup", "--json"], number);
        home.holdfast(["resume"]).run().expect(0);
        expect_nothing_to_resume(&home);
        expect_no_keys(&home);
        let runs = home.runs();
        // Before the request was recorded there was no run.
        let [run, _first] = &*runs else { return };
        assert_eq!(run["status"], "completed", "{run}");
        let run = text(&run["run_id"]);
        home.holdfast(["verify", &run]).run().expect(0);
        home.holdfast(["restore", &run, "--target", "out", "--identity", "key"]).run().expect(0);
        Tree::read(&home.beside("data")).expect_same(&Tree::read(&home.beside("out/data")));
        completed.fetch_add(1, Ordering::SeqCst);
    });
    let completed = completed.into_inner();
    println!("{} points, {completed} completed", passed.len());
    assert!(completed > 0);
}

/// A first backup, so that the home, its log and its identity are there.
fn home_is_made(home: &Home) {
    fs::write(home.beside("first"), "first").unwrap();
    home.holdfast(["backup", "first", "--json"]).run().expect(0);
}

#[test]
fn a_restore_killed_at_each_point_is_ended_without_the_key_it_was_begun_with() {
    let model = configured();
    home_is_made(&model);
    model.holdfast(["backup"]).run().expect(0);
    let restore = ["restore", "latest", "--in-place", "--force", "--json", "--identity", "key"];
    fs::write(model.beside("data/readme.txt"), "changed").unwrap();
    fs::write(model.beside("rows"), "3\n").unwrap();
    let before = (Tree::read(&model.beside("data")), "3\n");
    let whole = trial(&model);
    let passed = points(&whole, &restore);
    expect_no_keys(&whole);
    let after = (Tree::read(&whole.beside("data")), "1\n2\n");
    assert!(!before.0.differences(&after.0).is_empty());
    let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
    for_each("point", passed.len(), |number| {
        // Neighbours are much the same: a half of them says enough each time.
        if !long() && number % 2 != 0 {
            return;
        }
        let home = trial(&model);
        kill_at(&home, &restore, number);
        fs::remove_file(home.beside("key")).unwrap();
        home.holdfast(["resume"]).run().expect(0);
        let found = (Tree::read(&home.beside("data")), fs::read_to_string(home.beside("rows")).unwrap());
        let is_before = before.0.differences(&found.0).is_empty();
        let expected = if is_before { &before } else { &after };
        expected.0.expect_same(&found.0);
        assert_eq!(found.1, expected.1, "files and rows are of one state");
        expect_no_keys(&home);
        counts[usize::from(is_before)].fetch_add(1, Ordering::SeqCst);
    });
    let [restored, before] = counts.map(AtomicUsize::into_inner);
    println!("{} points, {restored} as in the backup, {before} as before", passed.len());
    assert!(restored > 0 && before > 0);
}
