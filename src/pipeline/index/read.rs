//! Reading an index, a line at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_model::ids::Sha256;

use super::{FrameLine, FrameTable, Header, MAX_LINE, Trailer, VERSION};
use crate::pipeline::cipher::Cipher;
use crate::pipeline::compression::Compression;
use crate::pipeline::error::PipelineError;
use crate::pipeline::reader::hash_file;
use crate::pipeline::source::{Source, sequential};

/// A line between the first and the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexLine {
    /// Where a frame lies.
    Frame(FrameLine),
    /// What a participant wrote: one JSON object.
    Entry(String),
}

/// Iterates over an index's lines; its memory is a block and a line. The last item is an error unless the trailer stands
/// where the index ends and agrees with what was read.
pub struct IndexReader {
    path: PathBuf,
    lines: BufReader<Box<dyn Read + Send>>,
    /// Number of the line read last, from 1.
    line: u64,
    text: Vec<u8>,
    frames: u64,
    entries: u64,
    stored_end: u64,
    plain_end: u64,
    ended: bool,
}

impl IndexReader {
    /// Opens the index in `file`, whose path is for messages. With `expected`, size and SHA-256 of the file, the whole
    /// file is checked first, so that no line of an altered index is ever seen.
    ///
    /// # Errors
    /// [`PipelineError::IndexTruncated`] and [`PipelineError::IndexAltered`]; else [`PipelineError::Io`].
    pub(crate) fn open(
        file: File,
        path: &Path,
        compression: Compression,
        expected: Option<(u64, Sha256)>,
        cipher: Cipher,
    ) -> Result<Self, PipelineError> {
        let size = file.metadata().map_err(PipelineError::io("look at", path))?.len();
        if let Some((bytes, sha256)) = expected {
            check_whole(&file, path, size, bytes, sha256)?;
        }
        let source = Source::new(Arc::new(file), path, compression, size, cipher)?;
        let lines = BufReader::with_capacity(64 << 10, sequential(source));
        let mut reader = Self {
            path: path.to_owned(),
            lines,
            line: 0,
            text: Vec::new(),
            frames: 0,
            entries: 0,
            stored_end: 0,
            plain_end: 0,
            ended: false,
        };
        reader.read_header(compression)?;
        Ok(reader)
    }

    /// Takes size and SHA-256 of an index's file again, which needs no key.
    ///
    /// # Errors
    /// As [`IndexReader::open`].
    pub(crate) fn check_stored(file: &File, path: &Path, (bytes, sha256): (u64, Sha256)) -> Result<(), PipelineError> {
        let size = file.metadata().map_err(PipelineError::io("look at", path))?.len();
        check_whole(file, path, size, bytes, sha256)
    }

    /// Number of the line read last, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The error that says that the line read last cannot be understood, for those who read entries.
    #[must_use]
    pub fn refuse(&self, reason: impl Into<String>) -> PipelineError {
        PipelineError::IndexAltered { path: self.path.clone(), line: self.line, reason: reason.into() }
    }

    /// Reads it to its end and keeps the frames.
    ///
    /// # Errors
    /// As the iterator.
    pub fn frames(self) -> Result<FrameTable, PipelineError> {
        let mut table = FrameTable::default();
        for line in self {
            if let IndexLine::Frame(frame) = line? {
                table.add(frame);
            }
        }
        Ok(table)
    }

    fn read_header(&mut self, compression: Compression) -> Result<(), PipelineError> {
        if !self.read_line()? {
            return Err(self.truncated());
        }
        let header: Header = self.parse()?;
        if header.holdfast_index != VERSION {
            return Err(self.refuse(format!("format {} is not known here: upgrade holdfast", header.holdfast_index)));
        }
        let expected = super::file_name(&header.artifact).ok();
        if self.path.file_name().and_then(|name| name.to_str()) != expected.as_ref().map(|name| name.as_str()) {
            return Err(self.refuse(format!("it is the index of {}", header.artifact)));
        }
        if header.compression != compression {
            return Err(self.refuse(format!("it is of a {} artifact, not a {compression} one", header.compression)));
        }
        Ok(())
    }

    fn next_line(&mut self) -> Result<Option<IndexLine>, PipelineError> {
        if !self.read_line()? {
            return Err(self.truncated());
        }
        if self.text.starts_with(super::OWN.as_bytes()) {
            self.read_trailer()?;
            return Ok(None);
        }
        match self.text.first() {
            Some(b'[') => self.read_frame().map(|frame| Some(IndexLine::Frame(frame))),
            Some(b'{') => {
                self.entries += 1;
                let text = std::str::from_utf8(&self.text).map_err(|_| self.refuse("it is not UTF-8"))?;
                Ok(Some(IndexLine::Entry(text.to_owned())))
            }
            _ => Err(self.refuse("it is neither a frame nor an entry")),
        }
    }

    fn read_frame(&mut self) -> Result<FrameLine, PipelineError> {
        let short: Result<(u64, u64, u64, u64), _> = serde_json::from_slice(&self.text);
        let (stored_offset, stored_length, plain_offset, plain_length, crc32) = match short {
            Ok((so, sl, po, pl)) => (so, sl, po, pl, None),
            Err(_) => {
                let (so, sl, po, pl, crc32) = self.parse::<(u64, u64, u64, u64, u32)>()?;
                (so, sl, po, pl, Some(crc32))
            }
        };
        let ends = (stored_offset.checked_add(stored_length), plain_offset.checked_add(plain_length));
        let (Some(stored_end), Some(plain_end)) = ends else {
            return Err(self.refuse("the frame ends beyond all numbers"));
        };
        if (stored_offset, plain_offset) != (self.stored_end, self.plain_end) {
            return Err(self.refuse("the frame does not begin where the one before it ends"));
        }
        self.frames += 1;
        (self.stored_end, self.plain_end) = (stored_end, plain_end);
        Ok(FrameLine { stored_offset, stored_length, plain_offset, plain_length, crc32 })
    }

    fn read_trailer(&mut self) -> Result<(), PipelineError> {
        let trailer: Trailer = self.parse()?;
        let read = Trailer {
            holdfast_index_end: VERSION,
            frames: self.frames,
            entries: self.entries,
            stored_bytes: self.stored_end,
            content_bytes: self.plain_end,
        };
        if trailer != read {
            return Err(self.refuse("the trailer does not agree with the lines before it"));
        }
        if self.read_line()? {
            return Err(self.refuse("the index goes on after its trailer"));
        }
        Ok(())
    }

    /// Reads the next line into `text`; false at the end.
    fn read_line(&mut self) -> Result<bool, PipelineError> {
        self.text.clear();
        let read = (&mut self.lines).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut self.text);
        match read {
            Ok(0) => return Ok(false),
            Ok(_) => self.line += 1,
            Err(error) => return Err(self.failed(error)),
        }
        if self.text.pop() == Some(b'\n') {
            return Ok(true);
        }
        if self.text.len() >= MAX_LINE {
            return Err(self.refuse("the line is longer than any that was written"));
        }
        Err(self.truncated())
    }

    /// What the artifact's own readers call damage is damage of the index here.
    fn failed(&self, error: std::io::Error) -> PipelineError {
        let line = self.line + 1;
        match PipelineError::inside(&error) {
            Some(PipelineError::Truncated { path, .. }) => PipelineError::IndexTruncated { path: path.clone(), line },
            Some(PipelineError::Altered { path, reason }) => {
                PipelineError::IndexAltered { path: path.clone(), line, reason: reason.clone() }
            }
            Some(other) => other.clone(),
            None => PipelineError::io("read", &self.path)(error),
        }
    }

    fn parse<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, PipelineError> {
        serde_json::from_slice(&self.text).map_err(|error| self.refuse(error.to_string()))
    }

    fn truncated(&self) -> PipelineError {
        PipelineError::IndexTruncated { path: self.path.clone(), line: self.line }
    }
}

impl Iterator for IndexReader {
    type Item = Result<IndexLine, PipelineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_line().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

fn check_whole(file: &File, path: &Path, size: u64, bytes: u64, sha256: Sha256) -> Result<(), PipelineError> {
    let altered =
        |reason: &str| Err(PipelineError::IndexAltered { path: path.to_owned(), line: 0, reason: reason.to_owned() });
    if size < bytes {
        return Err(PipelineError::IndexTruncated { path: path.to_owned(), line: 0 });
    }
    if size > bytes {
        return altered("it is longer than what was stored");
    }
    if hash_file(file, size, &mut |_| {}).map_err(PipelineError::io("read", path))? != sha256 {
        return altered("its SHA-256 is not the recorded one");
    }
    Ok(())
}
