//! What several participants have at the top of one folder, kept apart.
//!
//! Artifacts are restored side by side into a target. Where two participants have the same name at the top, one would be laid over the
//! other and nobody could tell afterwards whose is whose: so that is refused before anything is written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use holdfast_model::ids::ParticipantName;

use super::error::RestoreError;
use crate::files::{Entry, RawPath};

/// Names at the top of the target, and whose they are.
#[derive(Debug, Default)]
pub(super) struct Tops(BTreeMap<RawPath, ParticipantName>);

impl Tops {
    /// Adds those of one artifact.
    pub(super) fn add(&mut self, participant: &ParticipantName, names: BTreeSet<RawPath>) -> Result<(), RestoreError> {
        for path in names {
            match self.0.get(&path) {
                Some(one) if one != participant => {
                    return Err(RestoreError::SameName { path, one: one.clone(), other: participant.clone() });
                }
                _ => drop(self.0.insert(path, participant.clone())),
            }
        }
        Ok(())
    }
}

/// Notes an entry that is at the top: every path that is below one comes after it.
pub(super) fn note(entry: &io::Result<Entry>, names: &mut BTreeSet<RawPath>) {
    if let Ok(entry) = entry
        && !entry.path.as_bytes().contains(&b'/')
    {
        names.insert(entry.path.clone());
    }
}
