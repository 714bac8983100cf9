//! Who may begin: one restore in place at a time, and never beside a backup that would take what is half restored.

use std::path::Path;
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
    /// Open ones whose modules are not registered.
    left: Vec<Now>,
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
        let at_work = self.now.borrow().clone();
        let all = self.left.iter().chain(&at_work);
        match participants.find_map(|name| all.clone().find(|now| now.participants.contains(name))) {
            None => Ok(guard),
            Some(now) => Err(now.refused()),
        }
    }

    /// Lets a restore begin, as long as the lock is held and this is so.
    ///
    /// # Errors
    /// [`EngineError::Restoring`] where one is at work, or waits for its modules.
    pub(in crate::engine) fn admit_restore(&self) -> Result<&Mutex<()>, EngineError> {
        let at_work = self.now.borrow().clone();
        match self.left.first().cloned().or(at_work) {
            Some(now) => Err(now.refused()),
            None => Ok(&self.lock),
        }
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
        Self { left: left.collect(), ..Self::default() }
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
    fn refused(&self) -> EngineError {
        let names: Vec<_> = self.participants.iter().map(ParticipantName::as_str).collect();
        EngineError::Restoring { participants: names.join(", "), restore_id: self.restore_id }
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
