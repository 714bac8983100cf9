//! The catalogue made anew from the runs, whatever is left of it.
//!
//! What the catalogue had is noted first; then the runs are looked through; then pages are put; then what was noted is taken away, but for rows of
//! commits that had not come to their manifest yet, and for marks of deletions. So a run that is committed meanwhile keeps its row, and one that is
//! deleted meanwhile its mark.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};
use holdfast_model::ids::{RunId, Sha256};

use super::{AT_ONCE, Catalog};
use crate::endpoints::{ErrorKind, MAX_PAGE, Range, StoreError};
use crate::remote::RemoteRun;
use crate::remote::lists::{Lists, MAX_LIST, whole};
use crate::remote::store::names::{Folder, Mark, PageName};
use crate::storage::{MANIFEST, SUMS};

/// What a row says where a manifest cannot be read.
const UNKNOWN: &str = "unknown";

impl Catalog {
    /// Makes the catalogue anew. Answers how many runs there are.
    pub(in crate::remote::store) async fn rebuild(&self) -> Result<u64, StoreError> {
        let mut new: Vec<Mark> = self.list(Folder::New).await?;
        let old: Vec<PageName> = self.list(Folder::Pages).await?;
        let rows = self.rows_of_runs(None).await?;
        let rows: BTreeMap<RunId, RemoteRun> = rows.into_iter().map(|row| (row.run_id, row)).collect();
        let count = rows.len() as u64;
        new.retain(|mark| rows.contains_key(&mark.run_id));
        self.put_pages(rows).await?;
        self.delete(Folder::Pages, old).await?;
        self.delete(Folder::New, new).await?;
        Ok(count)
    }

    /// The rows of runs that exist, from their manifests; of all, or from one run to another.
    pub(super) async fn rows_of_runs(&self, range: Option<(RunId, RunId)>) -> Result<Vec<RemoteRun>, StoreError> {
        let prefix = self.names.runs()?;
        let mut after = range.map(|(first, _)| self.names.before(first)).transpose()?;
        let mut found: BTreeSet<(RunId, Option<SystemTime>)> = BTreeSet::new();
        'list: loop {
            let page = self.store.list(&prefix, after.as_ref(), MAX_PAGE).await?;
            for entry in &page.entries {
                let Some((run_id, file)) = self.names.file_of(&entry.name) else { continue };
                if file.as_str() != MANIFEST {
                    continue;
                }
                // Names of runs sort as runs do, but for numbers of more than six digits.
                match range {
                    Some((first, last)) if !(first..=last).contains(&run_id) => {}
                    _ => drop(found.insert((run_id, entry.modified))),
                }
            }
            after = page.next;
            if after.is_none() {
                break 'list;
            }
        }
        let reading = found.into_iter().map(|(run_id, at)| async move { self.row_of_run(run_id, at).await });
        let rows: Vec<Option<RemoteRun>> = stream::iter(reading).buffered(AT_ONCE).try_collect().await?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// The row of a run, from its lists; none where it does not exist.
    pub(super) async fn row_of_run(
        &self,
        run_id: RunId,
        received: Option<SystemTime>,
    ) -> Result<Option<RemoteRun>, StoreError> {
        let received_at = received
            .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_secs()).ok())
            .unwrap_or(0);
        let lists = async {
            let manifest = self.list_of_run(run_id, MANIFEST).await?;
            let sums = self.list_of_run(run_id, SUMS).await?;
            Lists::read(run_id, manifest, sums, ErrorKind::Altered)
        };
        match lists.await {
            Ok(lists) => Ok(Some(lists.row(received_at))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Altered | ErrorKind::Fatal) => {
                if !self.exists(run_id).await? {
                    return Ok(None);
                }
                // It exists, and is listed: whoever fetches it is told what is wrong with it.
                tracing::warn!(%run_id, %error, "the lists of a run cannot be read");
                Ok(Some(RemoteRun {
                    run_id,
                    run_type: UNKNOWN.to_owned(),
                    status: UNKNOWN.to_owned(),
                    started_at: 0,
                    finished_at: 0,
                    received_at,
                    files: 0,
                    stored_bytes: 0,
                    encrypted: false,
                    sums_sha256: Sha256::default(),
                }))
            }
            Err(error) => Err(error),
        }
    }

    async fn list_of_run(&self, run_id: RunId, name: &str) -> Result<bytes::Bytes, StoreError> {
        let object = self.names.file(run_id, name)?;
        whole(self.store.get(&object, Range::ALL).await?, MAX_LIST, object.as_str()).await
    }
}
