//! Runs that arrive from elsewhere: they come into `.importing/`, and are published from there as any run.
//!
//! What comes is made durable and read whole before anything here makes room for it. What it replaces goes through `.deleting/`, so that at
//! each instant one of the two is whole: a process that dies in between is gone on with from where the directories are.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use holdfast_log::{durable, fault};
use holdfast_model::ids::{RunId, Sha256};
use sha2::Digest;

use super::error::StorageError;
use super::lease::ReadLease;
use super::manifest::{self, Manifest};
use super::places::{Destination, Place, Storage, remove};
use super::run_dir::names;
use super::{FileKind, MANIFEST};

/// A run that has arrived, as it was read.
#[derive(Debug)]
pub struct Arrived {
    /// What it says it is.
    pub manifest: Manifest,
    /// SHA-256 of its `SHA256SUMS`, and with it of everything.
    pub sums_sha256: Sha256,
}

impl Storage {
    /// Makes an empty folder for a run that is to arrive. What an earlier import of it left goes.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn begin_import(&self, run_id: RunId) -> Result<PathBuf, StorageError> {
        self.discard_import(run_id)?;
        let path = self.path(Place::Importing, run_id);
        durable::make_dir(&path, 0o700).map_err(StorageError::io("make", &path))?;
        Ok(path)
    }

    /// Makes what arrived durable and reads it whole: the manifest, the list of hashes and each file must agree, and nothing else may be
    /// there. `sums_sha256` is what the list is known to be; `progress` is told the bytes read.
    ///
    /// # Errors
    /// [`StorageError`]: the first fault that was found.
    pub fn check_import(
        &self,
        run_id: RunId,
        sums_sha256: Option<Sha256>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Arrived, StorageError> {
        let path = self.path(Place::Importing, run_id);
        if !self.is_at(Place::Importing, run_id) {
            return Err(StorageError::RunDirectoryMissing { run_id });
        }
        for name in names(&path)? {
            let file = path.join(&name);
            // A link or a pipe is refused below, and is not followed here.
            if !file.symlink_metadata().map_err(StorageError::io("look at", &file))?.is_file() {
                return Err(StorageError::NotAFile { path: file, kind: FileKind::Artifact });
            }
            let open = File::open(&file).map_err(StorageError::io("open", &file))?;
            open.set_permissions(Permissions::from_mode(0o600)).map_err(StorageError::io("close to others", &file))?;
            open.sync_all().map_err(StorageError::io("sync", &file))?;
        }
        durable::sync_dir(&path).map_err(StorageError::io("sync", &path))?;
        let lease = ReadLease::take(run_id, path.clone())?;
        let report = lease.verify(sums_sha256, progress);
        if let Some(error) = report.files.into_iter().find_map(|file| file.error) {
            return Err(error);
        }
        if let Some(name) = report.extra.first() {
            let reason = "it is not of the run".to_owned();
            return Err(StorageError::Altered { path: path.join(name), kind: FileKind::Artifact, reason });
        }
        let manifest = report.manifest.ok_or_else(|| manifest::invalid(&path.join(MANIFEST), ".", "it is missing"))?;
        Ok(Arrived { manifest, sums_sha256: Sha256(sha2::Sha256::digest(lease.read_sums()?).into()) })
    }

    /// Moves a run that arrived to where runs of its end are. Where it `replaces` the one that is there, that makes room, and is gone from
    /// then on. Repeated after a crash at any step it goes on to the same end.
    ///
    /// # Errors
    /// [`StorageError::Exists`] where there is one that is not to be replaced, [`StorageError::InUse`] while somebody reads that,
    /// [`StorageError::RunDirectoryMissing`] where it is nowhere; [`StorageError::Io`].
    pub fn publish_import(&self, run_id: RunId, to: Destination, replaces: bool) -> Result<PathBuf, StorageError> {
        let needed = Place::from(to);
        let here =
            [Place::Completed, Place::Failed, Place::Running].into_iter().find(|place| self.is_at(*place, run_id));
        if !self.is_at(Place::Importing, run_id) {
            return match here {
                Some(place) if place == needed => {
                    self.sync(Place::Importing, needed)?;
                    Ok(self.path(needed, run_id))
                }
                _ => Err(StorageError::RunDirectoryMissing { run_id }),
            };
        }
        fault::point("import.before");
        match here {
            Some(place @ (Place::Completed | Place::Failed)) if replaces => {
                let _unread = self.lock_unread(run_id, place)?;
                self.rename_away(run_id, place)?;
                fault::point("import.between");
                self.rename(run_id, Place::Importing, needed)?;
            }
            Some(place) => return Err(StorageError::Exists { path: self.path(place, run_id) }),
            None => self.rename(run_id, Place::Importing, needed)?,
        }
        fault::point("import.after");
        Ok(self.path(needed, run_id))
    }

    /// Whether a run that arrives is in its own folder still.
    #[must_use]
    pub fn is_arriving(&self, run_id: RunId) -> bool {
        self.is_at(Place::Importing, run_id)
    }

    /// Takes away what arrived of a run. One of which nothing did is no error.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn discard_import(&self, run_id: RunId) -> Result<(), StorageError> {
        let path = self.path(Place::Importing, run_id);
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        remove(&path)?;
        let folder = self.folder(Place::Importing);
        durable::sync_dir(&folder).map_err(StorageError::io("sync", &folder))
    }

    /// Takes away what arrived of runs that nobody goes on with; says how many. All are tried; the first failure is told.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn sweep_imports(&self, going_on: &dyn Fn(RunId) -> bool) -> Result<usize, StorageError> {
        let folder = self.folder(Place::Importing);
        let (mut swept, mut failure) = (0, None);
        for entry in std::fs::read_dir(&folder).map_err(StorageError::io("list", &folder))? {
            let entry = entry.map_err(StorageError::io("list", &folder))?;
            if entry.file_name().to_str().and_then(|name| name.parse().ok()).is_some_and(going_on) {
                continue;
            }
            match remove(&entry.path()) {
                Ok(()) => swept += 1,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(swept), Err)
    }
}
