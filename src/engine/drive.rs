//! Participants' own code, run on threads of its own.
//!
//! A panic is caught at the thread's end and a stop is a flag the code looks at; either way the artifacts of that try
//! are gone before its failure is told.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_actors::ports::{Job, Participants, PortFuture, Stop, Written};
use holdfast_actors::report::Report;
use holdfast_log::home::Home;
use holdfast_log::space;
use holdfast_model::failure::{Failure, FailureKind, Warnings};
use holdfast_model::ids::{ArtifactName, InvalidName, ParticipantName};
use holdfast_model::run::{ArtifactStoredV1, StoredFileV1};
use serde::{Deserialize, Serialize};

use super::backups::{Directories, failure as storage_failure};
use crate::files::{self, Entry, Env, FileId, FilesError, FilesSpec, Observer, Output, Summary};
use crate::pipeline::{
    ArtifactWriter, Compression, InvalidCompression, Pipeline, PipelineError, StoredArtifact, WriteOptions,
};

/// How much smaller than its content an artifact is thought to be at best, where it is compressed.
const BEST_RATIO: u64 = 10;

/// A `files` participant as a run records it. Fields are only ever added, with a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesDefinition {
    /// What to take.
    #[serde(flatten)]
    pub spec: FilesSpec,
    /// Whether a source without anything in it passes.
    #[serde(default)]
    pub allow_empty: bool,
}

impl FilesDefinition {
    /// The name of this kind of participant.
    pub const KIND: &'static str = "files";
}

/// The drivers of every kind of participant.
pub(super) struct Drivers {
    home: PathBuf,
    directories: Directories,
    pipeline: Pipeline,
    min_free: u64,
}

impl Drivers {
    pub(super) fn new(home: &Home, directories: Directories, pipeline: Pipeline, min_free: u64) -> Self {
        Self { home: home.root().to_owned(), directories, pipeline, min_free }
    }
}

impl Participants for Drivers {
    fn drive(&self, job: Job) -> PortFuture<Result<Written, Failure>> {
        let work = FilesWork {
            home: self.home.clone(),
            directories: self.directories.clone(),
            pipeline: self.pipeline.clone(),
            min_free: self.min_free,
            job,
        };
        Box::pin(async move {
            let (directories, run_id) = (work.directories.clone(), work.job.work.run_id);
            let (name, file) = (work.job.participant.name.clone(), work.file());
            let result = match tokio::task::spawn_blocking(move || work.run()).await {
                Ok(result) => result,
                Err(panic) => Err(Failure::new(
                    FailureKind::Fatal,
                    "PARTICIPANT_PANICKED",
                    format!("the code of participant {name} panicked: {panic}"),
                )),
            };
            if let (Err(_), Ok((_, file))) = (&result, file) {
                let discard = move || directories.run(run_id).and_then(|directory| directory.discard(&[file]));
                // What cannot be removed now is before the run is sealed, and never named in its manifest.
                if let Ok(Err(error)) = tokio::task::spawn_blocking(discard).await {
                    tracing::warn!(%run_id, %error, "what a failed participant wrote cannot be removed yet");
                }
            }
            result
        })
    }
}

/// One try of one `files` participant.
struct FilesWork {
    home: PathBuf,
    directories: Directories,
    pipeline: Pipeline,
    min_free: u64,
    job: Job,
}

impl FilesWork {
    fn compression(&self) -> Result<Compression, Failure> {
        let unknown =
            |error: InvalidCompression| Failure::new(FailureKind::Fatal, "COMPRESSION_INVALID", error.to_string());
        self.job.compression.parse().map_err(unknown)
    }

    /// The logical name of its artifact, and the name of its file.
    fn file(&self) -> Result<(ArtifactName, ArtifactName), Failure> {
        let invalid = |error: InvalidName| Failure::new(FailureKind::Fatal, "ARTIFACT_NAME_INVALID", error.to_string());
        let logical: ArtifactName = format!("{}.tar", self.job.participant.name).parse().map_err(invalid)?;
        let file = self.compression()?.file_name(&logical).map_err(invalid)?;
        Ok((logical, file))
    }

    fn run(self) -> Result<Written, Failure> {
        let fatal = |code: &str, text: String| Failure::new(FailureKind::Fatal, code, text);
        let kind = &self.job.participant.kind;
        if kind != FilesDefinition::KIND {
            return Err(fatal("PARTICIPANT_KIND_UNKNOWN", format!("this program has no participant kind {kind:?}")));
        }
        let definition: FilesDefinition = serde_json::from_str(&self.job.participant.definition)
            .map_err(|error| fatal("DEFINITION_INVALID", format!("its definition cannot be read: {error}")))?;
        let compression = self.compression()?;
        let (logical_name, file) = self.file()?;
        let home = FileId::of(&self.home).map_err(|error| fatal("HOME_UNREADABLE", error.to_string()))?;
        let env = Env { skip: vec![home] };
        let directory = self.directories.run(self.job.work.run_id).map_err(|error| storage_failure(&error))?;

        let observer = Watcher::new(self.job.report.clone(), self.job.stop.clone());
        let totals = files::scan(&definition.spec, &env, &observer).map_err(|error| failure(&error))?;
        self.job.report.total(Some(totals.files), Some(totals.bytes));
        let estimate = if compression == Compression::None { totals.length } else { totals.length / BEST_RATIO };
        space::preflight(directory.path(), self.min_free, Some(estimate))
            .map_err(|error| Failure::new(FailureKind::Resource, error.code(), error.to_string()))?;

        // An interrupted attempt may have left files under these names.
        let clear = directory.discard(&[file]).and_then(|()| directory.reserve(&logical_name, compression));
        clear.map_err(|error| storage_failure(&error))?;
        let options = WriteOptions { compression, reserve: None };
        let writer = ArtifactWriter::create(&self.pipeline, directory.path(), &logical_name, options);
        let mut sink = Sink { writer: writer.map_err(|error| pipeline_failure(&error))? };
        let summary = files::write(&definition.spec, &env, &mut sink, &observer).map_err(|error| failure(&error))?;
        refuse_empty(&definition, &summary)?;
        let stored = sink.writer.finish().map_err(|error| pipeline_failure(&error))?;
        let (warnings, notes) = observer.found();
        let artifact = artifact(&self.job.participant.name, logical_name, stored);
        Ok(Written { artifacts: vec![artifact], files: summary.files, warnings, notes })
    }
}

/// A source with nothing in it is what an empty mount point looks like.
fn refuse_empty(definition: &FilesDefinition, summary: &Summary) -> Result<(), Failure> {
    let given = definition.spec.paths.len() as u64;
    let only_the_folders = summary.files == 0 && summary.others == 0 && summary.folders <= given;
    if !only_the_folders || definition.allow_empty {
        return Ok(());
    }
    let paths: Vec<_> = definition.spec.paths.iter().map(|path| path.display().to_string()).collect();
    let text =
        format!("there is nothing in {}: see whether it is mounted, or allow it with --allow-empty", paths.join(", "));
    Err(Failure::new(FailureKind::Fatal, "SOURCE_EMPTY", text))
}

fn artifact(participant: &ParticipantName, logical_name: ArtifactName, stored: StoredArtifact) -> ArtifactStoredV1 {
    ArtifactStoredV1 {
        participant: participant.clone(),
        logical_name,
        stored: StoredFileV1 { file: stored.file, size_bytes: stored.stored_bytes, sha256: stored.sha256 },
        content_bytes: stored.content_bytes,
        content_sha256: stored.content_sha256,
        compression: stored.compression.to_string(),
        index: Some(StoredFileV1 {
            file: stored.index.file,
            size_bytes: stored.index.stored_bytes,
            sha256: stored.index.sha256,
        }),
    }
}

/// A failure of the files engine, or of what it wrote to.
fn failure(error: &FilesError) -> Failure {
    if let FilesError::Output(output) = error
        && let Some(error) = PipelineError::inside(output)
    {
        return pipeline_failure(error);
    }
    let kind = match error {
        FilesError::Cancelled => FailureKind::Cancelled,
        FilesError::Output(_) | FilesError::Unreadable { .. } => FailureKind::Retryable,
        _ => FailureKind::Fatal,
    };
    Failure::new(kind, error.code(), error.to_string())
}

fn pipeline_failure(error: &PipelineError) -> Failure {
    let kind = match error {
        PipelineError::StorageFull { .. } => FailureKind::Resource,
        PipelineError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => FailureKind::Resource,
        PipelineError::Revoked { .. } => FailureKind::Cancelled,
        error if error.retryable() => FailureKind::Retryable,
        _ => FailureKind::Fatal,
    };
    Failure::new(kind, error.code(), error.to_string())
}

/// An artifact as the files engine writes to it.
struct Sink {
    writer: ArtifactWriter,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Output for Sink {
    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        let line = serde_json::to_string(entry)?;
        Ok(self.writer.entry(&line)?)
    }
}

/// Hears what the files engine tells.
struct Watcher {
    report: Arc<Report>,
    stop: Stop,
    found: Mutex<(Warnings, Warnings)>,
}

impl Watcher {
    fn new(report: Arc<Report>, stop: Stop) -> Self {
        Self { report, stop, found: Mutex::default() }
    }

    fn found(&self) -> (Warnings, Warnings) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Watcher {
    fn advance(&self, files: u64, bytes: u64) {
        self.report.advance(files, bytes);
    }

    fn warn(&self, path: &Path, reason: &str) {
        tracing::warn!(path = %path.display(), reason, "left out or doubtful");
        self.found.lock().unwrap_or_else(PoisonError::into_inner).0.add(&format!("{}: {reason}", path.display()));
    }

    fn note(&self, path: &Path, reason: &str) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).1.add(&format!("{}: {reason}", path.display()));
    }

    fn cancelled(&self) -> bool {
        self.stop.requested()
    }
}
