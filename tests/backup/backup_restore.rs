//! A backup brings back what was there: bytes, metadata and links, as a whole or in parts, in every compression.

use std::fs;

use crate::support::tree::Tree;
use crate::support::{Home, Random, awkward, large_tree, small_tree, text};

/// Stored bytes that Holdfast read from the artifact, as its trace says.
fn stored_bytes_read(trace: &str) -> u64 {
    let told = trace.split("stored_bytes_read=").nth(1).unwrap_or_else(|| panic!("no count in the trace:\n{trace}"));
    told.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

fn artifact_bytes(home: &Home, run: &str) -> u64 {
    home.show(run)["participants"][0]["artifacts"][0]["size_bytes"].as_u64().unwrap()
}

#[test]
fn the_awkward_tree_comes_back_as_it_was() {
    let home = Home::new();
    let source = awkward::plant(&home.beside("awkward"));
    let before = Tree::read(&source);

    let backup = home.holdfast(["backup", "--json"]).arg(&source).run();
    let summary = backup.expect(0).summary();
    assert_eq!(summary["run"]["participants"][0]["warnings"]["count"], 0, "{summary}");
    let notes = &summary["run"]["participants"][0]["notes"];
    assert!(notes["first"].to_string().contains("socket"), "the socket is noted: {notes}");
    before.expect_same(&Tree::read(&source));

    home.holdfast(["verify", "latest"]).run().expect(0);
    home.holdfast(["restore", "latest", "--target", "out"]).run().expect(0).says("verified");
    awkward::expected(&source).expect_same(&Tree::read(&home.beside("out/awkward")));
    assert_eq!(home.running_leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn paths_longer_than_the_system_takes_at_once_come_back() {
    let home = Home::new();
    awkward::plant_deep(&home.beside("deep"));
    home.back_up(["deep"]);
    home.holdfast(["verify", "latest"]).run().expect(0);
    home.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
    Tree::read(&home.beside("deep")).expect_same(&Tree::read(&home.beside("out/deep")));
    home.holdfast(["ls", "latest"]).run().expect(0).says("at-the-end");
}

#[test]
fn every_compression_gives_the_same_tree_back() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    // Several frames of 4 MiB, some of which compress.
    fs::write(source.join("frames"), [vec![0; 5 << 20], Random(5).bytes(9 << 20), vec![b'x'; 3 << 20]].concat())
        .unwrap();
    fs::write(source.join("one-byte"), "1").unwrap();
    let before = Tree::read(&source);
    for (method, extension) in
        [("lz4", ".lz4"), ("zstd:1", ".zst"), ("zstd", ".zst"), ("gzip:1", ".gz"), ("brotli:1", ".br"), ("none", "")]
    {
        let run = home.back_up(["source", "--compression", method]);
        let artifact = home.show(&run)["participants"][0]["artifacts"][0].clone();
        assert!(text(&artifact["path"]).ends_with(&format!("source.tar{extension}")), "{method}: {artifact}");
        let said = text(&artifact["compression"]);
        assert_eq!(said, if method == "zstd" { "zstd:3" } else { method });
        if method != "none" {
            assert!(artifact["size_bytes"].as_u64() < artifact["content_bytes"].as_u64(), "{artifact}");
        }
        home.holdfast(["verify", run.as_str()]).run().expect(0);
        let target = format!("out-{}", method.replace(':', "-"));
        home.holdfast(["restore", run.as_str(), "--target", target.as_str()]).run().expect(0);
        before.expect_same(&Tree::read(&home.beside(&target).join("source")));
        let dumped = home.holdfast(["dump", run.as_str(), "source/etc/deep/random.bin"]).run();
        assert!(dumped.expect(0).stdout == Random(7).bytes(300_000), "{method}: dump gives other bytes");
    }
}

#[test]
fn a_compression_that_does_not_exist_is_refused_with_the_choice() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    home.holdfast(["backup", "source", "--compression", "rar"]).run().expect(2).says("zstd:1 to zstd:19");
    assert!(!home.path().exists(), "a usage error makes no home");
}

#[test]
fn several_paths_of_one_name_stay_apart() {
    let home = Home::new();
    let first = small_tree(&home.beside("a/data"));
    fs::create_dir_all(home.beside("b/data")).unwrap();
    fs::write(home.beside("b/data/other"), "other\n").unwrap();
    fs::write(home.beside("single"), "a file alone\n").unwrap();
    home.back_up(["a/data", "b/data", "single", "--name", "several"]);
    home.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
    Tree::read(&first).expect_same(&Tree::read(&home.beside("out/data")));
    Tree::read(&home.beside("b/data")).expect_same(&Tree::read(&home.beside("out/data-2")));
    Tree::read(&home.beside("single")).expect_same(&Tree::read(&home.beside("out/single")));
    assert_eq!(home.show("latest")["participants"][0]["name"], "several");
}

#[test]
fn parts_come_back_alone() {
    let home = Home::new();
    let source = awkward::plant(&home.beside("awkward"));
    home.back_up(["awkward"]);
    let all = awkward::expected(&source);

    let restore = |target: &str, paths: &[&str]| {
        let mut command = home.holdfast(["restore", "latest", "--target", target]);
        for path in paths {
            command = command.args(["--path", path]);
        }
        command.run().expect(0);
        Tree::read(&home.beside(target).join("awkward"))
    };
    all.below("sparse").expect_same(&restore("file", &["awkward/sparse"]).below("sparse"));
    let folder = restore("folder", &["awkward/names"]);
    all.below("names").expect_same(&folder.below("names"));
    assert!(!folder.nodes.contains_key(std::path::Path::new("text")), "only the folder was asked for");

    // The second and third names of a file whose first name was not asked for.
    let links = restore("links", &["awkward/links/two", "awkward/links/other"]);
    let mut wanted = all.below("links/two");
    for node in wanted.nodes.values_mut() {
        node.same_file_as = Some("links/other/three".into());
    }
    wanted.expect_same(&links.below("links/two"));
    assert!(links.nodes.contains_key(std::path::Path::new("links/other/three")));
    assert!(!links.nodes.contains_key(std::path::Path::new("links/one")), "only what was asked for");

    let missing = home.holdfast(["restore", "latest", "--target", "none", "--path", "awkward/no-such-file"]).run();
    missing.expect(2).says("awkward/no-such-file").says("holdfast ls");
    assert!(!home.beside("none").exists(), "nothing is written for a path that is not there");
}

#[test]
fn one_file_is_read_without_the_rest() {
    let home = Home::new();
    let source = large_tree(&home.beside("large"), 60);
    home.back_up(["large"]);
    let artifact = artifact_bytes(&home, "latest");
    assert!(artifact > 60_000_000);

    let wanted = fs::read(source.join("part-0040.bin")).unwrap();
    let dumped = home.holdfast(["dump", "latest", "large/part-0040.bin"]).env("HOLDFAST_LOG", "info").run();
    assert!(dumped.expect(0).stdout == wanted, "dump gives other bytes");
    let read = stored_bytes_read(&dumped.err());
    assert!((1_000_000..=9 << 20).contains(&read), "{read} bytes read of {artifact}: at most two frames hold the file");

    let restore = ["--json", "restore", "latest", "--target", "out", "--path", "large/part-0040.bin"];
    let summary = home.holdfast(restore).run().expect(0).summary();
    let read = summary["stored_bytes_read"].as_u64().unwrap();
    assert!((1_000_000..=9 << 20).contains(&read), "{read} bytes read of {artifact}: {summary}");
    assert_eq!(summary["files"], 1);
    assert!(fs::read(home.beside("out/large/part-0040.bin")).unwrap() == wanted);
}

#[test]
fn ls_tells_every_path_and_what_it_is() {
    let home = Home::new();
    let source = awkward::plant(&home.beside("awkward"));
    home.back_up(["awkward"]);
    let entries = home.holdfast(["--json", "ls", "latest"]).run().expect(0).json_lines();
    let expected = awkward::expected(&source);
    assert_eq!(entries.len(), expected.nodes.len());

    let of = |path: &str| entries.iter().find(|entry| entry["path"] == path).unwrap_or_else(|| panic!("no {path}"));
    assert_eq!(of("awkward/sparse")["size"].as_u64(), Some(awkward::HOLE + 14));
    assert_eq!(of("awkward/fifo")["kind"], "fifo");
    assert_eq!(of("awkward/links/two")["kind"], "hard_link");
    assert_eq!(of("awkward/links/dangling")["link"], "no/such/place");
    assert_eq!(of("awkward/modes/4755")["mode"].as_u64(), Some(0o4755));
    assert_eq!(of("awkward/text")["mtime"], serde_json::json!([-1, 999_999_999]));

    let lines = home.holdfast(["ls", "latest"]).run();
    assert_eq!(lines.expect(0).out().lines().count(), entries.len(), "a line a path, whatever its name: {lines}");
    assert!(!lines.stdout.contains(&0x1b), "no control characters reach the terminal");
    let below = home.holdfast(["ls", "latest", "awkward/modes/sealed"]).run();
    assert_eq!(below.expect(0).out().lines().count(), 2, "{below}");
    home.holdfast(["ls", "latest", "awkward/no-such-file"]).run().expect(2).says("no-such-file");
}

#[test]
fn dump_gives_the_bytes_of_any_file() {
    let home = Home::new();
    let source = awkward::plant(&home.beside("awkward"));
    home.back_up(["awkward"]);
    let mut names = vec!["empty".into(), "random".into(), "links/other/three".into(), "size-513".into()];
    names.extend(fs::read_dir(source.join("names")).unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        entry.file_type().unwrap().is_file().then(|| std::path::Path::new("names").join(entry.file_name()))
    }));
    for name in names {
        let path = std::path::Path::new("awkward").join(&name);
        let dumped = home.holdfast(["dump", "latest"]).arg(&path).run();
        assert!(dumped.expect(0).stdout == fs::read(source.join(&name)).unwrap(), "{path:?}: other bytes");
    }
    let hole = home.holdfast(["dump", "latest", "awkward/hole-at-the-end"]).run();
    assert!(hole.expect(0).stdout == fs::read(source.join("hole-at-the-end")).unwrap(), "holes are read as zeros");
    home.holdfast(["dump", "latest", "awkward/links"]).run().expect(2).says("not a regular file");
    home.holdfast(["dump", "latest", "awkward/nothing"]).run().expect(2).says("ls");
}

#[test]
fn a_second_backup_is_a_run_of_its_own_and_delete_takes_only_one() {
    let home = Home::new();
    let source = small_tree(&home.beside("source"));
    let first = home.back_up(["source"]);
    fs::write(source.join("readme.txt"), "changed since\n").unwrap();
    let second = home.back_up(["source"]);
    assert!(second > first);
    let ids: Vec<_> = home.runs().iter().map(|run| text(&run["run_id"])).collect();
    assert_eq!(ids, [second.as_str(), first.as_str()], "the newest first");
    let old = home.holdfast(["dump", first.as_str(), "source/readme.txt"]).run();
    assert_eq!(old.expect(0).out(), "what this folder is for\n".repeat(50));
    let new = home.holdfast(["dump", "latest", "source/readme.txt"]).run();
    assert_eq!(new.expect(0).out(), "changed since\n");

    let (kept, gone) = (home.run_dir(&first), home.run_dir(&second));
    home.holdfast(["delete", second.as_str()]).run().expect(0);
    assert!(kept.exists() && !gone.exists());
    assert_eq!(home.runs().len(), 1);
    assert_eq!(home.json(["runs", "--deleted"])["rows"].as_array().map(Vec::len), Some(2));
    assert_eq!(home.show(&second)["deleted"], true, "its history stays");
    assert_eq!(home.show("latest")["run_id"], first.as_str());
    home.holdfast(["restore", second.as_str(), "--target", "out"]).run().expect(10).says("deleted");
    home.holdfast(["delete", second.as_str()]).run().expect(10);
    home.holdfast(["verify", "--all"]).run().expect(0);
    assert!(fs::read_dir(home.path().join("backups/.deleting")).map_or(0, Iterator::count) == 0);
}
