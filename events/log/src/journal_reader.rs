//! Reads a log without owning it: only the journal, nothing written, nothing created, no lock.
//!
//! For one-shot commands beside a living owner, and for a home on a read-only file system. It never shows what is not on
//! stable storage: beside an owner it goes as far as the owner's `head` says, without one it syncs the last segment itself
//! before it believes it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use holdfast_model::ids::{Position, Sha256, StreamId, Version};
use holdfast_model::record::Record;
use tokio::sync::watch;

use crate::error::{OpenError, ReadError};
use crate::event_log::ReadLog;
use crate::head;
use crate::journal;
use crate::journal::catalog::Catalog;
use crate::journal::frame::Commit;
use crate::journal::frames::{Frames, Step};
use crate::journal::segment::{self, Header};
use crate::view::View;

/// Whether somebody has the log open for writing, which the caller knows from the home's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Another process, or a log in this one.
    Living,
    /// Nobody, for as long as the reader lives or is not refreshed.
    Gone,
}

/// See the module.
pub struct JournalReader {
    dir: PathBuf,
    owner: Owner,
    view: View,
    /// The segment that is read, and how far; none before the first.
    at: Mutex<Option<(PathBuf, u64)>>,
    head: watch::Sender<Position>,
}

impl JournalReader {
    /// Reads the journal of the log in `dir` (`home/log`) as far as it is durable. A log that was never opened is empty.
    ///
    /// # Errors
    /// As [`JournalReader::refresh`].
    pub fn open(dir: &Path, owner: Owner) -> Result<Self, OpenError> {
        let view = View::new(Catalog::default(), Err("a reader has none".to_owned()));
        let reader =
            Self { dir: dir.to_owned(), owner, view, at: Mutex::new(None), head: watch::Sender::new(Position::START) };
        reader.refresh()?;
        Ok(reader)
    }

    /// The chain of commits up to the head.
    pub(crate) fn chain(&self) -> Sha256 {
        self.view.catalog().chain
    }

    /// Reads what has come since, and says the head.
    ///
    /// # Errors
    /// [`OpenError::JournalDamaged`] where the journal is damaged before its end: an owner's open repairs what the store still
    /// has. Else as the system says.
    pub fn refresh(&self) -> Result<Position, OpenError> {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let head_path = self.dir.join(head::NAME);
        let told = head::read(&self.dir).map_err(|source| OpenError::io("read", &head_path, source))?;
        let result = self.view.update(|catalog| self.read_on(catalog, &mut at, told));
        let head = self.view.catalog().head;
        self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
        result.map(|()| head)
    }

    /// Reads commits up to the durable end.
    fn read_on(
        &self,
        catalog: &mut Catalog,
        at: &mut Option<(PathBuf, u64)>,
        told: Option<Position>,
    ) -> Result<(), OpenError> {
        let journal = self.dir.join(journal::DIR);
        // Beside an owner whose `head` is not there nothing is known to be durable.
        let limit = if self.owner == Owner::Gone { Position(u64::MAX) } else { told.unwrap_or_default() };
        loop {
            if let Some((path, offset)) = at {
                self.read_segment(catalog, path, offset, limit, told)?;
            }
            let next = catalog.head.next();
            let path = segment::path(&journal, next);
            let known = at.as_ref().is_some_and(|(known, _)| *known == path);
            if known || next > limit || !path.exists() {
                break;
            }
            let header = File::open(&path).and_then(|file| segment::read_header(&file));
            match header.map_err(|source| OpenError::io("read", &path, source))? {
                Header::Newer(format) => return Err(OpenError::Newer { path, format }),
                Header::Whole { first, chain } if first == next && chain == catalog.chain => {}
                _ => return Err(damaged(next, path, "the segment's header is damaged")),
            }
            catalog.add_segment(&path, next);
            *at = Some((path, segment::HEADER));
        }
        let next = catalog.head.next();
        let segments = segment::list(&journal).map_err(|source| OpenError::io("list", &journal, source))?;
        let beyond = segments.last().is_some_and(|(first, _)| *first > next && *first <= limit);
        if beyond || told.is_some_and(|told| told >= next) {
            return Err(damaged(next, segment::path(&journal, next), "the journal ends before it"));
        }
        Ok(())
    }

    fn read_segment(
        &self,
        catalog: &mut Catalog,
        path: &Path,
        offset: &mut u64,
        limit: Position,
        told: Option<Position>,
    ) -> Result<(), OpenError> {
        let io = |doing| move |source| OpenError::io(doing, path, source);
        let file = File::open(path).map_err(io("open"))?;
        if self.owner == Owner::Gone {
            sync(&file).map_err(io("sync"))?;
        }
        let mut frames = Frames::new(&file, *offset);
        loop {
            let follows = |commit: &Commit<'_>| commit.first == catalog.head.next() && commit.follows(catalog.chain);
            match frames.next().map_err(io("read"))? {
                Step::Commit(_, commit) if commit.last() > limit => return Ok(()),
                Step::Commit(at, commit) if follows(&commit) => catalog.admit(path, at, &commit)?,
                Step::Commit(..) => {
                    return Err(damaged(catalog.head.next(), path.to_owned(), "the chain of commits does not hold"));
                }
                Step::End => return Ok(()),
                Step::Bad(flaw) => {
                    let next = catalog.head.next();
                    // What nobody was told of and nothing follows is a tail that a crash left, or that is being written.
                    let acknowledged = told.is_some_and(|told| told >= next);
                    if acknowledged || (self.owner == Owner::Gone && frames.resync().map_err(io("read"))?) {
                        return Err(damaged(flaw.event.unwrap_or(next), path.to_owned(), flaw.reason));
                    }
                    return Ok(());
                }
            }
            *offset = frames.offset();
        }
    }
}

fn damaged(position: Position, segment: PathBuf, reason: &'static str) -> OpenError {
    OpenError::JournalDamaged { position, segment, reason }
}

/// Syncs a file that is only read. A file system that cannot be written has nothing to sync.
fn sync(file: &File) -> std::io::Result<()> {
    use rustix::io::Errno;
    match rustix::fs::fdatasync(file) {
        Ok(()) | Err(Errno::ROFS | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl ReadLog for JournalReader {
    fn read_stream(&self, stream: &StreamId, from: Version, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.view.read_stream(stream, from, limit)
    }

    fn read_all(&self, from: Position, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.view.read_all(from, limit)
    }

    fn stream_version(&self, stream: &StreamId) -> Result<Version, ReadError> {
        Ok(self.view.catalog().streams.version(stream))
    }

    fn head(&self) -> Position {
        self.view.catalog().head
    }

    /// Moves when the reader is [refreshed](JournalReader::refresh).
    fn watch_head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }
}
