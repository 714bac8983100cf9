//! Where run directories are, and how they get from one place to another.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use holdfast_log::durable;
use holdfast_model::ids::{RestoreId, RunId};
use rustix::fs::FlockOperation;

use super::error::StorageError;
use super::lease::{ReadLease, open_dir};
use super::run_dir::RunDir;

/// A folder of run directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Being written.
    Running,
    /// Completed and partial runs.
    Completed,
    /// Runs of every other end.
    Failed,
    /// Arriving from elsewhere.
    Importing,
    /// Deleted, to be unlinked.
    Deleting,
}

impl Place {
    const ALL: [Self; 5] = [Self::Completed, Self::Failed, Self::Running, Self::Importing, Self::Deleting];

    /// The folder's name under `backups/`.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Running => ".running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Importing => ".importing",
            Self::Deleting => ".deleting",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.folder())
    }
}

/// Where a run at its end goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// It completed, or did in part.
    Completed,
    /// It ended otherwise.
    Failed,
}

impl From<Destination> for Place {
    fn from(destination: Destination) -> Self {
        match destination {
            Destination::Completed => Self::Completed,
            Destination::Failed => Self::Failed,
        }
    }
}

/// The folder `backups/` of a home.
#[derive(Debug, Clone)]
pub struct Storage {
    root: PathBuf,
}

const PRE_RESTORE: &str = "pre-restore";

impl Storage {
    /// The storage in `root`, as it is: for reading. Makes nothing.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The storage in `root`, with all its folders. For the home's one owner.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn create(root: PathBuf) -> Result<Self, StorageError> {
        let storage = Self { root };
        let folders = Place::ALL.iter().map(|place| place.folder()).chain([PRE_RESTORE]);
        for folder in [storage.root.clone()].into_iter().chain(folders.map(|name| storage.root.join(name))) {
            if !folder.is_dir() {
                durable::make_dir(&folder, 0o700).map_err(StorageError::io("make", &folder))?;
            }
        }
        Ok(storage)
    }

    /// The path of a run's directory in `place`, whether it is there or not.
    #[must_use]
    pub fn path(&self, place: Place, run_id: RunId) -> PathBuf {
        self.folder(place).join(run_id.to_string())
    }

    /// The path of a restore's safety snapshot, whether it is there or not.
    #[must_use]
    pub fn pre_restore(&self, restore_id: RestoreId) -> PathBuf {
        self.root.join(PRE_RESTORE).join(restore_id.to_string())
    }

    /// The restores with a safety snapshot. What is not a restore's is passed over.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn safety_snapshots(&self) -> Result<Vec<RestoreId>, StorageError> {
        let folder = self.root.join(PRE_RESTORE);
        let mut restores = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(StorageError::io("list", &folder))? {
            let entry = entry.map_err(StorageError::io("list", &folder))?;
            restores.extend(entry.file_name().to_str().and_then(|name| name.parse::<RestoreId>().ok()));
        }
        Ok(restores)
    }

    /// Takes a restore's safety snapshot away; from then on it does not exist. Its files stay until [`Storage::sweep`]. One that is not
    /// there is no error.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn delete_safety_snapshot(&self, restore_id: RestoreId) -> Result<(), StorageError> {
        let (from, to) = (self.root.join(PRE_RESTORE), self.folder(Place::Deleting));
        let (old, new) = (self.pre_restore(restore_id), to.join(restore_id.to_string()));
        match durable::rename_no_replace(&old, &new) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(StorageError::io("move", &old)(error)),
        }
        for folder in [to, from] {
            durable::sync_dir(&folder).map_err(StorageError::io("sync", &folder))?;
        }
        Ok(())
    }

    pub(super) fn folder(&self, place: Place) -> PathBuf {
        self.root.join(place.folder())
    }

    /// Where a run's directory is. Where a run was deleted and imported again, it is where it was imported to.
    #[must_use]
    pub fn locate(&self, run_id: RunId) -> Option<Place> {
        Place::ALL.into_iter().find(|place| self.is_at(*place, run_id))
    }

    pub(super) fn is_at(&self, place: Place, run_id: RunId) -> bool {
        self.path(place, run_id).symlink_metadata().is_ok_and(|found| found.is_dir())
    }

    /// The runs with a directory in `place`, in order. What is not a run's is passed over.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn runs(&self, place: Place) -> Result<Vec<RunId>, StorageError> {
        let folder = self.folder(place);
        let mut runs = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(StorageError::io("list", &folder))? {
            let entry = entry.map_err(StorageError::io("list", &folder))?;
            runs.extend(entry.file_name().to_str().and_then(|name| name.parse::<RunId>().ok()));
        }
        runs.sort();
        Ok(runs)
    }

    /// Makes the directory of a run that begins.
    ///
    /// # Errors
    /// [`StorageError::Exists`] where the run has one anywhere; [`StorageError::Io`].
    pub fn create_run(&self, run_id: RunId) -> Result<RunDir, StorageError> {
        if let Some(place) = self.locate(run_id) {
            return Err(StorageError::Exists { path: self.path(place, run_id) });
        }
        RunDir::create(self.path(Place::Running, run_id))
    }

    /// Opens the directory of a run that goes on.
    ///
    /// # Errors
    /// [`StorageError::RunDirectoryMissing`], [`StorageError::Elsewhere`], [`StorageError::Io`].
    pub fn open_run(&self, run_id: RunId) -> Result<RunDir, StorageError> {
        match self.locate(run_id) {
            Some(Place::Running) => RunDir::open(self.path(Place::Running, run_id)),
            Some(found) => Err(StorageError::Elsewhere { run_id, found, needed: Place::Running }),
            None => Err(StorageError::RunDirectoryMissing { run_id }),
        }
    }

    /// Moves a sealed run to where runs of its end are. Repeated after a crash at any step it goes on to the same end: a
    /// directory that is already there is only made sure of.
    ///
    /// # Errors
    /// [`StorageError::RunDirectoryMissing`] where it is nowhere, [`StorageError::Elsewhere`] where it is at another end;
    /// [`StorageError::Io`].
    pub fn publish(&self, run_id: RunId, to: Destination) -> Result<PathBuf, StorageError> {
        let needed = Place::from(to);
        match self.locate(run_id) {
            Some(Place::Running) => self.rename(run_id, Place::Running, needed)?,
            Some(found) if found == needed => self.sync(Place::Running, needed)?,
            Some(Place::Deleting | Place::Importing) | None => {
                return Err(StorageError::RunDirectoryMissing { run_id });
            }
            Some(found) => return Err(StorageError::Elsewhere { run_id, found, needed }),
        }
        Ok(self.path(needed, run_id))
    }

    /// Moves a run that was published, and then found damaged, back to where runs work, to be sealed again.
    ///
    /// # Errors
    /// [`StorageError::RunDirectoryMissing`] where it is nowhere; [`StorageError::Io`].
    pub fn withdraw(&self, run_id: RunId) -> Result<(), StorageError> {
        match self.locate(run_id) {
            Some(Place::Running) => self.sync(Place::Completed, Place::Running),
            Some(place @ (Place::Completed | Place::Failed)) => self.rename(run_id, place, Place::Running),
            Some(Place::Deleting | Place::Importing) | None => Err(StorageError::RunDirectoryMissing { run_id }),
        }
    }

    /// Takes away the directory of a run that ends without one. One that is not there is no error.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn discard_run(&self, run_id: RunId) -> Result<(), StorageError> {
        if let Some(place @ (Place::Running | Place::Completed | Place::Failed)) = self.locate(run_id) {
            self.rename_away(run_id, place)?;
        }
        self.sweep().map(drop)
    }

    /// Takes a published run away; from then on it does not exist. Its files stay until [`Storage::sweep`]. Repeated after
    /// a crash it goes on to the same end.
    ///
    /// # Errors
    /// [`StorageError::InUse`] while somebody reads it, [`StorageError::Unfinished`],
    /// [`StorageError::RunDirectoryMissing`], [`StorageError::Io`].
    pub fn delete(&self, run_id: RunId) -> Result<PathBuf, StorageError> {
        let place = match self.locate(run_id) {
            Some(place @ (Place::Completed | Place::Failed)) => place,
            Some(Place::Running | Place::Importing) => return Err(StorageError::Unfinished { run_id }),
            Some(Place::Deleting) => {
                // A crash may have come between the rename and the syncs; either place can be where it was.
                self.sync(Place::Completed, Place::Deleting)?;
                self.sync(Place::Failed, Place::Deleting)?;
                return Ok(self.path(Place::Deleting, run_id));
            }
            None => return Err(StorageError::RunDirectoryMissing { run_id }),
        };
        let _unread = self.lock_unread(run_id, place)?;
        self.rename_away(run_id, place)
    }

    /// Whether a deletion would find a published run unread now, so that one that cannot be is not begun.
    ///
    /// # Errors
    /// [`StorageError::InUse`] while somebody reads it, [`StorageError::Io`].
    pub fn check_unread(&self, run_id: RunId) -> Result<(), StorageError> {
        match self.locate(run_id) {
            Some(place @ (Place::Completed | Place::Failed)) => self.lock_unread(run_id, place).map(drop),
            _ => Ok(()),
        }
    }

    /// Keeps readers out of a published run for as long as the answer lives.
    pub(super) fn lock_unread(&self, run_id: RunId, place: Place) -> Result<File, StorageError> {
        let path = self.path(place, run_id);
        let directory = open_dir(&path).map_err(StorageError::io("open", &path))?;
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(directory),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StorageError::InUse { run_id }),
            Err(error) => Err(StorageError::io("lock", &path)(error.into())),
        }
    }

    /// Unlinks what was deleted; says how many directories went. All are tried; the first failure is told.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn sweep(&self) -> Result<usize, StorageError> {
        let folder = self.folder(Place::Deleting);
        let mut swept = 0;
        let mut failure = None;
        for entry in std::fs::read_dir(&folder).map_err(StorageError::io("list", &folder))? {
            let removed = entry.map_err(StorageError::io("list", &folder)).and_then(|entry| remove(&entry.path()));
            match removed {
                Ok(()) => swept += 1,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if swept > 0 {
            durable::sync_dir(&folder).map_err(StorageError::io("sync", &folder))?;
        }
        failure.map_or(Ok(swept), Err)
    }

    /// The right to read a published run.
    ///
    /// # Errors
    /// [`StorageError::RunDirectoryMissing`], [`StorageError::Unfinished`], [`StorageError::InUse`] while it is being
    /// deleted, [`StorageError::Io`].
    pub fn lease(&self, run_id: RunId) -> Result<ReadLease, StorageError> {
        match self.locate(run_id) {
            Some(place @ (Place::Completed | Place::Failed)) => ReadLease::take(run_id, self.path(place, run_id)),
            Some(Place::Running | Place::Importing) => Err(StorageError::Unfinished { run_id }),
            Some(Place::Deleting) | None => Err(StorageError::RunDirectoryMissing { run_id }),
        }
    }

    /// The same for a sealed run that is not published yet, by whoever is publishing it.
    ///
    /// # Errors
    /// As [`Storage::lease`].
    pub(crate) fn lease_unpublished(&self, run_id: RunId) -> Result<ReadLease, StorageError> {
        match self.locate(run_id) {
            Some(Place::Running) => ReadLease::take(run_id, self.path(Place::Running, run_id)),
            _ => self.lease(run_id),
        }
    }

    pub(super) fn rename_away(&self, run_id: RunId, place: Place) -> Result<PathBuf, StorageError> {
        // One of the same id, deleted before and not swept yet, is nothing anymore.
        let gone = self.path(Place::Deleting, run_id);
        if gone.symlink_metadata().is_ok() {
            remove(&gone)?;
        }
        self.rename(run_id, place, Place::Deleting)?;
        Ok(gone)
    }

    pub(super) fn rename(&self, run_id: RunId, from: Place, to: Place) -> Result<(), StorageError> {
        let (old, new) = (self.path(from, run_id), self.path(to, run_id));
        durable::rename_no_replace(&old, &new).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => StorageError::Exists { path: new },
            _ => StorageError::io("move", &old)(error),
        })?;
        self.sync(from, to)
    }

    /// The new name first: a crash between the two then leaves both, or the new one, and never none.
    pub(super) fn sync(&self, from: Place, to: Place) -> Result<(), StorageError> {
        for folder in [self.folder(to), self.folder(from)] {
            durable::sync_dir(&folder).map_err(StorageError::io("sync", &folder))?;
        }
        Ok(())
    }
}

/// Removes a directory and all in it, or a file; links in it are not followed.
pub(crate) fn remove(path: &Path) -> Result<(), StorageError> {
    let is_dir = path.symlink_metadata().map_err(StorageError::io("look at", path))?.is_dir();
    let removed = if is_dir { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.map_err(StorageError::io("remove", path))
}

/// Syncs a directory through its descriptor.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StorageError> {
    durable::sync_dir(path).map_err(StorageError::io("sync", path))
}

/// A descriptor and its path are the same directory.
pub(crate) fn is_same(directory: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (directory.metadata(), path.symlink_metadata()) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}
