//! A tree with all that makes backups go wrong.

use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, mknodat, utimensat};

use super::tree::{Tree, raw};
use super::{Random, root};

/// What a backup leaves out of the tree: a socket, what a cache folder holds, what the `.holdfastignore` files name.
pub(crate) const LEFT_OUT: [&str; 6] =
    ["socket", "cache/junk", "cache/more", "project/target", "project/notes.tmp", "project/inner/kept.tmp.not"];

/// Files and folders of hole, in bytes.
pub(crate) const HOLE: u64 = 64 << 20;

/// Makes the tree at `top`.
pub(crate) fn plant(top: &Path) -> PathBuf {
    fs::create_dir_all(top).unwrap();
    files(top);
    names(top);
    links(top);
    left_out(top);
    attributes(top);
    modes(top);
    times(top);
    top.to_owned()
}

/// Makes a path of more than 4096 bytes below `top`, with a file at its end. No system call takes it at once.
pub(crate) fn plant_deep(top: &Path) {
    let name = "d".repeat(250);
    fs::create_dir_all(top).unwrap();
    let mut folder = File::open(top).unwrap();
    for _ in 0..18 {
        let next = through(&folder).join(&name);
        fs::create_dir(&next).unwrap();
        folder = File::open(&next).unwrap();
    }
    fs::write(through(&folder).join("at-the-end"), "far down\n").unwrap();
}

/// The tree as a restore has to bring it back.
pub(crate) fn expected(top: &Path) -> Tree {
    Tree::read(top).without(&LEFT_OUT)
}

fn through(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

fn files(top: &Path) {
    fs::create_dir(top.join("empty-folder")).unwrap();
    fs::write(top.join("empty"), "").unwrap();
    fs::write(top.join("text"), "a line of text\n".repeat(10_000)).unwrap();
    // Larger than a chunk of the pipeline, so that it spans frames.
    fs::write(top.join("random"), Random(1).bytes(9_000_001)).unwrap();
    for size in [511, 512, 513, 10_240] {
        fs::write(top.join(format!("size-{size}")), Random(size).bytes(size as usize)).unwrap();
    }
    let mut sparse = File::create(top.join("sparse")).unwrap();
    sparse.write_all(b"at the begin").unwrap();
    sparse.seek(SeekFrom::Start(HOLE)).unwrap();
    sparse.write_all(b"after the hole").unwrap();
    File::create(top.join("all-hole")).unwrap().set_len(HOLE).unwrap();
    let mut tail = File::create(top.join("hole-at-the-end")).unwrap();
    tail.write_all(&Random(2).bytes(100_000)).unwrap();
    tail.set_len(HOLE / 4).unwrap();
    mknodat(CWD, top.join("fifo"), FileType::Fifo, Mode::from(0o640), 0).unwrap();
}

fn names(top: &Path) {
    let folder = top.join("names");
    fs::create_dir(&folder).unwrap();
    let long = "n".repeat(255);
    let names: [&[u8]; 14] = [
        long.as_bytes(),
        b"with space ",
        b"new\nline",
        b"tab\tbell\x07escape\x1b[31m",
        b"not-utf8-\xff\xfe\x80",
        b"-rf",
        b"--help",
        b"quote'\"`$(x)",
        b"back\\slash",
        b"*?[a]",
        b"!bang",
        b"#hash",
        "ünïcödé-日本".as_bytes(),
        // The same for the eye, other bytes.
        "u\u{308}ni\u{308}code".as_bytes(),
    ];
    for name in names {
        fs::write(folder.join(raw(name)), name).unwrap();
    }
    let hidden = folder.join(raw(b"folder-\xe9-\n-end/.hidden"));
    fs::create_dir_all(&hidden).unwrap();
    fs::write(hidden.join("inside"), "inside\n").unwrap();
    // A member's path of more than 100 and more than 255 bytes, which plain ustar headers do not hold.
    let nested = folder.join("a".repeat(120)).join("b".repeat(200));
    fs::create_dir_all(&nested).unwrap();
    fs::write(nested.join("c".repeat(99)), "nested\n").unwrap();
}

fn links(top: &Path) {
    let folder = top.join("links");
    fs::create_dir_all(folder.join("other")).unwrap();
    fs::write(folder.join("one"), Random(3).bytes(5000)).unwrap();
    fs::hard_link(folder.join("one"), folder.join("two")).unwrap();
    fs::hard_link(folder.join("one"), folder.join("other/three")).unwrap();
    symlink("one", folder.join("relative")).unwrap();
    symlink("/etc/hostname", folder.join("absolute")).unwrap();
    symlink("no/such/place", folder.join("dangling")).unwrap();
    symlink("loop", folder.join("loop")).unwrap();
    symlink("../../../../../../etc", folder.join("outside")).unwrap();
    symlink("x".repeat(3000), folder.join("long-target")).unwrap();
    symlink(raw(b"bytes-\xff-\n"), folder.join(raw(b"link-\xfe"))).unwrap();
    fs::hard_link(folder.join("dangling"), folder.join("other/dangling-too")).unwrap();
}

fn left_out(top: &Path) {
    mknodat(CWD, top.join("socket"), FileType::Socket, Mode::from(0o600), 0).unwrap();
    let cache = top.join("cache");
    fs::create_dir_all(cache.join("more/below")).unwrap();
    fs::write(cache.join("CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n# made by a test\n").unwrap();
    fs::write(cache.join("junk"), "made again at any time\n").unwrap();
    fs::write(cache.join("more/below/junk"), "also\n").unwrap();
    let no_cache = top.join("no-cache");
    fs::create_dir(&no_cache).unwrap();
    fs::write(no_cache.join("CACHEDIR.TAG"), "this is not the signature\n").unwrap();
    fs::write(no_cache.join("kept"), "kept\n").unwrap();

    let project = top.join("project");
    fs::create_dir_all(project.join("target/debug")).unwrap();
    fs::create_dir_all(project.join("inner")).unwrap();
    fs::write(project.join(".holdfastignore"), "# what can be built again\n/target/\n*.tmp\n").unwrap();
    fs::write(project.join("target/debug/binary"), "built\n").unwrap();
    fs::write(project.join("notes.tmp"), "left out\n").unwrap();
    fs::write(project.join("kept"), "kept\n").unwrap();
    // A nested file of rules wins over the one above it.
    fs::write(project.join("inner/.holdfastignore"), "!kept.tmp\nkept.tmp.not\n").unwrap();
    fs::write(project.join("inner/kept.tmp"), "kept\n").unwrap();
    fs::write(project.join("inner/kept.tmp.not"), "left out\n").unwrap();
}

fn attributes(top: &Path) {
    let set = |path: &str, name: &str, value: &[u8]| {
        lsetxattr(top.join(path), name, value, XattrFlags::empty()).unwrap_or_else(|errno| {
            panic!(
                "cannot set {name} in {}: {errno}; TMPDIR needs a file system with extended attributes",
                top.display()
            )
        });
    };
    fs::write(top.join("attributed"), "see my attributes\n").unwrap();
    set("attributed", "user.plain", b"value");
    set("attributed", "user.empty", b"");
    set("attributed", "user.binary", b"\x00\xff\n=\"\\");
    set("attributed", "user.name with = sign", b"odd name");
    set("attributed", "user.large", &Random(4).bytes(2000));
    set("empty-folder", "user.on-a-folder", b"yes");
    set("attributed", "system.posix_acl_access", &access_list());
    if root() {
        set("attributed", "trusted.secret", b"for root only");
    }
}

/// A POSIX access list with a named user, in the kernel's own form (`linux/posix_acl_xattr.h`).
fn access_list() -> Vec<u8> {
    let unnamed = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(0x01, 6, unnamed), (0x02, 4, 4711), (0x04, 4, unnamed), (0x10, 4, unnamed), (0x20, 0, unnamed)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

fn modes(top: &Path) {
    let folder = top.join("modes");
    fs::create_dir_all(folder.join("sealed")).unwrap();
    fs::write(folder.join("sealed/inside"), "read only above\n").unwrap();
    let modes = [0o400, 0o444, 0o600, 0o755, 0o777, 0o4755, 0o2755, 0o6711, 0o1644];
    for mode in modes {
        fs::write(folder.join(format!("{mode:04o}")), format!("{mode:o}")).unwrap();
    }
    for name in ["sticky", "shared"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    if root() {
        fs::write(folder.join("0000"), "nobody may\n").unwrap();
        lchown(folder.join("0600"), Some(12_345), Some(54_321)).unwrap();
        lchown(folder.join("4755"), Some(4_000_000_000), Some(7)).unwrap();
        lchown(top.join("links/relative"), Some(12_345), Some(54_321)).unwrap();
        lchown(top.join("empty-folder"), Some(65_534), Some(65_534)).unwrap();
        lchown(top.join("fifo"), Some(12_345), Some(54_321)).unwrap();
        chmod(&folder.join("0000"), 0);
    }
    for mode in modes {
        chmod(&folder.join(format!("{mode:04o}")), mode);
    }
    chmod(&folder.join("sticky"), 0o1777);
    chmod(&folder.join("shared"), 0o2775);
    chmod(&folder.join("sealed"), 0o555);
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Gives every path a time of its own, to the nanosecond; some lie before 1970 or after 2038.
fn times(top: &Path) {
    for (number, path) in (0_i64..).zip(Tree::read(top).nodes.keys()) {
        let (tv_sec, tv_nsec) = match number % 10 {
            3 => (-86_400 * (number + 1), 123_456_789),
            5 => (4_294_967_296 + number, 1),
            7 => (1_000_000_000 + number, 0),
            _ => (1_000_000_000 + number * 86_400, 1 + number * 7_654_321 % 999_999_999),
        };
        let at = if path.as_os_str().is_empty() { top.to_owned() } else { top.join(path) };
        let time = Timespec { tv_sec, tv_nsec };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, &at, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    let before_1970 = Timespec { tv_sec: -1, tv_nsec: 999_999_999 };
    let times = Timestamps { last_access: before_1970, last_modification: before_1970 };
    utimensat(CWD, top.join("text"), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
