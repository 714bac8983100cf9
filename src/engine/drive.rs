//! Participants' own code, each try on a thread of its own, with deadlines.
//!
//! A panic is caught at the thread's end. A stop is asked for: a flag the code may look at, and a sink that takes nothing more. What
//! does not return then is given up, and nothing is begun with that participant until it has returned.
//! Either way the artifacts of a failed try are gone before its failure is told.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast_actors::ports::{Job, Participants, PortFuture, Stop, WorkFailure, Written};
use holdfast_log::home::Home;
use holdfast_log::space;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ArtifactName, ParticipantName};
use holdfast_model::run::{ArtifactStoredV1, RunParticipant, StoredFileV1};
use tokio::sync::{oneshot, watch};

use super::backups::{Directories, failure as storage_failure};
use super::registry::{Registered, Registry};
use crate::participant::{
    Artifacts, Deadlines, Descriptor, FilesDefinition, FilesParticipant, Given, Participant, ParticipantError,
    Preflight, Pulse, Surroundings, lock,
};
use crate::pipeline::{Pipeline, StoredArtifact};

/// How long code that was told to stop may take to return.
const GRACE: Duration = Duration::from_secs(10);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);

/// The drivers of every kind of participant. Clones share them.
#[derive(Clone)]
pub(super) struct Drivers {
    home: PathBuf,
    directories: Directories,
    pipeline: Pipeline,
    min_free: u64,
    registry: Registry,
    living: Arc<Mutex<BTreeMap<ParticipantName, Living>>>,
}

/// Code of a participant that has not returned.
#[derive(Clone)]
struct Living {
    stop: Stop,
    pulse: Arc<Pulse>,
    returned: watch::Receiver<bool>,
}

impl Living {
    fn stop(&self) {
        self.stop.request();
        self.pulse.revoke();
    }

    /// Waits until it has returned; says whether it did in time.
    async fn gone(mut self, within: Duration) -> bool {
        tokio::time::timeout(within, self.returned.wait_for(|returned| *returned)).await.is_ok()
    }
}

/// What a try does just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Preflight,
    Write,
}

impl Participants for Drivers {
    fn drive(&self, job: Job) -> PortFuture<Result<Written, WorkFailure>> {
        let drivers = self.clone();
        Box::pin(async move { drivers.drive_now(job).await })
    }
}

impl Drivers {
    pub(super) fn new(
        home: &Home,
        directories: Directories,
        pipeline: Pipeline,
        min_free: u64,
        registry: Registry,
    ) -> Self {
        Self { home: home.root().to_owned(), directories, pipeline, min_free, registry, living: Arc::default() }
    }

    /// Tells all code that is at work to stop, and waits for it. What is left then is told by name.
    pub(super) async fn stop_all(&self) -> Vec<ParticipantName> {
        let living = self.living.lock().unwrap_or_else(PoisonError::into_inner).clone();
        living.values().for_each(Living::stop);
        let until = Instant::now() + GRACE;
        let mut left = Vec::new();
        for (name, one) in living {
            if !one.gone(until.saturating_duration_since(Instant::now())).await {
                left.push(name);
            }
        }
        left
    }

    async fn drive_now(self, job: Job) -> Result<Written, WorkFailure> {
        let registered = self.find(&job.participant).await?;
        self.wait_for_earlier(&job.participant.name).await?;
        let unknown = |error: crate::pipeline::InvalidCompression| {
            Failure::new(FailureKind::Fatal, "COMPRESSION_INVALID", error.to_string())
        };
        let compression = job.compression.parse().map_err(unknown)?;
        let (directories, run_id) = (self.directories.clone(), job.work.run_id);
        let opened = tokio::task::spawn_blocking(move || directories.run(run_id)).await;
        let opened = opened.map_err(|panic| Failure::new(FailureKind::Fatal, "STORAGE_PANICKED", panic.to_string()))?;
        let directory = opened.map_err(|error| storage_failure(&error))?;
        let pulse = Arc::new(Pulse::new());
        let surroundings = Surroundings {
            participant: job.participant.name.clone(),
            work: job.work.clone(),
            directory,
            pipeline: self.pipeline.clone(),
            compression,
            min_free: self.min_free,
            report: job.report.clone(),
            stop: job.stop.clone(),
            pulse: pulse.clone(),
            admit: job.admit.clone(),
        };
        let artifacts = Artifacts::new(surroundings.clone());
        let given = artifacts.given();
        let (step, steps) = watch::channel(Step::Preflight);
        let (returned, is_returned) = watch::channel(false);
        let (answer, answered) = oneshot::channel();
        let living = Living { stop: job.stop.clone(), pulse, returned: is_returned };
        let code = registered.code.clone();
        let thread = std::thread::Builder::new().name(thread_name(&job.participant.name)).spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| run(&*code, &surroundings, artifacts, &step)));
            let result = result.unwrap_or_else(|panic| Err(panicked(&surroundings.participant, &*panic)));
            let _ = answer.send(result);
        });
        if let Err(error) = thread {
            let text = format!("no thread for its code: {error}");
            return Err(Failure::new(FailureKind::Resource, "THREAD_FAILED", text).into());
        }
        let name = job.participant.name.clone();
        self.living.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), living.clone());
        let deadlines = registered.descriptor.deadlines;
        let result = Watch { job: &job, living: &living, deadlines, steps }.to_its_end(answered).await;
        let result = match result {
            Ok(()) => collect(&job.participant.name, &given),
            Err(failure) => Err(failure),
        };
        if result.is_err() {
            self.discard(&job, &given).await;
        }
        self.living.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        returned.send_replace(true);
        result
    }

    /// The code of a participant: from the run's own record where it was made up for the run, else as it is configured or registered,
    /// if that is still what it was.
    async fn find(&self, participant: &RunParticipant) -> Result<Registered, Failure> {
        let fatal = |code: &str, text: String| Failure::new(FailureKind::Fatal, code, text);
        let (name, kind) = (&participant.name, &participant.kind);
        if !participant.definition.is_empty() {
            if kind != FilesDefinition::KIND {
                let text = format!("this program has no participant kind {kind:?}");
                return Err(fatal("PARTICIPANT_KIND_UNKNOWN", text));
            }
            let definition: FilesDefinition = serde_json::from_str(&participant.definition)
                .map_err(|error| fatal("DEFINITION_INVALID", format!("its definition cannot be read: {error}")))?;
            let code = Arc::new(FilesParticipant::new(definition, self.home.clone()));
            let mut descriptor = Descriptor::new(name.as_str())
                .map_err(|error| fatal("DEFINITION_INVALID", format!("its name cannot be read: {error}")))?;
            descriptor.deadlines = FilesDefinition::DEADLINES;
            return Ok(Registered { descriptor, code });
        }
        let found = match kind.as_str() {
            // The application may register it a little after it has started the engine.
            Descriptor::MODULE => self.registry.find_late(name).await,
            _ => self.registry.find(name),
        };
        let Some(found) = found else {
            let text = match kind.as_str() {
                Descriptor::MODULE => format!("no module called {name} is registered: register it, then run again"),
                kind => {
                    format!("no participant called {name} of kind {kind} is configured: run again with its --config")
                }
            };
            return Err(fatal("PARTICIPANT_MISSING", text));
        };
        if found.descriptor.kind != *kind || found.descriptor.digest != participant.definition_sha256 {
            let text = format!("{name} is defined otherwise now than when the run was asked for: run again");
            return Err(fatal("DEFINITION_CHANGED", text));
        }
        Ok(found)
    }

    /// Code of the same participant that its actor has lost sight of ends first: never two tries at a time.
    async fn wait_for_earlier(&self, name: &ParticipantName) -> Result<(), Failure> {
        let earlier = self.living.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let Some(earlier) = earlier else { return Ok(()) };
        earlier.stop();
        if earlier.gone(GRACE).await {
            return Ok(());
        }
        let text = "it was told to stop earlier work and has not returned: restart the program it works in";
        Err(Failure::new(FailureKind::Fatal, "PARTICIPANT_STUCK", text))
    }

    /// Takes away what a failed try left.
    async fn discard(&self, job: &Job, given: &Mutex<Given>) {
        let files: Vec<ArtifactName> = {
            let given = lock(given);
            given.unfinished.iter().cloned().chain(given.stored.iter().map(|(_, stored)| stored.file.clone())).collect()
        };
        let (directories, run_id) = (self.directories.clone(), job.work.run_id);
        let discard = move || directories.run(run_id).and_then(|directory| directory.discard(&files));
        // What cannot be removed now is before the run is sealed, and never named in its manifest.
        if let Ok(Err(error)) = tokio::task::spawn_blocking(discard).await {
            tracing::warn!(%run_id, %error, "what a failed participant wrote cannot be removed yet");
        }
    }
}

/// One try, on its own thread.
fn run(
    code: &dyn Participant,
    surroundings: &Surroundings,
    mut artifacts: Artifacts,
    step: &watch::Sender<Step>,
) -> Result<(), ParticipantError> {
    let span =
        tracing::info_span!("participant", run_id = %surroundings.work.run_id, participant = %surroundings.participant);
    let _entered = span.enter();
    code.preflight(&Preflight::new(surroundings.stop.clone(), surroundings.admit.clone()))?;
    space::preflight(surroundings.directory.path(), surroundings.min_free, None)
        .map_err(|error| ParticipantError::new(FailureKind::Resource, error.code(), error.to_string()))?;
    surroundings.pulse.beat();
    step.send_replace(Step::Write);
    code.write(&mut artifacts)?;
    let given = artifacts.given();
    let open = lock(&given).unfinished.first().cloned();
    match open {
        Some(file) => Err(ParticipantError::fatal(
            "ARTIFACT_UNFINISHED",
            format!("{file} was begun and not finished: finish each artifact that is good"),
        )),
        None => Ok(()),
    }
}

/// What goes by while a try is at work.
struct Watch<'a> {
    job: &'a Job,
    living: &'a Living,
    deadlines: Deadlines,
    steps: watch::Receiver<Step>,
}

impl Watch<'_> {
    async fn to_its_end(
        mut self,
        mut answered: oneshot::Receiver<Result<(), ParticipantError>>,
    ) -> Result<(), WorkFailure> {
        let mut tick = tokio::time::interval(TICK);
        let mut since = Instant::now();
        let overdue = loop {
            tokio::select! {
                biased;
                result = &mut answered => return ended(result),
                _ = tick.tick() => {}
            }
            if self.steps.has_changed().unwrap_or(false) {
                self.steps.mark_unchanged();
                since = Instant::now();
            }
            if self.job.stop.requested() {
                break Failure::new(FailureKind::Cancelled, "CANCELLED", "it was told to stop");
            }
            let step = *self.steps.borrow();
            if let Some(failure) = self.overdue(step, since.elapsed()) {
                break failure;
            }
        };
        self.living.stop();
        match tokio::time::timeout(GRACE, &mut answered).await {
            // It may have been quicker than the wish; a deadline is one.
            Ok(Ok(Ok(()))) if overdue.kind == FailureKind::Cancelled => Ok(()),
            Ok(result) => Err(WorkFailure { failure: overdue, output: output(result) }),
            Err(_) => {
                (self.job.stuck)(overdue.clone());
                let result = answered.await;
                tracing::warn!(participant = %self.job.participant.name, "it has returned after all");
                Err(WorkFailure { failure: overdue, output: output(result) })
            }
        }
    }

    fn overdue(&self, step: Step, elapsed: Duration) -> Option<Failure> {
        let timeout = |code: &str, text: String| Some(Failure::new(FailureKind::Timeout, code, text));
        let passed = |limit: Option<Duration>, taken: Duration| limit.filter(|limit| taken > *limit);
        match step {
            Step::Preflight => passed(self.deadlines.preflight, elapsed)
                .and_then(|limit| timeout("PREFLIGHT_TIMEOUT", format!("its preflight took longer than {limit:?}"))),
            Step::Write => {
                if let Some(limit) = passed(self.deadlines.write, elapsed) {
                    return timeout("PARTICIPANT_TIMEOUT", format!("it took longer than {limit:?}"));
                }
                let limit = passed(self.deadlines.stall, self.living.pulse.silent_for())?;
                timeout("PARTICIPANT_STALLED", format!("nothing came from it for {limit:?}"))
            }
        }
    }
}

/// A try that has returned by itself.
fn ended(result: Result<Result<(), ParticipantError>, oneshot::error::RecvError>) -> Result<(), WorkFailure> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(WorkFailure { failure: error.failure().clone(), output: error.output().to_owned() }),
        Err(_) => Err(Failure::new(FailureKind::Retryable, "PARTICIPANT_PANICKED", "its thread ended early").into()),
    }
}

fn output(result: Result<Result<(), ParticipantError>, oneshot::error::RecvError>) -> String {
    match result {
        Ok(Err(error)) => error.output().to_owned(),
        _ => String::new(),
    }
}

fn panicked(name: &ParticipantName, panic: &(dyn std::any::Any + Send)) -> ParticipantError {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = format!("the code of participant {name} panicked: {}", said.unwrap_or("it said nothing"));
    ParticipantError::retryable("PARTICIPANT_PANICKED", text)
}

/// Thread names have at most 15 bytes on Linux.
fn thread_name(name: &ParticipantName) -> String {
    name.as_str().chars().take(15).collect()
}

fn collect(participant: &ParticipantName, given: &Mutex<Given>) -> Result<Written, WorkFailure> {
    let mut given = lock(given);
    let artifacts = given.stored.iter().map(|(name, stored)| artifact(participant, name, stored)).collect();
    Ok(Written {
        artifacts,
        files: given.files,
        warnings: std::mem::take(&mut given.warnings),
        notes: std::mem::take(&mut given.notes),
    })
}

fn artifact(participant: &ParticipantName, logical_name: &ArtifactName, stored: &StoredArtifact) -> ArtifactStoredV1 {
    ArtifactStoredV1 {
        participant: participant.clone(),
        logical_name: logical_name.clone(),
        stored: StoredFileV1 { file: stored.file.clone(), size_bytes: stored.stored_bytes, sha256: stored.sha256 },
        content_bytes: stored.content_bytes,
        content_sha256: stored.content_sha256,
        compression: stored.compression.to_string(),
        index: Some(StoredFileV1 {
            file: stored.index.file.clone(),
            size_bytes: stored.index.stored_bytes,
            sha256: stored.index.sha256,
        }),
    }
}
