//! Streams made to do harm, and streams that are damaged: refused with a reason, nothing outside of the target touched,
//! never a panic.

use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;
use crate::files::head::Head;
use crate::files::header::{self, BLOCK};
use crate::files::xattrs::Xattr;

/// A stream of these members, each with its content.
fn stream(members: &[(Head, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (head, content) in members {
        header::encode(head, &mut bytes);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

fn head(path: &str, kind: Kind, link: &str) -> Head {
    Head { link: RawPath::from(link), mode: 0o755, ..Head::of(RawPath::from(path), kind) }
}

fn file(path: &str, content: &[u8]) -> Head {
    Head { stored: content.len() as u64, ..head(path, Kind::File, "") }
}

fn folder(path: &str) -> Head {
    head(path, Kind::Folder, "")
}

/// Extracts into `inner` of a folder, with and without overwriting, and returns the errors. Around the target nothing
/// may appear.
fn attack(bytes: &[u8]) -> Vec<Result<Summary, FilesError>> {
    [false, true]
        .into_iter()
        .map(|overwrite| {
            let outer = tempfile::tempdir().unwrap();
            let target = outer.path().join("inner");
            fs::create_dir(&target).unwrap();
            fs::write(outer.path().join("victim"), b"untouched").unwrap();
            let options = ExtractOptions { overwrite, ..ExtractOptions::default() };
            let result = extract(&mut Cursor::new(bytes), &target, &options, &Watch::default());
            let mut names: Vec<_> =
                fs::read_dir(outer.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, ["inner", "victim"]);
            assert_eq!(fs::read(outer.path().join("victim")).unwrap(), b"untouched");
            result
        })
        .collect()
}

fn refused(bytes: &[u8]) {
    for result in attack(bytes) {
        assert!(matches!(result, Err(FilesError::Refused { .. })), "{result:?}");
    }
}

#[test]
fn paths_that_lead_out_are_refused() {
    for path in ["../victim", "a/../../victim", "/tmp/victim", "..", "a/.."] {
        refused(&stream(&[(folder("a"), b""), (file(path, b"evil"), b"evil")]));
        refused(&stream(&[(folder("a"), b""), (folder(path), b"")]));
        refused(&stream(&[(folder("a"), b""), (head(path, Kind::Symlink, "x"), b"")]));
        refused(&stream(&[(folder("a"), b""), (head("a/link", Kind::HardLink, path), b"")]));
    }
    refused(&stream(&[(file("", b"evil"), b"evil")]));
    refused(&stream(&[(file(".", b"evil"), b"evil")]));
    refused(&stream(&[(head("link", Kind::Symlink, ""), b"")]));
}

#[test]
fn nothing_is_written_through_a_link() {
    for link in ["..", "../", "/tmp", "."] {
        let link = || (head("a", Kind::Symlink, link), &b""[..]);
        // The link may be made by another thread: the file after it must be refused by the system or by the walk.
        for member in [file("a/victim", b"evil"), folder("a/victim"), head("a/victim", Kind::Symlink, "x")] {
            let content: &[u8] = if member.kind == Kind::File { b"evil" } else { b"" };
            for result in attack(&stream(&[link(), (member, content)])) {
                assert!(result.is_err(), "{result:?}");
            }
        }
    }
    let through = [(head("a", Kind::Symlink, "../victim"), &b""[..]), (file("a", b"evil"), b"evil")];
    attack(&stream(&through));
    let through = [(head("a", Kind::Symlink, ".."), &b""[..]), (head("b", Kind::HardLink, "a/victim"), b"")];
    for result in attack(&stream(&through)) {
        assert!(result.is_err(), "{result:?}");
    }
}

#[test]
fn links_already_in_the_target_are_not_followed() {
    let outer = tempfile::tempdir().unwrap();
    let target = outer.path().join("inner");
    fs::create_dir(&target).unwrap();
    fs::create_dir(outer.path().join("elsewhere")).unwrap();
    fs::write(outer.path().join("victim"), b"untouched").unwrap();
    symlink("../elsewhere", target.join("a")).unwrap();
    symlink("../victim", target.join("b")).unwrap();
    let options = ExtractOptions { overwrite: true, ..ExtractOptions::default() };
    let run = |bytes: &[u8]| extract(&mut Cursor::new(bytes), &target, &options, &Watch::default());
    assert!(matches!(run(&stream(&[(folder("a"), b"")])), Err(FilesError::OtherKind { .. })));
    assert!(matches!(run(&stream(&[(file("a/x", b"evil"), b"evil")])), Err(FilesError::Refused { .. })));
    run(&stream(&[(file("b", b"new"), b"new")])).unwrap();
    assert_eq!(fs::read(outer.path().join("victim")).unwrap(), b"untouched");
    assert!(fs::read_dir(outer.path().join("elsewhere")).unwrap().next().is_none());
    assert!(!target.join("b").is_symlink());
    assert_eq!(fs::read(target.join("b")).unwrap(), b"new");
}

/// A stream with one of everything.
fn mixed() -> Vec<u8> {
    let map = crate::files::sparse::encode(&[Span { offset: 4096, length: 5 }], 1 << 20);
    let content = [map.as_slice(), b"12345"].concat();
    let sparse = Head { sparse: Some(1 << 20), ..file("a/sparse", &content) };
    let attributed = Head {
        xattrs: vec![Xattr { name: b"user.x".to_vec(), value: b"y".to_vec() }],
        mtime: Mtime { seconds: -5, nanos: 7 },
        ..file(&format!("a/{}", "long".repeat(40)), b"attributed")
    };
    stream(&[
        (folder("a"), b""),
        (file("a/file", &[7; 700]), &[7; 700]),
        (attributed, b"attributed"),
        (sparse, &content),
        (head("a/hard", Kind::HardLink, "a/file"), b""),
        (head("a/soft", Kind::Symlink, "file"), b""),
        (head("a/pipe", Kind::Fifo, ""), b""),
    ])
}

#[test]
fn a_stream_cut_anywhere_is_damaged() {
    let whole = mixed();
    for result in attack(&whole) {
        assert_eq!(result.unwrap().files, 4);
    }
    for length in (0..whole.len()).step_by(BLOCK).chain([1, 511, 513, whole.len() - 1]) {
        for result in attack(&whole[..length]) {
            let error = result.unwrap_err();
            assert_eq!(error.code(), "FILES_DAMAGED", "{length}: {error}");
        }
    }
}

#[test]
fn bytes_after_the_end_are_damage_and_zeros_are_padding() {
    let mut bytes = mixed();
    bytes.resize(bytes.len() + 9000, 0);
    attack(&bytes).into_iter().for_each(|result| drop(result.unwrap()));
    bytes.push(1);
    for result in attack(&bytes) {
        assert_eq!(result.unwrap_err().code(), "FILES_DAMAGED");
    }
    let mut one = stream(&[(folder("a"), b"")]);
    let end = one.len() - BLOCK;
    one[end] = 1;
    for result in attack(&one) {
        assert_eq!(result.unwrap_err().code(), "FILES_DAMAGED");
    }
}

#[test]
fn flipped_bits_never_panic_and_never_lead_out() {
    let whole = mixed();
    for bit in (0..whole.len() * 8).step_by(101) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        attack(&bytes);
    }
}

/// The only member's header with one field written over, its checksum made right again.
fn forged(field: std::ops::Range<usize>, value: &[u8]) -> Vec<u8> {
    let mut bytes = stream(&[(file("a", b""), b"")]);
    bytes[field.start..field.start + value.len()].copy_from_slice(value);
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes
}

#[test]
fn impossible_headers_are_damaged() {
    for (field, value) in [
        (124..136, &b"77777777777\0"[..]),
        (124..136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        (124..136, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"),
        (124..136, b"-0000000001\0"),
        (124..136, b"9999999999 \0"),
        (100..108, b"zzzzzzz\0"),
        (156..157, b"S"),
        (156..157, b"L"),
        (156..157, b"x"),
        (156..157, b"V"),
        (257..265, b"ustar  \0"),
        (257..265, b"xxxxxxxx"),
    ] {
        for result in attack(&forged(field.clone(), value)) {
            let error = result.unwrap_err();
            assert_eq!(error.code(), "FILES_DAMAGED", "{field:?} {value:?}: {error}");
        }
    }
}

/// A stream with one empty file behind an extended header of these records.
fn with_records(records: &[u8]) -> Vec<u8> {
    let long = "n".repeat(200);
    let mut bytes = stream(&[(file(&long, b""), b"")]);
    // The first block is that of the extended header which the long name needs: its records are replaced.
    let size = format!("{:011o}\0", records.len());
    bytes[124..136].copy_from_slice(size.as_bytes());
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut padded = records.to_vec();
    padded.resize(records.len().next_multiple_of(BLOCK), 0);
    bytes.splice(BLOCK..2 * BLOCK, padded);
    bytes
}

#[test]
fn hostile_extended_headers_are_refused() {
    let record = |key: &str, value: &str| {
        let mut records = crate::files::pax::Records::default();
        records.put(key.as_bytes(), value.as_bytes());
        records.bytes
    };
    for (records, code) in [
        (record("path", "../victim"), "FILES_REFUSED"),
        (record("path", "/victim"), "FILES_REFUSED"),
        (record("path", ""), "FILES_REFUSED"),
        (record("path", "a\0b"), "FILES_REFUSED"),
        (record("path", &"x/".repeat(40_000)), "FILES_REFUSED"),
        (record("path", &"x".repeat(300)), "FILES_RESTORE"),
        (record("size", "99999999999999999999"), "FILES_DAMAGED"),
        (record("size", "9223372036854775807"), "FILES_DAMAGED"),
        (record("size", "18446744073709551615"), "FILES_DAMAGED"),
        (record("uid", "4294967295"), "FILES_DAMAGED"),
        (record("uid", "-1"), "FILES_DAMAGED"),
        (record("mtime", "1e9"), "FILES_DAMAGED"),
        (record("GNU.sparse.major", "1"), "FILES_DAMAGED"),
        (record("GNU.sparse.realsize", "100"), "FILES_DAMAGED"),
        (record("SCHILY.xattr.", "x"), "FILES_DAMAGED"),
        (b"999999 path=x\n".to_vec(), "FILES_DAMAGED"),
        (b"0 path=x\n".to_vec(), "FILES_DAMAGED"),
        (b"\0".to_vec(), "FILES_DAMAGED"),
        (record("path", &"x/".repeat(600_000)), "FILES_DAMAGED"),
    ] {
        for result in attack(&with_records(&records)) {
            let error = result.unwrap_err();
            assert_eq!(error.code(), code, "{}: {error}", String::from_utf8_lossy(&records[..records.len().min(60)]));
        }
    }
    // A time no file system has is cut by the system or a warning.
    for time in ["9223372036854775807", "-9223372036854775807", "5000000000000000.5"] {
        attack(&with_records(&record("mtime", time))).into_iter().for_each(|result| drop(result.unwrap()));
    }
}

#[test]
fn sparse_maps_that_lie_are_damaged() {
    for (map, size) in [
        ("1\n0\n99999999\n", 100),
        ("2\n0\n5\n3\n5\n", 1 << 20),
        ("1\n1048576\n5\n", 1 << 20),
        ("99999999\n", 10),
        ("", 10),
    ] {
        let mut content = map.as_bytes().to_vec();
        content.resize(BLOCK, 0);
        content.extend_from_slice(b"12345");
        let member = Head { sparse: Some(size), ..file("sparse", &content) };
        for result in attack(&stream(&[(member, &content)])) {
            assert_eq!(result.unwrap_err().code(), "FILES_DAMAGED", "{map}");
        }
    }
    // Larger than any file system takes: an error, and no file that pretends.
    let content = crate::files::sparse::encode(&[], i64::MAX as u64);
    let member = Head { sparse: Some(i64::MAX as u64), ..file("sparse", &content) };
    for result in attack(&stream(&[(member, &content)])) {
        assert!(matches!(result, Ok(_) | Err(FilesError::Restore { .. })), "{result:?}");
    }
}

#[test]
fn the_same_path_twice_is_an_error_or_replaces() {
    let twice = stream(&[(file("a", b"one"), b"one"), (file("a", b"two"), b"two")]);
    let results = attack(&twice);
    assert!(matches!(results[0], Err(FilesError::Exists { .. })), "{results:?}");
    assert!(results[1].is_ok(), "{results:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        attack(&bytes);
    }

    #[test]
    fn a_changed_stream_never_panics(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = mixed();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        attack(&bytes);
    }

    #[test]
    fn headers_survive(
        path in "[a-z/é\n]{1,300}x",
        size in any::<u32>(),
        mode in 0_u32..0o10000,
        owner in (0..u32::MAX, 0..u32::MAX),
        names in ("[a-z]{0,40}", "[A-Z é]{0,40}"),
        time in (-1_000_000_000_000_i64..1_000_000_000_000, 0_u32..1_000_000_000),
        xattrs in proptest::collection::vec(("user\\.[a-z=%]{1,30}", any::<Vec<u8>>()), 0..4),
        sparse in proptest::option::of(0..i64::MAX as u64),
    ) {
        let xattrs = xattrs.into_iter().map(|(name, value)| Xattr { name: name.into_bytes(), value }).collect();
        let head = Head {
            stored: u64::from(size) << 8,
            sparse,
            mode,
            uid: owner.0,
            gid: owner.1,
            user: names.0,
            group: names.1,
            mtime: Mtime::from(time),
            xattrs,
            ..head(&path, Kind::File, "")
        };
        let mut bytes = Vec::new();
        header::encode(&head, &mut bytes);
        let mut reader = Cursor::new(&bytes);
        let mut members = crate::files::members::Members::new(&mut reader, 0, crate::files::members::End::Member);
        prop_assert_eq!(members.next().unwrap(), Some(head));
    }
}
