//! A part of the content is read without reading the rest.

use std::sync::Arc;

use super::*;

#[test]
fn any_range_reads_back_and_reads_only_the_frames_it_lies_in() {
    let pipeline = pipeline();
    let mut noise = Noise::fresh("ranges");
    let content = content(4 * CHUNK + 777, 21);
    for compression in ALL {
        let dir = tempfile::tempdir().unwrap();
        let stored = write(&pipeline, dir.path(), compression, &content);
        let table = Arc::new(open_index(dir.path(), &stored).unwrap().frames().unwrap());
        let mut ranges =
            vec![(0, 1), (0, content.len()), (CHUNK - 1, 2), (content.len() - 1, 1), (CHUNK, CHUNK), (5, 0)];
        ranges.extend((0..4).map(|_| {
            let offset = noise.below(content.len());
            (offset, noise.below(content.len() - offset))
        }));
        for (offset, length) in ranges {
            let reader = open(&pipeline, dir.path(), &stored).unwrap();
            let mut stream = reader.read_range(&table, offset as u64, length as u64).unwrap();
            let back = read_all(&mut stream).unwrap();
            assert!(back == content[offset..offset + length], "{compression} {offset} {length}");
            if let (Some((first, last)), false) =
                (table.covering(offset as u64, length as u64), matches!(compression, Compression::Brotli(_)))
            {
                let frames: u64 = (first..=last).map(|n| table.get(n).unwrap().stored_length).sum();
                assert_eq!(reader.stored_bytes_read(), frames, "{compression} {offset} {length}");
            }
        }
    }
}

#[test]
fn a_range_outside_of_the_content_is_refused() {
    let (pipeline, dir) = (pipeline(), tempfile::tempdir().unwrap());
    let stored = write(&pipeline, dir.path(), Compression::Lz4, b"0123456789");
    let table = Arc::new(open_index(dir.path(), &stored).unwrap().frames().unwrap());
    let reader = open(&pipeline, dir.path(), &stored).unwrap();
    for (offset, length) in [(10, 1), (0, 11), (11, 0), (u64::MAX, 1), (1, u64::MAX)] {
        assert_eq!(
            reader.read_range(&table, offset, length).err().unwrap().code(),
            "RANGE_OUTSIDE",
            "{offset} {length}"
        );
    }
}

#[test]
fn the_index_of_another_artifact_is_refused() {
    let pipeline = pipeline();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let stored = write(&pipeline, one.path(), Compression::Lz4, b"0123456789");
    let other = write(&pipeline, two.path(), Compression::Lz4, b"0123456789 and more");
    let table = Arc::new(open_index(two.path(), &other).unwrap().frames().unwrap());
    let error = open(&pipeline, one.path(), &stored).unwrap().read_range(&table, 0, 5).err().unwrap();
    assert_eq!(error.code(), "ARTIFACT_ALTERED");
}

#[test]
fn damage_in_a_range_is_noticed_in_every_form_without_reading_the_rest() {
    let pipeline = pipeline();
    let content = content(2 * CHUNK, 4);
    for compression in ALL {
        let dir = tempfile::tempdir().unwrap();
        let stored = write(&pipeline, dir.path(), compression, &content);
        let table = Arc::new(open_index(dir.path(), &stored).unwrap().frames().unwrap());
        let path = dir.path().join(stored.file.as_str());
        let mut bytes = std::fs::read(&path).unwrap();
        let second = table.get(1).unwrap();
        bytes[(second.stored_offset + second.stored_length / 2) as usize] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
        let reader = open(&pipeline, dir.path(), &stored).unwrap();
        let good = read_all(&mut reader.read_range(&table, 0, CHUNK as u64).unwrap()).unwrap();
        assert!(good == content[..CHUNK], "{compression}: the first frame is not affected");
        let error = read_all(&mut reader.read_range(&table, CHUNK as u64, 10).unwrap()).unwrap_err();
        assert_eq!(error.code(), "ARTIFACT_ALTERED", "{compression}");
    }
}
