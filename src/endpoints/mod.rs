//! Far sides: where copies of runs go, behind one port.
//!
//! A [`Store`] keeps byte streams under names. What holds for every kind of it, and what one conformance suite checks on each:
//!
//! - **Whole or not there.** Nothing can be read under its name before its last byte is there; a [`Store::put`] that failed, was dropped or
//!   whose process died leaves at most a leftover under a name of its own, which [`Store::sweep`] takes away.
//! - **A put can be repeated.** It replaces what is there, or refuses to ([`Existing`]), in one step.
//! - **Nothing from a listing is trusted.** What is no [`ObjectName`], a link, or outside of the endpoint is not told.
//! - **Memory is bounded** by a few pieces, whatever the length; see [`s3`] for parts.
//! - **Dropping a future cancels it.** Nothing goes on behind the caller's back.
//!
//! | kind | whole at once by | safe on the far side's disk | leftovers are |
//! |---|---|---|---|
//! | `file://` | rename | fsync of the file and its folders | files in `.holdfast-partial` |
//! | `sftp://` | rename | `fsync@openssh.com`, where offered | the same |
//! | `webdav://` | `MOVE` | the server's business | the same |
//! | `s3://` | one `PUT`, or the completion of a multipart upload | the server's business | multipart uploads |
//!
//! A [vault](crate::vault) is none of them: it keeps runs of its own accord, see [`remote`](crate::remote).
//!
//! [`open()`] makes a store from an [`Address`] and puts the [layers](layer) around it: deadline of each attempt, attempts with back-off,
//! bandwidth, concurrency. [`probe()`] tries one out.

pub mod address;
mod error;
pub mod file;
pub(crate) mod http;
pub mod layer;
mod name;
mod open;
pub mod probe;
pub mod s3;
pub mod sftp;
pub(crate) mod source;
mod tree;
pub mod webdav;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

pub use self::address::{Address, AddressError, place};
pub use self::error::{ErrorKind, StoreError};
pub use self::name::{InvalidObjectName, ObjectName, Prefix};
pub use self::open::{Credentials, Limits, open};
pub use self::probe::probe;
pub use self::source::{Bytewise, Meter, Source};

/// Refuses an address that nothing can be opened at; an empty one is none yet.
///
/// # Errors
/// [`AddressError`], which says what is wrong and what is allowed.
pub(crate) fn check_url(url: &str) -> Result<(), AddressError> {
    if url.is_empty() { Ok(()) } else { Address::parse(url).map(drop) }
}

/// Bytes as they come. After an error nothing more comes.
pub type ByteStream = BoxStream<'static, Result<Bytes, StoreError>>;

/// A call's answer, later. Dropped, the call is cancelled.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Most entries of a page.
pub const MAX_PAGE: usize = 10_000;
/// The folder in which what is not whole yet lies; no name begins with it.
const PARTIAL: &str = ".holdfast-partial";

/// Somewhere streams of bytes are kept under names.
pub trait Store: Send + Sync {
    /// Keeps a stream under a name. Answers how many bytes it was.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing new is there under the name, but for the kinds [`Retryable`](ErrorKind::Retryable) and
    /// [`Timeout`](ErrorKind::Timeout), after which it may be there whole.
    fn put<'a>(&'a self, name: &'a ObjectName, source: &'a dyn Source, put: &'a Put) -> Answer<'a, u64>;

    /// The bytes of a range. One that ends behind the end is cut, one that begins at the end is empty, and one that begins behind it is an
    /// error, here or as the stream's first.
    ///
    /// # Errors
    /// [`StoreError`]; [`NotFound`](ErrorKind::NotFound) where there is nothing under the name.
    fn get<'a>(&'a self, name: &'a ObjectName, range: Range) -> Answer<'a, ByteStream>;

    /// What is known of it without reading it.
    ///
    /// # Errors
    /// As [`get`](Store::get).
    fn stat<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, Stat>;

    /// What is there under a prefix and comes after a name, in the order of the names' bytes; at most so many, and at most [`MAX_PAGE`].
    /// The name is one that a page gave as its [`next`](Page::next), and may be gone since.
    ///
    /// # Errors
    /// [`StoreError`]. Where there is nothing the page is empty.
    fn list<'a>(&'a self, prefix: &'a Prefix, after: Option<&'a ObjectName>, most: usize) -> Answer<'a, Page>;

    /// Takes it away. Good, too, where it is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    fn delete<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, ()>;

    /// Takes away what puts that never ended have left, last written (`s3://`: begun) so long ago. That must be longer than any upload
    /// takes: a younger one may be at work. Answers how many there were.
    ///
    /// # Errors
    /// [`StoreError`].
    fn sweep(&self, older_than: Duration) -> Answer<'_, u64>;
}

/// How a stream is kept.
#[derive(Debug, Clone, Default)]
pub struct Put {
    /// What happens where something is there under the name.
    pub existing: Existing,
    /// Tells how far it is, while it goes on.
    pub meter: Meter,
}

/// What happens to what is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// It stays, and the put is refused with [`ErrorKind::Exists`].
    #[default]
    Refuse,
    /// It is replaced in one step.
    Replace,
}

/// Bytes from an offset on, so many or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// The first byte, counted from 0.
    pub from: u64,
    /// How many; all that follow where nothing is said.
    pub length: Option<u64>,
}

impl Range {
    /// All bytes.
    pub const ALL: Range = Range { from: 0, length: None };

    /// As HTTP writes it (RFC 9110, section 14.1.2); `None` where all bytes are meant, or none.
    pub(crate) fn header(self) -> Option<String> {
        match (self.from, self.length) {
            (0, None) | (_, Some(0)) => None,
            (from, None) => Some(format!("bytes={from}-")),
            (from, Some(length)) => Some(format!("bytes={from}-{}", from.saturating_add(length) - 1)),
        }
    }
}

/// What is known of something without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its length in bytes.
    pub size: u64,
    /// When it was written last, by the far side's clock.
    pub modified: Option<SystemTime>,
    /// The SHA-256 of its bytes, where the far side itself can say it. None of the kinds here can: S3's tag of a multipart upload is no hash
    /// of the bytes. What was uploaded there is verified by size, or read back.
    pub sha256: Option<holdfast_model::ids::Sha256>,
}

/// Something in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: ObjectName,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written last, by the far side's clock.
    pub modified: Option<SystemTime>,
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// What is there, in the order of the names' bytes.
    pub entries: Vec<Entry>,
    /// Where the next page begins: after this name; `None` at the end.
    pub next: Option<ObjectName>,
}
