//! What is encrypted: read back by its key alone, in whole and in parts, and every damage of it noticed.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use age::x25519::Identity;

use super::*;
use crate::encryption::{EncryptTo, FileKey, Keyring};

struct World {
    dir: tempfile::TempDir,
    pipeline: Pipeline,
    ring: Keyring,
    encrypt_to: EncryptTo,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::generate();
        let path = dir.path().join("key");
        let text = age::secrecy::ExposeSecret::expose_secret(&identity.to_string()).to_owned();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let ring = Keyring::read(Some(&path), None).unwrap();
        Self { dir, pipeline: pipeline(), ring, encrypt_to: EncryptTo::Recipients(vec![identity.to_public()]) }
    }

    fn write(&self, compression: Compression, plain: &[u8]) -> StoredArtifact {
        let encrypt_to = Some(Arc::new(self.encrypt_to.clone()));
        let options = WriteOptions { compression, reserve: Some(0), encrypt_to, ..WriteOptions::default() };
        let name = "a1".parse().unwrap();
        let mut writer = ArtifactWriter::create(&self.pipeline, self.dir.path(), &name, options).unwrap();
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }

    fn key(&self, file: &str) -> FileKey {
        let path = self.dir.path().join(file);
        let head = header(&File::open(&path).unwrap(), &path).unwrap();
        self.ring.unlock(&head, &path).unwrap().unwrap()
    }

    fn reader(&self, stored: &StoredArtifact, cipher: Cipher) -> Result<ArtifactReader, PipelineError> {
        let path = self.dir.path().join(stored.file.as_str());
        let file = File::open(&path).unwrap();
        ArtifactReader::open(&self.pipeline, file, &path, stored.compression, expected(stored), cipher)
    }

    fn unlocked(&self, stored: &StoredArtifact) -> ArtifactReader {
        self.reader(stored, Cipher::Key(Arc::new(self.key(stored.file.as_str())))).unwrap()
    }

    fn frames(&self, stored: &StoredArtifact) -> Arc<FrameTable> {
        let path = self.dir.path().join(stored.index.file.as_str());
        let cipher = Cipher::Key(Arc::new(self.key(stored.index.file.as_str())));
        let whole = Some((stored.index.stored_bytes, stored.index.sha256));
        let index = IndexReader::open(File::open(&path).unwrap(), &path, stored.compression, whole, cipher);
        Arc::new(index.unwrap().frames().unwrap())
    }
}

#[test]
fn every_compression_comes_back_in_whole_and_in_parts() {
    for compression in ALL {
        // The chunks of the encryption are of 64 KiB: their boundaries, and none of them.
        for length in [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 2 * CHUNK + 4321] {
            let world = World::new();
            let plain = content(length, 3);
            let stored = world.write(compression, &plain);
            let raw = std::fs::read(world.dir.path().join("a1.age")).unwrap();
            assert!(raw.starts_with(b"age-encryption.org/v1\n"), "{compression}");
            assert_eq!((raw.len() as u64, stored.content_bytes), (stored.stored_bytes, plain.len() as u64));
            let reader = world.unlocked(&stored);
            let mut back = Vec::new();
            reader.stream().read_to_end(&mut back).unwrap();
            assert!(back == plain, "{compression}, {length}");
            reader.check_stored(&mut |_| {}).unwrap();
            let frames = world.frames(&stored);
            for (offset, count) in [(0, plain.len()), (plain.len() / 2, plain.len() / 3), (plain.len(), 0)] {
                let mut part = Vec::new();
                let range = reader.read_range(&frames, offset as u64, count as u64);
                range.unwrap().read_to_end(&mut part).unwrap();
                assert!(part == plain[offset..offset + count], "{compression}, {offset}, {count}");
            }
        }
    }
}

#[test]
fn a_part_is_read_without_the_rest() {
    let world = World::new();
    let mut noise = Noise(5);
    let plain: Vec<u8> = (0..6 * CHUNK / 8).flat_map(|_| noise.next().to_le_bytes()).collect();
    let stored = world.write(Compression::None, &plain);
    let (reader, frames) = (world.unlocked(&stored), world.frames(&stored));
    let before = reader.stored_bytes_read();
    let mut part = Vec::new();
    let offset = 4 * CHUNK + 99;
    reader.read_range(&frames, offset as u64, 1000).unwrap().read_to_end(&mut part).unwrap();
    assert!(part == plain[offset..offset + 1000]);
    let read = reader.stored_bytes_read() - before;
    assert!(read < 2 * CHUNK as u64, "{read} bytes for 1000");
}

#[test]
fn without_the_key_the_stored_bytes_are_checked_and_nothing_is_read() {
    let world = World::new();
    let stored = world.write(Compression::Lz4, &content(100_000, 1));
    let locked = world.reader(&stored, Cipher::Locked).unwrap();
    locked.check_stored(&mut |_| {}).unwrap();
    let error = locked.stream().read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(PipelineError::inside(&error).unwrap().code(), "KEY_MISSING");
}

#[test]
fn a_flipped_bit_anywhere_is_damage() {
    for compression in [Compression::Lz4, Compression::Brotli(1), Compression::None] {
        let world = World::new();
        let stored = world.write(compression, &content(300_000, 8));
        let key = Arc::new(world.key("a1.age"));
        let path = world.dir.path().join("a1.age");
        let whole = std::fs::read(&path).unwrap();
        let places = (0..whole.len()).step_by(whole.len() / 60).chain(0..40).chain([whole.len() - 1]);
        for place in places.collect::<BTreeSet<_>>() {
            let mut damaged = whole.clone();
            damaged[place] ^= 4;
            std::fs::write(&path, &damaged).unwrap();
            let read = world.reader(&stored, Cipher::Key(key.clone())).and_then(|reader| {
                let read = reader.stream().read_to_end(&mut Vec::new());
                read.map_err(|error| PipelineError::inside(&error).unwrap().clone())
            });
            let error = read.unwrap_err();
            assert!(error.is_damage(), "{compression}, byte {place}: {error}");
        }
    }
}

#[test]
fn a_file_that_is_cut_or_grew_is_damage_also_where_its_size_was_forged() {
    let world = World::new();
    let stored = world.write(Compression::None, &content(200_000, 8));
    let key = Arc::new(world.key("a1.age"));
    let path = world.dir.path().join("a1.age");
    let whole = std::fs::read(&path).unwrap();
    let chunk = (64 << 10) + 16;
    for length in [0, 10, 100, whole.len() - chunk, whole.len() - 17, whole.len() - 1, whole.len() + 1] {
        let mut damaged = whole.clone();
        damaged.resize(length, 0);
        std::fs::write(&path, &damaged).unwrap();
        let forged = Expected { stored_bytes: length as u64, ..expected(&stored) };
        for expected in [expected(&stored), forged] {
            let file = File::open(&path).unwrap();
            let cipher = Cipher::Key(key.clone());
            let opened = ArtifactReader::open(&world.pipeline, file, &path, Compression::None, expected, cipher);
            let error = opened.and_then(|reader| {
                let read = reader.stream().read_to_end(&mut Vec::new());
                read.map_err(|error| PipelineError::inside(&error).unwrap().clone())
            });
            let error = error.unwrap_err();
            assert!(error.is_damage(), "{length}: {error}");
        }
    }
}

#[test]
fn a_header_without_end_is_refused_before_it_fills_the_memory() {
    let world = World::new();
    let path = world.dir.path().join("hostile");
    std::fs::write(&path, format!("age-encryption.org/v1\n{}", "-> X25519 x\n".repeat(1_000_000))).unwrap();
    let error = header(&File::open(&path).unwrap(), &path).unwrap_err();
    assert!(error.is_damage(), "{error}");
}
