//! Files and folders as a participant.

mod restore;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use holdfast_log::space;
use holdfast_model::failure::FailureKind;
use serde::{Deserialize, Serialize};

use super::{ArtifactSink, Artifacts, Deadlines, Participant, ParticipantError, Preflight, Restore};
use crate::files::{self, Entry, Env, FileId, FilesError, FilesSpec, Observer, Output, Summary};
use crate::pipeline::{Compression, PipelineError};

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

    /// A tree may take days; a disk that answers nothing for five minutes does not answer.
    pub const DEADLINES: Deadlines = Deadlines {
        preflight: Some(Duration::from_secs(60)),
        prepare: None,
        freeze: Deadlines::FREEZE,
        write: None,
        stall: Some(Duration::from_secs(300)),
        grace: Deadlines::GRACE,
    };
}

/// Writes files and folders as one tar stream, and puts them back where they are.
pub(crate) struct FilesParticipant {
    definition: FilesDefinition,
    home: PathBuf,
    /// What could not be restored as it was of what is staged, and under which key.
    doubts: Mutex<Option<(String, String)>>,
}

impl FilesParticipant {
    /// `home` is never part of what it takes.
    pub(crate) fn new(definition: FilesDefinition, home: PathBuf) -> Self {
        Self { definition, home, doubts: Mutex::default() }
    }
}

impl Participant for FilesParticipant {
    /// Each given path is there and can be listed or read.
    fn preflight(&self, _check: &Preflight) -> Result<(), ParticipantError> {
        self.definition.spec.check_patterns().map_err(|error| failure(&error))?;
        for path in &self.definition.spec.paths {
            let looked = path.symlink_metadata().and_then(|facts| match facts.file_type() {
                kind if kind.is_dir() => path.read_dir().map(drop),
                kind if kind.is_file() => std::fs::File::open(path).map(drop),
                _ => Ok(()),
            });
            looked.map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => failure(&FilesError::Missing { path: path.clone() }),
                _ => failure(&FilesError::Unreadable { path: path.clone(), source }),
            })?;
        }
        Ok(())
    }

    fn restore(&self) -> Option<&dyn Restore> {
        Some(self)
    }

    fn write(&self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        let written = write(&self.definition, &self.home, false, artifacts)?;
        refuse_empty(&self.definition, &written.summary)?;
        written.finish(artifacts)
    }
}

/// A stream that is written and not finished yet.
struct Written {
    summary: Summary,
    sink: Sink,
}

impl Written {
    fn finish(self, artifacts: &Artifacts) -> Result<(), ParticipantError> {
        artifacts.files(self.summary.files);
        self.sink.0.finish()
    }
}

/// Writes what a definition names. A path that is not there is passed over where it `may_be_missing`.
fn write(
    definition: &FilesDefinition,
    home: &Path,
    may_be_missing: bool,
    artifacts: &mut Artifacts,
) -> Result<Written, ParticipantError> {
    let home = FileId::of(home).map_err(|error| ParticipantError::fatal("HOME_UNREADABLE", error.to_string()))?;
    let env = Env { skip: vec![home], may_be_missing };
    let name = format!("{}.tar", artifacts.participant());

    let totals = files::scan(&definition.spec, &env, &Watcher(artifacts)).map_err(|error| failure(&error))?;
    let surroundings = artifacts.surroundings();
    surroundings.report.total(Some(totals.files), Some(totals.bytes));
    let compressed = surroundings.compression != Compression::None;
    let estimate = if compressed { totals.length / BEST_RATIO } else { totals.length };
    space::preflight(surroundings.directory.path(), surroundings.min_free, Some(estimate))
        .map_err(|error| ParticipantError::new(FailureKind::Resource, error.code(), error.to_string()))?;

    let mut sink = Sink(artifacts.create(&name)?.uncounted());
    let summary =
        files::write(&definition.spec, &env, &mut sink, &Watcher(artifacts)).map_err(|error| failure(&error))?;
    Ok(Written { summary, sink })
}

/// A source with nothing in it is what an empty mount point looks like.
fn refuse_empty(definition: &FilesDefinition, summary: &Summary) -> Result<(), ParticipantError> {
    let given = definition.spec.paths.len() as u64;
    let only_the_folders = summary.files == 0 && summary.others == 0 && summary.folders <= given;
    if !only_the_folders || definition.allow_empty {
        return Ok(());
    }
    let paths: Vec<_> = definition.spec.paths.iter().map(|path| path.display().to_string()).collect();
    let text = format!(
        "there is nothing in {}: see whether it is mounted, or allow it with --allow-empty or `allow_empty = true`",
        paths.join(", ")
    );
    Err(ParticipantError::fatal("SOURCE_EMPTY", text))
}

/// A failure of the files engine, or of what it wrote to.
fn failure(error: &FilesError) -> ParticipantError {
    if let FilesError::Output(source) | FilesError::Input(source) = error
        && let Some(error) = PipelineError::inside(source)
    {
        return error.clone().into();
    }
    let kind = match error {
        FilesError::Cancelled => FailureKind::Cancelled,
        FilesError::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => FailureKind::Fatal,
        FilesError::Restore { source, .. } if source.kind() == io::ErrorKind::StorageFull => FailureKind::Resource,
        FilesError::Output(_) | FilesError::Unreadable { .. } => FailureKind::Retryable,
        _ => FailureKind::Fatal,
    };
    ParticipantError::new(kind, error.code(), error.to_string())
}

/// An artifact as the files engine writes to it.
struct Sink(ArtifactSink);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Output for Sink {
    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        let line = serde_json::to_string(entry)?;
        self.0.entry(&line)
    }
}

/// Hears what the files engine tells. That it asks is a sign of life.
struct Watcher<'a>(&'a Artifacts);

impl Observer for Watcher<'_> {
    fn advance(&self, files: u64, bytes: u64) {
        self.0.surroundings().report.advance(files, bytes);
    }

    fn warn(&self, path: &Path, reason: &str) {
        tracing::warn!(path = %path.display(), reason, "left out or doubtful");
        self.0.warn(&format!("{}: {reason}", path.display()));
    }

    fn note(&self, path: &Path, reason: &str) {
        self.0.note(&format!("{}: {reason}", path.display()));
    }

    fn cancelled(&self) -> bool {
        self.0.alive();
        self.0.stopped()
    }
}
