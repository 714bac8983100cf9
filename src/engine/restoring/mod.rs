//! Restores in place: the steps of a restore as the actors' port.
//!
//! Each step runs a participant's code on a thread of its own, with a deadline, behind a net for panics, and never beside other code of the same
//! participant. Who stands still is held here by name until the restore has ended. A step may be done again, by whoever comes after: what it
//! leaves is found by the restore's id.

mod begin;
mod call;
mod gate;
mod plan;
mod safety;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use actix::Addr;
use holdfast_actors::event_sourced::replay;
use holdfast_actors::ports::{Clock, PortFuture, RestoreJob, Restores, Stop};
use holdfast_actors::root::Root;
use holdfast_log::home::Home;
use holdfast_log::{EventLog, fault};
use holdfast_model::codec::Origin;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ParticipantName, RestoreId, RunId, StreamId};
use holdfast_model::restore::{Did, Restore, Restoring, Step};
use holdfast_model::run::{ArtifactStoredV1, Run};

pub(crate) use self::begin::Asked;
pub(super) use self::begin::settle;
pub(crate) use self::gate::restore_failure;
pub(super) use self::gate::{Gate, UntilStopped};
pub(crate) use self::plan::{InPlacePlan, NotPlanned, PlannedParticipant};
use super::drive::Drivers;
use super::registry::Registry;
use super::restores::RestoreClaim;
use super::settle;
use super::{Holdfast, SystemClock};
use crate::encryption::Keyring;
use crate::participant::{Lease, RestorePhase, Staging};
use crate::pipeline::ArtifactReader;
use crate::restore::{Key, RestoreError, RunSource, copy};

/// Restores in place. Clones share it.
#[derive(Clone)]
pub(super) struct Restorer {
    home: Home,
    log: Arc<dyn EventLog>,
    drivers: Drivers,
    registry: Registry,
    held: Arc<Mutex<Held>>,
    /// Who records that a participant stands still.
    records: Arc<OnceLock<(Addr<Root>, Origin)>>,
}

/// What is held for restores that have not ended.
#[derive(Default)]
struct Held {
    leases: BTreeMap<ParticipantName, (RestoreId, Lease)>,
    /// Runs that are being read: they are not deleted meanwhile.
    sources: BTreeMap<RestoreId, Arc<RunSource>>,
    /// What says that they are alive.
    claims: BTreeMap<RestoreId, Arc<RestoreClaim>>,
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
            for one in restore.participants().iter().rev() {
                restorer.resume(one.name(), &restore).await;
            }
            if let Some(request) = &restore.request {
                restorer.forget(request.restore_id);
            }
        })
    }

    fn forget(&self, restore_id: RestoreId) {
        let mut held = self.held();
        held.sources.remove(&restore_id);
        if let Some(claim) = held.claims.remove(&restore_id) {
            claim.recorded();
        }
    }
}

impl Restorer {
    pub(super) fn new(home: &Home, log: Arc<dyn EventLog>, drivers: &Drivers, registry: &Registry) -> Self {
        let (home, drivers, registry) = (home.clone(), drivers.clone(), registry.clone());
        Self { home, log, drivers, registry, held: Arc::default(), records: Arc::default() }
    }

    /// Has those recorded who stand still while the state before is kept.
    pub(super) fn recorded_by(&self, root: &Addr<Root>, origin: &Origin) {
        let _ = self.records.set((root.clone(), origin.clone()));
    }

    /// Lets everybody go who stands still.
    pub(super) fn let_go(&self) {
        let held = std::mem::take(&mut *self.held());
        drop(held);
    }

    /// Takes over a restore whose process is gone, after what that left running has ended.
    ///
    /// # Errors
    /// Why it cannot, for people.
    pub(super) async fn take_over(&self, restore_id: RestoreId) -> Result<(), String> {
        let (claim, child) = RestoreClaim::take_over(&self.home, restore_id).map_err(|error| error.to_string())?;
        if let Some((participant, child)) = child {
            settle::end_left_over(&participant, child).await?;
        }
        self.claims(restore_id, claim);
        Ok(())
    }

    /// Keeps what says that a restore is alive, until it has ended.
    pub(super) fn claims(&self, restore_id: RestoreId, claim: RestoreClaim) {
        self.held().claims.insert(restore_id, Arc::new(claim));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn step_now(&self, job: &RestoreJob) -> Result<Did, Failure> {
        let restore = &job.restore;
        match &job.step {
            Step::Verify => self.verify_source(job).await,
            Step::Quiesce => self.quiesce(job).await,
            Step::Snapshot => self.take_snapshot(job).await.map_err(not_kept),
            Step::Stage(name) => {
                let source = self.source(restore).await?;
                self.stage(job, name, Bytes::Run(source), false).await
            }
            Step::Commit(name) => self.commit(job, name, false).await,
            Step::Check(name) => {
                let code = self.code(name, restore, job.stop.clone())?;
                let limit = code.deadlines().write;
                code.call("verify", limit, |restore, phase| restore.verify(phase)).await.map(|()| Did::Done)
            }
            Step::RollBack(name) => {
                let kept = Bytes::Safety(self.open_snapshot(restore).await?);
                self.stage(job, name, kept, true).await?;
                fault::point("restore.step");
                self.commit(job, name, true).await
            }
            Step::Discard => self.discard(restore).await,
        }
    }

    /// Reads all that will be given to the participants, and throws it away: both hashes of each artifact are taken again.
    async fn verify_source(&self, job: &RestoreJob) -> Result<Did, Failure> {
        let source = self.source(&job.restore).await?;
        let names = job.restore.participants().iter().map(|one| one.name().clone()).collect();
        read_again(source, names, job.stop.clone()).await.map(Did::Read)
    }

    /// The run it takes the bytes from, kept from deletion until the restore has ended.
    async fn source(&self, restore: &Restore) -> Result<Arc<RunSource>, Failure> {
        let Some(request) = &restore.request else { return Err(unknown()) };
        let restore_id = request.restore_id;
        if let Some(source) = self.held().sources.get(&restore_id) {
            return Ok(source.clone());
        }
        let (home, log, run_id) = (self.home.clone(), self.log.clone(), request.source_run);
        let claim = self.held().claims.get(&restore_id).cloned();
        let source = blocking(move || {
            // What its first process has unwrapped: nothing after that needs the identity.
            let keys = claim.map_or(Ok(None), |claim| claim.keys());
            let keys = keys.map_err(|error| {
                Failure::new(
                    FailureKind::Fatal,
                    "KEY_FILE_UNREADABLE",
                    format!("the keys of restore {restore_id}: {error}"),
                )
            })?;
            open(&home, &*log, run_id, &keys.map_or_else(|| Key::Ring(Keyring::default()), Key::Files))
        });
        let source = Arc::new(source.await?);
        self.held().sources.insert(restore_id, source.clone());
        Ok(source)
    }

    /// Has all participants stand still, each after those it depends on. Who does already stays so.
    async fn quiesce(&self, job: &RestoreJob) -> Result<Did, Failure> {
        let restore_id = job.restore.request.as_ref().ok_or_else(unknown)?.restore_id;
        for one in job.restore.participants() {
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

    /// Gives a participant its artifacts.
    async fn stage(&self, job: &RestoreJob, name: &ParticipantName, origin: Bytes, back: bool) -> Result<Did, Failure> {
        let module = job.restore.participants().iter().find(|one| one.name() == name).ok_or_else(unknown)?.clone();
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

    /// Has a participant commit.
    async fn commit(&self, job: &RestoreJob, name: &ParticipantName, back: bool) -> Result<Did, Failure> {
        if !self.held().leases.contains_key(name) {
            let text = "it does not stand still, so its live data is not touched";
            return Err(Failure::new(FailureKind::Fatal, "NOT_QUIESCED", text));
        }
        let planned = job.restore.participants().iter().find(|one| one.name() == name).ok_or_else(unknown)?;
        // One step cannot be cut short. What takes longer can, where it does not put back what was before.
        let stop = if planned.planned.atomic || back { Stop::default() } else { job.stop.clone() };
        let code = self.code(name, &job.restore, stop)?.on_the_way_back(back);
        let limit = code.deadlines().write;
        let commit = |restore: &dyn crate::participant::Restore, phase: &RestorePhase| {
            restore.commit(phase).map(|()| phase.said())
        };
        let said = code.call("commit", limit, commit).await?;
        Ok(if back { Did::Done } else { Did::Said(said) })
    }

    /// Throws away what is staged; where nothing was touched, what was kept of the state before too.
    async fn discard(&self, restore: &Restore) -> Result<Did, Failure> {
        let mut failed = None;
        for one in restore.participants() {
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

impl Holdfast {
    /// Reads what participants have in a run, and throws it away: both hashes of each artifact are taken again. Content bytes.
    ///
    /// # Errors
    /// What is not as it was recorded.
    pub(crate) async fn read_again(
        &self,
        source: Arc<RunSource>,
        names: BTreeSet<ParticipantName>,
    ) -> Result<u64, Failure> {
        read_again(source, names, self.shared.restoring.stop.clone()).await
    }
}

async fn read_again(source: Arc<RunSource>, names: BTreeSet<ParticipantName>, stop: Stop) -> Result<u64, Failure> {
    blocking(move || {
        let mut bytes = 0;
        for artifact in source.artifacts().iter().filter(|artifact| names.contains(&artifact.participant)) {
            let reader = source.reader(artifact).map_err(|error| restore_failure(&error))?;
            copy(&reader, &mut io::sink(), &UntilStopped(stop.clone()), &mut bytes)
                .map_err(|error| restore_failure(&error))?;
        }
        Ok(bytes)
    })
    .await
}

/// Where bytes come from.
enum Bytes {
    Run(Arc<RunSource>),
    Safety(safety::Snapshot),
}

impl Bytes {
    fn readers(&self, module: &Restoring) -> Result<Vec<(ArtifactStoredV1, ArtifactReader)>, RestoreError> {
        let with_reader = |artifact: &ArtifactStoredV1| {
            let reader = match self {
                Bytes::Run(source) => source.reader(artifact)?,
                Bytes::Safety(kept) => kept.reader(artifact)?,
            };
            Ok((artifact.clone(), reader))
        };
        match self {
            Bytes::Run(source) => artifacts(source, module).map(with_reader).collect(),
            Bytes::Safety(_) => module.safety_artifacts.iter().map(with_reader).collect(),
        }
    }
}

/// Why nothing is begun where the state before has to be kept.
fn not_kept(failure: Failure) -> Failure {
    if failure.kind == FailureKind::Cancelled {
        return failure;
    }
    let text = format!(
        "the state before cannot be kept: {}; where it cannot be read, or nobody needs it, restore with safety `none`",
        failure.message
    );
    Failure::new(failure.kind, &failure.code, text)
}

/// The artifacts of one participant.
fn artifacts<'a>(source: &'a RunSource, module: &'a Restoring) -> impl Iterator<Item = &'a ArtifactStoredV1> {
    source.artifacts().iter().filter(|artifact| artifact.participant == *module.name())
}

/// That it may be taken though it did not complete was decided when it was asked for.
fn open(home: &Home, log: &dyn EventLog, run_id: RunId, key: &Key) -> Result<RunSource, Failure> {
    let replayed = replay::<Run>(log, &StreamId::run(run_id));
    let (run, _) = replayed.map_err(|error| Failure::new(FailureKind::Fatal, "LOG_UNREADABLE", error.to_string()))?;
    RunSource::open(home, &run, None, true, key).map_err(|error| restore_failure(&error))
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
