//! Runs at a far side: where they lie there, how they get there, how they come back.
//!
//! A [`Remote`] is the place of one installation's runs at one endpoint, whatever its kind: a vault, which has runs of its own accord, or a
//! [`Store`](crate::endpoints::Store), in which they are laid out so:
//!
//! ```text
//! <prefix>/<server id>/runs/<run id>/<file>…        as in the run directory here
//! <prefix>/<server id>/runs/<run id>/manifest.json  last: a run without one does not exist
//! <prefix>/<server id>/catalog/…                    small files that list many runs; they can be made anew from the runs
//! ```
//!
//! What holds for every kind:
//!
//! - **A run is there whole or not at all.** It exists from [`Remote::commit`] on, which comes after all its files.
//! - **Everything can be repeated**: a file that is there whole is not sent again, a commit that was done is answered as done. So an upload
//!   goes on after a crash where the far side says it is: a vault by the byte, others by the file.
//! - **Installations never mingle**: no name leads out of the server id it was opened for.
//! - **Nothing from there is trusted**: names are typed, sizes bounded, and every byte that comes back is checked against a hash.

//!
//! [`open()`] makes one from an address. [`upload()`], [`fetch()`] and [`verify()`] bring whole runs there and back.

mod fetch;
pub(crate) mod growing;
mod lists;
mod open;
mod progress;
mod servers;
mod source;
pub mod store;
mod upload;
pub mod vault;

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_model::ids::{ArtifactName, RunId, Sha256};

pub use self::fetch::{fetch, fetch_some, verify};
pub use self::open::{open, probe};
pub use self::progress::UploadProgress;
pub use self::servers::servers;
pub use self::upload::{Streamed, Uploaded, Verify, upload, upload_streamed};
use crate::endpoints::{Answer, ByteStream, Meter, Range, Source};
pub use crate::pipeline::Whole;

/// The place of one installation's runs at one endpoint.
pub trait Remote: Send + Sync {
    /// What is there of a run: the whole of it, or files of an upload that has not ended.
    ///
    /// # Errors
    /// [`StoreError`](crate::endpoints::StoreError), as all of these.
    fn standing(&self, run_id: RunId) -> Answer<'_, Standing>;

    /// Sends a file of a run, from where the far side says it is. Answers how many bytes were sent by this call. `held` is what
    /// [`Remote::standing`] said of it.
    fn send<'a>(&'a self, run_id: RunId, file: &'a FileToSend<'a>, held: u64, meter: &'a Meter) -> Answer<'a, u64>;

    /// Sends a file that is being written, from its first byte on, in the place of what is there under its name. Answers once it is there
    /// whole, as the source says at its end that it is.
    fn stream<'a>(
        &'a self,
        run_id: RunId,
        name: &'a ArtifactName,
        source: &'a dyn GrowingSource,
        meter: &'a Meter,
    ) -> Answer<'a, ()>;

    /// Makes the run exist. All its files but the manifest and the list of hashes were sent. Done again for a run that is there as it
    /// says, it is good; for one that is there otherwise it is refused with [`Exists`](crate::endpoints::ErrorKind::Exists).
    fn commit<'a>(&'a self, row: &'a RemoteRun, manifest: Bytes, sums: Bytes) -> Answer<'a, ()>;

    /// A page of the runs, the newest first.
    fn runs<'a>(&'a self, most: usize, cursor: &'a str) -> Answer<'a, RemotePage>;

    /// What is known of a run that exists, its manifest and its list of hashes; [`NotFound`](crate::endpoints::ErrorKind::NotFound) where
    /// it does not exist.
    fn run(&self, run_id: RunId) -> Answer<'_, RemoteHead>;

    /// Bytes of a file of a run that exists.
    fn read<'a>(&'a self, run_id: RunId, file: &'a ArtifactName, range: Range) -> Answer<'a, ByteStream>;

    /// Makes a run not exist any more, then takes its files away. Good, too, where there is none.
    fn delete(&self, run_id: RunId) -> Answer<'_, ()>;

    /// Takes away what came there of a run that was given up before anybody committed it. A run that exists stays.
    fn give_up(&self, run_id: RunId) -> Answer<'_, ()>;

    /// Takes away what uploads that never ended have left, and are too old to go on. Answers how much there was.
    fn sweep(&self) -> Answer<'_, u64>;

    /// Makes the list of the runs anew from the runs themselves. Answers how many there are.
    fn rebuild(&self) -> Answer<'_, u64>;

    /// Whether the far side itself compares each file with its SHA-256 before it says that it is there.
    fn compares_hashes(&self) -> bool;

    /// How many streams may go at once.
    fn streams(&self) -> usize;
}

/// What is there of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// All of it.
    Committed {
        /// SHA-256 of its list of hashes, and with it of everything.
        sums_sha256: Sha256,
    },
    /// What is there of each file for certain; of a file that is not named there is nothing.
    Open(BTreeMap<ArtifactName, Held>),
}

/// What is there of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// So many bytes from the first on.
    pub bytes: u64,
    /// The SHA-256 of the whole file that they are of, where the far side says that.
    pub sha256: Option<Sha256>,
}

/// A file of a run on its way out.
pub struct FileToSend<'a> {
    /// Its name in the run directory.
    pub name: &'a ArtifactName,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub sha256: Sha256,
    /// Its bytes, from any offset on.
    pub source: &'a dyn SeekableSource,
}

/// A source that can begin anywhere.
pub trait SeekableSource: Source {
    /// The bytes from an offset on.
    ///
    /// # Errors
    /// As [`Source::open`].
    fn open_at(&self, offset: u64) -> Answer<'_, ByteStream>;
}

/// A file that is still being written. Its stream comes to an end when it is whole, and to an error where it never will be.
pub trait GrowingSource: SeekableSource {
    /// What it is as a whole, once it is that.
    fn whole(&self) -> Option<Whole>;
}

/// What a listing says of a run: nothing that a far side should not learn of an encrypted one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RemoteRun {
    /// The run.
    pub run_id: RunId,
    /// `full` or `scoped`.
    #[serde(rename = "type")]
    pub run_type: String,
    /// How it ended.
    pub status: String,
    /// When it started, in Unix seconds.
    pub started_at: i64,
    /// When it ended, in Unix seconds.
    pub finished_at: i64,
    /// When it came there, by the far side's clock where it has one of its own, in Unix seconds.
    pub received_at: i64,
    /// Its files, the manifest and the list of hashes included.
    pub files: u32,
    /// Bytes of all of them.
    pub stored_bytes: u64,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// SHA-256 of its list of hashes, and with it of everything.
    pub sums_sha256: Sha256,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RemotePage {
    /// The runs, the newest first.
    pub rows: Vec<RemoteRun>,
    /// Where the next page begins; `None` at the end.
    pub next_cursor: Option<String>,
}

/// What is known of a run without its artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteHead {
    /// What listings say of it.
    pub row: RemoteRun,
    /// Its `manifest.json`.
    pub manifest: Bytes,
    /// Its `SHA256SUMS`.
    pub sums: Bytes,
}
