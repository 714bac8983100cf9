//! Participants that a restore left as nobody asked for: it could not be rolled back.
//!
//! They are so until that restore is rolled back, a later one of all of them completes, or somebody ends the maintenance that it left on,
//! which is his word that he has seen to it.

use std::collections::BTreeMap;

use crate::event::{MaintenanceEvent, RestoreEvent};
use crate::ids::{ParticipantName, RestoreId};

/// Which participants are left so, and by which restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HalfRestored {
    /// Those of restores that have not ended well.
    of: BTreeMap<RestoreId, Vec<ParticipantName>>,
    left: BTreeMap<ParticipantName, RestoreId>,
}

impl HalfRestored {
    pub(super) fn apply(&mut self, restore_id: RestoreId, event: &RestoreEvent) {
        match event {
            RestoreEvent::ParticipantPlanned(planned) => {
                self.of.entry(restore_id).or_default().push(planned.participant.clone());
            }
            RestoreEvent::RollbackFailed(_) => {
                let names = self.of.get(&restore_id).into_iter().flatten();
                self.left.extend(names.map(|name| (name.clone(), restore_id)));
            }
            RestoreEvent::Completed(_) | RestoreEvent::RolledBack(_) => {
                for name in self.of.remove(&restore_id).into_iter().flatten() {
                    self.left.remove(&name);
                }
            }
            RestoreEvent::Failed(_) => {
                self.of.remove(&restore_id);
            }
            _ => {}
        }
    }

    pub(super) fn seen_to(&mut self, event: &MaintenanceEvent) {
        if matches!(event, MaintenanceEvent::Disabled(_)) {
            self.left.clear();
        }
    }

    /// The restore that left this participant so.
    #[must_use]
    pub fn by(&self, name: &ParticipantName) -> Option<RestoreId> {
        self.left.get(name).copied()
    }

    /// The newest restore that left any so.
    #[must_use]
    pub fn newest(&self) -> Option<RestoreId> {
        self.left.values().max_by_key(|restore_id| restore_id.0).copied()
    }
}
