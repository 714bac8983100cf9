//! Room that the journal takes ahead: zeros, which only a kill leaves behind, and which are told from what was written.

use std::path::Path;

use holdfast_log::{DurableLog, JournalReader, Options, Owner, StoreReport};
use holdfast_model::ids::Position;
use holdfast_model::record::Record;

use crate::support::{
    Sample, all, append, assert_consistent, block, commits, copy_dir, event, flip, open, options, segments,
};

/// Where a kill came: how the log was left, what is in it, and where its last commit starts and ends.
struct Killed {
    dir: tempfile::TempDir,
    records: Vec<Record>,
    start: usize,
    end: usize,
}

impl Killed {
    /// After three appends; store and `head` know only of two, as just before the third one's sync.
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = DurableLog::open(home.path(), Options { segment_bytes: 1 << 20, ..options() }).unwrap();
        block(append(&log, "run/a", 0, vec![event("1", 300)])).unwrap();
        block(append(&log, "run/a", 1, vec![event("2", 300)])).unwrap();
        std::fs::copy(home.path().join("head"), dir.path().join("head")).unwrap();
        block(append(&log, "run/a", 2, vec![event("3", 1500)])).unwrap();
        copy_dir(&home.path().join("journal"), &dir.path().join("journal"));
        let records = all(&log);
        drop(log);
        let closed = last(home.path());
        let (start, length) = *commits(&closed).last().unwrap();
        let end = start + length;
        let killed = last(dir.path());
        assert!(killed.len() > end, "no room was taken ahead");
        assert_eq!(killed[..end], closed, "a closed log keeps none");
        assert!(killed[end..].iter().all(|byte| *byte == 0));
        Self { dir, records, start, end }
    }

    fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(self.dir.path(), copy.path());
        copy
    }
}

fn last(dir: &Path) -> Vec<u8> {
    std::fs::read(segments(dir).pop().unwrap()).unwrap()
}

#[test]
fn what_a_kill_leaves_of_it_is_neither_torn_nor_kept() {
    let killed = Killed::new();
    let copy = killed.copy();
    let reader = JournalReader::open(copy.path(), Owner::Living).unwrap();
    assert_eq!(all(&reader), killed.records[..2], "a living owner told of two");
    let reader = JournalReader::open(copy.path(), Owner::Gone).unwrap();
    assert_eq!(all(&reader), killed.records);
    let (log, report) = open(copy.path());
    assert!(report.torn_tail.is_none() && report.repaired.is_empty(), "{report}");
    assert_eq!(all(&log), killed.records);
    block(append(&log, "run/a", 3, vec![event("4", 100)])).unwrap();
    let records = all(&log);
    assert_consistent(&log, &records);
    drop(log);
    assert_eq!(commits(&last(copy.path())).len(), 4);
    let (log, report) = open(copy.path());
    assert!(report.is_clean(), "{report}");
    assert_eq!(all(&log), records);
}

#[test]
fn a_commit_torn_within_it_is_dropped_and_stated() {
    let killed = Killed::new();
    let Killed { start, end, .. } = killed;
    // What of the last commit did not get to the disk: the end from any place on, the beginning, a sector in the middle.
    let cut = (start + 1..end).step_by(29).map(|from| (from, end));
    let holes = [(start, start + 512), (start, end - 1), (start + 600, start + 1112)];
    for (from, to) in cut.chain(holes) {
        let copy = killed.copy();
        let mut bytes = last(copy.path());
        bytes[from..to].fill(0);
        let torn = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1 - start;
        std::fs::write(segments(copy.path()).pop().unwrap(), bytes).unwrap();
        let (log, report) = open(copy.path());
        let stated = report.torn_tail.as_ref().map(|torn| (torn.offset, torn.bytes, torn.after));
        assert_eq!(stated, Some((start as u64, torn as u64, Position(2))), "{from}..{to}: {report}");
        assert_eq!(all(&log), killed.records[..2]);
        block(append(&log, "run/a", 2, vec![event("other", 100)])).unwrap();
        drop(log);
        assert!(open(copy.path()).1.is_clean());
    }
    // None of it got there: as if it had never been.
    let copy = killed.copy();
    let mut bytes = last(copy.path());
    bytes[start..end].fill(0);
    std::fs::write(segments(copy.path()).pop().unwrap(), bytes).unwrap();
    let (log, report) = open(copy.path());
    assert!(report.torn_tail.is_none(), "{report}");
    assert_eq!(all(&log), killed.records[..2]);
}

#[test]
fn a_bit_flipped_in_it_is_stated_and_loses_nothing() {
    let killed = Killed::new();
    let copy = killed.copy();
    let length = last(copy.path()).len();
    for at in [killed.end, killed.end + 100, length - 1] {
        let copy = killed.copy();
        flip(&segments(copy.path())[0], at as u64 * 8 + 3);
        let (log, report) = open(copy.path());
        let stated = report.torn_tail.as_ref().map(|torn| (torn.offset, torn.bytes));
        assert_eq!(stated, Some((killed.end as u64, (at + 1 - killed.end) as u64)), "{report}");
        assert_eq!(all(&log), killed.records);
    }
}

#[test]
fn power_lost_after_a_segment_was_filled_can_leave_it_there_too() {
    // The cut that gives it back is not synced.
    let sample = Sample::new();
    let copy = sample.copy();
    let path = &segments(copy.path())[1];
    let mut bytes = std::fs::read(path).unwrap();
    let end = bytes.len();
    bytes.resize(end + 900, 0);
    std::fs::write(path, &bytes).unwrap();
    let report = sample.assert_whole(copy.path());
    assert!(report.is_clean() && report.store == StoreReport::InStep, "{report}");

    let copy = sample.copy();
    let path = &segments(copy.path())[1];
    bytes[end + 300] = 1;
    std::fs::write(path, &bytes).unwrap();
    let report = sample.assert_whole(copy.path());
    assert_eq!(report.repaired.iter().map(|repaired| &repaired.segment).collect::<Vec<_>>(), [path], "{report}");
}
