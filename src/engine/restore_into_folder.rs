//! Restores into a folder that the engine makes itself, for whoever asks by the Unix socket of the home; recorded as those are that the
//! command line makes.
//!
//! One at a time. All is made ready beside the target and renamed into it, so that one that is interrupted left nothing but what its claim
//! lets the next owner of the home take away, or put in place.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::RestoreId;
use holdfast_model::restore::{RestoreCommand, RestoreCompletedV1, RestoreRequestedV3, Safety};
use tokio::sync::{oneshot, watch};

use super::restoring::{UntilStopped, restore_failure};
use super::{EngineError, Holdfast, RestoreClaim, RestoreOutcome};
use crate::files::FilesError;
use crate::restore::{IntoFolder, Request, RestoreError, Restored, RunSource};

/// Why a restore into a folder was not begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotBegun {
    /// It cannot be made: the source, or the target.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// It could not be recorded.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What was found out before anything is written.
struct Facts {
    staging: Vec<u8>,
    files: u64,
    bytes: u64,
}

/// The restore into a folder at work, until it is dropped.
struct AtWork(Holdfast);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.shared.restoring.folder.send_replace(None);
    }
}

impl Holdfast {
    /// What a restore into a folder would bring, found without writing anything: files and bytes.
    ///
    /// # Errors
    /// [`RestoreError`] where it could not be made.
    pub(crate) async fn plan_into_folder(
        &self,
        source: RunSource,
        target: PathBuf,
        overwrite: bool,
    ) -> Result<(u64, u64), NotBegun> {
        let stop = self.shared.restoring.stop.clone();
        let request =
            Request { restore_id: RestoreId(self.shared.world.clock.new_id()), target, paths: Vec::new(), overwrite };
        let planned = self.blocking(move || {
            let ready = IntoFolder::prepare(&source, request, &UntilStopped(stop))?;
            Ok::<_, RestoreError>((ready.files(), ready.bytes()))
        });
        Ok(planned.await??)
    }

    /// Begins a restore into a folder. It goes on by itself, also where nobody waits for its end, which the returned channel tells of.
    ///
    /// # Errors
    /// [`NotBegun`]; [`EngineError::RestoringFolder`] where another one is at work.
    pub(crate) async fn restore_into_folder(
        &self,
        source: RunSource,
        target: PathBuf,
        overwrite: bool,
    ) -> Result<(RestoreId, watch::Receiver<bool>), NotBegun> {
        let restore_id = RestoreId(self.shared.world.clock.new_id());
        let at_work = self.begin_folder(restore_id)?;
        let (run_id, stop) = (source.run_id(), self.shared.restoring.stop.clone());
        let request = Request { restore_id, target, paths: Vec::new(), overwrite };
        let (shown, bytes) = (request.target.display().to_string(), request.target.as_os_str().as_bytes().to_vec());
        // The source lives on the thread that reads it; what is recorded in between is sent to and fro.
        let (to_worker, go) = mpsc::channel::<Arc<RestoreClaim>>();
        let (prepared, is_prepared) = oneshot::channel();
        let work = self.data_plane().spawn_blocking(move || -> Result<Restored, RestoreError> {
            let observer = UntilStopped(stop);
            let ready = match IntoFolder::prepare(&source, request, &observer) {
                Ok(ready) => ready,
                Err(error) => {
                    let _ = prepared.send(Err(error));
                    return Err(FilesError::Cancelled.into());
                }
            };
            let staging = ready.staging().map(|path| path.as_os_str().as_bytes().to_vec()).unwrap_or_default();
            let _ = prepared.send(Ok(Facts { staging, files: ready.files(), bytes: ready.bytes() }));
            // Whoever does not answer could not record it.
            let Ok(claim) = go.recv() else { return Err(FilesError::Cancelled.into()) };
            ready.run(&observer, &mut |restored| {
                note(&claim, &RestoreOutcome::Ready { completed: facts_of(restored), target: bytes.clone() });
            })
        });
        let facts = is_prepared.await.map_err(|_| EngineError::Thread("a restore could not be planned".into()))??;
        tracing::info!(%restore_id, files = facts.files, bytes = facts.bytes, "restore into a folder");
        let claim = Arc::new(RestoreClaim::take(self.home(), restore_id).map_err(EngineError::Claim)?);
        let requested = RestoreRequestedV3 {
            restore_id,
            source_run: run_id,
            target: shown,
            staging: facts.staging,
            selections: 0,
            overwrite,
            delete: false,
            force: false,
            safety: Safety::None,
            timeout_ms: 0,
            participants: Vec::new(),
        };
        self.restore(restore_id, RestoreCommand::Request(requested)).await?;
        let _ = to_worker.send(claim.clone());
        let (ended, wait) = watch::channel(false);
        let engine = self.clone();
        self.data_plane().spawn(async move {
            let (outcome, command) = match work.await {
                Ok(Ok(restored)) => {
                    let done = facts_of(&restored);
                    (RestoreOutcome::Completed(done.clone()), RestoreCommand::Complete(done))
                }
                Ok(Err(error)) => failed(restore_failure(&error)),
                Err(panic) => failed(Failure::new(FailureKind::Fatal, "RESTORE_PANICKED", panic.to_string())),
            };
            // The next owner of the home records it where this process cannot.
            note(&claim, &outcome);
            match engine.restore(restore_id, command).await {
                Ok(()) => claim.recorded(),
                Err(error) => {
                    tracing::error!(%restore_id, %error, "the end of a restore is recorded by the next owner of the home");
                }
            }
            drop(at_work);
            ended.send_replace(true);
        });
        Ok((restore_id, wait))
    }

    fn begin_folder(&self, restore_id: RestoreId) -> Result<AtWork, EngineError> {
        let mut busy = None;
        self.shared.restoring.folder.send_if_modified(|now| {
            busy = *now;
            now.get_or_insert(restore_id);
            busy.is_none()
        });
        match busy {
            None => Ok(AtWork(self.clone())),
            Some(restore_id) => Err(EngineError::RestoringFolder { restore_id }),
        }
    }
}

fn failed(failure: Failure) -> (RestoreOutcome, RestoreCommand) {
    (RestoreOutcome::Failed(failure.clone()), RestoreCommand::Fail(failure))
}

fn facts_of(restored: &Restored) -> RestoreCompletedV1 {
    RestoreCompletedV1 { files: restored.files, bytes: restored.bytes, warnings: restored.warnings }
}

fn note(claim: &RestoreClaim, outcome: &RestoreOutcome) {
    if let Err(error) = claim.note(outcome) {
        tracing::warn!(%error, "how a restore stands cannot be noted in its claim");
    }
}
