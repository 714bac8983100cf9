//! A run's artifacts, opened for reading and kept from deletion meanwhile.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_log::home::Home;
use holdfast_model::ids::{ParticipantName, RunId, Timestamp};
use holdfast_model::run::{ArtifactStoredV1, Encryption, Retained, Run, RunStatus};

use super::error::RestoreError;
use super::streams;
use crate::encryption::{FileKey, FileKeys, Keyring};
use crate::files::Entry;
use crate::own_state;
use crate::participant::FilesDefinition;
use crate::pipeline::index::IndexLine;
use crate::pipeline::{ArtifactReader, FrameTable, IndexReader, Pipeline};
use crate::storage::{MANIFEST, ManifestArtifact, ReadLease, Storage, StorageError, key_refused};

/// What an artifact's content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A tree of files, as a tar stream with an index of its members.
    Tree,
    /// Bytes that its participant alone understands.
    Stream,
}

/// A run that is being read. As long as it lives the run's directory is not deleted.
pub struct RunSource {
    run_id: RunId,
    run: Run,
    home: PathBuf,
    lease: ReadLease,
    pipeline: Pipeline,
    artifacts: Vec<ArtifactStoredV1>,
    encryption: Encryption,
    keys: Option<FileKeys>,
    /// Participants whose artifacts are trees.
    trees: BTreeSet<ParticipantName>,
    taken: Timestamp,
}

impl RunSource {
    /// Opens the good artifacts of a run, or of one participant of it. Where the run is encrypted the keys of all of them are unwrapped
    /// here, so that a key that does not fit is found before anything is read or touched.
    ///
    /// # Errors
    /// [`RestoreError`] where the run is open or deleted, not completed (unless `accept_incomplete`), has no good
    /// participant of that name, or its manifest is not as it was published.
    pub fn open(
        home: &Home,
        run: &Run,
        participant: Option<&ParticipantName>,
        accept_incomplete: bool,
        key: &Key,
    ) -> Result<Self, RestoreError> {
        let run_id = run.id().ok_or(RestoreError::NotRestorable { run_id: unknown(), status: "unknown" })?;
        if run.retained() != Retained::Kept {
            return Err(run.elsewhere().map_or(RestoreError::Deleted(run_id), RestoreError::KeptRemotely));
        }
        let status = run.status(true);
        let refused = run.is_open() || (status != RunStatus::Completed && !accept_incomplete);
        // What an import could not tell, the key does.
        let revealed = if refused || !run.is_masked() { None } else { reveal(home, run, run_id, key)? };
        let (run, manifest_key) = match &revealed {
            Some((revealed, key)) => (revealed, Some(key.clone())),
            None => (run, None),
        };
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
        let mut keys = unlock(&lease, run, &artifacts, key)?;
        if let Some(manifest_key) = manifest_key {
            keys.get_or_insert_default().insert(MANIFEST.parse().map_err(StorageError::from)?, manifest_key);
        }
        let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Ok(Self {
            run_id,
            run: run.clone(),
            home: home.root().to_owned(),
            lease,
            pipeline: Pipeline::new(workers, workers + 4)?,
            artifacts,
            encryption: run.encryption().clone(),
            keys,
            trees: trees(run),
            taken: run.started_at().unwrap_or_else(|| run.requested_at()),
        })
    }

    /// The same without the state of the installation, which is no data of anybody's: it is restored where it is asked for by name. Where
    /// the run has nothing else, it stays.
    #[must_use]
    pub fn without_own_state(mut self) -> Self {
        let run = &self.run;
        let others = |artifact: &ArtifactStoredV1| !own_state::is_own(run, &artifact.participant);
        if self.artifacts.iter().any(others) {
            self.artifacts.retain(others);
        }
        self
    }

    /// The run.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.run_id
    }

    /// The run, with what its key tells of it where an import could not.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
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

    /// What an artifact of it is.
    #[must_use]
    pub fn form(&self, artifact: &ArtifactStoredV1) -> Form {
        if self.trees.contains(&artifact.participant) { Form::Tree } else { Form::Stream }
    }

    /// The one artifact of a participant whose artifacts are streams.
    ///
    /// # Errors
    /// [`RestoreError::HoldsFiles`] where it has trees, [`RestoreError::NotOneStream`] where there are several.
    pub fn only_stream(&self, participant: &ParticipantName) -> Result<&ArtifactStoredV1, RestoreError> {
        let mut own = self.artifacts().iter().filter(|artifact| artifact.participant == *participant);
        match (own.next(), own.next()) {
            (Some(one), _) if self.form(one) == Form::Tree => {
                Err(RestoreError::HoldsFiles { participant: participant.clone() })
            }
            (Some(one), None) => Ok(one),
            (None, _) => Err(RestoreError::NoParticipant { run_id: self.run_id(), participant: participant.clone() }),
            (Some(_), Some(_)) => {
                let own = self.artifacts().iter().filter(|artifact| artifact.participant == *participant);
                let names = own.map(|artifact| artifact.logical_name.clone()).collect();
                Err(RestoreError::NotOneStream { participant: participant.clone(), names })
            }
        }
    }

    /// When the run was started: the time of what has none of its own.
    #[must_use]
    pub fn taken(&self) -> Timestamp {
        self.taken
    }

    /// Whether its artifacts are of more than one participant.
    #[must_use]
    pub fn has_several_participants(&self) -> bool {
        let first = self.artifacts.first();
        self.artifacts.iter().any(|artifact| first.is_some_and(|first| first.participant != artifact.participant))
    }

    /// The stored bytes of an artifact.
    ///
    /// # Errors
    /// [`RestoreError`] where the file is not there or its size is not as recorded.
    pub fn reader(&self, artifact: &ArtifactStoredV1) -> Result<ArtifactReader, RestoreError> {
        Ok(self.lease.artifact(&self.pipeline, &self.recorded(artifact)?, self.keys.as_ref())?)
    }

    /// An artifact's index, after it was read again and found as recorded.
    ///
    /// # Errors
    /// [`RestoreError`] where there is none or it is not as recorded.
    pub fn index(&self, artifact: &ArtifactStoredV1) -> Result<IndexReader, RestoreError> {
        let index = self.lease.index(&self.recorded(artifact)?, self.keys.as_ref())?;
        index.ok_or_else(|| RestoreError::NoIndex(artifact.logical_name.clone()))
    }

    /// What is in an artifact, in the order it was written: of a stream, the one file that it is shown as.
    ///
    /// # Errors
    /// As [`RunSource::index`].
    pub fn entries(&self, artifact: &ArtifactStoredV1) -> Result<Entries, RestoreError> {
        match self.form(artifact) {
            Form::Tree => Ok(Entries(Listed::Index(self.index(artifact)?))),
            Form::Stream => Ok(Entries(Listed::Stream(Some(streams::entry(artifact, self.taken))))),
        }
    }

    /// Where the frames of an artifact lie.
    ///
    /// # Errors
    /// As [`RunSource::index`].
    pub fn frames(&self, artifact: &ArtifactStoredV1) -> Result<Arc<FrameTable>, RestoreError> {
        Ok(Arc::new(self.index(artifact)?.frames()?))
    }

    /// The keys of its files, where it is encrypted.
    #[must_use]
    pub fn keys(&self) -> Option<&FileKeys> {
        self.keys.as_ref()
    }

    fn recorded(&self, artifact: &ArtifactStoredV1) -> Result<ManifestArtifact, RestoreError> {
        crate::engine::recorded(artifact, &self.encryption).map_err(RestoreError::Unknown)
    }
}

/// What opens a run that is encrypted. One that is not needs none.
#[derive(Debug, Clone)]
pub enum Key {
    /// Nothing: only stored bytes are looked at.
    Without,
    /// Private keys, of which one opens it.
    Ring(Keyring),
    /// The keys of its files, as somebody else has unwrapped them.
    Files(FileKeys),
}

/// A run that was imported without what only its key tells, with that; and the key of the manifest's encrypted part. `None` where content
/// is not looked at.
fn reveal(home: &Home, run: &Run, run_id: RunId, key: &Key) -> Result<Option<(Run, FileKey)>, RestoreError> {
    let lease = Storage::at(home.backups()).lease(run_id)?;
    lease.check_manifest(run.sums_sha256())?;
    let (outer, path) = (lease.manifest()?, lease.path().join(MANIFEST));
    let refused = |ring: &Keyring| StorageError::Encryption(key_refused(run_id, run.encryption().opened_by(), ring));
    let manifest_key = match key {
        Key::Without => return Ok(None),
        Key::Ring(ring) => outer.unlock(ring, &path)?.ok_or_else(|| refused(ring))?,
        Key::Files(keys) => {
            let name = MANIFEST.parse().map_err(StorageError::from)?;
            keys.get(&name).cloned().ok_or_else(|| refused(&Keyring::default()))?
        }
    };
    let inner = outer.open_with(&manifest_key, &path)?;
    let participants = crate::engine::participants_said(&inner).map_err(RestoreError::Unknown)?;
    Ok(Some((run.revealed(&participants), manifest_key)))
}

/// The keys of the artifacts and their indexes, where the run is encrypted and its content is to be read.
fn unlock(
    lease: &ReadLease,
    run: &Run,
    artifacts: &[ArtifactStoredV1],
    key: &Key,
) -> Result<Option<FileKeys>, RestoreError> {
    let encryption = run.encryption();
    if !encryption.is_on() {
        return Ok(None);
    }
    let index = |artifact: &ArtifactStoredV1| artifact.index.as_ref().map(|index| index.file.clone());
    let files =
        artifacts.iter().flat_map(|artifact| std::iter::once(artifact.stored.file.clone()).chain(index(artifact)));
    let refused = |ring: &Keyring| StorageError::Encryption(key_refused(lease.run_id(), encryption.opened_by(), ring));
    match key {
        Key::Without => Ok(None),
        Key::Files(keys) => {
            let mut files = files;
            match files.all(|file| keys.get(&file).is_some()) {
                true => Ok(Some(keys.clone())),
                false => Err(refused(&Keyring::default()).into()),
            }
        }
        Key::Ring(ring) if ring.is_empty() => Err(refused(ring).into()),
        Key::Ring(ring) => {
            let mut keys = FileKeys::default();
            for file in files {
                let key = lease.unlock(ring, &file)?.ok_or_else(|| refused(ring))?;
                keys.insert(file, key);
            }
            Ok(Some(keys))
        }
    }
}

/// The id shown for a run without a first event.
fn unknown() -> RunId {
    RunId::new(holdfast_model::ids::Timestamp(0), 0)
}

/// The participants of a run that store trees.
fn trees(run: &Run) -> BTreeSet<ParticipantName> {
    let trees = run.participants().iter().filter(|participant| participant.kind == FilesDefinition::KIND);
    trees.map(|participant| participant.name.clone()).collect()
}

/// The entries of an artifact.
pub struct Entries(Listed);

enum Listed {
    Index(IndexReader),
    Stream(Option<Entry>),
}

impl Iterator for Entries {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        let index = match &mut self.0 {
            Listed::Index(index) => index,
            Listed::Stream(entry) => return entry.take().map(Ok),
        };
        loop {
            return match index.next()? {
                Ok(IndexLine::Frame(_)) => continue,
                Ok(IndexLine::Entry(line)) => {
                    Some(serde_json::from_str(&line).map_err(|error| index.refuse(error.to_string()).into()))
                }
                Err(error) => Some(Err(error.into())),
            };
        }
    }
}
