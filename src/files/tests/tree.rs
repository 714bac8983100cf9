//! An awkward tree, and a description of a tree that two of them are compared by.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};

/// Whether tests run as root, who alone can make devices and give files away.
pub(super) fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Content that compresses badly and shows a shift.
pub(super) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(step).collect()
}

pub(super) fn set_mtime(path: &Path, seconds: i64, nanos: i64) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos },
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Whether the file system here takes an attribute of this name.
pub(super) fn set_xattr(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).is_ok()
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A POSIX ACL in its kernel form (linux/posix_acl_xattr.h): version 2, then tag, permissions and id of each entry.
pub(super) fn acl() -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 4, 12345), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 0, u32::MAX)]
    {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Makes the tree in a folder that exists. Returns the socket, which lives as long as its listener.
pub(super) fn build(top: &Path) -> UnixListener {
    fs::write(top.join("regular"), noise(100_000, 1)).unwrap();
    fs::write(top.join("empty"), b"").unwrap();
    fs::write(top.join("block"), noise(512, 2)).unwrap();
    fs::write(top.join("large"), noise(5_000_001, 3)).unwrap();

    fs::create_dir(top.join("sparse")).unwrap();
    let file = |name: &str| File::create(top.join("sparse").join(name)).unwrap();
    file("all hole").set_len(1 << 30).unwrap();
    let mut holes = file("holes");
    for at in [0_u64, 1 << 20, 3 << 20, 1 << 30] {
        holes.seek(SeekFrom::Start(at)).unwrap();
        holes.write_all(&noise(70_000, at)).unwrap();
    }
    holes.set_len((1 << 30) + (5 << 20)).unwrap();
    let mut ends = file("ends with content");
    ends.seek(SeekFrom::Start(40 << 20)).unwrap();
    ends.write_all(b"end").unwrap();
    let many = file("many holes");
    for at in 0..300 {
        rustix::io::pwrite(&many, b"x", at * 65_536).unwrap();
    }

    fs::create_dir(top.join("links")).unwrap();
    let links = top.join("links");
    fs::write(links.join("first"), noise(3000, 4)).unwrap();
    for name in ["second", "third", "../another name"] {
        fs::hard_link(links.join("first"), links.join(name)).unwrap();
    }
    symlink("first", links.join("to first")).unwrap();
    symlink("/absolute/and/dangling", links.join("dangling")).unwrap();
    symlink("../../..", links.join("up")).unwrap();
    symlink("x".repeat(1000), links.join("long target")).unwrap();
    symlink(OsStr::from_bytes(b"lat\xefn \xff"), links.join("target not utf-8")).unwrap();
    fs::hard_link(links.join("to first"), links.join("to first again")).unwrap();

    let pipe = |path: &Path, kind, device| rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device);
    pipe(&top.join("pipe"), FileType::Fifo, 0).unwrap();
    mode(&top.join("pipe"), 0o622);
    if root() {
        fs::create_dir(top.join("devices")).unwrap();
        pipe(&top.join("devices/null"), FileType::CharacterDevice, rustix::fs::makedev(1, 3)).unwrap();
        pipe(&top.join("devices/loop"), FileType::BlockDevice, rustix::fs::makedev(7, 200)).unwrap();
        pipe(&top.join("devices/whiteout"), FileType::CharacterDevice, 0).unwrap();
        mode(&top.join("devices/null"), 0o666);
    }

    fs::create_dir(top.join("names")).unwrap();
    let names = top.join("names");
    for name in [
        &b"new\nline"[..],
        b" spaces ",
        b"-dash",
        b"back\\slash",
        b"\x01\x7f",
        b"caf\xc3\xa9",
        b"latin-\xe9",
        b"\xff\xfe",
        &[b'n'; 255],
        &[b'n'; 99],
        &[b'n'; 100],
        &[b'n'; 101],
        &[0xe9; 255],
        b"%41=%3D",
        b"GNUSparseFile.0",
        b".hidden",
        b"*glob?[x]",
    ] {
        let path = names.join(OsStr::from_bytes(name));
        fs::write(&path, name).unwrap();
        set_mtime(&path, 1_600_000_000, 5);
    }
    deep(&top.join("deep"), 14, 250);

    fs::create_dir(top.join("modes")).unwrap();
    for bits in [0o000, 0o400, 0o777, 0o4755, 0o2755, 0o6711, 0o1666] {
        let path = top.join("modes").join(format!("{bits:o}"));
        fs::write(&path, b"mode").unwrap();
        mode(&path, if root() { bits } else { bits | 0o400 });
        let path = top.join("modes").join(format!("folder {bits:o}"));
        fs::create_dir(&path).unwrap();
        if root() {
            fs::write(path.join("inside"), b"x").unwrap();
        }
        mode(&path, if root() { bits } else { bits | 0o700 });
    }

    if root() {
        fs::create_dir(top.join("owners")).unwrap();
        for (uid, gid) in [(12345, 54321), (0, 7), (4_000_000_000, 4_000_000_001), (2_097_151, 2_097_152)] {
            let path = top.join("owners").join(format!("{uid} {gid}"));
            fs::write(&path, b"owned").unwrap();
            let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(CWD, &path, owner.0, owner.1, AtFlags::empty()).unwrap();
            mode(&path, 0o6755);
            let path = top.join("owners").join(format!("link {uid} {gid}"));
            symlink("nowhere", &path).unwrap();
            rustix::fs::chownat(CWD, &path, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
    }

    fs::create_dir(top.join("attributes")).unwrap();
    let attributes = top.join("attributes");
    for name in ["file", "executable"] {
        fs::write(attributes.join(name), b"attributed").unwrap();
    }
    fs::create_dir(attributes.join("folder")).unwrap();
    set_xattr(&attributes.join("file"), "user.plain", b"value");
    set_xattr(&attributes.join("file"), "user.empty", b"");
    set_xattr(&attributes.join("file"), "user.binary", b"\0\n=\xff 12 x=y\n");
    set_xattr(&attributes.join("file"), "user.a=b%c", b"name with a sign");
    set_xattr(&attributes.join("file"), "user.large", &noise(2000, 5));
    set_xattr(&attributes.join("file"), "system.posix_acl_access", &acl());
    set_xattr(&attributes.join("folder"), "user.of folder", b"yes");
    set_xattr(&attributes.join("folder"), "system.posix_acl_default", &acl());
    set_xattr(&attributes.join("file"), "trusted.kept", b"by root");
    // cap_net_raw+ep, in the form of revision 2 (linux/capability.h).
    let capability: Vec<u8> = [0x0200_0001_u32, 1 << 13, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    set_xattr(&attributes.join("executable"), "security.capability", &capability);
    fs::write(attributes.join("folder/inside"), b"x").unwrap();

    fs::create_dir_all(top.join("cache/contents")).unwrap();
    fs::write(top.join("cache/CACHEDIR.TAG"), b"Signature: 8a477f597d28d172789f06886806bc55\n# more").unwrap();
    fs::write(top.join("cache/object"), b"left out").unwrap();
    fs::create_dir(top.join("no cache")).unwrap();
    fs::write(top.join("no cache/CACHEDIR.TAG"), b"Signature: none").unwrap();
    fs::write(top.join("no cache/object"), b"kept").unwrap();

    fs::create_dir_all(top.join("times/before")).unwrap();
    for (name, seconds, nanos) in [
        ("epoch", 0, 0),
        ("nanosecond", 1_700_000_000, 1),
        ("last nanosecond", 1_700_000_000, 999_999_999),
        ("before", -86_400, 0),
        ("before by a fraction", -1, 999_999_999),
        ("before with fraction", -1_000_000, 123_456_789),
        ("far", 9_000_000_000, 7),
    ] {
        let path = top.join("times").join(name);
        if name != "before" {
            fs::write(&path, name).unwrap();
        }
        set_mtime(&path, seconds, nanos);
    }
    symlink("x", top.join("times/link")).unwrap();
    set_mtime(&top.join("times/link"), 1_234_567_890, 987_654_321);
    set_mtime(&top.join("names"), 1_111_111_111, 111_111_111);
    set_mtime(&top.join("times"), 1_000_000_000, 2);

    let socket = UnixListener::bind(top.join("socket")).unwrap();
    set_mtime(top, 1_222_222_222, 222_222_222);
    socket
}

/// Folders in each other, with a file in each.
pub(super) fn deep(top: &Path, levels: usize, length: usize) {
    fs::create_dir(top).unwrap();
    let mut folder = OwnedFd::from(File::open(top).unwrap());
    let name = "d".repeat(length);
    for _ in 0..levels {
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let file = rustix::fs::openat(&folder, "file", flags, Mode::from_raw_mode(0o644)).unwrap();
        rustix::io::write(file, b"at some depth").unwrap();
        rustix::fs::mkdirat(&folder, name.as_str(), Mode::from_raw_mode(0o755)).unwrap();
        folder = open(&folder, OsStr::new(&name));
    }
}

fn open(folder: &OwnedFd, name: &OsStr) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    rustix::fs::openat(folder, name, flags, Mode::empty()).unwrap()
}

/// What is compared of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    kind: String,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    content: Vec<u8>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// First path of the same file.
    same_as: Option<String>,
    /// Whether most of it is holes.
    holes: bool,
}

/// Describes all below a folder and the folder itself, sockets left out.
pub(super) fn describe(top: &Path) -> BTreeMap<String, Described> {
    let mut all = BTreeMap::new();
    let folder = OwnedFd::from(File::open(top).unwrap());
    all.insert(
        ".".to_owned(),
        one(&OwnedFd::from(File::open("/").unwrap()), top.as_os_str(), ".", &mut HashMap::new()),
    );
    below(&folder, "", &mut all, &mut HashMap::new());
    all
}

fn below(folder: &OwnedFd, path: &str, all: &mut BTreeMap<String, Described>, seen: &mut HashMap<u64, String>) {
    let mut names: Vec<_> = rustix::fs::Dir::read_from(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_bytes().to_vec())
        .filter(|name| !matches!(name.as_slice(), b"." | b".."))
        .collect();
    names.sort();
    for name in names {
        let name = OsStr::from_bytes(&name);
        let shown = format!("{path}/{}", name.as_bytes().escape_ascii());
        let described = one(folder, name, &shown, seen);
        if described.kind == "socket" {
            continue;
        }
        let is_folder = described.kind == "folder";
        all.insert(shown.clone(), described);
        if is_folder {
            below(&open(folder, name), &shown, all, seen);
        }
    }
}

fn one(folder: &OwnedFd, name: &OsStr, shown: &str, seen: &mut HashMap<u64, String>) -> Described {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    let mut content = Vec::new();
    let mut xattrs = BTreeMap::new();
    let mut holes = false;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let fd = rustix::fs::openat(folder, name, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty()).unwrap();
            holes = stat.st_size > 1 << 20 && (stat.st_blocks * 512) < stat.st_size / 2;
            content = parts(&fd, stat.st_size as u64);
            xattrs = attributes(&fd);
            "file".to_owned()
        }
        FileType::Directory => {
            xattrs = attributes(&open(folder, name));
            "folder".to_owned()
        }
        FileType::Symlink => {
            content = rustix::fs::readlinkat(folder, name, Vec::new()).unwrap().into_bytes();
            "link".to_owned()
        }
        FileType::Fifo => "pipe".to_owned(),
        FileType::Socket => "socket".to_owned(),
        other => format!("{other:?} {}", stat.st_rdev),
    };
    let mut same_as = None;
    if stat.st_nlink > 1 && kind != "folder" {
        same_as = Some(seen.entry(stat.st_ino).or_insert_with(|| shown.to_owned()).clone());
    }
    let mtime = (stat.st_mtime, stat.st_mtime_nsec as i64);
    Described {
        kind,
        mode: stat.st_mode & 0o7777,
        owner: (stat.st_uid, stat.st_gid),
        mtime,
        content,
        xattrs,
        same_as,
        holes,
    }
}

/// Size and all bytes that are not zero, by blocks, so that a hole of a gigabyte takes no time.
fn parts(fd: &OwnedFd, size: u64) -> Vec<u8> {
    let mut all = size.to_le_bytes().to_vec();
    let mut at = 0;
    while let Ok(data) = rustix::fs::seek(fd, rustix::fs::SeekFrom::Data(at)) {
        let mut block = [0; 4096];
        at = data / 4096 * 4096;
        let count = rustix::io::pread(fd, &mut block, at).unwrap();
        if block.iter().any(|byte| *byte != 0) {
            all.extend(at.to_le_bytes());
            all.extend(&block[..count]);
        }
        at += 4096;
    }
    all
}

fn attributes(fd: &OwnedFd) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0; 65536];
    let length = rustix::fs::flistxattr(fd.as_fd(), &mut list[..]).unwrap_or(0);
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .filter(|name| !name.starts_with(b"security.selinux"))
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::fgetxattr(fd.as_fd(), OsStr::from_bytes(name), &mut value[..]).unwrap();
            (name.to_vec(), value[..length].to_vec())
        })
        .collect()
}

/// Fails with what differs, path by path.
pub(super) fn assert_same(found: &BTreeMap<String, Described>, expected: &BTreeMap<String, Described>) {
    let mut differences = Vec::new();
    let short = |described: Option<&Described>| {
        described.map(|described| Described {
            content: described.content.iter().copied().take(40).collect(),
            ..described.clone()
        })
    };
    for path in found.keys().chain(expected.keys()).collect::<std::collections::BTreeSet<_>>() {
        if found.get(path) != expected.get(path) {
            differences.push(format!(
                "{path}\n  found    {:?}\n  expected {:?}",
                short(found.get(path)),
                short(expected.get(path))
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences[..differences.len().min(20)].join("\n")
    );
}

/// Makes what the backup leaves out vanish from a description.
pub(super) fn without(all: &BTreeMap<String, Described>, left_out: &[&str]) -> BTreeMap<String, Described> {
    let out = |path: &str| left_out.iter().any(|out| path == *out || path.starts_with(&format!("{out}/")));
    all.iter().filter(|(path, _)| !out(path)).map(|(path, described)| (path.clone(), described.clone())).collect()
}

/// Inode number, to see whether a file was replaced.
pub(super) fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}
