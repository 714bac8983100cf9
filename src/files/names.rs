//! The names in one folder, sorted, in little memory: a folder of a million names is held while it is walked.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

/// Room for the entries of one `getdents` call; larger than any single entry, whose name has 255 bytes.
const SCRATCH: usize = 64 * 1024;

/// A name's place in the bytes of all.
#[derive(Debug, Clone, Copy)]
struct Name {
    start: u32,
    /// With the NUL byte at its end.
    length: u32,
    kind: FileType,
}

/// Sorted names, given out one after the other.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    names: Vec<Name>,
    next: usize,
}

impl Names {
    /// Reads all names but `.` and `..`. An error comes with the names read before it.
    pub(super) fn read(folder: BorrowedFd<'_>, scratch: &mut Vec<u8>) -> (Self, Option<Errno>) {
        scratch.clear();
        scratch.reserve(SCRATCH);
        let mut all = Self::default();
        let mut entries = RawDir::new(folder, scratch.spare_capacity_mut());
        let failed = loop {
            match entries.next() {
                Some(Ok(entry)) => {
                    if let Err(errno) = all.add(entry.file_name(), entry.file_type()) {
                        break Some(errno);
                    }
                }
                Some(Err(Errno::INTR)) => {}
                // The folder was removed after it was opened.
                Some(Err(Errno::NOENT)) | None => break None,
                Some(Err(errno)) => break Some(errno),
            }
        };
        let Self { bytes, names, .. } = &mut all;
        names.sort_unstable_by(|a, b| slice(bytes, *a).cmp(slice(bytes, *b)));
        (all, failed)
    }

    fn add(&mut self, name: &CStr, kind: FileType) -> Result<(), Errno> {
        if matches!(name.to_bytes(), b"." | b"..") {
            return Ok(());
        }
        let bytes = name.to_bytes_with_nul();
        let start = u32::try_from(self.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::OVERFLOW)?;
        self.bytes.extend_from_slice(bytes);
        self.names.push(Name { start, length, kind });
        Ok(())
    }

    /// The next name and what the folder says it is ([`FileType::Unknown`] where it does not say).
    pub(super) fn next(&mut self) -> Option<(&CStr, FileType)> {
        let name = *self.names.get(self.next)?;
        self.next += 1;
        Some((CStr::from_bytes_with_nul(slice(&self.bytes, name)).ok()?, name.kind))
    }

    pub(super) fn contains(&self, name: &CStr) -> bool {
        self.names.binary_search_by(|probe| slice(&self.bytes, *probe).cmp(name.to_bytes_with_nul())).is_ok()
    }
}

fn slice(bytes: &[u8], name: Name) -> &[u8] {
    bytes.get(name.start as usize..).and_then(|rest| rest.get(..name.length as usize)).unwrap_or_default()
}
