//! What users want left out: exclude patterns, `.holdfastignore` files, and folders marked as caches.

use std::ffi::{CStr, OsStr};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::FilesError;
use super::facts::Facts;

/// Name of the files with patterns.
pub(super) const IGNORE_FILE: &CStr = c".holdfastignore";
/// Name of the file that marks a cache.
pub(super) const CACHE_TAG: &CStr = c"CACHEDIR.TAG";

/// First bytes of a tag that is meant so; see <https://bford.info/cachedir/>.
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";
/// Longest file of patterns that is read.
const MAX_IGNORE_FILE: usize = 1024 * 1024;

/// The rules in force at one place of the walk.
pub(super) struct Rules {
    exclude: Gitignore,
    /// Those of the folders on the way, with the length of the folder's stored path.
    files: Vec<(usize, Gitignore)>,
}

impl Rules {
    /// Rules with these patterns only.
    pub(super) fn new(exclude: &[String]) -> Result<Self, FilesError> {
        let mut builder = GitignoreBuilder::new("");
        for pattern in exclude {
            builder.add_line(None, pattern).map_err(|error| refuse(pattern, &error))?;
        }
        let exclude = builder.build().map_err(|error| refuse(&exclude.join(" "), &error))?;
        Ok(Self { exclude, files: Vec::new() })
    }

    /// Whether a path (as stored; the first `top` bytes are the given path's name) is to be left out.
    pub(super) fn leaves_out(&self, path: &[u8], top: usize, is_folder: bool) -> bool {
        let matched = |rules: &Gitignore, folder: usize| {
            let relative = path.get(folder + 1..).unwrap_or_default();
            match rules.matched(Path::new(OsStr::from_bytes(relative)), is_folder) {
                Match::None => None,
                Match::Ignore(_) => Some(true),
                Match::Whitelist(_) => Some(false),
            }
        };
        if !self.exclude.is_empty()
            && let Some(out) = matched(&self.exclude, top)
        {
            return out;
        }
        self.files.iter().rev().find_map(|(folder, rules)| matched(rules, *folder)).unwrap_or(false)
    }

    /// Adds the rules of the [`IGNORE_FILE`] of the folder whose stored path has `length` bytes. Says what could not be
    /// used; the rest of the file counts.
    pub(super) fn enter(&mut self, folder: BorrowedFd<'_>, length: usize, mut complain: impl FnMut(&str)) {
        let text = match read_start(folder, IGNORE_FILE, MAX_IGNORE_FILE + 1) {
            Ok(Some(text)) if text.len() <= MAX_IGNORE_FILE => text,
            Ok(Some(_)) => return complain("is longer than 1 MiB: none of its patterns is used"),
            // Not a file of patterns, or gone again.
            Ok(None) | Err(Errno::NOENT) => return,
            Err(errno) => return complain(&format!("cannot be read ({errno}): none of its patterns is used")),
        };
        let mut builder = GitignoreBuilder::new("");
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let added = match std::str::from_utf8(line) {
                Ok(line) => builder.add_line(None, line.strip_suffix('\r').unwrap_or(line)).map(|_| ()),
                Err(_) => return complain(&format!("line {} is not UTF-8: none of its patterns is used", number + 1)),
            };
            if let Err(error) = added {
                complain(&format!("line {} is not a valid pattern and not used ({error})", number + 1));
            }
        }
        match builder.build() {
            Ok(rules) if rules.is_empty() => {}
            Ok(rules) => self.files.push((length, rules)),
            Err(error) => complain(&format!("has patterns that do not go together ({error}): none of them is used")),
        }
    }

    /// Forgets the rules of the folder whose stored path has `length` bytes.
    pub(super) fn leave(&mut self, length: usize) {
        if self.files.last().is_some_and(|(folder, _)| *folder == length) {
            self.files.pop();
        }
    }
}

fn refuse(pattern: &str, error: &ignore::Error) -> FilesError {
    FilesError::Exclude { pattern: pattern.to_owned(), reason: error.to_string() }
}

/// Whether the [`CACHE_TAG`] in this folder is a real one.
pub(super) fn is_cache(folder: BorrowedFd<'_>) -> bool {
    matches!(read_start(folder, CACHE_TAG, CACHE_SIGNATURE.len()), Ok(Some(start)) if start == CACHE_SIGNATURE)
}

/// At most the first `limit` bytes of a regular file; `None` if it is something else.
fn read_start(folder: BorrowedFd<'_>, name: &CStr, limit: usize) -> Result<Option<Vec<u8>>, Errno> {
    if Facts::at(folder, name)?.kind != FileType::RegularFile {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    let mut text = vec![0; limit.min(Facts::of_fd(&file)?.size.try_into().unwrap_or(limit))];
    let mut filled = 0;
    while let Some(room) = text.get_mut(filled..).filter(|room| !room.is_empty()) {
        match rustix::io::read(&file, room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    text.truncate(filled);
    Ok(Some(text))
}
