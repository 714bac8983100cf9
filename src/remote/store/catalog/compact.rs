//! Compaction: rows under `new/` go into a page, and rows of runs that were deleted out of theirs.
//!
//! In this order: new pages are put; then the pages they replace, the rows they hold and the marks that are old enough are taken away. See
//! the [module above](super) for why a crash between any two of these leaves nothing wrong.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_actors::ports::Clock;
use holdfast_model::ids::RunId;
use uuid::Uuid;

use super::{COMPACTION, Catalog, Page, TOMBSTONE_S, VERSION, json};
use crate::endpoints::StoreError;
use crate::endpoints::layer::stall::late;
use crate::engine::SystemClock;
use crate::remote::RemoteRun;
use crate::remote::store::names::{Folder, Mark, PageName};

/// Most marks of each kind that one compaction looks at, and most pages it puts anew: what is in memory.
const MOST_MARKS: usize = 4096;
const MOST_PAGES: usize = 50;

impl Catalog {
    /// Compacts where there is enough to do.
    pub(in crate::remote::store) async fn tidy(&self) -> Result<(), StoreError> {
        let compacting = tokio::time::timeout(COMPACTION, self.compact());
        compacting.await.unwrap_or_else(|_| Err(late(COMPACTION, "compact the catalogue".into())))
    }

    async fn compact(&self) -> Result<(), StoreError> {
        let now = SystemClock.now().seconds();
        let mut deleted: Vec<Mark> = self.list(Folder::Deleted).await?;
        let mut new: Vec<Mark> = self.list(Folder::New).await?;
        let pages: BTreeSet<PageName> = self.list(Folder::Pages).await?.into_iter().collect();
        // The compaction that put the newest page saw the marks before it.
        let newest = pages.iter().map(|page| page.id).max().unwrap_or(Uuid::nil());
        deleted.retain(|mark| mark.id > newest || mark.age(now) > TOMBSTONE_S);
        if new.len() < self.sizes.marks && deleted.len() < self.sizes.marks {
            return Ok(());
        }
        deleted.sort_by_key(|mark| mark.id);
        deleted.truncate(MOST_MARKS);
        new.sort_by_key(|mark| mark.id);
        new.truncate(MOST_MARKS);

        let rows = self.existing(self.marked(&new).await?, |_| true).await?;
        // A commit that is under way, or was given up, keeps its mark.
        new.retain(|mark| rows.contains_key(&mark.run_id));
        let open = self.open_pages(&pages);
        let dead: BTreeSet<RunId> = deleted.iter().map(|mark| mark.run_id).collect();
        let mut replaced: Vec<PageName> = Vec::new();
        let mut kept: BTreeSet<PageName> = pages.clone();
        for page in &pages {
            let is_open = open.contains(page) && !rows.is_empty();
            if is_open || (replaced.len() < MOST_PAGES && dead.iter().any(|run_id| page.spans(*run_id))) {
                kept.remove(page);
                replaced.push(*page);
            }
        }
        let mut together = BTreeMap::new();
        for page in &replaced {
            let left = self.existing(self.page(page).await?, |run_id| dead.contains(&run_id)).await?;
            match open.contains(page) {
                true => together.extend(left),
                // Each on its own, so that pages keep to their ranges.
                false if left.len() < page.rows => self.put_pages(left).await?,
                false => drop(kept.insert(*page)),
            }
        }
        // The later row of a run that is in both counts.
        together.extend(rows);
        self.put_pages(together).await?;

        let gone = replaced.into_iter().filter(|page| !kept.contains(page)).collect();
        self.delete(Folder::Pages, gone).await?;
        self.delete(Folder::New, new).await?;
        let mut unsettled: Vec<Mark> = deleted;
        unsettled.retain(|mark| mark.age(now) > TOMBSTONE_S);
        self.settle(unsettled, &pages, &kept).await
    }

    /// The newest page where it has room, and others with room that reach into it.
    fn open_pages(&self, pages: &BTreeSet<PageName>) -> BTreeSet<PageName> {
        let has_room = |page: &&PageName| page.rows < self.sizes.rows;
        let newest = pages.last().filter(has_room);
        let Some(newest) = newest else { return BTreeSet::new() };
        pages.iter().filter(has_room).filter(|page| page.overlaps(newest)).copied().collect()
    }

    /// Takes old marks away for whose runs every page that could have a row was looked through.
    async fn settle(
        &self,
        old: Vec<Mark>,
        pages: &BTreeSet<PageName>,
        kept: &BTreeSet<PageName>,
    ) -> Result<(), StoreError> {
        let mut settled = Vec::new();
        for mark in old {
            let is_open = kept.iter().filter(|page| pages.contains(page)).any(|page| page.spans(mark.run_id));
            // A run that is there again may have its row anywhere.
            if !is_open || self.exists(mark.run_id).await? {
                settled.push(mark);
            }
        }
        self.delete(Folder::Deleted, settled).await
    }

    /// Puts rows into pages, each full but for the newest.
    pub(super) async fn put_pages(&self, rows: BTreeMap<RunId, RemoteRun>) -> Result<(), StoreError> {
        let rows: Vec<RemoteRun> = rows.into_values().collect();
        for some in rows.chunks(self.sizes.rows.max(1)) {
            let (Some(first), Some(last)) = (some.first(), some.last()) else { continue };
            let name = PageName { first: first.run_id, last: last.run_id, rows: some.len(), id: Uuid::now_v7() };
            let text = json(&Page { version: VERSION, rows: some.to_vec() })?;
            self.put(&self.names.in_folder(Folder::Pages, &name)?, text).await?;
        }
        Ok(())
    }
}
