//! How much there is to back up, found without reading any file.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use super::entry::Span;
use super::error::FilesError;
use super::facts::Facts;
use super::header::BLOCK;
use super::links::{First, Links};
use super::raw_path::RawPath;
use super::report::{Observer, Report, Totals};
use super::spec::{Env, FilesSpec};
use super::walk::{self, Place, Visitor};

/// What a member's headers take: a block, and mostly an extended header of two.
const HEADERS: u64 = 3 * BLOCK as u64;

/// Counts what [`write`](super::write()) would store now, by the same rules: for the total of a progress bar and an
/// estimate of the space needed. Reads folders and metadata only. Of the observer, only [`Observer::cancelled`] is
/// used: what is wrong with a file is found again when it is written.
///
/// # Errors
/// Those of [`FilesSpec::sources`], [`FilesError::Exclude`], [`FilesError::Cancelled`].
pub fn scan(spec: &FilesSpec, env: &Env, observer: &dyn Observer) -> Result<Totals, FilesError> {
    let mut count = Count { totals: Totals::default(), links: Links::default() };
    walk::walk(spec, env, &Report::silent(observer), &mut count)?;
    count.totals.length += 2 * BLOCK as u64;
    Ok(count.totals)
}

struct Count {
    totals: Totals,
    links: Links,
}

impl Visitor for Count {
    fn folder(&mut self, _: Place<'_>, _: Option<BorrowedFd<'_>>, _: &Facts) -> Result<(), FilesError> {
        self.totals.folders += 1;
        self.totals.length += HEADERS;
        Ok(())
    }

    fn leaf(&mut self, _: Place<'_>, parent: BorrowedFd<'_>, name: &CStr, kind: FileType) -> Result<(), FilesError> {
        let Ok(facts) = Facts::at(parent, name) else { return Ok(()) };
        if kind == FileType::Socket {
            return Ok(());
        }
        self.totals.length += HEADERS;
        if self.links.first(&facts).is_some() {
            self.totals.files += 1;
            return Ok(());
        }
        let nowhere = Span { offset: 0, length: 0 };
        let first = First { path: RawPath::default(), member: nowhere, data: nowhere, size: 0, sparse: false };
        self.links.keep(&facts, first);
        if kind == FileType::RegularFile {
            self.totals.files += 1;
            // Holes are not stored. Small files may lie in their inode and take up no space at all.
            let holes = facts.allocated < facts.size && facts.size > BLOCK as u64 * 8;
            let bytes = if holes { facts.allocated } else { facts.size };
            self.totals.bytes += bytes;
            self.totals.length += bytes.next_multiple_of(BLOCK as u64);
        } else {
            self.totals.others += 1;
        }
        Ok(())
    }
}
