//! Runs that come back from an endpoint.
//!
//! One at a time, and each between its recorded request and its recorded end: the files come into a folder of their own, are made durable
//! and read whole, what they say of the run is recorded, and only then the directory takes its place. Where anything fails, or the process
//! dies before that, the run here is as it was; [`settle`] tells, at the next start, what became of one that was under way.

mod error;
mod facts;
mod settle;
mod under_way;

use std::sync::Arc;

use holdfast_log::space;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{EndpointName, RunId};
use holdfast_model::run::{COPY_ALTERED, Refusal, Run, RunCommand, RunImportRequestedV1, Target};
use uuid::Uuid;

pub use self::error::RemoteError;
pub(crate) use self::facts::participants;
pub(super) use self::settle::settle;
pub use self::under_way::{ImportPhase, ImportProgress};
pub(super) use self::under_way::{Importing, UnderWay};
use super::{EngineError, Holdfast};
use crate::remote::{self, Remote, RemoteHead};
use crate::storage::{Destination, Storage, StorageError};

/// A run that is to come back.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// Where from.
    pub endpoint: EndpointName,
    /// Whose run it is; this installation's where nothing is said.
    pub server_id: Option<Uuid>,
    /// Which.
    pub run_id: RunId,
    /// Whether it may take the place of the same run here.
    pub overwrite: bool,
}

impl Holdfast {
    /// Brings a run back from an endpoint. It goes on by itself, also where nobody waits for its end any more.
    ///
    /// # Errors
    /// [`RemoteError`]; then the run here is as it was.
    pub async fn import(&self, request: ImportRequest) -> Result<Arc<Run>, RemoteError> {
        let under_way = match self.shared.importing.begin(request.run_id, &request.endpoint) {
            // Whoever asks for the same again, as after a broken connection, waits for what is under way.
            Err(RemoteError::Busy { run_id, endpoint })
                if (run_id, &endpoint) == (request.run_id, &request.endpoint) =>
            {
                return self.wait_for_import(request).await;
            }
            begun => begun?,
        };
        let remote = self.remote(&request.endpoint, request.server_id).await?;
        self.import_by(request, remote, under_way).await
    }

    /// The same from a far side that is open already.
    ///
    /// # Errors
    /// As [`Holdfast::import`].
    pub(crate) async fn import_from(
        &self,
        request: ImportRequest,
        remote: Arc<dyn Remote>,
    ) -> Result<Arc<Run>, RemoteError> {
        let under_way = self.shared.importing.begin(request.run_id, &request.endpoint)?;
        self.import_by(request, remote, under_way).await
    }

    async fn import_by(
        &self,
        request: ImportRequest,
        remote: Arc<dyn Remote>,
        under_way: UnderWay,
    ) -> Result<Arc<Run>, RemoteError> {
        let wish = RunImportRequestedV1 {
            run_id: request.run_id,
            endpoint: request.endpoint,
            server_id: self.server_id(request.server_id),
            overwrite: request.overwrite,
        };
        let head = match remote.run(wish.run_id).await {
            Ok(head) => head,
            Err(error) => {
                let error = RemoteError::of(&wish.endpoint, wish.run_id, error);
                if wish.server_id == self.server_id(None) {
                    self.note_found(&wish.endpoint, wish.run_id, &error).await?;
                }
                return Err(error);
            }
        };
        self.for_run(wish.run_id, RunCommand::Import(wish.clone())).await?;
        let engine = self.clone();
        let work = self.data_plane().spawn(async move { engine.bring_back(wish, head, remote, under_way).await });
        work.await.map_err(|error| EngineError::Thread(error.to_string()))?
    }

    /// Waits for the end of the import that is under way, of the run that is asked for.
    async fn wait_for_import(&self, request: ImportRequest) -> Result<Arc<Run>, RemoteError> {
        let asked = self.now();
        self.shared.importing.ended().await;
        let run = self.run(request.run_id).await?;
        match run.imported() {
            Some(from) if from.endpoint == request.endpoint && from.at >= asked => Ok(run),
            _ => {
                let why =
                    format!("the import that was under way failed: `holdfast show {} --log` says why", request.run_id);
                let failure = Failure::new(FailureKind::Retryable, "IMPORT_FAILED", why);
                Err(RemoteError::Failed { run_id: request.run_id, endpoint: request.endpoint, failure })
            }
        }
    }

    /// How far the import is that is under way, if one is.
    #[must_use]
    pub fn import_progress(&self) -> Option<ImportProgress> {
        self.shared.importing.progress()
    }

    /// From the recorded request to the recorded end.
    async fn bring_back(
        &self,
        wish: RunImportRequestedV1,
        head: RemoteHead,
        remote: Arc<dyn Remote>,
        under_way: UnderWay,
    ) -> Result<Arc<Run>, RemoteError> {
        let run_id = wish.run_id;
        let brought = tokio::select! {
            biased;
            () = under_way.stopped() => Err(stopped()),
            arrived = self.fetch(&wish, &head, &*remote, &under_way) => arrived,
        };
        let published = match brought {
            Ok(()) => self.put_in_place(&wish, &under_way).await,
            Err(failure) => Err(failure),
        };
        match published {
            Ok(()) => {
                self.shared.last_counter.fetch_max(run_id.counter(), std::sync::atomic::Ordering::Relaxed);
                Ok(self.run(run_id).await?)
            }
            Err(failure) => {
                let storage = self.storage();
                if let Ok(Err(error)) = self.blocking(move || storage.discard_import(run_id)).await {
                    tracing::warn!(%run_id, %error, "what came of a run cannot be taken away: the next start does it");
                }
                self.for_run(run_id, RunCommand::ImportFailed(failure.clone())).await?;
                if failure.code == COPY_ALTERED && wish.server_id == self.server_id(None) {
                    self.note_altered(&wish.endpoint, run_id, failure.message.clone()).await?;
                }
                Err(RemoteError::Failed { run_id, endpoint: wish.endpoint, failure })
            }
        }
    }

    /// Fetches the files of a run into a folder of their own. Dropped, it ends there.
    async fn fetch(
        &self,
        wish: &RunImportRequestedV1,
        head: &RemoteHead,
        remote: &dyn Remote,
        under_way: &UnderWay,
    ) -> Result<(), Failure> {
        let (run_id, bytes) = (wish.run_id, head.row.stored_bytes);
        under_way.fetches(bytes);
        let (storage, backups, min_free) = (self.storage(), self.home().backups(), self.config().space.min_free);
        let into = self.blocking(move || {
            space::preflight(&backups, min_free, Some(bytes))
                .map_err(|error| Failure::new(FailureKind::Resource, "NO_SPACE", error.to_string()))?;
            storage.begin_import(run_id).map_err(|error| of_storage(&error))
        });
        let into = into.await.map_err(of_engine)??;
        let fetched = remote::fetch(remote, run_id, &into, under_way.fetched()).await;
        fetched.map(drop).map_err(|error| {
            let error = RemoteError::of_files(&wish.endpoint, run_id, error);
            let kind = if error.retryable() { FailureKind::Retryable } else { FailureKind::Fatal };
            Failure::new(kind, error.code(), error.to_string())
        })
    }

    /// Reads what came, records what it is, and puts it in its place.
    async fn put_in_place(&self, wish: &RunImportRequestedV1, under_way: &UnderWay) -> Result<(), Failure> {
        let run_id = wish.run_id;
        let known = match self.run(run_id).await {
            Ok(run) => Some(run),
            Err(error) if error.code() == Refusal::NotFound.code() => None,
            Err(error) => return Err(of_engine(error)),
        };
        let (storage, expected) = (self.storage(), known.as_ref().and_then(|run| run.sums_sha256()));
        let checks = under_way.checks();
        let arrived = self.blocking(move || storage.check_import(run_id, None, &mut |bytes| checks.advance(bytes)));
        let arrived = arrived.await.map_err(of_engine)?.map_err(|error| of_storage(&error))?;
        if expected.is_some_and(|expected| expected != arrived.sums_sha256) {
            return Err(of_refusal(&Refusal::AnotherRun));
        }
        if arrived.manifest.server_id != wish.server_id {
            let text =
                format!("it is of installation {}, and lies among the runs of another", arrived.manifest.server_id);
            return Err(Failure::new(FailureKind::Fatal, "MANIFEST_INVALID", text));
        }
        if known.is_none() {
            let facts = facts::of(&arrived).map_err(|why| Failure::new(FailureKind::Fatal, "MANIFEST_INVALID", why))?;
            self.tell_import(run_id, RunCommand::ImportFacts(facts.run)).await?;
            for (participant, artifacts) in facts.participants {
                self.tell_import(run_id, RunCommand::ImportParticipant { participant, artifacts }).await?;
            }
        }
        if under_way.is_stopped() {
            return Err(stopped());
        }
        let handle = self.tell_import(run_id, RunCommand::ImportWhole { sums_sha256: arrived.sums_sha256 }).await?;
        let publish = handle.watch.borrow().import_publishing().cloned();
        let publish = publish.ok_or_else(|| of_refusal(&Refusal::OutOfOrder))?;
        let (storage, replaces) = (self.storage(), publish.replaces);
        let placed = self.blocking(move || storage.publish_import(run_id, destination(publish.target), replaces)).await;
        placed.map_err(of_engine)?.map_err(|error| of_storage(&error))?;
        self.tell_import(run_id, RunCommand::ImportPublished).await?;
        let storage = self.storage();
        if let Ok(Err(error)) = self.blocking(move || storage.sweep()).await {
            tracing::warn!(%run_id, %error, "what an import replaced cannot be unlinked");
        }
        Ok(())
    }

    async fn tell_import(&self, run_id: RunId, command: RunCommand) -> Result<super::RunHandle, Failure> {
        self.for_run(run_id, command).await.map_err(of_engine)
    }

    fn storage(&self) -> Storage {
        Storage::at(self.home().backups())
    }
}

fn destination(target: Target) -> Destination {
    match target {
        Target::Completed => Destination::Completed,
        Target::Failed => Destination::Failed,
    }
}

fn stopped() -> Failure {
    Failure::new(FailureKind::Cancelled, "ENGINE_STOPPED", "the engine was stopped: import the run again")
}

fn of_storage(error: &StorageError) -> Failure {
    super::backups::failure(error)
}

fn of_refusal(refusal: &Refusal) -> Failure {
    Failure::new(FailureKind::Fatal, refusal.code(), refusal.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn of_engine(error: EngineError) -> Failure {
    Failure::new(FailureKind::Fatal, error.code(), error.to_string())
}
