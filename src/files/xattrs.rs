//! Extended attributes: which are kept, and getting and setting them.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// Most bytes of names and values of one file that are kept: well within what an extended header may hold. The common
/// file systems allow less.
const MAX_TOTAL: usize = 512 * 1024;
/// The kernel's limit of one value and of the list of names.
const MAX_VALUE: usize = 64 * 1024;

/// A name with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Xattr {
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// Whether attributes of this name belong to the file rather than to the system it lies on. A label of SELinux, for
/// one, means something only with the policy it was made under.
fn kept(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name.starts_with(b"trusted.")
        || matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
}

/// Reads those of an open file or folder, sorted by name. Says what could not be read.
pub(super) fn read(fd: BorrowedFd<'_>, scratch: &mut Vec<u8>, mut complain: impl FnMut(&str)) -> Vec<Xattr> {
    scratch.resize(MAX_VALUE, 0);
    let length = match rustix::fs::flistxattr(fd, scratch.as_mut_slice()) {
        Ok(0) | Err(Errno::NOTSUP | Errno::NOSYS) => return Vec::new(),
        Ok(length) => length,
        Err(errno) => {
            complain(&format!("its extended attributes cannot be read ({errno}): they are left out"));
            return Vec::new();
        }
    };
    let list = scratch.get(..length).unwrap_or_default();
    let mut names: Vec<CString> = list
        .split_inclusive(|byte| *byte == 0)
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
        .filter(|name| kept(name.to_bytes()))
        .map(CStr::to_owned)
        .collect();
    names.sort_unstable();
    let mut found = Vec::with_capacity(names.len());
    let mut total = 0;
    for name in names {
        let shown = name.to_string_lossy();
        match rustix::fs::fgetxattr(fd, &*name, scratch.as_mut_slice()) {
            Ok(length) => {
                total += name.as_bytes().len() + length;
                if total > MAX_TOTAL {
                    complain(&format!("has more than 512 KiB of extended attributes: `{shown}` is left out"));
                    continue;
                }
                let value = scratch.get(..length).unwrap_or_default().to_vec();
                found.push(Xattr { name: name.into_bytes(), value });
            }
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            Err(errno) => {
                complain(&format!("its extended attribute `{shown}` cannot be read ({errno}): it is left out"));
            }
        }
    }
    found
}

/// Sets those of an open file or folder. Says what could not be set.
pub(super) fn set(fd: BorrowedFd<'_>, xattrs: &[Xattr], mut complain: impl FnMut(&str)) {
    for xattr in xattrs {
        let shown = String::from_utf8_lossy(&xattr.name);
        if !kept(&xattr.name) {
            complain(&format!("its extended attribute `{shown}` belongs to another system: it is not set"));
            continue;
        }
        if let Err(errno) = rustix::fs::fsetxattr(fd, xattr.name.as_slice(), &xattr.value, XattrFlags::empty()) {
            complain(&format!("its extended attribute `{shown}` cannot be set ({errno})"));
        }
    }
}

/// Takes the ACLs from a folder that it has from the one it was made in.
pub(super) fn remove_acls(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    for name in [c"system.posix_acl_access", c"system.posix_acl_default"] {
        match rustix::fs::fremovexattr(folder, name) {
            Ok(()) | Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
