//! Runs as they were folded last, so that who asks again only waits for what has been recorded since.
//!
//! A list shows a hundred runs and is asked for often; folding each of them from its stream every time takes more of a processor than a
//! backup does. What is kept is what a fold of the stream up to that version gives, no more: it may be forgotten at any time. It is
//! bounded by the events that were folded, as a run grows with them; who was asked for longest ago goes first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_model::ids::{RunId, Version};
use holdfast_model::run::{Places, Run, RunStatus};
use serde_json::value::RawValue;

use super::json;

/// A run as lists show it.
#[derive(Clone)]
pub(crate) struct RunRow {
    pub(crate) status: RunStatus,
    /// It as JSON, written once.
    pub(crate) json: Arc<RawValue>,
}

impl RunRow {
    /// `None` before it was asked for.
    fn of(run: &Run, places: &Places) -> Option<Self> {
        let view = run.view_at(true, places)?;
        Some(Self { status: view.status, json: json(&view) })
    }
}

/// Most events of all runs that are kept: about a thousand runs, or 20 MB.
const MAX_EVENTS: u64 = 40_000;

/// See the module.
#[derive(Default)]
pub(super) struct FoldedRuns {
    kept: Mutex<Kept>,
    /// Held by whoever folds.
    pub(super) folding: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    runs: HashMap<RunId, Folded>,
    events: u64,
    /// Counts what is asked for: the order in which runs go.
    asked: u64,
}

struct Folded {
    run: Arc<Run>,
    /// As it was written last, and where endpoints were then.
    row: Option<(RunRow, Arc<Places>)>,
    version: Version,
    asked: u64,
}

impl FoldedRuns {
    /// A run, and how many events of its stream it is folded from.
    pub(super) fn get(&self, run_id: RunId) -> Option<(Arc<Run>, Version)> {
        let mut kept = self.kept();
        kept.asked += 1;
        let asked = kept.asked;
        let folded = kept.runs.get_mut(&run_id)?;
        folded.asked = asked;
        Some((folded.run.clone(), folded.version))
    }

    /// The row of a run that was got here.
    pub(super) fn row(&self, run_id: RunId, run: &Arc<Run>, places: &Arc<Places>) -> Option<RunRow> {
        let written = self.kept().runs.get(&run_id).filter(|kept| Arc::ptr_eq(&kept.run, run)).and_then(|kept| {
            let (row, at) = kept.row.as_ref()?;
            (run.copies().is_empty() || Arc::ptr_eq(at, places)).then(|| row.clone())
        });
        if written.is_some() {
            return written;
        }
        // Not under the lock: it takes long.
        let row = RunRow::of(run, places)?;
        if let Some(kept) = self.kept().runs.get_mut(&run_id).filter(|kept| Arc::ptr_eq(&kept.run, run)) {
            kept.row = Some((row.clone(), places.clone()));
        }
        Some(row)
    }

    /// Keeps a run, unless more of it is kept already.
    pub(super) fn put(&self, run_id: RunId, run: Arc<Run>, version: Version) {
        let mut kept = self.kept();
        if version.0 > MAX_EVENTS || kept.runs.get(&run_id).is_some_and(|folded| folded.version >= version) {
            return;
        }
        kept.asked += 1;
        let folded = Folded { run, row: None, version, asked: kept.asked };
        let before = kept.runs.insert(run_id, folded).map_or(0, |folded| folded.version.0);
        kept.events += version.0 - before;
        if kept.events > MAX_EVENTS {
            kept.forget();
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Forgets runs until there is room for some more: not one by one, as each time all are looked through.
    fn forget(&mut self) {
        let mut order: Vec<_> = self.runs.iter().map(|(run_id, folded)| (folded.asked, *run_id)).collect();
        order.sort_unstable();
        for (_, run_id) in order {
            if self.events <= MAX_EVENTS - MAX_EVENTS / 8 {
                break;
            }
            self.events -= self.runs.remove(&run_id).map_or(0, |folded| folded.version.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_model::ids::Timestamp;

    use super::*;

    fn id(number: u32) -> RunId {
        RunId::new(Timestamp(0), number)
    }

    fn put(runs: &FoldedRuns, number: u32, version: u64) {
        runs.put(id(number), Arc::default(), Version(version));
    }

    #[test]
    fn what_is_newer_stays() {
        let runs = FoldedRuns::default();
        assert!(runs.get(id(1)).is_none());
        put(&runs, 1, 5);
        put(&runs, 1, 3);
        assert_eq!(runs.get(id(1)).unwrap().1, Version(5));
        put(&runs, 1, 9);
        assert_eq!(runs.get(id(1)).unwrap().1, Version(9));
        assert_eq!(runs.kept().events, 9);
    }

    #[test]
    fn what_was_asked_for_longest_ago_goes_first() {
        let runs = FoldedRuns::default();
        let each = MAX_EVENTS / 10;
        (1..=10).for_each(|number| put(&runs, number, each));
        assert!(runs.get(id(1)).is_some());
        put(&runs, 11, each);
        assert!(runs.kept().events <= MAX_EVENTS);
        assert!(runs.get(id(2)).is_none(), "it was there longest without being asked for");
        assert!(runs.get(id(1)).is_some() && runs.get(id(11)).is_some());
        put(&runs, 12, MAX_EVENTS + 1);
        assert!(runs.get(id(12)).is_none(), "one that is larger than all is not kept");
        let kept = runs.kept();
        assert_eq!(kept.events, kept.runs.values().map(|folded| folded.version.0).sum::<u64>());
    }
}
