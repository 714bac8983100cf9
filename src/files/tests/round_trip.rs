//! The same tree comes back, by this module and by GNU tar.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::tree::{assert_same, build, describe, without};
use super::*;

/// What [`build`] makes and a backup leaves out.
const LEFT_OUT: [&str; 2] = ["/cache/contents", "/cache/object"];

/// Extracts with GNU tar; false where it is not installed.
fn gnu_tar(stream: &[u8], target: &Path) -> bool {
    let version = Command::new("tar").arg("--version").output();
    if !version.is_ok_and(|output| output.stdout.starts_with(b"tar (GNU tar)")) {
        eprintln!("GNU tar is not installed: not compared with it");
        return false;
    }
    let mut errors = tempfile::tempfile().unwrap();
    let mut child = Command::new("tar")
        .args(["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-f", "-", "-C"])
        .arg(target)
        .stdin(Stdio::piped())
        .stderr(errors.try_clone().unwrap())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stream).unwrap();
    let status = child.wait().unwrap();
    io::Seek::rewind(&mut errors).unwrap();
    let errors = io::read_to_string(errors).unwrap();
    let errors: Vec<_> = errors.lines().filter(|line| !line.contains("time stamp")).collect();
    assert!(
        status.success() && errors.is_empty(),
        "{} errors: {:?}",
        errors.len(),
        errors.iter().take(5).collect::<Vec<_>>()
    );
    true
}

#[test]
fn the_awkward_tree_comes_back() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("tree");
    fs::create_dir(&source).unwrap();
    let _socket = build(&source);
    let expected = without(&describe(&source), &LEFT_OUT);
    assert!(expected.len() > 100, "{}", expected.len());

    let (artifact, summary) = Artifact::of(&[&source]);
    assert_eq!(summary.warnings, Noted::default());
    assert_eq!(summary.notes.count, 1, "{:?}", summary.notes);
    assert_eq!(summary.notes.first[0].path, source.join("socket"));
    assert!(summary.bytes < 10_000_000, "holes are not stored: {}", summary.bytes);
    let (again, _) = Artifact::of(&[&source]);
    assert!(again.stream == artifact.stream, "the same tree gives the same stream");

    let target = temp.path().join("out");
    fs::create_dir(&target).unwrap();
    let restored = artifact.extract(&target);
    assert_eq!(restored.warnings, Noted::default());
    assert_eq!(restored.length, summary.length);
    assert_eq!((restored.files, restored.folders), (summary.files, summary.folders));
    assert_same(&describe(&target.join("tree")), &expected);

    let target = temp.path().join("gnu");
    fs::create_dir(&target).unwrap();
    if gnu_tar(&artifact.stream, &target) {
        assert_same(&describe(&target.join("tree")), &expected);
    }
}

#[test]
fn a_tree_deeper_than_any_path_the_system_takes_comes_back() {
    // More levels than stay open, on either way.
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("tree");
    super::tree::deep(&source, 150, 60);
    let expected = describe(&source);
    assert!(expected.keys().any(|path| path.len() > 9000));
    let (artifact, summary) = Artifact::of(&[&source]);
    assert_eq!((summary.files, summary.folders, summary.warnings.count), (150, 151, 0));
    let target = temp.path().join("out");
    fs::create_dir(&target).unwrap();
    artifact.extract(&target);
    assert_same(&describe(&target.join("tree")), &expected);
}

#[test]
fn one_thread_and_many_restore_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("tree");
    for folder in 0..60 {
        let folder = source.join(format!("{folder}/inner"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..20 {
            fs::write(folder.join(file.to_string()), super::tree::noise(file * 1500, file as u64)).unwrap();
        }
        fs::hard_link(folder.join("3"), folder.join("linked")).unwrap();
    }
    let expected = describe(&source);
    let (artifact, _) = Artifact::of(&[&source]);
    for threads in [1, 2, 7] {
        let target = tempfile::tempdir().unwrap();
        let options = ExtractOptions { threads: std::num::NonZeroUsize::new(threads), ..ExtractOptions::default() };
        artifact.extract_with(target.path(), &options).unwrap();
        assert_same(&describe(&target.path().join("tree")), &expected);
    }
}

#[test]
fn entries_say_where_everything_is() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("tree");
    fs::create_dir(&source).unwrap();
    let _socket = build(&source);
    let (artifact, summary) = Artifact::of(&[&source]);
    let mut at = 0;
    for entry in &artifact.entries {
        assert_eq!(entry.offset, at, "members follow each other: {}", entry.path);
        at += entry.length;
        if entry.kind == Kind::File && !entry.sparse && entry.size > 0 {
            let data = &artifact.stream[entry.data_offset as usize..][..entry.size as usize];
            let source = temp.path().join(entry.path.as_path());
            match fs::read(source) {
                Ok(content) => assert!(content == data, "{}", entry.path),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidFilename, "{}", entry.path),
            }
        }
    }
    assert_eq!(at + 1024, summary.length);
    let link = artifact.entry("tree/links/second");
    assert_eq!(link.link, Some(RawPath::from("tree/another name")));
    assert_eq!((link.size, link.kind), (3000, Kind::HardLink));
    let first = artifact.entry("tree/another name");
    assert_eq!(link.target, Some(Span { offset: first.offset, length: first.length }));
    assert_eq!(link.data(), first.data());
}

#[test]
fn a_scan_foretells_the_write() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("tree");
    fs::create_dir(&source).unwrap();
    let _socket = build(&source);
    let spec = spec(&[&source]);
    let totals = scan(&spec, &Env::default(), &Watch::default()).unwrap();
    let (_, summary) = Artifact::write(&spec, &Env::default(), &Watch::default());
    assert_eq!((totals.files, totals.folders), (summary.files, summary.folders));
    assert_eq!(totals.others, summary.others);
    let close = |a: u64, b: u64| a.abs_diff(b) * 10 < b;
    assert!(close(totals.bytes, summary.bytes), "{totals:?} {summary:?}");
    assert!(close(totals.length, summary.length), "{totals:?} {summary:?}");
}

#[test]
fn a_file_over_8_gib_is_announced_right() {
    use crate::files::head::Head;
    let head = Head { stored: 9 << 30, mode: 0o644, ..Head::of(RawPath::from("big"), Kind::File) };
    let mut bytes = Vec::new();
    crate::files::header::encode(&head, &mut bytes);
    let mut reader = Cursor::new(&bytes);
    let mut members = crate::files::members::Members::new(&mut reader, 0, crate::files::members::End::Member);
    assert_eq!(members.next().unwrap(), Some(head));
    let listed = Command::new("tar")
        .args(["-tv", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    if let Ok(mut child) = listed {
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains(" 9663676416 "), "{output:?}");
    }
}

#[test]
fn overwriting_replaces_files_whole_and_only_if_allowed() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("tree");
    fs::create_dir(&source).unwrap();
    let _socket = build(&source);
    let expected = without(&describe(&source), &LEFT_OUT);
    let (artifact, _) = Artifact::of(&[&source]);
    let target = temp.path().join("out");
    fs::create_dir(&target).unwrap();
    artifact.extract(&target);
    let old = super::tree::inode(&target.join("tree/regular"));
    let reader = fs::File::open(target.join("tree/regular")).unwrap();
    fs::write(target.join("tree/empty"), b"changed").unwrap();

    let error = artifact.extract_with(&target, &ExtractOptions::default()).unwrap_err();
    assert!(matches!(error, FilesError::Exists { .. }), "{error}");
    let taken = conflicts(artifact.index(), &Selection::everything(), &target, false, 3).unwrap();
    assert_eq!(taken.len(), 3);
    assert_eq!(taken[0], RawPath::from("tree/another name"));

    assert!(conflicts(artifact.index(), &Selection::everything(), &target, true, 3).unwrap().is_empty());
    let overwrite = ExtractOptions { overwrite: true, ..ExtractOptions::default() };
    let summary = artifact.extract_with(&target, &overwrite).unwrap();
    assert_eq!(summary.warnings, Noted::default());
    assert_same(&describe(&target.join("tree")), &expected);
    assert_ne!(super::tree::inode(&target.join("tree/regular")), old);
    assert_eq!(io::read_to_string(reader).err().map(|error| error.kind()), Some(io::ErrorKind::InvalidData));
}

#[test]
fn a_folder_is_never_replaced_by_a_file_or_the_other_way_round() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("tree");
    fs::create_dir_all(source.join("folder")).unwrap();
    fs::write(source.join("file"), b"x").unwrap();
    let (artifact, _) = Artifact::of(&[&source]);
    let overwrite = ExtractOptions { overwrite: true, ..ExtractOptions::default() };
    for (file, folder) in [("folder", "none"), ("none", "file")] {
        let target = tempfile::tempdir().unwrap();
        fs::create_dir(target.path().join("tree")).unwrap();
        fs::write(target.path().join("tree").join(file), b"in the way").unwrap();
        fs::create_dir(target.path().join("tree").join(folder)).unwrap();
        let error = artifact.extract_with(target.path(), &overwrite).unwrap_err();
        assert!(matches!(error, FilesError::OtherKind { .. }), "{error}");
        let taken = conflicts(artifact.index(), &Selection::everything(), target.path(), true, 9).unwrap();
        assert_eq!(taken.len(), 1);
        assert_eq!(fs::read(target.path().join("tree").join(file)).unwrap(), b"in the way");
    }
}
