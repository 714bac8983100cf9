//! The way back: a stream, or parts of it, as a tree below a target folder.
//!
//! The stream is not trusted; [`members`](super::members) and [`target`](super::target) say how. One thread reads and
//! makes folders, so that a folder is there before its contents; small files, links and devices are made by a few
//! threads; large files are written by the reading one, chunk by chunk; hard links and the attributes of folders come
//! last ([`later`](super::later)).

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::Mode;
use rustix::io::Errno;

use super::crew::{Batch, Crew};
use super::entry::{Device, Entry, Kind, Span};
use super::error::FilesError;
use super::head::Head;
use super::later::Later;
use super::members::{End, Members};
use super::place::{NewFile, Placer, on_the_way, restore};
use super::raw_path::RawPath;
use super::report::{Observer, Report, Summary};
use super::select::{Plan, Step};
use super::sparse;
use super::target::{Inside, OpenTop, Spot, Target, Targets};

/// Larger files are written as they are read.
const SMALL: u64 = 256 * 1024;
/// Bytes of a large file that are written at once.
const CHUNK: usize = 1024 * 1024;
/// Threads that make small files, where the options do not say. More wait for the same locks of the file system.
const MAX_THREADS: usize = 8;

/// How to restore.
#[derive(Debug, Clone, Default)]
pub struct ExtractOptions {
    /// Replace what is in the way, each file in one step. Otherwise it is an error. Folders are merged in both cases.
    pub overwrite: bool,
    /// Restore owners by number even where their names are known here with others.
    pub numeric_owner: bool,
    /// Threads that make files; by default as many as there are processors, at most 8.
    pub threads: Option<NonZeroUsize>,
}

/// Restores a whole stream into `target`, a folder that exists.
///
/// The reader is read to its end, also after the stream's end marker, so that a reader that checks what passes through
/// it has seen everything.
///
/// # Errors
/// [`FilesError::NoTarget`], [`Damaged`](FilesError::Damaged), [`Refused`](FilesError::Refused),
/// [`Exists`](FilesError::Exists), [`OtherKind`](FilesError::OtherKind), [`Restore`](FilesError::Restore),
/// [`Input`](FilesError::Input), [`Cancelled`](FilesError::Cancelled). The target then has a part of the tree.
pub fn extract(
    reader: &mut dyn Read,
    target: &Path,
    options: &ExtractOptions,
    observer: &dyn Observer,
) -> Result<Summary, FilesError> {
    all(reader, Targets::One(Target::open(target)?), options, observer)
}

/// The same, with what lies below each name at the top in a folder of its own, which `open` opens when the reading first comes to it.
pub(super) fn extract_by_top(
    reader: &mut dyn Read,
    open: OpenTop<'_>,
    options: &ExtractOptions,
    observer: &dyn Observer,
) -> Result<Summary, FilesError> {
    all(reader, Targets::by_top(open), options, observer)
}

fn all(
    reader: &mut dyn Read,
    targets: Targets<'_>,
    options: &ExtractOptions,
    observer: &dyn Observer,
) -> Result<Summary, FilesError> {
    run(targets, options, observer, |extraction| {
        let mut members = Members::new(reader, 0, End::Marker);
        extraction.members(&mut members)?;
        extraction.summary.length = members.at();
        Ok(())
    })
}

/// Restores what `plan` says into `target`. `open` gives a reader of a stretch of the plain stream; what it gives
/// beyond the stretch's length is not read.
///
/// # Errors
/// As [`extract`].
pub fn extract_selected<'r>(
    plan: &Plan,
    mut open: impl FnMut(Span) -> io::Result<Box<dyn Read + 'r>>,
    target: &Path,
    options: &ExtractOptions,
    observer: &dyn Observer,
) -> Result<Summary, FilesError> {
    run(Targets::One(Target::open(target)?), options, observer, |extraction| {
        for step in &plan.steps {
            match step {
                Step::Folder(entry) => extraction.around(entry)?,
                Step::Link { path, to } => extraction.link(Inside::check(path)?, Inside::check(to)?)?,
                Step::Members(span) => {
                    let mut reader = open(*span).map_err(FilesError::Input)?.take(span.length);
                    let mut members = Members::new(&mut reader, span.offset, End::Member);
                    extraction.members(&mut members)?;
                    whole(&members, *span)?;
                }
                Step::Copy { member: span, path } => {
                    let mut reader = open(*span).map_err(FilesError::Input)?.take(span.length);
                    let mut members = Members::new(&mut reader, span.offset, End::Member);
                    if let Some(head) = members.next()? {
                        extraction.member(Head { path: path.clone(), ..head }, &mut members)?;
                    }
                    if members.next()?.is_some() {
                        return Err(members.damaged("the index takes several members for one"));
                    }
                    whole(&members, *span)?;
                }
            }
        }
        Ok(())
    })
}

/// Checks that all of a stretch was there.
fn whole(members: &Members<'_>, span: Span) -> Result<(), FilesError> {
    if members.at() == span.offset + span.length {
        Ok(())
    } else {
        Err(members.damaged("a part of the stream is shorter than the index says"))
    }
}

/// Runs `body` with threads beside it, and what comes last after it.
fn run(
    targets: Targets<'_>,
    options: &ExtractOptions,
    observer: &dyn Observer,
    body: impl FnOnce(&mut Extraction<'_, '_>) -> Result<(), FilesError>,
) -> Result<Summary, FilesError> {
    let report = Report::new(observer);
    let placer = Placer::new(options, &report);
    let available = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_THREADS);
    let threads = options.threads.map_or_else(available, NonZeroUsize::get);
    let crew = Crew::new(threads);
    let result = std::thread::scope(|scope| {
        // Also when `body` panics: the scope waits for its threads.
        let mut closing = Closing { crew: &crew, abandon: true };
        for _ in 0..threads {
            scope.spawn(|| crew.work(&placer, &report));
        }
        let mut extraction = Extraction {
            targets,
            placer: &placer,
            crew: &crew,
            report: &report,
            batch: Batch::default(),
            later: Later::default(),
            chunk: Vec::new(),
            summary: Summary::default(),
        };
        body(&mut extraction)?;
        extraction.finish()?;
        closing.abandon = false;
        Ok(extraction.summary)
    });
    let mut summary: Summary = result?;
    (summary.warnings, summary.notes) = report.take();
    Ok(summary)
}

/// Closes the queue at the end of a scope, however it ends.
struct Closing<'a> {
    crew: &'a Crew,
    abandon: bool,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.crew.close(self.abandon);
    }
}

/// A restore under way.
struct Extraction<'a, 't> {
    targets: Targets<'t>,
    placer: &'a Placer<'a>,
    crew: &'a Crew,
    report: &'a Report<'a>,
    batch: Batch,
    later: Later,
    chunk: Vec<u8>,
    summary: Summary,
}

impl Extraction<'_, '_> {
    fn members(&mut self, members: &mut Members<'_>) -> Result<(), FilesError> {
        while let Some(head) = members.next()? {
            self.member(head, members)?;
        }
        Ok(())
    }

    fn member(&mut self, mut head: Head, members: &mut Members<'_>) -> Result<(), FilesError> {
        self.report.check()?;
        let path = Inside::check(&head.path)?;
        self.leave(path.as_bytes())?;
        match head.kind {
            Kind::Folder => {
                self.summary.folders += 1;
                return self.folder(&path, head);
            }
            Kind::HardLink => {
                let to = Inside::check(&head.link)
                    .map_err(|_| refused(&head.path, "it is a hard link that leads out of the target"))?;
                return self.link(path, to);
            }
            Kind::Symlink if head.link.as_bytes().is_empty() || head.link.as_bytes().contains(&0) => {
                return Err(refused(&head.path, "it is a symbolic link to nothing"));
            }
            Kind::File => {
                self.summary.files += 1;
                self.summary.bytes += head.stored;
            }
            _ => self.summary.others += 1,
        }
        let spot = self.spot(&path)?;
        head.path = path.into_path();
        match head.sparse {
            Some(size) => self.sparse(&spot, &head, size, members),
            None if head.stored > SMALL => self.large(&spot, &head, members),
            None => {
                let size = usize::try_from(head.stored).unwrap_or_default();
                members.content(self.batch.add(spot, head, size))?;
                if self.batch.is_full() { self.crew.submit(&mut self.batch) } else { Ok(()) }
            }
        }
    }

    /// A folder around something selected: made if it is not there, else left as it is.
    fn around(&mut self, entry: &Entry) -> Result<(), FilesError> {
        let path = Inside::check(&entry.path)?;
        self.leave(path.as_bytes())?;
        let head = Head {
            path: entry.path.clone(),
            kind: Kind::Folder,
            link: RawPath::default(),
            stored: 0,
            sparse: None,
            mode: entry.mode & 0o7777,
            uid: entry.uid,
            gid: entry.gid,
            user: entry.user.clone(),
            group: entry.group.clone(),
            mtime: entry.mtime,
            device: Device::default(),
            xattrs: Vec::new(),
        };
        let Some((parent, name)) = path.split() else { return Ok(()) };
        let folder =
            self.targets.of(path.as_bytes())?.folder(parent, true).map_err(|errno| on_the_way(&entry.path, errno))?;
        match super::facts::Facts::at(&folder, &name) {
            Ok(_) => Ok(()),
            Err(_) => self.folder(&path, head),
        }
    }

    fn folder(&mut self, path: &Inside, head: Head) -> Result<(), FilesError> {
        // The target itself stays as the user made it.
        let Some((parent, name)) = path.split() else { return Ok(()) };
        let folder =
            self.targets.of(path.as_bytes())?.folder(parent, true).map_err(|errno| on_the_way(&head.path, errno))?;
        match rustix::fs::mkdirat(&folder, &name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(restore(&head.path, errno)),
        }
        match self.targets.of(path.as_bytes())?.folder(path.as_bytes(), false) {
            Ok(_) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(FilesError::OtherKind { path: head.path }),
            Err(errno) => return Err(restore(&head.path, errno)),
        }
        self.later.enter(path, head);
        Ok(())
    }

    fn link(&mut self, path: Inside, to: Inside) -> Result<(), FilesError> {
        if path.as_bytes().is_empty() || to.as_bytes().is_empty() {
            return Err(refused(&path.into_path(), "a folder cannot be a hard link"));
        }
        self.leave(path.as_bytes())?;
        self.summary.files += 1;
        self.later.link(path, to);
        if self.later.is_full() { self.settle() } else { Ok(()) }
    }

    fn spot(&mut self, path: &Inside) -> Result<Spot, FilesError> {
        let Some((parent, name)) = path.split() else {
            return Err(refused(&path.clone().into_path(), "the target itself can only be a folder"));
        };
        match self.targets.of(path.as_bytes())?.folder(parent, true) {
            Ok(folder) => Ok(Spot { folder, name }),
            Err(errno) => Err(on_the_way(&path.clone().into_path(), errno)),
        }
    }

    /// Writes a file chunk by chunk.
    fn large(&mut self, spot: &Spot, head: &Head, members: &mut Members<'_>) -> Result<(), FilesError> {
        let new = self.placer.create(spot, head)?;
        let whole = Span { offset: 0, length: head.stored };
        let written = self.copy(&new, head, whole, members);
        self.end(new, head, written)
    }

    /// Writes a file's stretches and leaves the holes between them.
    fn sparse(&mut self, spot: &Spot, head: &Head, size: u64, members: &mut Members<'_>) -> Result<(), FilesError> {
        let stretches = match sparse::decode(head.stored, size, |block| members.content(block))? {
            Ok(stretches) => stretches,
            Err(reason) => return Err(members.damaged(reason)),
        };
        let new = self.placer.create(spot, head)?;
        let written = stretches
            .iter()
            .try_for_each(|stretch| self.copy(&new, head, *stretch, members))
            .and_then(|()| rustix::fs::ftruncate(&new.file, size).map_err(|errno| restore(&head.path, errno)));
        self.end(new, head, written)
    }

    fn copy(&mut self, new: &NewFile<'_>, head: &Head, at: Span, members: &mut Members<'_>) -> Result<(), FilesError> {
        self.chunk.resize(CHUNK, 0);
        let mut done = 0;
        while done < at.length {
            self.report.check()?;
            let count = usize::try_from(at.length - done).unwrap_or(CHUNK).min(CHUNK);
            let chunk = self.chunk.get_mut(..count).unwrap_or_default();
            members.content(chunk)?;
            let written = new.file.write_all_at(chunk, at.offset + done);
            written.map_err(|source| FilesError::Restore { path: head.path.clone(), source })?;
            done += count as u64;
            self.report.advance(0, count as u64);
        }
        Ok(())
    }

    fn end(&self, new: NewFile<'_>, head: &Head, written: Result<(), FilesError>) -> Result<(), FilesError> {
        match written {
            Ok(()) => self.placer.finish(new, head)?,
            Err(error) => {
                self.placer.discard(&new);
                return Err(error);
            }
        }
        self.report.advance(1, 0);
        Ok(())
    }

    /// The reading came to `path`: what it left may be completed.
    fn leave(&mut self, path: &[u8]) -> Result<(), FilesError> {
        while self.later.leave_one(path) {
            if self.later.is_full() {
                self.settle()?;
            }
        }
        Ok(())
    }

    /// Waits for what is in flight, then does what waits for that.
    fn settle(&mut self) -> Result<(), FilesError> {
        if !self.batch.is_empty() {
            self.crew.submit(&mut self.batch)?;
        }
        self.crew.drain()?;
        let (links, folders) = self.later.take();
        for link in links {
            let path = link.path.clone().into_path();
            let spot = self.spot(&link.path)?;
            let to = self.spot(&link.to)?;
            self.placer.link(&spot, &path, &to)?;
            self.report.advance(1, 0);
        }
        for head in folders {
            let folder = self.targets.of(head.path.as_bytes())?.folder(head.path.as_bytes(), false);
            let folder = folder.map_err(|errno| on_the_way(&head.path, errno))?;
            self.placer.attributes(folder.as_fd(), &head);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FilesError> {
        self.leave(b"")?;
        self.settle()
    }
}

fn refused(path: &RawPath, reason: &str) -> FilesError {
    FilesError::Refused { path: path.clone(), reason: reason.to_owned() }
}
