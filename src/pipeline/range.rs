//! A part of an artifact's content, without reading the rest of it.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::compression::Compression;
use super::credits::Buffer;
use super::error::PipelineError;
use super::index::{FrameLine, FrameTable};
use super::sink::crc32;
use super::source::{BrotliReader, FrameCursor, Source, StoredReader, brotli_error, brotli_reader, copy};
use super::stream::FramePump;
use super::{CHUNK, Pipeline};

/// Some bytes of an artifact's content. Each frame under it is checked as a whole before a byte of it is given out; damage
/// is an error with a [`PipelineError`] inside.
pub struct RangeStream {
    path: Arc<Path>,
    frames: Frames,
    table: Arc<FrameTable>,
    /// Numbers in it of the next frame, and of the last that is wanted.
    next: usize,
    last: usize,
    current: Current,
    /// Bytes at the front of the next frame that come before the range.
    skip: usize,
    /// Bytes of the range to come.
    left: u64,
}

enum Frames {
    Pump(Box<FramePump>),
    Brotli(Box<BrotliReader>),
}

/// The frame that is being given out, and how far.
enum Current {
    None,
    Pumped(Buffer, usize),
    /// Brotli's chunks are decoded here, so they take no credit: one buffer a stream.
    Decoded(Vec<u8>, usize),
}

impl RangeStream {
    pub(crate) fn new(
        pipeline: &Pipeline,
        source: &Source,
        table: Arc<FrameTable>,
        offset: u64,
        length: u64,
    ) -> Result<Self, PipelineError> {
        let path = Arc::clone(&source.path);
        let outside = || {
            let content = table.content_bytes();
            PipelineError::RangeOutside { path: path.to_path_buf(), content, offset, length }
        };
        if length == 0 && offset <= table.content_bytes() {
            let nothing = FramePump::new(pipeline, FrameCursor::new(source.clone(), 0, 0), None);
            let frames = Frames::Pump(Box::new(nothing));
            return Ok(Self { path, frames, table, next: 0, last: 0, current: Current::None, skip: 0, left: 0 });
        }
        let (first, last) = table.covering(offset, length).ok_or_else(outside)?;
        let start = table.get(first).ok_or_else(outside)?;
        let end = table.get(last).map(|line| line.stored_offset + line.stored_length).ok_or_else(outside)?;
        let frames = match source.compression {
            Compression::Brotli(_) => {
                // A brotli stream can only be decoded from its start.
                let mut decoder = brotli_reader(StoredReader::new(source.clone(), end));
                for line in (0..first).filter_map(|n| table.get(n)) {
                    read_chunk(&mut decoder, &line, &path)?;
                }
                Frames::Brotli(Box::new(decoder))
            }
            _ => {
                let cursor = FrameCursor::new(source.clone(), start.stored_offset, end);
                Frames::Pump(Box::new(FramePump::new(pipeline, cursor, None)))
            }
        };
        let skip = usize::try_from(offset - start.plain_offset).unwrap_or(usize::MAX);
        Ok(Self { path, frames, table, next: first, last, current: Current::None, skip, left: length })
    }

    fn advance(&mut self, bytes: &mut [u8]) -> Result<usize, PipelineError> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.get_mut(..room).unwrap_or_default();
        loop {
            let taken = match &mut self.current {
                Current::None => 0,
                Current::Pumped(buffer, at) => give(buffer, at, bytes),
                Current::Decoded(buffer, at) => give(buffer, at, bytes),
            };
            self.left -= taken as u64;
            if taken > 0 || room == 0 {
                return Ok(taken);
            }
            // Let go of before the next is waited for.
            self.current = Current::None;
            self.next_frame()?;
        }
    }

    fn next_frame(&mut self) -> Result<(), PipelineError> {
        let ended = || PipelineError::altered(&self.path, "the frames end before the range does");
        let line = self.table.get(self.next).filter(|_| self.next <= self.last).ok_or_else(ended)?;
        self.next += 1;
        let skip = std::mem::take(&mut self.skip);
        self.current = match &mut self.frames {
            Frames::Pump(pump) => {
                let buffer = pump.next()?.ok_or_else(ended)?;
                check(&buffer, &line, &self.path)?;
                Current::Pumped(buffer, skip)
            }
            Frames::Brotli(decoder) => Current::Decoded(read_chunk(decoder, &line, &self.path)?, skip),
        };
        Ok(())
    }
}

impl Read for RangeStream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(self.advance(bytes)?)
    }
}

fn give(buffer: &[u8], at: &mut usize, bytes: &mut [u8]) -> usize {
    let taken = copy(buffer.get(*at..).unwrap_or_default(), bytes);
    *at += taken;
    taken
}

fn check(plain: &[u8], line: &FrameLine, path: &Path) -> Result<(), PipelineError> {
    if plain.len() as u64 != line.plain_length {
        let reason = format!("the frame at byte {} is not as long as the index says", line.stored_offset);
        return Err(PipelineError::altered(path, reason));
    }
    if line.crc32.is_some_and(|recorded| recorded != crc32(plain)) {
        let reason = format!("the frame at byte {} does not have the checksum that the index has", line.stored_offset);
        return Err(PipelineError::altered(path, reason));
    }
    Ok(())
}

/// Decodes the chunk of `line`, the next one.
fn read_chunk(decoder: &mut BrotliReader, line: &FrameLine, path: &Path) -> Result<Vec<u8>, PipelineError> {
    let length = usize::try_from(line.plain_length).unwrap_or(usize::MAX);
    if length > CHUNK {
        let reason = format!("the index declares {length} bytes, and a chunk has {CHUNK}");
        return Err(PipelineError::altered(path, reason));
    }
    let mut plain = vec![0; length];
    decoder.read_exact(&mut plain).map_err(|error| brotli_error(path, &error))?;
    check(&plain, line, path)?;
    Ok(plain)
}
