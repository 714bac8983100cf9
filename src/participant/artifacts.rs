//! What a participant writes into.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_actors::ports::{Note, Stop};
use holdfast_actors::report::Report;
use holdfast_model::failure::{Failure, FailureKind, Warnings};
use holdfast_model::ids::{ArtifactName, ParticipantName};
use holdfast_model::participant::{ChildV1, Work};
use holdfast_model::run::MAX_ARTIFACTS;

use super::descriptor::Deadlines;
use super::error::ParticipantError;
use super::pulse::Pulse;
use super::step::Steps;
use crate::encryption::{EXTENSION, EncryptTo};
use crate::pipeline::{ArtifactWriter, Compression, Course, Pipeline, StoredArtifact, WriteOptions};
use crate::storage::{RunDir, StorageError};

/// Records a child process durably, before it becomes the command it is for.
pub(crate) type Admit = Arc<dyn Fn(ChildV1) -> Result<(), Failure> + Send + Sync>;

/// What a try of a participant works with.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) participant: ParticipantName,
    pub(crate) work: Work,
    pub(crate) directory: Arc<RunDir>,
    pub(crate) pipeline: Pipeline,
    pub(crate) compression: Compression,
    pub(crate) encrypt_to: Option<Arc<EncryptTo>>,
    pub(crate) course: Course,
    pub(crate) min_free: u64,
    pub(crate) report: Arc<Report>,
    pub(crate) stop: Stop,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) admit: Admit,
    pub(crate) note: Note,
    pub(crate) deadlines: Deadlines,
    pub(crate) steps: Steps,
}

/// What a participant gave.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) stored: Vec<(ArtifactName, StoredArtifact)>,
    /// Files that were begun and not finished.
    pub(crate) unfinished: Vec<ArtifactName>,
    pub(crate) files: u64,
    pub(crate) warnings: Warnings,
    pub(crate) notes: Warnings,
}

/// The way from a participant into its artifacts, for one try of one run.
///
/// ```
/// use std::io::Write;
///
/// use holdfast::participant::{Artifacts, ParticipantError};
///
/// fn write(artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
///     let rows = ["alice", "bob", "carol"];
///     artifacts.expect_bytes(rows.iter().map(|row| row.len() as u64).sum());
///     let mut sink = artifacts.create("people")?;
///     for row in rows {
///         if row == "bob" {
///             artifacts.warn("bob is locked and left out");
///             continue;
///         }
///         sink.write_all(row.as_bytes())?;
///     }
///     sink.finish()?;
///
///     // Up to a hundred artifacts, one after the other.
///     let mut sink = artifacts.create("people.schema")?;
///     sink.write_all(b"a name a row")?;
///     sink.finish()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use holdfast::engine::{Backup, Holdfast};
/// # let folder = tempfile::tempdir()?;
/// let engine = Holdfast::builder(folder.path().join("home")).participant("people", write).start_blocking()?;
/// let run = engine.wait(engine.back_up(Backup::full())?)?;
/// assert_eq!((run.good_artifacts().count(), run.warning_count()), (2, 1));
/// engine.stop();
/// # Ok(())
/// # }
/// ```
pub struct Artifacts {
    surroundings: Surroundings,
    given: Arc<Mutex<Given>>,
}

impl Artifacts {
    pub(crate) fn new(surroundings: Surroundings) -> Self {
        Self { surroundings, given: Arc::default() }
    }

    /// Begins the artifact `logical_name`, for example `accounts.snapshot`: 1 to 128 of `[A-Za-z0-9._-]`, used once in a run without
    /// regard to case. One artifact is written at a time: finish it before the next.
    ///
    /// # Errors
    /// A name that is not legal or used already, an artifact that is still open, more than [`MAX_ARTIFACTS`], a stop, or a disk that refuses.
    pub fn create(&mut self, logical_name: &str) -> Result<ArtifactSink, ParticipantError> {
        let all = &self.surroundings;
        if all.stop.requested() {
            return Err(ParticipantError::new(FailureKind::Cancelled, "CANCELLED", "it was told to stop"));
        }
        if lock(&self.given).stored.len() >= MAX_ARTIFACTS {
            let message = format!("it writes more than {MAX_ARTIFACTS} artifacts: put several into one");
            return Err(ParticipantError::fatal("TOO_MANY_ARTIFACTS", message));
        }
        if let Some(open) = lock(&self.given).unfinished.first() {
            let message = format!("the artifact {open} is still open: finish it before {logical_name:?} is begun");
            return Err(ParticipantError::fatal("ARTIFACT_OPEN", message));
        }
        let name: ArtifactName = logical_name
            .parse()
            .map_err(|error| ParticipantError::fatal("ARTIFACT_NAME_INVALID", format!("{logical_name:?}: {error}")))?;
        let options = WriteOptions {
            compression: all.compression,
            reserve: None,
            encrypt_to: all.encrypt_to.clone(),
            course: all.course.clone(),
        };
        let (stem, file) = match all.encrypt_to {
            Some(_) => {
                let stem = all.directory.reserve_hidden(&name).map_err(|error| refused(&error))?;
                let file =
                    format!("{stem}.{EXTENSION}").parse().map_err(|error| refused(&StorageError::from(error)))?;
                (stem, file)
            }
            None => {
                let file = all.directory.reserve(&name, all.compression).map_err(|error| refused(&error))?;
                (name.clone(), file)
            }
        };
        lock(&self.given).unfinished.push(file);
        let _held = all.pulse.hold();
        let writer = ArtifactWriter::create(&all.pipeline, all.directory.path(), &stem, options)?;
        all.pulse.watch(writer.control());
        Ok(ArtifactSink { writer, name, surroundings: all.clone(), given: self.given.clone(), counted: true })
    }

    /// Says how many bytes there will be, for progress and the time to go.
    pub fn expect_bytes(&self, bytes: u64) {
        self.surroundings.report.total(None, Some(bytes));
    }

    /// Counts something that is missing from an artifact that is good otherwise. The run completes with warnings, or fails where it
    /// is strict.
    pub fn warn(&self, text: &str) {
        lock(&self.given).warnings.add(text);
    }

    /// Notes something for the record that nobody needs to act on.
    pub fn note(&self, text: &str) {
        lock(&self.given).notes.add(text);
    }

    /// Whether the engine wants it to stop: the run was cancelled, or a deadline passed. Sinks refuse from then on.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.surroundings.stop.requested()
    }

    /// A sign of life where no bytes come for long, for example while it sorts.
    pub fn alive(&self) {
        self.surroundings.pulse.beat();
    }

    /// For which run it works, in which attempt and try.
    #[must_use]
    pub fn work(&self) -> &Work {
        &self.surroundings.work
    }

    /// The participant's name.
    #[must_use]
    pub fn participant(&self) -> &ParticipantName {
        &self.surroundings.participant
    }

    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Sets how many files its artifacts hold.
    pub(crate) fn files(&self, files: u64) {
        lock(&self.given).files = files;
    }

    /// What was given until now, shared with the sinks.
    pub(crate) fn given(&self) -> Arc<Mutex<Given>> {
        self.given.clone()
    }
}

/// An artifact that is being written. It counts when [`ArtifactSink::finish`] says so; dropped before, its participant fails.
///
/// A write waits where the CPU or the disk is slower than the participant, and fails once the engine wants the participant to stop.
pub struct ArtifactSink {
    writer: ArtifactWriter,
    name: ArtifactName,
    surroundings: Surroundings,
    given: Arc<Mutex<Given>>,
    counted: bool,
}

impl ArtifactSink {
    /// Ends the artifact: when this returns it is whole and on stable storage.
    ///
    /// # Errors
    /// What the disk said; nothing of it is left then.
    pub fn finish(self) -> Result<(), ParticipantError> {
        let Self { writer, name, surroundings, given, .. } = self;
        let _held = surroundings.pulse.hold();
        let stored = writer.finish()?;
        let mut given = lock(&given);
        given.unfinished.retain(|file| *file != stored.file);
        given.stored.push((name, stored));
        Ok(())
    }

    /// Bytes do not count as progress: its writer counts them otherwise.
    pub(crate) fn uncounted(mut self) -> Self {
        self.counted = false;
        self
    }

    /// Adds a line of the participant's own to the artifact's index.
    pub(crate) fn entry(&mut self, line: &str) -> io::Result<()> {
        Ok(self.writer.entry(line)?)
    }
}

impl Write for ArtifactSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let held = self.surroundings.pulse.hold();
        let taken = self.writer.write(bytes)?;
        drop(held);
        if self.counted {
            self.surroundings.report.advance(0, taken as u64);
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn refused(error: &StorageError) -> ParticipantError {
    match error {
        StorageError::NameTaken { name } => ParticipantError::fatal(
            "ARTIFACT_NAME_TAKEN",
            format!("the artifact name {name} is used twice in the run: give each artifact its own name"),
        ),
        error => ParticipantError::fatal(error.code(), error.to_string()),
    }
}

pub(crate) fn lock(given: &Mutex<Given>) -> std::sync::MutexGuard<'_, Given> {
    given.lock().unwrap_or_else(PoisonError::into_inner)
}
