//! Runs in a [`Store`]: one folder a run, the manifest last, and a catalogue beside them.
//!
//! ```text
//! <server id>/runs/<run id>/<file>          as in the run directory here
//! <server id>/runs/<run id>/manifest.json   last: a run without one does not exist
//! <server id>/catalog/…
//! ```
//!
//! One run is committed and deleted by one at a time; everything else may go on at once, from any number of places.
//!
//! A file is there whole or not at all, so the artifact is what an upload goes on by. That what is there has the right bytes these kinds cannot
//! say: it is taken by its size, or read back.

mod catalog;
mod names;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use holdfast_actors::ports::Clock;
use holdfast_model::ids::{ArtifactName, RunId, Sha256};
use sha2::Digest;
use uuid::Uuid;

use self::catalog::{Catalog, Sizes};
use self::names::Names;
use super::lists::{Lists, MAX_LIST, whole};
use super::{FileToSend, GrowingSource, Held, Remote, RemoteHead, RemotePage, RemoteRun, Standing};
use crate::endpoints::{
    Answer, ByteStream, Bytewise, Entry, ErrorKind, Existing, MAX_PAGE, Meter, Put, Range, Store, StoreError,
};
use crate::engine::SystemClock;
use crate::storage::{MANIFEST, SUMS};

/// How old what an upload left must be to be swept: longer than any upload goes on.
const LEFTOVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// The runs of one installation in a store.
pub struct StoreRemote {
    store: Arc<dyn Store>,
    names: Names,
    catalog: Catalog,
    streams: usize,
    leftover: Duration,
}

impl StoreRemote {
    /// The runs of an installation. So many streams may go at once.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, server_id: Uuid, streams: usize) -> Self {
        let names = Names::of(server_id);
        let catalog = Catalog::new(store.clone(), names.clone(), Sizes::default());
        Self { store, names, catalog, streams: streams.max(1), leftover: LEFTOVER }
    }

    /// What is there of a run: its files and their sizes.
    async fn files(&self, run_id: RunId) -> Result<BTreeMap<ArtifactName, u64>, StoreError> {
        let prefix = self.names.run(run_id)?;
        let (mut files, mut after) = (BTreeMap::new(), None);
        loop {
            let page = self.store.list(&prefix, after.as_ref(), MAX_PAGE).await?;
            for Entry { name, size, .. } in page.entries {
                if let Some((_, file)) = self.names.file_of(&name) {
                    files.insert(file, size);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(files);
            }
        }
    }

    /// One of the lists of a run.
    async fn text(&self, run_id: RunId, name: &str) -> Result<Bytes, StoreError> {
        let object = self.names.file(run_id, name)?;
        whole(self.store.get(&object, Range::ALL).await?, MAX_LIST, object.as_str()).await
    }

    /// The same of a run that exists: then it is there, or the run is not whole.
    async fn list(&self, run_id: RunId, name: &str) -> Result<Bytes, StoreError> {
        self.text(run_id, name).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                StoreError::new(ErrorKind::Altered, format!("use {name} of run {run_id}"), "it is missing")
            }
            _ => error,
        })
    }

    async fn put(&self, run_id: RunId, name: &str, text: Bytes, existing: Existing) -> Result<(), StoreError> {
        let put = Put { existing, ..Put::default() };
        self.store.put(&self.names.file(run_id, name)?, &Bytewise(text), &put).await.map(drop)
    }

    async fn bring_to_commit(&self, row: &RemoteRun, manifest: Bytes, sums: Bytes) -> Result<(), StoreError> {
        let run_id = row.run_id;
        let refuse = |kind, why: String| Err(StoreError::new(kind, format!("commit run {run_id}"), why));
        let lists = Lists::read(run_id, manifest, sums, ErrorKind::Source)?;
        if lists.manifest.server_id != self.names.server_id() {
            return refuse(ErrorKind::Fatal, "the run was made by another installation".into());
        }
        let there = self.files(run_id).await?;
        if there.keys().any(|name| name.as_str() == MANIFEST) {
            let same = self.text(run_id, SUMS).await? == lists.sums_text;
            return match same && self.text(run_id, MANIFEST).await? == lists.manifest_text {
                true => Ok(()),
                false => refuse(ErrorKind::Exists, "another run is there under its name".into()),
            };
        }
        if let Some(missing) = lists.files.iter().find(|file| there.get(&file.name) != Some(&file.size_bytes)) {
            return refuse(ErrorKind::Retryable, format!("{} is not there whole", missing.name));
        }
        // What was streamed of tries that came to nothing.
        let listed = |name: &ArtifactName| lists.files.iter().any(|file| file.name == *name) || name.as_str() == SUMS;
        for name in there.keys().filter(|name| !listed(name)) {
            self.store.delete(&self.names.file(run_id, name.as_str())?).await?;
        }
        self.catalog.announce(&lists.row(row.received_at)).await?;
        self.put(run_id, SUMS, lists.sums_text, Existing::Replace).await?;
        self.put(run_id, MANIFEST, lists.manifest_text, Existing::Refuse).await?;
        self.tidy().await;
        Ok(())
    }

    /// Compacts the catalogue if it is time. It is right without that, too.
    async fn tidy(&self) {
        if let Err(error) = self.catalog.tidy().await {
            tracing::warn!(%error, "the catalogue of a far side cannot be compacted now");
        }
    }

    async fn take_away(&self, run_id: RunId) -> Result<(), StoreError> {
        let there = self.files(run_id).await?;
        let exists = there.keys().any(|name| name.as_str() == MANIFEST);
        if exists {
            self.catalog.announce_deletion(run_id).await?;
            self.store.delete(&self.names.manifest(run_id)?).await?;
            self.catalog.forget(run_id).await?;
        }
        for name in there.keys().filter(|name| name.as_str() != MANIFEST) {
            self.store.delete(&self.names.file(run_id, name.as_str())?).await?;
        }
        if exists {
            self.tidy().await;
        }
        Ok(())
    }

    /// Takes away the files of runs that never came to be and have not grown for long.
    async fn sweep_runs(&self) -> Result<u64, StoreError> {
        let limit = SystemTime::now().checked_sub(self.leftover).unwrap_or(SystemTime::UNIX_EPOCH);
        let prefix = self.names.runs()?;
        let (mut after, mut swept) = (None, 0);
        let mut run: Option<(RunId, Vec<Entry>)> = None;
        loop {
            let page = self.store.list(&prefix, after.as_ref(), MAX_PAGE).await?;
            for entry in page.entries {
                let Some((run_id, _)) = self.names.file_of(&entry.name) else { continue };
                match &mut run {
                    Some((current, entries)) if *current == run_id => entries.push(entry),
                    _ => {
                        swept += self.sweep_run(run.replace((run_id, vec![entry])), limit).await?;
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(swept + self.sweep_run(run, limit).await?);
            }
        }
    }

    async fn sweep_run(&self, run: Option<(RunId, Vec<Entry>)>, limit: SystemTime) -> Result<u64, StoreError> {
        let Some((run_id, entries)) = run else { return Ok(0) };
        let manifest = self.names.manifest(run_id)?;
        let is_old = |entry: &Entry| entry.modified.is_some_and(|modified| modified <= limit);
        if entries.iter().any(|entry| entry.name == manifest) || !entries.iter().all(is_old) {
            return Ok(0);
        }
        // It may have been committed since it was listed.
        if self.catalog.exists(run_id).await? {
            return Ok(0);
        }
        for entry in &entries {
            self.store.delete(&entry.name).await?;
        }
        Ok(entries.len() as u64)
    }
}

impl Remote for StoreRemote {
    fn standing(&self, run_id: RunId) -> Answer<'_, Standing> {
        Box::pin(async move {
            let mut files = self.files(run_id).await?;
            if files.keys().any(|name| name.as_str() == MANIFEST) {
                let sums = self.list(run_id, SUMS).await?;
                return Ok(Standing::Committed { sums_sha256: Sha256(sha2::Sha256::digest(&sums).into()) });
            }
            files.retain(|name, _| name.as_str() != SUMS);
            let held = files.into_iter().map(|(name, bytes)| (name, Held { bytes, sha256: None }));
            Ok(Standing::Open(held.collect()))
        })
    }

    fn send<'a>(&'a self, run_id: RunId, file: &'a FileToSend<'a>, held: u64, meter: &'a Meter) -> Answer<'a, u64> {
        Box::pin(async move {
            // One of nothing is not told from none.
            if held == file.size_bytes && held > 0 {
                meter.reached(held);
                return Ok(0);
            }
            let put = Put { existing: Existing::Replace, meter: meter.clone() };
            self.store.put(&self.names.file(run_id, file.name.as_str())?, file.source, &put).await
        })
    }

    fn stream<'a>(
        &'a self,
        run_id: RunId,
        name: &'a ArtifactName,
        source: &'a dyn GrowingSource,
        meter: &'a Meter,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let put = Put { existing: Existing::Replace, meter: meter.clone() };
            self.store.put(&self.names.file(run_id, name.as_str())?, source, &put).await.map(drop)
        })
    }

    fn commit<'a>(&'a self, row: &'a RemoteRun, manifest: Bytes, sums: Bytes) -> Answer<'a, ()> {
        Box::pin(self.bring_to_commit(row, manifest, sums))
    }

    fn runs<'a>(&'a self, most: usize, cursor: &'a str) -> Answer<'a, RemotePage> {
        Box::pin(self.catalog.runs(most, cursor))
    }

    fn run(&self, run_id: RunId) -> Answer<'_, RemoteHead> {
        Box::pin(async move {
            let stat = self.store.stat(&self.names.manifest(run_id)?).await?;
            let (manifest, sums) = (self.list(run_id, MANIFEST).await?, self.list(run_id, SUMS).await?);
            let lists = Lists::read(run_id, manifest, sums, ErrorKind::Altered)?;
            if lists.manifest.server_id != self.names.server_id() {
                let why = "its manifest is of another installation";
                return Err(StoreError::new(ErrorKind::Fatal, format!("look at run {run_id}"), why));
            }
            let since = stat.modified.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
            Ok(lists.head(since.and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)))
        })
    }

    fn read<'a>(&'a self, run_id: RunId, file: &'a ArtifactName, range: Range) -> Answer<'a, ByteStream> {
        Box::pin(async move { self.store.get(&self.names.file(run_id, file.as_str())?, range).await })
    }

    fn delete(&self, run_id: RunId) -> Answer<'_, ()> {
        Box::pin(self.take_away(run_id))
    }

    fn give_up(&self, run_id: RunId) -> Answer<'_, ()> {
        Box::pin(async move {
            let there = self.files(run_id).await?;
            if there.keys().any(|name| name.as_str() == MANIFEST) {
                return Ok(());
            }
            for name in there.keys() {
                self.store.delete(&self.names.file(run_id, name.as_str())?).await?;
            }
            Ok(())
        })
    }

    /// Not for a time in which an upload goes on whose last file came longer ago than leftovers may be old.
    fn sweep(&self) -> Answer<'_, u64> {
        Box::pin(async move {
            let partial = self.store.sweep(self.leftover).await?;
            let files = self.sweep_runs().await?;
            let marks = self.catalog.sweep(SystemClock.now().seconds(), self.leftover).await?;
            self.tidy().await;
            Ok(partial + files + marks)
        })
    }

    fn rebuild(&self) -> Answer<'_, u64> {
        Box::pin(self.catalog.rebuild())
    }

    fn compares_hashes(&self) -> bool {
        false
    }

    fn streams(&self) -> usize {
        self.streams
    }
}
