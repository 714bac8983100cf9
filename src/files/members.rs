//! The way in: the members of a stream that is not trusted, one after the other.
//!
//! Whatever the bytes are, reading them ends with members, a stated damage, or an error of the reader; never in a
//! panic, and never with more memory than an extended header may have. A stream is whole only with its end marker of
//! two zero blocks, and with nothing but zeros after it.

use std::io::{BufReader, Read};

use super::error::FilesError;
use super::head::Head;
use super::header::{self, BLOCK, Block, Fields};
use super::pax::{self, Extended};

const BUFFER: usize = 128 * 1024;

/// Where a stream may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Only after the end marker: the whole stream is read.
    Marker,
    /// After any member: some members cut out of a stream are read.
    Member,
}

/// Reads members and their content.
pub(super) struct Members<'r> {
    input: BufReader<&'r mut dyn Read>,
    end: End,
    /// Offset in the plain stream.
    at: u64,
    /// Bytes of the current member's content not read yet.
    left: u64,
    /// Bytes after them up to the next block.
    padding: u64,
}

impl<'r> Members<'r> {
    /// Reads from `input`, whose first byte has the offset `at` in the plain stream.
    pub(super) fn new(input: &'r mut dyn Read, at: u64, end: End) -> Self {
        Self { input: BufReader::with_capacity(BUFFER, input), end, at, left: 0, padding: 0 }
    }

    /// Offset in the plain stream of the next byte.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The next member; passes over what was not read of the one before.
    pub(super) fn next(&mut self) -> Result<Option<Head>, FilesError> {
        self.skip_content()?;
        let mut pax = None;
        loop {
            let at = self.at;
            let mut block = [0; BLOCK];
            if !self.block_or_end(&mut block)? {
                return match (self.end, pax) {
                    (End::Member, None) => Ok(None),
                    (End::Member, Some(_)) => Err(self.damaged("it ends after an extended header")),
                    (End::Marker, _) => Err(self.damaged("it ends without its end marker: a part is missing")),
                };
            }
            if is_zero(&block) {
                return match (self.end, pax) {
                    (End::Marker, None) => self.finish().map(|()| None),
                    _ => Err(damaged(at, "there is an end marker where none belongs")),
                };
            }
            let fields = Fields::check(&block).map_err(|reason| damaged(at, reason))?;
            match fields.typeflag() {
                header::EXTENDED if pax.is_some() => return Err(damaged(at, "two extended headers follow each other")),
                header::EXTENDED => {
                    let records = self.records(&fields)?;
                    pax = Some(Extended::parse(&records).map_err(|reason| damaged(at, reason))?);
                }
                // Says nothing about a single member that is needed here.
                header::GLOBAL => drop(self.records(&fields)?),
                _ => {
                    let head = fields.head(pax.unwrap_or_default()).map_err(|reason| damaged(at, reason))?;
                    self.left = head.stored;
                    self.padding = head.stored.next_multiple_of(BLOCK as u64) - head.stored;
                    return Ok(Some(head));
                }
            }
        }
    }

    /// Reads content of the current member to fill `buffer`, which must not be longer than what is left of it.
    pub(super) fn content(&mut self, buffer: &mut [u8]) -> Result<(), FilesError> {
        match self.left.checked_sub(buffer.len() as u64) {
            Some(left) => self.left = left,
            None => return Err(self.damaged("a member is shorter than what it announces")),
        }
        self.fill(buffer)
    }

    /// An error about the place where the reading is.
    pub(super) fn damaged(&self, reason: &str) -> FilesError {
        damaged(self.at, reason)
    }

    fn skip_content(&mut self) -> Result<(), FilesError> {
        let mut left = self.left + self.padding;
        (self.left, self.padding) = (0, 0);
        let mut scratch = [0; 8192];
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(scratch.len()).min(scratch.len());
            self.fill(scratch.get_mut(..count).unwrap_or_default())?;
            left -= count as u64;
        }
        Ok(())
    }

    /// The records of an extended header with their padding passed over.
    fn records(&mut self, fields: &Fields<'_>) -> Result<Vec<u8>, FilesError> {
        let length = fields.size().map_err(|reason| damaged(self.at, reason))?;
        if length > pax::MAX_LENGTH {
            return Err(self.damaged("an extended header is longer than 1 MiB"));
        }
        self.left = length;
        self.padding = length.next_multiple_of(BLOCK as u64) - length;
        let mut records = vec![0; usize::try_from(length).unwrap_or_default()];
        self.content(&mut records)?;
        self.skip_content()?;
        Ok(records)
    }

    /// After the first zero block: the second, and zeros up to the end of the input, which is read so that whoever
    /// checks the bytes on the way sees all of them.
    fn finish(&mut self) -> Result<(), FilesError> {
        let mut block = [0; BLOCK];
        if !self.block_or_end(&mut block)? || !is_zero(&block) {
            return Err(self.damaged("its end marker is not whole"));
        }
        let mut rest = [0; 8192];
        loop {
            match self.read(&mut rest)? {
                0 => return Ok(()),
                count if rest.iter().take(count).all(|byte| *byte == 0) => {}
                _ => return Err(self.damaged("there are bytes after its end marker")),
            }
        }
    }

    /// Reads a block; false at the end of the input.
    fn block_or_end(&mut self, block: &mut Block) -> Result<bool, FilesError> {
        let count = self.read(block)?;
        if count == 0 {
            return Ok(false);
        }
        self.fill(block.get_mut(count..).unwrap_or_default())?;
        Ok(true)
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), FilesError> {
        while !buffer.is_empty() {
            match self.read(buffer)? {
                0 => return Err(self.damaged("it ends in the middle of a member: a part is missing")),
                count => buffer = buffer.get_mut(count..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FilesError> {
        loop {
            match self.input.read(buffer) {
                Ok(count) => {
                    self.at += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FilesError::Input(error)),
            }
        }
    }
}

fn damaged(at: u64, reason: impl Into<String>) -> FilesError {
    FilesError::Damaged { at, reason: reason.into() }
}

fn is_zero(block: &Block) -> bool {
    block.iter().all(|byte| *byte == 0)
}
