//! The way of the bytes, end to end: written, read by the standard tools, read back, damaged.

mod damage;
mod deadlock;
mod encrypted;
mod ranges;
mod round_trip;
mod writing;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use super::*;

pub(super) const ALL: [Compression; 5] =
    [Compression::Lz4, Compression::Zstd(1), Compression::Gzip(1), Compression::Brotli(1), Compression::None];

/// Bytes that look like what is backed up: text that repeats, and some that nothing compresses.
pub(super) fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut noise = Noise(seed);
    let mut bytes = Vec::with_capacity(length + 64);
    while bytes.len() < length {
        let number = noise.next();
        if number.is_multiple_of(50) {
            (0..1024).for_each(|_| bytes.extend(noise.next().to_le_bytes()));
        } else {
            bytes
                .extend(format!("insert into trades values ({}, 'EURUSD', {});\n", number % 1000, number % 77).bytes());
        }
    }
    bytes.truncate(length);
    bytes
}

/// Numbers for tests; the same seed, the same numbers.
pub(super) struct Noise(pub(super) u64);

impl Noise {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) ^ (self.0 << 13)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }

    /// A seed that differs from run to run, printed so that a failure can be had again.
    pub(super) fn fresh(test: &str) -> Self {
        let seed = std::env::var("HOLDFAST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| uuid::Uuid::now_v7().as_u128() as u64);
        println!("{test}: HOLDFAST_SEED={seed}");
        Self(seed)
    }
}

pub(super) fn pipeline() -> Pipeline {
    Pipeline::new(2, 8).unwrap()
}

pub(super) fn writer(pipeline: &Pipeline, dir: &Path, name: &str, compression: Compression) -> ArtifactWriter {
    let options = WriteOptions { compression, reserve: Some(0), ..WriteOptions::default() };
    ArtifactWriter::create(pipeline, dir, &name.parse().unwrap(), options).unwrap()
}

/// Writes an artifact with an entry for each started MiB of it.
pub(super) fn write(pipeline: &Pipeline, dir: &Path, compression: Compression, content: &[u8]) -> StoredArtifact {
    let mut writer = writer(pipeline, dir, "accounts.snapshot", compression);
    for (n, part) in content.chunks(1 << 20).enumerate() {
        writer.entry(&format!("{{\"path\":\"part-{n}\",\"length\":{}}}", part.len())).unwrap();
        writer.write_all(part).unwrap();
    }
    writer.finish().unwrap()
}

pub(super) fn expected(stored: &StoredArtifact) -> Expected {
    Expected {
        stored_bytes: stored.stored_bytes,
        sha256: stored.sha256,
        content_bytes: stored.content_bytes,
        content_sha256: stored.content_sha256,
    }
}

pub(super) fn open(pipeline: &Pipeline, dir: &Path, stored: &StoredArtifact) -> Result<ArtifactReader, PipelineError> {
    let path = dir.join(stored.file.as_str());
    ArtifactReader::open(
        pipeline,
        File::open(&path).unwrap(),
        &path,
        stored.compression,
        expected(stored),
        Cipher::None,
    )
}

pub(super) fn open_index(dir: &Path, stored: &StoredArtifact) -> Result<IndexReader, PipelineError> {
    let path = dir.join(stored.index.file.as_str());
    let whole = Some((stored.index.stored_bytes, stored.index.sha256));
    IndexReader::open(File::open(&path).unwrap(), &path, stored.compression, whole, Cipher::None)
}

pub(super) fn read_all(stream: &mut dyn Read) -> Result<Vec<u8>, PipelineError> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(PipelineError::inside(&error).expect("every failure has a code").clone()),
    }
}

pub(super) fn sha256(bytes: &[u8]) -> holdfast_model::ids::Sha256 {
    use sha2::Digest;
    holdfast_model::ids::Sha256(sha2::Sha256::digest(bytes).into())
}

pub(super) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
