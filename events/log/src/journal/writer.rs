//! Appends commits to the last segment and starts a new one when that is full.
//!
//! Room is taken ahead by writing zeros, which the first sync after it brings to the disk. So most commits are written over what
//! the file already holds, and their sync has no length and no extents to bring along: it does without a commit of the file
//! system's own journal, which costs about as much as the bytes, and which waits for whatever else is being synced there. Only an
//! owner that was killed leaves zeros behind; whoever closes or fills a segment cuts them off.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_model::ids::{Position, Sha256};

use crate::disk::{self, Disk};
use crate::fault;
use crate::journal::frame::Encoded;
use crate::journal::segment;

/// Why a commit was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// There is no room. The journal is as before.
    NoSpace(io::Error),
    /// What is on the disk is not known.
    Unknown(io::Error),
    /// Nothing was written, but the journal cannot be gone on with.
    Broken(io::Error),
}

/// Where a commit was written.
#[derive(Debug)]
pub(crate) struct Written {
    /// Where it starts in its segment.
    pub(crate) offset: u64,
    /// The segment, where this is its first commit.
    pub(crate) new_segment: Option<PathBuf>,
}

/// How a journal is laid out.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The folder of the segments.
    pub(crate) dir: PathBuf,
    /// A segment that would grow past this is full.
    pub(crate) segment_bytes: u64,
    /// Room is taken ahead in steps of this size.
    pub(crate) reserve_bytes: u64,
    /// What does it.
    pub(crate) disk: Arc<dyn Disk>,
}

/// The one who writes.
pub(crate) struct Writer {
    layout: Layout,
    open: Option<Open>,
    chain: Sha256,
}

struct Open {
    path: PathBuf,
    file: File,
    /// Where the next commit goes.
    end: u64,
    /// Up to where there is room for sure.
    reserved: u64,
    /// Whether it is new, that is, no commit was written to it here.
    new: bool,
}

impl Writer {
    /// Goes on after the last commit, whose chain is `chain`, at `end` of the segment at `path`; with a new segment where
    /// there is none.
    ///
    /// # Errors
    /// As `open(2)`.
    pub(crate) fn new(layout: Layout, last: Option<(&Path, u64)>, chain: Sha256) -> io::Result<Self> {
        let open = match last {
            None => None,
            Some((path, end)) => {
                let file = OpenOptions::new().read(true).write(true).open(path)?;
                Some(Open { path: path.to_owned(), file, end, reserved: end, new: false })
            }
        };
        Ok(Self { layout, open, chain })
    }

    /// The chain after the last commit.
    pub(crate) fn chain(&self) -> Sha256 {
        self.chain
    }

    /// Writes a commit, whose first event is `first`; it is on stable storage when this returns.
    pub(crate) fn append(&mut self, first: Position, commit: &Encoded) -> Result<Written, WriteError> {
        let length = commit.bytes.len() as u64;
        self.roll(first, length)?;
        let Some(open) = &mut self.open else {
            return Err(WriteError::Broken(io::Error::other("no segment is open")));
        };
        let disk = &self.layout.disk;
        if open.end + length > open.reserved {
            let step = self.layout.reserve_bytes.min(self.layout.segment_bytes.saturating_sub(open.end)).max(length);
            let reserved = disk.reserve(&open.path, &open.file, open.end, step);
            fault::point("append.reserved");
            open.reserved = match reserved {
                Ok(()) => open.end + step,
                // Near the end every event counts: it is written where it just fits, and what was taken is part of that room.
                Err(error) if disk::is_no_space(&error) => open.end,
                Err(error) => return Err(WriteError::Broken(error)),
            };
        }
        fault::point("append.before");
        if let Err(error) = disk.write(&open.path, &open.file, &commit.bytes, open.end) {
            open.reserved = open.end;
            // Only part of it may be there. Nothing of it is acknowledged, so it can go, if the disk still obeys.
            return match disk.truncate(&open.path, &open.file, open.end) {
                Ok(()) if disk::is_no_space(&error) => Err(WriteError::NoSpace(error)),
                _ => Err(WriteError::Unknown(error)),
            };
        }
        fault::point("append.written");
        disk.sync(&open.path, &open.file).map_err(WriteError::Unknown)?;
        fault::point("append.synced");
        let offset = open.end;
        open.end += length;
        self.chain = commit.chain;
        let new_segment = std::mem::take(&mut open.new).then(|| open.path.clone());
        Ok(Written { offset, new_segment })
    }

    /// Gives back the room that was taken ahead. Not after a failed append: what then follows the last commit is for the next
    /// open to judge.
    pub(crate) fn trim(&mut self) {
        let Some(open) = &mut self.open else { return };
        if open.reserved > open.end {
            open.reserved = open.end;
            // Zeros that stay are no harm.
            if let Err(error) = self.layout.disk.truncate(&open.path, &open.file, open.end) {
                tracing::debug!(%error, segment = %open.path.display(), "cannot give back room after the last commit");
            }
        }
    }

    /// Starts a new segment where there is none or the last one is full.
    fn roll(&mut self, first: Position, length: u64) -> Result<(), WriteError> {
        let fits = |open: &Open| open.end == segment::HEADER || open.end + length <= self.layout.segment_bytes;
        if self.open.as_ref().is_some_and(fits) {
            return Ok(());
        }
        self.trim();
        let path = segment::path(&self.layout.dir, first);
        let header = segment::header(first, self.chain);
        let file = self.layout.disk.create(&path, &header).map_err(no_space_or_broken)?;
        self.open = Some(Open { path, file, end: segment::HEADER, reserved: segment::HEADER, new: true });
        Ok(())
    }
}

fn no_space_or_broken(error: io::Error) -> WriteError {
    if disk::is_no_space(&error) { WriteError::NoSpace(error) } else { WriteError::Broken(error) }
}
