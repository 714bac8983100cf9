//! Files with several names: the first name holds the content, the others point to it.

use std::collections::HashMap;

use super::entry::{Entry, Span};
use super::facts::{Facts, FileId};
use super::raw_path::RawPath;

/// Most bytes of memory for names that are waited for. Names beyond that are stored as files of their own.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// What a name takes beside its bytes, about.
const OVERHEAD: usize = 192;

/// The member with the content.
#[derive(Debug, Clone)]
pub(super) struct First {
    pub(super) path: RawPath,
    pub(super) member: Span,
    pub(super) data: Span,
    pub(super) size: u64,
    pub(super) sparse: bool,
}

impl From<&Entry> for First {
    fn from(entry: &Entry) -> Self {
        Self {
            path: entry.path.clone(),
            member: Span { offset: entry.offset, length: entry.length },
            data: entry.data(),
            size: entry.size,
            sparse: entry.sparse,
        }
    }
}

/// First names of files of which more names may come.
#[derive(Default)]
pub(super) struct Links {
    waiting: HashMap<FileId, (u64, First)>,
    bytes: usize,
}

impl Links {
    /// The first name of this file, if one was stored. Forgets it when this was the last name.
    pub(super) fn first(&mut self, facts: &Facts) -> Option<First> {
        if facts.links < 2 {
            return None;
        }
        let (left, first) = self.waiting.get_mut(&facts.id)?;
        *left -= 1;
        if *left > 0 {
            return Some(first.clone());
        }
        let (_, first) = self.waiting.remove(&facts.id)?;
        self.bytes = self.bytes.saturating_sub(OVERHEAD + first.path.as_bytes().len());
        Some(first)
    }

    /// Keeps the first name of a file that has others. False where there is no more room.
    pub(super) fn keep(&mut self, facts: &Facts, first: First) -> bool {
        let Some(left @ 1..) = facts.links.checked_sub(1) else { return true };
        let bytes = OVERHEAD + first.path.as_bytes().len();
        if self.bytes + bytes > MAX_BYTES {
            return false;
        }
        self.bytes += bytes;
        self.waiting.insert(facts.id, (left, first));
        true
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::FileType;

    use super::*;

    fn facts(inode: u64, links: u64) -> Facts {
        Facts {
            id: FileId { device: 1, inode },
            kind: FileType::RegularFile,
            mode: 0,
            links,
            uid: 0,
            gid: 0,
            size: 0,
            allocated: 0,
            mtime: Default::default(),
            device: Default::default(),
        }
    }

    fn first(path: &str) -> First {
        let span = Span { offset: 0, length: 0 };
        First { path: RawPath::from(path), member: span, data: span, size: 0, sparse: false }
    }

    #[test]
    fn a_file_is_forgotten_with_its_last_name() {
        let mut links = Links::default();
        assert!(links.keep(&facts(1, 1), first("alone")));
        assert!(links.waiting.is_empty());
        assert!(links.keep(&facts(2, 3), first("a")));
        assert_eq!(links.first(&facts(2, 3)).unwrap().path, RawPath::from("a"));
        assert_eq!(links.first(&facts(2, 3)).unwrap().path, RawPath::from("a"));
        assert!(links.waiting.is_empty());
        assert_eq!(links.bytes, 0);
    }

    #[test]
    fn memory_has_a_limit() {
        let mut links = Links::default();
        let kept = (0..1_000_000).take_while(|inode| links.keep(&facts(*inode, 2), first("x/y"))).count();
        assert!(kept > 100_000 && kept < 200_000, "{kept}");
    }
}
