//! Restores into modules of the application: the steps of a restore as the actors' port.
//!
//! Each step runs a module's code on a thread of its own, with a deadline, behind a net for panics, and never beside other code of the same
//! module. Who stands still is held here by name until the restore has ended. A step may be done again, by whoever comes after: what it
//! leaves is found by the restore's id.

mod begin;
mod call;
mod plan;
mod safety;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_actors::event_sourced::replay;
use holdfast_actors::ports::{Clock, PortFuture, RestoreJob, Restores, Stop};
use holdfast_log::home::Home;
use holdfast_log::{EventLog, fault};
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ParticipantName, RestoreId, RunId, StreamId};
use holdfast_model::restore::{Did, Restore, Restoring, Step};
use holdfast_model::run::{ArtifactStoredV1, Run};

pub(super) use self::begin::settle;
pub(crate) use self::plan::{ModulePlan, NotPlanned};
use super::SystemClock;
use super::drive::Drivers;
use super::registry::Registry;
use super::restore_in_place::{UntilStopped, restore_failure};
use crate::participant::{Lease, Staging};
use crate::pipeline::ArtifactReader;
use crate::restore::{RestoreError, RunSource, copy};

/// Restores into modules. Clones share it.
#[derive(Clone)]
pub(super) struct Restorer {
    home: Home,
    log: Arc<dyn EventLog>,
    drivers: Drivers,
    registry: Registry,
    held: Arc<Mutex<Held>>,
}

/// What is held for restores that have not ended.
#[derive(Default)]
struct Held {
    leases: BTreeMap<ParticipantName, (RestoreId, Lease)>,
    /// Runs that are being read: they are not deleted meanwhile.
    sources: BTreeMap<RestoreId, Arc<RunSource>>,
}

impl Restores for Restorer {
    fn step(&self, job: RestoreJob) -> PortFuture<Result<Did, Failure>> {
        let restorer = self.clone();
        Box::pin(async move {
            let did = restorer.step_now(&job).await?;
            fault::point("restore.step");
            Ok(did)
        })
    }

    fn release(&self, restore: Arc<Restore>) -> PortFuture<()> {
        let restorer = self.clone();
        Box::pin(async move {
            for one in restore.modules().iter().rev() {
                restorer.resume(one.name(), &restore).await;
            }
            if let Some(request) = &restore.request {
                restorer.forget(request.restore_id);
            }
        })
    }

    fn forget(&self, restore_id: RestoreId) {
        self.held().sources.remove(&restore_id);
    }
}

impl Restorer {
    pub(super) fn new(home: &Home, log: Arc<dyn EventLog>, drivers: &Drivers, registry: &Registry) -> Self {
        let (home, drivers, registry) = (home.clone(), drivers.clone(), registry.clone());
        Self { home, log, drivers, registry, held: Arc::default() }
    }

    /// A participant of these that stands still for a restore, and which.
    pub(super) fn standing<'a>(
        &self,
        mut names: impl Iterator<Item = &'a ParticipantName>,
    ) -> Option<(ParticipantName, RestoreId)> {
        let held = self.held();
        names.find_map(|name| held.leases.get(name).map(|(restore_id, _)| (name.clone(), *restore_id)))
    }

    /// Lets everybody go: the engine ends.
    pub(super) fn let_go(&self) {
        let held = std::mem::take(&mut *self.held());
        drop(held);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn step_now(&self, job: &RestoreJob) -> Result<Did, Failure> {
        let restore = &job.restore;
        match &job.step {
            Step::Verify => self.verify_source(job).await,
            Step::Quiesce => self.quiesce(job).await,
            Step::Snapshot => self.take_snapshot(job).await,
            Step::Stage(name) => {
                let source = self.source(restore).await?;
                self.stage(job, name, Origin::Run(source), false).await
            }
            Step::Commit(name) => self.commit(restore, name, false).await,
            Step::Check(name) => {
                let code = self.code(name, restore, job.stop.clone())?;
                let limit = code.deadlines().write;
                code.call("verify", limit, |restore, phase| restore.verify(phase)).await.map(|()| Did::Done)
            }
            Step::RollBack(name) => {
                let kept = Origin::Safety(self.open_snapshot(restore).await?);
                self.stage(job, name, kept, true).await?;
                fault::point("restore.step");
                self.commit(restore, name, true).await
            }
            Step::Discard => self.discard(restore).await,
        }
    }

    /// Reads all that will be given to the modules, and throws it away: both hashes of each artifact are taken again.
    async fn verify_source(&self, job: &RestoreJob) -> Result<Did, Failure> {
        let source = self.source(&job.restore).await?;
        let (modules, stop) = (job.restore.modules().to_vec(), job.stop.clone());
        blocking(move || {
            let mut bytes = 0;
            for artifact in modules.iter().flat_map(|one| artifacts(&source, one)) {
                let reader = source.reader(artifact).map_err(|error| restore_failure(&error))?;
                copy(&reader, &mut io::sink(), &UntilStopped(stop.clone()), &mut bytes)
                    .map_err(|error| restore_failure(&error))?;
            }
            Ok(Did::Read(bytes))
        })
        .await
    }

    /// The run it takes the bytes from, kept from deletion until the restore has ended.
    async fn source(&self, restore: &Restore) -> Result<Arc<RunSource>, Failure> {
        let Some(request) = &restore.request else { return Err(unknown()) };
        let restore_id = request.restore_id;
        if let Some(source) = self.held().sources.get(&restore_id) {
            return Ok(source.clone());
        }
        let (home, log, run_id) = (self.home.clone(), self.log.clone(), request.source_run);
        let source = Arc::new(blocking(move || open(&home, &*log, run_id)).await?);
        self.held().sources.insert(restore_id, source.clone());
        Ok(source)
    }

    /// Has all modules stand still, each after those it depends on. Who does already stays so.
    async fn quiesce(&self, job: &RestoreJob) -> Result<Did, Failure> {
        let restore_id = job.restore.request.as_ref().ok_or_else(unknown)?.restore_id;
        for one in job.restore.modules() {
            if let Some((of, _)) = self.held().leases.get_mut(one.name()) {
                *of = restore_id;
                continue;
            }
            let code = self.code(one.name(), &job.restore, job.stop.clone())?;
            let limit = code.deadlines().prepare;
            let lease = code.call("quiesce", limit, |restore, phase| Lease::of(restore, phase)).await?;
            self.held().leases.insert(one.name().clone(), (restore_id, lease));
        }
        Ok(Did::Done)
    }

    /// Gives a module its artifacts.
    async fn stage(
        &self,
        job: &RestoreJob,
        name: &ParticipantName,
        origin: Origin,
        back: bool,
    ) -> Result<Did, Failure> {
        let module = job.restore.modules().iter().find(|one| one.name() == name).ok_or_else(unknown)?.clone();
        let code = self.code(name, &job.restore, job.stop.clone())?.on_the_way_back(back);
        let format = if back { code.format_version() } else { module.planned.format_version };
        let opened = blocking(move || origin.readers(&module).map_err(|error| restore_failure(&error))).await?;
        let bytes = opened.iter().fold(0, |sum: u64, (artifact, _)| sum.saturating_add(artifact.content_bytes));
        let limit = code.deadlines().write;
        code.call("stage", limit, move |restore, phase| {
            let mut staging = Staging::new(phase.clone(), format, opened);
            restore.stage(&mut staging)?;
            if staging.is_read() {
                return Ok(());
            }
            let text = "it did not read each artifact to its end, where it is known to be whole";
            Err(Failure::new(FailureKind::Fatal, "ARTIFACT_NOT_READ", text).into())
        })
        .await?;
        Ok(Did::Read(bytes))
    }

    /// Has a module commit. Once begun it is let come to its end, also where somebody asks to stop: what follows from that follows after it.
    async fn commit(&self, restore: &Restore, name: &ParticipantName, back: bool) -> Result<Did, Failure> {
        if !self.held().leases.contains_key(name) {
            let text = "it does not stand still, so its live data is not touched";
            return Err(Failure::new(FailureKind::Fatal, "NOT_QUIESCED", text));
        }
        let code = self.code(name, restore, Stop::default())?.on_the_way_back(back);
        let limit = code.deadlines().write;
        code.call("commit", limit, |restore, phase| restore.commit(phase)).await.map(|()| Did::Done)
    }

    /// Throws away what is staged; where nothing was touched, what was kept of the state before too.
    async fn discard(&self, restore: &Restore) -> Result<Did, Failure> {
        let mut failed = None;
        for one in restore.modules() {
            let code = self.code(one.name(), restore, Stop::default())?;
            let limit = code.deadlines().prepare;
            if let Err(failure) = code.call("discard", limit, |restore, phase| restore.discard(phase)).await {
                tracing::warn!(participant = %one.name(), %failure, "what was staged stays until the next stage");
                failed = Some(failure);
            }
        }
        if !restore.is_touched() {
            self.remove_snapshot(restore).await?;
        }
        failed.map_or(Ok(Did::Done), Err)
    }

    async fn resume(&self, name: &ParticipantName, restore: &Restore) {
        let Some((_, lease)) = self.held().leases.remove(name) else { return };
        let resumed = match self.code(name, restore, Stop::default()) {
            Ok(code) => {
                let limit = code.deadlines().prepare;
                code.call("resume", limit, move |_, _| lease.resume()).await
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = resumed {
            tracing::error!(participant = %name, %failure, "a participant did not go on after a restore: see to it");
        }
    }
}

/// Where bytes come from.
enum Origin {
    Run(Arc<RunSource>),
    Safety(safety::Snapshot),
}

impl Origin {
    fn readers(&self, module: &Restoring) -> Result<Vec<(ArtifactStoredV1, ArtifactReader)>, RestoreError> {
        let with_reader = |artifact: &ArtifactStoredV1| {
            let reader = match self {
                Origin::Run(source) => source.reader(artifact)?,
                Origin::Safety(kept) => kept.reader(artifact)?,
            };
            Ok((artifact.clone(), reader))
        };
        match self {
            Origin::Run(source) => artifacts(source, module).map(with_reader).collect(),
            Origin::Safety(_) => module.safety_artifacts.iter().map(with_reader).collect(),
        }
    }
}

/// The artifacts of one module.
fn artifacts<'a>(source: &'a RunSource, module: &'a Restoring) -> impl Iterator<Item = &'a ArtifactStoredV1> {
    source.artifacts().iter().filter(|artifact| artifact.participant == *module.name())
}

/// That it may be taken though it did not complete was decided when it was asked for.
fn open(home: &Home, log: &dyn EventLog, run_id: RunId) -> Result<RunSource, Failure> {
    let replayed = replay::<Run>(log, &StreamId::run(run_id));
    let (run, _) = replayed.map_err(|error| Failure::new(FailureKind::Fatal, "LOG_UNREADABLE", error.to_string()))?;
    RunSource::open(home, &run, None, true).map_err(|error| restore_failure(&error))
}

fn unknown() -> Failure {
    Failure::new(FailureKind::Fatal, "RESTORE_RUN_NOT_FOUND", "the restore does not name what it is asked to do")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => Err(Failure::new(FailureKind::Fatal, "STORAGE_PANICKED", panic.to_string())),
    }
}

/// The moment at which all stand still.
fn now() -> holdfast_model::ids::Timestamp {
    SystemClock.now()
}
