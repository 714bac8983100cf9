//! Bits flip, files are cut and go away: nothing acknowledged is lost where either copy has it, and where neither has, the
//! log says which event it is.

use std::path::Path;

use holdfast_log::{OpenError, StoreReport};
use holdfast_model::ids::Position;

use crate::support::{
    Random, Sample, all, append, assert_consistent, block, commits, copy_dir, event, find, flip, journal, open,
    segments, try_open,
};

const PLACES: u64 = 200;

#[test]
fn a_bit_flipped_in_the_store_loses_nothing() {
    let sample = Sample::new();
    let mut random = Random::from_env();
    let files = ["db", "db", "db", "db", "db", "db", "db", "db", "db", "conf"];
    let mut rebuilt = 0;
    for place in 0..PLACES {
        let copy = sample.copy();
        let file = copy.path().join("store").join(files[(place % 10) as usize]);
        // Half of them in the first 64 KiB, which this small log has written all over.
        let length = file.metadata().unwrap().len().min(if place % 2 == 0 { 64 << 10 } else { u64::MAX });
        let bit = random.below(length * 8);
        println!("bit {bit} of {}", file.display());
        flip(&file, bit);
        let report = sample.assert_whole(copy.path());
        assert!(report.repaired.is_empty() && report.torn_tail.is_none(), "{report}");
        rebuilt += u32::from(matches!(report.store, StoreReport::Rebuilt { .. }));
    }
    println!("{rebuilt} of {PLACES} made a new store necessary");
    assert!(rebuilt > 0);
}

#[test]
fn a_bit_flipped_in_the_journal_is_put_right() {
    let sample = Sample::new();
    let before = journal(sample.dir.path());
    let mut random = Random::from_env();
    for _ in 0..PLACES {
        let copy = sample.copy();
        let paths = segments(copy.path());
        let path = &paths[random.below(paths.len() as u64) as usize];
        let bit = random.below(path.metadata().unwrap().len() * 8);
        println!("bit {bit} of {}", path.display());
        flip(path, bit);
        let (log, report) = open(copy.path());
        drop(log);
        assert_eq!(report.repaired.len(), 1, "{report}");
        assert!(report.torn_tail.is_none() && report.store == StoreReport::InStep, "{report}");
        assert_eq!(journal(copy.path()), before, "{report}");
        sample.assert_whole(copy.path());
    }
}

#[test]
fn many_places_of_the_journal_at_once_are_put_right() {
    let sample = Sample::new();
    let before = journal(sample.dir.path());
    let mut random = Random::from_env();
    let copy = sample.copy();
    for path in segments(copy.path()) {
        for _ in 0..3 {
            flip(&path, random.below(path.metadata().unwrap().len() * 8));
        }
    }
    drop(open(copy.path()));
    assert_eq!(journal(copy.path()), before);
    sample.assert_whole(copy.path());
}

#[test]
fn without_the_store_a_flipped_bit_in_the_journal_is_refused_by_position() {
    let sample = Sample::new();
    let mut random = Random::from_env();
    for _ in 0..60 {
        let copy = sample.copy();
        std::fs::remove_dir_all(copy.path().join("store")).unwrap();
        let index = random.below(sample.records.len() as u64) as usize;
        let record = &sample.records[index];
        let tag = String::from_utf8(record.body.payload.clone()).unwrap();
        let (path, at) = find(copy.path(), tag.split(['<', '>']).nth(1).unwrap());
        flip(&path, at * 8 + random.below(24));
        let before = journal(copy.path());
        match try_open(copy.path()).map(|(_, report)| report) {
            Err(OpenError::BothDamaged { position, segment, .. }) => {
                assert_eq!((position, &segment), (record.position, &path));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(journal(copy.path()), before, "a refused log was changed");
    }
}

#[test]
fn both_copies_hit_at_one_event_are_refused_by_its_position() {
    let sample = Sample::new();
    let copy = sample.copy();
    let record = &sample.records[30];
    let tag = String::from_utf8(record.body.payload.clone()).unwrap();
    let tag = tag.split(['<', '>']).nth(1).unwrap();
    let (path, at) = find(copy.path(), tag);
    flip(&path, at * 8);
    // Wherever sled has it, old pages included.
    let db = copy.path().join("store/db");
    let bytes = std::fs::read(&db).unwrap();
    let wanted = format!("<{tag}>").into_bytes();
    let places: Vec<u64> =
        (0u64..).zip(bytes.windows(wanted.len())).filter(|(_, w)| *w == wanted).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| flip(&db, at * 8));
    for _ in 0..2 {
        match try_open(copy.path()).map(|(_, report)| report) {
            Err(OpenError::BothDamaged { position, .. }) => assert_eq!(position, record.position),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_lost_store_is_rebuilt() {
    let sample = Sample::new();
    let copy = sample.copy();
    std::fs::remove_dir_all(copy.path().join("store")).unwrap();
    let report = sample.assert_whole(copy.path());
    assert!(matches!(report.store, StoreReport::Rebuilt { set_aside: None, .. }), "{report}");

    // A store without the file that matters, and one of somebody else's bytes.
    let copy = sample.copy();
    std::fs::remove_file(copy.path().join("store/db")).unwrap();
    sample.assert_whole(copy.path());
    let copy = sample.copy();
    std::fs::write(copy.path().join("store/db"), vec![0x5a; 100_000]).unwrap();
    let report = sample.assert_whole(copy.path());
    assert!(matches!(report.store, StoreReport::Rebuilt { set_aside: Some(_), .. }), "{report}");
}

#[test]
fn the_store_cut_short_anywhere_is_made_whole() {
    let sample = Sample::new();
    let mut random = Random::from_env();
    for _ in 0..25 {
        let copy = sample.copy();
        let db = copy.path().join("store/db");
        let length = random.below(db.metadata().unwrap().len());
        println!("cut to {length}");
        std::fs::OpenOptions::new().write(true).open(&db).unwrap().set_len(length).unwrap();
        sample.assert_whole(copy.path());
    }
}

#[test]
fn each_lost_segment_is_written_anew() {
    let sample = Sample::new();
    let before = journal(sample.dir.path());
    assert!(before.len() > 4, "too few segments to tell first, middle and last apart");
    for index in 0..before.len() {
        let copy = sample.copy();
        let path = segments(copy.path()).swap_remove(index);
        std::fs::remove_file(&path).unwrap();
        let (log, report) = open(copy.path());
        drop(log);
        assert_eq!(report.repaired.len(), 1, "{report}");
        assert_eq!(report.repaired[0].segment, path);
        assert_eq!(journal(copy.path()), before);
        sample.assert_whole(copy.path());
    }
}

#[test]
fn a_lost_journal_is_rebuilt_from_the_store() {
    let sample = Sample::new();
    let copy = sample.copy();
    std::fs::remove_dir_all(copy.path().join("journal")).unwrap();
    let report = sample.assert_whole(copy.path());
    assert_eq!(report.repaired[0].restored, Some((Position(1), Position(sample.records.len() as u64))));
}

#[test]
fn both_copies_lost_are_refused_and_not_a_new_log() {
    let sample = Sample::new();
    let copy = sample.copy();
    std::fs::remove_dir_all(copy.path().join("journal")).unwrap();
    std::fs::remove_dir_all(copy.path().join("store")).unwrap();
    let refused = try_open(copy.path()).map(|(_, report)| report);
    assert!(matches!(refused, Err(OpenError::BothDamaged { position: Position(1), .. })), "{refused:?}");
}

#[test]
fn a_segment_and_the_store_lost_are_refused_by_position() {
    let sample = Sample::new();
    let count = segments(sample.dir.path()).len();
    for index in 0..count {
        let copy = sample.copy();
        std::fs::remove_dir_all(copy.path().join("store")).unwrap();
        let path = segments(copy.path()).swap_remove(index);
        std::fs::remove_file(&path).unwrap();
        let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        match try_open(copy.path()).map(|(_, report)| report) {
            Err(OpenError::BothDamaged { position, .. }) => assert_eq!(position, Position(first)),
            other => panic!("{index}: {other:?}"),
        }
    }
}

#[test]
fn a_lost_or_damaged_head_file_changes_nothing() {
    let sample = Sample::new();
    for bytes in [None, Some(&b""[..]), Some(&b"\0\0\0\0\0\0\0\0\0\0\0\0"[..]), Some(&b"nonsense that is long"[..])] {
        let copy = sample.copy();
        let path = copy.path().join("head");
        match bytes {
            None => std::fs::remove_file(&path).unwrap(),
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
        }
        assert!(sample.assert_whole(copy.path()).is_clean());
    }
}

/// Cuts the journal at every length of its last commit and hands the copy over.
fn for_each_cut(dir: &Path, mut each: impl FnMut(&Path, usize, usize)) {
    let last = segments(dir).pop().unwrap();
    let bytes = std::fs::read(&last).unwrap();
    let (start, length) = *commits(&bytes).last().unwrap();
    for kept in 0..=length {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir, copy.path());
        let path = copy.path().join("journal").join(last.file_name().unwrap());
        std::fs::write(&path, &bytes[..start + kept]).unwrap();
        each(copy.path(), kept, length);
    }
}

#[test]
fn a_tail_cut_at_every_length_comes_back_from_the_store() {
    let sample = Sample::new();
    for_each_cut(sample.dir.path(), |dir, kept, length| {
        let (log, report) = open(dir);
        assert_eq!(all(&log), sample.records, "{report}");
        assert!(report.torn_tail.is_none(), "{report}");
        assert_eq!(report.repaired.len(), usize::from(kept < length), "{report}");
        block(append(&log, "run/after", 0, vec![event("after", 9)])).unwrap();
    });
}

#[test]
fn a_tail_cut_at_every_length_that_nobody_was_told_of_is_dropped_and_stated() {
    // The journal is one commit ahead of store and head, as after a crash before the commit's sync.
    let ahead = tempfile::tempdir().unwrap();
    drop(open(ahead.path()));
    let (log, _) = open(ahead.path());
    block(append(&log, "run/a", 0, vec![event("1", 100); 3])).unwrap();
    drop(log);
    let behind = tempfile::tempdir().unwrap();
    copy_dir(ahead.path(), behind.path());
    let (log, _) = open(ahead.path());
    block(append(&log, "run/a", 3, vec![event("2", 5)])).unwrap();
    let whole = all(&log);
    drop(log);
    std::fs::remove_dir_all(behind.path().join("journal")).unwrap();
    copy_dir(&ahead.path().join("journal"), &behind.path().join("journal"));

    for_each_cut(behind.path(), |dir, kept, length| {
        for zeros in if kept % 8 == 0 { &[0, 700][..] } else { &[0] } {
            // A crash can also leave a file that is longer than what was written to it.
            let path = segments(dir).pop().unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            // Zeros that what is left ends in are not told from those.
            let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1 + kept) - bytes.len();
            bytes.resize(bytes.len() + *zeros, 0);
            std::fs::write(&path, bytes).unwrap();
            let (log, report) = open(dir);
            let expected = if kept == length { &whole[..] } else { &whole[..3] };
            assert_eq!(all(&log), expected, "{report}");
            assert_consistent(&log, expected);
            match &report.torn_tail {
                Some(torn) => {
                    assert_eq!((torn.bytes, torn.after), (written as u64, Position(3)));
                    assert!(0 < kept && kept < length && !report.is_clean());
                }
                // The second round finds what the first left.
                None => assert!(kept == 0 || kept == length || *zeros > 0, "{kept}: {report}"),
            }
            let version = expected.len() as u64;
            drop(log);
            if *zeros > 0 {
                let (log, report) = open(dir);
                assert!(report.is_clean(), "{report}");
                block(append(&log, "run/a", version, vec![event("4", 60)])).unwrap();
            }
        }
    });
}

#[test]
fn an_acknowledged_tail_without_a_store_is_refused_not_dropped() {
    let sample = Sample::new();
    let last = Position(sample.records.len() as u64);
    for_each_cut(sample.dir.path(), |dir, kept, length| {
        std::fs::remove_dir_all(dir.join("store")).unwrap();
        match try_open(dir).map(|(_, report)| report) {
            Ok(report) => assert!(kept == length && report.torn_tail.is_none(), "{kept}: {report}"),
            Err(OpenError::BothDamaged { position, .. }) => assert!(position == last && kept < length),
            Err(other) => panic!("{other}"),
        }
    });
}
