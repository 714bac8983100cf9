//! Which run an installation is recovered from.

use std::path::Path;

use holdfast_model::ids::RunId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::RecoverError;
use crate::encryption::Keyring;
use crate::endpoints::ErrorKind;
use crate::engine::Holdfast;
use crate::own_state;
use crate::remote::{Remote, RemoteHead, RemoteRun};
use crate::storage::{MANIFEST, Manifest, ManifestArtifact, StorageError};

/// Most runs whose manifests are read: each is one that may hold the state.
const MOST: usize = 1000;
/// Rows of a page.
const PAGE: usize = 1000;
/// Most runs that are counted where there are several installations.
const COUNTED: u64 = 10_000;

/// An installation, as a far side shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its id.
    pub(crate) server_id: Uuid,
    /// Its newest run.
    pub(crate) newest: Option<RunId>,
    /// How many runs there are.
    pub(crate) runs: u64,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// The run, and what is in it.
pub(super) struct Chosen {
    pub(super) run_id: RunId,
    pub(super) head: RemoteHead,
    /// The artifacts of the installation's own state; `None` where it holds none.
    pub(super) state: Option<Vec<ManifestArtifact>>,
    /// Newer runs that were passed over.
    pub(super) passed_over: Vec<RunId>,
}

/// Runs at a far side that a history does not know: they were made after it was saved, or without it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Unknown {
    /// How many there are.
    pub(crate) total: u64,
    /// The newest of them.
    pub(crate) runs: Vec<RunId>,
}

/// Looks for runs that `engine` does not know, but for the one that is being brought.
pub(super) async fn unknown(remote: &dyn Remote, engine: &Holdfast, brought: RunId) -> Result<Unknown, RecoverError> {
    let mut unknown = Unknown::default();
    let mut cursor = String::new();
    loop {
        let page = remote.runs(PAGE, &cursor).await?;
        let there = page.rows.iter().map(|row| row.run_id).filter(|run_id| *run_id != brought);
        for run_id in engine.unknown_of(there.collect()).await? {
            unknown.total += 1;
            if unknown.runs.len() < MOST {
                unknown.runs.push(run_id);
            }
        }
        match page.next_cursor {
            Some(next) => cursor = next,
            None => return Ok(unknown),
        }
    }
}

/// Looks at what an installation has at a far side.
pub(super) async fn look(remote: &dyn Remote, server_id: Uuid) -> Result<Seen, RecoverError> {
    let mut seen = Seen { server_id, newest: None, runs: 0, more: false };
    let mut cursor = String::new();
    loop {
        let page = remote.runs(PAGE, &cursor).await?;
        seen.newest = seen.newest.or_else(|| page.rows.first().map(|row| row.run_id));
        seen.runs += page.rows.len() as u64;
        match page.next_cursor {
            Some(next) if seen.runs < COUNTED => cursor = next,
            next => {
                seen.more = next.is_some();
                return Ok(seen);
            }
        }
    }
}

/// The run that is named, or the newest completed one that holds the state; where none does, the newest partial one that does, and else the
/// newest completed one of any kind.
pub(super) async fn run(
    remote: &dyn Remote,
    server_id: Uuid,
    named: Option<RunId>,
    keyring: &Keyring,
) -> Result<Chosen, RecoverError> {
    if let Some(run_id) = named {
        let head = remote.run(run_id).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => RecoverError::NoRun { server_id, run_id },
            _ => error.into(),
        })?;
        let state = state_of(&head, keyring)?;
        return Ok(Chosen { run_id, head, state, passed_over: Vec::new() });
    }
    let (mut cursor, mut looked_at) = (String::new(), 0);
    let (mut passed_over, mut partial, mut plain): (Vec<RunId>, Option<Chosen>, Option<RemoteRun>) =
        (Vec::new(), None, None);
    'pages: loop {
        let page = remote.runs(PAGE, &cursor).await?;
        for row in page.rows {
            let completed = row.status == "completed";
            if completed && plain.is_none() {
                plain = Some(row.clone());
            }
            if row.run_type == "full" && (completed || (row.status == "partial" && partial.is_none())) {
                looked_at += 1;
                if let Some((head, state)) = with_state(remote, row.run_id, keyring).await? {
                    let (run_id, passed_over) = (row.run_id, passed_over.clone());
                    let chosen = Chosen { run_id, head, state: Some(state), passed_over };
                    if completed {
                        return Ok(chosen);
                    }
                    partial = Some(chosen);
                }
            }
            passed_over.push(row.run_id);
            if looked_at >= MOST {
                break 'pages;
            }
        }
        match page.next_cursor {
            Some(next) => cursor = next,
            None => break,
        }
    }
    if let Some(partial) = partial {
        return Ok(partial);
    }
    let Some(plain) = plain else { return Err(RecoverError::NoGoodRun(server_id)) };
    let head = remote.run(plain.run_id).await?;
    let newer = passed_over.into_iter().take_while(|run_id| *run_id != plain.run_id).collect();
    Ok(Chosen { run_id: plain.run_id, head, state: None, passed_over: newer })
}

/// A run that holds the state. One whose lists are not as they should be is none: another one may do.
async fn with_state(
    remote: &dyn Remote,
    run_id: RunId,
    keyring: &Keyring,
) -> Result<Option<(RemoteHead, Vec<ManifestArtifact>)>, RecoverError> {
    let head = match remote.run(run_id).await {
        Err(error) if matches!(error.kind(), ErrorKind::Altered | ErrorKind::Fatal | ErrorKind::NotFound) => {
            tracing::warn!(%run_id, %error, "a run is passed over");
            return Ok(None);
        }
        head => head?,
    };
    match state_of(&head, keyring) {
        Err(RecoverError::Storage(error)) if !matches!(error, StorageError::Encryption(_)) => {
            tracing::warn!(%run_id, %error, "a run is passed over");
            Ok(None)
        }
        state => Ok(state?.map(|state| (head, state))),
    }
}

/// The artifacts of the installation's own state, where the run has it. Of an encrypted run that needs the key, which is told at once.
fn state_of(head: &RemoteHead, keyring: &Keyring) -> Result<Option<Vec<ManifestArtifact>>, RecoverError> {
    let path = Path::new(MANIFEST);
    let manifest = Manifest::from_text(&head.manifest, path)?.open(keyring, path)?;
    let own = |name: &str, kind: Option<&str>| name == own_state::NAME && kind == Some(own_state::KIND);
    let found = manifest.participants.into_iter().find(|one| one.ok && own(one.name.as_str(), one.kind.as_deref()));
    Ok(found.map(|one| one.artifacts))
}
