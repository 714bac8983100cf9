//! Action × place × change: whatever is cut off, flipped or added, it is noticed, and by the right name.

use super::*;

struct Damaged {
    dir: tempfile::TempDir,
    pipeline: Pipeline,
    stored: StoredArtifact,
    artifact: Vec<u8>,
    index: Vec<u8>,
    boundaries: Vec<usize>,
}

impl Damaged {
    fn new(compression: Compression) -> Self {
        let (dir, pipeline) = (tempfile::tempdir().unwrap(), pipeline());
        let stored = write(&pipeline, dir.path(), compression, &content(2 * CHUNK + 4321, 9));
        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        let (artifact, index) = (read(stored.file.as_str()), read(stored.index.file.as_str()));
        let table = open_index(dir.path(), &stored).unwrap().frames().unwrap();
        let boundaries = (0..table.len()).map(|n| table.get(n).unwrap().stored_offset as usize).collect();
        Self { dir, pipeline, stored, artifact, index, boundaries }
    }

    fn put_artifact(&self, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(self.stored.file.as_str()), bytes).unwrap();
    }

    fn put_index(&self, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(self.stored.index.file.as_str()), bytes).unwrap();
    }

    /// What opening and checking, and what opening and reading says.
    fn errors(&self) -> [PipelineError; 2] {
        let check = || open(&self.pipeline, self.dir.path(), &self.stored)?.check_stored(&mut |_| {});
        let read = || read_all(&mut open(&self.pipeline, self.dir.path(), &self.stored)?.stream()).map(|_| ());
        [check().unwrap_err(), read().unwrap_err()]
    }

    fn index_error(&self) -> PipelineError {
        let read = || open_index(self.dir.path(), &self.stored)?.try_for_each(|line| line.map(|_| ()));
        read().unwrap_err()
    }

    /// As if the manifest had been forged to match the file.
    fn forge(&mut self, bytes: &[u8]) {
        self.put_artifact(bytes);
        (self.stored.stored_bytes, self.stored.sha256) = (bytes.len() as u64, sha256(bytes));
    }
}

#[test]
fn a_truncated_artifact_is_noticed_wherever_it_is_cut() {
    let mut noise = Noise::fresh("truncated artifact");
    for compression in ALL {
        let mut damaged = Damaged::new(compression);
        let whole = damaged.artifact.clone();
        let mut cuts = damaged.boundaries.clone();
        cuts.extend([1, whole.len() - 1]);
        cuts.extend((0..10).map(|_| noise.below(whole.len())));
        for cut in cuts {
            damaged.put_artifact(&whole[..cut]);
            for error in damaged.errors() {
                assert_eq!(error.code(), "ARTIFACT_TRUNCATED", "{compression} cut to {cut}");
                assert!(error.is_damage() && !error.retryable());
            }
            // Where even the record of the file agrees, the content's does not.
            let sound = damaged.stored.clone();
            damaged.forge(&whole[..cut]);
            let error = read_all(&mut open(&damaged.pipeline, damaged.dir.path(), &damaged.stored).unwrap().stream());
            assert_eq!(error.unwrap_err().code(), "ARTIFACT_ALTERED", "{compression} cut to {cut}, forged");
            damaged.stored = sound;
        }
    }
}

#[test]
fn a_flipped_bit_in_an_artifact_is_noticed() {
    let mut noise = Noise::fresh("flipped artifact");
    for compression in ALL {
        let mut damaged = Damaged::new(compression);
        for _ in 0..8 {
            let mut bytes = damaged.artifact.clone();
            let bit = noise.below(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            damaged.put_artifact(&bytes);
            for error in damaged.errors() {
                assert_eq!(error.code(), "ARTIFACT_ALTERED", "{compression} bit {bit}");
            }
            // A forged record of the file does not hide that the content changed.
            let sound = damaged.stored.clone();
            damaged.forge(&bytes);
            let read = read_all(&mut open(&damaged.pipeline, damaged.dir.path(), &damaged.stored).unwrap().stream());
            assert!(read.is_err_and(|error| error.code() == "ARTIFACT_ALTERED"), "{compression} bit {bit}, forged");
            damaged.stored = sound;
        }
    }
}

#[test]
fn what_is_appended_to_an_artifact_is_noticed() {
    for compression in ALL {
        let mut damaged = Damaged::new(compression);
        let last = damaged.boundaries[damaged.boundaries.len() - 1];
        // One byte, and a whole frame that is good in itself.
        for more in [vec![0], damaged.artifact[last..].to_vec()] {
            let bytes = [&damaged.artifact[..], &more].concat();
            damaged.put_artifact(&bytes);
            for error in damaged.errors() {
                assert_eq!(error.code(), "ARTIFACT_ALTERED", "{compression}");
            }
            let sound = damaged.stored.clone();
            damaged.forge(&bytes);
            let read = read_all(&mut open(&damaged.pipeline, damaged.dir.path(), &damaged.stored).unwrap().stream());
            assert!(read.is_err_and(|error| error.code() == "ARTIFACT_ALTERED"), "{compression}, forged");
            damaged.stored = sound;
        }
    }
}

#[test]
fn frames_in_another_order_are_noticed() {
    for compression in [Compression::Lz4, Compression::Zstd(1), Compression::Gzip(1), Compression::None] {
        let mut damaged = Damaged::new(compression);
        let (second, third) = (damaged.boundaries[1], damaged.boundaries[2]);
        let a = &damaged.artifact;
        let swapped = [&a[second..third], &a[..second], &a[third..]].concat();
        damaged.forge(&swapped);
        let read = read_all(&mut open(&damaged.pipeline, damaged.dir.path(), &damaged.stored).unwrap().stream());
        assert_eq!(read.unwrap_err().code(), "ARTIFACT_ALTERED", "{compression}");
    }
}

#[test]
fn a_truncated_index_is_noticed_wherever_it_is_cut() {
    for compression in ALL {
        let damaged = Damaged::new(compression);
        for cut in (0..damaged.index.len()).step_by(7).chain([damaged.index.len() - 1]) {
            damaged.put_index(&damaged.index[..cut]);
            let error = damaged.index_error();
            assert_eq!(error.code(), "INDEX_TRUNCATED", "{compression} cut to {cut}");
            // Without the manifest the index itself shows it.
            let path = damaged.dir.path().join(damaged.stored.index.file.as_str());
            let bare = IndexReader::open(File::open(&path).unwrap(), &path, compression, None, Cipher::None);
            let error = bare.and_then(|mut lines| lines.try_for_each(|line| line.map(|_| ()))).unwrap_err();
            assert!(error.code().starts_with("INDEX_"), "{compression} cut to {cut}: {error}");
        }
    }
}

#[test]
fn a_flipped_bit_in_an_index_is_noticed_before_a_line_of_it_is_seen() {
    let mut noise = Noise::fresh("flipped index");
    for compression in ALL {
        let damaged = Damaged::new(compression);
        for _ in 0..40 {
            let mut bytes = damaged.index.clone();
            let bit = noise.below(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            damaged.put_index(&bytes);
            let error = open_index(damaged.dir.path(), &damaged.stored).err().unwrap();
            assert_eq!(error.code(), "INDEX_ALTERED", "{compression} bit {bit}");
        }
        damaged.put_index(&[&damaged.index[..], b"\n"].concat());
        assert_eq!(damaged.index_error().code(), "INDEX_ALTERED", "{compression}, appended to");
    }
}

#[test]
fn an_index_that_says_wrong_things_is_refused_with_its_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.index");
    let header = r#"{"holdfast_index":1,"artifact":"a","compression":"none"}"#;
    let end = r#"{"holdfast_index_end":1,"frames":1,"entries":0,"stored_bytes":4,"content_bytes":4}"#;
    let wrong: [(&str, u64); 12] = [
        ("", 0),
        ("[]", 1),
        (r#"{"holdfast_index":2,"artifact":"a","compression":"none"}"#, 1),
        (r#"{"holdfast_index":1,"artifact":"b","compression":"none"}"#, 1),
        (r#"{"holdfast_index":1,"artifact":"../a","compression":"none"}"#, 1),
        (r#"{"holdfast_index":1,"artifact":"a","compression":"lz4"}"#, 1),
        (&format!("{header}\n[0,4,0]"), 2),
        (&format!("{header}\n[0,4,0,4]\n[5,4,4,4]"), 3),
        (&format!("{header}\n[0,4,0,4]\n[4,18446744073709551615,4,4]"), 3),
        (&format!("{header}\n[0,4,0,4]\nnonsense"), 3),
        (&format!("{header}\n[0,4,0,4]\n[4,4,4,4]\n{end}"), 4),
        (&format!("{header}\n[0,4,0,4]\n{end}\n{{}}"), 4),
    ];
    for (text, line) in wrong {
        std::fs::write(&path, if text.is_empty() { String::new() } else { format!("{text}\n") }).unwrap();
        let opened = IndexReader::open(File::open(&path).unwrap(), &path, Compression::None, None, Cipher::None);
        let error = opened.and_then(|mut lines| lines.try_for_each(|line| line.map(|_| ()))).unwrap_err();
        assert!(error.to_string().contains("a.index"), "{error}");
        match error {
            PipelineError::IndexAltered { line: found, .. } | PipelineError::IndexTruncated { line: found, .. } => {
                assert_eq!(found, line, "{text}");
            }
            other => panic!("{text}: {other}"),
        }
    }
}

#[test]
fn a_line_without_end_takes_no_memory_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.index");
    std::fs::write(&path, vec![b'x'; 8 << 20]).unwrap();
    let error =
        IndexReader::open(File::open(&path).unwrap(), &path, Compression::None, None, Cipher::None).err().unwrap();
    assert!(error.to_string().contains("longer than any"), "{error}");
}
