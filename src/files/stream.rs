//! The stream on its way out: one buffer, and how many bytes went through it.

use super::entry::Entry;
use super::error::FilesError;
use super::header::BLOCK;
use super::write::Output;

/// Bytes that are handed on at once. Small files gather here.
const BUFFER: usize = 1024 * 1024;
/// Most bytes of a file that are read at once.
const CHUNK: usize = 256 * 1024;

/// Buffered output that counts.
pub(super) struct Stream<'a> {
    output: &'a mut dyn Output,
    buffer: Box<[u8]>,
    filled: usize,
    flushed: u64,
}

impl<'a> Stream<'a> {
    pub(super) fn new(output: &'a mut dyn Output) -> Self {
        Self { output, buffer: vec![0; BUFFER].into_boxed_slice(), filled: 0, flushed: 0 }
    }

    /// How many bytes of the stream there are so far.
    pub(super) fn offset(&self) -> u64 {
        self.flushed + self.filled as u64
    }

    /// Room for the next at most `wanted` bytes; at least one byte, where any is wanted. Filled bytes are to be
    /// [`advance`](Self::advance)d over.
    pub(super) fn room(&mut self, wanted: u64) -> Result<&mut [u8], FilesError> {
        let wanted = usize::try_from(wanted).unwrap_or(CHUNK).min(CHUNK);
        if self.buffer.len() - self.filled < wanted {
            self.flush()?;
        }
        Ok(self.buffer.get_mut(self.filled..self.filled + wanted).unwrap_or_default())
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.filled = (self.filled + count).min(self.buffer.len());
    }

    pub(super) fn put(&mut self, mut bytes: &[u8]) -> Result<(), FilesError> {
        while !bytes.is_empty() {
            let room = self.room(bytes.len() as u64)?;
            let (now, later) = bytes.split_at(room.len().min(bytes.len()));
            room.copy_from_slice(now);
            self.advance(now.len());
            bytes = later;
        }
        Ok(())
    }

    pub(super) fn zeros(&mut self, mut count: u64) -> Result<(), FilesError> {
        while count > 0 {
            let room = self.room(count)?;
            room.fill(0);
            let filled = room.len();
            self.advance(filled);
            count -= filled as u64;
        }
        Ok(())
    }

    /// Zeros up to the next block.
    pub(super) fn pad(&mut self) -> Result<(), FilesError> {
        let offset = self.offset();
        self.zeros(offset.next_multiple_of(BLOCK as u64) - offset)
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> Result<(), FilesError> {
        self.output.entry(entry).map_err(FilesError::Output)
    }

    /// Hands on all bytes so far.
    pub(super) fn flush(&mut self) -> Result<(), FilesError> {
        let filled = self.buffer.get(..self.filled).unwrap_or_default();
        self.output.write_all(filled).map_err(FilesError::Output)?;
        self.flushed += self.filled as u64;
        self.filled = 0;
        Ok(())
    }

    /// Ends the stream. Returns its length.
    pub(super) fn finish(mut self) -> Result<u64, FilesError> {
        self.zeros(2 * BLOCK as u64)?;
        self.flush()?;
        self.output.flush().map_err(FilesError::Output)?;
        Ok(self.flushed)
    }
}
