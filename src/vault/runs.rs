//! Runs: committed, listed, read, deleted. And what is swept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use holdfast_actors::ports::Clock;
use holdfast_model::ids::RunId;
use holdfast_model::vault::{Owed, Permission, StoredRun, UploadEnd, VaultClientCommand, VaultClientRefusal};
use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::Vault;
use super::commit::{self, MAX_LIST, Uploads};
use super::error::{Problem, VaultError};
use super::visitor::Visitor;
use super::wire::{VaultRun, VaultRunSummary, VaultRuns, VaultStanding};
use crate::engine::SystemClock;
use crate::storage::MANIFEST;

/// Who the vault's own deeds are recorded under.
const OWN: &str = "";
/// Most rows of a page.
pub(super) const MAX_PAGE: usize = 1000;

impl From<&StoredRun> for VaultRun {
    fn from(run: &StoredRun) -> Self {
        Self {
            run_id: run.run_id,
            received_at: run.received_at.seconds(),
            files: run.files,
            stored_bytes: run.stored_bytes,
            sums_sha256: run.sums_sha256,
            summary: None,
        }
    }
}

/// What of a manifest goes into a summary. All else is read over, and kept nowhere.
#[derive(Deserialize)]
struct ManifestHead {
    #[serde(rename = "type")]
    run_type: String,
    status: String,
    started_at: i64,
    finished_at: i64,
    #[serde(default)]
    sealed: Option<IgnoredAny>,
}

fn summary(manifest: &Path) -> io::Result<VaultRunSummary> {
    let file = BufReader::new(File::open(manifest)?.take(MAX_LIST));
    let head: ManifestHead = serde_json::from_reader(file)?;
    let ManifestHead { run_type, status, started_at, finished_at, sealed } = head;
    Ok(VaultRunSummary { run_type, status, started_at, finished_at, encrypted: sealed.is_some() })
}

impl Vault {
    /// Commits a run. Asked again for one that is committed, it says the same again.
    pub(super) async fn commit(self: &Arc<Self>, visitor: &Visitor, run_id: RunId) -> Result<VaultRun, Problem> {
        visitor.may(Permission::Append)?;
        let (vault, visitor) = (self.clone(), visitor.clone());
        self.to_the_end(async move {
            let _one_at_a_time = vault.committing.lock().await;
            let server_id = visitor.server_id;
            if let Some(run) = vault.run(server_id, run_id) {
                return Ok(run);
            }
            if !vault.book.client(server_id, |client| client.is_committing(run_id)) {
                vault.finish_whole(&visitor, run_id).await?;
                let (uploads, place) = (vault.uploads_by_name(server_id, run_id)?, vault.place(server_id));
                let check = move || commit::check(&place, server_id, run_id, &uploads, SystemClock.now());
                let wish = vault.blocking(check).await??;
                let wish = VaultClientCommand::RequestCommit(wish);
                vault.book.tell_client(server_id, &visitor.principal(), wish).await?;
            }
            vault.publish(server_id, &visitor.principal(), run_id).await?;
            vault.run(server_id, run_id).ok_or_else(|| VaultClientRefusal::RunNotFound(run_id).into())
        })
        .await
    }

    fn uploads_by_name(&self, server_id: Uuid, run_id: RunId) -> Result<Uploads, Problem> {
        self.book.client(server_id, |client| {
            if client.is_deleted(run_id) {
                return Err(VaultClientRefusal::RunDeleted(run_id).into());
            }
            let uploads: Uploads =
                client.uploads_of(run_id).map(|(id, upload)| (upload.file.clone(), (id, upload.clone()))).collect();
            if uploads.is_empty() {
                return Err(VaultClientRefusal::RunNotFound(run_id).into());
            }
            match uploads.values().find(|(_, upload)| !upload.finished) {
                Some((upload_id, upload)) => {
                    let (upload_id, file) = (*upload_id, upload.file.clone());
                    Err(VaultClientRefusal::UploadUnfinished { upload_id, file }.into())
                }
                None => Ok(uploads),
            }
        })
    }

    /// Brings a promised run into its place and says so.
    async fn publish(self: &Arc<Self>, server_id: Uuid, by: &str, run_id: RunId) -> Result<(), VaultError> {
        let uploads: Vec<_> = self.book.client(server_id, |client| {
            client.uploads_of(run_id).map(|(id, upload)| (id, upload.file.clone())).collect()
        });
        let (place, files) = (self.place(server_id), uploads.clone());
        self.blocking(move || place.publish(run_id, &files)).await??;
        self.book.tell_client(server_id, by, VaultClientCommand::ConfirmCommit(run_id)).await?;
        let place = self.place(server_id);
        for (upload_id, _) in uploads {
            self.active().remove(&upload_id);
            let place = place.clone();
            // What cannot be unlinked is at the next start: the run is there.
            if let Err(error) = self.blocking(move || place.remove_upload(upload_id)).await? {
                tracing::warn!(%error, "what is left of an upload cannot be deleted yet");
            }
        }
        Ok(())
    }

    /// A committed run.
    pub(super) fn run(&self, server_id: Uuid, run_id: RunId) -> Option<VaultRun> {
        self.book.client(server_id, |client| client.run(run_id).map(VaultRun::from))
    }

    /// A committed run, or why there is none.
    pub(super) fn run_or_not(&self, server_id: Uuid, run_id: RunId) -> Result<VaultRun, Problem> {
        let deleted = || self.book.client(server_id, |client| client.is_deleted(run_id));
        self.run(server_id, run_id).ok_or_else(|| match deleted() {
            true => VaultClientRefusal::RunDeleted(run_id).into(),
            false => VaultClientRefusal::RunNotFound(run_id).into(),
        })
    }

    /// Committed runs of a client, the one received last first.
    pub(super) fn runs(&self, server_id: Uuid, cursor: Option<&str>, limit: usize) -> Result<VaultRuns, Problem> {
        let before = match cursor.map(str::parse::<u64>) {
            None => u64::MAX,
            Some(Ok(before)) => before,
            Some(Err(_)) => return Err(Problem::new(400, "INVALID_DATA", "the cursor is none that was given here")),
        };
        let limit = limit.clamp(1, MAX_PAGE);
        let mut found: Vec<(u64, VaultRun)> = self.book.client(server_id, |client| {
            client.runs_before(before).take(limit + 1).map(|(number, run)| (number, run.into())).collect()
        });
        let more = found.len() > limit;
        found.truncate(limit);
        let next_cursor = found.last().filter(|_| more).map(|(number, _)| number.to_string());
        Ok(VaultRuns { rows: found.into_iter().map(|(_, run)| run).collect(), next_cursor })
    }

    /// Adds what the manifests say to a list of runs. One that cannot be read says nothing.
    pub(super) async fn summarize(
        self: &Arc<Self>,
        server_id: Uuid,
        mut runs: VaultRuns,
    ) -> Result<VaultRuns, Problem> {
        let _slot = self.slots.send(server_id, &self.limits)?;
        let place = self.place(server_id);
        let read = move || {
            for row in &mut runs.rows {
                let path = place.run(row.run_id).join(MANIFEST);
                row.summary = summary(&path)
                    .inspect_err(|error| tracing::warn!(run_id = %row.run_id, %error, "a manifest cannot be read"))
                    .ok();
            }
            runs
        };
        Ok(self.blocking(read).await?)
    }

    /// Who somebody is here.
    pub(super) fn standing(&self, visitor: &Visitor) -> VaultStanding {
        self.book.client(visitor.server_id, |client| VaultStanding {
            vault_id: self.home.identity().server_id,
            server_id: visitor.server_id,
            token: visitor.name.clone(),
            permission: visitor.permission.to_string(),
            runs: client.run_count() as u64,
            stored_bytes: client.stored_bytes(),
            promised_bytes: client.promised_bytes(),
            quota_bytes: visitor.quota_bytes,
            now: SystemClock.now().seconds(),
        })
    }

    /// Deletes a run.
    pub(super) async fn delete_run(
        self: &Arc<Self>,
        server_id: Uuid,
        by: &str,
        run_id: RunId,
    ) -> Result<(), VaultError> {
        let (vault, by) = (self.clone(), by.to_owned());
        self.to_the_end(async move {
            let _one_at_a_time = vault.committing.lock().await;
            vault.book.tell_client(server_id, &by, VaultClientCommand::RequestDelete(run_id)).await?;
            vault.retire(server_id, &by, run_id).await
        })
        .await
    }

    async fn retire(self: &Arc<Self>, server_id: Uuid, by: &str, run_id: RunId) -> Result<(), VaultError> {
        let place = self.place(server_id);
        self.blocking(move || place.retire(run_id)).await??;
        self.book.tell_client(server_id, by, VaultClientCommand::ConfirmDelete(run_id)).await?;
        let (place, vault) = (self.place(server_id), self.clone());
        // An upload that is being begun has a directory before it is known.
        let _none_begins = self.creating.lock().await;
        let swept = self.blocking(move || vault.sweep_unknown(server_id).and_then(|()| place.sweep_deleted())).await?;
        if let Err(error) = swept {
            tracing::warn!(%run_id, %error, "what was deleted cannot be unlinked yet");
        }
        Ok(())
    }

    /// Deletes directories of uploads that are not open. Blocks.
    fn sweep_unknown(&self, server_id: Uuid) -> Result<(), VaultError> {
        let known = |upload_id| {
            self.book.client(server_id, |client| client.upload(upload_id).is_some())
                || self.active().contains_key(&upload_id)
        };
        self.place(server_id).sweep_uploads(known)
    }

    /// Brings to its end what a process before began: runs that are owed, uploads that nobody knows or that are lost.
    pub(super) async fn recover(self: &Arc<Self>) -> Result<(), VaultError> {
        for server_id in self.book.clients() {
            for owed in self.book.client(server_id, |client| client.owed()) {
                let settled = match owed {
                    Owed::Commit(run_id) => self.publish(server_id, OWN, run_id).await,
                    Owed::Delete(run_id) => self.retire(server_id, OWN, run_id).await,
                };
                // The others are not to wait for one whose files somebody took away.
                if let Err(error) = settled {
                    tracing::error!(%server_id, ?owed, %error, "a run cannot be settled: `holdfast vault delete` gives it up");
                }
            }
            let open: Vec<_> = self.book.client(server_id, |client| {
                let wanted = client.uploads().filter(|(_, upload)| !client.is_committing(upload.run_id));
                wanted.map(|(upload_id, _)| upload_id).collect()
            });
            for upload_id in open {
                if self.place(server_id).measure(upload_id).is_err() {
                    self.end_upload(server_id, OWN, upload_id, UploadEnd::Lost).await?;
                }
            }
            let vault = self.clone();
            let sweep = move || vault.sweep_unknown(server_id).and_then(|()| vault.place(server_id).sweep_deleted());
            if let Err(error) = self.blocking(sweep).await? {
                tracing::warn!(%server_id, %error, "what was deleted cannot be unlinked yet");
            }
        }
        self.expire().await
    }

    /// Ends the uploads of runs for which nothing came for too long.
    pub(super) async fn expire(self: &Arc<Self>) -> Result<(), VaultError> {
        let after = i64::try_from(self.limits.expire_after.as_micros()).unwrap_or(i64::MAX);
        let now = SystemClock.now().0;
        for server_id in self.book.clients() {
            let mut runs: BTreeMap<RunId, (i64, Vec<Uuid>)> = BTreeMap::new();
            let open: Vec<_> = self.book.client(server_id, |client| {
                let wanted = client.uploads().filter(|(_, upload)| !client.is_committing(upload.run_id));
                wanted.map(|(id, upload)| (id, upload.run_id, upload.created_at.0)).collect()
            });
            for (upload_id, run_id, created_at) in open {
                let came = self.place(server_id).measure(upload_id).map_or(created_at, |(_, came)| came);
                let came = if self.is_busy(upload_id) { now } else { came.max(created_at) };
                let (last, of_run) = runs.entry(run_id).or_insert((came, Vec::new()));
                *last = came.max(*last);
                of_run.push(upload_id);
            }
            for (run_id, (last, uploads)) in runs.into_iter().filter(|(_, (last, _))| last.saturating_add(after) < now)
            {
                tracing::info!(%server_id, %run_id, idle_us = now - last, "an unfinished run is deleted: nothing came for it");
                for upload_id in uploads {
                    match self.end_upload(server_id, OWN, upload_id, UploadEnd::Expired).await {
                        // It ended, or its run is being committed, just now.
                        Ok(()) | Err(VaultError::Client(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }
}
