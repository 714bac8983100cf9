//! What is mounted where, and which file systems hold no files but views of the kernel's state.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::facts::Facts;

/// Magic numbers of `statfs(2)`, from the kernel's `linux/magic.h` and the sources of the file systems.
const PSEUDO: [u32; 20] = [
    0x0000_9fa0, // proc
    0x6265_6572, // sysfs
    0x0000_1cd1, // devpts
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0x6265_6570, // configfs
    0xcafe_4a11, // bpf
    0x6165_676c, // pstore
    0xde5e_81e4, // efivarfs
    0x1980_0202, // mqueue
    0x9584_58f6, // hugetlbfs
    0x4249_4e4d, // binfmt_misc
    0x6e73_6673, // nsfs
    0xf97c_ff8c, // selinuxfs
    0x4341_5d53, // smackfs
    0x6759_6969, // rpc_pipefs
    0x6e66_7364, // nfsd
];

/// That of tmpfs, and of devtmpfs, which is one underneath.
const TMPFS: u32 = 0x0102_1994;

/// Tells pseudo file systems from real ones.
pub(super) struct Mounts {
    /// Devices of devtmpfs mounts, which `statfs` cannot tell from a tmpfs with files in it.
    devtmpfs: HashSet<(u32, u32)>,
}

impl Mounts {
    /// As they are now. Without `/proc`, only devtmpfs goes unrecognised.
    pub(super) fn read() -> Self {
        let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self { devtmpfs: String::from_utf8_lossy(&table).lines().filter_map(devtmpfs).collect() }
    }

    /// Whether this folder lies on a pseudo file system.
    pub(super) fn is_pseudo(&self, folder: impl AsFd, facts: &Facts) -> bool {
        let Ok(stat) = rustix::fs::fstatfs(folder) else { return false };
        // The field is a signed word on some architectures: its low 32 bits are the number.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)]
        let magic = stat.f_type as u32;
        let device = (rustix::fs::major(facts.id.device), rustix::fs::minor(facts.id.device));
        PSEUDO.contains(&magic) || (magic == TMPFS && self.devtmpfs.contains(&device))
    }
}

/// The device of a line of mountinfo that is about a devtmpfs. See proc_pid_mountinfo(5): the third field is the
/// device, the first after ` - ` the type.
fn devtmpfs(line: &str) -> Option<(u32, u32)> {
    let (mount, kind) = line.split_once(" - ")?;
    if kind.split(' ').next() != Some("devtmpfs") {
        return None;
    }
    let (major, minor) = mount.split(' ').nth(2)?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// A place at or below `path`, which has no symbolic links in it, where something is mounted.
pub(super) fn mounted_at_or_below(path: &Path) -> io::Result<Option<PathBuf>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let mut points = table.split(|byte| *byte == b'\n').filter_map(mount_point);
    Ok(points.find(|point| point.starts_with(path)))
}

/// The place of a line of mountinfo: its fifth field, with spaces and their like as `\ooo`.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let mut field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut path = Vec::with_capacity(field.len());
    while let Some((first, rest)) = field.split_first() {
        let digits = rest.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                field = rest.get(3..).unwrap_or_default();
            }
            None => {
                path.push(*first);
                field = rest;
            }
        }
    }
    Some(PathBuf::from(OsString::from_vec(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_spaces() {
        let line = br"36 35 98:0 /mnt1 /mnt2/a\040b\134 rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/mnt2/a b\")));
        assert_eq!(mount_point(b"garbage"), None);
        assert_eq!(mounted_at_or_below(Path::new("/proc/self")).unwrap(), None);
        assert!(mounted_at_or_below(Path::new("/proc")).unwrap().is_some());
        assert!(mounted_at_or_below(Path::new("/")).unwrap().is_some());
    }

    #[test]
    fn mountinfo_names_devtmpfs() {
        let line = "26 1 0:6 / /dev rw,nosuid shared:2 - devtmpfs udev rw,size=8k";
        assert_eq!(devtmpfs(line), Some((0, 6)));
        assert_eq!(devtmpfs("27 1 0:25 / /run rw - tmpfs tmpfs rw"), None);
        assert_eq!(devtmpfs("garbage"), None);
    }

    #[test]
    fn proc_and_sys_are_pseudo_and_the_temp_folder_is_not() {
        let mounts = Mounts::read();
        let pseudo = |path: &str| {
            let fd = std::fs::File::open(path).unwrap();
            mounts.is_pseudo(&fd, &Facts::of_fd(&fd).unwrap())
        };
        assert!(pseudo("/proc"));
        assert!(pseudo("/sys"));
        assert!(!pseudo(std::env::temp_dir().to_str().unwrap()));
    }
}
