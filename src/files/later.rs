//! What a restore can do only after other things: hard links after the file they name, attributes of a folder after its
//! contents.
//!
//! Folders that the reading is still inside of are kept as a stack; those that it left wait in a list until what is in
//! flight is made. The list has a limit, at which the waiting is done early.

use super::head::Head;
use super::raw_path::RawPath;
use super::target::Inside;

/// Most bytes of memory that wait.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Another name for something.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) path: Inside,
    pub(super) to: Inside,
}

/// A folder around the place of the reading.
struct Open {
    /// Length of its path, which is the start of the current path.
    length: usize,
    head: Head,
}

/// What waits.
#[derive(Default)]
pub(super) struct Later {
    /// Path of the innermost open folder.
    path: Vec<u8>,
    open: Vec<Open>,
    /// Folders that are complete, inner ones before outer ones.
    closed: Vec<Head>,
    links: Vec<Link>,
    bytes: usize,
}

impl Later {
    /// The reading came to `path`: takes one folder that it left from the stack. False when all that are left are
    /// around it.
    pub(super) fn leave_one(&mut self, path: &[u8]) -> bool {
        let is_around = path.strip_prefix(self.path.as_slice()).is_some_and(|rest| rest.first() == Some(&b'/'));
        if is_around {
            return false;
        }
        let Some(Open { length, mut head }) = self.open.pop() else { return false };
        head.path = RawPath::new(self.path.get(..length).unwrap_or_default());
        self.bytes += head.weight();
        self.closed.push(head);
        self.path.truncate(self.open.last().map_or(0, |outer| outer.length));
        true
    }

    /// The reading entered a folder.
    pub(super) fn enter(&mut self, path: &Inside, head: Head) {
        self.path.clear();
        self.path.extend_from_slice(path.as_bytes());
        self.open.push(Open { length: self.path.len(), head: Head { path: RawPath::default(), ..head } });
    }

    pub(super) fn link(&mut self, path: Inside, to: Inside) {
        self.bytes += path.as_bytes().len() + to.as_bytes().len() + size_of::<Link>();
        self.links.push(Link { path, to });
    }

    /// Whether so much waits that it should be done now.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > MAX_BYTES
    }

    /// All that can be done once everything read so far is made: first the links, then the folders, in this order.
    pub(super) fn take(&mut self) -> (Vec<Link>, Vec<Head>) {
        self.bytes = 0;
        (std::mem::take(&mut self.links), std::mem::take(&mut self.closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::entry::Kind;

    fn inside(path: &str) -> Inside {
        Inside::check(&RawPath::from(path)).unwrap()
    }

    fn folder(path: &str) -> Head {
        Head::of(RawPath::from(path), Kind::Folder)
    }

    #[test]
    fn folders_close_when_the_reading_has_left_them_inner_ones_first() {
        let mut later = Later::default();
        let mut order = Vec::new();
        for path in ["a", "a/b", "a/b/c", "ab", "ab/x"] {
            while later.leave_one(path.as_bytes()) {}
            order.extend(later.take().1.iter().map(|head| head.path.to_string()));
            later.enter(&inside(path), folder(path));
        }
        assert_eq!(order, ["a/b/c", "a/b", "a"]);
        while later.leave_one(b"") {}
        let rest: Vec<_> = later.take().1.iter().map(|head| head.path.to_string()).collect();
        assert_eq!(rest, ["ab/x", "ab"]);
    }
}
