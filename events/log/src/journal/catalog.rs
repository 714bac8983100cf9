//! What is known of a journal without reading it: where each part of it lies, which streams it holds, where it ends.
//!
//! A catalog only ever holds commits that are on stable storage, so its head is the durable head. It is built by a scan
//! and kept up by the writer. Memory: one mark for each 64 KiB of journal, and the [`Streams`].

use std::path::Path;
use std::sync::Arc;

use holdfast_model::ids::{Position, Sha256, StreamId, Version};
use holdfast_model::record::Record;

use crate::error::OpenError;
use crate::journal::frame::{self, Commit, Entries};
use crate::journal::segment;
use crate::streams::Streams;

/// Least bytes between two marks.
const MARK_EVERY: u64 = 64 << 10;

/// A place in a journal from which a position is found by reading on.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The segment's file.
    pub(crate) path: Arc<Path>,
    /// Where a commit starts in it.
    pub(crate) offset: u64,
}

#[derive(Debug)]
struct Segment {
    path: Arc<Path>,
    first: Position,
    /// Starts of commits, ascending; the first is the segment's first commit.
    marks: Vec<(Position, u64)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Catalog {
    segments: Vec<Segment>,
    /// Which events belong to which stream.
    pub(crate) streams: Streams,
    /// The last event.
    pub(crate) head: Position,
    /// The chain after it.
    pub(crate) chain: Sha256,
}

impl Default for Catalog {
    fn default() -> Self {
        Self { segments: Vec::new(), streams: Streams::default(), head: Position::START, chain: frame::GENESIS }
    }
}

impl Catalog {
    /// Adds a segment after all others.
    pub(crate) fn add_segment(&mut self, path: &Path, first: Position) {
        self.segments.push(Segment { path: path.into(), first, marks: Vec::new() });
    }

    /// Adds a commit at the end of the last segment. Its events follow by [`Catalog::add_event`].
    pub(crate) fn add_commit(&mut self, first: Position, last: Position, offset: u64, chain: Sha256) {
        if let Some(segment) = self.segments.last_mut() {
            let marked = segment.marks.last().map(|(_, marked)| *marked);
            if marked.is_none_or(|marked| offset >= marked + MARK_EVERY) {
                segment.marks.push((first, offset));
            }
        }
        self.head = last;
        self.chain = chain;
    }

    /// Adds an event of the last commit.
    pub(crate) fn add_event(&mut self, stream: &StreamId, version: Version, position: Position) {
        self.streams.add(stream, version, position);
    }

    /// Adds a commit that was read from the last segment, which lies at `path`, and that follows all before it.
    ///
    /// # Errors
    /// [`OpenError::Unreadable`] for a record in an unknown form; [`OpenError::Stray`] where the commit was made for another
    /// place. Its checksum and chain hold, so that is what was written, and no repair helps.
    pub(crate) fn admit(&mut self, path: &Path, offset: u64, commit: &Commit<'_>) -> Result<(), OpenError> {
        let stray = || OpenError::Stray { path: path.to_owned() };
        let mut position = commit.first;
        for entry in Entries(commit.payload) {
            let record = Record::decode(entry.map_err(|_| stray())?.record)
                .map_err(|source| OpenError::Unreadable { position, source })?;
            if record.position != position || record.version != self.streams.version(&record.stream).next() {
                return Err(stray());
            }
            self.add_event(&record.stream, record.version, position);
            position = position.next();
        }
        if position != commit.last().next() {
            return Err(stray());
        }
        self.add_commit(commit.first, commit.last(), offset, commit.chain);
        Ok(())
    }

    /// Where to start reading for `from`, and the segments after it as far as `to`.
    pub(crate) fn route(&self, from: Position, to: Position) -> Vec<Place> {
        let begin = self.segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
        let mut route = Vec::new();
        for segment in self.segments.get(begin..).unwrap_or_default() {
            if segment.first > to {
                break;
            }
            let mark = segment.marks.partition_point(|(first, _)| *first <= from).saturating_sub(1);
            let offset = segment.marks.get(mark).map_or(segment::HEADER, |(_, offset)| *offset);
            route.push(Place { path: segment.path.clone(), offset });
        }
        route
    }
}
