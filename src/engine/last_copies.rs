//! The last copy of a run is not lost by mistake, in whatever order its copies are taken away: here, at an endpoint, or from sight with the
//! endpoint itself.
//!
//! A copy counts where its endpoint is still the place it was brought to, and does not fail so often that it is left alone. Whoever knows
//! better says so: [`Loss::Accepted`]. Checks and what follows from them are one at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_actors::event_sourced::CommandError;
use holdfast_actors::root::RootError;
use holdfast_model::endpoint::{EndpointCommand, EndpointConfigV2};
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::history::RunEntry;
use holdfast_model::ids::{EndpointName, RunId};
use holdfast_model::run::{COPY_ALTERED, CopyStatus, Places, Refusal, Retained, Run, RunCommand};

use super::uploads::failure;
use super::{EngineError, Holdfast, RemoteError};
use crate::endpoints::place;

/// Most runs that an error names.
const NAMED: usize = 5;
/// Most runs that are asked at a time whether their directory may go.
const LEAVING: usize = 100;

/// Whether the last copy of a run may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loss {
    /// No: then it is an error.
    #[default]
    Refused,
    /// Yes: whoever asks knows it.
    Accepted,
}

impl From<bool> for Loss {
    fn from(force: bool) -> Self {
        if force { Self::Accepted } else { Self::Refused }
    }
}

/// Which copies count just now.
struct Counting {
    places: Arc<Places>,
    /// Endpoints that failed so often that they are left alone.
    unavailable: BTreeSet<EndpointName>,
}

impl Counting {
    /// Whether a run has a copy that counts at another endpoint than these.
    fn elsewhere(&self, run: &Run, than: &[EndpointName]) -> bool {
        run.copies().iter().any(|copy| {
            !than.contains(&copy.endpoint) && self.places.hold(copy) && !self.unavailable.contains(&copy.endpoint)
        })
    }
}

impl Holdfast {
    async fn counting(&self) -> Result<Counting, EngineError> {
        self.read(|known| Counting {
            places: known.places.clone(),
            unavailable: known
                .endpoints
                .iter()
                .filter(|(_, endpoint)| endpoint.health().until().is_some())
                .map(|(name, _)| name.clone())
                .collect(),
        })
        .await
    }

    /// Whether the directory of a run may go: not where copies of it were made and none of these counts.
    pub(super) async fn may_delete(&self, run_id: RunId, loss: Loss) -> Result<(), EngineError> {
        let run = self.run(run_id).await?;
        let counting = self.counting().await?;
        let came = run.copies().iter().find(|copy| copy.status == CopyStatus::Uploaded || copy.altered);
        match came {
            Some(copy)
                if loss == Loss::Refused && run.retained() == Retained::Kept && !counting.elsewhere(&run, &[]) =>
            {
                let endpoint = copy.endpoint.clone();
                let doubt = counting.places.doubt(copy);
                let doubt = doubt.unwrap_or_else(|| match copy.altered {
                    true => format!("its copy at {endpoint} is not what was published"),
                    false => format!("endpoint {endpoint} has failed so often that it is left alone"),
                });
                Err(EngineError::OnlyHere { run_id, doubt })
            }
            _ => Ok(()),
        }
    }

    /// Whether a copy of a run may go: neither that of a locked run, nor the last one there is.
    async fn may_lose(&self, endpoint: &EndpointName, run_id: RunId, loss: Loss) -> Result<(), EngineError> {
        if self.read(|known| known.history.run(run_id).is_none()).await? {
            return Ok(());
        }
        let run = self.run(run_id).await?;
        if let Some(reason) = run.lock() {
            return Err(RootError::Command(CommandError::Refused(Refusal::Locked(reason.to_owned()))).into());
        }
        let safe = || async {
            let counting = self.counting().await?;
            // What goes there is gone by whatever name it was known.
            Ok::<_, EngineError>(counting.elsewhere(&run, &counting.places.beside(endpoint)))
        };
        let safe = loss == Loss::Accepted || run.is_whole_here() || safe().await?;
        match safe {
            true => Ok(()),
            false => Err(EngineError::LastCopy { run_id, endpoint: endpoint.clone() }),
        }
    }

    /// Deletes this installation's run at an endpoint. The run here stays.
    ///
    /// # Errors
    /// [`RemoteError`] with what the far side said; where there is no such endpoint, nothing could be recorded, or it is the last copy and
    /// that is not to be lost.
    pub async fn delete_remote(&self, endpoint: &EndpointName, run_id: RunId, loss: Loss) -> Result<(), RemoteError> {
        let _one_at_a_time = self.shared.last_copies.lock().await;
        self.may_lose(endpoint, run_id, loss).await?;
        let remote = self.remote(endpoint, None).await?;
        // Where it is not there nothing is to be deleted, and whoever asks is mistaken. What is not as it was can go.
        if let Err(error) = remote.run(run_id).await {
            let error = RemoteError::of(endpoint, run_id, error);
            self.note_found(endpoint, run_id, &error).await?;
            if !matches!(error, RemoteError::Altered { .. }) {
                return Err(error);
            }
        }
        self.tell_endpoint(endpoint, EndpointCommand::DeleteRun(run_id)).await?;
        match remote.delete(run_id).await {
            Ok(()) => {
                self.tell_endpoint(endpoint, EndpointCommand::RunDeleted(run_id)).await?;
                self.copy_is_gone(endpoint, run_id).await?;
                Ok(())
            }
            Err(error) => {
                let failure = failure(&error);
                self.tell_endpoint(endpoint, EndpointCommand::RunDeleteFailed { run_id, failure }).await?;
                Err(error.into())
            }
        }
    }

    /// Records that a copy is not what was published, where that was found: it counts no more.
    pub(super) async fn note_altered(
        &self,
        endpoint: &EndpointName,
        run_id: RunId,
        what: String,
    ) -> Result<(), EngineError> {
        let failure = Failure::new(FailureKind::Fatal, COPY_ALTERED, what);
        for endpoint in self.names_of(endpoint, run_id).await? {
            self.for_run(run_id, RunCommand::CopyAltered { endpoint, failure: failure.clone() }).await?;
        }
        Ok(())
    }

    /// Records that a copy is not there any more.
    pub(super) async fn copy_is_gone(&self, endpoint: &EndpointName, run_id: RunId) -> Result<(), EngineError> {
        for endpoint in self.names_of(endpoint, run_id).await? {
            self.for_run(run_id, RunCommand::CopyDeleted(endpoint)).await?;
        }
        Ok(())
    }

    /// All names that the place of an endpoint has, where the run is known here; else none.
    async fn names_of(&self, endpoint: &EndpointName, run_id: RunId) -> Result<Vec<EndpointName>, EngineError> {
        self.read(|known| match known.history.run(run_id) {
            Some(_) => known.places.beside(endpoint),
            None => Vec::new(),
        })
        .await
    }

    /// Whether an endpoint may go from sight, or be another place: not while copies wait for it, or where it alone has runs.
    pub(super) async fn may_lose_sight(&self, endpoint: &EndpointName, loss: Loss) -> Result<(), EngineError> {
        if loss == Loss::Accepted {
            return Ok(());
        }
        let uploading = self.read(|known| known.history.uploading().map(|entry| entry.run_id).collect::<Vec<_>>());
        for run_id in uploading.await? {
            if self.run(run_id).await?.copy_at(endpoint).is_some_and(|copy| copy.status.is_open()) {
                return Err(EngineError::EndpointAwaited { endpoint: endpoint.clone(), run_id });
            }
        }
        let counting = self.counting().await?;
        let not_here = |entry: &&RunEntry| entry.copies.came && (entry.kept_remotely || entry.deleted || entry.damaged);
        let candidates = self
            .read(|known| known.history.newest_first().filter(not_here).map(|entry| entry.run_id).collect::<Vec<_>>());
        let mut lost = Vec::new();
        for run_id in candidates.await? {
            let run = self.run(run_id).await?;
            let there = run.copy_at(endpoint).is_some_and(|copy| counting.places.hold(copy));
            if there && !run.is_whole_here() && !counting.elsewhere(&run, std::slice::from_ref(endpoint)) {
                lost.push(run_id);
            }
            if lost.len() > NAMED {
                break;
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        let named: Vec<_> = lost.iter().take(NAMED).map(ToString::to_string).collect();
        let more = if lost.len() > NAMED { " and others" } else { "" };
        Err(EngineError::HoldsLastCopies { endpoint: endpoint.clone(), runs: format!("{}{more}", named.join(", ")) })
    }

    /// The same for an endpoint that is to be used otherwise, where that makes it another place.
    pub(super) async fn may_move(
        &self,
        before: &EndpointConfigV2,
        after: &EndpointConfigV2,
        loss: Loss,
    ) -> Result<(), EngineError> {
        match (place(before), place(after)) {
            (Ok(before), Ok(after)) if before == after => Ok(()),
            (Err(_), _) => Ok(()),
            _ => self.may_lose_sight(&before.name, loss).await,
        }
    }

    /// Takes away the directories of runs that are to be kept on endpoints alone, and could not be taken away when their copies had come:
    /// they were locked or being read.
    pub(super) async fn take_leave(&self) {
        if let Err(error) = self.try_to_take_leave().await {
            tracing::warn!(%error, "runs that are kept elsewhere are not taken away here yet");
        }
    }

    async fn try_to_take_leave(&self) -> Result<(), EngineError> {
        let leaving = self.read(|known| {
            let runs = known.history.leaving().map(|entry| entry.run_id).take(LEAVING).collect::<Vec<_>>();
            (runs, known.places.clone())
        });
        let (runs, places) = leaving.await?;
        for run_id in runs {
            if !self.run(run_id).await?.may_leave_at(&places) {
                continue;
            }
            let handle = self.for_run(run_id, RunCommand::Leave(Places::clone(&places))).await?;
            let gone = self.wait_until(handle, |run| run.retained() != Retained::Deleting);
            // Where it is read just now, it is asked for again.
            if let Ok(run) = tokio::time::timeout(super::settle::DELETION, gone).await {
                run?;
            }
        }
        Ok(())
    }
}
