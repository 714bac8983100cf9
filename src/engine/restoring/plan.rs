//! What a restore into modules would do, found out before anything is begun.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use holdfast_model::failure::Failure;
use holdfast_model::ids::ParticipantName;
use holdfast_model::restore::{NewParticipant, RestoreParticipantPlannedV1, RestoredParticipantV1};
use holdfast_model::run::Run;

use super::super::drive::panicked;
use super::super::registry::Registered;
use super::super::{EngineError, Holdfast};
use crate::participant::{Descriptor, Offered, ParticipantError, offered};

/// How long the modules may take to say whether they could take their artifacts back.
const PLAN: Duration = Duration::from_secs(60);

/// What a restore into modules would do.
#[derive(Debug, Clone)]
pub(crate) struct ModulePlan {
    /// The modules, in the order of the run.
    pub(crate) modules: Vec<NewParticipant>,
    /// The same, as the request names them.
    pub(crate) named: Vec<RestoredParticipantV1>,
}

/// Why a restore into modules is not begun.
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
    /// It cannot be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

fn names(names: &[ParticipantName]) -> String {
    names.iter().map(ParticipantName::as_str).collect::<Vec<_>>().join(", ")
}

impl Holdfast {
    /// Whether all of these are modules of the application, as they are registered.
    pub(crate) fn are_modules(&self, wanted: &BTreeSet<ParticipantName>) -> bool {
        let is_module =
            |name| self.shared.registry.find(name).is_some_and(|one| one.descriptor.kind == Descriptor::MODULE);
        wanted.iter().all(is_module)
    }

    /// Asks the modules whether and how they would take back what they have in a run.
    ///
    /// # Errors
    /// [`NotPlanned`].
    pub(crate) async fn plan_modules(
        &self,
        run: &Run,
        wanted: &BTreeSet<ParticipantName>,
    ) -> Result<ModulePlan, NotPlanned> {
        let takes_back =
            |name: &ParticipantName| self.shared.registry.find(name).filter(|one| one.code.restore().is_some());
        let unable: Vec<_> = wanted.iter().filter(|name| takes_back(name).is_none()).cloned().collect();
        if !unable.is_empty() {
            return Err(NotPlanned::NotSupported(unable));
        }
        let (mut modules, mut named, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        for one in run.participants().iter().filter(|one| wanted.contains(&one.name)) {
            let Some(registered) = takes_back(&one.name) else { continue };
            let (reads, found) = (&registered.descriptor.reads, one.format_version);
            if found != 0 && !reads.contains(&found) {
                let (from, to) = (*reads.start(), *reads.end());
                return Err(NotPlanned::Format { participant: one.name.clone(), found, from, to });
            }
            let (kind, critical) = (registered.descriptor.kind.clone(), registered.descriptor.critical);
            named.push(RestoredParticipantV1 { name: one.name.clone(), kind, critical });
            let bytes = one.artifacts.iter().fold(0, |sum: u64, artifact| sum.saturating_add(artifact.content_bytes));
            let planned = RestoreParticipantPlannedV1 {
                participant: one.name.clone(),
                format_version: found,
                atomic: false,
                bytes,
            };
            modules.push(NewParticipant { planned, depends_on: registered.descriptor.depends_on.clone() });
            asked.push((registered, one.artifacts.iter().map(offered).collect::<Vec<_>>()));
        }
        let asking = self.data_plane().spawn_blocking(move || asked.iter().map(ask).collect::<Vec<_>>());
        let answers = tokio::time::timeout(PLAN, asking).await;
        let answers = answers
            .map_err(|_| {
                EngineError::Thread(format!("the participants did not say within {PLAN:?} what they would do"))
            })?
            .map_err(|error| EngineError::Thread(error.to_string()))?;
        for (module, answer) in modules.iter_mut().zip(answers) {
            match answer {
                Ok(atomic) => module.planned.atomic = atomic,
                Err(error) => {
                    let (participant, failure) = (module.planned.participant.clone(), error.failure().clone());
                    return Err(NotPlanned::Refused { participant, failure });
                }
            }
        }
        Ok(ModulePlan { modules, named })
    }
}

/// Asks one whether its commit would be one step.
fn ask((registered, artifacts): &(Registered, Vec<Offered>)) -> Result<bool, ParticipantError> {
    let asked = catch_unwind(AssertUnwindSafe(|| match registered.code.restore() {
        Some(restore) => restore.plan(artifacts).map(|planned| planned.atomic),
        None => Err(ParticipantError::fatal("RESTORE_NOT_SUPPORTED", "it takes nothing back")),
    }));
    asked.unwrap_or_else(|panic| Err(panicked(&registered.descriptor.name, &*panic)))
}
