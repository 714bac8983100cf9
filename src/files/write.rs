//! The way out: the given paths as one stream.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Advice, FileType};
use rustix::io::Errno;

use super::entry::{Device, Entry, Kind, Span};
use super::error::FilesError;
use super::facts::Facts;
use super::head::Head;
use super::header;
use super::links::{First, Links};
use super::owners::Owners;
use super::raw_path::RawPath;
use super::report::{Observer, Report, Summary};
use super::sparse;
use super::spec::{Env, FilesSpec};
use super::stream::Stream;
use super::walk::{self, Place, Visitor, lost};
use super::xattrs::{self, Xattr};

/// Files from this size on are announced to the kernel as read from start to end.
const LARGE: u64 = 1024 * 1024;

/// Where the stream goes: its bytes through [`io::Write`], and each member's entry once its bytes are on their way.
pub trait Output: io::Write {
    /// A member of the stream, in the stream's order. Some of its bytes may reach [`io::Write`] only later.
    ///
    /// # Errors
    /// Any ends [`write()`] with [`FilesError::Output`].
    fn entry(&mut self, entry: &Entry) -> io::Result<()>;
}

/// Writes what `spec` names as one tar stream.
///
/// What is wrong with single files is reported to the observer and in the [`Summary`], and the stream is good without
/// them. A file's content has always the length that its header announces: what a file lacks at the end of its reading
/// is filled with zeros, what it grew by is left out, and both are warnings.
///
/// # Errors
/// Before the first byte those of [`FilesSpec::sources`] and [`FilesError::Exclude`]; later
/// [`FilesError::Missing`] and [`FilesError::Unreadable`] where a given path went away, [`FilesError::Cancelled`], and
/// [`FilesError::Output`]. What was written is then no whole stream.
pub fn write(
    spec: &FilesSpec,
    env: &Env,
    output: &mut dyn Output,
    observer: &dyn Observer,
) -> Result<Summary, FilesError> {
    let report = Report::new(observer);
    let mut writer = Writer {
        stream: Stream::new(output),
        report: &report,
        owners: Owners::read(),
        links: Links::default(),
        links_full: false,
        summary: Summary::default(),
        headers: Vec::new(),
        scratch: Vec::new(),
    };
    walk::walk(spec, env, &report, &mut writer)?;
    let Writer { stream, mut summary, .. } = writer;
    summary.length = stream.finish()?;
    summary.missing = report.missing();
    (summary.warnings, summary.notes) = report.take();
    Ok(summary)
}

struct Writer<'a> {
    stream: Stream<'a>,
    report: &'a Report<'a>,
    owners: Owners,
    links: Links,
    links_full: bool,
    summary: Summary,
    headers: Vec<u8>,
    scratch: Vec<u8>,
}

impl Visitor for Writer<'_> {
    fn folder(&mut self, at: Place<'_>, fd: Option<BorrowedFd<'_>>, facts: &Facts) -> Result<(), FilesError> {
        let mut head = self.head(at, Kind::Folder, facts);
        head.xattrs = fd.map(|fd| self.xattrs(at, fd)).unwrap_or_default();
        self.member(head, None, |_| Ok(()))?;
        self.summary.folders += 1;
        Ok(())
    }

    fn leaf(&mut self, at: Place<'_>, parent: BorrowedFd<'_>, name: &CStr, kind: FileType) -> Result<(), FilesError> {
        match kind {
            FileType::RegularFile => self.file(at, parent, name),
            FileType::Symlink => self.symlink(at, parent, name),
            FileType::Fifo => self.node(at, parent, name, kind, Kind::Fifo),
            FileType::CharacterDevice => self.node(at, parent, name, kind, Kind::CharDevice),
            FileType::BlockDevice => self.node(at, parent, name, kind, Kind::BlockDevice),
            FileType::Socket => {
                self.report.note(&at.path(), "is a socket: it is left out");
                Ok(())
            }
            _ => {
                self.report.lose(&at.path(), "is of an unknown kind: it is left out");
                Ok(())
            }
        }
    }
}

impl Writer<'_> {
    fn file(&mut self, at: Place<'_>, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), FilesError> {
        let (facts, file) = match walk::open_file(parent, name).and_then(|fd| Ok((Facts::of_fd(&fd)?, fd))) {
            Ok((facts, file)) if facts.kind == FileType::RegularFile => (facts, file),
            Ok(_) => return self.lose(at, Errno::NOTDIR),
            Err(errno) => return self.lose(at, errno),
        };
        if !self.link(at, &facts)? {
            let layout = Layout::of(&file, &facts);
            let mut head = self.head(at, Kind::File, &facts);
            head.xattrs = self.xattrs(at, file.as_fd());
            head.stored = layout.stored();
            head.sparse = layout.is_sparse().then_some(facts.size);
            let entry = self.member(head, None, |writer| writer.content(at, &file, &facts, &layout))?;
            self.keep(at, &facts, &entry);
            self.summary.files += 1;
            self.report.advance(1, 0);
        }
        Ok(())
    }

    fn symlink(&mut self, at: Place<'_>, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), FilesError> {
        let read = || Ok((Facts::at(parent, name)?, rustix::fs::readlinkat(parent, name, Vec::new())?));
        match read() {
            Ok((facts, target)) => {
                let mut head = self.head(at, Kind::Symlink, &facts);
                head.link = RawPath::new(target.into_bytes());
                self.other(at, &facts, head)
            }
            Err(errno) => self.lose(at, errno),
        }
    }

    fn node(
        &mut self,
        at: Place<'_>,
        parent: BorrowedFd<'_>,
        name: &CStr,
        expected: FileType,
        kind: Kind,
    ) -> Result<(), FilesError> {
        match Facts::at(parent, name) {
            Ok(facts) if facts.kind == expected => self.other(at, &facts, self.head(at, kind, &facts)),
            Ok(_) => self.lose(at, Errno::NOTDIR),
            Err(errno) => self.lose(at, errno),
        }
    }

    /// A member without content.
    fn other(&mut self, at: Place<'_>, facts: &Facts, head: Head) -> Result<(), FilesError> {
        if self.link(at, facts)? {
            return Ok(());
        }
        let entry = self.member(head, None, |_| Ok(()))?;
        self.keep(at, facts, &entry);
        self.summary.others += 1;
        Ok(())
    }

    /// Writes a further name of a file that is in the stream already. False if this is its first name.
    fn link(&mut self, at: Place<'_>, facts: &Facts) -> Result<bool, FilesError> {
        let Some(first) = self.links.first(facts) else { return Ok(false) };
        let mut head = self.head(at, Kind::HardLink, facts);
        head.link = first.path.clone();
        self.member(head, Some(&first), |_| Ok(()))?;
        self.summary.files += 1;
        self.report.advance(1, 0);
        Ok(true)
    }

    fn keep(&mut self, at: Place<'_>, facts: &Facts, entry: &Entry) {
        if facts.links > 1 && !self.links.keep(facts, First::from(entry)) && !self.links_full {
            self.links_full = true;
            self.report.note(
                &at.path(),
                "is one of more hard-linked files than fit into memory: its other names become files of their own",
            );
        }
    }

    fn lose(&self, at: Place<'_>, errno: Errno) -> Result<(), FilesError> {
        self.report.lose(&at.path(), &lost(errno));
        Ok(())
    }

    fn xattrs(&mut self, at: Place<'_>, fd: BorrowedFd<'_>) -> Vec<Xattr> {
        xattrs::read(fd, &mut self.scratch, |reason| self.report.warn(&at.path(), reason))
    }

    fn head(&self, at: Place<'_>, kind: Kind, facts: &Facts) -> Head {
        Head {
            path: RawPath::new(at.stored),
            kind,
            link: RawPath::default(),
            stored: 0,
            sparse: None,
            mode: facts.mode,
            uid: facts.uid,
            gid: facts.gid,
            user: self.owners.user(facts.uid).to_owned(),
            group: self.owners.group(facts.gid).to_owned(),
            mtime: facts.mtime,
            device: if kind == Kind::HardLink { Device::default() } else { facts.device },
            xattrs: Vec::new(),
        }
    }

    /// Writes a member: its headers, what `content` writes, which must be `head.stored` bytes, and the padding. `first`
    /// is the member that a hard link names.
    fn member(
        &mut self,
        head: Head,
        first: Option<&First>,
        content: impl FnOnce(&mut Self) -> Result<(), FilesError>,
    ) -> Result<Entry, FilesError> {
        let offset = self.stream.offset();
        self.headers.clear();
        header::encode(&head, &mut self.headers);
        self.stream.put(&self.headers)?;
        let data = Span { offset: self.stream.offset(), length: head.stored };
        content(self)?;
        self.stream.pad()?;
        let data = first.map_or(data, |first| first.data);
        let is_device = matches!(head.kind, Kind::CharDevice | Kind::BlockDevice);
        let entry = Entry {
            kind: head.kind,
            size: first.map_or(head.size(), |first| first.size),
            mode: head.mode,
            uid: head.uid,
            gid: head.gid,
            mtime: head.mtime,
            device: is_device.then_some(head.device),
            offset,
            length: self.stream.offset() - offset,
            data_offset: if data.length > 0 { data.offset } else { 0 },
            data_length: data.length,
            sparse: first.map_or(head.sparse.is_some(), |first| first.sparse),
            target: first.map(|first| first.member),
            link: matches!(head.kind, Kind::Symlink | Kind::HardLink).then_some(head.link),
            path: head.path,
            user: head.user,
            group: head.group,
        };
        self.stream.entry(&entry)?;
        Ok(entry)
    }

    /// Writes a file's content as `layout` says, whatever becomes of the file meanwhile.
    fn content(&mut self, at: Place<'_>, file: &OwnedFd, before: &Facts, layout: &Layout) -> Result<(), FilesError> {
        self.stream.put(&layout.map)?;
        if layout.stored() >= LARGE {
            // Advice: nothing depends on whether it is taken.
            let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
        }
        let mut trouble = None;
        for stretch in &layout.stretches {
            let found = self.copy(file, *stretch)?;
            trouble = trouble.or(found);
        }
        if let Some(reason) = trouble {
            self.report.lose(&at.path(), &reason);
            return Ok(());
        }
        let trouble = match Facts::of_fd(file) {
            Ok(now) if now.size > before.size => Some(format!(
                "grew from {} to {} bytes while it was read: it is stored without the rest",
                before.size, now.size
            )),
            Ok(now) if now.size != before.size || now.mtime != before.mtime => {
                Some("changed while it was read: its stored content may be of no single moment".to_owned())
            }
            Ok(_) | Err(_) => None,
        };
        if let Some(reason) = trouble {
            self.report.warn(&at.path(), &reason);
        }
        Ok(())
    }

    /// Writes one stretch of a file, zeros in place of what cannot be read. Returns what went wrong.
    fn copy(&mut self, file: &OwnedFd, stretch: Span) -> Result<Option<String>, FilesError> {
        let (mut done, mut trouble) = (0, None);
        while done < stretch.length {
            let at = stretch.offset + done;
            let room = self.stream.room(stretch.length - done)?;
            match rustix::io::pread(file, room, at) {
                Ok(0) => {
                    trouble = Some(format!("shrank to {at} bytes while it was read: zeros stand for what was missing"));
                    break;
                }
                Ok(count) => {
                    self.stream.advance(count);
                    self.report.advance(0, count as u64);
                    done += count as u64;
                    self.report.check()?;
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    trouble = Some(format!("cannot be read from byte {at} on ({errno}): zeros stand for the rest"));
                    break;
                }
            }
        }
        self.stream.zeros(stretch.length - done)?;
        self.summary.bytes += stretch.length;
        Ok(trouble)
    }
}

/// How a file's content is stored.
struct Layout {
    /// Empty where it is stored whole.
    map: Vec<u8>,
    stretches: Vec<Span>,
}

impl Layout {
    fn of(file: &OwnedFd, facts: &Facts) -> Self {
        let whole = Self { map: Vec::new(), stretches: vec![Span { offset: 0, length: facts.size }] };
        if facts.allocated >= facts.size {
            return whole;
        }
        let stretches = sparse::stretches(file, facts.size);
        let map = sparse::encode(&stretches, facts.size);
        let sparse = Self { map, stretches };
        // Small files may lie in their inode and take up no space: no holes, or none worth a map.
        if sparse.stored() < facts.size { sparse } else { whole }
    }

    fn is_sparse(&self) -> bool {
        !self.map.is_empty()
    }

    fn stored(&self) -> u64 {
        self.map.len() as u64 + self.stretches.iter().map(|stretch| stretch.length).sum::<u64>()
    }
}
