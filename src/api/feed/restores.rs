//! `restore.progress`: restores that have begun, and one `final` for each that ends.
//!
//! Of one into a folder there is nothing to tell in between; of one in place there is each step.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_model::ids::{Position, RestoreId};
use holdfast_model::restore::RestoreView;
use tokio::sync::watch;

use super::Next;
use crate::api::envelope::EventType;
use crate::engine::{EngineError, Holdfast, json};

/// The history is looked at so often at most: other events may come by the thousand.
const PAUSE: Duration = Duration::from_millis(25);

pub(super) struct Restores {
    engine: Holdfast,
    folded: watch::Receiver<Position>,
    /// All ends up to here were told.
    told: Position,
    /// Open ones, as they were told last.
    begun: BTreeMap<RestoreId, RestoreView>,
}

impl Restores {
    pub(super) fn new(engine: &Holdfast, since: Position) -> Self {
        Self { engine: engine.clone(), folded: engine.watch_folded(), told: since, begun: BTreeMap::new() }
    }

    pub(super) async fn next(&mut self, last: Position) -> Next {
        loop {
            self.folded.mark_unchanged();
            let told = self.told;
            let (end, folded_to, open) = self
                .engine
                .read(|known| {
                    let history = &known.history;
                    (history.restore_ends_after(told).next(), history.folded_to(), history.open_restores())
                })
                .await?;
            if let Some((position, restore_id)) = end {
                let restore = self.engine.restore_run(restore_id).await?;
                self.told = position;
                return Ok(Some((EventType::Final, position, json(&restore.view(true)))));
            }
            self.told = self.told.max(folded_to);
            self.begun.retain(|restore_id, _| open.contains(restore_id));
            for restore_id in open {
                let restore = self.engine.restore_run(restore_id).await?;
                // Where it has ended meanwhile its final is what there is to tell.
                if restore.finished_at.is_some() {
                    continue;
                }
                let Some(view) = restore.view(self.engine.restore_at_work(restore_id)) else { continue };
                if self.begun.get(&restore_id) == Some(&view) {
                    continue;
                }
                self.begun.insert(restore_id, view.clone());
                return Ok(Some((EventType::Update, self.told, json(&view))));
            }
            if self.told >= last {
                return Ok(None);
            }
            self.folded.changed().await.map_err(|_| EngineError::Stopped)?;
            tokio::time::sleep(PAUSE).await;
        }
    }
}
