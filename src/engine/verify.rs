//! Ended runs against what was recorded of them: every size and stored hash again from disk.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};

use holdfast_actors::event_sourced::CommandError;
use holdfast_actors::root::RootError;
use holdfast_log::home::Home;
use holdfast_model::failure::Warnings;
use holdfast_model::ids::RunId;
use holdfast_model::run::{Refusal, Retained, Run, RunVerifiedV1};

use tokio::sync::{Mutex, Semaphore};

use super::{EngineError, Holdfast};
use crate::restore::{Key, RunSource};
use crate::storage::{Storage, StorageError};

/// What a verification of a run found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files read, or missed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is not as it was recorded: the file, and why.
    pub errors: Vec<(String, String)>,
    /// Files beside those of the run: named, and no fault of it.
    pub extra: Vec<String>,
}

impl VerifyReport {
    /// What is found where the whole directory is gone.
    #[must_use]
    pub fn missing(run: &Run, reason: &StorageError) -> Self {
        Self { files: 0, bytes: 0, errors: vec![(run.path(), reason.to_string())], extra: Vec::new() }
    }

    /// Whether everything is as recorded.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.errors.is_empty()
    }

    /// What is recorded of it.
    #[must_use]
    pub fn recorded(&self) -> RunVerifiedV1 {
        let mut errors = Warnings::default();
        self.errors.iter().for_each(|(file, error)| errors.add(&format!("{file}: {error}")));
        RunVerifiedV1 { ok: self.is_good(), files: self.files, bytes: self.bytes, errors }
    }
}

/// Takes sizes and hashes of an ended run again. Meanwhile it is kept from deletion.
///
/// # Errors
/// [`StorageError`] where its directory cannot be opened or is being deleted, [`StorageError::RunDirectoryMissing`] where it is gone.
pub(crate) fn verify(home: &Home, run: &Run, run_id: RunId) -> Result<VerifyReport, StorageError> {
    let lease = Storage::at(home.backups()).lease(run_id)?;
    let found = lease.verify(run.sums_sha256(), &mut |_| {});
    let mut report = VerifyReport {
        files: found.files.len() as u64,
        bytes: found.files.iter().map(|file| file.size_bytes).sum(),
        errors: found.faults().map(|(file, error)| (file.name.clone(), error.to_string())).collect(),
        extra: found.extra,
    };
    // Where manifest and list are gone the log still knows the artifacts.
    let unlisted: Vec<_> = run
        .good_artifacts()
        .filter(|artifact| !found.files.iter().any(|file| file.name == artifact.stored.file.as_str()))
        .collect();
    if !unlisted.is_empty() {
        let source = RunSource::open(home, run, None, true, &Key::Without);
        for artifact in unlisted {
            let read = source.as_ref().map_err(ToString::to_string).and_then(|source| {
                let reader = source.reader(artifact).map_err(|error| error.to_string())?;
                reader.check_stored(&mut |_| {}).map_err(|error| error.to_string())
            });
            report.files += 1;
            report.bytes += artifact.stored.size_bytes;
            report.errors.extend(read.err().map(|error| (artifact.stored.file.to_string(), error)));
        }
    }
    Ok(report)
}

/// Verifications made at a time: each reads as fast as the disk gives.
const AT_A_TIME: usize = 2;

/// One verification of a run, for all who ask for it while it is made.
type Shared = Arc<Mutex<Option<VerifyReport>>>;

/// The verifications under way: one of a run at a time, and few in all. Others wait.
pub(super) struct Verifying {
    turns: Semaphore,
    runs: std::sync::Mutex<BTreeMap<RunId, Weak<Mutex<Option<VerifyReport>>>>>,
}

impl Default for Verifying {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_A_TIME), runs: std::sync::Mutex::default() }
    }
}

impl Verifying {
    /// The one that is under way for a run, or the place of a new one.
    fn of(&self, run_id: RunId) -> Shared {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        // Those nobody waits for any more: their caller went away, or they could not be made.
        runs.retain(|_, one| one.strong_count() > 0);
        if let Some(one) = runs.get(&run_id).and_then(Weak::upgrade) {
            return one;
        }
        let one = Shared::default();
        runs.insert(run_id, Arc::downgrade(&one));
        one
    }

    /// Who asks from now on is not content with what was found before.
    fn forget(&self, run_id: RunId) {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).remove(&run_id);
    }
}

impl Holdfast {
    /// Takes every size and stored hash of an ended run again from disk, and records what was found. Asked again while it is at it, it
    /// answers the same to all; two runs are verified at a time, and others wait for their turn.
    ///
    /// # Errors
    /// [`EngineError`] with the code `BACKUP_RUN_NOT_FOUND` where there is no such run or it was deleted, `BACKUP_RUN_ACTIVE` where it
    /// has not ended, `RUN_DIRECTORY_MISSING` where it ended without a directory; where its directory cannot be read at all, or nothing
    /// can be recorded.
    pub async fn verify(&self, run_id: RunId) -> Result<VerifyReport, EngineError> {
        let verifying = &self.shared.verifying;
        let one = verifying.of(run_id);
        // Whoever asks for the same run meanwhile waits here, and is given what was found.
        let mut found = one.lock().await;
        if let Some(report) = &*found {
            return Ok(report.clone());
        }
        let _turn = verifying.turns.acquire().await.map_err(|_| EngineError::Stopped)?;
        let report = self.verify_now(run_id).await?;
        *found = Some(report.clone());
        verifying.forget(run_id);
        Ok(report)
    }

    async fn verify_now(&self, run_id: RunId) -> Result<VerifyReport, EngineError> {
        let run = self.run(run_id).await?;
        let refused = |refusal| Err(RootError::Command(CommandError::Refused(refusal)).into());
        match (run.is_open(), run.retained()) {
            (true, _) => return refused(Refusal::Active),
            (false, Retained::Deleting | Retained::Deleted) => return refused(run.not_here()),
            (false, Retained::Kept) if run.target().is_none() => {
                return Err(StorageError::RunDirectoryMissing { run_id }.into());
            }
            (false, Retained::Kept) => {}
        }
        let (home, of) = (self.home().clone(), run.clone());
        let report = match self.blocking(move || verify(&home, &of, run_id)).await? {
            Err(error @ StorageError::RunDirectoryMissing { .. }) => {
                let now = self.run(run_id).await?;
                if now.retained() != Retained::Kept {
                    return refused(now.not_here());
                }
                VerifyReport::missing(&run, &error)
            }
            report => report?,
        };
        self.record_verified(run_id, report.recorded()).await?;
        Ok(report)
    }
}
