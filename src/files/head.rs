//! A member of the stream without its content, as the writer describes it and the reader finds it.

use super::entry::{Device, Kind, Mtime};
use super::raw_path::RawPath;
use super::xattrs::Xattr;

/// What the headers of one member say. [`header`](super::header) has their byte form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// As in the stream, without the `/` that folders have at their end.
    pub(super) path: RawPath,
    pub(super) kind: Kind,
    /// Target of a link; empty for anything else.
    pub(super) link: RawPath,
    /// Bytes of content that follow in the stream, without padding. Of a sparse file with the map of its content.
    pub(super) stored: u64,
    /// Of a sparse file, its size with holes.
    pub(super) sparse: Option<u64>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) user: String,
    pub(super) group: String,
    pub(super) mtime: Mtime,
    pub(super) device: Device,
    pub(super) xattrs: Vec<Xattr>,
}

impl Head {
    /// One of which nothing else is said.
    pub(super) fn of(path: RawPath, kind: Kind) -> Self {
        Self {
            path,
            kind,
            link: RawPath::default(),
            stored: 0,
            sparse: None,
            mode: 0,
            uid: 0,
            gid: 0,
            user: String::new(),
            group: String::new(),
            mtime: Mtime::default(),
            device: Device::default(),
            xattrs: Vec::new(),
        }
    }

    /// Size of the file as its reader sees it.
    pub(super) fn size(&self) -> u64 {
        self.sparse.unwrap_or(self.stored)
    }

    /// About how much memory it takes, for limits.
    pub(super) fn weight(&self) -> usize {
        let xattrs: usize = self.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len() + 64).sum();
        self.path.as_bytes().len() + self.link.as_bytes().len() + xattrs + size_of::<Self>()
    }
}
