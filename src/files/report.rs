//! What the caller hears while an operation runs, and what it gets at the end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::error::FilesError;

/// Hears of progress and findings, and may ask to stop. Called from several threads on restore.
pub trait Observer: Sync {
    /// So many more files are done (a file counts once, at its end) and so many more bytes of content are through.
    fn advance(&self, files: u64, bytes: u64);
    /// Something is missing from the result, or may not be what it was.
    fn warn(&self, path: &Path, reason: &str);
    /// Something was left out or done otherwise as it should be; good to know, nothing to act on.
    fn note(&self, _path: &Path, _reason: &str) {}
    /// True to end the operation with [`FilesError::Cancelled`], soon.
    fn cancelled(&self) -> bool;
}

/// One thing found about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: while writing a path of the source, while restoring one below the target.
    pub path: PathBuf,
    /// What happened, for a person.
    pub reason: String,
}

/// How many findings there were, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Noted {
    /// All of them.
    pub count: u64,
    /// The first [`Noted::KEPT`].
    pub first: Vec<Finding>,
}

impl Noted {
    /// How many findings are kept with their names.
    pub const KEPT: usize = 20;

    fn add(&mut self, path: &Path, reason: &str) {
        self.count += 1;
        if self.first.len() < Self::KEPT {
            self.first.push(Finding { path: path.to_path_buf(), reason: reason.to_owned() });
        }
    }
}

/// What an operation did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Regular files, and hard links to anything.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Symbolic links, devices and named pipes.
    pub others: u64,
    /// Bytes of content stored or restored: without holes, hard-linked files once.
    pub bytes: u64,
    /// Length of the stream in bytes; 0 where only parts of it were read.
    pub length: u64,
    /// What is missing or doubtful. Any means that the operation completed with warnings.
    pub warnings: Noted,
    /// How many of the warnings say that something of the source is missing or was not read, and not only that it may be of no single moment.
    pub missing: u64,
    /// What was left out on purpose and similar.
    pub notes: Noted,
}

/// What a [`scan`](super::scan) found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Regular files, and hard links to anything.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Symbolic links, devices and named pipes.
    pub others: u64,
    /// Bytes of content to be stored, as [`Summary::bytes`].
    pub bytes: u64,
    /// About how long the plain stream will be: content, headers and padding.
    pub length: u64,
}

/// Collects findings and hands them on.
pub(super) struct Report<'a> {
    observer: &'a dyn Observer,
    silent: bool,
    found: Mutex<(Noted, Noted)>,
    missing: AtomicU64,
}

impl<'a> Report<'a> {
    pub(super) fn new(observer: &'a dyn Observer) -> Self {
        Self { observer, silent: false, found: Mutex::default(), missing: AtomicU64::new(0) }
    }

    /// Findings go nowhere: for a scan, whose findings the write after it makes again.
    pub(super) fn silent(observer: &'a dyn Observer) -> Self {
        Self { silent: true, ..Self::new(observer) }
    }

    pub(super) fn warn(&self, path: &Path, reason: &str) {
        if !self.silent {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).0.add(path, reason);
            self.observer.warn(path, reason);
        }
    }

    /// A warning of something that is missing.
    pub(super) fn lose(&self, path: &Path, reason: &str) {
        self.missing.fetch_add(1, Ordering::Relaxed);
        self.warn(path, reason);
    }

    /// How many warnings are of something that is missing.
    pub(super) fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, path: &Path, reason: &str) {
        if !self.silent {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).1.add(path, reason);
            self.observer.note(path, reason);
        }
    }

    pub(super) fn advance(&self, files: u64, bytes: u64) {
        self.observer.advance(files, bytes);
    }

    pub(super) fn check(&self) -> Result<(), FilesError> {
        if self.observer.cancelled() { Err(FilesError::Cancelled) } else { Ok(()) }
    }

    /// Warnings and notes so far, taken out.
    pub(super) fn take(&self) -> (Noted, Noted) {
        std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
