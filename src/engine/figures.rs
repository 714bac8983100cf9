//! Figures of the engine for whoever watches it: what the log says, what is live, and the room there is.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use holdfast_log::{AppendLatency, space};
use holdfast_model::ids::{EndpointName, ParticipantName, Position, Timestamp};
use holdfast_model::participant::Standing;
use holdfast_model::tally::{Marks, Tally};

use super::{EngineError, Holdfast};

/// Files of the log that are counted at most; the log itself keeps far fewer.
const FILES: usize = 100_000;
/// Folders in folders that are looked into.
const DEPTH: usize = 4;

/// Figures at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// The moment.
    pub(crate) now: Timestamp,
    /// Sums over the log.
    pub(crate) tally: Tally,
    /// Each participant that is registered now.
    pub(crate) participants: Vec<ParticipantFigures>,
    /// Each endpoint that is known.
    pub(crate) endpoints: Vec<EndpointFigures>,
    /// The position of the last durable event.
    pub(crate) head: Position,
    /// How long appends take.
    pub(crate) append_latency: Arc<AppendLatency>,
    /// Actors that ended early and were started again.
    pub(crate) actor_restarts: u64,
    /// Whether there is maintenance.
    pub(crate) maintenance: bool,
    /// Bytes of the log's files; `None` where they cannot be looked at.
    pub(crate) log_bytes: Option<u64>,
    /// Bytes free where the home is; `None` where the system does not say.
    pub(crate) free_bytes: Option<u64>,
}

/// Figures of a participant.
#[derive(Debug, Clone)]
pub(crate) struct ParticipantFigures {
    pub(crate) name: ParticipantName,
    pub(crate) marks: Marks,
    pub(crate) quarantined: bool,
    pub(crate) stuck: bool,
}

/// Figures of an endpoint.
#[derive(Debug, Clone)]
pub(crate) struct EndpointFigures {
    pub(crate) name: EndpointName,
    /// When a copy last came there whole.
    pub(crate) last_copy: Option<Timestamp>,
    /// Tries that failed since.
    pub(crate) failures_in_a_row: u64,
    /// Whether it failed so often that it is left alone.
    pub(crate) unavailable: bool,
}

impl Holdfast {
    /// Figures as of now. Those of the log are as of its head.
    ///
    /// # Errors
    /// As [`Holdfast::read`].
    pub(crate) async fn figures(&self) -> Result<Figures, EngineError> {
        let names: Vec<_> = self.participants().into_iter().map(|one| one.descriptor.name).collect();
        let home = self.home().root().to_owned();
        let log = self.home().log();
        let room = move || {
            let mut files = FILES;
            (bytes_in(&log, DEPTH, &mut files).ok(), space::free(&home).ok())
        };
        let (log_bytes, free_bytes) = self.data_plane().spawn_blocking(room).await.unwrap_or_default();
        let now = self.now();
        let world = &self.shared.world;
        self.read(|known| {
            let of = |name: ParticipantName| {
                let standing = known.history.participants().get(&name);
                ParticipantFigures {
                    marks: known.tally.participant(&name).cloned().unwrap_or_default(),
                    quarantined: standing.is_some_and(|standing| standing.is_quarantined()),
                    stuck: standing.is_some_and(|standing| standing.standing() == Standing::Stuck),
                    name,
                }
            };
            let endpoints = known.endpoints.iter().filter(|(_, endpoint)| endpoint.config().is_some());
            let endpoints = endpoints.map(|(name, endpoint)| EndpointFigures {
                name: name.clone(),
                last_copy: known.last_uploads.get(name).copied(),
                failures_in_a_row: endpoint.health().failures().into(),
                unavailable: endpoint.health().until().is_some(),
            });
            Figures {
                now,
                tally: known.tally.clone(),
                participants: names.into_iter().map(of).collect(),
                endpoints: endpoints.collect(),
                head: self.head(),
                append_latency: self.shared.append_latency.clone(),
                actor_restarts: world.actor_restarts.load(Ordering::Relaxed),
                maintenance: known.maintenance.enabled,
                log_bytes,
                free_bytes,
            }
        })
        .await
    }
}

/// Bytes that the files under a folder take on disk. One that goes away meanwhile counts for nothing.
fn bytes_in(folder: &Path, depth: usize, files: &mut usize) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0_u64;
    for entry in std::fs::read_dir(folder)? {
        let Some(left) = files.checked_sub(1) else { break };
        *files = left;
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            bytes += if depth > 0 { bytes_in(&entry.path(), depth - 1, files).unwrap_or(0) } else { 0 };
        } else {
            bytes += metadata.blocks() * 512;
        }
    }
    Ok(bytes)
}
