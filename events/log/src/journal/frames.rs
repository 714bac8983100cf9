//! Walks the commits of one segment file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::journal::frame::{self, Commit, Flaw, HEADER, MAGIC, Parsed};

/// Bytes read at a time; more only for a longer commit.
const BLOCK: usize = 256 << 10;

/// A cursor over the commits of a file.
pub(crate) struct Frames<'a> {
    file: &'a File,
    /// Bytes of the file from `base` on; those before `at` are done with.
    buffer: Vec<u8>,
    base: u64,
    at: usize,
}

/// What stands at the cursor.
pub(crate) enum Step<'a> {
    /// A whole commit, and where it starts. The cursor is after it now.
    Commit(u64, Commit<'a>),
    /// Nothing more: the end of the file, or zeros up to it.
    End,
    /// Bytes that are not a whole commit. The cursor stays before them.
    Bad(Flaw),
}

impl<'a> Frames<'a> {
    /// A cursor at `offset`.
    pub(crate) fn new(file: &'a File, offset: u64) -> Self {
        Self { file, buffer: Vec::new(), base: offset, at: 0 }
    }

    /// Where the cursor is in the file.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The next commit.
    ///
    /// # Errors
    /// As `pread(2)`.
    pub(crate) fn next(&mut self) -> io::Result<Step<'_>> {
        let offset = self.offset();
        let mut need = HEADER;
        let length = loop {
            let there = self.fill(need)?;
            match frame::parse(self.rest()) {
                Parsed::Commit(commit) => break commit.bytes.len(),
                Parsed::Short(_) if there < need => return self.end_or(Flaw::new("the commit is cut off")),
                Parsed::Short(more) => need = more,
                Parsed::Flaw(flaw) => return self.end_or(flaw),
            }
        };
        let start = self.at;
        self.at += length;
        match self.buffer.get(start..self.at).map(frame::parse) {
            Some(Parsed::Commit(commit)) => Ok(Step::Commit(offset, commit)),
            _ => Ok(Step::Bad(Flaw::new("the commit is cut off"))),
        }
    }

    /// Moves on to the next whole commit after the cursor, whatever lies between; false where there is none.
    ///
    /// # Errors
    /// As `pread(2)`.
    pub(crate) fn resync(&mut self) -> io::Result<bool> {
        loop {
            self.at += 1;
            if self.fill(HEADER)? < HEADER {
                return Ok(false);
            }
            // Only to the last place where the magic could still be whole; the next round goes on from there.
            let Some(found) = self.rest().windows(MAGIC.len()).position(|window| window == MAGIC) else {
                self.at += self.rest().len() - MAGIC.len();
                continue;
            };
            self.at += found;
            let offset = self.offset();
            let whole = matches!(self.next()?, Step::Commit(..));
            if whole {
                *self = Self::new(self.file, offset);
                return Ok(true);
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Reads until `need` bytes are there from the cursor on, or the file ends; says how many are.
    fn fill(&mut self, need: usize) -> io::Result<usize> {
        while self.rest().len() < need {
            self.buffer.drain(..self.at.min(self.buffer.len()));
            self.base += self.at as u64;
            self.at = 0;
            let held = self.buffer.len();
            self.buffer.resize(held + BLOCK.max(need - held), 0);
            let room = self.buffer.get_mut(held..).unwrap_or_default();
            let read = loop {
                match self.file.read_at(room, self.base + held as u64) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result,
                }
            };
            let read = read.inspect_err(|_| self.buffer.truncate(held))?;
            self.buffer.truncate(held + read);
            if read == 0 {
                break;
            }
        }
        Ok(self.rest().len())
    }

    /// [`Step::End`] where only zeros are left, else the flaw. The cursor stays.
    fn end_or(&mut self, flaw: Flaw) -> io::Result<Step<'_>> {
        let mut ahead = Self::new(self.file, self.offset());
        loop {
            let there = ahead.fill(1)?;
            if there == 0 {
                return Ok(Step::End);
            }
            if ahead.rest().iter().any(|byte| *byte != 0) {
                return Ok(Step::Bad(flaw));
            }
            ahead.at += there;
        }
    }
}

/// How many bytes there are from `offset` on, up to the last that is not zero.
///
/// # Errors
/// As `pread(2)`.
pub(crate) fn written(file: &File, offset: u64) -> io::Result<u64> {
    let mut frames = Frames::new(file, offset);
    let mut written = 0;
    loop {
        let there = frames.fill(1)?;
        if there == 0 {
            return Ok(written);
        }
        if let Some(last) = frames.rest().iter().rposition(|byte| *byte != 0) {
            written = frames.offset() + last as u64 + 1 - offset;
        }
        frames.at += there;
    }
}
