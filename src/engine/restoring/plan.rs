//! What a restore in place would do, found out before anything is begun.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_log::space::{self, SpaceError};
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::ParticipantName;
use holdfast_model::restore::{RestoreParticipantPlannedV1, RestoredParticipantV1};
use holdfast_model::run::Run;

use super::super::drive::panicked;
use super::super::registry::Registered;
use super::super::{EngineError, Holdfast};
use crate::participant::{Offer, ParticipantError, Planned, SpaceNeeded};
use crate::restore::RunSource;

/// How long the participants may take to say whether they could take their artifacts back.
const PLAN: Duration = Duration::from_secs(60);

/// What a restore in place would do.
#[derive(Debug, Clone)]
pub(crate) struct InPlacePlan {
    /// The participants, in the order of the run.
    pub(crate) participants: Vec<PlannedParticipant>,
    /// Whether live data that the run does not have is deleted.
    pub(crate) delete: bool,
}

/// What it would do with one of them.
#[derive(Debug, Clone)]
pub(crate) struct PlannedParticipant {
    /// As the request names it.
    pub(crate) named: RestoredParticipantV1,
    /// What is recorded of it.
    pub(crate) recorded: RestoreParticipantPlannedV1,
    /// Those that are committed before it.
    pub(crate) depends_on: Vec<ParticipantName>,
    /// Room it needs beside its live data.
    pub(crate) space: Vec<SpaceNeeded>,
    /// Paths that it replaces.
    pub(crate) replaces: Vec<PathBuf>,
    /// What it says of it.
    pub(crate) notes: Vec<String>,
}

/// Why a restore in place is not begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPlanned {
    /// These do not take their artifacts back.
    #[error("these participants take nothing back, so nothing is begun with any: {}", names(.0))]
    NotSupported(Vec<ParticipantName>),
    /// A participant does not read the format.
    #[error(
        "{participant} reads versions {from} to {to} of its format, and the run has version {found}: use a program that reads it"
    )]
    Format {
        /// Which.
        participant: ParticipantName,
        /// The version the run has.
        found: u32,
        /// The oldest it reads.
        from: u32,
        /// The newest it reads.
        to: u32,
    },
    /// A participant says no.
    #[error("{participant} would not take its artifacts back: {failure}")]
    Refused {
        /// Which.
        participant: ParticipantName,
        /// Why.
        failure: Failure,
    },
    /// There is no room for what is made ready beside the live data.
    #[error("{}", no_room(.0))]
    Space(SpaceError),
    /// It cannot be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

fn no_room(error: &SpaceError) -> String {
    match error {
        SpaceError::NotEnough { path, free, needed } => format!(
            "{} has {free} bytes free and {needed} are needed to make all ready beside the live data: free some room there, restore fewer \
             participants at a time, or into a folder elsewhere",
            path.display()
        ),
        SpaceError::Io { .. } => error.to_string(),
    }
}

fn names(names: &[ParticipantName]) -> String {
    names.iter().map(ParticipantName::as_str).collect::<Vec<_>>().join(", ")
}

impl Holdfast {
    /// Asks participants whether and how they would take back what they have in a run, and looks for the room they need. Changes nothing.
    ///
    /// # Errors
    /// [`NotPlanned`].
    pub(crate) async fn plan_in_place(
        &self,
        run: &Run,
        source: Arc<RunSource>,
        wanted: &BTreeSet<ParticipantName>,
        delete: bool,
    ) -> Result<InPlacePlan, NotPlanned> {
        let takes_back =
            |name: &ParticipantName| self.shared.registry.find(name).filter(|one| one.code.restore().is_some());
        let unable: Vec<_> = wanted.iter().filter(|name| takes_back(name).is_none()).cloned().collect();
        if !unable.is_empty() {
            return Err(NotPlanned::NotSupported(unable));
        }
        let (mut participants, mut asked) = (Vec::new(), Vec::new());
        for one in run.participants().iter().filter(|one| wanted.contains(&one.name)) {
            let Some(registered) = takes_back(&one.name) else { continue };
            let descriptor = &registered.descriptor;
            let (reads, found) = (&descriptor.reads, one.format_version);
            if found != 0 && !reads.contains(&found) {
                let (from, to) = (*reads.start(), *reads.end());
                return Err(NotPlanned::Format { participant: one.name.clone(), found, from, to });
            }
            let (kind, critical) = (descriptor.kind.clone(), descriptor.critical);
            let bytes = one.artifacts.iter().fold(0, |sum: u64, artifact| sum.saturating_add(artifact.content_bytes));
            participants.push(PlannedParticipant {
                named: RestoredParticipantV1 { name: one.name.clone(), kind, critical },
                recorded: RestoreParticipantPlannedV1 {
                    participant: one.name.clone(),
                    format_version: found,
                    atomic: false,
                    bytes,
                },
                depends_on: descriptor.depends_on.clone(),
                space: Vec::new(),
                replaces: Vec::new(),
                notes: Vec::new(),
            });
            let redefined = descriptor.digest != one.definition_sha256;
            asked.push((registered, found, redefined));
        }
        let asking = self.data_plane().spawn_blocking(move || {
            asked
                .iter()
                .map(|(registered, format, redefined)| {
                    let name = &registered.descriptor.name;
                    ask(registered, &Offer::new(name, *format, delete, *redefined, source.clone()))
                })
                .collect::<Vec<_>>()
        });
        let answers = tokio::time::timeout(PLAN, asking).await;
        let answers = answers
            .map_err(|_| {
                EngineError::Thread(format!("the participants did not say within {PLAN:?} what they would do"))
            })?
            .map_err(|error| EngineError::Thread(error.to_string()))?;
        for (one, answer) in participants.iter_mut().zip(answers) {
            match answer {
                Ok(planned) => {
                    one.recorded.atomic = planned.atomic;
                    (one.space, one.replaces, one.notes) = (planned.space, planned.replaces, planned.notes);
                }
                Err(error) => {
                    let (participant, failure) = (one.named.name.clone(), error.failure().clone());
                    return Err(NotPlanned::Refused { participant, failure });
                }
            }
        }
        apart(&participants)?;
        let min_free = self.config().space.min_free;
        room(&participants, min_free).map_err(NotPlanned::Space)?;
        Ok(InPlacePlan { participants, delete })
    }
}

/// Asks one whether and how it would take its artifacts back.
fn ask(registered: &Registered, offer: &Offer) -> Result<Planned, ParticipantError> {
    let asked = catch_unwind(AssertUnwindSafe(|| match registered.code.restore() {
        Some(restore) => restore.plan(offer),
        None => Err(ParticipantError::fatal("RESTORE_NOT_SUPPORTED", "it takes nothing back")),
    }));
    asked.unwrap_or_else(|panic| Err(panicked(&registered.descriptor.name, &*panic)))
}

/// Refuses participants of which one would replace what another one replaces: which of them came last would say what is there.
fn apart(participants: &[PlannedParticipant]) -> Result<(), NotPlanned> {
    let all = || participants.iter().flat_map(|one| one.replaces.iter().map(move |path| (path, &one.named.name)));
    let places: BTreeMap<_, _> = all().collect();
    for (path, participant) in all() {
        let around = path
            .ancestors()
            .find_map(|around| places.get_key_value(&around.to_owned()).filter(|(_, of)| **of != participant));
        if let Some((around, other)) = around {
            let text = format!(
                "{} lies in {}, which {other} replaces: restore one of them by --participant, and then the other",
                path.display(),
                around.display()
            );
            let failure = Failure::new(FailureKind::Fatal, "PATHS_OVERLAP", text);
            return Err(NotPlanned::Refused { participant: participant.clone(), failure });
        }
    }
    Ok(())
}

/// Whether there is room for all of them: those that share a file system share what is free there.
fn room(participants: &[PlannedParticipant], min_free: u64) -> Result<(), SpaceError> {
    let mut needed: BTreeMap<u64, (&Path, u64)> = BTreeMap::new();
    for space in participants.iter().flat_map(|one| &one.space) {
        // Where it cannot be looked at, staging will say why.
        let Ok(device) = std::fs::metadata(&space.path).map(|metadata| metadata.dev()) else { continue };
        let (_, bytes) = needed.entry(device).or_insert((&space.path, 0));
        *bytes = bytes.saturating_add(space.bytes);
    }
    needed.into_values().try_for_each(|(path, bytes)| space::preflight(path, min_free, Some(bytes)))
}
