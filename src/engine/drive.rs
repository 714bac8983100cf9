//! Participants' own code, each try on a thread of its own, with deadlines.
//!
//! A panic is caught at the thread's end. A stop is asked for: a flag the code may look at, and a sink that takes nothing more. What
//! does not return then is given up, and nothing is begun with that participant until it has returned.
//! Either way the artifacts of a failed try are gone before its failure is told.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use holdfast_actors::ports::{
    BarrierFailure, BarrierJob, Job, Known, Note, Participants, PortFuture, WorkFailure, Written,
};
use holdfast_log::home::Home;
use holdfast_log::space;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ArtifactName, ParticipantName, RunId};
use holdfast_model::participant::{ChildV1, NOT_ENDED};
use holdfast_model::run::{ArtifactStoredV1, Held, RunParticipant, Staging, StoredFileV1};
use tokio::sync::{oneshot, watch};

use super::backups::{Directories, failure as storage_failure};
use super::barrier::{self, Captures};
use super::keys;
use super::overseer::{Living, Watch, cancelled, stopped};
use super::registry::{Registered, Registry};
use super::streams::Streams;
use crate::command;
use crate::participant::{
    Artifacts, Capture, Descriptor, FilesDefinition, FilesParticipant, Given, Participant, ParticipantError, Preflight,
    Pulse, Step, Steps, Surroundings, lock,
};
use crate::pipeline::{Course, Pipeline, StoredArtifact};

/// The drivers of every kind of participant. Clones share them.
#[derive(Clone)]
pub(super) struct Drivers {
    home: PathBuf,
    directories: Directories,
    pipeline: Pipeline,
    min_free: u64,
    registry: Registry,
    streams: Streams,
    living: Arc<Mutex<Population>>,
    captures: Captures,
    /// Who was let go last, and in which run: what nobody may be there to record.
    thawed: Arc<Mutex<BTreeMap<ParticipantName, RunId>>>,
}

/// The code that is at work, by home: an engine that was stopped may have left some behind, and the next one in this process begins
/// nothing beside it.
static HOMES: Mutex<BTreeMap<PathBuf, Arc<Mutex<Population>>>> = Mutex::new(BTreeMap::new());

/// The code that is at work.
#[derive(Default)]
struct Population {
    by_name: BTreeMap<ParticipantName, Living>,
    /// The engine stops: nothing more is begun.
    closed: bool,
}

impl Participants for Drivers {
    fn drive(&self, job: Job) -> PortFuture<Result<Written, WorkFailure>> {
        let drivers = self.clone();
        Box::pin(async move { drivers.drive_now(job).await })
    }

    fn barrier(&self, job: BarrierJob) -> PortFuture<Result<Held, BarrierFailure>> {
        Box::pin(barrier::hold(self.clone(), job))
    }

    fn release(&self, run_id: RunId) {
        self.captures.release(run_id);
    }

    fn stop(&self, run_id: RunId) -> PortFuture<()> {
        let living: Vec<_> = self.population().by_name.values().filter(|one| one.run_id == run_id).cloned().collect();
        Box::pin(async move {
            living.iter().for_each(Living::stop);
            for one in living {
                let grace = one.grace;
                one.gone(grace).await;
            }
        })
    }
}

impl Drivers {
    pub(super) fn new(
        home: &Home,
        directories: Directories,
        pipeline: Pipeline,
        min_free: u64,
        registry: Registry,
        streams: Streams,
    ) -> Self {
        let root = home.root().to_owned();
        let key = std::fs::canonicalize(&root).unwrap_or_else(|_| root.clone());
        let living = HOMES.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        living.lock().unwrap_or_else(PoisonError::into_inner).closed = false;
        Self {
            home: root,
            directories,
            pipeline,
            min_free,
            registry,
            streams,
            living,
            captures: Captures::default(),
            thawed: Arc::default(),
        }
    }

    pub(super) fn pipeline(&self) -> Pipeline {
        self.pipeline.clone()
    }

    /// How much of the disk stays free, in bytes.
    pub(super) fn min_free(&self) -> u64 {
        self.min_free
    }

    /// Whether a run is being worked on.
    pub(super) fn has_open_runs(&self) -> bool {
        self.directories.has_open()
    }

    /// Tells all code that is at work to stop, and waits for it. What is left then is told by name.
    pub(super) async fn stop_all(&self) -> Vec<ParticipantName> {
        let living = {
            let mut population = self.population();
            population.closed = true;
            population.by_name.clone()
        };
        living.values().for_each(Living::stop);
        let began = Instant::now();
        let mut left = Vec::new();
        for (name, one) in living {
            let within = one.grace.saturating_sub(began.elapsed());
            if !one.gone_and_thawed(within).await {
                left.push(name);
            }
        }
        left
    }

    /// Waits until nobody is being let go by a process just now.
    pub(super) async fn thaws_ended(&self) {
        let living: Vec<_> = self.population().by_name.values().cloned().collect();
        for one in living {
            one.pulse.thawed().await;
        }
    }

    /// The same note, which also remembers who was let go.
    pub(super) fn noting(&self, name: &ParticipantName, run_id: RunId, note: &Note) -> Note {
        let (thawed, name, note) = (self.thawed.clone(), name.clone(), note.clone());
        Arc::new(move |known| {
            if known == Known::Thawed {
                thawed.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), run_id);
            }
            note(known)
        })
    }

    /// Who was let go last, and in which run.
    pub(super) fn thawed(&self) -> BTreeMap<ParticipantName, RunId> {
        self.thawed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn population(&self) -> MutexGuard<'_, Population> {
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn drive_now(self, job: Job) -> Result<Written, WorkFailure> {
        let registered = tokio::select! {
            found = self.find(&job.participant) => found?,
            () = stopped(&job.stop) => return Err(cancelled().into()),
        };
        self.wait_for_earlier(&job.participant.name).await?;
        end_left_over(&job.left_over).await?;
        let unknown = |error: crate::pipeline::InvalidCompression| {
            Failure::new(FailureKind::Fatal, "COMPRESSION_INVALID", error.to_string())
        };
        let compression = job.compression.parse().map_err(unknown)?;
        let (directories, run_id) = (self.directories.clone(), job.work.run_id);
        let encryption = job.encryption.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let encrypt_to = directories.encrypt_to(&encryption).map_err(|error| keys::failure(&error))?;
            Ok((directories.run(run_id).map_err(|error| storage_failure(&error))?, encrypt_to))
        });
        let opened = opened.await;
        let opened = opened.map_err(|panic| Failure::new(FailureKind::Fatal, "STORAGE_PANICKED", panic.to_string()))?;
        let (directory, encrypt_to) = opened.map_err(|failure: Failure| failure)?;
        let course = self.course(&job).await?;
        let pulse = Arc::new(Pulse::new());
        let deadlines = registered.descriptor.deadlines;
        let (reporting, steps) = Steps::new(deadlines);
        let surroundings = Surroundings {
            participant: job.participant.name.clone(),
            work: job.work.clone(),
            directory,
            pipeline: self.pipeline.clone(),
            compression,
            encrypt_to,
            course,
            min_free: self.min_free,
            report: job.report.clone(),
            stop: job.stop.clone(),
            pulse: pulse.clone(),
            admit: job.admit.clone(),
            note: self.noting(&job.participant.name, job.work.run_id, &job.note),
            deadlines,
            steps: reporting,
        };
        let artifacts = Artifacts::new(surroundings.clone());
        let given = artifacts.given();
        let (returned, is_returned) = watch::channel(false);
        let (answer, answered) = oneshot::channel();
        let living = Living {
            run_id: job.work.run_id,
            stop: job.stop.clone(),
            pulse,
            grace: deadlines.grace,
            returned: is_returned,
            steps,
        };
        let code = registered.code.clone();
        let name = job.participant.name.clone();
        let mut capture = self.captures.take(job.work.run_id, &name);
        if job.participant.frozen.is_some() && capture.is_none() {
            let text = "what it had at the moment of the barrier is gone: run again";
            return Err(Failure::new(FailureKind::Fatal, "BARRIER_LOST", text).into());
        }
        self.lives(&name, &living)?;
        let captures = self.captures.clone();
        let thread = std::thread::Builder::new().name(thread_name(&name)).spawn(move || {
            let result =
                catch_unwind(AssertUnwindSafe(|| run(&*code, capture.as_deref_mut(), &surroundings, artifacts)));
            let result = result.unwrap_or_else(|panic| Err(panicked(&surroundings.participant, &*panic)));
            // There may be another try.
            if let (Err(_), Some(capture)) = (&result, capture) {
                captures.keep(surroundings.work.run_id, &surroundings.participant, capture);
            }
            let _ = answer.send(result);
        });
        let result = match thread {
            Ok(_) => {
                let credits = self.pipeline.credits();
                Watch { job: &job, living: &living, deadlines, credits }.until_its_end(answered).await
            }
            Err(error) => {
                let text = format!("no thread for its code: {error}");
                Err(Failure::new(FailureKind::Resource, "THREAD_FAILED", text).into())
            }
        };
        // A sink that its code has put away somewhere writes nothing into a run that has seen its end.
        living.pulse.revoke();
        let result = result.map(|()| collect(&name, &given));
        if result.is_err() {
            self.discard(&job, &given).await;
        }
        self.died(&name);
        returned.send_replace(true);
        result
    }

    /// Where its artifacts' bytes go.
    async fn course(&self, job: &Job) -> Result<Course, Failure> {
        let (run_id, copies) = (job.work.run_id, &job.copies);
        match copies.staging {
            Staging::Local if copies.endpoints.is_empty() => Ok(Course::Disk),
            Staging::Local => Ok(self.streams.followed(run_id)),
            Staging::None => tokio::select! {
                course = self.streams.depot(run_id, &copies.endpoints) => course,
                () = stopped(&job.stop) => Err(cancelled()),
            },
        }
    }

    /// Its code is at work from now on.
    pub(super) fn lives(&self, name: &ParticipantName, living: &Living) -> Result<(), Failure> {
        let mut population = self.population();
        if population.closed || living.stop.requested() {
            return Err(cancelled());
        }
        population.by_name.insert(name.clone(), living.clone());
        Ok(())
    }

    /// Its code has returned.
    pub(super) fn died(&self, name: &ParticipantName) {
        self.population().by_name.remove(name);
    }

    /// What was captured and is not written yet.
    pub(super) fn captures(&self) -> &Captures {
        &self.captures
    }

    /// The code of a participant: from the run's own record where it was made up for the run, else as it is configured or registered,
    /// if that is still what it was.
    pub(super) async fn find(&self, participant: &RunParticipant) -> Result<Registered, Failure> {
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
    pub(super) async fn wait_for_earlier(&self, name: &ParticipantName) -> Result<(), Failure> {
        let earlier = self.population().by_name.get(name).cloned();
        let Some(earlier) = earlier else { return Ok(()) };
        earlier.stop();
        let grace = earlier.grace;
        if earlier.gone_and_thawed(grace).await {
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
        // Code that outlived the engine has no part in a home that may be somebody else's.
        let Some(owner) = directories.owner() else { return };
        let discard = move || {
            let discarded = directories.run(run_id).and_then(|directory| directory.discard(&files));
            drop(owner);
            discarded
        };
        // What cannot be removed now is before the run is sealed, and never named in its manifest.
        if let Ok(Err(error)) = tokio::task::spawn_blocking(discard).await {
            tracing::warn!(%run_id, %error, "what a failed participant wrote cannot be removed yet");
        }
    }
}

/// One try, on its own thread. A deadline that passed while nobody looked is found here.
fn run(
    code: &dyn Participant,
    capture: Option<&mut (dyn Capture + 'static)>,
    surroundings: &Surroundings,
    mut artifacts: Artifacts,
) -> Result<(), ParticipantError> {
    let span =
        tracing::info_span!("participant", run_id = %surroundings.work.run_id, participant = %surroundings.participant);
    let _entered = span.enter();
    if capture.is_none() {
        code.preflight(&Preflight::new(surroundings.stop.clone(), surroundings.admit.clone()))?;
        surroundings.steps.in_time()?;
    }
    space::preflight(surroundings.directory.path(), surroundings.min_free, None)
        .map_err(|error| ParticipantError::new(FailureKind::Resource, error.code(), error.to_string()))?;
    surroundings.pulse.beat();
    surroundings.steps.begin(Step::Write(Instant::now()))?;
    match capture {
        Some(capture) => capture.write(&mut artifacts)?,
        None => code.write(&mut artifacts)?,
    }
    surroundings.steps.in_time()?;
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

/// Processes of earlier tries that could not be ended then: where they still cannot, nothing is begun beside them.
async fn end_left_over(children: &[ChildV1]) -> Result<(), Failure> {
    for child in children.iter().copied() {
        let ended = tokio::task::spawn_blocking(move || command::end_left_over(&child)).await;
        let error = match ended {
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        let text = format!(
            "what an earlier try started (process group {}) still runs and cannot be ended: {error}",
            child.group
        );
        return Err(Failure::new(FailureKind::Fatal, NOT_ENDED, text));
    }
    Ok(())
}

pub(super) fn panicked(name: &ParticipantName, panic: &(dyn std::any::Any + Send)) -> ParticipantError {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = format!("the code of participant {name} panicked: {}", said.unwrap_or("it said nothing"));
    ParticipantError::retryable("PARTICIPANT_PANICKED", text)
}

/// Thread names have at most 15 bytes on Linux.
pub(super) fn thread_name(name: &ParticipantName) -> String {
    name.as_str().chars().take(15).collect()
}

pub(super) fn collect(participant: &ParticipantName, given: &Mutex<Given>) -> Written {
    let mut given = lock(given);
    let artifacts = given.stored.iter().map(|(name, stored)| artifact(participant, name, stored)).collect();
    Written {
        artifacts,
        files: given.files,
        warnings: std::mem::take(&mut given.warnings),
        notes: std::mem::take(&mut given.notes),
    }
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
