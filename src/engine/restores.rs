//! Restores in the log: a claim that says one is alive, and what becomes of those whose process is gone.
//!
//! A restore may take hours, and backups must not wait for it: so it does not own the home. It holds a lock on a file of its own
//! instead, which the next owner of the home looks at.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use actix::Addr;
use holdfast_actors::event_sourced::replay;
use holdfast_actors::root::{ForRestore, Root};
use holdfast_log::home::Home;
use holdfast_log::{ReadLog, durable};
use holdfast_model::codec::Origin;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::history::History;
use holdfast_model::ids::{RestoreId, StreamId};
use holdfast_model::restore::{Restore, RestoreCommand};
use rustix::fs::FlockOperation;

use super::error::EngineError;
use super::view::ViewError;

/// The proof that a restore's process is alive. Gone with the process, or when dropped.
#[derive(Debug)]
pub struct RestoreClaim {
    path: PathBuf,
    _lock: File,
}

impl RestoreClaim {
    /// Claims a restore.
    ///
    /// # Errors
    /// As `open(2)` and `flock(2)`; on a home that cannot be written too.
    pub fn take(home: &Home, restore_id: RestoreId) -> io::Result<Self> {
        let folder = folder(home);
        durable::make_dir(&home.backups(), 0o700)?;
        durable::make_dir(&folder, 0o700)?;
        let path = folder.join(restore_id.to_string());
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path, _lock: lock })
    }

    fn is_held(home: &Home, restore_id: RestoreId) -> bool {
        let Ok(file) = File::open(folder(home).join(restore_id.to_string())) else { return false };
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
    }
}

impl Drop for RestoreClaim {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn folder(home: &Home) -> PathBuf {
    home.backups().join(".restoring")
}

/// Ends the restores whose process is gone, and takes away what they left.
pub(super) async fn settle(
    root: &Addr<Root>,
    home: &Home,
    log: &dyn ReadLog,
    history: &History,
    origin: &Origin,
) -> Result<(), EngineError> {
    for restore_id in history.open_restores() {
        if RestoreClaim::is_held(home, restore_id) {
            continue;
        }
        let (restore, _) = replay::<Restore>(log, &StreamId::restore(restore_id)).map_err(ViewError::from)?;
        let staging = restore.request.map(|request| request.staging).unwrap_or_default();
        let outcome = take_away(Path::new(std::ffi::OsStr::from_bytes(&staging)), restore_id);
        let failure = Failure::new(FailureKind::Fatal, "RESTORE_INTERRUPTED", outcome);
        let message = ForRestore { restore_id, command: RestoreCommand::Fail(failure), origin: origin.clone() };
        root.send(message).await.map_err(|_| EngineError::Stopped)??;
    }
    sweep(home);
    Ok(())
}

/// Takes away the claims of processes that are gone. A claim is made by the home's owner, so none is half made meanwhile.
fn sweep(home: &Home) {
    let Ok(claims) = std::fs::read_dir(folder(home)) else { return };
    for path in claims.flatten().map(|claim| claim.path()) {
        let held = File::open(&path)
            .is_ok_and(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err());
        if !held {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Removes a staging folder, and says in the failure's words what was found.
fn take_away(staging: &Path, restore_id: RestoreId) -> String {
    let own =
        staging.file_name().is_some_and(|name| name.as_bytes().ends_with(format!(".holdfast-{restore_id}").as_bytes()));
    if !own {
        return "its process ended early: the target, which held something before, may have been restored in part; \
                restore again with --overwrite"
            .into();
    }
    match std::fs::remove_dir_all(staging) {
        Ok(()) => "its process ended early; what it had made ready was taken away: restore again".into(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "its process ended early, before it began or after all was in place: look at the target, or restore again"
                .into()
        }
        Err(error) => {
            format!(
                "its process ended early; {} could not be taken away ({error}): delete it, restore again",
                staging.display()
            )
        }
    }
}
