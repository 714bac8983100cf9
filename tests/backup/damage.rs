//! What is not as it was recorded is never called good: `verify` names it, `restore` and `dump` refuse and leave nothing.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::kill::{events, expect_good, for_each, twin, types_of};
use crate::support::{Home, Random, long, seed, small_tree};

/// A way to damage a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    FlippedBit,
    Truncated,
    Emptied,
    Extended,
    Deleted,
    ReplacedByLink,
    ReplacedByFolder,
}

use Damage::{Deleted, Emptied, Extended, FlippedBit, ReplacedByFolder, ReplacedByLink, Truncated};

const ALL: [Damage; 7] = [FlippedBit, Truncated, Emptied, Extended, Deleted, ReplacedByLink, ReplacedByFolder];

impl Damage {
    fn apply(self, file: &Path, random: &mut Random) -> String {
        let bytes = fs::read(file).unwrap();
        let at = random.below(bytes.len() as u64) as usize;
        match self {
            FlippedBit => {
                let bit = random.below(8);
                let mut bytes = bytes;
                bytes[at] ^= 1 << bit;
                fs::write(file, bytes).unwrap();
                return format!("bit {bit} of byte {at} flipped");
            }
            Truncated => {
                fs::write(file, &bytes[..at]).unwrap();
                return format!("cut to {at} of {} bytes", bytes.len());
            }
            Emptied => fs::write(file, b"").unwrap(),
            Extended => fs::write(file, [bytes, vec![b'\n']].concat()).unwrap(),
            Deleted => fs::remove_file(file).unwrap(),
            ReplacedByLink => {
                // The bytes are right, but somebody else holds them.
                let elsewhere = file.with_file_name("..").join(format!("{at}.moved"));
                fs::rename(file, &elsewhere).unwrap();
                std::os::unix::fs::symlink(&elsewhere, file).unwrap();
            }
            ReplacedByFolder => {
                fs::remove_file(file).unwrap();
                fs::create_dir(file).unwrap();
            }
        }
        format!("{self:?}")
    }
}

/// A home with one run of the small tree, and its files by what they are.
struct Model {
    home: Home,
    run: String,
    artifact: PathBuf,
    index: PathBuf,
}

impl Model {
    fn new(compression: &str) -> Self {
        let home = Home::new();
        small_tree(&home.beside("source"));
        let run = home.back_up(["source", "--compression", compression]);
        let dir = PathBuf::from("backups/completed").join(&run);
        let named = |ending: &str, not: &str| {
            let names = fs::read_dir(home.path().join(&dir)).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names = names.map(|name| name.into_string().unwrap());
            names.find(|name| name.contains(ending) && (not.is_empty() || !name.ends_with(not))).unwrap()
        };
        let (artifact, index) = (dir.join(named("source.tar", ".index")), dir.join(named(".index", "")));
        Self { home, run, artifact, index }
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from("backups/completed").join(&self.run).join(name)
    }

    /// A twin of the home with one file damaged.
    fn damaged(&self, file: &Path, damage: Damage, random: &mut Random) -> Home {
        let home = twin(&self.home);
        println!("{}: {}", file.file_name().unwrap().display(), damage.apply(&home.path().join(file), random));
        home
    }
}

#[test]
fn verify_finds_every_damage_and_names_the_file() {
    let model = Model::new("lz4");
    let seed = seed();
    let files = [&model.artifact, &model.index, &model.file("manifest.json"), &model.file("SHA256SUMS")];
    let rounds = if long() { 40 } else { 2 };
    let cases: Vec<_> = files.iter().flat_map(|file| ALL.map(|damage| (*file, damage))).collect();

    for_each("case", cases.len() * rounds, |number| {
        let (file, damage) = cases[(number - 1) % cases.len()];
        let home = model.damaged(file, damage, &mut Random(seed ^ number as u64));
        let name = file.file_name().unwrap().to_str().unwrap();

        home.holdfast(["verify", &model.run]).run().expect(4).says(name);
        home.holdfast(["verify", "--all"]).run().expect(4).says(&model.run);

        home.holdfast(["show", &model.run]).run().expect(0).says("DAMAGED");
        let verified = events(&home).into_iter().rev().find(|event| event["type"] == "RunVerified").unwrap();
        assert_eq!(verified["data"]["ok"], false, "{verified}");
        let artifact = &home.show(&model.run)["participants"][0]["artifacts"][0];
        if file == &model.artifact {
            assert_eq!(artifact["validation_ok"], false, "{artifact}");
            assert_ne!(artifact["validation_error"], "", "{artifact}");
        }
    });
}

#[test]
fn restore_refuses_a_damaged_run_and_leaves_nothing() {
    let seed = seed();
    let rounds = if long() { 40 } else { 2 };
    for compression in ["lz4", "none"] {
        let model = Model::new(compression);
        let files = [&model.artifact, &model.index, &model.file("manifest.json")];
        let cases: Vec<_> = files.iter().flat_map(|file| ALL.map(|damage| (*file, damage))).collect();

        for_each("case", cases.len() * rounds, |number| {
            let (file, damage) = cases[(number - 1) % cases.len()];
            let home = model.damaged(file, damage, &mut Random(seed ^ number as u64));
            let before = events(&home);

            let restore = home.holdfast(["restore", "latest", "--target", "place/out"]).run();

            restore.expect(4);
            assert!(!home.beside("place").exists(), "something of what was made ready is left: {restore}");
            // What shows only in the bytes themselves is found while they are made ready: the restore has begun.
            let recorded = events(&home).split_off(before.len());
            let of_restore = |event: &&serde_json::Value| event["type"].as_str().unwrap().starts_with("Restore");
            let types: Vec<_> =
                recorded.iter().filter(of_restore).map(|event| event["type"].as_str().unwrap()).collect();
            assert!(types.is_empty() || types == ["RestoreRequested", "RestoreFailed"], "{types:?}");
        });
    }
}

#[test]
fn one_file_is_never_taken_out_of_damaged_bytes() {
    let mut random = Random(seed());
    for compression in ["lz4", "zstd:3", "gzip:6", "brotli:5", "none"] {
        let model = Model::new(compression);
        let wanted = fs::read(model.home.beside("source/etc/deep/random.bin")).unwrap();
        for _ in 0..if long() { 200 } else { 6 } {
            // Anywhere in the artifact: what is read for the file is right, or refused.
            let home = model.damaged(&model.artifact, FlippedBit, &mut random);
            let dump = home.holdfast(["dump", "latest", "source/etc/deep/random.bin"]).run();
            match dump.code() {
                Some(0) => assert!(dump.stdout == wanted, "{compression}: altered bytes were given out as good"),
                _ => {
                    dump.expect(4);
                    assert!(wanted.starts_with(&dump.stdout), "{compression}: altered bytes were given out");
                }
            }
            let path = ["restore", "latest", "--target", "out", "--path", "source/etc/deep/random.bin"];
            let restore = home.holdfast(path).run();
            match restore.code() {
                Some(0) => {
                    let restored = fs::read(home.beside("out/source/etc/deep/random.bin")).unwrap();
                    assert!(restored == wanted, "{compression}: altered bytes were restored as good");
                }
                _ => {
                    restore.expect(4);
                    assert!(!home.beside("out").exists(), "{compression}: a refused restore left something: {restore}");
                }
            }
        }
    }
}

#[test]
fn what_was_put_right_again_is_good_again() {
    let model = Model::new("lz4");
    let home = twin(&model.home);
    let artifact = home.path().join(&model.artifact);
    let good = fs::read(&artifact).unwrap();
    FlippedBit.apply(&artifact, &mut Random(seed()));
    home.holdfast(["verify", "latest"]).run().expect(4);
    home.holdfast(["show", "latest"]).run().expect(0).says("DAMAGED");

    fs::write(&artifact, good).unwrap();

    expect_good(&home, &model.run, &model.home.beside("source"));
    let shown = home.holdfast(["show", "latest"]).run();
    assert!(!shown.expect(0).out().contains("DAMAGED"), "{shown}");
}

#[test]
fn latest_and_last_good_pass_over_a_run_that_was_found_damaged_and_say_so() {
    let model = Model::new("lz4");
    let home = twin(&model.home);
    let newer = home.back_up([model.home.beside("source").to_str().unwrap()]);
    let artifact = fs::read_dir(home.run_dir(&newer)).unwrap().map(|entry| entry.unwrap().path());
    let artifact = artifact.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "lz4")).unwrap();
    let good = fs::read(&artifact).unwrap();
    FlippedBit.apply(&artifact, &mut Random(seed()));
    home.holdfast(["verify", &newer]).run().expect(4);

    let restored = home.holdfast(["restore", "latest", "--target", "out"]).run();

    restored.expect(0).says(&model.run).says(&format!("{newer} (damaged)"));
    assert_eq!(home.json(["status"])["last_good_run"]["run_id"], model.run.as_str());
    let row = &home.json(["participants"])["rows"][0];
    assert_eq!(row["last_good_run"], model.run.as_str(), "{row}");
    fs::write(&artifact, good).unwrap();
    home.holdfast(["verify", &newer]).run().expect(0);
    assert_eq!(home.show("latest")["run_id"], newer.as_str(), "what was found good again is good");
    assert_eq!(home.json(["participants"])["rows"][0]["last_good_run"], newer.as_str());
}

#[test]
fn latest_passes_over_what_was_named_by_hand_where_there_is_a_run_of_what_is_configured() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    let by_hand = home.back_up(["source"]);
    home.holdfast(["restore", "latest", "--target", "first"]).run().expect(0).says(&by_hand);
    let paths = home.beside("source");
    let configuration = format!("[[participant]]\nname = 'site'\nkind = 'files'\npaths = ['{}']\n", paths.display());
    fs::write(home.path().join("config.toml"), configuration).unwrap();
    let full = home.back_up([] as [&str; 0]);
    let newer = home.back_up(["source"]);

    let restored = home.holdfast(["restore", "latest", "--target", "second"]).run();

    restored.expect(0).says(&full).says(&format!("{newer} (of paths named for it)"));
    assert_eq!(home.json(["status"])["last_good_run"]["run_id"], full.as_str());
}

#[test]
fn a_file_that_nobody_recorded_is_named_and_harms_nothing() {
    let model = Model::new("lz4");
    let home = twin(&model.home);
    fs::write(home.path().join(model.file("stranger.bin")), "not of this run").unwrap();

    home.holdfast(["verify", "latest"]).run().expect(0).says("stranger.bin");

    let out = home.beside("out");
    home.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
    assert_eq!(fs::read_dir(out).unwrap().count(), 1, "only what was backed up comes back");
}

#[test]
fn a_run_directory_that_was_taken_away_by_hand_is_missed() {
    let model = Model::new("lz4");
    let home = twin(&model.home);
    fs::remove_dir_all(home.run_dir(&model.run)).unwrap();

    home.holdfast(["verify", &model.run]).run().expect(4).says(&model.run);
    let restore = home.holdfast(["restore", &model.run, "--target", "out"]).run();
    assert_ne!(restore.code(), Some(0), "{restore}");
    assert!(!home.beside("out").exists());
    home.holdfast(["runs"]).run().expect(0).says(&model.run);

    home.holdfast(["delete", &model.run]).run().expect(0);

    assert!(types_of(&events(&home), &format!("run/{}", model.run)).contains(&"RunDeleted".to_owned()));
    let next = home.back_up([model.home.beside("source")]);
    expect_good(&home, &next, &model.home.beside("source"));
}

#[test]
fn damage_to_one_run_leaves_the_others_good() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    let first = home.back_up(["source"]);
    let second = home.back_up(["source"]);
    let artifact = home.run_dir(&second).join("source.tar.lz4");
    FlippedBit.apply(&artifact, &mut Random(seed()));

    home.holdfast(["verify", "--all"]).run().expect(4).says(&second);

    home.holdfast(["restore", &second, "--target", "out"]).run().expect(4);
    home.holdfast(["restore", "latest", "--target", "other"])
        .run()
        .expect(0)
        .says(&first)
        .says("passed over 1 newer run");
    expect_good(&home, &first, &home.beside("source"));
}
