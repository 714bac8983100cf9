//! From the first folder to the last unlink, also with a crash after each step.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

#[test]
fn sha256sum_alone_checks_a_published_run() {
    let world = World::new();
    let (_, sealed, path) = world.published();
    let output = Command::new("sha256sum").args(["--strict", "-c", SUMS]).current_dir(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 5);
    let report = world.verify(Some(sealed));
    assert!(report.is_good() && report.extra.is_empty(), "{report:?}");
    assert_eq!(report.files.len(), 6);
}

#[test]
fn the_manifest_reads_back_as_it_was_written() {
    let world = World::new();
    let (manifest, _, _) = world.published();
    assert_eq!(world.storage.lease(run(RUN)).unwrap().manifest().unwrap(), manifest);
}

#[test]
fn artifacts_and_indexes_read_back_through_a_lease() {
    use std::io::Read;
    let world = World::new();
    let (manifest, _, _) = world.published();
    let lease = world.storage.lease(run(RUN)).unwrap();
    let artifact = manifest.artifacts().next().unwrap();
    let mut content = String::new();
    lease.artifact(&world.pipeline, artifact, None).unwrap().stream().read_to_string(&mut content).unwrap();
    assert_eq!(content, "balance 5\n".repeat(1000));
    assert_eq!(lease.index(artifact, None).unwrap().unwrap().count(), 2);
}

#[test]
fn everything_is_private() {
    let world = World::new();
    let (_, _, path) = world.published();
    let mode = |path: &std::path::Path| path.symlink_metadata().unwrap().permissions().mode() & 0o777;
    for folder in [".running", "completed", "failed", "pre-restore", ".importing", ".deleting"] {
        assert_eq!(mode(&world.dir.path().join("backups").join(folder)), 0o700, "{folder}");
    }
    assert_eq!(mode(&path), 0o700);
    for entry in std::fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn publishing_goes_on_from_wherever_a_crash_left_it() {
    // Before the rename, after it, and after everything: the same end each time.
    for renamed in [false, true] {
        let world = World::new();
        world.sealed();
        let (old, new) = (world.storage.path(Place::Running, run(RUN)), world.storage.path(Place::Completed, run(RUN)));
        if renamed {
            std::fs::rename(&old, &new).unwrap();
        }
        assert_eq!(world.storage.publish(run(RUN), Destination::Completed).unwrap(), new);
        assert_eq!(world.storage.publish(run(RUN), Destination::Completed).unwrap(), new);
        assert_eq!(world.storage.locate(run(RUN)), Some(Place::Completed));
        assert!(world.storage.runs(Place::Running).unwrap().is_empty());
        assert_eq!(world.storage.runs(Place::Completed).unwrap(), [run(RUN)]);
        assert!(world.verify(None).is_good());
        let error = world.storage.publish(run(RUN), Destination::Failed).unwrap_err();
        assert_eq!(error.code(), "RUN_DIRECTORY_ELSEWHERE");
    }
}

#[test]
fn sealing_goes_on_from_wherever_a_crash_left_it() {
    let world = World::new();
    let (manifest, sealed) = world.sealed();
    let path = world.storage.path(Place::Running, run(RUN));
    for gone in [vec![], vec![SUMS], vec![MANIFEST, SUMS]] {
        gone.iter().for_each(|name| std::fs::remove_file(path.join(name)).unwrap());
        std::fs::write(path.join("SHA256SUMS.tmp"), "half a li").unwrap();
        let again = world.storage.open_run(run(RUN)).unwrap().seal(&manifest, None, Staged::Here, &mut |_| {}).unwrap();
        assert_eq!(again, sealed);
    }
}

#[test]
fn a_run_without_a_directory_is_said_to_have_none() {
    let world = World::new();
    let missing = "RUN_DIRECTORY_MISSING";
    assert_eq!(world.storage.locate(run(RUN)), None);
    assert_eq!(world.storage.publish(run(RUN), Destination::Failed).unwrap_err().code(), missing);
    assert_eq!(world.storage.open_run(run(RUN)).unwrap_err().code(), missing);
    assert_eq!(world.storage.delete(run(RUN)).unwrap_err().code(), missing);
    assert_eq!(world.storage.lease(run(RUN)).unwrap_err().code(), missing);
}

#[test]
fn a_run_id_gets_one_directory() {
    let world = World::new();
    world.published();
    assert_eq!(world.storage.create_run(run(RUN)).unwrap_err().code(), "RUN_DIRECTORY_EXISTS");
    world.storage.create_run(run("20261121-220000-000002")).unwrap();
    let error = world.storage.create_run(run("20261121-220000-000002")).unwrap_err();
    assert_eq!(error.code(), "RUN_DIRECTORY_EXISTS");
    assert_eq!(world.storage.lease(run("20261121-220000-000002")).unwrap_err().code(), "BACKUP_RUN_ACTIVE");
    assert_eq!(world.storage.delete(run("20261121-220000-000002")).unwrap_err().code(), "BACKUP_RUN_ACTIVE");
}

#[test]
fn a_run_that_is_read_is_not_deleted() {
    let world = World::new();
    world.published();
    let readers = [world.storage.lease(run(RUN)).unwrap(), world.storage.lease(run(RUN)).unwrap()];
    let error = world.storage.delete(run(RUN)).unwrap_err();
    assert_eq!(error.code(), "BACKUP_RUN_IN_USE");
    assert!(error.retryable());
    assert!(world.verify(None).is_good());
    drop(readers);
    world.storage.delete(run(RUN)).unwrap();
    assert_eq!(world.storage.lease(run(RUN)).unwrap_err().code(), "RUN_DIRECTORY_MISSING");
}

#[test]
fn deleting_goes_on_from_wherever_a_crash_left_it() {
    let world = World::new();
    let (_, _, path) = world.published();
    let gone = world.storage.path(Place::Deleting, run(RUN));
    std::fs::rename(&path, &gone).unwrap();
    assert_eq!(world.storage.delete(run(RUN)).unwrap(), gone);
    assert_eq!(world.storage.locate(run(RUN)), Some(Place::Deleting));
    // An unlink that was cut short.
    std::fs::remove_file(gone.join(MANIFEST)).unwrap();
    assert_eq!(world.storage.sweep().unwrap(), 1);
    assert_eq!(world.storage.sweep().unwrap(), 0);
    assert_eq!(world.storage.locate(run(RUN)), None);
}

#[test]
fn a_run_can_come_back_and_be_deleted_again_before_the_sweep() {
    let world = World::new();
    for _ in 0..2 {
        let (_, _, path) = world.published();
        assert!(path.ends_with(RUN));
        world.storage.delete(run(RUN)).unwrap();
        // As an import would bring it back.
        std::fs::rename(world.storage.path(Place::Deleting, run(RUN)), world.dir.path().join("aside")).unwrap();
        std::fs::rename(world.dir.path().join("aside"), &path).unwrap();
        std::fs::create_dir(world.storage.path(Place::Deleting, run(RUN))).unwrap();
        assert_eq!(world.storage.locate(run(RUN)), Some(Place::Completed), "what was deleted before hides nothing");
        world.storage.delete(run(RUN)).unwrap();
        world.storage.sweep().unwrap();
    }
}

#[test]
fn names_are_taken_without_regard_to_case_and_freed_by_a_discard() {
    let world = World::new();
    let run_dir = world.storage.create_run(run(RUN)).unwrap();
    let reserve = |name: &str, compression| run_dir.reserve(&name.parse().unwrap(), compression);
    let file = reserve("Accounts", Compression::Lz4).unwrap();
    assert_eq!(file.as_str(), "Accounts.lz4");
    for (name, compression) in [
        ("accounts", Compression::Lz4),
        ("ACCOUNTS.LZ4", Compression::None),
        ("accounts.lz4.index", Compression::None),
        ("manifest.json", Compression::None),
        ("Manifest.JSON", Compression::None),
        ("sha256sums", Compression::None),
    ] {
        assert_eq!(reserve(name, compression).unwrap_err().code(), "ARTIFACT_NAME_TAKEN", "{name}");
    }
    reserve("accounts", Compression::Zstd(3)).unwrap();
    assert_eq!(reserve(&"x".repeat(126), Compression::Lz4).unwrap_err().code(), "ARTIFACT_NAME_INVALID");
    run_dir.discard(&[file]).unwrap();
    reserve("accounts", Compression::Lz4).unwrap();
}

#[test]
fn a_failed_participants_files_go_and_the_others_stay() {
    let world = World::new();
    let run_dir = world.storage.create_run(run(RUN)).unwrap();
    let good = world.write(&run_dir, "good", b"kept");
    let bad = world.write(&run_dir, "bad", b"to go");
    for left in [".bad.lz4.17.tmp", ".bad.lz4.index.18.tmp", ".good.lz4.19.tmp"] {
        std::fs::write(run_dir.path().join(left), "half").unwrap();
    }
    run_dir.discard(std::slice::from_ref(&bad.path)).unwrap();
    let names = || super::super::run_dir::names(run_dir.path()).unwrap();
    assert_eq!(names(), [".good.lz4.19.tmp", "good.lz4", "good.lz4.index"]);
    run_dir.seal(&manifest(run(RUN), vec![good.clone()]), None, Staged::Here, &mut |_| {}).unwrap();
    // The next attempt keeps the good participant and nothing else, and knows its names.
    let again = world.storage.open_run(run(RUN)).unwrap();
    again.retain(std::slice::from_ref(&good.path)).unwrap();
    assert_eq!(names(), ["good.lz4", "good.lz4.index"]);
    let taken = again.reserve(&"GOOD".parse().unwrap(), Compression::Lz4).unwrap_err();
    assert_eq!(taken.code(), "ARTIFACT_NAME_TAKEN");
    again.reserve(&"bad".parse().unwrap(), Compression::Lz4).unwrap();
}

#[test]
fn a_run_found_damaged_while_it_was_published_is_sealed_again_for_its_other_end() {
    let world = World::new();
    let (manifest, _, path) = world.published();
    std::fs::write(path.join("site.tar.lz4"), "damaged").unwrap();
    for _ in 0..2 {
        world.storage.withdraw(run(RUN)).unwrap();
    }
    let run_dir = world.storage.open_run(run(RUN)).unwrap();
    let good = manifest.artifacts().next().unwrap().clone();
    run_dir.retain(std::slice::from_ref(&good.path)).unwrap();
    run_dir.seal(&super::manifest(run(RUN), vec![good]), None, Staged::Here, &mut |_| {}).unwrap();
    world.storage.publish(run(RUN), Destination::Failed).unwrap();
    assert_eq!(world.storage.locate(run(RUN)), Some(Place::Failed));
    assert!(world.verify(None).is_good());
}

#[test]
fn a_run_that_ends_without_a_directory_leaves_none() {
    let world = World::new();
    world.storage.discard_run(run(RUN)).unwrap();
    for published in [false, true] {
        match published {
            true => drop(world.published()),
            false => drop(world.sealed()),
        }
        // Also over what an earlier deletion of the same run left.
        std::fs::create_dir(world.storage.path(Place::Deleting, run(RUN))).unwrap();
        world.storage.discard_run(run(RUN)).unwrap();
        assert_eq!(world.storage.locate(run(RUN)), None);
    }
}
