//! A published run on its way to a far side: every file that is not held there, then the commit.
//!
//! What lies here is hashed while it is read, and what is not as `SHA256SUMS` says is refused before its last byte goes. All of it can be done
//! again after it was interrupted anywhere: it goes on from what the far side says it has. Dropping the future cancels it.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_actors::ports::Clock;
use holdfast_model::ids::{ArtifactName, RunId};

use super::fetch::compare;
use super::lists::{ListedFile, Lists};
use super::progress::UploadProgress;
use super::source::{RecordedFile, blocking, list};
use super::{FileToSend, Held, Remote, RemoteRun, Standing, Whole};
use crate::endpoints::{ErrorKind, StoreError};
use crate::engine::SystemClock;
use crate::storage::{MANIFEST, SUMS};

/// How it is made sure that what is there is what was sent, at a far side that cannot say a SHA-256 itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// By its size.
    #[default]
    Size,
    /// By reading it back.
    Readback,
}

/// What an upload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The run as it is listed there.
    pub row: RemoteRun,
    /// Bytes that this upload sent.
    pub sent_bytes: u64,
    /// Bytes that were held there already.
    pub held_bytes: u64,
    /// Whether the run was there whole before.
    pub was_there: bool,
}

/// What of a run went to a far side while it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Streamed {
    /// Whether anything did. A file that is there may be of a try that failed then, and is looked at before it counts.
    pub any: bool,
    /// Files that are known to be there whole.
    pub there: BTreeMap<ArtifactName, Whole>,
}

/// Brings a published run to a far side. Nobody may change the run directory meanwhile.
///
/// # Errors
/// As [`upload_streamed`].
pub async fn upload(
    remote: &dyn Remote,
    run_dir: &Path,
    run_id: RunId,
    verify: Verify,
    progress: &UploadProgress,
) -> Result<Uploaded, StoreError> {
    upload_streamed(remote, run_dir, run_id, verify, &Streamed::default(), progress).await
}

/// Brings a published run to a far side, which may have artifacts of it from when they were written.
///
/// # Errors
/// [`StoreError`]; of the kind [`Source`](ErrorKind::Source) where what lies here is not as recorded, and [`Exists`](ErrorKind::Exists) where
/// another run is there under the same name, and [`Altered`](ErrorKind::Altered) where its lists there are not whole.
pub async fn upload_streamed(
    remote: &dyn Remote,
    run_dir: &Path,
    run_id: RunId,
    verify: Verify,
    streamed: &Streamed,
    progress: &UploadProgress,
) -> Result<Uploaded, StoreError> {
    let folder = run_dir.to_owned();
    let lists =
        blocking(move || Lists::read(run_id, list(&folder, MANIFEST)?, list(&folder, SUMS)?, ErrorKind::Source))
            .await?;
    progress.begin(lists.bytes());
    let row = lists.row(SystemClock.now().seconds());
    let held = match remote.standing(run_id).await? {
        Standing::Committed { sums_sha256 } => {
            // Its lists tell whether it is the run, and whether they are whole themselves.
            remote.run(run_id).await?;
            if sums_sha256 != lists.sums_sha256 {
                let why = "another run is there under its name";
                return Err(StoreError::new(ErrorKind::Exists, format!("upload run {run_id}"), why));
            }
            progress.add(lists.bytes());
            return Ok(Uploaded { held_bytes: row.stored_bytes, row, sent_bytes: 0, was_there: true });
        }
        Standing::Open(held) => held,
    };
    let sending = Sending { remote, run_dir, run_id, held, streamed, verify, progress };
    // Boxed: the compiler does not see otherwise that any thread may drive it.
    let going: Vec<_> = lists.files.iter().map(|file| sending.file(file).boxed()).collect();
    let sent: Vec<u64> = stream::iter(going).buffer_unordered(remote.streams()).try_collect().await?;
    let sent: u64 = sent.into_iter().sum();
    let to_be_sent: u64 = lists.files.iter().map(|file| file.size_bytes).sum();
    remote.commit(&row, lists.manifest_text, lists.sums_text).await?;
    progress.add(row.stored_bytes.saturating_sub(to_be_sent));
    let lists_bytes = row.stored_bytes.saturating_sub(to_be_sent);
    let held_bytes = to_be_sent.saturating_sub(sent);
    Ok(Uploaded { row, sent_bytes: sent + lists_bytes, held_bytes, was_there: false })
}

struct Sending<'a> {
    remote: &'a dyn Remote,
    run_dir: &'a Path,
    run_id: RunId,
    held: BTreeMap<ArtifactName, Held>,
    streamed: &'a Streamed,
    verify: Verify,
    progress: &'a UploadProgress,
}

impl Sending<'_> {
    /// Brings one file there. Answers how many bytes that took.
    async fn file(&self, listed: &ListedFile) -> Result<u64, StoreError> {
        let followed = self.progress.follow();
        let held = self.held(listed).await?;
        let mut sent = self.send(listed, held, &followed.meter).await?;
        if self.verify == Verify::Readback && !self.remote.compares_hashes() {
            let read = compare(self.remote, self.run_id, listed).await;
            match read {
                // What was held from before is sent once more; what was sent just now is another thing.
                Err(error) if error.kind() == ErrorKind::Altered && sent == 0 => {
                    sent += self.send(listed, 0, &followed.meter).await?;
                    compare(self.remote, self.run_id, listed).await?;
                }
                read => read?,
            }
        }
        followed.settle(listed.size_bytes);
        Ok(sent)
    }

    /// How many bytes are there that count.
    async fn held(&self, listed: &ListedFile) -> Result<u64, StoreError> {
        let Some(held) = self.held.get(&listed.name) else { return Ok(0) };
        let is_known = || {
            let whole = Whole { bytes: listed.size_bytes, sha256: listed.sha256 };
            self.streamed.there.get(&listed.name) == Some(&whole)
        };
        match held.sha256 {
            // One of other bytes is ended by whoever sends these.
            Some(sha256) if sha256 != listed.sha256 => Ok(0),
            None if self.streamed.any && !self.remote.compares_hashes() && held.bytes == listed.size_bytes => {
                if is_known() {
                    return Ok(held.bytes);
                }
                match compare(self.remote, self.run_id, listed).await {
                    Ok(_) => Ok(held.bytes),
                    Err(error) if error.kind() == ErrorKind::Altered => Ok(0),
                    Err(error) => Err(error),
                }
            }
            // Its end was not said there: it is gone on with, and looked at as a whole.
            None if self.remote.compares_hashes() => Ok(held.bytes.min(listed.size_bytes.saturating_sub(1))),
            _ => Ok(held.bytes),
        }
    }

    async fn send(&self, listed: &ListedFile, held: u64, meter: &crate::endpoints::Meter) -> Result<u64, StoreError> {
        let path = self.run_dir.join(listed.name.as_str());
        let source = RecordedFile { path, size_bytes: listed.size_bytes, sha256: listed.sha256 };
        let file =
            FileToSend { name: &listed.name, size_bytes: listed.size_bytes, sha256: listed.sha256, source: &source };
        self.remote.send(self.run_id, &file, held, meter).await
    }
}
