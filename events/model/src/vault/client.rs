//! What a vault holds of one client: uploads that are open, and runs that are committed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use uuid::Uuid;

use crate::aggregate::{Aggregate, Moment};
use crate::event::VaultClientEvent;
use crate::ids::{ArtifactName, RunId, Sha256, Timestamp};

use super::events::{
    UploadEnd, VaultRunCommitRequestedV1, VaultRunCommittedV1, VaultRunDeleteRequestedV1, VaultRunDeletedV1,
    VaultUploadClosedV1, VaultUploadCreatedV1, VaultUploadFinishedV1, VaultUploadOpenedV1, VaultUploadRemovedV1,
};

/// How far a client's clock may be ahead of the vault's, in seconds. A run that was asked for later than that is of the future.
pub const CLOCK_TOLERANCE_S: i64 = 15 * 60;
/// Uploads that have ended and are known as such, for whoever asks for one again.
const MAX_GONE: usize = 1024;

/// An upload that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The run the file is of.
    pub run_id: RunId,
    /// The file's name in the run.
    pub file: ArtifactName,
    /// Its size and its SHA-256; none before they are said.
    pub said: Option<Said>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// Whether all of it is there.
    pub finished: bool,
}

/// What a file is as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub sha256: Sha256,
}

impl Upload {
    /// Its size, where it was said.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        self.said.map(|said| said.size_bytes)
    }

    /// Its SHA-256, where it was said.
    #[must_use]
    pub fn sha256(&self) -> Option<Sha256> {
        self.said.map(|said| said.sha256)
    }
}

/// A run that is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRun {
    /// The run.
    pub run_id: RunId,
    /// When the vault received it, by the vault's clock.
    pub received_at: Timestamp,
    /// Its files, the manifest and the list of hashes included.
    pub files: u32,
    /// Bytes of all of them.
    pub stored_bytes: u64,
    /// SHA-256 of its list of hashes.
    pub sums_sha256: Sha256,
}

/// A run that the vault has begun to commit or to delete, and has to bring to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// It is to be put into its place.
    Commit(RunId),
    /// It is to be deleted.
    Delete(RunId),
}

/// What the vault holds of one client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VaultClient {
    uploads: BTreeMap<Uuid, Upload>,
    gone: VecDeque<Uuid>,
    /// By the order in which they were received.
    runs: BTreeMap<u64, StoredRun>,
    places: BTreeMap<RunId, u64>,
    received: u64,
    committing: BTreeMap<RunId, StoredRun>,
    deleting: BTreeSet<RunId>,
    deleted: BTreeSet<RunId>,
}

impl VaultClient {
    /// An upload that is open.
    #[must_use]
    pub fn upload(&self, upload_id: Uuid) -> Option<&Upload> {
        self.uploads.get(&upload_id)
    }

    /// All uploads that are open.
    pub fn uploads(&self) -> impl Iterator<Item = (Uuid, &Upload)> {
        self.uploads.iter().map(|(id, upload)| (*id, upload))
    }

    /// The open uploads of one run.
    pub fn uploads_of(&self, run_id: RunId) -> impl Iterator<Item = (Uuid, &Upload)> {
        self.uploads().filter(move |(_, upload)| upload.run_id == run_id)
    }

    /// Whether there was such an upload, and has ended not long ago.
    #[must_use]
    pub fn is_gone(&self, upload_id: Uuid) -> bool {
        self.gone.contains(&upload_id)
    }

    /// A run that is committed.
    #[must_use]
    pub fn run(&self, run_id: RunId) -> Option<&StoredRun> {
        self.runs.get(self.places.get(&run_id)?)
    }

    /// Whether there was such a run and it was deleted.
    #[must_use]
    pub fn is_deleted(&self, run_id: RunId) -> bool {
        self.deleted.contains(&run_id)
    }

    /// The runs that are committed, the one received last first, from those before the one with number `before` on. Each with its number.
    pub fn runs_before(&self, before: u64) -> impl Iterator<Item = (u64, &StoredRun)> {
        self.runs.range(..before).rev().map(|(number, run)| (*number, run))
    }

    /// How many runs are committed.
    #[must_use]
    pub fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// Bytes of committed runs; those of a run that is being committed count as promised.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.runs.values().fold(0, |sum: u64, run| sum.saturating_add(run.stored_bytes))
    }

    /// Bytes of open uploads once they are whole, of those whose size was said.
    #[must_use]
    pub fn promised_bytes(&self) -> u64 {
        self.uploads.values().filter_map(Upload::size_bytes).fold(0, u64::saturating_add)
    }

    /// What was begun and has to be brought to its end.
    #[must_use]
    pub fn owed(&self) -> Vec<Owed> {
        let deletes = self.deleting.iter().map(|run_id| Owed::Delete(*run_id));
        let commits = self.committing.keys().filter(|run_id| !self.deleting.contains(run_id));
        commits.map(|run_id| Owed::Commit(*run_id)).chain(deletes).collect()
    }

    /// Whether a run is being committed.
    #[must_use]
    pub fn is_committing(&self, run_id: RunId) -> bool {
        self.committing.contains_key(&run_id)
    }
}

/// A file that a client wants to bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUpload {
    /// The upload.
    pub made: VaultUploadCreatedV1,
    /// What its client may have.
    pub limits: UploadLimits,
}

/// A file that a client wants to bring while it is still being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// The upload.
    pub made: VaultUploadOpenedV1,
    /// What its client may have.
    pub limits: UploadLimits,
}

/// What a client may have open and in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// Uploads that are open, at most.
    pub uploads: usize,
    /// Bytes of runs and uploads together, at most; none for no bound.
    pub quota_bytes: Option<u64>,
}

/// A wish about what a vault holds of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultClientCommand {
    /// Begin to bring a file.
    CreateUpload(NewUpload),
    /// Begin to bring a file whose end is not known.
    OpenUpload(OpenUpload),
    /// All of such a file is there.
    CloseUpload(VaultUploadClosedV1),
    /// All of it is there, and has its hash.
    FinishUpload(Uuid),
    /// End it without a run.
    RemoveUpload(Uuid, UploadEnd),
    /// Commit a run whose files are all there.
    RequestCommit(VaultRunCommitRequestedV1),
    /// It is in its place.
    ConfirmCommit(RunId),
    /// Delete a run.
    RequestDelete(RunId),
    /// It is gone.
    ConfirmDelete(RunId),
}

/// Why a wish about what a vault holds was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultClientRefusal {
    /// It was asked for at a time that has not come.
    #[error("run {0} is of the future by the vault's clock: see to the clocks of both machines")]
    FutureRun(RunId),
    /// It is there.
    #[error("run {0} is committed, and is never changed")]
    RunExists(RunId),
    /// It was there.
    #[error("run {0} was deleted from the vault, and does not come again")]
    RunDeleted(RunId),
    /// It is being committed.
    #[error("run {0} is being committed: ask for the commit again")]
    RunCommitting(RunId),
    /// It is not.
    #[error("there is no run {0}")]
    RunNotFound(RunId),
    /// A file of this name is on its way.
    #[error("upload {0} brings this file of the run already: go on with it, or end it first")]
    UploadExists(Uuid),
    /// There are as many as there may be.
    #[error("{0} uploads are open already: commit their runs, or end them")]
    TooManyUploads(usize),
    /// It would hold more than it may.
    #[error("{held} bytes of runs and uploads are in the vault, {asked} more would exceed the quota of {quota}")]
    QuotaExceeded {
        /// Bytes it holds.
        held: u64,
        /// Bytes it asked for.
        asked: u64,
        /// Bytes it may hold.
        quota: u64,
    },
    /// It was looked at, and has changed since.
    #[error("uploads of run {0} were begun or ended while it was looked at: ask for the commit again")]
    RunChanged(RunId),
    /// There is none.
    #[error("there is no such upload")]
    UploadNotFound,
    /// There was one.
    #[error("this upload has ended")]
    UploadGone,
    /// A file of the run is not whole.
    #[error("{file} of the run is not whole: bring the rest of upload {upload_id}")]
    UploadUnfinished {
        /// The upload.
        upload_id: Uuid,
        /// Its file.
        file: ArtifactName,
    },
}

impl VaultClientRefusal {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            VaultClientRefusal::FutureRun(_) => "RUN_IN_FUTURE",
            VaultClientRefusal::RunExists(_) => "RUN_EXISTS",
            VaultClientRefusal::RunDeleted(_) => "RUN_DELETED",
            VaultClientRefusal::RunCommitting(_) => "RUN_COMMITTING",
            VaultClientRefusal::RunNotFound(_) => "RUN_NOT_FOUND",
            VaultClientRefusal::RunChanged(_) => "RUN_CHANGED",
            VaultClientRefusal::UploadExists(_) => "UPLOAD_EXISTS",
            VaultClientRefusal::TooManyUploads(_) => "TOO_MANY_UPLOADS",
            VaultClientRefusal::QuotaExceeded { .. } => "QUOTA_EXCEEDED",
            VaultClientRefusal::UploadNotFound => "UPLOAD_NOT_FOUND",
            VaultClientRefusal::UploadGone => "UPLOAD_GONE",
            VaultClientRefusal::UploadUnfinished { .. } => "UPLOAD_UNFINISHED",
        }
    }
}

type Decision = Result<Vec<VaultClientEvent>, VaultClientRefusal>;

impl VaultClient {
    /// An upload that may still change.
    fn open(&self, upload_id: Uuid) -> Result<&Upload, VaultClientRefusal> {
        let missing =
            if self.is_gone(upload_id) { VaultClientRefusal::UploadGone } else { VaultClientRefusal::UploadNotFound };
        let upload = self.uploads.get(&upload_id).ok_or(missing)?;
        match self.committing.contains_key(&upload.run_id) {
            true => Err(VaultClientRefusal::RunCommitting(upload.run_id)),
            false => Ok(upload),
        }
    }

    /// Whether a run may still be brought.
    fn may_come(&self, run_id: RunId, now: Timestamp) -> Result<(), VaultClientRefusal> {
        let latest = Timestamp(now.0.saturating_add(CLOCK_TOLERANCE_S * 1_000_000));
        if run_id > RunId::new(latest, u32::MAX) {
            return Err(VaultClientRefusal::FutureRun(run_id));
        }
        if self.deleted.contains(&run_id) || self.deleting.contains(&run_id) {
            return Err(VaultClientRefusal::RunDeleted(run_id));
        }
        if self.places.contains_key(&run_id) {
            return Err(VaultClientRefusal::RunExists(run_id));
        }
        if self.committing.contains_key(&run_id) {
            return Err(VaultClientRefusal::RunCommitting(run_id));
        }
        Ok(())
    }

    fn create(&self, NewUpload { made, limits }: NewUpload, now: Timestamp) -> Decision {
        self.may_begin((made.upload_id, made.run_id, &made.file), limits, now)?;
        let held = self.stored_bytes().saturating_add(self.promised_bytes());
        if let Some(quota) = limits.quota_bytes
            && held.saturating_add(made.size_bytes) > quota
        {
            return Err(VaultClientRefusal::QuotaExceeded { held, asked: made.size_bytes, quota });
        }
        Ok(vec![VaultClientEvent::UploadCreated(made)])
    }

    /// Whether an upload of a file may be begun.
    fn may_begin(
        &self,
        (upload_id, run_id, file): (Uuid, RunId, &ArtifactName),
        limits: UploadLimits,
        now: Timestamp,
    ) -> Result<(), VaultClientRefusal> {
        self.may_come(run_id, now)?;
        let same = |upload: &Upload| upload.file.as_str().eq_ignore_ascii_case(file.as_str());
        if let Some((upload_id, _)) = self.uploads_of(run_id).find(|(_, upload)| same(upload)) {
            return Err(VaultClientRefusal::UploadExists(upload_id));
        }
        if self.uploads.len() >= limits.uploads || self.uploads.contains_key(&upload_id) {
            return Err(VaultClientRefusal::TooManyUploads(self.uploads.len()));
        }
        Ok(())
    }

    fn open_ended(&self, OpenUpload { made, limits }: OpenUpload, now: Timestamp) -> Decision {
        self.may_begin((made.upload_id, made.run_id, &made.file), limits, now)?;
        Ok(vec![VaultClientEvent::UploadOpened(made)])
    }

    fn request_commit(&self, wish: VaultRunCommitRequestedV1, now: Timestamp) -> Decision {
        if self.committing.contains_key(&wish.run_id) && !self.deleting.contains(&wish.run_id) {
            return Ok(Vec::new());
        }
        self.may_come(wish.run_id, now)?;
        if let Some((upload_id, upload)) = self.uploads_of(wish.run_id).find(|(_, upload)| !upload.finished) {
            return Err(VaultClientRefusal::UploadUnfinished { upload_id, file: upload.file.clone() });
        }
        match self.uploads_of(wish.run_id).count() {
            0 => return Err(VaultClientRefusal::RunNotFound(wish.run_id)),
            files if u32::try_from(files) != Ok(wish.files) => return Err(VaultClientRefusal::RunChanged(wish.run_id)),
            _ => {}
        }
        Ok(vec![VaultClientEvent::RunCommitRequested(wish)])
    }

    fn forget(&mut self, upload_id: Uuid) {
        if self.uploads.remove(&upload_id).is_some() {
            self.gone.push_back(upload_id);
            if self.gone.len() > MAX_GONE {
                self.gone.pop_front();
            }
        }
    }

    fn forget_uploads_of(&mut self, run_id: RunId) {
        let of_run: Vec<_> = self.uploads_of(run_id).map(|(upload_id, _)| upload_id).collect();
        of_run.into_iter().for_each(|upload_id| self.forget(upload_id));
    }
}

impl Aggregate for VaultClient {
    type Command = VaultClientCommand;
    type Event = VaultClientEvent;
    type Effect = ();
    type Refusal = VaultClientRefusal;

    fn decide(&self, command: VaultClientCommand, now: Timestamp) -> Decision {
        match command {
            VaultClientCommand::CreateUpload(new) => self.create(new, now),
            VaultClientCommand::OpenUpload(new) => self.open_ended(new, now),
            VaultClientCommand::CloseUpload(closed) => match self.open(closed.upload_id)?.said {
                Some(_) => Ok(Vec::new()),
                None => Ok(vec![VaultClientEvent::UploadClosed(closed)]),
            },
            VaultClientCommand::FinishUpload(upload_id) => match self.open(upload_id)?.finished {
                true => Ok(Vec::new()),
                false => Ok(vec![VaultClientEvent::UploadFinished(VaultUploadFinishedV1 { upload_id })]),
            },
            VaultClientCommand::RemoveUpload(upload_id, end) => {
                self.open(upload_id)?;
                Ok(vec![VaultClientEvent::UploadRemoved(VaultUploadRemovedV1 { upload_id, end })])
            }
            VaultClientCommand::RequestCommit(wish) => self.request_commit(wish, now),
            VaultClientCommand::ConfirmCommit(run_id) => match self.committing.contains_key(&run_id) {
                true => Ok(vec![VaultClientEvent::RunCommitted(VaultRunCommittedV1 { run_id })]),
                false => Ok(Vec::new()),
            },
            VaultClientCommand::RequestDelete(run_id) => {
                let is_there = self.places.contains_key(&run_id) || self.committing.contains_key(&run_id);
                match is_there {
                    _ if self.deleted.contains(&run_id) => Err(VaultClientRefusal::RunDeleted(run_id)),
                    _ if self.deleting.contains(&run_id) => Ok(Vec::new()),
                    true => Ok(vec![VaultClientEvent::RunDeleteRequested(VaultRunDeleteRequestedV1 { run_id })]),
                    false => Err(VaultClientRefusal::RunNotFound(run_id)),
                }
            }
            VaultClientCommand::ConfirmDelete(run_id) => match self.deleting.contains(&run_id) {
                true => Ok(vec![VaultClientEvent::RunDeleted(VaultRunDeletedV1 { run_id })]),
                false => Ok(Vec::new()),
            },
        }
    }

    fn apply(&mut self, event: &VaultClientEvent, moment: &Moment) {
        match event {
            VaultClientEvent::UploadCreated(made) => {
                let upload = Upload {
                    run_id: made.run_id,
                    file: made.file.clone(),
                    said: Some(Said { size_bytes: made.size_bytes, sha256: made.sha256 }),
                    created_at: moment.time,
                    finished: false,
                };
                self.uploads.insert(made.upload_id, upload);
            }
            VaultClientEvent::UploadOpened(made) => {
                let (run_id, file, created_at) = (made.run_id, made.file.clone(), moment.time);
                let upload = Upload { run_id, file, said: None, created_at, finished: false };
                self.uploads.insert(made.upload_id, upload);
            }
            VaultClientEvent::UploadClosed(closed) => {
                if let Some(upload) = self.uploads.get_mut(&closed.upload_id) {
                    upload.said = Some(Said { size_bytes: closed.size_bytes, sha256: closed.sha256 });
                    upload.finished = true;
                }
            }
            VaultClientEvent::UploadFinished(finished) => {
                if let Some(upload) = self.uploads.get_mut(&finished.upload_id) {
                    upload.finished = true;
                }
            }
            VaultClientEvent::UploadRemoved(removed) => self.forget(removed.upload_id),
            VaultClientEvent::RunCommitRequested(wish) => {
                let run = StoredRun {
                    run_id: wish.run_id,
                    received_at: moment.time,
                    files: wish.files,
                    stored_bytes: wish.stored_bytes,
                    sums_sha256: wish.sums_sha256,
                };
                self.committing.insert(wish.run_id, run);
            }
            VaultClientEvent::RunCommitted(VaultRunCommittedV1 { run_id }) => {
                if let Some(run) = self.committing.remove(run_id) {
                    self.received = self.received.saturating_add(1);
                    self.runs.insert(self.received, run);
                    self.places.insert(*run_id, self.received);
                }
                self.forget_uploads_of(*run_id);
            }
            VaultClientEvent::RunDeleteRequested(wish) => {
                self.deleting.insert(wish.run_id);
            }
            VaultClientEvent::RunDeleted(VaultRunDeletedV1 { run_id }) => {
                if let Some(place) = self.places.remove(run_id) {
                    self.runs.remove(&place);
                }
                self.committing.remove(run_id);
                self.forget_uploads_of(*run_id);
                self.deleting.remove(run_id);
                self.deleted.insert(*run_id);
            }
        }
    }

    fn effects(&self, _events: &[VaultClientEvent]) -> Vec<()> {
        Vec::new()
    }
}
