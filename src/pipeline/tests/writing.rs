//! What stays on disk, and what is said, when writing does not go as planned.

use super::*;

#[test]
fn files_are_private_and_nothing_else_is_left() {
    use std::os::unix::fs::PermissionsExt;
    let (pipeline, dir) = (pipeline(), tempfile::tempdir().unwrap());
    let stored = write(&pipeline, dir.path(), Compression::Zstd(1), b"balance 5");
    assert_eq!(names(dir.path()), ["accounts.snapshot.zst", "accounts.snapshot.zst.index"]);
    for file in [&stored.file, &stored.index.file] {
        let mode = dir.path().join(file.as_str()).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn an_artifact_has_no_name_before_its_end_and_leaves_nothing_when_dropped() {
    let (pipeline, dir) = (pipeline(), tempfile::tempdir().unwrap());
    for compression in ALL {
        let mut writer = writer(&pipeline, dir.path(), "accounts", compression);
        writer.write_all(&content(CHUNK + 5, 1)).unwrap();
        assert!(names(dir.path()).iter().all(|name| name.starts_with('.') && name.ends_with(".tmp")));
        drop(writer);
        assert_eq!(names(dir.path()), [""; 0], "{compression}");
        assert_eq!(pipeline.credits().in_use(), 0, "{compression}");
    }
}

#[test]
fn after_a_revocation_every_call_fails_and_nothing_gets_a_name() {
    let (pipeline, dir) = (pipeline(), tempfile::tempdir().unwrap());
    let mut writer = writer(&pipeline, dir.path(), "accounts", Compression::Lz4);
    let control = writer.control();
    writer.write_all(b"some").unwrap();
    assert_eq!(control.content_bytes(), 4);
    assert!(control.revoke());
    assert!(control.revoke(), "twice is as good as once");
    let error = writer.write(b"more").unwrap_err();
    assert_eq!(PipelineError::inside(&error).unwrap().code(), "SINK_REVOKED");
    assert_eq!(writer.entry("{}").unwrap_err().code(), "SINK_REVOKED");
    assert_eq!(writer.finish().unwrap_err().code(), "SINK_REVOKED");
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn a_complete_artifact_can_no_longer_be_revoked() {
    let (pipeline, dir) = (pipeline(), tempfile::tempdir().unwrap());
    let writer = writer(&pipeline, dir.path(), "accounts", Compression::Lz4);
    let control = writer.control();
    writer.finish().unwrap();
    assert!(!control.revoke());
    assert_eq!(names(dir.path()).len(), 2);
}

#[test]
fn a_writer_that_waits_for_memory_is_freed_by_its_revocation() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = Pipeline::new(1, 2).unwrap();
    let mut standing: Vec<_> =
        ["a", "b"].iter().map(|name| writer(&pipeline, dir.path(), name, Compression::Lz4)).collect();
    standing.iter_mut().for_each(|writer| writer.write_all(b"half a chunk").unwrap());
    let mut third = writer(&pipeline, dir.path(), "c", Compression::Lz4);
    let control = third.control();
    let waiting = std::thread::spawn(move || third.write(b"x").map_err(|error| error.kind()));
    control.revoke();
    assert_eq!(waiting.join().unwrap(), Err(std::io::ErrorKind::BrokenPipe));
    standing.into_iter().for_each(|writer| drop(writer.finish().unwrap()));
}

#[test]
fn the_disks_reserve_is_never_touched() {
    let (pipeline, dir) = (pipeline(), tempfile::tempdir().unwrap());
    let options =
        WriteOptions { compression: Compression::None, reserve: Some(u64::MAX / 2), ..WriteOptions::default() };
    let mut writer = ArtifactWriter::create(&pipeline, dir.path(), &"a".parse().unwrap(), options).unwrap();
    let piece = vec![0; 1 << 20];
    let error = (0..100_000).find_map(|_| writer.write_all(&piece).err()).unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    let error = writer.finish().unwrap_err();
    assert_eq!(error.code(), "STORAGE_FULL");
    assert!(error.retryable());
    assert_eq!(names(dir.path()), [""; 0]);
    assert_eq!(pipeline.credits().in_use(), 0);
}

#[test]
fn an_artifact_never_replaces_another() {
    let (pipeline, dir) = (pipeline(), tempfile::tempdir().unwrap());
    let options = WriteOptions { compression: Compression::Lz4, reserve: Some(0), ..WriteOptions::default() };
    let late = writer(&pipeline, dir.path(), "accounts.snapshot", Compression::Lz4);
    let first = write(&pipeline, dir.path(), Compression::Lz4, b"first");
    let again = ArtifactWriter::create(&pipeline, dir.path(), &"accounts.snapshot".parse().unwrap(), options);
    assert_eq!(again.unwrap_err().code(), "ARTIFACT_EXISTS");
    assert_eq!(late.finish().unwrap_err().code(), "ARTIFACT_EXISTS", "begun before, ended after");
    assert_eq!(read_all(&mut open(&pipeline, dir.path(), &first).unwrap().stream()).unwrap(), b"first");
    assert_eq!(open_index(dir.path(), &first).unwrap().count(), 2);
}

#[test]
fn entries_that_could_not_be_read_back_are_refused_and_harm_nothing() {
    let (pipeline, dir) = (pipeline(), tempfile::tempdir().unwrap());
    let mut writer = writer(&pipeline, dir.path(), "a", Compression::Lz4);
    let long = format!("{{\"p\":\"{}\"}}", "y".repeat(index::MAX_LINE));
    for line in
        ["", "[1,2,3,4]", "text", "{\"a\":1}\n{}", "{\"holdfast_index_end\":1}", "{\"holdfast_index\":1}", &long]
    {
        assert_eq!(writer.entry(line).unwrap_err().code(), "INDEX_ENTRY_INVALID", "{:.40}", line);
    }
    writer.entry("{\"path\":\"good\"}").unwrap();
    let stored = writer.finish().unwrap();
    let lines: Vec<_> = open_index(dir.path(), &stored).unwrap().map(Result::unwrap).collect();
    assert!(lines.contains(&IndexLine::Entry("{\"path\":\"good\"}".to_owned())));
}

#[test]
fn work_that_is_lost_in_a_panic_fails_the_artifact_and_holds_nobody() {
    let (pipeline, dir) = (pipeline(), tempfile::tempdir().unwrap());
    let mut writer = writer(&pipeline, dir.path(), "accounts", Compression::Lz4);
    writer.write_all(&content(CHUNK + 1, 1)).unwrap();
    // What unwinding does to the work on a chunk.
    drop(writer.ticket());
    let error = loop {
        if let Err(error) = writer.write_all(&content(CHUNK, 2)) {
            break error;
        }
    };
    assert_eq!(PipelineError::inside(&error).unwrap().code(), "WORKER_PANICKED");
    assert_eq!(writer.finish().unwrap_err().code(), "WORKER_PANICKED");
    assert_eq!(names(dir.path()), [""; 0]);
    assert_eq!(pipeline.credits().in_use(), 0);
}
