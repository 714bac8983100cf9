//! What is not put back in place, and what is kept whole where that fails.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

#[test]
fn what_cannot_be_put_back_in_place_is_refused_before_anything_is_touched() {
    let temp = tempfile::tempdir().unwrap();
    let at = |path: &str| temp.path().join(path);
    put(at("data/a"), "one");
    put(at("other/b"), "two");
    let first = spec(&[&at("data")]);
    let artifact = state(&first);
    let before = describe(temp.path());
    let refused = |paths: &[&Path], code: &str| {
        let spec = spec(paths);
        assert_eq!(Restore::of(&spec).refused(&artifact), code, "{paths:?}");
    };
    refused(&[&at("other")], "FILES_NOT_A_GIVEN_PATH");
    refused(&[&at("data"), &at("data")], "FILES_OVERLAP");
    refused(&[&at("data"), &at("data/a")], "FILES_OVERLAP");
    refused(&[&at("data/a/data")], "FILES_NO_WAY");
    symlink("nowhere", at("link")).unwrap();
    refused(&[&at("link/data")], "FILES_DANGLING");
    fs::remove_file(at("link")).unwrap();
    symlink("data", at("same")).unwrap();
    refused(&[&at("data"), &at("same")], "FILES_OVERLAP");
    fs::remove_file(at("same")).unwrap();

    for own in [at("data/home"), at("data"), temp.path().to_owned()] {
        let restore = Restore { spec: &first, own: vec![own] };
        assert_eq!(restore.refused(&artifact), "FILES_HOLDS_OWN");
        assert_eq!(restore.stage(&artifact, KEY, false).unwrap_err().code(), "FILES_HOLDS_OWN", "also later");
    }
    let other = spec(&[&at("other")]);
    let unknown = Restore::of(&other);
    assert_eq!(unknown.stage(&artifact, KEY, false).unwrap_err().code(), "FILES_NOT_A_GIVEN_PATH");
    assert_same(&without(&describe(temp.path()), &["."]), &without(&before, &["."]));

    // What is mounted is never exchanged.
    let entry = Entry { path: RawPath::from("proc"), ..artifact.entries[0].clone() };
    let proc = spec(&[Path::new("/proc")]);
    assert_eq!(Restore::of(&proc).replace().plan([Ok(entry)]).unwrap_err().code(), "FILES_MOUNTED");
    let root = spec(&[Path::new("/")]);
    assert_eq!(Restore::of(&root).refused(&artifact), "FILES_MOUNTED");
}

#[test]
fn a_folder_where_the_backup_has_something_else_is_not_lost_unasked() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("data");
    put(top.join("in/x"), "file");
    put(top.join("folder/y"), "y");
    let spec = spec(&[&top]);
    let artifact = state(&spec);
    fs::remove_file(top.join("in/x")).unwrap();
    put(top.join("in/x/only"), "only here");
    fs::remove_dir_all(top.join("folder")).unwrap();
    put(top.join("folder"), "now a file");
    let restore = Restore::of(&spec);
    let before = describe(&top);
    let error = restore.stage(&artifact, KEY, false).unwrap_err();
    assert_eq!(error.code(), "FILES_FOLDER_IN_THE_WAY");
    assert!(error.to_string().contains("data/in/x"), "{error}");
    restore.discard();
    assert_same(&describe(&top), &before);
    assert_eq!(names(temp.path()), set(["data"]));

    restore.all(&artifact, true);
    assert_eq!((read(top.join("in/x")), read(top.join("folder/y"))), ("file".into(), "y".into()));

    // The same of a given path itself.
    let file = temp.path().join("file");
    put(&file, "a file");
    let given = super::spec(&[&file]);
    let artifact = state(&given);
    fs::remove_file(&file).unwrap();
    put(file.join("inside"), "x");
    let restore = Restore::of(&given);
    assert_eq!(restore.stage(&artifact, KEY, false).unwrap_err().code(), "FILES_FOLDER_IN_THE_WAY");
    restore.all(&artifact, true);
    assert_eq!(read(&file), "a file");
}

#[test]
fn awkward_names_have_a_folder_beside_them() {
    let temp = tempfile::tempdir().unwrap();
    for name in [&[0xe9; 255][..], b"new\nline", b"-", b"staged.json", b"tree"] {
        let top = temp.path().join(std::ffi::OsStr::from_bytes(name));
        put(top.join("a"), "one");
        let spec = spec(&[&top]);
        let artifact = state(&spec);
        put(top.join("a"), "two");
        Restore::of(&spec).all(&artifact, false);
        assert_eq!(read(top.join("a")), "one");
        fs::remove_dir_all(&top).unwrap();
        assert_eq!(names(temp.path()), set([]));
    }
}

#[test]
fn a_damaged_stream_or_a_stop_leaves_live_data_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("data");
    put(top.join("a"), "one");
    fs::write(top.join("b"), noise(100_000, 1)).unwrap();
    let spec = spec(&[&top]);
    let artifact = state(&spec);
    let before = describe(&top);
    let restore = Restore::of(&spec);
    let mut short = &artifact.stream[..artifact.stream.len() / 2];
    let error = restore.replace().stage(&mut short, KEY, (true, false), &Watch::default()).unwrap_err();
    assert_eq!(error.code(), "FILES_DAMAGED");
    // What is not whole is never put in place.
    assert_eq!(restore.replace().commit(KEY, false, &Watch::default()).unwrap_err().code(), "FILES_NOT_STAGED");
    let stopped = Watch::with(|watch| watch.cancelled.store(true, Ordering::Relaxed));
    let error = restore.replace().stage(&mut Cursor::new(&artifact.stream), KEY, (true, false), &stopped).unwrap_err();
    assert_eq!(error.code(), "FILES_CANCELLED");
    restore.discard();
    assert_same(&describe(&top), &before);
    assert_eq!(names(temp.path()), set(["data"]));
}

#[test]
fn a_link_that_is_put_on_the_way_meanwhile_leads_nowhere() {
    let temp = tempfile::tempdir().unwrap();
    let at = |path: &str| temp.path().join(path);
    put(at("srv/data/a"), "one");
    put(at("other/data/a"), "of somebody else");
    let spec = spec(&[&at("srv/data")]);
    let artifact = state(&spec);
    put(at("srv/data/a"), "two");
    let other = describe(&at("other"));
    let restore = Restore::of(&spec);
    // While it is staged, and once it is.
    let swap = || {
        fs::rename(at("srv"), at("away")).unwrap();
        symlink(at("other"), at("srv")).unwrap();
    };
    let swapping = Watch::with(|_| {
        if !at("away").exists() {
            swap();
        }
    });
    let staged = restore.replace().stage(&mut Cursor::new(&artifact.stream), KEY, (true, false), &swapping);
    assert!(staged.is_err() || restore.replace().commit(KEY, false, &Watch::default()).is_err());
    assert_same(&describe(&at("other")), &other);
    assert_eq!(read(at("away/data/a")), "two");

    fs::remove_file(at("srv")).unwrap();
    fs::rename(at("away"), at("srv")).unwrap();
    restore.stage(&artifact, KEY, true).unwrap();
    swap();
    assert_eq!(restore.replace().commit(KEY, false, &Watch::default()).unwrap_err().code(), "FILES_NOT_STAGED");
    assert_same(&describe(&at("other")), &other);
    fs::remove_file(at("srv")).unwrap();
    fs::rename(at("away"), at("srv")).unwrap();
    restore.commit(KEY);
    assert_eq!(read(at("srv/data/a")), "one");

    // A link in the place of what a restore leaves is not followed either.
    restore.discard();
    symlink(at("other"), at(&format!("srv/.data.holdfast-{KEY}"))).unwrap();
    restore.all(&artifact, true);
    assert_same(&describe(&at("other")), &other);
    assert_eq!(names(&at("srv")), set(["data"]));
}
