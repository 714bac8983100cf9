//! The content of an artifact, from its first byte to its last, with every hash taken again.
//!
//! The reader's own thread reads frames from the file and hands them to the workers some frames ahead of what it gives
//! out. It waits for a credit only while it holds none. The boundaries come from the frames themselves: an artifact
//! without its index is read in the same way.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};

use holdfast_model::ids;
use sha2::{Digest, Sha256};

use super::compression::Compression;
use super::credits::{Buffer, ChunkBuffers};
use super::error::PipelineError;
use super::frame::{self, BadFrame, Probe};
use super::reader::{Expected, Source};
use super::strand::{HashStrand, Panicked};
use super::{CHUNK, Pipeline};

/// Finds and reads the frames of a file one after the other, reading no byte twice and none that is not theirs.
pub(crate) struct FrameCursor {
    source: Source,
    at: u64,
    end: u64,
}

impl FrameCursor {
    /// The frames from `at`, where one begins, up to `end`, where one ends.
    pub(crate) fn new(source: Source, at: u64, end: u64) -> Self {
        Self { source, at, end }
    }

    /// Reads the next frame into the front of `room`, of [`frame::MAX_STORED`] bytes; gives its stored and plain length.
    fn read(&mut self, room: &mut [u8]) -> Result<Option<(usize, usize)>, PipelineError> {
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

    fn fill(&self, room: &mut [u8], have: &mut usize, upto: usize) -> Result<(), PipelineError> {
        let part = room.get_mut(*have..upto.max(*have)).unwrap_or_default();
        self.source.read_at(part, self.at + *have as u64)?;
        *have = upto.max(*have);
        Ok(())
    }
}

impl Source {
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

/// Frames, decoded on the pool some ahead, given out in order.
pub(crate) struct FramePump {
    pipeline: Pipeline,
    cursor: FrameCursor,
    /// Takes the frames' stored bytes in order.
    stored: Option<HashStrand>,
    ahead: VecDeque<Receiver<Result<Buffer, PipelineError>>>,
}

impl FramePump {
    pub(crate) fn new(pipeline: &Pipeline, cursor: FrameCursor, stored: Option<HashStrand>) -> Self {
        Self { pipeline: pipeline.clone(), cursor, stored, ahead: VecDeque::new() }
    }

    /// The next frame's plain bytes; `None` at the end. To be called holding no buffer of this artifact.
    pub(crate) fn next(&mut self) -> Result<Option<Buffer>, PipelineError> {
        let most = self.pipeline.pool.workers() + 2;
        while self.ahead.len() < most {
            let chunk = if self.ahead.is_empty() {
                // Nothing stops a reader but its end: every credit in use is on its way back.
                self.pipeline.credits.acquire(|| false)
            } else {
                self.pipeline.credits.acquire_ahead()
            };
            let Some(chunk) = chunk else { break };
            if !self.start(chunk)? {
                break;
            }
        }
        let Some(first) = self.ahead.pop_front() else { return Ok(None) };
        let panicked = |_| PipelineError::WorkerPanicked { path: self.cursor.source.path.to_path_buf() };
        first.recv().map_err(panicked)?.map(Some)
    }

    /// Starts the next frame on its way; false where there is none.
    fn start(&mut self, chunk: ChunkBuffers) -> Result<bool, PipelineError> {
        let ChunkBuffers { mut plain, mut stored } = chunk;
        let offset = self.cursor.at;
        let Some((stored_bytes, plain_bytes)) = self.cursor.read(stored.spare())? else { return Ok(false) };
        stored.advance(stored_bytes);
        let stored = Arc::new(stored);
        if let Some(strand) = &self.stored {
            strand.push(Arc::clone(&stored));
        }
        // One place, one message: sending never waits.
        let (done, waits) = mpsc::sync_channel(1);
        let source = self.cursor.source.clone();
        self.pipeline.pool.spawn(move || {
            let room = plain.spare().get_mut(..plain_bytes).unwrap_or_default();
            let decoded = frame::decode(source.compression, &stored, room)
                .map(|()| plain.advance(plain_bytes))
                .map_err(|bad| source.bad_frame(offset, &bad));
            drop(stored);
            // A reader that is gone wants nothing.
            let _ = done.send(decoded.map(|()| plain));
        });
        self.ahead.push_back(waits);
        Ok(true)
    }

    fn finish(self) -> Option<Result<(ids::Sha256, u64), Panicked>> {
        self.stored.map(HashStrand::finish)
    }
}

/// An artifact's plain bytes. Its end is reached only where sizes and hashes, stored and plain, are as recorded; else the
/// read that would have been the end is an error with a [`PipelineError`] inside, and so is every later one.
pub struct ContentStream {
    path: Arc<Path>,
    expected: Expected,
    state: State,
}

enum State {
    Frames { pump: Box<FramePump>, content: HashStrand, current: Option<(Arc<Buffer>, usize)> },
    Brotli { decoder: Box<BrotliReader>, content: Sha256, content_bytes: u64 },
    Ended,
    Failed(PipelineError),
}

impl ContentStream {
    pub(crate) fn new(pipeline: &Pipeline, source: &Source, expected: Expected) -> Self {
        let end = expected.stored_bytes;
        let state = match source.compression {
            Compression::Brotli(_) => State::Brotli {
                decoder: Box::new(brotli_reader(StoredReader::new(source.clone(), end))),
                content: Sha256::new(),
                content_bytes: 0,
            },
            _ => {
                let strand = || HashStrand::new(pipeline.pool());
                let cursor = FrameCursor::new(source.clone(), 0, end);
                let pump = Box::new(FramePump::new(pipeline, cursor, Some(strand())));
                State::Frames { pump, content: strand(), current: None }
            }
        };
        Self { path: Arc::clone(&source.path), expected, state }
    }

    fn advance(&mut self, bytes: &mut [u8]) -> Result<usize, PipelineError> {
        match &mut self.state {
            State::Frames { pump, content, current } => {
                loop {
                    if let Some((buffer, at)) = current {
                        let taken = copy(buffer.get(*at..).unwrap_or_default(), bytes);
                        *at += taken;
                        if taken > 0 {
                            return Ok(taken);
                        }
                    }
                    // Let go of before the next is waited for.
                    *current = None;
                    let Some(buffer) = pump.next()? else { break };
                    let buffer = Arc::new(buffer);
                    content.push(Arc::clone(&buffer));
                    *current = Some((buffer, 0));
                }
                self.end()
            }
            State::Brotli { decoder, content, content_bytes } => {
                let taken = decoder.read(bytes).map_err(|error| brotli_error(&self.path, &error))?;
                if taken == 0 {
                    return self.end();
                }
                content.update(bytes.get(..taken).unwrap_or_default());
                *content_bytes += taken as u64;
                if *content_bytes > self.expected.content_bytes {
                    return Err(PipelineError::altered(&self.path, "it holds more than what was stored"));
                }
                Ok(taken)
            }
            State::Ended => Ok(0),
            State::Failed(error) => Err(error.clone()),
        }
    }

    /// Compares all that was seen with all that was recorded.
    fn end(&mut self) -> Result<usize, PipelineError> {
        let panicked = |Panicked| PipelineError::WorkerPanicked { path: self.path.to_path_buf() };
        let (stored, content) = match std::mem::replace(&mut self.state, State::Ended) {
            State::Frames { pump, content, .. } => {
                (pump.finish().unwrap_or(Err(Panicked)).map_err(panicked)?, content.finish().map_err(panicked)?)
            }
            State::Brotli { mut decoder, content, content_bytes } => {
                // Asked once more, the decoder says whether it holds bytes that come after the stream's end.
                decoder.read(&mut [0]).map_err(|error| brotli_error(&self.path, &error))?;
                let stored = decoder.into_inner().finish()?;
                (stored, (ids::Sha256(content.finalize().into()), content_bytes))
            }
            State::Ended | State::Failed(_) => return Ok(0),
        };
        self.expected.compare_stored(&self.path, stored)?;
        self.expected.compare_content(&self.path, content)?;
        Ok(0)
    }
}

impl Read for ContentStream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        match self.advance(bytes) {
            Ok(count) => Ok(count),
            Err(error) => {
                self.state = State::Failed(error.clone());
                Err(error.into())
            }
        }
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

/// Stored bytes in order, hashed on the way.
pub(crate) struct StoredReader {
    source: Source,
    at: u64,
    end: u64,
    hash: Sha256,
}

impl StoredReader {
    pub(crate) fn new(source: Source, end: u64) -> Self {
        Self { source, at: 0, end, hash: Sha256::new() }
    }

    /// Hash and count of all the stored bytes.
    fn finish(self) -> Result<(ids::Sha256, u64), PipelineError> {
        if self.at < self.end {
            return Err(PipelineError::altered(&self.source.path, "the brotli stream ends before the file does"));
        }
        Ok((ids::Sha256(self.hash.finalize().into()), self.at))
    }
}

impl Read for StoredReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let part = bytes.get_mut(..left.min(bytes.len())).unwrap_or_default();
        self.source.read_at(part, self.at)?;
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
pub(crate) fn sequential(file: Arc<File>, path: &Path, compression: Compression, size: u64) -> Box<dyn Read + Send> {
    let bytes_read = Arc::new(AtomicU64::new(0));
    let source = Source { file, path: path.into(), compression, bytes_read };
    match compression {
        Compression::Brotli(_) => Box::new(BrotliErrors {
            path: source.path.to_path_buf(),
            inner: brotli_reader(StoredReader::new(source, size)),
        }),
        Compression::None => Box::new(BufReader::new(StoredReader::new(source, size))),
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
