//! Runs that arrive from elsewhere.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use holdfast_model::ids::Sha256;

use super::*;

/// A published run, and the same as it arrives.
fn arriving() -> (World, Sealed, PathBuf) {
    let world = World::new();
    let (_, sealed, path) = world.published();
    let into = world.storage.begin_import(run(RUN)).unwrap();
    copy(&path, &into);
    (world, sealed, path)
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn inode(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    path.metadata().unwrap().ino()
}

#[test]
fn what_arrived_is_read_whole_and_takes_the_place_of_what_is_there_only_where_that_is_said() {
    let (world, sealed, path) = arriving();
    let id = run(RUN);
    let arrived = world.storage.check_import(id, None, &mut |_| {}).unwrap();
    assert_eq!((arrived.manifest.run_id, arrived.sums_sha256), (id, sealed.sums_sha256));
    let refused = world.storage.publish_import(id, Destination::Completed, false).unwrap_err();
    assert_eq!(refused.code(), "RUN_DIRECTORY_EXISTS", "{refused}");
    let lease = world.storage.lease(id).unwrap();
    let refused = world.storage.publish_import(id, Destination::Completed, true).unwrap_err();
    assert_eq!(refused.code(), "BACKUP_RUN_IN_USE", "{refused}");
    drop(lease);
    let (old, new) = (inode(&path), inode(&world.storage.path(Place::Importing, id)));
    assert_ne!(old, new);
    // Done again, as after a crash, it comes to the same end.
    for _ in 0..2 {
        assert_eq!(world.storage.publish_import(id, Destination::Completed, true).unwrap(), path);
        assert_eq!(inode(&path), new);
    }
    assert!(world.verify(Some(sealed)).is_good() && !world.storage.is_arriving(id));
    assert_eq!(world.storage.sweep().unwrap(), 1);
    let mode = path.join(MANIFEST).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_crash_between_the_two_renames_is_gone_on_with() {
    let (world, sealed, path) = arriving();
    let id = run(RUN);
    world.storage.delete(id).unwrap();
    world.storage.sweep().unwrap();
    assert_eq!(world.storage.publish_import(id, Destination::Completed, true).unwrap(), path);
    assert!(world.verify(Some(sealed)).is_good());
    world.storage.delete(id).unwrap();
    let missing = world.storage.publish_import(id, Destination::Completed, true).unwrap_err();
    assert_eq!(missing.code(), "RUN_DIRECTORY_MISSING");
}

#[test]
fn what_is_not_whole_or_more_than_the_run_is_refused() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 7] = [
        ("a byte more", |dir| fs::write(dir.join("site.tar.lz4"), "x").unwrap()),
        ("a file less", |dir| fs::remove_file(dir.join("site.tar.lz4")).unwrap()),
        ("no manifest", |dir| fs::remove_file(dir.join(MANIFEST)).unwrap()),
        ("no list", |dir| fs::remove_file(dir.join(SUMS)).unwrap()),
        ("a file more", |dir| fs::write(dir.join("more"), "x").unwrap()),
        ("a folder", |dir| fs::create_dir(dir.join("folder")).unwrap()),
        ("a link", |dir| {
            fs::remove_file(dir.join("site.tar.lz4")).unwrap();
            symlink("/etc/passwd", dir.join("site.tar.lz4")).unwrap();
        }),
    ];
    for (what, change) in changes {
        let (world, sealed, _) = arriving();
        change(&world.storage.path(Place::Importing, run(RUN)));
        let refused = world.storage.check_import(run(RUN), None, &mut |_| {});
        assert!(refused.is_err(), "{what}");
        assert!(world.verify(Some(sealed)).is_good(), "{what}: what is here stays");
    }
    let (world, ..) = arriving();
    let other = Some(Sha256([1; 32]));
    assert!(world.storage.check_import(run(RUN), other, &mut |_| {}).is_err(), "another list of hashes");
}

#[test]
fn what_nobody_goes_on_with_is_swept() {
    let (world, ..) = arriving();
    let other = run("20261121-220000-000002");
    world.storage.begin_import(other).unwrap();
    assert_eq!(world.storage.sweep_imports(&|id| id == other).unwrap(), 1);
    assert!(world.storage.is_arriving(other) && !world.storage.is_arriving(run(RUN)));
    world.storage.discard_import(other).unwrap();
    world.storage.discard_import(other).unwrap();
    assert!(!world.storage.is_arriving(other));
}
