//! A tree of files as it is on disk, and the differences between two.
//!
//! Folders are read through their descriptors, so that paths longer than the system takes in one call are no trouble.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, lgetxattr, llistxattr};
use sha2::{Digest, Sha256};

/// How many differences are told.
const TOLD: usize = 12;

/// What one path is. Access and change times are not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: &'static str,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    /// Size and SHA-256 of a regular file.
    pub(crate) content: Option<(u64, String)>,
    /// Whether much of it takes no room on the disk.
    pub(crate) has_holes: bool,
    /// What a symbolic link says.
    pub(crate) target: Option<PathBuf>,
    /// The first of the paths that are the same file, if there are several.
    pub(crate) same_file_as: Option<PathBuf>,
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
}

/// All nodes by their path below the top; the top itself is the empty path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) nodes: BTreeMap<PathBuf, Node>,
}

impl Tree {
    /// Reads what is at `top`, a folder or anything else.
    pub(crate) fn read(top: &Path) -> Self {
        let mut tree = Self::default();
        let mut links = BTreeMap::new();
        tree.add(top, Path::new(""), &mut links);
        tree.name_links(&links);
        tree
    }

    fn add(&mut self, at: &Path, path: &Path, links: &mut BTreeMap<(u64, u64), Vec<PathBuf>>) {
        let say = |what: &str, error: &dyn std::fmt::Display| -> ! { panic!("{what} {}: {error}", path.display()) };
        let facts = at.symlink_metadata().unwrap_or_else(|error| say("cannot stat", &error));
        let kind = facts.file_type();
        let mut node = Node {
            kind: match () {
                () if kind.is_file() => "file",
                () if kind.is_dir() => "folder",
                () if kind.is_symlink() => "symlink",
                () if kind.is_fifo() => "fifo",
                () if kind.is_socket() => "socket",
                () => "device",
            },
            mode: facts.mode() & 0o7777,
            owner: (facts.uid(), facts.gid()),
            mtime: (facts.mtime(), facts.mtime_nsec()),
            content: None,
            has_holes: kind.is_file() && facts.blocks() * 512 + (1 << 20) < facts.size(),
            target: None,
            same_file_as: None,
            xattrs: if kind.is_file() || kind.is_dir() { xattrs(at) } else { BTreeMap::new() },
        };
        if kind.is_symlink() {
            node.target = Some(fs::read_link(at).unwrap());
        }
        if kind.is_file() {
            let digest = digest(at).unwrap_or_else(|error| say("cannot read", &error));
            node.content = Some((facts.size(), digest));
        }
        if !kind.is_dir() && facts.nlink() > 1 {
            links.entry((facts.dev(), facts.ino())).or_default().push(path.to_owned());
        }
        self.nodes.insert(path.to_owned(), node);
        if kind.is_dir() {
            let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits() as i32;
            let folder = File::options().read(true).custom_flags(flags).open(at);
            let folder = folder.unwrap_or_else(|error| say("cannot open", &error));
            let through = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
            for entry in fs::read_dir(&through).unwrap() {
                let name = entry.unwrap().file_name();
                self.add(&through.join(&name), &path.join(&name), links);
            }
        }
    }

    /// Says of each hard-linked path which is the first of its group.
    fn name_links(&mut self, links: &BTreeMap<(u64, u64), Vec<PathBuf>>) {
        for group in links.values().filter(|group| group.len() > 1) {
            let first = group.iter().min().expect("not empty");
            for path in group {
                if let Some(node) = self.nodes.get_mut(path) {
                    node.same_file_as = Some(first.clone());
                }
            }
        }
    }

    /// Without the paths that `unwanted` names and what is below them.
    pub(crate) fn without(mut self, unwanted: &[&str]) -> Self {
        self.nodes.retain(|path, _| !unwanted.iter().any(|unwanted| path.starts_with(unwanted)));
        self
    }

    /// Only this path and what is below it, with paths relative to it.
    pub(crate) fn below(&self, top: &str) -> Self {
        let nodes = self.nodes.iter().filter_map(|(path, node)| {
            let rest = path.strip_prefix(top).ok()?;
            Some((rest.to_owned(), node.clone()))
        });
        Self { nodes: nodes.collect() }
    }

    /// The paths as text, without the top.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.nodes.keys().filter(|path| !path.as_os_str().is_empty()).map(|path| path.display().to_string()).collect()
    }

    /// The first differences, a line each; empty when all is the same.
    pub(crate) fn differences(&self, got: &Self) -> Vec<String> {
        let mut told = Vec::new();
        for (path, node) in &self.nodes {
            match got.nodes.get(path) {
                None => told.push(format!("missing: {} ({})", shown(path), node.kind)),
                Some(other) => node.differences(other, |what| told.push(format!("{}: {what}", shown(path)))),
            }
        }
        for (path, node) in got.nodes.iter().filter(|(path, _)| !self.nodes.contains_key(*path)) {
            told.push(format!("not in the original: {} ({})", shown(path), node.kind));
        }
        told
    }

    /// Fails the test unless `got` is the same, telling the first differences.
    pub(crate) fn expect_same(&self, got: &Self) {
        let differences = self.differences(got);
        let more = differences.len().saturating_sub(TOLD);
        let told = differences.iter().take(TOLD).cloned().collect::<Vec<_>>().join("\n  ");
        assert!(differences.is_empty(), "the trees differ:\n  {told}\n  and {more} more");
    }
}

impl Node {
    fn differences(&self, got: &Self, mut tell: impl FnMut(String)) {
        if self.kind != got.kind {
            return tell(format!("was a {}, is a {}", self.kind, got.kind));
        }
        if self.mode != got.mode {
            tell(format!("mode was {:04o}, is {:04o}", self.mode, got.mode));
        }
        let mut field = |name: &str, was: &dyn std::fmt::Debug, is: &dyn std::fmt::Debug, same: bool| {
            if !same {
                tell(format!("{name} was {was:?}, is {is:?}"));
            }
        };
        field("owner", &self.owner, &got.owner, self.owner == got.owner);
        field("mtime", &self.mtime, &got.mtime, self.mtime == got.mtime);
        field("content", &self.content, &got.content, self.content == got.content);
        field("having holes", &self.has_holes, &got.has_holes, self.has_holes == got.has_holes);
        field("link target", &self.target, &got.target, self.target == got.target);
        field("hard link to", &self.same_file_as, &got.same_file_as, self.same_file_as == got.same_file_as);
        let names: BTreeSet<_> = self.xattrs.keys().chain(got.xattrs.keys()).collect();
        for name in names {
            let of = |node: &Self| {
                node.xattrs.get(name).map(|value| String::from_utf8_lossy(value).chars().take(40).collect())
            };
            let (was, is): (Option<String>, Option<String>) = (of(self), of(got));
            field(&format!("xattr {name}"), &was, &is, self.xattrs.get(name) == got.xattrs.get(name));
        }
    }
}

/// A path on one line, cut where it is very long.
fn shown(path: &Path) -> String {
    let text = format!("{path:?}");
    match text.char_indices().nth(160) {
        Some((cut, _)) => format!("{}… ({} bytes)", text.get(..cut).unwrap_or_default(), path.as_os_str().len()),
        None => text,
    }
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hash.update(&buffer[..length]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The attributes a backup is to keep; those the system makes itself (as `security.selinux`) are left out.
fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let length = llistxattr(path, &mut names[..]).unwrap_or(0);
    let kept = |name: &&[u8]| {
        let prefixes: [&[u8]; 4] = [b"user.", b"trusted.", b"system.posix_acl_", b"security.capability"];
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    names[..length]
        .split(|byte| *byte == 0)
        .filter(kept)
        .map(|name| {
            let mut value = vec![0; 1 << 16];
            let length =
                lgetxattr(path, std::ffi::OsStr::from_bytes(name), &mut value[..]).expect("an attribute listed");
            value.truncate(length);
            (String::from_utf8_lossy(name).into_owned(), value)
        })
        .collect()
}

/// A path from bytes that need not be UTF-8.
pub(crate) fn raw(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()))
}
