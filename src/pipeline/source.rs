//! Stored bytes, read exactly once each: frame by frame, or as one stream.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_model::ids;
use sha2::{Digest, Sha256};

use super::CHUNK;
use super::cipher::{self, Cipher, Input};
use super::compression::Compression;
use super::error::PipelineError;
use super::frame::{self, BadFrame, Probe};

/// A file that is read from several places at a time.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) file: Arc<File>,
    pub(crate) path: Arc<Path>,
    pub(crate) compression: Compression,
    pub(crate) bytes_read: Arc<AtomicU64>,
    pub(crate) cipher: Cipher,
    /// Bytes of its packed form: those of the file, without what encryption adds.
    pub(crate) packed_bytes: u64,
}

/// Finds and reads the frames of a file one after the other, reading no byte twice and none that is not theirs.
pub(crate) struct FrameCursor {
    pub(crate) source: Source,
    /// Where the next frame begins.
    pub(crate) at: u64,
    end: u64,
    input: Input,
}

impl FrameCursor {
    /// The frames from `at`, where one begins, up to `end`, where one ends.
    pub(crate) fn new(source: Source, at: u64, end: u64) -> Self {
        Self { source, at, end, input: Input::new() }
    }

    /// Reads the next frame into the front of `room`, of [`frame::MAX_STORED`] bytes; gives its stored and plain length.
    pub(crate) fn read(&mut self, room: &mut [u8]) -> Result<Option<(usize, usize)>, PipelineError> {
        if self.at >= self.end {
            return Ok(None);
        }
        let mut have = 0;
        let (stored, plain) = loop {
            let head = room.get(..have).unwrap_or_default();
            match frame::probe(self.source.compression, head, self.end - self.at) {
                Ok(Probe::Need(more)) => self.fill(room, &mut have, more)?,
                Ok(Probe::Frame { stored, plain }) => {
                    self.fill(room, &mut have, stored)?;
                    break (stored, plain);
                }
                Err(bad) => return Err(self.source.bad_frame(self.at, &bad)),
            }
        };
        self.at += stored as u64;
        Ok(Some((stored, plain)))
    }

    /// Hash and count of all stored bytes, where they are encrypted and were all read.
    pub(crate) fn finish(self) -> Option<Result<(ids::Sha256, u64), PipelineError>> {
        self.input.finish(&self.source)
    }

    fn fill(&mut self, room: &mut [u8], have: &mut usize, upto: usize) -> Result<(), PipelineError> {
        let part = room.get_mut(*have..upto.max(*have)).unwrap_or_default();
        self.input.read_at(&self.source, part, self.at + *have as u64)?;
        *have = upto.max(*have);
        Ok(())
    }
}

impl Source {
    /// A file of `size` bytes. One that is encrypted and has a key is looked at: how many packed bytes it holds.
    pub(crate) fn new(
        file: Arc<File>,
        path: &Path,
        compression: Compression,
        size: u64,
        cipher: Cipher,
    ) -> Result<Self, PipelineError> {
        let packed_bytes = match &cipher {
            Cipher::None | Cipher::Locked => size,
            Cipher::Key(_) => cipher::packed_bytes(size, cipher::header(&file, path)?.len() as u64, path)?,
        };
        let bytes_read = Arc::new(AtomicU64::new(0));
        Ok(Self { file, path: path.into(), compression, bytes_read, cipher, packed_bytes })
    }

    /// Reads exactly `part`, and counts it.
    pub(crate) fn read_at(&self, part: &mut [u8], offset: u64) -> Result<(), PipelineError> {
        self.file.read_exact_at(part, offset).map_err(|error| match error.kind() {
            // It was long enough when it was opened.
            io::ErrorKind::UnexpectedEof => PipelineError::Truncated {
                path: self.path.to_path_buf(),
                expected: offset + part.len() as u64,
                found: self.file.metadata().map_or(0, |now| now.len()),
            },
            _ => PipelineError::io("read", &self.path)(error),
        })?;
        self.bytes_read.fetch_add(part.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn bad_frame(&self, offset: u64, BadFrame(reason): &BadFrame) -> PipelineError {
        PipelineError::altered(&self.path, format!("at byte {offset}, {reason}"))
    }
}

/// Copies what fits.
pub(crate) fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let count = from.len().min(to.len());
    if let (Some(to), Some(from)) = (to.get_mut(..count), from.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}

/// Decodes a brotli stream on the reader's own thread: it has no pieces that others could decode.
pub(crate) type BrotliReader = brotli::Decompressor<StoredReader>;

/// Packed bytes in order, hashed on the way.
pub(crate) struct StoredReader {
    source: Source,
    at: u64,
    end: u64,
    hash: Sha256,
    input: Input,
}

impl StoredReader {
    pub(crate) fn new(source: Source, end: u64) -> Self {
        Self { source, at: 0, end, hash: Sha256::new(), input: Input::new() }
    }

    /// Hash and count of all the stored bytes.
    pub(crate) fn finish(self) -> Result<(ids::Sha256, u64), PipelineError> {
        if self.at < self.end {
            return Err(PipelineError::altered(&self.source.path, "the brotli stream ends before the file does"));
        }
        match self.input.finish(&self.source) {
            Some(stored) => stored,
            None => Ok((ids::Sha256(self.hash.finalize().into()), self.at)),
        }
    }
}

impl Read for StoredReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let part = bytes.get_mut(..left.min(bytes.len())).unwrap_or_default();
        self.input.read_at(&self.source, part, self.at)?;
        self.hash.update(&*part);
        self.at += part.len() as u64;
        Ok(part.len())
    }
}

pub(crate) fn brotli_reader(source: StoredReader) -> BrotliReader {
    brotli::Decompressor::new(source, 64 << 10)
}

pub(crate) fn brotli_error(path: &Path, error: &io::Error) -> PipelineError {
    match PipelineError::inside(error) {
        Some(error) => error.clone(),
        None => PipelineError::altered(path, format!("the brotli stream cannot be read: {error}")),
    }
}

/// The plain bytes of a small file, decoded on the reader's own thread a frame at a time, with the frames' own checksums
/// and no others.
pub(crate) fn sequential(source: Source) -> Box<dyn Read + Send> {
    let (size, compression) = (source.packed_bytes, source.compression);
    match compression {
        Compression::Brotli(_) => Box::new(BrotliErrors {
            path: source.path.to_path_buf(),
            inner: brotli_reader(StoredReader::new(source, size)),
        }),
        Compression::None => Box::new(StoredReader::new(source, size)),
        _ => Box::new(FrameReader {
            cursor: FrameCursor::new(source, 0, size),
            stored: Vec::new(),
            plain: Vec::new(),
            at: 0,
        }),
    }
}

struct BrotliErrors {
    path: PathBuf,
    inner: BrotliReader,
}

impl Read for BrotliErrors {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.inner.read(bytes).map_err(|error| brotli_error(&self.path, &error).into())
    }
}

struct FrameReader {
    cursor: FrameCursor,
    stored: Vec<u8>,
    plain: Vec<u8>,
    at: usize,
}

impl Read for FrameReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            self.stored.resize(frame::MAX_STORED, 0);
            let offset = self.cursor.at;
            let Some((stored, plain)) = self.cursor.read(&mut self.stored)? else { return Ok(0) };
            self.plain.resize(plain.min(CHUNK), 0);
            self.at = 0;
            let stored = self.stored.get(..stored).unwrap_or_default();
            frame::decode(self.cursor.source.compression, stored, &mut self.plain)
                .map_err(|bad| self.cursor.source.bad_frame(offset, &bad))?;
        }
        let taken = copy(self.plain.get(self.at..).unwrap_or_default(), bytes);
        self.at += taken;
        Ok(taken)
    }
}
