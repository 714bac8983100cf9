//! The catalogue: what runs there are, in few objects.
//!
//! ```text
//! catalog/deleted/<run id>.<uuid>                   the deletion of a run was begun
//! catalog/new/<run id>.<uuid>                       the row of a run whose commit was begun
//! catalog/pages/<first>_<last>_<rows>.<uuid>        rows of up to 1,000 runs
//! ```
//!
//! A run exists exactly while its manifest is there; the catalogue only saves looking. Two things hold at every instant, whatever was
//! interrupted:
//!
//! 1. **A run that exists has a row** under `new/` or in a page. Its row is put under `new/` before its manifest; it is taken away from there only
//!    after a page that has it was put; and a page is taken away only after pages were put that have all its rows but those of runs that do
//!    not exist.
//! 2. **A row in a page is of a run that exists, or there is a mark under `deleted/`.** A row comes into a page once the manifest was seen. The mark
//!    is put before the manifest is deleted. It stays for a [day](TOMBSTONE_S), and then goes only after every page that could have the row was
//!    put anew without it.
//!
//! So a list is: all rows of pages, all rows under `new/`; and for those under `new/` or with a mark under `deleted/`, which are few, whether the
//! manifest is there. Between any two writes of a commit, a deletion or a [compaction](compact) both statements are true, and so the list is right
//! after a crash at any point; what the crash left over is an object too many, which says nothing wrong, and which the next compaction takes
//! away.
//!
//! *At the same time.* No name is used twice and nothing is replaced, so whoever works on an old view can only take away what he has read and put
//! somewhere else. Things move one way, from `new/` to a page, and from a page to a page. A list therefore looks at `deleted/`, `new/` and `pages/` in
//! this order, and looks at `pages/` again until it finds none that it has not read. Whatever existed all the time while the list was made is in
//! it; what did not exist at any time is not. Two compactions at once leave two pages with the same rows, of which each run is listed once. A
//! compaction that goes on with an old view could put a row back whose run has been deleted meanwhile: it has to end within
//! [an hour](COMPACTION), and the mark stays for a day.
//!
//! *Damage.* A page or row that cannot be read is made up for by the runs themselves, of which its name says the range.

mod compact;
mod rebuild;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdfast_model::ids::RunId;
use serde::{Deserialize, Serialize};

use super::names::{Folder, Mark, Names, PageName};
use crate::endpoints::{Bytewise, ErrorKind, Existing, MAX_PAGE, ObjectName, Put, Range, Store, StoreError};
use crate::remote::lists::whole;
use crate::remote::{RemotePage, RemoteRun};

/// How long the mark of a deletion stays, in seconds.
const TOMBSTONE_S: u64 = 24 * 3600;
/// How long a compaction may take.
const COMPACTION: Duration = Duration::from_secs(3600);
/// Most rows of a listed page.
const MOST: usize = 1000;
/// Most names of a folder of the catalogue.
const MOST_NAMES: usize = 500_000;
/// Longest page and longest single row that are read, in bytes.
const MAX_PAGE_BYTES: u64 = 4 << 20;
const MAX_ROW_BYTES: u64 = 16 << 10;
/// Longest text of a row, in bytes.
const MAX_TEXT: usize = 64;
/// Small questions that are asked at once.
const AT_ONCE: usize = 8;
/// How often `pages/` is looked at again while it changes.
const ROUNDS: usize = 20;
/// The version of a page.
const VERSION: u32 = 1;

/// How large things get before they are put together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Marks before a compaction.
    pub(super) marks: usize,
    /// Rows of a page.
    pub(super) rows: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { marks: 32, rows: 1000 }
    }
}

/// The catalogue of one installation in a store.
pub(super) struct Catalog {
    store: Arc<dyn Store>,
    names: Names,
    sizes: Sizes,
}

/// A page as it is kept.
#[derive(Serialize, Deserialize)]
struct Page {
    version: u32,
    rows: Vec<RemoteRun>,
}

impl Catalog {
    pub(super) fn new(store: Arc<dyn Store>, names: Names, sizes: Sizes) -> Self {
        Self { store, names, sizes }
    }

    /// Says that a run is about to exist. Comes before its manifest.
    pub(super) async fn announce(&self, row: &RemoteRun) -> Result<(), StoreError> {
        let name = self.names.in_folder(Folder::New, &Mark::new(row.run_id))?;
        self.put(&name, json(row)?).await
    }

    /// Says that a run is about to be deleted. Comes before its manifest's deletion.
    pub(super) async fn announce_deletion(&self, run_id: RunId) -> Result<(), StoreError> {
        let name = self.names.in_folder(Folder::Deleted, &Mark::new(run_id))?;
        self.put(&name, Bytes::from_static(b"{}\n")).await
    }

    /// Takes away the rows under `new/` of a run that does not exist any more.
    pub(super) async fn forget(&self, run_id: RunId) -> Result<(), StoreError> {
        let mut marks: Vec<Mark> = self.list(Folder::New).await?;
        marks.retain(|mark| mark.run_id == run_id);
        self.delete(Folder::New, marks).await
    }

    /// A page of the runs, the newest first. The cursor is the run before it.
    pub(super) async fn runs(&self, most: usize, cursor: &str) -> Result<RemotePage, StoreError> {
        let most = most.clamp(1, MOST);
        let wrong = |_| StoreError::new(ErrorKind::Fatal, "list the runs", "the cursor is none that was given here");
        let below = if cursor.is_empty() { None } else { Some(cursor.parse::<RunId>().map_err(wrong)?) };
        let is_wanted = |run_id: RunId| below.is_none_or(|below| run_id < below);
        let deleted: BTreeSet<RunId> =
            self.list::<Mark>(Folder::Deleted).await?.iter().map(|mark| mark.run_id).collect();
        let mut rows = self.new_rows(&is_wanted).await?;
        let mut seen = BTreeSet::new();
        for _ in 0..ROUNDS {
            let mut found = false;
            let pages: BTreeSet<PageName> = self.list(Folder::Pages).await?.into_iter().collect();
            for page in pages.into_iter().rev().filter(|page| is_wanted(page.first)) {
                // What is in this page and those behind it comes after enough others.
                if rows.range(page.last..).filter(|(run_id, _)| **run_id > page.last).take(most + 1).count() > most {
                    break;
                }
                if !seen.insert(page) {
                    continue;
                }
                found = true;
                let read = self.page(&page).await?.into_iter().filter(|row| is_wanted(row.run_id));
                let read = read.filter(|row| !rows.contains_key(&row.run_id)).collect();
                rows.extend(self.existing(read, |run_id| deleted.contains(&run_id)).await?);
            }
            if !found {
                return Ok(first(rows, most));
            }
        }
        Err(StoreError::new(ErrorKind::Retryable, "list the runs", "the list changes all the time"))
    }

    /// The rows under `new/` of runs that exist.
    async fn new_rows(&self, is_wanted: &impl Fn(RunId) -> bool) -> Result<BTreeMap<RunId, RemoteRun>, StoreError> {
        let mut marks: Vec<Mark> = self.list(Folder::New).await?;
        marks.retain(|mark| is_wanted(mark.run_id));
        let rows = self.marked(&marks).await?;
        self.existing(rows, |_| true).await
    }

    /// The rows of marks, those that were put last behind the others.
    async fn marked(&self, marks: &[Mark]) -> Result<Vec<RemoteRun>, StoreError> {
        let mut marks = marks.to_vec();
        marks.sort_by_key(|mark| mark.id);
        let reading = marks.into_iter().map(|mark| async move { self.row(&mark).await });
        let rows: Vec<Option<RemoteRun>> = stream::iter(reading).buffered(AT_ONCE).try_collect().await?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// The row of a mark; none where it was taken away meanwhile, or is no row and its run does not exist either.
    async fn row(&self, mark: &Mark) -> Result<Option<RemoteRun>, StoreError> {
        let Some(text) = self.get(&self.names.in_folder(Folder::New, mark)?, MAX_ROW_BYTES).await? else {
            return Ok(None);
        };
        match serde_json::from_slice::<RemoteRun>(&text) {
            Ok(row) if row.run_id == mark.run_id && is_legal(&row) => Ok(Some(row)),
            _ => self.row_of_run(mark.run_id, None).await,
        }
    }

    /// The rows of a page. Where it cannot be read they come from the runs; where it was taken away meanwhile there are none, and another page has
    /// them.
    async fn page(&self, page: &PageName) -> Result<Vec<RemoteRun>, StoreError> {
        let Some(text) = self.get(&self.names.in_folder(Folder::Pages, page)?, MAX_PAGE_BYTES).await? else {
            return Ok(Vec::new());
        };
        let legal = |read: &Page| {
            let fits = |row: &RemoteRun| page.spans(row.run_id) && is_legal(row);
            read.version == VERSION && read.rows.len() == page.rows && read.rows.iter().all(fits)
        };
        match serde_json::from_slice::<Page>(&text).ok().filter(legal) {
            Some(read) => Ok(read.rows),
            None => {
                tracing::warn!(%page, "a page of the catalogue cannot be read: the runs themselves are");
                self.rows_of_runs(Some((page.first, page.last))).await
            }
        }
    }

    /// Those of the rows whose runs exist, as far as that is in question. Of two of one run the later one counts.
    async fn existing(
        &self,
        rows: Vec<RemoteRun>,
        is_in_question: impl Fn(RunId) -> bool,
    ) -> Result<BTreeMap<RunId, RemoteRun>, StoreError> {
        let mut rows: BTreeMap<RunId, RemoteRun> = rows.into_iter().map(|row| (row.run_id, row)).collect();
        let asked: Vec<RunId> = rows.keys().copied().filter(|run_id| is_in_question(*run_id)).collect();
        let asking = asked.into_iter().map(|run_id| async move { Ok((run_id, self.exists(run_id).await?)) });
        let answers: Vec<Result<(RunId, bool), StoreError>> = stream::iter(asking).buffered(AT_ONCE).collect().await;
        for answer in answers {
            let (run_id, exists) = answer?;
            if !exists {
                rows.remove(&run_id);
            }
        }
        Ok(rows)
    }

    /// Takes away the rows of commits that were given up so long ago.
    pub(super) async fn sweep(&self, now: i64, older_than: Duration) -> Result<u64, StoreError> {
        let mut given_up = Vec::new();
        for mark in self.list::<Mark>(Folder::New).await? {
            if mark.age(now) > older_than.as_secs() && !self.exists(mark.run_id).await? {
                given_up.push(mark);
            }
        }
        let count = given_up.len() as u64;
        self.delete(Folder::New, given_up).await?;
        Ok(count)
    }

    pub(super) async fn exists(&self, run_id: RunId) -> Result<bool, StoreError> {
        match self.store.stat(&self.names.manifest(run_id)?).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is in a folder of the catalogue. Names that are none of ours are passed over.
    async fn list<T: FromStr>(&self, folder: Folder) -> Result<Vec<T>, StoreError> {
        let prefix = self.names.folder(folder)?;
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list(&prefix, after.as_ref(), MAX_PAGE).await?;
            found.extend(page.entries.iter().filter_map(|entry| self.names.read(folder, &entry.name)));
            after = page.next;
            if after.is_none() {
                return Ok(found);
            }
            if found.len() > MOST_NAMES {
                let doing = format!("list {}", prefix.as_str());
                return Err(StoreError::new(ErrorKind::Fatal, doing, "there are too many files in one folder"));
            }
        }
    }

    async fn put(&self, name: &ObjectName, text: Bytes) -> Result<(), StoreError> {
        let put = Put { existing: Existing::Refuse, ..Put::default() };
        self.store.put(name, &Bytewise(text), &put).await.map(drop)
    }

    /// A small object; none where there is none.
    async fn get(&self, name: &ObjectName, most: u64) -> Result<Option<Bytes>, StoreError> {
        let read = async {
            let stream = self.store.get(name, Range { from: 0, length: Some(most + 1) }).await?;
            whole(stream, most + 1, name.as_str()).await
        };
        match read.await {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, folder: Folder, names: Vec<impl std::fmt::Display>) -> Result<(), StoreError> {
        let names: Result<Vec<_>, _> = names.iter().map(|name| self.names.in_folder(folder, name)).collect();
        let deleting = names?.into_iter().map(|name| async move { self.store.delete(&name).await });
        stream::iter(deleting).buffer_unordered(AT_ONCE).try_collect().await
    }
}

/// The newest so many.
fn first(rows: BTreeMap<RunId, RemoteRun>, most: usize) -> RemotePage {
    let more = rows.len() > most;
    let rows: Vec<RemoteRun> = rows.into_values().rev().take(most).collect();
    let next_cursor = rows.last().filter(|_| more).map(|row| row.run_id.to_string());
    RemotePage { rows, next_cursor }
}

/// Whether a row's texts are such as a manifest has.
fn is_legal(row: &RemoteRun) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    [&row.run_type, &row.status].into_iter().all(|text| text.len() <= MAX_TEXT && text.bytes().all(legal))
}

fn json(value: &impl Serialize) -> Result<Bytes, StoreError> {
    let mut text = serde_json::to_vec(value)
        .map_err(|error| StoreError::new(ErrorKind::Fatal, "write the catalogue", error.to_string()))?;
    text.push(b'\n');
    Ok(text.into())
}
