//! Reads a whole journal, checks all of it, and says what is there or where it stops being whole.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use holdfast_model::ids::{Position, Sha256};

use crate::error::OpenError;
use crate::journal::catalog::Catalog;
use crate::journal::frame::{Commit, Flaw};
use crate::journal::frames::{self, Frames, Step};
use crate::journal::segment::{self, Header};

/// A journal all of which is whole, up to a tail that a crash may have left.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// All that is in it.
    pub(crate) catalog: Catalog,
    /// The last segment, if there is one.
    pub(crate) last: Option<Last>,
}

/// The segment that is appended to.
#[derive(Debug)]
pub(crate) struct Last {
    /// Its file.
    pub(crate) path: PathBuf,
    /// The position it starts with.
    pub(crate) first: Position,
    /// The chain it starts with.
    pub(crate) start: Sha256,
    /// Where its commits end.
    pub(crate) end: u64,
    /// How many bytes follow there.
    pub(crate) tail: u64,
    /// How many of them there are up to the last that is not zero: zeros are room that was taken ahead.
    pub(crate) torn: u64,
    /// Why they are no commit; none where they are zeros.
    pub(crate) flaw: Option<Flaw>,
}

/// The first place where a journal is not whole. Everything before it is.
#[derive(Debug)]
pub(crate) struct Gap {
    /// The segment it lies in, or that is missing.
    pub(crate) path: PathBuf,
    /// The position that segment starts with.
    pub(crate) first: Position,
    /// The chain that segment starts with.
    pub(crate) start: Sha256,
    /// Up to where the segment is whole; none where there is no such file.
    pub(crate) offset: Option<u64>,
    /// From where on it can be read again; none where that is not before its end.
    pub(crate) resume: Option<u64>,
    /// The chain before the gap.
    pub(crate) before: Sha256,
    /// The first event that is missing.
    pub(crate) from: Position,
    /// The first event after the gap, equal to `from` where only bytes around events are wrong; none where the journal
    /// does not tell.
    pub(crate) until: Option<Position>,
    /// What is wrong.
    pub(crate) flaw: Flaw,
}

/// What a scan came to.
#[derive(Debug)]
pub(crate) enum Scanned {
    /// The end.
    Whole(Scan),
    /// A gap.
    Broken(Gap),
}

/// Reads the journal in `dir` up to the first gap.
///
/// # Errors
/// [`OpenError::Newer`], [`OpenError::Unreadable`] and [`OpenError::Stray`] are what no repair helps against.
pub(crate) fn scan(dir: &Path) -> Result<Scanned, OpenError> {
    let segments = segment::list(dir).map_err(|source| OpenError::io("list", dir, source))?;
    let mut scan = Scan::default();
    let mut segments = segments.into_iter().peekable();
    while let Some((first, path)) = segments.next() {
        let expected = scan.catalog.head.next();
        if first < expected {
            return Err(OpenError::Stray { path });
        }
        if first > expected {
            let start = scan.catalog.chain;
            return Ok(Scanned::Broken(Gap {
                path: segment::path(dir, expected),
                first: expected,
                start,
                offset: None,
                resume: None,
                before: start,
                from: expected,
                until: Some(first),
                flaw: Flaw::new("the segment is missing"),
            }));
        }
        if let Some(gap) = scan.segment(first, &path, segments.peek().map(|(next, _)| *next))? {
            return Ok(Scanned::Broken(gap));
        }
    }
    Ok(Scanned::Whole(scan))
}

impl Scan {
    /// Reads a segment, which starts where the last one ended. The segment after it starts with `next`.
    fn segment(&mut self, first: Position, path: &Path, next: Option<Position>) -> Result<Option<Gap>, OpenError> {
        let io = |doing| move |source| OpenError::io(doing, path, source);
        let start = self.catalog.chain;
        let file = File::open(path).map_err(io("open"))?;
        let gap = |catalog: &Catalog, offset, resume, until, flaw| Gap {
            path: path.to_owned(),
            first,
            start,
            offset: Some(offset),
            resume,
            before: catalog.chain,
            from: catalog.head.next(),
            until,
            flaw,
        };
        let header = segment::read_header(&file).map_err(io("read"))?;
        if let Header::Newer(format) = header {
            return Err(OpenError::Newer { path: path.to_owned(), format });
        }
        if header != (Header::Whole { first, chain: start }) {
            let (whole, flaw) = (segment::HEADER, Flaw::new("the segment's header is damaged"));
            return Ok(Some(gap(&self.catalog, whole, Some(whole), Some(first), flaw)));
        }

        self.catalog.add_segment(path, first);
        let mut frames = Frames::new(&file, segment::HEADER);
        let flaw = loop {
            let offset = frames.offset();
            let flaw = match frames.next().map_err(io("read"))? {
                Step::End => break None,
                Step::Bad(flaw) => flaw,
                Step::Commit(_, commit) => match self.wrong(&commit) {
                    Some(flaw) => flaw,
                    None => {
                        self.catalog.admit(path, offset, &commit)?;
                        continue;
                    }
                },
            };
            frames = Frames::new(&file, offset);
            if let Some((resume, first)) = self.resume(&mut frames, offset).map_err(io("read"))? {
                return Ok(Some(gap(&self.catalog, offset, Some(resume), Some(first), flaw)));
            }
            frames = Frames::new(&file, offset);
            break Some(flaw);
        };
        let end = frames.offset();
        match (next, flaw) {
            (Some(next), Some(flaw)) => return Ok(Some(gap(&self.catalog, end, None, Some(next), flaw))),
            // If it ends too early, that is seen by where the next one starts.
            (Some(_), None) => {}
            (None, flaw) => {
                let torn = if flaw.is_some() { frames::written(&file, end).map_err(io("read"))? } else { 0 };
                let tail = file.metadata().map_err(io("stat"))?.len().saturating_sub(end);
                self.last = Some(Last { path: path.to_owned(), first, start, end, tail, torn, flaw });
            }
        }
        Ok(None)
    }

    /// What keeps a whole commit from being the next one.
    fn wrong(&self, commit: &Commit<'_>) -> Option<Flaw> {
        if commit.first != self.catalog.head.next() {
            return Some(Flaw::new("commits are missing"));
        }
        let rewritten = Flaw { reason: "the chain of commits does not hold", event: Some(commit.first) };
        (!commit.follows(self.catalog.chain)).then_some(rewritten)
    }

    /// The first commit, from the cursor at `offset` on, that can be gone on with: where it is and its first event.
    fn resume(&self, frames: &mut Frames<'_>, offset: u64) -> io::Result<Option<(u64, Position)>> {
        loop {
            let at = frames.offset();
            match frames.next()? {
                Step::Commit(_, commit) if commit.first > self.catalog.head.next() => {
                    return Ok(Some((at, commit.first)));
                }
                // The one that is expected, after bytes that should not be there.
                Step::Commit(_, commit) if at > offset && self.wrong(&commit).is_none() => {
                    return Ok(Some((at, commit.first)));
                }
                Step::Commit(..) => {}
                Step::End => return Ok(None),
                Step::Bad(_) => {
                    if !frames.resync()? {
                        return Ok(None);
                    }
                }
            }
        }
    }
}
