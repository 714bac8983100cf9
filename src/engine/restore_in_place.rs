//! Restores in place: a participant's artifact into its own `restore` command, recorded.
//!
//! One at a time, and never beside a backup that has begun or would take what is half restored. A claim tells the next owner of the home
//! which process to end where this one is killed. What the command has done cannot be undone from here.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_actors::ports::Stop;
use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::ids::{ParticipantName, RestoreId, RunId};
use holdfast_model::participant::ChildV1;
use holdfast_model::restore::{
    CUT_SHORT, RestoreCommand, RestoreCompletedV1, RestoreRequestedV2, RestoredParticipantV1, Safety,
};
use tokio::sync::{Mutex, MutexGuard, watch};

use super::{EngineError, Holdfast, RestoreClaim, RestoreOutcome};
use crate::command::{Finished, Launcher};
use crate::config::Config;
use crate::files::Observer;
use crate::restore::{InPlace, RestoreError, RunSource};

/// How long a restore that is told to stop may take to end its command.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// What is being restored in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) participants: Vec<ParticipantName>,
    pub(super) restore_id: RestoreId,
}

/// The restores of one engine: one in place, and one into a folder, at a time.
#[derive(Default)]
pub(super) struct Restoring {
    /// Held while it is looked whether a backup or a restore may begin, until it has.
    gate: Mutex<()>,
    now: watch::Sender<Option<Now>>,
    /// Open ones whose modules are not registered.
    left: Vec<Now>,
    /// The restore into a folder that the engine itself makes, if there is one.
    pub(super) folder: watch::Sender<Option<RestoreId>>,
    pub(super) stop: Stop,
}

impl Restoring {
    /// Lets a backup of these participants begin, as long as the guard is held.
    ///
    /// # Errors
    /// [`EngineError::Restoring`] where one of them is being restored.
    pub(super) async fn admit_backup<'a>(
        &self,
        mut participants: impl Iterator<Item = &'a ParticipantName>,
    ) -> Result<MutexGuard<'_, ()>, EngineError> {
        let guard = self.gate.lock().await;
        let at_work = self.now.borrow().clone();
        let all = self.left.iter().chain(&at_work);
        match participants.find_map(|name| all.clone().find(|now| now.participants.contains(name))) {
            None => Ok(guard),
            Some(now) => Err(now.refused()),
        }
    }

    /// Lets a restore begin, as long as the lock is held and this is so.
    ///
    /// # Errors
    /// [`EngineError::Restoring`] where one is at work, or waits for its modules.
    pub(super) fn admit_restore(&self) -> Result<&Mutex<()>, EngineError> {
        let at_work = self.now.borrow().clone();
        match self.left.first().cloned().or(at_work) {
            Some(now) => Err(now.refused()),
            None => Ok(&self.gate),
        }
    }

    pub(super) fn begins(&self, now: Now) {
        self.now.send_replace(Some(now));
    }

    pub(super) fn ends(&self) {
        self.now.send_replace(None);
    }

    /// Whether it is the one at work.
    pub(super) fn is_at(&self, restore_id: RestoreId) -> bool {
        self.now.borrow().as_ref().is_some_and(|now| now.restore_id == restore_id)
    }

    /// With restores that a process before left, and that nobody here can settle.
    pub(super) fn with(left: Vec<(RestoreId, Vec<ParticipantName>)>) -> Self {
        let left = left.into_iter().map(|(restore_id, participants)| Now { participants, restore_id });
        Self { left: left.collect(), ..Self::default() }
    }

    /// Whether nothing is being restored.
    pub(super) fn is_idle(&self) -> bool {
        self.now.borrow().is_none() && self.folder.borrow().is_none()
    }

    /// Waits until nothing is being restored.
    pub(super) async fn ended(&self) {
        // It lives as long as the engine does.
        let _ = self.now.subscribe().wait_for(Option::is_none).await;
        let _ = self.folder.subscribe().wait_for(Option::is_none).await;
    }

    /// Tells it to stop, and waits until it has.
    pub(super) async fn end(&self) {
        self.stop.request();
        if tokio::time::timeout(STOPPED_WITHIN, self.ended()).await.is_err() {
            tracing::error!("a restore was told to stop and has not ended");
        }
    }
}

impl Now {
    fn refused(&self) -> EngineError {
        let names: Vec<_> = self.participants.iter().map(ParticipantName::as_str).collect();
        EngineError::Restoring { participants: names.join(", "), restore_id: self.restore_id }
    }
}

/// What is to be restored in place.
pub(crate) struct Work {
    pub(crate) source: RunSource,
    pub(crate) participant: ParticipantName,
    pub(crate) config: Arc<Config>,
    pub(crate) launcher: Launcher,
    /// Where its process is noted; nowhere where the home cannot be written.
    pub(crate) claim: Option<Arc<RestoreClaim>>,
}

impl Work {
    /// Reads all of the artifact, and then once more into the command. `begins` is called in between. Takes as long as both take.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub(crate) fn run(&self, observer: &dyn Observer, begins: impl FnOnce()) -> Result<Finished, RestoreError> {
        let plan = InPlace::plan(&self.source, &self.participant, &self.config)?;
        plan.verify(observer)?;
        begins();
        let admit = |child| match &self.claim {
            Some(claim) => note_process(claim, &self.participant, child),
            None => Ok(()),
        };
        plan.run(&self.launcher, self.claim.is_some().then_some(&admit), observer)
    }
}

/// Notes a process durably, before it becomes the command.
fn note_process(claim: &RestoreClaim, participant: &ParticipantName, child: ChildV1) -> Result<(), Failure> {
    let outcome = RestoreOutcome::InPlace { participant: participant.clone(), child: Some(child) };
    claim.note(&outcome).map_err(|error| {
        let text = format!("the command's process cannot be recorded, so it was not run: {error}");
        Failure::new(FailureKind::Fatal, "RESTORE_NOT_RECORDED", text)
    })
}

/// A restore in place that has begun to be recorded.
pub(crate) struct InPlaceRecord {
    engine: Holdfast,
    restore_id: RestoreId,
    claim: Arc<RestoreClaim>,
}

impl Drop for InPlaceRecord {
    fn drop(&mut self) {
        self.engine.shared.restoring.now.send_replace(None);
    }
}

impl InPlaceRecord {
    /// Which restore it is.
    pub(crate) fn restore_id(&self) -> RestoreId {
        self.restore_id
    }

    /// What holds how it stands.
    pub(crate) fn claim(&self) -> &Arc<RestoreClaim> {
        &self.claim
    }

    /// Records the end.
    ///
    /// # Errors
    /// [`EngineError`] where that cannot be done. The claim stays then, and the next owner of the home does it.
    pub(crate) async fn end(self, end: Result<RestoreCompletedV1, Failure>) -> Result<(), EngineError> {
        let (outcome, command) = match end {
            Ok(completed) => (RestoreOutcome::Completed(completed.clone()), RestoreCommand::Complete(completed)),
            Err(failure) => (RestoreOutcome::Failed(failure.clone()), RestoreCommand::Fail(failure)),
        };
        if let Err(error) = self.claim.note(&outcome) {
            tracing::warn!(restore_id = %self.restore_id, %error, "how a restore ended cannot be noted in its claim");
        }
        self.engine.restore(self.restore_id, command).await?;
        self.claim.recorded();
        Ok(())
    }
}

impl Holdfast {
    /// Records that a restore in place begins.
    ///
    /// # Errors
    /// [`EngineError::Restoring`] where another one is at work, [`EngineError::BackupAtWork`] where a backup is; [`EngineError::Claim`]
    /// where the home cannot be written; where it cannot be recorded.
    pub(crate) async fn begin_in_place(
        &self,
        run_id: RunId,
        participant: &ParticipantName,
        asked: Asked,
    ) -> Result<InPlaceRecord, EngineError> {
        let restoring = &self.shared.restoring;
        let _gate = restoring.gate.lock().await;
        restoring.admit_restore()?;
        if let Some(open) = self.open_run().await {
            return Err(EngineError::BackupAtWork(open.run_id));
        }
        let restore_id = RestoreId(self.shared.world.clock.new_id());
        let claim = RestoreClaim::take(self.home(), restore_id).map_err(EngineError::Claim)?;
        let noted = RestoreOutcome::InPlace { participant: participant.clone(), child: None };
        if let Err(error) = claim.note(&noted) {
            claim.recorded();
            return Err(EngineError::Claim(error));
        }
        let command = RestoreCommand::Request(RestoreRequestedV2 {
            restore_id,
            source_run: run_id,
            target: format!("participant {participant}, in place"),
            staging: Vec::new(),
            selections: 0,
            overwrite: true,
            force: asked.force,
            safety: asked.safety,
            participants: vec![self.restored(participant)],
        });
        if let Err(error) = self.restore(restore_id, command).await {
            claim.recorded();
            return Err(error);
        }
        restoring.now.send_replace(Some(Now { participants: vec![participant.clone()], restore_id }));
        Ok(InPlaceRecord { engine: self.clone(), restore_id, claim: Arc::new(claim) })
    }

    /// Begins a restore in place. It goes on by itself, also where nobody waits for its end, which the returned channel tells of.
    ///
    /// # Errors
    /// As [`Holdfast::begin_in_place`].
    pub(crate) async fn restore_in_place(
        &self,
        source: RunSource,
        participant: ParticipantName,
        asked: Asked,
    ) -> Result<(RestoreId, watch::Receiver<bool>), EngineError> {
        let record = self.begin_in_place(source.run_id(), &participant, asked).await?;
        let (restore_id, bytes) = (record.restore_id, content(&source, &participant));
        let (config, launcher) = (self.config(), self.shared.launcher.clone());
        let work = Work { source, participant, config, launcher, claim: Some(record.claim().clone()) };
        let stop = self.shared.restoring.stop.clone();
        let (ended, wait) = watch::channel(false);
        self.shared.world.data_plane.spawn(async move {
            let begun = Arc::new(AtomicBool::new(false));
            let beginning = begun.clone();
            let done = tokio::task::spawn_blocking(move || {
                work.run(&UntilStopped(stop), || beginning.store(true, Ordering::Release)).map(drop)
            });
            let end = match done.await {
                Ok(Ok(())) => Ok(RestoreCompletedV1 { files: 0, bytes, warnings: 0 }),
                Ok(Err(error)) => Err(in_place_failure(&error, begun.load(Ordering::Acquire))),
                Err(panic) => Err(Failure::new(FailureKind::Fatal, "RESTORE_PANICKED", panic.to_string())),
            };
            if let Err(error) = record.end(end).await {
                tracing::error!(%restore_id, %error, "the end of a restore is recorded by the next owner of the home");
            }
            ended.send_replace(true);
        });
        Ok((restore_id, wait))
    }

    /// A participant as a restore of it is recorded.
    pub(crate) fn restored(&self, name: &ParticipantName) -> RestoredParticipantV1 {
        let known = self.participants().into_iter().find(|one| one.descriptor.name == *name);
        let descriptor = known.map(|one| one.descriptor);
        RestoredParticipantV1 {
            name: name.clone(),
            kind: descriptor.as_ref().map(|one| one.kind.clone()).unwrap_or_default(),
            critical: descriptor.is_some_and(|one| one.critical),
        }
    }
}

/// What was said of a restore in place beside what is restored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// Whether it is made without maintenance being on.
    pub(crate) force: bool,
    /// What is kept of the state before.
    pub(crate) safety: Safety,
}

/// Content bytes of a participant's artifacts.
fn content(source: &RunSource, participant: &ParticipantName) -> u64 {
    let own = source.artifacts().iter().filter(|artifact| artifact.participant == *participant);
    own.fold(0, |sum, artifact| artifact.content_bytes.saturating_add(sum))
}

/// Why a restore in place was not good, what the command said last, and what it left: one that was stopped after its command had begun
/// leaves something half done, which nobody may take for a restore that was not made.
pub(crate) fn in_place_failure(error: &RestoreError, begun: bool) -> Failure {
    let left = if begun { "what the command did until then stays" } else { "nothing was restored" };
    let said = match error {
        RestoreError::Command { error, .. } => error.output().lines().next_back().unwrap_or_default(),
        _ => "",
    };
    let said = if said.is_empty() { String::new() } else { format!(", and said last: {said}") };
    let failure = restore_failure(error);
    let code = if begun && failure.kind == FailureKind::Cancelled { CUT_SHORT } else { &failure.code };
    Failure::new(failure.kind, code, format!("{}{said}; {left}", failure.message))
}

/// Why a restore was not good, as it is recorded.
pub(crate) fn restore_failure(error: &RestoreError) -> Failure {
    let kind = if error.is_cancelled() { FailureKind::Cancelled } else { FailureKind::Fatal };
    Failure::new(kind, error.code(), error.to_string())
}

/// Hears nothing, and stops with the engine.
pub(super) struct UntilStopped(pub(super) Stop);

impl Observer for UntilStopped {
    fn advance(&self, _files: u64, _bytes: u64) {}

    fn warn(&self, path: &Path, reason: &str) {
        tracing::warn!(path = %path.display(), reason, "restore");
    }

    fn cancelled(&self) -> bool {
        self.0.requested()
    }
}
