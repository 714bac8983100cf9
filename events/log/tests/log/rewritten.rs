//! History cannot be rewritten unnoticed.

use holdfast_log::OpenError;
use holdfast_model::ids::Position;
use sha2::Digest;

use crate::support::{Sample, append, block, commits, copy_dir, event, find, journal, open, segments, try_open};

/// Changes the payload of the event tagged `tag` and makes every checksum right again, also the chain of its own commit if
/// `chain`. Says the positions of its commit.
fn forge(dir: &std::path::Path, tag: &str, chain: bool) -> Position {
    let (path, at) = find(dir, tag);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = at as usize;
    let (start, length) =
        *commits(&bytes).iter().find(|(start, length)| (*start..start + length).contains(&at)).unwrap();
    bytes[at + 1] = b'X';
    let mut entry = start + 24;
    loop {
        let record = u32::from_le_bytes(bytes[entry..entry + 4].try_into().unwrap()) as usize;
        if at < entry + 8 + record {
            let crc = crc32c::crc32c(&bytes[entry + 8..entry + 8 + record]);
            bytes[entry + 4..entry + 8].copy_from_slice(&crc.to_le_bytes());
            break;
        }
        entry += 8 + record;
    }
    let end = start + length;
    if chain {
        // The first commit of the segment follows the chain in its header, any other the one before it.
        let before: [u8; 32] =
            if start == 64 { bytes[24..56].try_into() } else { bytes[start - 36..start - 4].try_into() }.unwrap();
        let digest = sha2::Sha256::new().chain_update(before).chain_update(&bytes[start..end - 36]).finalize();
        bytes[end - 36..end - 4].copy_from_slice(&digest);
    }
    let crc = crc32c::crc32c(&bytes[start..end - 4]);
    bytes[end - 4..end].copy_from_slice(&crc.to_le_bytes());
    let first = u64::from_le_bytes(bytes[start + 8..start + 16].try_into().unwrap());
    std::fs::write(&path, bytes).unwrap();
    Position(first)
}

#[test]
fn a_changed_event_with_right_checksums_is_found_by_the_chain() {
    let sample = Sample::new();
    let before = journal(sample.dir.path());
    for tag in ["0.0", "17.1", "last"] {
        let copy = sample.copy();
        let position = forge(copy.path(), tag, false);
        let report = sample.assert_whole(copy.path());
        assert_eq!(report.repaired.len(), 1, "{report}");
        assert_eq!(report.repaired[0].restored.unwrap().0, position, "{report}");
        assert_eq!(journal(copy.path())[0], before[0]);

        let copy = sample.copy();
        forge(copy.path(), tag, false);
        std::fs::remove_dir_all(copy.path().join("store")).unwrap();
        let refused = try_open(copy.path()).map(|(_, report)| report);
        assert!(matches!(refused, Err(OpenError::BothDamaged { .. })), "{refused:?}");
    }
}

#[test]
fn a_changed_event_with_right_checksums_and_chain_is_found_beside_the_store() {
    let sample = Sample::new();
    for tag in ["0.0", "17.1", "last"] {
        let copy = sample.copy();
        forge(copy.path(), tag, true);
        let before = journal(copy.path());
        let refused = try_open(copy.path()).map(|(_, report)| report);
        assert!(matches!(refused, Err(OpenError::Diverged { .. })), "{refused:?}");
        assert_eq!(journal(copy.path()), before);
    }
}

#[test]
fn a_store_or_a_journal_of_another_log_is_refused() {
    let sample = Sample::new();
    let other = tempfile::tempdir().unwrap();
    let (log, _) = open(other.path());
    block(append(&log, "run/other", 0, vec![event("other", 10); 3])).unwrap();
    drop(log);
    for folder in ["store", "journal"] {
        let copy = sample.copy();
        std::fs::remove_dir_all(copy.path().join(folder)).unwrap();
        copy_dir(&other.path().join(folder), &copy.path().join(folder));
        let refused = try_open(copy.path()).map(|(_, report)| report);
        let Err(OpenError::Diverged { position, .. }) = refused else { panic!("{folder}: {refused:?}") };
        assert!(position <= Position(4), "{folder}: {position}");
    }
}

#[test]
fn an_older_journal_put_back_is_brought_up_again() {
    let sample = Sample::new();
    let copy = sample.copy();
    let mut paths = segments(copy.path());
    for path in paths.split_off(paths.len() / 2) {
        std::fs::remove_file(path).unwrap();
    }
    sample.assert_whole(copy.path());
}
