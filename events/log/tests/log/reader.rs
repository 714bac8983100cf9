//! Readers beside an owner, and on a home that nobody owns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use holdfast_log::{JournalReader, OpenError, Owner, ReadLog};
use holdfast_model::ids::Position;

use crate::support::{Sample, all, append, assert_consistent, block, commits, event, flip, open, segments};

/// Every file with its length and the time of its last change.
fn listing(dir: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                folders.push(entry.path());
            }
            files.insert(entry.path(), (meta.len(), meta.modified().unwrap()));
        }
    }
    files
}

#[test]
fn it_reads_everything_and_changes_nothing() {
    let sample = Sample::new();
    let before = listing(sample.dir.path());
    for owner in [Owner::Living, Owner::Gone] {
        let reader = JournalReader::open(sample.dir.path(), owner).unwrap();
        assert_eq!(all(&reader), sample.records);
        assert_consistent(&reader, &sample.records);
    }
    assert_eq!(listing(sample.dir.path()), before);
}

#[test]
fn a_log_that_was_never_opened_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    for owner in [Owner::Living, Owner::Gone] {
        let reader = JournalReader::open(&dir.path().join("log"), owner).unwrap();
        assert_eq!(reader.head(), Position::START);
    }
    assert!(listing(dir.path()).is_empty());
}

#[test]
fn beside_an_owner_it_follows() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let reader = JournalReader::open(dir.path(), Owner::Living).unwrap();
    let mut head = reader.watch_head();
    block(async {
        for n in 0..30 {
            let appended = append(&log, "run/a", n * 2, vec![event("e", 300); 2]).await.unwrap();
            assert_eq!(reader.refresh().unwrap(), appended.last);
            assert!(head.has_changed().unwrap());
            assert_eq!(*head.borrow_and_update(), appended.last);
            assert_eq!(reader.read_all(appended.first, 9).unwrap().len(), 2);
        }
    });
    assert_eq!(all(&reader), all(&log));
    assert_consistent(&reader, &all(&log));
}

#[test]
fn it_goes_no_further_than_the_owner_says() {
    let sample = Sample::new();
    let copy = sample.copy();
    // The head as it was before the last commit: what follows may not be synced yet.
    let last = Position(sample.records.len() as u64);
    let mut head = (last.0 - 1).to_le_bytes().to_vec();
    head.extend(crc32c::crc32c(&head).to_le_bytes());
    std::fs::write(copy.path().join("head"), &head).unwrap();
    let reader = JournalReader::open(copy.path(), Owner::Living).unwrap();
    assert_eq!(all(&reader), sample.records[..sample.records.len() - 1]);
    // Half of a commit beyond the head is one that is being written.
    let path = segments(copy.path()).pop().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
    for owner in [Owner::Living, Owner::Gone] {
        assert_eq!(JournalReader::open(copy.path(), owner).unwrap().head(), Position(last.0 - 1));
    }
    // With the head lost nothing is known to be durable, so nothing is shown.
    std::fs::remove_file(copy.path().join("head")).unwrap();
    assert_eq!(JournalReader::open(copy.path(), Owner::Living).unwrap().head(), Position::START);
}

#[test]
fn damage_is_named_and_not_passed_over() {
    let sample = Sample::new();
    for (index, owner) in [(0, Owner::Living), (1, Owner::Gone), (2, Owner::Gone)] {
        let copy = sample.copy();
        let path = segments(copy.path()).swap_remove(index);
        let bytes = std::fs::read(&path).unwrap();
        let (start, _) = commits(&bytes)[0];
        flip(&path, (start as u64 + 60) * 8);
        let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let refused = JournalReader::open(copy.path(), owner).map(|_| ());
        match refused {
            Err(OpenError::JournalDamaged { position, .. }) => assert_eq!(position, Position(first)),
            other => panic!("{other:?}"),
        }
        // A missing segment, likewise.
        std::fs::remove_file(&path).unwrap();
        let refused = JournalReader::open(copy.path(), owner).map(|_| ());
        assert!(matches!(refused, Err(OpenError::JournalDamaged { position, .. }) if position == Position(first)));
        // The owner's open puts it right.
        sample.assert_whole(copy.path());
        assert_eq!(JournalReader::open(copy.path(), owner).unwrap().head(), Position(sample.records.len() as u64 + 1));
    }
}
