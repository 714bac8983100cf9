//! Run directories as the actors' port: storage on threads that may block.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use holdfast_actors::ports::{Backups, DirectoryFailure, Inspection, PortFuture};
use holdfast_log::fault;
use holdfast_log::owner::Owner;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ArtifactName, ParticipantName, RunId, Sha256};
use holdfast_model::run::{ArtifactStoredV1, Encryption, Found, ParticipantStatus, Run, RunParticipant, Stage, Target};
use uuid::Uuid;

use super::keys::{self, PassphraseFile};
use super::manifest;
use crate::encryption::{EncryptTo, EncryptionError};
use crate::pipeline::{ArtifactReader, Expected, IndexReader, Pipeline, PipelineError};
use crate::storage::{Destination, FileReport, Place, RunDir, Staged, Storage, StorageError};

/// How many bytes of each run were read again since its check began. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Checks(Arc<Mutex<BTreeMap<RunId, Arc<AtomicU64>>>>);

impl Checks {
    /// A check begins, or begins anew.
    fn begin(&self, run_id: RunId) -> Check {
        let read = Arc::<AtomicU64>::default();
        self.by_run().insert(run_id, read.clone());
        Check(read)
    }

    /// Bytes that were read.
    pub(super) fn read(&self, run_id: RunId) -> u64 {
        self.by_run().get(&run_id).map_or(0, |read| read.load(Ordering::Relaxed))
    }

    /// The run has ended.
    pub(super) fn forget(&self, run_id: RunId) {
        self.by_run().remove(&run_id);
    }

    fn by_run(&self) -> MutexGuard<'_, BTreeMap<RunId, Arc<AtomicU64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A check at work.
struct Check(Arc<AtomicU64>);

impl Check {
    fn advance(&mut self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The run directories of one home. Clones share them.
#[derive(Clone)]
pub(super) struct Directories {
    storage: Arc<Storage>,
    pipeline: Pipeline,
    server_id: Uuid,
    open: Arc<Mutex<BTreeMap<RunId, Arc<RunDir>>>>,
    checks: Checks,
    passphrase: PassphraseFile,
    /// The home is not given back while its directories are being worked on, and they are not worked on after that.
    owner: Weak<Owner>,
}

impl Directories {
    pub(super) fn new(
        storage: Storage,
        pipeline: Pipeline,
        server_id: Uuid,
        owner: &Arc<Owner>,
        passphrase: PassphraseFile,
    ) -> Self {
        let (open, checks, owner) = (Arc::default(), Checks::default(), Arc::downgrade(owner));
        Self { storage: Arc::new(storage), pipeline, server_id, open, checks, passphrase, owner }
    }

    /// What a run's files are encrypted to.
    pub(super) fn encrypt_to(&self, encryption: &Encryption) -> Result<Option<Arc<EncryptTo>>, EncryptionError> {
        self.passphrase.encrypt_to(encryption)
    }

    /// How much of each run was read again.
    pub(super) fn checks(&self) -> &Checks {
        &self.checks
    }

    /// The directory of a run at work.
    pub(super) fn run(&self, run_id: RunId) -> Result<Arc<RunDir>, StorageError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = open.get(&run_id) {
            return Ok(directory.clone());
        }
        let directory = Arc::new(self.storage.open_run(run_id)?);
        open.insert(run_id, directory.clone());
        Ok(directory)
    }

    /// Whether the directory of any run is being worked on.
    pub(super) fn has_open(&self) -> bool {
        !self.open.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The home's ownership, kept while the answer lives; `None` once it was given back.
    pub(super) fn owner(&self) -> Option<Arc<Owner>> {
        self.owner.upgrade()
    }

    fn forget(&self, run_id: RunId) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&run_id);
    }

    /// Does `work` on a thread that may block; what it answers is the port's answer, and a panic is its failure.
    fn blocking<T: Send + 'static, E: From<Failure> + Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> PortFuture<Result<T, E>> {
        let directories = self.clone();
        let Some(owner) = self.owner.upgrade() else {
            let stopped = Failure::new(FailureKind::Retryable, "ENGINE_STOPPED", "the engine has been stopped");
            return Box::pin(async { Err(stopped.into()) });
        };
        let work = move || {
            let result = work(&directories);
            drop(owner);
            result
        };
        Box::pin(async move {
            match tokio::task::spawn_blocking(work).await {
                Ok(result) => result,
                Err(panic) => Err(Failure::new(FailureKind::Fatal, "STORAGE_PANICKED", panic.to_string()).into()),
            }
        })
    }

    fn prepare_now(&self, run_id: RunId) -> Result<(), StorageError> {
        match self.storage.locate(run_id) {
            None => self.storage.create_run(run_id).map(drop),
            Some(_) => self.run(run_id).map(drop),
        }
    }

    fn inspect_now(&self, run: &Run) -> Result<Inspection, Failure> {
        let whole = |found| Ok(Inspection { found, broken: Vec::new() });
        let Some(run_id) = run.id() else { return whole(Found::Nowhere) };
        for place in [Place::Running, Place::Completed, Place::Failed] {
            self.storage.runs(place).map_err(|error| failure(&error))?;
        }
        let found = match self.storage.locate(run_id) {
            Some(Place::Running) => Found::Running,
            Some(Place::Completed | Place::Failed) => Found::Published,
            Some(Place::Importing | Place::Deleting) | None => Found::Nowhere,
        };
        if found != Found::Running || run.stage() != Stage::Working {
            return whole(found);
        }
        let mut broken = Vec::new();
        let mut kept = Vec::new();
        // Of a barrier nothing is kept: the moment it was of is gone.
        let completed = |one: &&RunParticipant| one.status == ParticipantStatus::Completed && !run.wants_barrier();
        for participant in run.participants().iter().filter(completed) {
            if run.is_staged_elsewhere() {
                let reason = "its artifacts are not kept here, and the process that sent them is gone";
                broken.push((participant.name.clone(), reason.to_owned()));
                continue;
            }
            match participant.artifacts.iter().try_for_each(|artifact| self.check(run, run_id, artifact)) {
                Ok(()) => kept.extend(participant.artifacts.iter().map(|artifact| artifact.stored.file.clone())),
                Err(failure) => broken.push((participant.name.clone(), failure.to_string())),
            }
        }
        // What an attempt that is gone left of participants that run again.
        let retained = self.run(run_id).and_then(|directory| {
            directory.retain(&kept)?;
            if run.encryption().is_on() {
                let artifacts = run.participants().iter().flat_map(|one| &one.artifacts);
                let kept = artifacts.filter(|artifact| kept.contains(&artifact.stored.file));
                kept.for_each(|artifact| directory.called(&artifact.stored.file, &artifact.logical_name));
            }
            Ok(())
        });
        if let Err(error) = retained {
            tracing::error!(%run_id, %error, "leftovers of an earlier attempt cannot be removed");
        }
        Ok(Inspection { found, broken })
    }

    /// Takes size and hash of an artifact and its index again.
    fn check(&self, run: &Run, run_id: RunId, artifact: &ArtifactStoredV1) -> Result<(), PipelineError> {
        let open = |name: &ArtifactName| {
            let path = self.storage.path(Place::Running, run_id).join(name.as_str());
            let file = File::open(&path).map_err(|error| PipelineError::io("open", &path)(error))?;
            Ok::<_, PipelineError>((file, path))
        };
        let recorded = manifest::artifact(artifact, run.encryption()).map_err(|reason| {
            let path = self.storage.path(Place::Running, run_id);
            PipelineError::altered(&path, reason)
        })?;
        let (file, path) = open(&artifact.stored.file)?;
        let expected = Expected {
            stored_bytes: artifact.stored.size_bytes,
            sha256: artifact.stored.sha256,
            content_bytes: artifact.content_bytes,
            content_sha256: artifact.content_sha256,
        };
        // Of what is encrypted the stored bytes are all that can be looked at here, and all that is needed.
        let cipher = recorded.cipher(&recorded.path, None);
        let reader = ArtifactReader::open(&self.pipeline, file, &path, recorded.compression, expected, cipher)?;
        reader.check_stored(&mut |_| {})?;
        if let Some(index) = &artifact.index {
            let (file, path) = open(&index.file)?;
            IndexReader::check_stored(&file, &path, (index.size_bytes, index.sha256))?;
        }
        Ok(())
    }

    fn seal_now(&self, run: &Run) -> Result<Sha256, DirectoryFailure> {
        let run_id = run.id().ok_or_else(no_run)?;
        let manifest = manifest::of(run, self.server_id).map_err(lost)?;
        let lost = |error: StorageError| DirectoryFailure::Lost(failure(&error));
        // Damage that was found after the rename: the run is sealed again where runs work.
        if matches!(self.storage.locate(run_id), Some(Place::Completed | Place::Failed)) {
            self.storage.withdraw(run_id).map_err(lost)?;
        }
        let directory = self.run(run_id).map_err(lost)?;
        let kept: Vec<_> = run.good_artifacts().map(|artifact| artifact.stored.file.clone()).collect();
        directory.retain(&kept).map_err(lost)?;
        let mut check = self.checks.begin(run_id);
        let encrypt_to = self.encrypt_to(run.encryption());
        let encrypt_to = encrypt_to.map_err(|error| DirectoryFailure::Lost(keys::failure(&error)))?;
        let staged = if run.is_staged_elsewhere() { Staged::Elsewhere } else { Staged::Here };
        match directory.seal(&manifest, encrypt_to.as_deref(), staged, &mut |bytes| check.advance(bytes)) {
            Ok(sealed) => Ok(sealed.sums_sha256),
            Err(error) => Err(match &error {
                StorageError::NotAsWritten { files, .. } => damage(run, files).unwrap_or_else(|| lost(error)),
                _ => lost(error),
            }),
        }
    }

    fn publish_now(&self, run: &Run, target: Target) -> Result<(), DirectoryFailure> {
        let run_id = run.id().ok_or_else(no_run)?;
        let lost = |error: StorageError| DirectoryFailure::Lost(failure(&error));
        let destination = match target {
            Target::Completed => Destination::Completed,
            Target::Failed => Destination::Failed,
        };
        let was_there = self.storage.locate(run_id) == Some(Place::from(destination));
        fault::point("publish.before");
        self.storage.publish(run_id, destination).map_err(lost)?;
        fault::point("publish.after");
        self.forget(run_id);
        // A process that died after the rename may have died with the machine: nothing is taken on trust.
        if !was_there {
            return Ok(());
        }
        if run.is_staged_elsewhere() {
            let sums = self.storage.lease(run_id).and_then(|lease| lease.sums_sha256()).map_err(lost)?;
            if run.sums_sha256() != Some(sums) {
                self.seal_now(run)?;
                return self.storage.publish(run_id, destination).map(drop).map_err(lost);
            }
            return Ok(());
        }
        let report = self.storage.lease(run_id).map_err(lost)?.verify(run.sums_sha256(), &mut |_| {});
        if report.is_good() {
            return Ok(());
        }
        if let Some(damage) = damage(run, &report.files) {
            return Err(damage);
        }
        // Only what is written at the seal is damaged: the manifest, the list of hashes.
        self.seal_now(run)?;
        self.storage.publish(run_id, destination).map(drop).map_err(lost)
    }

    /// A run that ends without a directory leaves none: what it holds takes room that the log may need.
    fn give_up(&self, run: &Run, failure: DirectoryFailure) -> DirectoryFailure {
        if let (DirectoryFailure::Lost(_), Some(run_id)) = (&failure, run.id()) {
            self.forget(run_id);
            if let Err(error) = self.storage.discard_run(run_id) {
                tracing::error!(%run_id, %error, "the directory of a failed run cannot be removed");
            }
        }
        failure
    }

    /// Takes a run's directory out of its place; it is unlinked when that is recorded.
    fn delete_now(&self, run_id: RunId) -> Result<(), StorageError> {
        match self.storage.delete(run_id) {
            // It was moved away by hand, or the deletion had come that far before.
            Ok(_) | Err(StorageError::RunDirectoryMissing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Backups for Directories {
    fn prepare(&self, run_id: RunId) -> PortFuture<Result<(), Failure>> {
        self.blocking(move |directories| {
            directories.prepare_now(run_id).map_err(|error| {
                directories.forget(run_id);
                if let Err(error) = directories.storage.discard_run(run_id) {
                    tracing::error!(%run_id, %error, "the directory of a failed run cannot be removed");
                }
                failure(&error)
            })
        })
    }

    fn inspect(&self, run: Arc<Run>) -> PortFuture<Result<Inspection, Failure>> {
        self.blocking(move |directories| directories.inspect_now(&run))
    }

    fn seal(&self, run: Arc<Run>) -> PortFuture<Result<Sha256, DirectoryFailure>> {
        self.blocking(move |directories| {
            directories.seal_now(&run).map_err(|failure| directories.give_up(&run, failure))
        })
    }

    fn publish(&self, run: Arc<Run>, target: Target) -> PortFuture<Result<(), DirectoryFailure>> {
        self.blocking(move |directories| {
            directories.publish_now(&run, target).map_err(|failure| directories.give_up(&run, failure))
        })
    }

    fn discard(&self, run_id: RunId) -> PortFuture<()> {
        let discarded = self.blocking(move |directories| {
            directories.forget(run_id);
            directories.storage.discard_run(run_id).map_err(|error| failure(&error))
        });
        Box::pin(async move {
            if let Err(error) = discarded.await {
                tracing::error!(%run_id, %error, "the directory of a failed run cannot be removed");
            }
        })
    }

    fn delete(&self, run: Arc<Run>) -> PortFuture<Result<(), Failure>> {
        self.blocking(move |directories| match run.id() {
            Some(run_id) => directories.delete_now(run_id).map_err(|error| failure(&error)),
            None => Ok(()),
        })
    }
}

fn no_run() -> DirectoryFailure {
    lost("there is no such run".to_owned())
}

fn lost(reason: String) -> DirectoryFailure {
    DirectoryFailure::Lost(Failure::new(FailureKind::Fatal, "RUN_UNUSABLE", reason))
}

pub(super) fn failure(error: &StorageError) -> Failure {
    let kind = if error.retryable() { FailureKind::Retryable } else { FailureKind::Fatal };
    Failure::new(kind, error.code(), error.to_string())
}

/// Damage as failures of the participants it belongs to; `None` where it is nobody's.
fn damage(run: &Run, files: &[FileReport]) -> Option<DirectoryFailure> {
    let of_participant = |file: &FileReport| Some((owner(run, &file.name)?, failure(file.error.as_ref()?)));
    let damaged: Vec<_> = files.iter().filter_map(of_participant).collect();
    (!damaged.is_empty()).then_some(DirectoryFailure::Damaged(damaged))
}

/// The participant a file of the run directory belongs to.
fn owner(run: &Run, file: &str) -> Option<ParticipantName> {
    let is = |name: &ArtifactName| name.as_str() == file;
    let artifact = run
        .good_artifacts()
        .find(|artifact| is(&artifact.stored.file) || artifact.index.as_ref().is_some_and(|index| is(&index.file)))?;
    Some(artifact.participant.clone())
}
