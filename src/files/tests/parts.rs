//! One file or folder out of a stream, with nothing else read.

use std::fs;
use std::io::Read;

use super::tree::{assert_same, build, describe, without};
use super::*;

struct Case {
    temp: tempfile::TempDir,
    artifact: Artifact,
    _socket: std::os::unix::net::UnixListener,
}

fn case() -> Case {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("tree");
    fs::create_dir(&source).unwrap();
    let socket = build(&source);
    let (artifact, _) = Artifact::of(&[&source]);
    Case { temp, artifact, _socket: socket }
}

impl Case {
    fn plan(&self, paths: &[&str]) -> Result<Plan, FilesError> {
        let paths: Vec<_> = paths.iter().map(|path| RawPath::from(*path)).collect();
        Plan::new(self.artifact.index(), &Selection::of(&paths)?)
    }

    /// Restores some paths and returns the target's top, and how many bytes were asked for.
    fn restore(&self, paths: &[&str]) -> (tempfile::TempDir, u64, Summary) {
        let plan = self.plan(paths).unwrap();
        let target = tempfile::tempdir().unwrap();
        let mut read = 0;
        let open = |span: Span| {
            read += span.length;
            self.artifact.open(span)
        };
        let watch = Watch::default();
        let summary = extract_selected(&plan, open, target.path(), &ExtractOptions::default(), &watch).unwrap();
        assert_eq!((summary.files, summary.bytes), (plan.files, plan.bytes));
        assert_eq!(summary.files, watch.files.load(Ordering::Relaxed));
        assert_eq!(summary.warnings, Noted::default());
        (target, read, summary)
    }
}

#[test]
fn everything_selected_is_one_stretch() {
    let case = case();
    let plan = Plan::new(case.artifact.index(), &Selection::everything()).unwrap();
    assert_eq!(plan.steps.len(), 1);
    assert_eq!(plan.read + 1024, case.artifact.stream.len() as u64);
    let (target, ..) = case.restore(&["/"]);
    let expected = without(&describe(&case.temp.path().join("tree")), &["/cache/contents", "/cache/object"]);
    assert_same(&describe(&target.path().join("tree")), &expected);
}

#[test]
fn a_folder_comes_back_alone_with_the_folders_around_it() {
    let case = case();
    let (target, read, _) = case.restore(&["tree/times/", "./tree/modes"]);
    assert!(read < 100_000, "{read}");
    let expected = describe(&case.temp.path().join("tree"));
    let expected: std::collections::BTreeMap<_, _> = expected
        .into_iter()
        .filter(|(path, _)| path == "." || path.starts_with("/times") || path.starts_with("/modes"))
        .collect();
    assert_same(&describe(&target.path().join("tree")), &expected);
}

#[test]
fn a_hard_link_whose_file_is_not_selected_comes_as_a_file() {
    let case = case();
    let (target, _, summary) = case.restore(&["tree/links"]);
    let links = target.path().join("tree/links");
    let source = case.temp.path().join("tree/links/first");
    for name in ["first", "second", "third"] {
        assert_eq!(fs::read(links.join(name)).unwrap(), fs::read(&source).unwrap());
        assert_eq!(super::tree::inode(&links.join(name)), super::tree::inode(&links.join("first")));
    }
    assert!(!target.path().join("tree/another name").exists());
    assert_eq!((summary.bytes, fs::metadata(links.join("first")).unwrap().len()), (3000, 3000));

    let (target, read, _) = case.restore(&["tree/links/third"]);
    assert_eq!(fs::read(target.path().join("tree/links/third")).unwrap(), fs::read(&source).unwrap());
    assert!(read < 6000, "{read}");
}

#[test]
fn folders_around_that_are_there_stay_as_they_are() {
    let case = case();
    let plan = case.plan(&["tree/times/epoch"]).unwrap();
    let target = tempfile::tempdir().unwrap();
    fs::create_dir_all(target.path().join("tree/times")).unwrap();
    super::tree::set_mtime(&target.path().join("tree"), 42, 0);
    let open = |span| case.artifact.open(span);
    extract_selected(&plan, open, target.path(), &ExtractOptions::default(), &Watch::default()).unwrap();
    let modified = fs::metadata(target.path().join("tree")).unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 42);
    assert!(target.path().join("tree/times/epoch").exists());
}

#[test]
fn what_is_not_there_is_named() {
    let case = case();
    for path in ["tree/none", "other", "../tree", "tree/regular/x"] {
        let error = case.plan(&["tree/times", path]).unwrap_err();
        assert_eq!((error.code(), error.to_string().contains(path)), ("FILES_NOT_FOUND", true), "{error}");
    }
}

#[test]
fn an_index_that_lies_is_found_out() {
    let case = case();
    let good = case.artifact.entry("tree/regular").clone();
    for change in [
        |entry: &mut Entry| entry.length += 512,
        |entry: &mut Entry| entry.length -= 512,
        |entry: &mut Entry| entry.offset += 512,
        |entry: &mut Entry| entry.offset += 1,
        |entry: &mut Entry| entry.length += 10_000_000,
        |entry: &mut Entry| entry.length = 0,
    ] {
        let mut entry = good.clone();
        change(&mut entry);
        let plan = Plan::new([Ok(entry)], &Selection::everything()).unwrap();
        let target = tempfile::tempdir().unwrap();
        let open = |span| case.artifact.open(span);
        let result = extract_selected(&plan, open, target.path(), &ExtractOptions::default(), &Watch::default());
        let harmless = result.as_ref().is_ok_and(|summary| summary.files == 0);
        assert!(harmless || matches!(result, Err(FilesError::Damaged { .. })), "{result:?}");
    }
}

#[test]
fn a_dump_gives_the_content_with_holes_as_zeros() {
    let case = case();
    for path in [
        "tree/regular",
        "tree/empty",
        "tree/links/third",
        "tree/sparse/ends with content",
        "tree/sparse/many holes",
        "tree/large",
    ] {
        let entry = locate(case.artifact.index(), &RawPath::from(path)).unwrap();
        let mut content = Vec::new();
        let mut reader = case.artifact.open(entry.data()).unwrap().take(entry.data_length);
        let count = dump(&entry, &mut reader, &mut content, &Watch::default()).unwrap();
        assert_eq!(count, entry.size);
        assert!(content == fs::read(case.temp.path().join(path)).unwrap(), "{path}");
    }
    let find = |path: &str| locate(case.artifact.index(), &RawPath::from(path)).unwrap_err().code();
    assert_eq!(find("tree/names"), "FILES_NOT_A_FILE");
    assert_eq!(find("tree"), "FILES_NOT_A_FILE");
    assert_eq!(find("tree/pipe"), "FILES_NOT_A_FILE");
    assert_eq!(find("tree/regular/x"), "FILES_NOT_FOUND");
    assert_eq!(find("tree/nothing"), "FILES_NOT_FOUND");
}

#[test]
fn a_dump_that_ends_early_says_so() {
    let case = case();
    for path in ["tree/regular", "tree/sparse/ends with content"] {
        let entry = locate(case.artifact.index(), &RawPath::from(path)).unwrap();
        for short in [0, 1, entry.data_length / 2, entry.data_length - 1] {
            let mut reader = case.artifact.open(entry.data()).unwrap().take(short);
            let error = dump(&entry, &mut reader, &mut io::sink(), &Watch::default()).unwrap_err();
            assert_eq!(error.code(), "FILES_DAMAGED");
        }
    }
}

#[test]
fn conflicts_look_only_at_what_is_selected() {
    let case = case();
    let target = tempfile::tempdir().unwrap();
    let everything = Selection::everything();
    let find = |selection: &Selection| conflicts(case.artifact.index(), selection, target.path(), false, 10).unwrap();
    assert!(find(&everything).is_empty());
    fs::create_dir_all(target.path().join("tree/links")).unwrap();
    assert!(find(&everything).is_empty(), "folders are merged");
    fs::write(target.path().join("tree/regular"), b"").unwrap();
    std::os::unix::fs::symlink("/tmp", target.path().join("tree/names")).unwrap();
    assert_eq!(find(&everything).len(), 10);
    assert_eq!(find(&Selection::of(&[RawPath::from("tree/regular")]).unwrap()), [RawPath::from("tree/regular")]);
    assert!(find(&Selection::of(&[RawPath::from("tree/times")]).unwrap()).is_empty());
    let none = target.path().join("not there");
    assert!(conflicts(case.artifact.index(), &everything, &none, false, 10).unwrap().is_empty());
}
