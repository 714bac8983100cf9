//! A full disk: stated, reads go on, and appends too once there is room.

use std::path::Path;
use std::process::Command;

use holdfast_log::faulty::FaultyDisk;
use holdfast_log::{DurableLog, Health, OpenError, Options, ReadLog};
use holdfast_model::ids::Position;

use crate::support::{all, append, assert_consistent, block, event, find, flip, open, options, try_open};

#[test]
fn a_commit_that_does_not_fit_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(1);
    let (log, _) = DurableLog::open(dir.path(), Options { disk: disk.clone(), ..options() }).unwrap();
    block(async {
        append(&log, "run/a", 0, vec![event("1", 100)]).await.unwrap();
        for room in (0..1200).step_by(30) {
            disk.set_room(Some(room));
            let refused = append(&log, "run/a", 1, vec![event("2", 1000); 2]).await.unwrap_err();
            assert_eq!((refused.code(), refused.retryable()), ("NO_SPACE", true), "{room}");
            assert_eq!(all(&log).len(), 1);
        }
        disk.set_room(None);
        append(&log, "run/a", 1, vec![event("2", 1000); 2]).await.unwrap();
        // A new segment does not fit either.
        disk.set_room(Some(10));
        assert_eq!(append(&log, "run/a", 3, vec![event("3", 5000)]).await.unwrap_err().code(), "NO_SPACE");
        disk.set_room(Some(70));
        assert_eq!(append(&log, "run/a", 3, vec![event("3", 5000)]).await.unwrap_err().code(), "NO_SPACE");
        disk.set_room(None);
        append(&log, "run/a", 3, vec![event("3", 5000)]).await.unwrap();
    });
    let records = all(&log);
    assert_eq!(records.len(), 4);
    assert_consistent(&log, &records);
    drop(log);
    let (log, report) = open(dir.path());
    assert!(report.is_clean(), "{report}");
    assert_eq!(all(&log), records);
}

#[test]
fn room_that_was_taken_ahead_is_used_up_to_the_last_event_that_fits() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::with_room_ahead(1);
    let (log, _) = DurableLog::open(dir.path(), Options { disk: disk.clone(), ..options() }).unwrap();
    block(async {
        let mut version = append(&log, "run/a", 0, vec![event("1", 100)]).await.unwrap().version.0;
        // The first append has taken the whole segment; another one finds room for 1000 bytes of what it wants.
        disk.set_room(Some(1000));
        loop {
            match append(&log, "run/a", version, vec![event("x", 100)]).await {
                Ok(appended) => version = appended.version.0,
                Err(error) => break assert_eq!((error.code(), error.retryable()), ("NO_SPACE", true)),
            }
        }
        // 252 bytes each: 16 in 4096 bytes after a header, 3 in 1000.
        assert_eq!(version, 16 + 3);
        disk.set_room(None);
        append(&log, "run/a", version, vec![event("y", 100)]).await.unwrap();
    });
    let records = all(&log);
    assert_consistent(&log, &records);
    drop(log);
    let (log, report) = open(dir.path());
    assert!(report.is_clean(), "{report}");
    assert_eq!(all(&log), records);
}

#[test]
fn a_partial_commit_that_cannot_be_taken_back_poisons() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(1);
    let (log, _) = DurableLog::open(dir.path(), Options { disk: disk.clone(), ..options() }).unwrap();
    block(async {
        append(&log, "run/a", 0, vec![event("1", 100)]).await.unwrap();
        disk.set_room(Some(50));
        disk.fail_next_truncate();
        assert_eq!(append(&log, "run/a", 1, vec![event("2", 100)]).await.unwrap_err().code(), "OUTCOME_UNKNOWN");
        disk.set_room(None);
        assert_eq!(append(&log, "run/a", 1, vec![event("2", 100)]).await.unwrap_err().code(), "LOG_POISONED");
    });
    drop(log);
    let (log, report) = open(dir.path());
    // Up to the last of the 50 bytes that is not zero.
    assert_eq!(report.torn_tail.map(|torn| torn.bytes), Some(45));
    block(append(&log, "run/a", 1, vec![event("2", 100)])).unwrap();
}

/// A small file system in memory, where this may be mounted.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "holdfast-test"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// Fills a file system to the last block.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
}

#[test]
fn a_full_file_system_is_stated_and_survived() {
    let Some(disk) = SmallDisk::mount("12m") else {
        println!("skipped: mounting a tmpfs needs more rights");
        return;
    };
    let dir = disk.0.path().join("log");
    let filler = disk.0.path().join("filler");
    let (log, _) = open(&dir);
    let mut version = 0;
    block(async {
        for _ in 0..5 {
            version = append(&log, "run/a", version, vec![event("before", 500); 4]).await.unwrap().version.0;
        }
        fill(&filler);
        // What was reserved is used up first.
        let refused = loop {
            match append(&log, "run/a", version, vec![event("while", 1500); 4]).await {
                Ok(appended) => version = appended.version.0,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.code(), "NO_SPACE", "{refused}");
        assert_eq!(all(&log).len() as u64, version);
        std::fs::remove_file(&filler).unwrap();
        version = append(&log, "run/a", version, vec![event("after", 500); 4]).await.unwrap().version.0;
    });
    let records = all(&log);
    assert_eq!(records.len() as u64, version);
    assert_consistent(&log, &records);
    drop(log);

    // Opened while full: without the store if it must be, but with everything in it.
    fill(&filler);
    let (log, report) = open(&dir);
    println!("full: {report}");
    assert_eq!(all(&log), records);
    assert_eq!(log.head(), Position(version));
    drop(log);
    // What only the store may have is not given up while the store cannot be opened.
    let (path, at) = find(&dir, "after");
    flip(&path, at * 8);
    match try_open(&dir).map(|(_, report)| report) {
        Err(OpenError::StoreNeeded { position, .. }) => assert_eq!(position, Position(version - 3)),
        other => panic!("{other:?}"),
    }
    flip(&path, at * 8);
    std::fs::remove_file(&filler).unwrap();
    let (log, report) = open(&dir);
    println!("with room again: {report}");
    assert_eq!(all(&log), records);
    block(append(&log, "run/a", version, vec![event("end", 500)])).unwrap();
}

#[test]
fn a_store_without_room_does_not_stop_appends() {
    let Some(disk) = SmallDisk::mount("12m") else {
        println!("skipped: mounting a tmpfs needs more rights");
        return;
    };
    let dir = disk.0.path().join("log");
    let filler = disk.0.path().join("filler");
    // The journal has taken its room ahead, the store has not.
    let (log, _) = DurableLog::open(&dir, Options { reserve_bytes: 4 << 20, ..Options::default() }).unwrap();
    block(async {
        append(&log, "run/a", 0, vec![event("before", 500)]).await.unwrap();
        fill(&filler);
        for n in 0..60 {
            append(&log, "run/a", 1 + n * 8, vec![event("while", 5000); 8]).await.unwrap();
        }
    });
    let records = all(&log);
    assert_eq!(records.len(), 481);
    assert_consistent(&log, &records);
    assert!(matches!(log.health(), Health::StoreUnavailable { .. }));
    drop(log);
    std::fs::remove_file(&filler).unwrap();
    let (log, report) = open(&dir);
    println!("{report}");
    assert_eq!(all(&log), records);
    assert_eq!(log.health(), Health::Good);
}
