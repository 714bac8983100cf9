//! A run's artifacts, opened for reading and kept from deletion meanwhile.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_log::home::Home;
use holdfast_model::ids::{ParticipantName, RunId};
use holdfast_model::run::{ArtifactStoredV1, Retained, Run, RunStatus};

use super::error::RestoreError;
use crate::files::Entry;
use crate::pipeline::index::IndexLine;
use crate::pipeline::{ArtifactReader, FrameTable, IndexReader, Pipeline};
use crate::storage::{ManifestArtifact, ReadLease, Storage};

/// A run that is being read. As long as it lives the run's directory is not deleted.
pub struct RunSource {
    run_id: RunId,
    home: PathBuf,
    lease: ReadLease,
    pipeline: Pipeline,
    artifacts: Vec<ArtifactStoredV1>,
}

impl RunSource {
    /// Opens the good artifacts of a run, or of one participant of it.
    ///
    /// # Errors
    /// [`RestoreError`] where the run is open or deleted, not completed (unless `accept_incomplete`), has no good
    /// participant of that name, or its manifest is not as it was published.
    pub fn open(
        home: &Home,
        run: &Run,
        participant: Option<&ParticipantName>,
        accept_incomplete: bool,
    ) -> Result<Self, RestoreError> {
        let run_id = run.id().ok_or(RestoreError::NotRestorable { run_id: unknown(), status: "unknown" })?;
        if run.retained() != Retained::Kept {
            return Err(RestoreError::Deleted(run_id));
        }
        let status = run.status(true);
        let refused = run.is_open() || (status != RunStatus::Completed && !accept_incomplete);
        let artifacts: Vec<_> = run
            .good_artifacts()
            .filter(|artifact| participant.is_none_or(|name| *name == artifact.participant))
            .cloned()
            .collect();
        if refused || (participant.is_none() && artifacts.is_empty()) {
            return Err(RestoreError::NotRestorable { run_id, status: status.as_str() });
        }
        if let Some(participant) = participant.filter(|_| artifacts.is_empty()) {
            return Err(RestoreError::NoParticipant { run_id, participant: participant.clone() });
        }
        let lease = Storage::at(home.backups()).lease(run_id)?;
        lease.check_manifest(run.sums_sha256())?;
        let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Ok(Self {
            run_id,
            home: home.root().to_owned(),
            lease,
            pipeline: Pipeline::new(workers, workers + 4)?,
            artifacts,
        })
    }

    /// The run.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.run_id
    }

    /// The home it lies in.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its good artifacts.
    #[must_use]
    pub fn artifacts(&self) -> &[ArtifactStoredV1] {
        &self.artifacts
    }

    /// The stored bytes of an artifact.
    ///
    /// # Errors
    /// [`RestoreError`] where the file is not there or its size is not as recorded.
    pub fn reader(&self, artifact: &ArtifactStoredV1) -> Result<ArtifactReader, RestoreError> {
        Ok(self.lease.artifact(&self.pipeline, &recorded(artifact)?)?)
    }

    /// An artifact's index, after it was read again and found as recorded.
    ///
    /// # Errors
    /// [`RestoreError`] where there is none or it is not as recorded.
    pub fn index(&self, artifact: &ArtifactStoredV1) -> Result<IndexReader, RestoreError> {
        self.lease.index(&recorded(artifact)?)?.ok_or_else(|| RestoreError::NoIndex(artifact.logical_name.clone()))
    }

    /// What is in an artifact, in the order it was written.
    ///
    /// # Errors
    /// As [`RunSource::index`].
    pub fn entries(&self, artifact: &ArtifactStoredV1) -> Result<Entries, RestoreError> {
        Ok(Entries(self.index(artifact)?))
    }

    /// Where the frames of an artifact lie.
    ///
    /// # Errors
    /// As [`RunSource::index`].
    pub fn frames(&self, artifact: &ArtifactStoredV1) -> Result<Arc<FrameTable>, RestoreError> {
        Ok(Arc::new(self.index(artifact)?.frames()?))
    }
}

/// The id shown for a run without a first event.
fn unknown() -> RunId {
    RunId::new(holdfast_model::ids::Timestamp(0), 0)
}

fn recorded(artifact: &ArtifactStoredV1) -> Result<ManifestArtifact, RestoreError> {
    crate::engine::recorded(artifact).map_err(RestoreError::Unknown)
}

/// The entries of an index.
pub struct Entries(IndexReader);

impl Iterator for Entries {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        loop {
            return match self.0.next()? {
                Ok(IndexLine::Frame(_)) => continue,
                Ok(IndexLine::Entry(line)) => {
                    Some(serde_json::from_str(&line).map_err(|error| self.0.refuse(error.to_string()).into()))
                }
                Err(error) => Some(Err(error.into())),
            };
        }
    }
}
