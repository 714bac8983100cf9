//! The content of an artifact, from its first byte to its last, with every hash taken again.
//!
//! The reader's own thread reads frames from the file and hands them to the workers some frames ahead of what it gives
//! out. It waits for a credit only while it holds none. The boundaries come from the frames themselves: an artifact
//! without its index is read in the same way.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use holdfast_model::ids;
use sha2::{Digest, Sha256};

use super::Pipeline;
use super::cipher::Cipher;
use super::compression::Compression;
use super::credits::{Buffer, ChunkBuffers};
use super::error::PipelineError;
use super::frame;
use super::reader::Expected;
use super::source::{BrotliReader, FrameCursor, Source, StoredReader, brotli_error, brotli_reader, copy};
use super::strand::{HashStrand, Panicked};

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

    fn finish(self) -> Result<(ids::Sha256, u64), PipelineError> {
        let path = self.cursor.source.path.clone();
        let panicked = |Panicked| PipelineError::WorkerPanicked { path: path.to_path_buf() };
        match self.cursor.finish() {
            Some(stored) => stored,
            None => self.stored.map(HashStrand::finish).unwrap_or(Err(Panicked)).map_err(panicked),
        }
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
        let end = source.packed_bytes;
        let state = match source.compression {
            Compression::Brotli(_) => State::Brotli {
                decoder: Box::new(brotli_reader(StoredReader::new(source.clone(), end))),
                content: Sha256::new(),
                content_bytes: 0,
            },
            _ => {
                let strand = || HashStrand::new(pipeline.pool());
                let cursor = FrameCursor::new(source.clone(), 0, end);
                // What is encrypted is hashed as it is read.
                let stored = matches!(source.cipher, Cipher::None).then(strand);
                let pump = Box::new(FramePump::new(pipeline, cursor, stored));
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
            State::Frames { pump, content, .. } => (pump.finish()?, content.finish().map_err(panicked)?),
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
