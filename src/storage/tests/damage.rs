//! Action × place × change: a published run that is not as it was published never verifies.

use super::*;

const FILES: [&str; 6] =
    ["accounts.snapshot.lz4", "accounts.snapshot.lz4.index", "site.tar.lz4", "site.tar.lz4.index", MANIFEST, SUMS];

#[test]
fn a_flipped_bit_anywhere_is_noticed_and_named() {
    let world = World::new();
    let (_, _, path) = world.published();
    let mut noise = Noise::fresh("flipped in a run directory");
    for name in FILES {
        let file = path.join(name);
        let good = std::fs::read(&file).unwrap();
        for _ in 0..60 {
            let bit = noise.below(good.len() * 8);
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&file, &bytes).unwrap();
            // Also without the hash from the log: the files must give it away by themselves.
            let faults = world.faults(None);
            assert!(!faults.is_empty(), "{name} bit {bit}");
            if name != SUMS {
                assert_eq!(faults[0].0, name, "bit {bit}: {faults:?}");
            }
        }
        std::fs::write(&file, &good).unwrap();
    }
    assert!(world.verify(None).is_good());
}

#[test]
fn a_file_cut_anywhere_is_noticed_and_named() {
    let world = World::new();
    let (_, _, path) = world.published();
    for name in FILES {
        let file = path.join(name);
        let good = std::fs::read(&file).unwrap();
        for cut in (0..good.len()).step_by(good.len() / 40 + 1).chain([good.len() - 1]) {
            std::fs::write(&file, &good[..cut]).unwrap();
            let faults = world.faults(None);
            assert!(!faults.is_empty(), "{name} cut to {cut}");
            let expected = match name {
                MANIFEST => "MANIFEST_ALTERED",
                SUMS => continue,
                _ if name.ends_with(".index") => "INDEX_TRUNCATED",
                _ => "ARTIFACT_TRUNCATED",
            };
            assert_eq!(faults, [(name.to_owned(), expected)], "cut to {cut}");
        }
        std::fs::write(&file, &good).unwrap();
    }
}

#[test]
fn a_file_that_is_gone_longer_or_no_file_is_noticed_and_named() {
    let world = World::new();
    let (_, sealed, path) = world.published();
    for name in FILES {
        let file = path.join(name);
        let good = std::fs::read(&file).unwrap();
        let code = |what: &str| match name {
            MANIFEST => format!("MANIFEST_{what}"),
            SUMS => format!("SUMS_{what}"),
            _ if name.ends_with(".index") => format!("INDEX_{what}"),
            _ => format!("ARTIFACT_{what}"),
        };
        let first = || world.faults(Some(sealed)).first().map(|(_, code)| (*code).to_owned()).unwrap_or_default();

        std::fs::remove_file(&file).unwrap();
        assert_eq!(first(), code("MISSING"));
        // The same bytes, behind a link.
        std::fs::write(world.dir.path().join("elsewhere"), &good).unwrap();
        std::os::unix::fs::symlink(world.dir.path().join("elsewhere"), &file).unwrap();
        assert_eq!(first(), code("ALTERED"), "{name} as a link");
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert_eq!(first(), code("ALTERED"), "{name} as a folder");
        std::fs::remove_dir(&file).unwrap();
        // A pipe without a writer must not hold anyone.
        rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(first(), code("ALTERED"), "{name} as a pipe");
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, [&good[..], b"x"].concat()).unwrap();
        let expected = if name == SUMS { "SUMS_INVALID".to_owned() } else { code("ALTERED") };
        assert_eq!(first(), expected, "{name} longer");
        std::fs::write(&file, &good).unwrap();
    }
    assert!(world.verify(Some(sealed)).is_good());
}

#[test]
fn the_first_fault_does_not_hide_the_others() {
    let world = World::new();
    let (_, _, path) = world.published();
    std::fs::remove_file(path.join("accounts.snapshot.lz4")).unwrap();
    std::fs::write(path.join("site.tar.lz4.index"), "x").unwrap();
    let faults = world.faults(None);
    assert_eq!(
        faults,
        [
            ("accounts.snapshot.lz4".to_owned(), "ARTIFACT_MISSING"),
            ("site.tar.lz4.index".to_owned(), "INDEX_TRUNCATED")
        ]
    );
}

#[test]
fn a_run_forged_as_a_whole_is_noticed_by_the_hash_from_the_log() {
    let world = World::new();
    let (manifest, sealed, path) = world.published();
    std::fs::remove_dir_all(&path).unwrap();
    let run_dir = world.storage.create_run(run(RUN)).unwrap();
    let artifacts = vec![world.write(&run_dir, "accounts.snapshot", b"balance 500000\n")];
    let forged = Manifest { participants: super::manifest(run(RUN), artifacts).participants, ..manifest };
    run_dir.seal(&forged, None, Staged::Here, &mut |_| {}).unwrap();
    world.storage.publish(run(RUN), Destination::Completed).unwrap();
    assert!(world.verify(None).is_good(), "in itself it is consistent");
    assert_eq!(world.faults(Some(sealed)), [(SUMS.to_owned(), "SUMS_ALTERED")]);
}

#[test]
fn lists_that_disagree_are_noticed() {
    let world = World::new();
    let (_, _, path) = world.published();
    let sums = std::fs::read_to_string(path.join(SUMS)).unwrap();
    // A file less in the list.
    let shorter: String =
        sums.lines().filter(|line| !line.contains("site.tar.lz4.index")).map(|l| format!("{l}\n")).collect();
    std::fs::write(path.join(SUMS), &shorter).unwrap();
    assert_eq!(world.faults(None), [("site.tar.lz4.index".to_owned(), "INDEX_ALTERED")]);
    // A file more, there and good.
    std::fs::write(path.join("more"), "more").unwrap();
    let hash = "187897ce0afcf20b50ba2b37dca84a951b7046f29ed5ab94f010619f69d6e189";
    std::fs::write(path.join(SUMS), format!("{sums}{hash}  more\n")).unwrap();
    assert_eq!(world.faults(None), [("more".to_owned(), "ARTIFACT_ALTERED")]);
    // No manifest in the list.
    let without: String = sums.lines().filter(|line| !line.contains(MANIFEST)).map(|l| format!("{l}\n")).collect();
    std::fs::write(path.join(SUMS), without).unwrap();
    assert_eq!(world.faults(None)[0], (SUMS.to_owned(), "SUMS_INVALID"));
}

#[test]
fn what_lies_beside_a_run_is_named_and_is_no_fault() {
    let world = World::new();
    let (_, sealed, path) = world.published();
    std::fs::write(path.join("note.txt"), "later").unwrap();
    std::fs::write(path.join(".accounts.snapshot.lz4.1.tmp"), "half").unwrap();
    let report = world.verify(Some(sealed));
    assert!(report.is_good());
    assert_eq!(report.extra, [".accounts.snapshot.lz4.1.tmp", "note.txt"]);
}

#[test]
fn without_a_manifest_the_files_are_still_checked_by_the_list() {
    let world = World::new();
    let (_, _, path) = world.published();
    std::fs::write(path.join(MANIFEST), "{").unwrap();
    std::fs::write(path.join("site.tar.lz4"), "x").unwrap();
    let faults = world.faults(None);
    assert_eq!(faults, [(MANIFEST.to_owned(), "MANIFEST_ALTERED"), ("site.tar.lz4".to_owned(), "ARTIFACT_ALTERED")]);
}

#[test]
fn sealing_notices_an_artifact_that_is_not_as_it_was_written() {
    for change in ["flip", "cut", "remove", "link"] {
        let world = World::new();
        let run_dir = world.storage.create_run(run(RUN)).unwrap();
        let artifacts = vec![world.write(&run_dir, "good", b"good"), world.write(&run_dir, "bad", b"bad bad bad")];
        let file = run_dir.path().join("bad.lz4");
        let mut bytes = std::fs::read(&file).unwrap();
        match change {
            "flip" => bytes[20] ^= 1,
            "cut" => drop(bytes.pop()),
            _ => std::fs::remove_file(&file).unwrap(),
        }
        match change {
            "remove" => {}
            "link" => std::os::unix::fs::symlink("good.lz4", &file).unwrap(),
            _ => std::fs::write(&file, bytes).unwrap(),
        }
        let error = run_dir.seal(&manifest(run(RUN), artifacts.clone()), None, Staged::Here, &mut |_| {}).unwrap_err();
        assert_eq!(error.code(), "ARTIFACT_CHECK_FAILED");
        let StorageError::NotAsWritten { files, .. } = error else { panic!("{error}") };
        assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["bad.lz4"], "{change}");
        assert!(!run_dir.path().join(SUMS).exists());
        // Its participant failed; the rest is sealed and goes to failed/.
        run_dir.discard(std::slice::from_ref(&artifacts[1].path)).unwrap();
        run_dir.seal(&manifest(run(RUN), vec![artifacts[0].clone()]), None, Staged::Here, &mut |_| {}).unwrap();
        world.storage.publish(run(RUN), Destination::Failed).unwrap();
        assert!(world.verify(None).is_good());
    }
}
