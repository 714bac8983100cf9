//! Safety snapshots go once they have been kept as long as they are to be: at each start, and after each restore.
//!
//! That one goes is recorded before it does, so that nobody is sent to what is not there; where the process dies in between, the next
//! sweep takes it away. The newest one stays, however old it is, and so does one that may be needed to put things back.

use std::time::Duration;

use holdfast_model::ids::{RestoreId, Timestamp};
use holdfast_model::restore::{Restore, RestoreCommand};

use super::super::{EngineError, Holdfast, backups};
use super::blocking;
use crate::storage::Storage;

impl Holdfast {
    /// Removes the safety snapshots whose time is over. What cannot be removed stays until the next time.
    pub(in crate::engine) async fn sweep_safety_snapshots(&self) {
        if let Err(error) = self.sweep_now().await {
            tracing::warn!(%error, "safety snapshots that are to go stay until the next sweep");
        }
    }

    async fn sweep_now(&self) -> Result<(), EngineError> {
        let there = Storage::at(self.home().backups()).safety_snapshots()?;
        if there.is_empty() {
            return Ok(());
        }
        let newest_first: Vec<_> = self
            .read(|known| {
                let all = known.history.restores_newest_first().map(|entry| entry.restore_id);
                all.filter(|restore_id| there.contains(restore_id)).collect()
            })
            .await?;
        let (keep, now) = (self.config().restores.keep_safety, self.now());
        let mut newest = true;
        for restore_id in newest_first {
            let restore = self.restore_run(restore_id).await?;
            // A process died before it could take it away, or it never came to be a whole one.
            if !restore.is_open() && !restore.keeps_safety_snapshot() {
                self.take_away(restore_id).await;
                continue;
            }
            let stays = std::mem::take(&mut newest);
            if !stays && keep.is_some_and(|keep| is_over(&restore, keep, now)) {
                self.for_restore(restore_id, RestoreCommand::RemoveSafety).await?;
                holdfast_log::fault::point("restore.safety_removed");
                self.take_away(restore_id).await;
            }
        }
        Ok(())
    }

    async fn take_away(&self, restore_id: RestoreId) {
        let storage = Storage::at(self.home().backups());
        let taken = blocking(move || {
            storage.delete_safety_snapshot(restore_id).map_err(|error| backups::failure(&error))?;
            // Out of its place it does not exist any more; what cannot be unlinked now is at the next start.
            storage.sweep().map_err(|error| backups::failure(&error))
        });
        match taken.await {
            Ok(_) => tracing::info!(%restore_id, "a safety snapshot was removed: it was kept as long as it was to be"),
            Err(failure) => tracing::warn!(%restore_id, %failure, "a safety snapshot cannot be removed"),
        }
    }
}

fn is_over(restore: &Restore, keep: Duration, now: Timestamp) -> bool {
    let since = restore.finished_at.map(|at| now.seconds_since(at));
    restore.may_remove_safety() && since.is_some_and(|seconds| seconds >= keep.as_secs())
}
