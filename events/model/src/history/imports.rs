//! Runs that come back from endpoints: which are on their way, and how those that were not known before stand among the others.

use std::collections::BTreeMap;

use super::{History, RunEntry};
use crate::codec::Envelope;
use crate::event::RunEvent;
use crate::ids::RunId;
use crate::run::{RunImportedV1, RunType};

/// Imports that were begun and have not ended, with what their runs are, where that was not known.
pub(super) type Imports = BTreeMap<RunId, Option<RunImportedV1>>;

impl History {
    pub(super) fn apply_import(&mut self, event: &RunEvent, envelope: &Envelope) {
        let Some(run_id) = envelope.stream.run_id() else { return };
        match event {
            RunEvent::ImportRequested(_) => {
                self.imports.entry(run_id).or_default();
            }
            RunEvent::Imported(facts) => {
                self.imports.entry(run_id).and_modify(|known| *known = Some(facts.clone()));
            }
            RunEvent::ImportFailed(_) => {
                self.imports.remove(&run_id);
            }
            RunEvent::ImportCompleted(_) => {
                let facts = self.imports.remove(&run_id).flatten();
                if let Some(facts) = facts.filter(|_| !self.places.contains_key(&run_id)) {
                    self.arrived(run_id, &facts, envelope);
                }
            }
            _ => {}
        }
    }

    fn arrived(&mut self, run_id: RunId, facts: &RunImportedV1, envelope: &Envelope) {
        let position = envelope.position;
        self.highest_counter = self.highest_counter.max(run_id.counter());
        self.places.insert(run_id, position);
        let entry = RunEntry {
            run_id,
            requested: position,
            scoped: facts.run_type == RunType::Scoped,
            trigger: facts.trigger,
            outcome: Some(facts.outcome),
            // It ended elsewhere: nobody here waits to be told of that.
            ended: None,
            ended_at: Some(facts.finished_at),
            ad_hoc: false,
            verified_at: None,
            damaged: false,
            locked: false,
            deleted: false,
            kept_remotely: false,
            leaving: false,
            copies: super::CopyCounts::default(),
            there: super::CopiesThere::default(),
            deleting: false,
            imported: true,
            foreign: self.server_id != Some(facts.server_id),
        };
        self.runs.insert(position, entry);
    }

    /// Runs whose import was begun and has not ended.
    pub fn importing(&self) -> impl Iterator<Item = RunId> {
        self.imports.keys().copied()
    }

    /// The runs of this installation, the newest first. Its numbers only go up: by them those find their place among the others that came
    /// back from an endpoint, in whatever order.
    #[must_use]
    pub fn made_here(&self) -> Vec<&RunEntry> {
        let mut runs: Vec<_> = self.newest_first().filter(|entry| !entry.foreign).collect();
        if runs.iter().any(|entry| entry.imported) {
            runs.sort_by_key(|entry| std::cmp::Reverse(entry.run_id.counter()));
        }
        runs
    }
}
