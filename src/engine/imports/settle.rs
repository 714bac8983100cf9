//! What a start does about imports that the process before left under way.
//!
//! Before its directory was to take its place nothing of the run here has changed: the import has failed, and what came goes. From then on
//! all is recorded, and what came is durable and was read whole: it is read again, and goes to its place.

use actix::Addr;
use holdfast_actors::event_sourced::replay;
use holdfast_actors::root::{ForRun, Root};
use holdfast_log::ReadLog;
use holdfast_log::home::Home;
use holdfast_model::codec::Origin;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::history::History;
use holdfast_model::ids::{RunId, StreamId};
use holdfast_model::run::{Run, RunCommand, RunImportPublishRequestedV1};

use super::super::{EngineError, ViewError};
use super::{destination, of_storage};
use crate::storage::{Storage, StorageError};

/// What a start found of imports.
#[derive(Default)]
pub(in crate::engine) struct Settled {
    /// What became of each, a line each.
    pub(in crate::engine) told: Vec<String>,
    /// The highest counter of those that are here now.
    pub(in crate::engine) highest_counter: u32,
}

/// Brings the imports that a process before left open to their end.
pub(in crate::engine) async fn settle(
    root: &Addr<Root>,
    home: &Home,
    log: &dyn ReadLog,
    history: &History,
    origin: &Origin,
) -> Result<Settled, EngineError> {
    let mut settled = Settled::default();
    for run_id in history.importing() {
        let (run, _) = replay::<Run>(log, &StreamId::run(run_id)).map_err(ViewError::from)?;
        let storage = Storage::at(home.backups());
        let ended = tokio::task::spawn_blocking(move || end(&storage, &run, run_id)).await;
        let ended = ended.map_err(|panic| EngineError::Thread(panic.to_string()))?;
        let (command, told) = match ended {
            Ok(()) => {
                (RunCommand::ImportPublished, format!("run {run_id}: its import was gone on with, and it is here"))
            }
            Err(failure) => {
                let told = format!("run {run_id}: its import was interrupted, and did not come to its end: {failure}");
                (RunCommand::ImportFailed(failure), told)
            }
        };
        if command == RunCommand::ImportPublished {
            settled.highest_counter = settled.highest_counter.max(run_id.counter());
        }
        let message = ForRun { run_id, command, origin: origin.clone() };
        root.send(message).await.map_err(|_| EngineError::Stopped)??;
        settled.told.push(told);
    }
    let storage = Storage::at(home.backups());
    let swept = tokio::task::spawn_blocking(move || {
        let imports = storage.sweep_imports(&|_| false);
        imports.and(storage.sweep())
    });
    // What cannot be unlinked takes room, and keeps nothing else from working.
    if let Ok(Err(error)) = swept.await {
        tracing::warn!(%error, "what was left of imports cannot be unlinked");
    }
    Ok(settled)
}

fn end(storage: &Storage, run: &Run, run_id: RunId) -> Result<(), Failure> {
    let Some(publish) = run.import_publishing() else {
        let text = "the process that imported it is gone: import it again";
        return Err(Failure::new(FailureKind::Retryable, "IMPORT_INTERRUPTED", text));
    };
    publish_again(storage, run, run_id, publish).map_err(|error| of_storage(&error))
}

fn publish_again(
    storage: &Storage,
    run: &Run,
    run_id: RunId,
    publish: &RunImportPublishRequestedV1,
) -> Result<(), StorageError> {
    let sums_sha256 = run.import_sums();
    let arriving = storage.is_arriving(run_id);
    if arriving {
        storage.check_import(run_id, sums_sha256, &mut |_| {})?;
    }
    storage.publish_import(run_id, destination(publish.target), publish.replaces)?;
    if arriving {
        return Ok(());
    }
    // The process may have died with the machine: nothing is taken on trust.
    let report = storage.lease(run_id)?.verify(sums_sha256, &mut |_| {});
    report.files.into_iter().find_map(|file| file.error).map_or(Ok(()), Err)
}
