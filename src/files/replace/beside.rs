//! The folder beside a given path in which a restore is made ready, and in which what it replaced lies until it is removed.
//!
//! ```text
//! /srv/data                                what is live
//! /srv/.data.holdfast-<key>/               for this user alone
//!     staged.json                          written last: which inode is to be live
//!     tree/data                            what is staged; after the exchange, what was live
//! ```
//!
//! It lies in the same folder as the live path, so both are on one file system and under one quota, and a name can be exchanged. Which of the
//! two was exchanged says the inode that is recorded, so a commit that was cut short is told from one that has not begun.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use holdfast_log::fault;
use holdfast_model::ids::RestoreId;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::facts::Facts;
use super::super::mounts;
use super::super::names::Names;
use super::super::xattrs;
use super::error::{ReplaceError, failed};
use super::remove;
use super::site::{Site, open_folder};

const MARK: &[u8] = b".holdfast-";
const RECORD: &std::ffi::CStr = c"staged.json";
const TREE: &std::ffi::CStr = c"tree";
/// Longest record that is read.
const MAX_RECORD: u64 = 4096;
/// A name has at most 255 bytes: so many are left for that of the live path.
const MAX_LEAF: usize = 180;

/// What is staged, as it is recorded beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Staged {
    /// What the commit does.
    pub(super) what: What,
    /// Whether live data that is not in the backup is deleted.
    pub(super) delete: bool,
    /// The permissions it gets once it is live, where it is a folder that its owner may not write: one like that cannot be moved.
    pub(super) mode: Option<u32>,
}

/// What a commit does with a given path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// Puts this inode in its place.
    Put(u64),
    /// Removes what is there: nothing was, before.
    Remove,
}

/// The folder beside a given path.
pub(super) struct Beside {
    /// The folder that both lie in.
    pub(super) parent: OwnedFd,
    name: CString,
    folder: OwnedFd,
    /// The folder in it that holds the tree.
    pub(super) tree: OwnedFd,
    shown: PathBuf,
}

impl Beside {
    /// Makes the one of `key`. What was left under any key is to be removed before.
    pub(super) fn create(site: &Site, key: &str) -> Result<Self, ReplaceError> {
        let parent = site.open_parent(true)?;
        let name = name_of(key, site.name.as_bytes());
        let shown = site.parent.join(OsStr::from_bytes(name.as_bytes()));
        let fail = |errno: Errno| match errno {
            Errno::ACCESS | Errno::PERM | Errno::ROFS => {
                ReplaceError::NotPermitted { path: site.parent.clone(), source: errno }
            }
            errno => failed("make", &shown)(errno),
        };
        rustix::fs::mkdirat(&parent, &name, Mode::RWXU).map_err(fail)?;
        let folder = open_folder(&parent, &name).map_err(fail)?;
        rustix::fs::mkdirat(&folder, TREE, Mode::RWXU).map_err(fail)?;
        let tree = open_folder(&folder, TREE).map_err(fail)?;
        // What is made in it takes over nothing from the folder it lies in but what that of a backup took over.
        for folder in [&folder, &tree] {
            xattrs::remove_acls(folder.as_fd()).map_err(failed("take the inherited ACL from", &shown))?;
        }
        let beside = Self { parent, name, folder, tree, shown };
        beside.try_exchange(site)?;
        Ok(beside)
    }

    /// Opens the one of `key`; `None` where there is none.
    pub(super) fn open(site: &Site, key: &str) -> Result<Option<Self>, ReplaceError> {
        let parent = match site.open_parent(false) {
            Err(ReplaceError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            parent => parent?,
        };
        Self::named(site, parent, name_of(key, site.name.as_bytes()))
    }

    fn named(site: &Site, parent: OwnedFd, name: CString) -> Result<Option<Self>, ReplaceError> {
        let shown = site.parent.join(OsStr::from_bytes(name.as_bytes()));
        let opened = open_folder(&parent, &name).and_then(|folder| Ok((open_folder(&folder, TREE)?, folder)));
        match opened {
            Ok((tree, folder)) => Ok(Some(Self { parent, name, folder, tree, shown })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(failed("open", shown)(errno)),
        }
    }

    /// Finds out whether names can be exchanged here, with two folders of its own: before anything is touched.
    fn try_exchange(&self, site: &Site) -> Result<(), ReplaceError> {
        let (one, other) = (c"one", c"other");
        let make = |name| rustix::fs::mkdirat(&self.folder, name, Mode::RWXU);
        let tried = make(one)
            .and_then(|()| make(other))
            .and_then(|()| rustix::fs::renameat_with(&self.folder, one, &self.folder, other, RenameFlags::EXCHANGE))
            .and_then(|()| rustix::fs::unlinkat(&self.folder, one, AtFlags::REMOVEDIR))
            .and_then(|()| rustix::fs::unlinkat(&self.folder, other, AtFlags::REMOVEDIR));
        tried.map_err(|errno| match errno {
            Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => ReplaceError::NoExchange { path: site.parent.clone() },
            errno => failed("exchange names in", &self.shown)(errno),
        })
    }

    /// Says durably what is staged. All of the tree is on stable storage before.
    pub(super) fn record(&self, staged: Staged) -> Result<(), ReplaceError> {
        let fail = |source| failed::<std::io::Error>("write what is staged to", &self.shown)(source);
        let text = serde_json::to_vec(&staged).map_err(|error| fail(error.into()))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, RECORD, flags, Mode::RUSR | Mode::WUSR);
        let mut file = file.map(File::from).map_err(|errno| fail(errno.into()))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(fail)?;
        fault::point("staged.recorded");
        for folder in [&self.tree, &self.folder, &self.parent] {
            rustix::fs::fsync(folder).map_err(|errno| fail(errno.into()))?;
        }
        fault::point("staged.synced");
        Ok(())
    }

    /// What is staged; `None` where it is not whole.
    pub(super) fn staged(&self) -> Option<Staged> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.folder, RECORD, flags, Mode::empty()).ok()?);
        let mut text = Vec::new();
        file.take(MAX_RECORD).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Removes all of it. What is staged is not known any more from the first step on.
    pub(super) fn remove(self) -> Result<(), ReplaceError> {
        let fail = failed("remove", &self.shown);
        // What is mounted in it since belongs to somebody else.
        match mounts::mounted_at_or_below(&self.shown) {
            Ok(None) => {}
            Ok(Some(_)) => return Err(fail(Errno::XDEV)),
            Err(error) => return Err(failed("read the mounts at", &self.shown)(error)),
        }
        match rustix::fs::unlinkat(&self.folder, RECORD, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(fail(errno)),
        }
        fault::point("replaced.remove");
        drop((self.tree, self.folder));
        let removed = remove::remove(&self.parent, &self.name).and_then(|()| rustix::fs::fsync(&self.parent));
        removed.map_err(fail)
    }
}

/// Those of any key that are beside a given path, also half made ones, which are removed at once.
pub(super) fn left(site: &Site) -> Result<Vec<Beside>, ReplaceError> {
    let parent = match site.open_parent(false) {
        Err(ReplaceError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        parent => parent?,
    };
    let (mut names, failing) = Names::read(parent.as_fd(), &mut Vec::new());
    if let Some(errno) = failing {
        return Err(failed("list", &site.parent)(errno));
    }
    let mut found = Vec::new();
    while let Some((name, _)) = names.next() {
        if !is_beside(name.to_bytes(), site.name.as_bytes()) {
            continue;
        }
        // Somebody else's is not what a restore left, whatever it is called.
        let user = rustix::process::geteuid().as_raw();
        if !Facts::at(&parent, name).is_ok_and(|facts| facts.uid == user) {
            continue;
        }
        let again = parent.try_clone().map_err(failed("open", &site.parent))?;
        match Beside::named(site, again, name.to_owned())? {
            Some(beside) => found.push(beside),
            None => remove::remove(&parent, name).map_err(failed("remove what was left in", &site.parent))?,
        }
    }
    Ok(found)
}

/// The name of the folder beside something called `leaf`.
fn name_of(key: &str, leaf: &[u8]) -> CString {
    let name = [b".", &*short(leaf), MARK, key.as_bytes()].concat();
    // Neither a key nor a name has a NUL byte.
    CString::new(name).unwrap_or_default()
}

/// A name, or its start and its hash where it is long.
fn short(leaf: &[u8]) -> Vec<u8> {
    if leaf.len() <= MAX_LEAF {
        return leaf.to_vec();
    }
    let hash: String = Sha256::digest(leaf).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    [leaf.get(..MAX_LEAF - 17).unwrap_or_default(), b"~", hash.as_bytes()].concat()
}

/// Whether this is the name of a folder beside something called `leaf`, of any key.
fn is_beside(name: &[u8], leaf: &[u8]) -> bool {
    before_key(name).is_some_and(|rest| rest == short(leaf))
}

/// Whether this is the name of a folder beside anything.
pub(super) fn is_of_a_restore(name: &[u8]) -> bool {
    before_key(name).is_some()
}

/// What such a name says of the live path's.
fn before_key(name: &[u8]) -> Option<&[u8]> {
    let name = name.strip_prefix(b".")?;
    let name = name.strip_suffix(b"-back").unwrap_or(name);
    let (rest, id) = name.split_at_checked(name.len().checked_sub(36)?)?;
    std::str::from_utf8(id).ok()?.parse::<RestoreId>().ok()?;
    rest.strip_suffix(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198f3a1-0000-7000-8000-000000000001";

    #[test]
    fn a_folder_beside_is_told_from_others() {
        let back = format!("{ID}-back");
        let long = [b'x'; 255];
        for leaf in [&b"data"[..], b"back", b"data-back", b"caf\xe9 \n", b"-", &long] {
            for key in [ID, back.as_str()] {
                let name = name_of(key, leaf);
                assert!(name.as_bytes().len() <= 255);
                assert!(is_of_a_restore(name.as_bytes()));
                assert!(is_beside(name.as_bytes(), leaf), "{name:?}");
                assert!(!is_beside(name.as_bytes(), b"date"), "{name:?}");
            }
        }
        assert!(!is_beside(name_of(ID, &long).as_bytes(), &[b'x'; 254]));
        for name in [".holdfast-data", ".holdfast", "data", &format!(".holdfast-{ID}"), &format!(".a.holdfast-{ID}x")] {
            assert!(!is_of_a_restore(name.as_bytes()), "{name}");
        }
    }
}
