//! A run on its way back, or read back only: every byte against the hash it was recorded with.
//!
//! Nothing from there is trusted. Names are typed, so that none leads out of the folder; sizes are the manifest's, and what is longer is not
//! taken; each hash is compared before a file counts. What the run is, is said by its manifest, and that by `SHA256SUMS`; whether that is the run
//! that was sent is for whoever knows its hash.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_log::durable;
use holdfast_model::ids::{ArtifactName, RunId, Sha256};
use rustix::fs::OFlags;
use sha2::Digest;

use super::lists::{ListedFile, Lists};
use super::progress::{Followed, UploadProgress};
use super::source::blocking;
use super::{Remote, RemoteHead, RemoteRun};
use crate::endpoints::{ErrorKind, Range, StoreError};
use crate::storage::{MANIFEST, SUMS};

/// Bytes that are gathered before they are hashed and written.
const GATHER: usize = 1 << 20;

/// Brings a run from a far side into a folder, which is empty, or has what an earlier try left: files that are there whole and good are kept.
/// Everything is synced when this returns. Answers the run as it is listed there.
///
/// # Errors
/// [`StoreError`]; [`NotFound`](ErrorKind::NotFound) where there is no such run, and [`Altered`](ErrorKind::Altered) where it is not as it was
/// recorded. Of the kind [`Source`](ErrorKind::Source) or [`Full`](ErrorKind::Full) where it cannot be written here.
pub async fn fetch(
    remote: &dyn Remote,
    run_id: RunId,
    into: &Path,
    progress: &UploadProgress,
) -> Result<RemoteRun, StoreError> {
    let head = remote.run(run_id).await?;
    let lists = Lists::read(run_id, head.manifest, head.sums, ErrorKind::Altered)?;
    progress.begin(lists.bytes());
    let coming: Vec<_> = lists.files.iter().map(|file| bring(remote, run_id, file, into, progress).boxed()).collect();
    stream::iter(coming).buffer_unordered(remote.streams()).try_collect::<Vec<()>>().await?;
    let folder = into.to_owned();
    let (manifest, sums) = (lists.manifest_text, lists.sums_text);
    let lists_bytes = (manifest.len() + sums.len()) as u64;
    blocking(move || {
        write(&folder.join(SUMS), &sums)?;
        write(&folder.join(MANIFEST), &manifest)?;
        durable::sync_dir(&folder).map_err(|error| here("sync", &folder, &error))
    })
    .await?;
    progress.add(lists_bytes);
    Ok(head.row)
}

/// Brings some files of a run, of which `head` was asked for, into a folder, as [`fetch`] does.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_some(
    remote: &dyn Remote,
    head: &RemoteHead,
    wanted: &[ArtifactName],
    into: &Path,
    progress: &UploadProgress,
) -> Result<(), StoreError> {
    let run_id = head.row.run_id;
    let mut lists = Lists::read(run_id, head.manifest.clone(), head.sums.clone(), ErrorKind::Altered)?;
    lists.files.retain(|file| wanted.contains(&file.name));
    progress.begin(lists.files.iter().fold(0, |sum, file| sum.saturating_add(file.size_bytes)));
    for file in &lists.files {
        bring(remote, run_id, file, into, progress).await?;
    }
    let folder = into.to_owned();
    blocking(move || durable::sync_dir(&folder).map_err(|error| here("sync", &folder, &error))).await
}

/// Reads a run back whole and compares it with what was recorded, keeping nothing.
///
/// # Errors
/// As [`fetch`].
pub async fn verify(remote: &dyn Remote, run_id: RunId, progress: &UploadProgress) -> Result<RemoteRun, StoreError> {
    let head = remote.run(run_id).await?;
    let lists = Lists::read(run_id, head.manifest, head.sums, ErrorKind::Altered)?;
    progress.begin(lists.bytes());
    progress.add((lists.manifest_text.len() + lists.sums_text.len()) as u64);
    let reading: Vec<_> = lists.files.iter().map(|file| read_back(remote, run_id, file, progress).boxed()).collect();
    stream::iter(reading).buffer_unordered(remote.streams()).try_collect::<Vec<()>>().await?;
    Ok(head.row)
}

/// Brings one file, unless an earlier try has.
async fn bring(
    remote: &dyn Remote,
    run_id: RunId,
    file: &ListedFile,
    into: &Path,
    progress: &UploadProgress,
) -> Result<(), StoreError> {
    let path = into.join(file.name.as_str());
    let (kept, whole) = (path.clone(), file.clone());
    let followed = progress.follow();
    if !blocking(move || is_whole(&kept, &whole)).await? {
        let file_here = blocking(move || create(&path)).await?;
        take(remote, run_id, file, Some(file_here), &followed).await?;
    }
    followed.settle(file.size_bytes);
    Ok(())
}

/// Reads one file back, and counts it.
async fn read_back(
    remote: &dyn Remote,
    run_id: RunId,
    file: &ListedFile,
    progress: &UploadProgress,
) -> Result<(), StoreError> {
    let followed = progress.follow();
    take(remote, run_id, file, None, &followed).await?;
    followed.settle(file.size_bytes);
    Ok(())
}

/// Reads one file back.
pub(super) async fn compare(remote: &dyn Remote, run_id: RunId, file: &ListedFile) -> Result<(), StoreError> {
    let aside = UploadProgress::default();
    take(remote, run_id, file, None, &aside.follow()).await
}

/// A file on its way: what came of it, and where it goes.
struct Taking {
    hash: sha2::Sha256,
    file: Option<File>,
    name: String,
}

impl Taking {
    /// Blocks.
    fn add(mut self, pieces: Vec<Bytes>) -> Result<Self, StoreError> {
        for piece in pieces {
            self.hash.update(&piece);
            if let Some(file) = &mut self.file {
                file.write_all(&piece).map_err(|error| here("write", Path::new(&self.name), &error))?;
            }
        }
        Ok(self)
    }

    /// Blocks.
    fn end(self) -> Result<Sha256, StoreError> {
        if let Some(file) = &self.file {
            file.sync_all().map_err(|error| here("sync", Path::new(&self.name), &error))?;
        }
        Ok(Sha256(self.hash.finalize().into()))
    }
}

async fn take(
    remote: &dyn Remote,
    run_id: RunId,
    file: &ListedFile,
    into: Option<File>,
    followed: &Followed,
) -> Result<(), StoreError> {
    let doing = || format!("read {} of run {run_id}", file.name);
    let other = |why: String| StoreError::new(ErrorKind::Altered, doing(), format!("not as recorded: {why}"));
    // One more than there should be, to see whether there is more.
    let range = Range { from: 0, length: Some(file.size_bytes.saturating_add(1)) };
    let mut stream = match remote.read(run_id, &file.name, range).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(other("it is missing".into())),
        stream => stream?,
    };
    let mut taking = Taking { hash: sha2::Sha256::new(), file: into, name: file.name.to_string() };
    let (mut gathered, mut waiting, mut came) = (Vec::new(), 0, 0u64);
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        came = came.saturating_add(piece.len() as u64);
        if came > file.size_bytes {
            return Err(other(format!("it is longer than {} bytes", file.size_bytes)));
        }
        waiting += piece.len();
        gathered.push(piece);
        if waiting >= GATHER {
            let pieces = std::mem::take(&mut gathered);
            waiting = 0;
            taking = blocking(move || taking.add(pieces)).await?;
            followed.meter.reached(came);
        }
    }
    if came < file.size_bytes {
        return Err(other(format!("it has {came} bytes of {}", file.size_bytes)));
    }
    let found = blocking(move || taking.add(gathered)?.end()).await?;
    followed.meter.reached(came);
    (found == file.sha256).then_some(()).ok_or_else(|| other("its SHA-256 is another one".into()))
}

/// Whether a file of an earlier try is there whole and good. Blocks.
fn is_whole(path: &PathBuf, listed: &ListedFile) -> Result<bool, StoreError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let Ok(mut file) = OpenOptions::new().read(true).custom_flags(flags).open(path) else { return Ok(false) };
    let failed = |error: std::io::Error| here("read", path, &error);
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() || meta.len() != listed.size_bytes {
        return Ok(false);
    }
    let (mut hash, mut piece) = (sha2::Sha256::new(), vec![0; GATHER]);
    loop {
        let read = file.read(&mut piece).map_err(failed)?;
        let Some(some) = piece.get(..read).filter(|some| !some.is_empty()) else { break };
        hash.update(some);
    }
    if Sha256(hash.finalize().into()) != listed.sha256 {
        return Ok(false);
    }
    // The earlier try may have ended before it was synced.
    file.sync_all().map_err(failed)?;
    Ok(true)
}

/// A file that is empty, whatever was there. Blocks.
fn create(path: &Path) -> Result<File, StoreError> {
    let failed = |error: std::io::Error| here("create", path, &error);
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)
}

fn write(path: &Path, text: &[u8]) -> Result<(), StoreError> {
    let mut file = create(path)?;
    let failed = |error: std::io::Error| here("write", path, &error);
    file.write_all(text).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// What went wrong on this machine.
fn here(action: &str, path: &Path, error: &std::io::Error) -> StoreError {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        _ => ErrorKind::Source,
    };
    StoreError::new(kind, format!("{action} {}", path.display()), error.to_string())
}
