//! What is written reads back, here and by the tools everyone has.

use std::process::Command;

use super::*;

fn by_tool(compression: Compression, path: &Path) -> Vec<u8> {
    let (tool, arguments): (_, &[&str]) = match compression {
        Compression::Lz4 => ("lz4", &["-dc"]),
        Compression::Zstd(_) => ("zstd", &["-dcq"]),
        Compression::Gzip(_) => ("gzip", &["-dc"]),
        Compression::Brotli(_) => ("brotli", &["-dc"]),
        Compression::None => ("cat", &[]),
    };
    let output = Command::new(tool).args(arguments).arg(path).output();
    let output = output.unwrap_or_else(|error| panic!("this test needs `{tool}`: {error}"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn every_form_and_length_reads_back_and_the_standard_tools_agree() {
    let pipeline = pipeline();
    for compression in ALL {
        for length in [0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 12_345] {
            let dir = tempfile::tempdir().unwrap();
            let content = content(length, 7);
            let stored = write(&pipeline, dir.path(), compression, &content);
            let path = dir.path().join(stored.file.as_str());
            let on_disk = std::fs::read(&path).unwrap();
            assert_eq!((stored.stored_bytes, stored.sha256), (on_disk.len() as u64, sha256(&on_disk)), "{compression}");
            assert_eq!((stored.content_bytes, stored.content_sha256), (length as u64, sha256(&content)));
            let reader = open(&pipeline, dir.path(), &stored).unwrap();
            reader.check_stored(&mut |_| {}).unwrap();
            assert!(read_all(&mut reader.stream()).unwrap() == content, "{compression} {length}");
            assert!(by_tool(compression, &path) == content, "{compression} {length} by the standard tool");
        }
    }
    assert_eq!(pipeline.credits().in_use(), 0);
}

#[test]
fn the_index_reads_back_and_the_standard_tools_agree() {
    let pipeline = pipeline();
    for compression in ALL {
        let dir = tempfile::tempdir().unwrap();
        let stored = write(&pipeline, dir.path(), compression, &content(3 * CHUNK + 5, 1));
        let lines: Vec<_> = open_index(dir.path(), &stored).unwrap().map(Result::unwrap).collect();
        let entries = lines.iter().filter(|line| matches!(line, IndexLine::Entry(_))).count();
        assert_eq!(entries, 13, "{compression}");
        assert_eq!((lines.len() - entries) as u64, stored.frames);
        let text = by_tool(compression, &dir.path().join(stored.index.file.as_str()));
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), lines.len() + 2);
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["content_bytes"], stored.content_bytes);
        assert_eq!(last["stored_bytes"], stored.stored_bytes);
    }
}

#[test]
fn a_long_index_is_written_and_read_in_blocks() {
    let pipeline = pipeline();
    for compression in [Compression::Lz4, Compression::Brotli(0), Compression::None] {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(&pipeline, dir.path(), "many.tar", compression);
        let padding = "x".repeat(500);
        for n in 0..10_000 {
            writer.entry(&format!("{{\"n\":{n},\"padding\":\"{padding}\"}}")).unwrap();
        }
        // One line as long as they may be.
        writer.entry(&format!("{{\"p\":\"{}\"}}", "y".repeat(index::MAX_LINE - 8))).unwrap();
        let stored = writer.finish().unwrap();
        let mut expected = 0;
        for line in open_index(dir.path(), &stored).unwrap() {
            if let IndexLine::Entry(entry) = line.unwrap() {
                assert!(expected == 10_000 || entry.starts_with(&format!("{{\"n\":{expected},")));
                expected += 1;
            }
        }
        assert_eq!(expected, 10_001, "{compression}");
    }
}

#[test]
fn an_artifact_without_its_index_reads_back() {
    let (pipeline, dir) = (pipeline(), tempfile::tempdir().unwrap());
    let content = content(2 * CHUNK + 99, 3);
    let stored = write(&pipeline, dir.path(), Compression::Lz4, &content);
    std::fs::remove_file(dir.path().join(stored.index.file.as_str())).unwrap();
    assert!(read_all(&mut open(&pipeline, dir.path(), &stored).unwrap().stream()).unwrap() == content);
}

#[test]
fn data_that_nothing_compresses_hardly_grows() {
    let (pipeline, dir) = (pipeline(), tempfile::tempdir().unwrap());
    let mut noise = Noise(11);
    let content: Vec<u8> = (0..CHUNK / 4).flat_map(|_| noise.next().to_le_bytes()).collect();
    for compression in ALL {
        let mut writer = writer(&pipeline, dir.path(), &format!("noise-{}", compression.extension()), compression);
        writer.write_all(&content).unwrap();
        let stored = writer.finish().unwrap();
        assert!(stored.stored_bytes < content.len() as u64 * 501 / 500, "{compression}: {}", stored.stored_bytes);
        assert!(read_all(&mut open(&pipeline, dir.path(), &stored).unwrap().stream()).unwrap() == content);
    }
}
