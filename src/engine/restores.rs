//! Restores in the log: a claim that says one is alive, and what becomes of those whose process is gone.
//!
//! A restore may take hours, and backups must not wait for it: so it does not own the home. It holds a lock on a file of its own
//! instead, which the next owner of the home looks at.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use actix::Addr;
use holdfast_actors::event_sourced::replay;
use holdfast_actors::restores::ForRestore;
use holdfast_actors::root::Root;
use holdfast_log::home::Home;
use holdfast_log::{ReadLog, durable};
use holdfast_model::codec::Origin;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::history::History;
use holdfast_model::ids::{ParticipantName, RestoreId, StreamId};
use holdfast_model::participant::ChildV1;
use holdfast_model::restore::{Restore, RestoreCommand, RestoreCompletedV1};
use rustix::fs::FlockOperation;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

use super::error::EngineError;
use super::view::ViewError;
use crate::command::end_left_over;
use crate::encryption::FileKeys;
use crate::restore::put_in_place;

/// Longest claim read, in bytes.
const MAX_CLAIM: u64 = 64 << 10;
/// Longest file of keys read, in bytes.
const MAX_KEYS: u64 = 8 << 20;
/// What the name of a claim's file of keys ends with.
const KEYS: &str = "keys";

/// How a restore stands, as its claim holds it for whoever comes after its process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestoreOutcome {
    /// All is made ready, verified and durable, and is being put in place.
    Ready {
        /// What will be recorded.
        completed: RestoreCompletedV1,
        /// Where to, as bytes of a path.
        target: Vec<u8>,
    },
    /// A participant's own command takes the artifact back, or is about to.
    InPlace {
        /// The participant.
        participant: ParticipantName,
        /// The command's process; none before there is one.
        child: Option<ChildV1>,
    },
    /// All is in place.
    Completed(RestoreCompletedV1),
    /// It failed.
    Failed(Failure),
}

/// The proof that a restore's process is alive, and what it left for the log.
#[derive(Debug)]
pub struct RestoreClaim {
    path: PathBuf,
    lock: File,
    keep: AtomicBool,
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
        Ok(Self { path, lock, keep: AtomicBool::new(false) })
    }

    /// Claims one whose process is gone, and says which process that had started for whom.
    ///
    /// # Errors
    /// As [`RestoreClaim::take`]; `WouldBlock` where the process lives.
    pub(super) fn take_over(
        home: &Home,
        restore_id: RestoreId,
    ) -> io::Result<(Self, Option<(ParticipantName, ChildV1)>)> {
        let noted = match left(&folder(home).join(restore_id.to_string())) {
            Left::Alive => return Err(io::ErrorKind::WouldBlock.into()),
            Left::Gone(noted) => noted,
        };
        let child = match noted {
            Some(RestoreOutcome::InPlace { participant, child: Some(child) }) => Some((participant, child)),
            _ => None,
        };
        let claim = Self::take(home, restore_id)?;
        // It stays where what was started cannot be ended.
        claim.keep.store(child.is_some(), Ordering::Release);
        Ok((claim, child))
    }

    /// Notes how the restore stands, durably. The claim then outlives its process, until the log has it.
    ///
    /// # Errors
    /// As `pwrite(2)` and `fsync(2)`.
    pub fn note(&self, outcome: &RestoreOutcome) -> io::Result<()> {
        let text = serde_json::to_vec(outcome)?;
        self.lock.set_len(0)?;
        self.lock.write_all_at(&text, 0)?;
        self.keep.store(true, Ordering::Release);
        durable::sync_file(&self.lock)
    }

    /// Keeps the keys of the files that are restored, for whoever has to end the restore after this process: 0600, in the home, until the
    /// restore has ended.
    ///
    /// # Errors
    /// As `open(2)`, `write(2)` and `fsync(2)`.
    pub(super) fn keep_keys(&self, keys: &FileKeys) -> io::Result<()> {
        let text = Zeroizing::new(serde_json::to_vec(keys)?);
        durable::write_atomic(&keys_of(&self.path), &text, 0o600)
    }

    /// The keys that were kept, if any were.
    ///
    /// # Errors
    /// As `read(2)`; where they cannot be understood.
    pub(super) fn keys(&self) -> io::Result<Option<FileKeys>> {
        let mut text = Zeroizing::new(Vec::new());
        match File::open(keys_of(&self.path)) {
            Ok(file) => file.take(MAX_KEYS).read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(serde_json::from_slice(&text)?))
    }

    /// Says that the log has it.
    pub fn recorded(&self) {
        self.keep.store(false, Ordering::Release);
        let _ = std::fs::remove_file(keys_of(&self.path));
    }
}

impl Drop for RestoreClaim {
    fn drop(&mut self) {
        if !self.keep.load(Ordering::Acquire) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether a living process claims a restore.
pub(super) fn is_claimed(home: &Home, restore_id: RestoreId) -> bool {
    matches!(left(&folder(home).join(restore_id.to_string())), Left::Alive)
}

/// What is left of a restore's claim.
enum Left {
    /// Its process lives, or that cannot be told.
    Alive,
    /// Its process is gone.
    Gone(Option<RestoreOutcome>),
}

fn left(path: &Path) -> Left {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Left::Gone(None),
        Err(_) => return Left::Alive,
    };
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Left::Alive;
    }
    let mut text = Vec::new();
    let read = file.take(MAX_CLAIM).read_to_end(&mut text);
    Left::Gone(read.ok().and_then(|_| serde_json::from_slice(&text).ok()))
}

/// Whether a process that is gone left keys behind. The next owner of the home takes them away.
pub(crate) fn left_keys(home: &Home) -> bool {
    let Ok(claims) = std::fs::read_dir(folder(home)) else { return false };
    claims.flatten().any(|claim| claim.path().extension().is_some_and(|extension| extension == KEYS))
}

/// Where the keys lie of what the restore with this claim reads.
fn keys_of(claim: &Path) -> PathBuf {
    claim.with_extension(KEYS)
}

fn folder(home: &Home) -> PathBuf {
    home.backups().join(".restoring")
}

/// Ends the restores whose process is gone: what was ready is put in place, what was not is taken away. Says what became of
/// each.
pub(super) async fn settle(
    root: &Addr<Root>,
    home: &Home,
    log: &dyn ReadLog,
    history: &History,
    origin: &Origin,
) -> Vec<String> {
    let mut settled = Vec::new();
    for restore_id in history.open_restores() {
        let path = folder(home).join(restore_id.to_string());
        let Left::Gone(outcome) = left(&path) else { continue };
        // What becomes of one in place stands in the log.
        if is_in_steps(log, restore_id) {
            continue;
        }
        match settle_one(root, log, restore_id, outcome, origin).await {
            Ok(what) => {
                settled.push(format!("restore {restore_id}: {what}"));
                let _ = std::fs::remove_file(path);
            }
            // One that cannot be settled keeps nobody else from working; the next start tries again.
            Err(error) => tracing::error!(%restore_id, %error, "an interrupted restore cannot be settled"),
        }
    }
    sweep(home, &history.open_restores());
    settled
}

fn is_in_steps(log: &dyn ReadLog, restore_id: RestoreId) -> bool {
    replay::<Restore>(log, &StreamId::restore(restore_id)).is_ok_and(|(restore, _)| restore.is_in_steps())
}

async fn settle_one(
    root: &Addr<Root>,
    log: &dyn ReadLog,
    restore_id: RestoreId,
    outcome: Option<RestoreOutcome>,
    origin: &Origin,
) -> Result<String, EngineError> {
    let (restore, _) = replay::<Restore>(log, &StreamId::restore(restore_id)).map_err(ViewError::from)?;
    let staging = restore.request.map(|request| request.staging).unwrap_or_default();
    let staging = Path::new(std::ffi::OsStr::from_bytes(&staging));
    let interrupted =
        |what: String| RestoreCommand::Fail(Failure::new(FailureKind::Fatal, "RESTORE_INTERRUPTED", what));
    let command = match outcome {
        None => interrupted(take_away(staging, restore_id)),
        Some(RestoreOutcome::Completed(completed)) => RestoreCommand::Complete(completed),
        Some(RestoreOutcome::Failed(failure)) => RestoreCommand::Fail(failure),
        Some(RestoreOutcome::InPlace { participant, child }) => interrupted(end_command(&participant, child).await),
        Some(RestoreOutcome::Ready { completed, target }) => {
            match put_in_place(staging, Path::new(std::ffi::OsStr::from_bytes(&target))) {
                Ok(()) => RestoreCommand::Complete(completed),
                Err(error) => interrupted(format!("{error}; {}", take_away(staging, restore_id))),
            }
        }
    };
    let what = match &command {
        RestoreCommand::Fail(failure) => failure.message.clone(),
        _ => "completed; all is in place".to_owned(),
    };
    let message = ForRestore { restore_id, command, origin: origin.clone() };
    root.send(message).await.map_err(|_| EngineError::Stopped)??;
    Ok(what)
}

/// Ends what a dead process left of a participant's `restore` command, and says in the failure's words what was found.
async fn end_command(participant: &ParticipantName, child: Option<ChildV1>) -> String {
    let Some(child) = child else {
        return format!("its process ended early, before a command was begun: participant {participant} is as before");
    };
    let ended = tokio::task::spawn_blocking(move || end_left_over(&child)).await;
    let left = match ended.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        Ok(_) => String::new(),
        Err(error) => format!(", processes of the group {} may still be there ({error})", child.group),
    };
    format!(
        "its process ended early while the restore command of participant {participant} was at work{left}: what it restored is \
         not complete; restore again"
    )
}

/// Takes away the claims of processes that are gone and have nothing to tell. A claim is made by the home's owner, so none is
/// half made meanwhile.
fn sweep(home: &Home, open: &[RestoreId]) {
    let Ok(claims) = std::fs::read_dir(folder(home)) else { return };
    for path in claims.flatten().map(|claim| claim.path()) {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.trim_end_matches(KEYS).trim_end_matches('.').parse::<RestoreId>().ok());
        if !name.is_some_and(|id| open.contains(&id)) && matches!(left(&path), Left::Gone(_)) {
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
