//! One line of the index: a member of the stream, and where it lies in it.

use serde::{Deserialize, Serialize};

use super::raw_path::RawPath;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// Another name of a file stored before.
    HardLink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

/// A time of modification: seconds since 1970 (negative before), and nanoseconds 0–999,999,999 after that second.
///
/// Serialized as `[seconds, nanoseconds]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "(i64, u32)", into = "(i64, u32)")]
pub struct Mtime {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
}

impl From<(i64, u32)> for Mtime {
    fn from((seconds, nanos): (i64, u32)) -> Self {
        Self { seconds, nanos: nanos.min(999_999_999) }
    }
}

impl From<Mtime> for (i64, u32) {
    fn from(mtime: Mtime) -> Self {
        (mtime.seconds, mtime.nanos)
    }
}

/// A device's numbers. Serialized as `[major, minor]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

impl From<(u32, u32)> for Device {
    fn from((major, minor): (u32, u32)) -> Self {
        Self { major, minor }
    }
}

impl From<Device> for (u32, u32) {
    fn from(device: Device) -> Self {
        (device.major, device.minor)
    }
}

/// A stretch of the plain stream. Serialized as `[offset, length]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Span {
    /// Its first byte.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl From<(u64, u64)> for Span {
    fn from((offset, length): (u64, u64)) -> Self {
        Self { offset, length }
    }
}

impl From<Span> for (u64, u64) {
    fn from(span: Span) -> Self {
        (span.offset, span.length)
    }
}

/// A member of the stream. All offsets are in the plain (uncompressed, unencrypted) stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it belongs below the target: relative, `/` between components, no `.` or `..`, no `/` at the end.
    pub path: RawPath,
    /// What it is.
    pub kind: Kind,
    /// Content in bytes as a reader of the file sees it, holes included; of a hard link that of the file it names.
    #[serde(default, skip_serializing_if = "is_default")]
    pub size: u64,
    /// Permissions with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The owner's name where the backup was made; empty if there was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The group's name where the backup was made; empty if there was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Last modification.
    pub mtime: Mtime,
    /// Of a symbolic link, what it says; of a hard link, the [`path`](Self::path) of the member with the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<RawPath>,
    /// Of a device, its numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// First byte of the member: that of its first header.
    pub offset: u64,
    /// Length of the whole member with headers and padding.
    pub length: u64,
    /// First byte of the stored content; of a hard link, that of the member it names.
    #[serde(default, skip_serializing_if = "is_default")]
    pub data_offset: u64,
    /// Stored content in bytes. Less than `size` when `sparse`: then a map of the content and what lies between the
    /// holes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub data_length: u64,
    /// The content is stored without its holes (GNU sparse format 1.0).
    #[serde(default, skip_serializing_if = "is_default")]
    pub sparse: bool,
    /// Of a hard link, the whole member that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Span>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Entry {
    /// Where its content lies; for [`dump`](super::dump).
    #[must_use]
    pub fn data(&self) -> Span {
        Span { offset: self.data_offset, length: self.data_length }
    }
}
