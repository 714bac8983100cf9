//! How a restore in place begins, is stopped, tried again, and settled by the process after.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use holdfast_actors::event_sourced::replay;
use holdfast_actors::ports::Restores;
use holdfast_actors::restore::RestoreHandle;
use holdfast_actors::restores::ForRestore;
use holdfast_actors::root::Root;
use holdfast_log::ReadLog;
use holdfast_model::codec::Origin;
use holdfast_model::history::History;
use holdfast_model::ids::{ParticipantName, RestoreId, RunId, StreamId};
use holdfast_model::restore::{
    NewParticipant, NewRestore, Restore, RestoreCommand, RestoreRequestedV3, RestoreStatus, Safety,
};

use super::super::plan::millis;
use super::super::registry::Registry;
use super::super::{EngineError, Holdfast, RestoreClaim, ViewError};
use super::gate::Now;
use super::plan::PlannedParticipant;
use super::{InPlacePlan, Restorer};
use crate::encryption::FileKeys;

/// What was said of a restore in place beside what is restored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// Whether it is made without maintenance being on.
    pub(crate) force: bool,
    /// What is kept of the state before.
    pub(crate) safety: Safety,
    /// How long it may take, zero for as long as it takes; as configured where nothing is said.
    pub(crate) timeout: Option<Duration>,
}

impl Holdfast {
    /// Begins a restore in place. It goes on by itself, also where nobody watches it. `keys` open the run's files where it is
    /// encrypted; they are kept until the restore has ended, and the identity is not needed any more.
    ///
    /// # Errors
    /// [`EngineError::Restoring`] where another one is at work, [`EngineError::BackupAtWork`] where a backup is; [`EngineError::Claim`]
    /// where the home cannot be written; where it cannot be recorded.
    pub(crate) async fn restore_in_place(
        &self,
        run_id: RunId,
        plan: InPlacePlan,
        asked: Asked,
        keys: Option<FileKeys>,
    ) -> Result<RestoreHandle, EngineError> {
        let restore_id = RestoreId(self.shared.world.clock.new_id());
        let names: Vec<_> = plan.participants.iter().map(|one| one.named.name.clone()).collect();
        let listed: Vec<_> = names.iter().map(ParticipantName::as_str).collect();
        let participants = plan.participants.iter().map(|one| one.named.clone()).collect();
        let request = RestoreRequestedV3 {
            restore_id,
            source_run: run_id,
            target: format!("{}, in place", listed.join(", ")),
            staging: Vec::new(),
            selections: 0,
            overwrite: true,
            delete: plan.delete,
            force: asked.force,
            safety: asked.safety,
            timeout_ms: asked.timeout.or(self.config().restores.timeout).map_or(0, millis),
            participants,
        };
        let command = RestoreCommand::Begin(NewRestore {
            request,
            participants: plan.participants.into_iter().map(planned).collect(),
        });
        self.admitted(restore_id, names, command, keys).await
    }

    /// Rolls a restore back once more that ended `rollback_failed`.
    ///
    /// # Errors
    /// [`EngineError`] with the code `RESTORE_NOT_RETRYABLE` or `NO_SAFETY_SNAPSHOT`; as a restore that begins.
    pub async fn retry_restore(&self, restore_id: RestoreId) -> Result<RestoreHandle, EngineError> {
        let restore = self.restore_run(restore_id).await?;
        let names: Vec<_> = restore.participants().iter().map(|one| one.name().clone()).collect();
        if let Some(later) = self.restored_since(restore_id, &names).await? {
            return Err(EngineError::RestoredSince { restore_id, later });
        }
        // What was before is not encrypted.
        self.admitted(restore_id, names, RestoreCommand::Retry, None).await
    }

    /// A later restore that left its mark on one of these participants: what was before this one is not what was before that.
    async fn restored_since(
        &self,
        restore_id: RestoreId,
        names: &[ParticipantName],
    ) -> Result<Option<RestoreId>, EngineError> {
        let later: Vec<_> = self
            .read(|known| {
                let newest = known.history.restores_newest_first().map(|entry| entry.restore_id);
                newest.take_while(|other| *other != restore_id).collect()
            })
            .await?;
        for other in later {
            let restore = self.restore_run(other).await?;
            let marks = matches!(restore.status, RestoreStatus::Completed | RestoreStatus::RollbackFailed);
            if marks && restore.participants().iter().any(|one| names.contains(one.name())) {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    /// Asks a restore in place to stop: what it touched is put back.
    ///
    /// # Errors
    /// [`EngineError`] with the code `RESTORE_RUN_NOT_ACTIVE` where it has ended, or is of another kind.
    pub async fn cancel_restore(&self, restore_id: RestoreId, reason: &str) -> Result<RestoreHandle, EngineError> {
        self.restore_run(restore_id).await?;
        self.for_restore(restore_id, RestoreCommand::Cancel { reason: reason.to_owned() }).await
    }

    pub(in crate::engine) async fn for_restore(
        &self,
        restore_id: RestoreId,
        command: RestoreCommand,
    ) -> Result<RestoreHandle, EngineError> {
        let message = ForRestore { restore_id, command, origin: self.origin.clone() };
        Ok(self.shared.root.send(message).await.map_err(|_| EngineError::Stopped)??)
    }

    /// Gives a command that begins work, where nothing else is at work with the participants, and keeps others from them until its end.
    async fn admitted(
        &self,
        restore_id: RestoreId,
        participants: Vec<ParticipantName>,
        command: RestoreCommand,
        keys: Option<FileKeys>,
    ) -> Result<RestoreHandle, EngineError> {
        let restoring = &self.shared.restoring;
        let _gate = restoring.admit_restore(&participants)?.lock().await;
        restoring.admit_restore(&participants)?;
        if let Some(open) = self.open_run().await {
            return Err(EngineError::BackupAtWork(open.run_id));
        }
        // It says to others that the restore is alive; what is to be done about it after this process stands in the log.
        let claim = RestoreClaim::take(self.home(), restore_id).map_err(EngineError::Claim)?;
        if let Some(keys) = &keys {
            claim.keep_keys(keys).map_err(EngineError::Claim)?;
        }
        self.shared.restorer.claims(restore_id, claim);
        let mut handle = match self.for_restore(restore_id, command).await {
            Ok(handle) => handle,
            Err(error) => {
                self.shared.restorer.forget(restore_id);
                return Err(error);
            }
        };
        restoring.begins(Now { participants, restore_id });
        let (engine, watched) = (self.clone(), handle.clone());
        self.data_plane().spawn(async move {
            let _ = handle.released.wait_for(|released| *released).await;
            engine.shared.restoring.ends();
            let restore = handle.watch.borrow().clone();
            engine.after(restore_id, &restore).await;
        });
        Ok(watched)
    }

    /// What follows from a restore's end.
    async fn after(&self, restore_id: RestoreId, restore: &Restore) {
        let recorded = match restore.status {
            RestoreStatus::RollbackFailed => self.keep_maintenance(restore_id).await,
            RestoreStatus::RolledBack | RestoreStatus::Completed => self.end_kept_maintenance().await,
            _ => Ok(()),
        };
        if let Err(error) = recorded {
            tracing::error!(%restore_id, %error, "maintenance cannot be put on record");
        }
        self.sweep_safety_snapshots().await;
    }

    /// Settles the restores that wait for participants, as soon as these are registered: until the last of them is, or the engine ends.
    pub(in crate::engine) fn settle_late(&self) {
        if !self.shared.restoring.has_left() {
            return;
        }
        let (engine, mut changes) = (self.downgrade(), self.shared.registry.changes());
        self.data_plane().spawn(async move {
            while changes.changed().await.is_ok() {
                let Some(engine) = engine.upgrade() else { return };
                engine.settle_left().await;
                if !engine.shared.restoring.has_left() {
                    return;
                }
            }
        });
    }

    async fn settle_left(&self) {
        let (restoring, registry) = (&self.shared.restoring, &self.shared.registry);
        while let Some(now) = restoring.begin_left(|name| is_there(registry, name)).await {
            let restore_id = now.restore_id;
            let settled = settle_one(&self.shared.root, &self.shared.restorer, restore_id, &self.origin).await;
            if let Ok(Ok(restore)) = &settled {
                restoring.is_settled(restore_id);
                tracing::info!(%restore_id, status = restore.status.as_str(), "a restore that had waited for its participants is settled");
            }
            restoring.ends();
            match settled {
                Ok(Ok(restore)) => self.after(restore_id, &restore).await,
                Ok(Err(why)) => {
                    return tracing::error!(%restore_id, why, "a restore that waited for its participants cannot be settled yet");
                }
                Err(error) => {
                    return tracing::error!(%restore_id, %error, "a restore that waited for its participants is settled by the next start");
                }
            }
        }
    }
}

/// Whether it takes back what it gave, as it is registered now.
fn is_there(registry: &Registry, name: &ParticipantName) -> bool {
    registry.find(name).is_some_and(|one| one.code.restore().is_some())
}

/// Brings a restore that a process before left open to its end. Says why it cannot be yet, where that is so.
async fn settle_one(
    root: &Addr<Root>,
    restorer: &Restorer,
    restore_id: RestoreId,
    origin: &Origin,
) -> Result<Result<Arc<Restore>, String>, EngineError> {
    if let Err(why) = restorer.take_over(restore_id).await {
        return Ok(Err(why));
    }
    let message = ForRestore { restore_id, command: RestoreCommand::Recover, origin: origin.clone() };
    let mut handle = root.send(message).await.map_err(|_| EngineError::Stopped)??;
    // Each of its steps has a deadline.
    let released = handle.released.wait_for(|released| *released).await.is_ok();
    let restore = handle.watch.borrow().clone();
    match released {
        true => Ok(Ok(restore)),
        false => Err(EngineError::Lost(format!("restore {restore_id} could not be settled: start again"))),
    }
}

fn planned(one: PlannedParticipant) -> NewParticipant {
    NewParticipant { planned: one.recorded, depends_on: one.depends_on }
}

/// What a start found of restores in place.
#[derive(Default)]
pub(in crate::engine) struct Settled {
    /// What became of each, a line each.
    pub(in crate::engine) told: Vec<String>,
    /// Those that are open, because not all of their participants are registered.
    pub(in crate::engine) left: Vec<(RestoreId, Vec<ParticipantName>)>,
    /// One that could not be rolled back.
    pub(in crate::engine) half: Option<RestoreId>,
}

/// Brings the restores in place that a process before left open to their end: undone, or done again.
pub(in crate::engine) async fn settle(
    root: &Addr<Root>,
    log: &dyn ReadLog,
    (registry, restorer): (&Registry, &Restorer),
    history: &History,
    origin: &Origin,
) -> Result<Settled, EngineError> {
    let mut settled = Settled::default();
    for restore_id in history.open_restores() {
        let (restore, _) = replay::<Restore>(log, &StreamId::restore(restore_id)).map_err(ViewError::from)?;
        if !restore.is_in_steps() {
            continue;
        }
        let names: Vec<_> = restore.participants().iter().map(|one| one.name().clone()).collect();
        let missing = names.iter().filter(|name| !is_there(registry, name));
        let missing: Vec<_> = missing.map(ParticipantName::as_str).collect();
        if !missing.is_empty() {
            let text = format!(
                "restore {restore_id} is open, and is settled as soon as its participants {} are registered",
                missing.join(", ")
            );
            settled.told.push(text);
            settled.left.push((restore_id, names));
            continue;
        }
        let restore = match settle_one(root, restorer, restore_id, origin).await? {
            Ok(restore) => restore,
            Err(why) => {
                settled.told.push(format!("restore {restore_id} is open, and cannot be settled yet: {why}"));
                settled.left.push((restore_id, names));
                continue;
            }
        };
        if restore.status == RestoreStatus::RollbackFailed {
            settled.half = Some(restore_id);
        }
        let (status, why) = (restore.status.as_str(), &restore.error_summary);
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        settled.told.push(format!("restore {restore_id}: {status}{why}"));
    }
    Ok(settled)
}
