//! What is taken from the source, what is left out, and what happens when it changes meanwhile.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::tree::noise;
use super::*;

fn tree(files: &[&str]) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    for file in files {
        let path = temp.path().join(file);
        if file.ends_with('/') {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
    }
    temp
}

fn paths(spec: &FilesSpec, env: &Env) -> (Vec<String>, Summary) {
    let (artifact, summary) = Artifact::write(spec, env, &Watch::default());
    (artifact.paths(), summary)
}

#[test]
fn given_paths_are_stored_under_their_last_names() {
    let temp = tree(&["a/data/x", "b/data/y", "data-2/z", "single"]);
    symlink(temp.path().join("a/data"), temp.path().join("link")).unwrap();
    symlink("single", temp.path().join("to single")).unwrap();
    let at = |path: &str| temp.path().join(path);
    let spec = spec(&[&at("a/data"), &at("b/data"), &at("data-2"), &at("link"), &at("a/data/.."), &at("to single")]);
    let (paths, summary) = paths(&spec, &Env::default());
    let expected = "data data/x data-2 data-2/y data-2-2 data-2-2/z link link/x a a/data a/data/x to single"
        .replace("to single", "to_single");
    assert_eq!(paths.join(" ").replace("to single", "to_single"), expected);
    assert_eq!(summary.warnings, Noted::default());
    let names: Vec<_> = spec.sources(&Env::default()).unwrap().iter().map(|source| source.name.to_string()).collect();
    assert_eq!(names, ["data", "data-2", "data-2-2", "link", "a", "to single"]);
}

#[test]
fn a_spec_survives_json_also_with_paths_that_are_not_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let odd = Path::new(std::ffi::OsStr::from_bytes(b"/srv/\xff"));
    let mut spec = spec(&[Path::new("/srv/data"), odd]);
    spec.exclude.push("*.tmp".to_owned());
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(json, r#"{"paths":["/srv/data",{"hex":"2f7372762fff"}],"exclude":["*.tmp"],"one_file_system":false}"#);
    assert_eq!(serde_json::from_str::<FilesSpec>(&json).unwrap(), spec);
    assert_eq!(serde_json::from_str::<FilesSpec>(r#"{"paths":["/a"]}"#).unwrap(), super::spec(&[Path::new("/a")]));
}

#[test]
fn wrong_paths_are_errors_before_anything_is_written() {
    let temp = tree(&["home/log/x", "good/x"]);
    let at = |path: &str| temp.path().join(path);
    let env = Env { skip: vec![FileId::of(&at("home")).unwrap()], ..Env::default() };
    let fail = |spec: &FilesSpec| {
        let mut artifact = Artifact::default();
        let error = write(spec, &env, &mut artifact, &Watch::default()).unwrap_err();
        assert!(artifact.stream.is_empty() && artifact.entries.is_empty());
        assert_eq!(scan(spec, &env, &Watch::default()).unwrap_err().code(), error.code());
        (error.code(), error.to_string())
    };
    let (code, text) = fail(&spec(&[&at("good"), &at("missing")]));
    assert_eq!(code, "FILES_MISSING");
    assert!(text.contains("/missing does not exist"), "{text}");
    assert_eq!(fail(&spec(&[])).0, "FILES_NO_PATHS");
    assert_eq!(fail(&spec(&[Path::new("relative")])).0, "FILES_NOT_ABSOLUTE");
    assert_eq!(fail(&spec(&[&at("good/x/y")])).0, "FILES_MISSING");
    assert_eq!(fail(&spec(&[&at("home")])).0, "FILES_SKIPPED");
    assert_eq!(fail(&spec(&[&at("home/log")])).0, "FILES_SKIPPED");
    let mut bad = spec(&[&at("good")]);
    bad.exclude.push("[z-a]".to_owned());
    let (code, text) = fail(&bad);
    assert_eq!(code, "FILES_EXCLUDE");
    assert!(text.contains("`[z-a]`"), "{text}");
}

#[test]
fn home_is_left_out_wherever_it_lies() {
    let temp = tree(&["top/a", "top/inner/home/log/x", "top/inner/z"]);
    let env = Env { skip: vec![FileId::of(&temp.path().join("top/inner/home")).unwrap()], ..Env::default() };
    let (paths, summary) = paths(&spec(&[&temp.path().join("top")]), &env);
    assert_eq!(paths, ["top", "top/a", "top/inner", "top/inner/z"]);
    assert_eq!((summary.warnings.count, summary.notes.count), (0, 1));
}

#[test]
fn excludes_are_relative_to_each_path_and_ignore_files_nest() {
    let temp = tree(&[
        "top/a.tmp",
        "top/keep.tmp",
        "top/build/x",
        "top/sub/build/x",
        "top/sub/a.tmp",
        "top/sub/a.log",
        "top/sub/b.log",
        "top/sub/deeper/b.log",
        "top/sub/deeper/target/x",
        "top/top",
        "other/build/x",
        "other/a.tmp",
    ]);
    let at = |path: &str| temp.path().join(path);
    fs::write(at("top/sub/.holdfastignore"), "# logs\n*.log\n!b.log\n").unwrap();
    fs::write(at("top/sub/deeper/.holdfastignore"), "/target/\r\nb.log\n").unwrap();
    let mut spec = spec(&[&at("top"), &at("other")]);
    spec.exclude = ["*.tmp", "!keep.tmp", "/build", "top/nothing"].map(str::to_owned).to_vec();
    let (paths, summary) = paths(&spec, &Env::default());
    assert_eq!(
        paths,
        [
            "top",
            "top/keep.tmp",
            "top/sub",
            "top/sub/.holdfastignore",
            "top/sub/b.log",
            "top/sub/build",
            "top/sub/build/x",
            "top/sub/deeper",
            "top/sub/deeper/.holdfastignore",
            "top/top",
            "other",
        ]
    );
    assert_eq!(summary.warnings, Noted::default());
    let totals = scan(&spec, &Env::default(), &Watch::default()).unwrap();
    assert_eq!((totals.files, totals.folders), (summary.files, summary.folders));
}

#[test]
fn a_wrong_line_of_an_ignore_file_is_a_warning() {
    let temp = tree(&["top/a", "top/b"]);
    fs::write(temp.path().join("top/.holdfastignore"), "a\n[z-a]\n").unwrap();
    let (paths, summary) = paths(&spec(&[&temp.path().join("top")]), &Env::default());
    assert_eq!(paths, ["top", "top/.holdfastignore", "top/b"]);
    assert_eq!(summary.warnings.count, 1);
    assert!(summary.warnings.first[0].reason.contains("line 2"), "{:?}", summary.warnings);
}

#[test]
fn a_marked_cache_keeps_folder_and_tag() {
    let temp = tree(&["top/cache/CACHEDIR.TAG", "top/cache/x/y", "top/linked/x"]);
    let at = |path: &str| temp.path().join(path);
    fs::write(at("top/cache/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55").unwrap();
    // The standard asks for a regular file.
    symlink("../cache/CACHEDIR.TAG", at("top/linked/CACHEDIR.TAG")).unwrap();
    let (found, summary) = paths(&spec(&[&at("top")]), &Env::default());
    assert_eq!(
        found,
        ["top", "top/cache", "top/cache/CACHEDIR.TAG", "top/linked", "top/linked/CACHEDIR.TAG", "top/linked/x"]
    );
    assert_eq!(summary.warnings.count, 0);
    let (found, summary) = paths(&spec(&[&at("top/cache")]), &Env::default());
    assert_eq!(found, ["cache", "cache/CACHEDIR.TAG"]);
    assert_eq!(summary.warnings.count, 1, "who names a cache is told that it is left out");
}

#[test]
fn pseudo_file_systems_are_never_entered() {
    let (paths, summary) = paths(&spec(&[Path::new("/proc")]), &Env::default());
    assert_eq!(paths, ["proc"]);
    assert_eq!(summary.warnings.count, 1);
}

#[test]
fn other_file_systems_are_left_out_on_request() {
    // Any machine has /proc below /; all else is excluded.
    let mut spec = spec(&[Path::new("/")]);
    spec.exclude = vec!["/*".to_owned(), "!/proc".to_owned()];
    let (paths, summary) = paths(&spec, &Env::default());
    assert_eq!(paths, ["root", "root/proc"]);
    assert_eq!((summary.warnings.count, summary.notes.count), (0, 1));
}

#[test]
fn a_file_that_vanishes_is_a_warning() {
    let temp = tree(&["top/a", "top/b", "top/c", "top/d/x", "top/e"]);
    let at = |path: &str| temp.path().join(path);
    let watch = Watch::with(|watch| {
        // After the folder's names were read, before its files are.
        if watch.files.load(Ordering::Relaxed) == 1 {
            let _ = fs::remove_file(at("top/b"));
            let _ = fs::remove_dir_all(at("top/d"));
            if !at("top/e").is_symlink() {
                fs::remove_file(at("top/e")).unwrap();
                symlink("/etc/passwd", at("top/e")).unwrap();
            }
        }
    });
    let (artifact, summary) = Artifact::write(&spec(&[&at("top")]), &Env::default(), &watch);
    assert_eq!(artifact.paths(), ["top", "top/a", "top/c"]);
    let warned: Vec<_> = summary.warnings.first.iter().map(|found| found.path.clone()).collect();
    assert_eq!(warned, [at("top/b"), at("top/d"), at("top/e")]);
    assert_eq!(watch.warnings.lock().unwrap().len(), 3);
    artifact.extract(tempfile::tempdir().unwrap().path());
}

/// Backs up two files of 3 MiB while `change` is done to the first in the middle of its reading.
fn changed_while_read(change: impl Fn(&Path) + Sync) -> (Artifact, Summary, u64) {
    let temp = tree(&["top/"]);
    let at = |path: &str| temp.path().join(path);
    fs::write(at("top/a"), noise(3 << 20, 1)).unwrap();
    fs::write(at("top/b"), noise(3 << 20, 2)).unwrap();
    let path = at("top/a");
    let done = AtomicBool::new(false);
    let watch = Watch::with(|watch| {
        if watch.bytes.load(Ordering::Relaxed) >= 1 << 20 && !done.swap(true, Ordering::Relaxed) {
            change(&path);
        }
    });
    let mut artifact = Artifact::default();
    let summary = write(&spec(&[&at("top")]), &Env::default(), &mut artifact, &watch).unwrap();
    assert_eq!(summary.warnings.count, 1);
    assert_eq!(summary.warnings.first[0].path, at("top/a"));
    let target = tempfile::tempdir().unwrap();
    artifact.extract(target.path());
    assert_eq!(fs::read(target.path().join("top/b")).unwrap(), noise(3 << 20, 2));
    let restored = fs::read(target.path().join("top/a")).unwrap();
    assert_eq!(restored.len(), 3 << 20);
    let same = restored.iter().zip(noise(3 << 20, 1)).take_while(|(a, b)| **a == *b).count() as u64;
    (artifact, summary, same)
}

#[test]
fn a_file_that_shrinks_is_filled_with_zeros_and_warned_of() {
    let (_, summary, same) =
        changed_while_read(|path| OpenOptions::new().write(true).open(path).unwrap().set_len(2 << 20).unwrap());
    assert!((2 << 20..(2 << 20) + 16).contains(&same), "{same}");
    assert!(summary.warnings.first[0].reason.contains("shrank to 2097152"), "{summary:?}");
}

#[test]
fn a_file_that_grows_is_cut_and_warned_of() {
    let (_, summary, same) = changed_while_read(|path| {
        OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap();
    });
    assert_eq!(same, 3 << 20);
    assert!(summary.warnings.first[0].reason.contains("grew from 3145728 to 3145732"), "{summary:?}");
}

#[test]
fn a_file_that_is_written_to_is_warned_of() {
    let (_, summary, _) = changed_while_read(|path| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        rustix::io::pwrite(&file, b"other", 5).unwrap();
        super::tree::set_mtime(path, 77, 0);
    });
    assert!(summary.warnings.first[0].reason.contains("changed while it was read"), "{summary:?}");
}

#[test]
fn a_file_this_user_may_not_read_is_a_warning() {
    if super::tree::root() {
        eprintln!("root may read everything: not tested");
        return;
    }
    let temp = tree(&["top/a", "top/b", "top/closed/x"]);
    let close = |path: &str| fs::set_permissions(temp.path().join(path), fs::Permissions::from_mode(0o000)).unwrap();
    close("top/a");
    close("top/closed");
    let (paths, summary) = paths(&spec(&[&temp.path().join("top")]), &Env::default());
    fs::set_permissions(temp.path().join("top/closed"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(paths, ["top", "top/b", "top/closed"]);
    assert_eq!(summary.warnings.count, 2);
}

#[test]
fn cancelling_ends_a_write_a_scan_and_a_restore() {
    let temp = tree(&["top/a", "top/b"]);
    let spec = spec(&[&temp.path().join("top")]);
    let watch = Watch::with(|watch| {
        if watch.files.load(Ordering::Relaxed) == 1 {
            watch.cancelled.store(true, Ordering::Relaxed);
        }
    });
    let error = write(&spec, &Env::default(), &mut Artifact::default(), &watch).unwrap_err();
    assert!(matches!(error, FilesError::Cancelled), "{error}");
    assert!(matches!(scan(&spec, &Env::default(), &watch), Err(FilesError::Cancelled)));
    let (artifact, _) = Artifact::write(&spec, &Env::default(), &Watch::default());
    let target = tempfile::tempdir().unwrap();
    let options = ExtractOptions::default();
    let error = extract(&mut Cursor::new(&artifact.stream), target.path(), &options, &watch).unwrap_err();
    assert!(matches!(error, FilesError::Cancelled), "{error}");
}

#[test]
fn an_output_that_fails_ends_the_write() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Output for Full {
        fn entry(&mut self, _: &Entry) -> io::Result<()> {
            Ok(())
        }
    }
    let temp = tree(&["top/a"]);
    let error = write(&spec(&[&temp.path().join("top")]), &Env::default(), &mut Full, &Watch::default()).unwrap_err();
    assert!(matches!(&error, FilesError::Output(source) if source.kind() == io::ErrorKind::StorageFull), "{error}");
}
