//! Who may begin: one restore in place at a time, and never beside a backup that would take what is half restored.

use std::path::Path;
use std::sync::{Mutex as StdMutex, MutexGuard as MutexGuardStd, PoisonError};
use std::time::Duration;

use holdfast_actors::ports::Stop;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ParticipantName, RestoreId};
use tokio::sync::{Mutex, MutexGuard, watch};

use super::super::EngineError;
use crate::files::Observer;
use crate::restore::RestoreError;

/// How long a restore into a folder that is told to stop may take to end.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// What is being restored in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Now {
    pub(in crate::engine) participants: Vec<ParticipantName>,
    pub(in crate::engine) restore_id: RestoreId,
}

/// The restores of one engine: one in place, and one into a folder, at a time.
#[derive(Default)]
pub(in crate::engine) struct Gate {
    /// Held while it is looked whether a backup or a restore may begin, until it has.
    lock: Mutex<()>,
    now: watch::Sender<Option<Now>>,
    /// Open ones that wait for participants that are not registered: they keep others from their own participants, and from nothing else.
    left: StdMutex<Vec<Now>>,
    /// The restore into a folder that the engine itself makes, if there is one.
    pub(in crate::engine) folder: watch::Sender<Option<RestoreId>>,
    pub(in crate::engine) stop: Stop,
}

impl Gate {
    /// Lets a backup of these participants begin, as long as the guard is held.
    ///
    /// # Errors
    /// [`EngineError::Restoring`] where one of them is being restored.
    pub(in crate::engine) async fn admit_backup<'a>(
        &self,
        mut participants: impl Iterator<Item = &'a ParticipantName>,
    ) -> Result<MutexGuard<'_, ()>, EngineError> {
        let guard = self.lock.lock().await;
        let (left, at_work) = (self.left().clone(), self.now.borrow().clone());
        participants.try_for_each(|name| {
            let is_its = |now: &&Now| now.participants.contains(name);
            if let Some(now) = at_work.iter().find(is_its) {
                return Err(now.refused());
            }
            left.iter().find(is_its).map_or(Ok(()), |now| Err(now.unsettled()))
        })?;
        Ok(guard)
    }

    /// Lets a restore of these participants begin, as long as the lock is held and this is so.
    ///
    /// # Errors
    /// [`EngineError::Restoring`] where one is at work, or one of these waits for others of its restore.
    pub(in crate::engine) fn admit_restore(&self, participants: &[ParticipantName]) -> Result<&Mutex<()>, EngineError> {
        let is_theirs = |now: &&Now| now.participants.iter().any(|name| participants.contains(name));
        let waits = self.left().iter().find(is_theirs).cloned();
        let at_work = self.now.borrow().clone();
        match (at_work, waits) {
            (Some(now), _) => Err(now.refused()),
            (None, Some(now)) => Err(now.unsettled()),
            (None, None) => Ok(&self.lock),
        }
    }

    /// Begins one that waited for its participants, where all of them are there now and nothing else is at work; waits for that.
    pub(in crate::engine) async fn begin_left(&self, is_there: impl Fn(&ParticipantName) -> bool) -> Option<Now> {
        loop {
            let _ = self.now.subscribe().wait_for(Option::is_none).await;
            let _guard = self.lock.lock().await;
            if self.now.borrow().is_some() {
                continue;
            }
            let now = self.left().iter().find(|now| now.participants.iter().all(&is_there)).cloned();
            if let Some(now) = &now {
                self.begins(now.clone());
            }
            return now;
        }
    }

    /// It waits no longer.
    pub(in crate::engine) fn is_settled(&self, restore_id: RestoreId) {
        self.left().retain(|now| now.restore_id != restore_id);
    }

    /// Whether any waits for its participants.
    pub(in crate::engine) fn has_left(&self) -> bool {
        !self.left().is_empty()
    }

    fn left(&self) -> MutexGuardStd<'_, Vec<Now>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::engine) fn begins(&self, now: Now) {
        self.now.send_replace(Some(now));
    }

    pub(in crate::engine) fn ends(&self) {
        self.now.send_replace(None);
    }

    /// Whether it is the one at work.
    pub(in crate::engine) fn is_at(&self, restore_id: RestoreId) -> bool {
        self.now.borrow().as_ref().is_some_and(|now| now.restore_id == restore_id)
    }

    /// With restores that a process before left, and that nobody here can settle.
    pub(in crate::engine) fn with(left: Vec<(RestoreId, Vec<ParticipantName>)>) -> Self {
        let left = left.into_iter().map(|(restore_id, participants)| Now { participants, restore_id });
        Self { left: StdMutex::new(left.collect()), ..Self::default() }
    }

    /// Whether nothing is being restored.
    pub(in crate::engine) fn is_idle(&self) -> bool {
        self.now.borrow().is_none() && self.folder.borrow().is_none()
    }

    /// Waits until nothing is being restored.
    pub(in crate::engine) async fn ended(&self) {
        // It lives as long as the engine does.
        let _ = self.now.subscribe().wait_for(Option::is_none).await;
        let _ = self.folder.subscribe().wait_for(Option::is_none).await;
    }

    /// Tells the one into a folder to stop, and waits until it has. One in place is settled by the next start.
    pub(in crate::engine) async fn end(&self) {
        self.stop.request();
        let mut folder = self.folder.subscribe();
        if tokio::time::timeout(STOPPED_WITHIN, folder.wait_for(Option::is_none)).await.is_err() {
            tracing::error!("a restore was told to stop and has not ended");
        }
    }
}

impl Now {
    fn names(&self) -> String {
        self.participants.iter().map(ParticipantName::as_str).collect::<Vec<_>>().join(", ")
    }

    fn refused(&self) -> EngineError {
        EngineError::Restoring { participants: self.names(), restore_id: self.restore_id }
    }

    fn unsettled(&self) -> EngineError {
        EngineError::RestoreUnsettled { participants: self.names(), restore_id: self.restore_id }
    }
}

/// Why a restore was not good, as it is recorded.
pub(crate) fn restore_failure(error: &RestoreError) -> Failure {
    let kind = if error.is_cancelled() { FailureKind::Cancelled } else { FailureKind::Fatal };
    Failure::new(kind, error.code(), error.to_string())
}

/// Hears nothing, and stops with the engine.
pub(in crate::engine) struct UntilStopped(pub(in crate::engine) Stop);

impl Observer for UntilStopped {
    fn advance(&self, _files: u64, _bytes: u64) {}

    fn warn(&self, path: &Path, reason: &str) {
        tracing::warn!(path = %path.display(), reason, "restore");
    }

    fn cancelled(&self) -> bool {
        self.0.requested()
    }
}
