//! Given paths that are put back where they are.

mod limits;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::fs::{CWD, RenameFlags};

use super::tree::{acl, assert_same, build, deep, describe, inode, noise, set_xattr, without};
use super::*;

const KEY: &str = "0198f3a1-0000-7000-8000-000000000001";
const BACK: &str = "0198f3a1-0000-7000-8000-000000000001-back";
const LATER: &str = "0198f3a1-0000-7000-8000-000000000002";

/// A restore in place of a spec.
struct Restore<'a> {
    spec: &'a FilesSpec,
    own: Vec<PathBuf>,
}

impl<'a> Restore<'a> {
    fn of(spec: &'a FilesSpec) -> Self {
        Self { spec, own: Vec::new() }
    }

    fn replace(&self) -> Replace<'_> {
        Replace { spec: self.spec, own: &self.own }
    }

    fn plan(&self, artifact: &Artifact) -> Result<Replacements, ReplaceError> {
        self.replace().plan(artifact.index())
    }

    fn stage(&self, artifact: &Artifact, key: &str, exactly: bool) -> Result<Summary, ReplaceError> {
        let how = (exactly, key.ends_with("-back"));
        self.replace().stage(&mut Cursor::new(&artifact.stream), key, how, &Watch::default())
    }

    fn commit(&self, key: &str) {
        self.replace().commit(key, key.ends_with("-back"), &Watch::default()).unwrap();
    }

    fn verify(&self, key: &str) {
        self.replace().verify(key).unwrap();
    }

    fn discard(&self) {
        self.replace().discard(&Watch::default()).unwrap();
    }

    fn all(&self, artifact: &Artifact, exactly: bool) {
        self.plan(artifact).unwrap();
        let summary = self.stage(artifact, KEY, exactly).unwrap();
        assert_eq!(summary.warnings, Noted::default());
        self.commit(KEY);
        self.verify(KEY);
    }

    fn refused(&self, artifact: &Artifact) -> &'static str {
        self.plan(artifact).unwrap_err().code()
    }
}

/// The state of now, also of paths that are not there.
fn state(spec: &FilesSpec) -> Artifact {
    let env = Env { may_be_missing: true, ..Env::default() };
    Artifact::write(spec, &env, &Watch::default()).0
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

fn put(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_awkward_tree_is_put_back_and_what_is_new_stays_or_goes() {
    for exactly in [false, true] {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().join("tree");
        fs::create_dir(&top).unwrap();
        let _socket = build(&top);
        let backed_up = describe(&top);
        let spec = spec(&[&top]);
        let artifact = state(&spec);

        fs::write(top.join("regular"), b"changed").unwrap();
        fs::remove_file(top.join("empty")).unwrap();
        fs::remove_dir_all(top.join("sparse")).unwrap();
        fs::set_permissions(top.join("links"), fs::Permissions::from_mode(0o700)).unwrap();
        put(top.join("names/later"), "later");
        let new = temp.path().join("new");
        fs::create_dir(&new).unwrap();
        let _other = build(&new);
        deep(&new.join("deeper"), 150, 60);
        fs::rename(&new, top.join("new")).unwrap();
        let changed = describe(&top);
        let cached = inode(&top.join("cache/object"));

        let restore = Restore::of(&spec);
        restore.stage(&artifact, KEY, exactly).unwrap();
        let staged = describe(&top);
        assert!(
            staged.keys().eq(changed.keys()) && staged["/regular"] == changed["/regular"],
            "live data is as it was"
        );
        restore.commit(KEY);
        restore.verify(KEY);

        let found = describe(&top);
        if exactly {
            // With the contents of the cache: no backup takes them, so nothing says that they are to go.
            assert_same(&found, &backed_up);
        } else {
            assert_same(&without(&found, &["/new", "/names/later"]), &backed_up);
            assert_eq!(read(top.join("names/later")), "later");
            let new = |all| without(all, &[]).into_iter().filter(|(path, _)| path.starts_with("/new")).collect();
            assert_same(&new(&found), &new(&changed));
        }
        assert_eq!(inode(&top.join("cache/object")), cached, "a second name of the same file, and then its only one");
        assert_eq!(top.join("cache/object").metadata().unwrap().nlink(), 1);
        assert!(top.join("socket").symlink_metadata().is_ok());
        assert_eq!(names(temp.path()), set(["tree"]), "nothing is left beside it");
    }
}

#[test]
fn a_path_is_exchanged_in_one_step_and_any_step_may_be_repeated() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("data");
    put(top.join("a"), "one");
    let spec = spec(&[&top]);
    let artifact = state(&spec);
    put(top.join("a"), "two");
    put(top.join("kept"), "kept");
    let restore = Restore::of(&spec);

    restore.stage(&artifact, KEY, false).unwrap();
    assert_eq!(names(temp.path()), set(["data", &format!(".data.holdfast-{KEY}")]));
    let before = inode(&top);
    // As another user sees it: closed.
    let beside = temp.path().join(format!(".data.holdfast-{KEY}"));
    assert_eq!(beside.metadata().unwrap().mode() & 0o777, 0o700);
    restore.commit(KEY);
    assert_eq!(inode(&beside.join("tree/data")), before, "the old one is whole until all are put in place");
    restore.commit(KEY);
    assert_eq!((read(top.join("a")), read(top.join("kept"))), ("one".into(), "kept".into()));

    // The process dies, and the next one stages anew, under the same key and under another.
    for key in [KEY, LATER] {
        restore.stage(&artifact, key, false).unwrap();
        restore.commit(key);
        assert_eq!((read(top.join("a")), read(top.join("kept"))), ("one".into(), "kept".into()));
    }
    restore.verify(LATER);
    assert_eq!(names(temp.path()), set(["data"]));
    assert_eq!(restore.replace().commit(KEY, false, &Watch::default()).unwrap_err().code(), "FILES_NOT_STAGED");

    // One that somebody replaced is found.
    restore.stage(&artifact, KEY, false).unwrap();
    restore.commit(KEY);
    fs::rename(&top, temp.path().join("away")).unwrap();
    fs::create_dir(&top).unwrap();
    assert_eq!(restore.replace().verify(KEY).unwrap_err().code(), "FILES_REPLACED");
    restore.discard();
    assert_eq!(names(temp.path()), set(["data", "away"]));
}

#[test]
fn what_comes_between_stage_and_exchange_is_moved_over_also_after_a_crash() {
    for crash in [false, true] {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().join("data");
        put(top.join("in/a"), "one");
        let spec = spec(&[&top]);
        let artifact = state(&spec);
        let times = top.join("in").metadata().unwrap().modified().unwrap();
        let restore = Restore::of(&spec);
        restore.stage(&artifact, KEY, false).unwrap();
        put(top.join("in/late"), "late");
        put(top.join("late/in/it"), "late");
        if crash {
            let staged = temp.path().join(format!(".data.holdfast-{KEY}/tree/data"));
            rustix::fs::renameat_with(CWD, &staged, CWD, &top, RenameFlags::EXCHANGE).unwrap();
            assert!(!top.join("late").exists());
            restore.stage(&artifact, KEY, false).unwrap();
        }
        restore.commit(KEY);
        restore.verify(KEY);
        assert_eq!((read(top.join("in/late")), read(top.join("late/in/it"))), ("late".into(), "late".into()));
        assert_eq!(
            top.join("in").metadata().unwrap().modified().unwrap(),
            times,
            "a folder has the time of the backup"
        );
        assert_eq!(names(temp.path()), set(["data"]));
    }
}

#[test]
fn with_deletion_only_what_no_backup_takes_is_kept() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("data");
    put(top.join("a"), "one");
    put(top.join("logs/old.log"), "log");
    put(top.join("ignored/.holdfastignore"), "*.tmp\n");
    put(top.join("ignored/x.tmp"), "tmp");
    let mut spec = spec(&[&top]);
    spec.exclude = vec!["*.log".into(), "/cache/".into()];
    let artifact = state(&spec);
    assert!(!artifact.paths().iter().any(|path| path.ends_with(".log") || path.ends_with(".tmp")));

    put(top.join("b"), "new");
    put(top.join("cache/deep/in/it"), "cached");
    put(top.join("app/x.log"), "log");
    put(top.join("app/x"), "new");
    put(top.join("app/empty/x"), "new");
    fs::remove_file(top.join("ignored/.holdfastignore")).unwrap();
    let restore = Restore::of(&spec);
    restore.all(&artifact, true);

    let (found, _) = Artifact::of(&[&top]);
    let files = found.entries.iter().filter(|entry| entry.kind == Kind::File);
    let files: Vec<_> = files.map(|entry| entry.path.to_string()).collect();
    assert_eq!(
        files,
        ["data/a", "data/app/x.log", "data/cache/deep/in/it", "data/ignored/.holdfastignore", "data/logs/old.log"]
    );
    assert_eq!(read(top.join("ignored/x.tmp")), "tmp", "the backup's own patterns count too");
    assert!(!top.join("app/empty").exists() && !top.join("b").exists());
}

#[test]
fn several_paths_and_one_that_is_gone_are_put_back_and_taken_away_again() {
    let temp = tempfile::tempdir().unwrap();
    let at = |path: &str| temp.path().join(path);
    put(at("one/data/a"), "one");
    put(at("two/data/b"), "two");
    put(at("three/file"), "three");
    fs::hard_link(at("one/data/a"), at("two/data/same")).unwrap();
    symlink(at("two"), at("way")).unwrap();
    let spec = spec(&[&at("one/data"), &at("way/data"), &at("three/file")]);
    let artifact = state(&spec);
    assert!(artifact.paths().contains(&"data-2/b".to_owned()));

    fs::remove_dir_all(at("three")).unwrap();
    fs::remove_dir_all(at("one/data")).unwrap();
    put(at("two/data/b"), "changed");
    put(at("two/data/new"), "new");
    let before = describe(temp.path());
    let restore = Restore::of(&spec);
    let snapshot = state(&spec);
    assert_eq!(snapshot.paths(), ["data-2", "data-2/b", "data-2/new", "data-2/same"]);

    let planned = restore.plan(&artifact).unwrap();
    assert!(planned.paths[2].makes_parent && planned.paths[2].beside == temp.path());
    assert_eq!(planned.paths.iter().map(|one| one.bytes).collect::<Vec<_>>(), [3, 3, 5]);
    restore.stage(&artifact, KEY, false).unwrap();
    restore.commit(KEY);
    assert_eq!(
        (read(at("one/data/a")), read(at("two/data/b")), read(at("three/file"))),
        ("one".into(), "two".into(), "three".into())
    );
    assert_eq!(inode(&at("one/data/a")), inode(&at("two/data/same")), "hard links across given paths come back");
    assert_eq!(read(at("two/data/new")), "new");
    assert!(at("way").symlink_metadata().unwrap().is_symlink(), "a link on the way stays");

    // And back, to what was there: one path, and two that were not.
    restore.stage(&snapshot, BACK, true).unwrap();
    restore.commit(BACK);
    restore.discard();
    let after = describe(temp.path());
    let unlinked = |mut all: std::collections::BTreeMap<String, super::tree::Described>| {
        // The folders that paths lie in changed.
        all.retain(|path, _| path.starts_with("/two/data/"));
        all
    };
    assert!(!at("one/data").exists() && !at("three/file").exists());
    assert_same(&unlinked(after), &unlinked(before));
    assert_eq!(names(&at("one")), set([]));
    assert_eq!(names(&at("two")), set(["data"]));

    // Where nothing was there at all, the state of then is an empty stream.
    fs::remove_dir_all(at("two/data")).unwrap();
    let nothing = state(&spec);
    assert!(nothing.entries.is_empty());
    restore.all(&artifact, false);
    assert_eq!(read(at("three/file")), "three");
    restore.stage(&nothing, BACK, true).unwrap();
    restore.commit(BACK);
    restore.discard();
    assert!(!at("three/file").exists() && !at("two/data").exists());
}

#[test]
fn what_the_stream_does_not_have_of_the_given_paths_stays_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let (one, two) = (temp.path().join("one"), temp.path().join("two"));
    put(one.join("a"), "1");
    let artifact = state(&spec(&[&one]));
    put(one.join("a"), "changed");
    put(two.join("b"), "2");
    let now = spec(&[&one, &two]);
    let restore = Restore::of(&now);
    assert_eq!(restore.plan(&artifact).unwrap().untouched, std::slice::from_ref(&two));
    restore.all(&artifact, true);
    assert_eq!((read(one.join("a")), read(two.join("b"))), ("1".into(), "2".into()));
}

#[test]
fn nothing_takes_over_an_acl_from_the_folder_it_lies_in() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("data");
    put(top.join("in/a"), "one");
    let given = spec(&[&top]);
    let artifact = state(&given);
    put(top.join("later/b"), "later");
    let expected = describe(&top);
    if !set_xattr(temp.path(), "system.posix_acl_default", &acl()) {
        return;
    }
    let restore = Restore::of(&given);
    restore.all(&artifact, false);
    assert_same(&without(&describe(&top), &["."]), &without(&expected, &["."]));

    // And one that the backup has on a folder is not taken over by what is kept in it.
    assert!(set_xattr(&top.join("in"), "system.posix_acl_default", &acl()));
    let artifact = state(&given);
    rustix::fs::removexattr(top.join("in"), "system.posix_acl_default").unwrap();
    put(top.join("in/kept/c"), "kept");
    restore.all(&artifact, false);
    let found = describe(&top);
    let folder = File::open(top.join("in/kept")).unwrap();
    assert_eq!(rustix::fs::flistxattr(folder, &mut [0; 100][..]).unwrap(), 0, "{:?}", found["/in/kept"]);
}
