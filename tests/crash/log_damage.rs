//! History survives the loss of either of its two copies, and is never made up where both are hit.
//!
//! The log's own tests damage every byte; here the whole program is shown the same, at fewer places.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::kill::{events, expect_all_still_there, expect_good, fingerprint, for_each, twin};
use crate::support::{Home, Random, long, seed, small_tree, text};

/// A home with a history: three runs, a verification, a restore, a deletion.
struct Model {
    home: Home,
    events: Vec<Value>,
    rows: Vec<Value>,
}

impl Model {
    fn new() -> Self {
        let home = Home::new();
        small_tree(&home.beside("source"));
        let first = home.back_up(["source"]);
        home.back_up(["source"]);
        home.back_up(["source"]);
        home.holdfast(["verify", "--all"]).run().expect(0);
        home.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
        home.holdfast(["delete", &first]).run().expect(0);
        let (events, rows) = (events(&home), home.runs());
        assert!(events.len() > 30 && rows.len() == 2, "{} events, {} runs", events.len(), rows.len());
        Self { home, events, rows }
    }

    /// Fails the test unless readers show the same history as before, and the program goes on with it.
    fn expect_same_history(&self, home: &Home) {
        assert_eq!(home.runs(), self.rows, "runs are not shown as before");
        expect_all_still_there(home, &self.events);
        home.holdfast(["log", "replay"]).run().expect(0);
        let next = home.back_up([self.home.beside("source")]);
        expect_all_still_there(home, &self.events);
        expect_good(home, &next, &self.home.beside("source"));
        expect_good(home, &text(&self.rows[0]["run_id"]), &self.home.beside("source"));
    }
}

/// The files of a folder of the log, without those that are empty.
fn files(home: &Home, folder: &str) -> Vec<PathBuf> {
    let top = home.path().join("log").join(folder);
    let mut files: Vec<_> = fingerprint(&top).into_keys().filter(|path| path.is_file()).collect();
    files.retain(|path| path.metadata().unwrap().len() > 0);
    assert!(!files.is_empty(), "nothing in {}", top.display());
    files
}

fn flip(file: &Path, random: &mut Random, within: u64) {
    let (at, bit) = (random.below(within), random.below(8));
    println!("bit {bit} of byte {at} of {}", file.file_name().unwrap().display());
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
}

/// How many bytes of a segment hold commits: what follows is room taken in advance.
fn written(segment: &Path) -> u64 {
    let bytes = fs::read(segment).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

#[test]
fn a_bit_flipped_in_the_store_changes_no_history() {
    let model = Model::new();
    let seed = seed();
    for_each("place", if long() { 200 } else { 24 }, |number| {
        let random = &mut Random(seed ^ number as u64);
        let home = twin(&model.home);
        let files = files(&home, "store");
        let file = &files[random.below(files.len() as u64) as usize];
        flip(file, random, written(file).max(1));
        model.expect_same_history(&home);
    });
}

#[test]
fn a_bit_flipped_in_the_journal_changes_no_history() {
    let model = Model::new();
    let seed = seed();
    for_each("place", if long() { 200 } else { 24 }, |number| {
        let random = &mut Random(seed ^ number as u64);
        let home = twin(&model.home);
        let segment = &files(&home, "journal")[0];
        flip(segment, random, written(segment));
        model.expect_same_history(&home);
    });
}

#[test]
fn a_journal_cut_anywhere_near_its_end_changes_no_history() {
    let model = Model::new();
    let segment = files(&model.home, "journal").pop().unwrap();
    let end = written(&segment);
    let places = if long() { 600 } else { 16 };
    for_each("place", places, |number| {
        let home = twin(&model.home);
        let cut = end.saturating_sub((number * if long() { 1 } else { 37 }) as u64);
        println!("cut to {cut} of {end} bytes");
        let segment = files(&home, "journal").pop().unwrap();
        OpenOptions::new().write(true).open(segment).unwrap().set_len(cut).unwrap();
        model.expect_same_history(&home);
    });
}

#[test]
fn a_lost_copy_is_made_again_from_the_other() {
    let model = Model::new();
    type Loss = fn(&Home);
    let losses: [(&str, Loss); 5] = [
        ("the store", |home| fs::remove_dir_all(home.path().join("log/store")).unwrap()),
        ("the store's main file", |home| fs::remove_file(home.path().join("log/store/db")).unwrap()),
        ("a segment", |home| fs::remove_file(&files(home, "journal")[0]).unwrap()),
        ("the journal", |home| fs::remove_dir_all(home.path().join("log/journal")).unwrap()),
        ("the head", |home| fs::remove_file(home.path().join("log/head")).unwrap()),
    ];
    for (what, lose) in losses {
        println!("{what} is lost");
        let home = twin(&model.home);
        lose(&home);
        model.expect_same_history(&home);
    }
}

#[test]
fn a_repair_is_recorded() {
    let model = Model::new();
    let home = twin(&model.home);
    fs::remove_file(&files(&home, "journal")[0]).unwrap();

    home.back_up([model.home.beside("source")]);

    let repaired = events(&home).into_iter().find(|event| event["type"] == "LogRepaired");
    let what = text(&repaired.expect("an event that says so")["data"]["what"]);
    assert!(what.contains("from the store"), "{what}");
}

#[test]
fn damage_to_both_copies_is_refused_with_the_position_and_nothing_is_changed() {
    let model = Model::new();
    let seed = seed();
    for_each("place", if long() { 60 } else { 8 }, |number| {
        let random = &mut Random(seed ^ number as u64);
        let home = twin(&model.home);
        let segment = files(&home, "journal")[0].clone();
        let whole = fs::read(&segment).unwrap();
        // Behind the segment's own header, whose damage costs no event.
        let at = 256 + random.below(written(&segment) - 256);
        let mut damaged = whole.clone();
        damaged[at as usize] ^= 1 << random.below(8);
        fs::write(&segment, &damaged).unwrap();
        fs::remove_dir_all(home.path().join("log/store")).unwrap();

        let commands: [&[&str]; 5] =
            [&["runs"], &["show", "latest"], &["log", "events"], &["backup", "."], &["verify", "--all"]];
        for command in commands {
            let refused = home.holdfast(command).run();
            refused.expect(1).says("position");
            let json = home.holdfast(command).arg("--json").run().json_lines().pop().unwrap();
            assert_eq!((&json["message_type"], &json["error"]), (&"error".into(), &"LOG_DAMAGED".into()), "{json}");
        }
        assert!(fs::read(&segment).unwrap() == damaged, "the damaged copy was changed");

        fs::write(&segment, whole).unwrap();
        model.expect_same_history(&home);
    });
}
