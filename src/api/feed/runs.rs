//! `backup.progress`: how far the runs at work have come, and one `final` for each that ends.
//!
//! The finals are those of the history, in the order of the log, so there is one of every run that ended since, also of one that ended
//! between two looks or while the server was down. An update is told only while no end is known that has not been told, so nothing
//! follows a run's final.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use holdfast_model::ids::{Position, RunId};
use tokio::sync::watch;

use super::Next;
use crate::api::envelope::EventType;
use crate::engine::{EngineError, Holdfast, Shown};

/// Where nothing is shown anew, the history is looked at so often at most: other events may come by the thousand.
const PAUSE: Duration = Duration::from_millis(25);

pub(super) struct Runs {
    engine: Holdfast,
    shown: watch::Receiver<u64>,
    folded: watch::Receiver<Position>,
    /// All ends up to here were told.
    told: Position,
    /// What was told last of each run at work.
    last: BTreeMap<RunId, Weak<Shown>>,
    /// The run that was told of last: the others have their turn before it.
    turn: Option<RunId>,
}

impl Runs {
    pub(super) fn new(engine: &Holdfast, since: Position) -> Self {
        let (shown, folded) = (engine.watch_shown(), engine.watch_folded());
        Self { engine: engine.clone(), shown, folded, told: since, last: BTreeMap::new(), turn: None }
    }

    pub(super) async fn next(&mut self, last: Position) -> Next {
        loop {
            self.shown.mark_unchanged();
            self.folded.mark_unchanged();
            // Looked at before the history: an end that comes between the two is told first.
            let open = self.engine.runs_shown();
            let told = self.told;
            let (end, folded_to, open) = self
                .engine
                .read(|known| {
                    let history = &known.history;
                    let has_ended = |run_id| history.run(run_id).is_some_and(|entry| entry.ended.is_some());
                    let open: Vec<_> = open.into_iter().filter(|shown| !has_ended(shown.run_id)).collect();
                    (history.ends_after(told).next(), history.folded_to(), open)
                })
                .await?;
            if let Some((position, run_id)) = end {
                let progress = self.engine.final_progress(run_id, position).await?;
                self.told = position;
                return Ok(Some((EventType::Final, position, progress)));
            }
            self.told = self.told.max(folded_to);
            if let Some(shown) = self.news(&open) {
                return Ok(Some((EventType::Update, self.told, shown.json())));
            }
            if self.told >= last {
                return Ok(None);
            }
            self.wait().await?;
        }
    }

    /// What was not told yet of a run at work.
    fn news(&mut self, open: &[Arc<Shown>]) -> Option<Arc<Shown>> {
        self.last.retain(|run_id, _| open.iter().any(|shown| shown.run_id == *run_id));
        let is_told = |shown: &&Arc<Shown>| {
            self.last.get(&shown.run_id).is_some_and(|last| std::ptr::eq(last.as_ptr(), Arc::as_ptr(shown)))
        };
        let new = || open.iter().filter(|shown| !is_told(shown));
        let new = new().find(|shown| Some(shown.run_id) > self.turn).or_else(|| new().next())?;
        self.turn = Some(new.run_id);
        self.last.insert(new.run_id, Arc::downgrade(new));
        Some(new.clone())
    }

    async fn wait(&mut self) -> Result<(), EngineError> {
        tokio::select! {
            changed = self.shown.changed() => changed.map_err(|_| EngineError::Stopped),
            changed = self.folded.changed() => {
                changed.map_err(|_| EngineError::Stopped)?;
                tokio::time::sleep(PAUSE).await;
                Ok(())
            }
        }
    }
}
