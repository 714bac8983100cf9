//! `StartRestoreRun`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_model::access::Role;
use holdfast_model::failure::Failure;
use holdfast_model::ids::{ParticipantName, RestoreId, RunId};
use holdfast_model::restore::{RestoreStatus, RestoreView, RestoredParticipant, Safety};
use holdfast_model::run::{ParticipantStatus, Retained, Run, RunStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use super::get_restore_runs::restore;
use super::start_full_backup::MAX_TIMEOUT_S;
use crate::api::text::Reason;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};
use crate::encryption::FileKeys;
use crate::engine::{Asked, FilesDefinition, InPlacePlan, NotBegun, NotPlanned, PlannedParticipant};
use crate::files::RawPath;
use crate::own_state;
use crate::participant::{Descriptor, SpaceNeeded};
use crate::restore::{Key, RestoreError, RunSource};
use crate::storage::StorageError;

/// Restores participants of a run into where they came from, and answers with the restore: after its end, or at once where `wait` is
/// false.
///
/// It is all or none: everything is read and found as recorded; all stand still; the state before is kept under `pre_restore_path` as
/// `safety` says; all is staged beside the live data, and only then committed, each after those it depends on. A failure of any of them
/// puts all back. Where the process dies, its next start does the restore again if all was staged, and undoes it if not, before anything
/// else begins. With `safety` `none` there is no way back once the first has committed.
///
/// Modules of an application take their artifacts back by their code. Files take the place of what is there path by path, each in one
/// step. A command gets its artifact on the standard input of its `restore`: what that did is undone by the same command, fed with the
/// state before. What takes nothing back is refused with RESTORE_NOT_SUPPORTED, which names the participants.
///
/// A `dry_run` answers what would be restored, after the same checks of the run, every byte of it, the participants and the room they
/// need; it touches nothing, is not kept as a restore and has no `restore_id`, and asks for no maintenance. Of each participant `notes`
/// say whether its commit is one step, and what it needs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StartRestoreRun {
    /// The run to take the bytes from.
    pub run_id: RunId,
    /// Only these; all of the run where none is named.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub participants: Vec<ParticipantName>,
    /// Whether to say only what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether to restore without maintenance being on.
    #[serde(default)]
    pub force: bool,
    /// What is kept of the state before.
    #[serde(default)]
    pub safety: Safety,
    /// Whether live data that the run does not have is deleted: of files what is below the paths that are restored and was not left out of
    /// the backup by a pattern. A participant that puts its whole state in place, as commands and most modules do, does that anyway.
    #[serde(default)]
    pub delete: bool,
    /// How many seconds a restore in place may take from its request on, before it is stopped, what it touched is put back, and it has ended
    /// `timeout` or `rolled_back`; 0 for as many as it takes, as configured where it is not said. It goes on counting where the process dies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 31_622_400))]
    pub timeout_s: Option<u64>,
    /// Whether the good participants of a run that did not complete may be taken.
    #[serde(default)]
    pub accept_incomplete: bool,
    /// Whether to answer after the restore's end only.
    #[serde(default = "yes")]
    pub wait: bool,
    /// Why, for the record.
    #[serde(default)]
    pub reason: Reason,
    /// A folder to restore into, absolute, in place of where the bytes came from. This and what follows is for this machine only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub target: Option<RawPath>,
    /// Whether what is in the way there is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub overwrite: Option<bool>,
    /// The keys of the run's files, as whoever has the private key has unwrapped them; without them the server's own identity file is
    /// used. Never recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub file_keys: Option<FileKeys>,
}

fn yes() -> bool {
    true
}

impl Command for StartRestoreRun {
    const NAME: &'static str = "StartRestoreRun";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Work;
    const ERRORS: &'static [ErrorCode] = &[
        ErrorCode::UnknownParticipant,
        ErrorCode::BackupRunNotFound,
        ErrorCode::BackupRunNotRestorable,
        ErrorCode::RestoreNotSupported,
        ErrorCode::MaintenanceRequired,
        ErrorCode::RestoreAlreadyRunning,
        ErrorCode::BackupAlreadyRunning,
        ErrorCode::RestoreFailed,
    ];
    type Answer = RestoreView;

    fn check(&self) -> Result<(), ApiError> {
        if self.participants.len() > holdfast_model::run::MAX_PARTICIPANTS {
            return Err(ApiError::field("participants", "must be no more than a run may have"));
        }
        if self.timeout_s.is_some_and(|timeout| timeout > MAX_TIMEOUT_S) {
            return Err(ApiError::field("timeout_s", format!("must be at most {MAX_TIMEOUT_S}, or 0 for no limit")));
        }
        match &self.target {
            Some(_) if self.timeout_s.is_some() => Err(ApiError::field("timeout_s", "must be left out with `target`")),
            Some(target) if !target.as_path().is_absolute() => Err(ApiError::field("target", "must be absolute")),
            None if self.overwrite.is_some() => Err(ApiError::field("overwrite", "must come with `target`")),
            _ => Ok(()),
        }
    }

    fn recorded(&self) -> Vec<(&'static str, String)> {
        let names: Vec<_> = self.participants.iter().map(ToString::to_string).collect();
        vec![
            ("run_id", self.run_id.to_string()),
            ("participants", names.join(",")),
            ("dry_run", self.dry_run.to_string()),
            ("force", self.force.to_string()),
            ("delete", self.delete.to_string()),
            ("safety", self.safety.as_str().to_owned()),
            ("accept_incomplete", self.accept_incomplete.to_string()),
            ("timeout_s", self.timeout_s.map(|timeout| timeout.to_string()).unwrap_or_default()),
            ("reason", self.reason.as_str().to_owned()),
        ]
    }

    async fn run(self, call: &Call) -> Result<Reply<RestoreView>, ApiError> {
        if self.target.is_some() && !call.caller.door.is_local() {
            let rule = "must be left out: it is taken over the Unix socket of the home only";
            return Err(ApiError::field("target", rule));
        }
        if self.file_keys.is_some() && !call.caller.door.is_local() {
            let rule = "must be left out: keys are taken over the Unix socket of the home only";
            return Err(ApiError::field("file_keys", rule));
        }
        let run = call.engine.run(self.run_id).await?;
        let run = self.revealed(call, run).await?;
        let wanted = self.wanted(&run)?;
        if let Some(target) = self.target.clone() {
            return self.into_folder(call, run, target.as_path().to_path_buf()).await;
        }
        self.in_place(call, run, &wanted).await
    }
}

impl StartRestoreRun {
    /// The run; with what its key tells of it, where an import could not.
    async fn revealed(&self, call: &Call, run: Arc<Run>) -> Result<Arc<Run>, ApiError> {
        if !run.is_masked() || run.retained() != Retained::Kept {
            return Ok(run);
        }
        let incomplete = Self { accept_incomplete: true, ..self.clone() };
        Ok(Arc::new(incomplete.open(call, run, None).await?.run().clone()))
    }

    /// A restore in place replaces what somebody may be working with.
    async fn guard(&self, call: &Call) -> Result<(), ApiError> {
        if self.force || call.engine.read(|known| known.maintenance.enabled).await? {
            return Ok(());
        }
        let text = "a restore in place needs maintenance: SetMaintenance, or `force` where nothing uses the data";
        Err(ApiError::new(ErrorCode::MaintenanceRequired, text))
    }

    /// Into where the bytes came from, all or none.
    async fn in_place(
        &self,
        call: &Call,
        run: Arc<Run>,
        wanted: &BTreeSet<ParticipantName>,
    ) -> Result<Reply<RestoreView>, ApiError> {
        // Kept from deletion until the restore holds it itself.
        let source = Arc::new(self.open(call, run.clone(), None).await?);
        let keys = source.keys().cloned();
        let plan = call.engine.plan_in_place(&run, source.clone(), wanted, self.delete).await;
        let plan = plan.map_err(|error| not_planned(error, &run))?;
        if self.dry_run {
            let bytes = call.engine.read_again(source, wanted.clone()).await.map_err(|error| self.damaged(&error))?;
            return Ok(self.planned(call, &run, &plan, bytes)?.into());
        }
        self.guard(call).await?;
        let asked = Asked { force: self.force, safety: self.safety, timeout: self.timeout_s.map(Duration::from_secs) };
        let mut handle = call.engine.restore_in_place(self.run_id, plan, asked, keys).await?;
        self.answer(call, handle.restore_id, &mut handle.released).await
    }

    /// What a restore in place would be, told without one.
    fn planned(&self, call: &Call, run: &Run, plan: &InPlacePlan, bytes: u64) -> Result<RestoreView, ApiError> {
        let view = run.view(true).ok_or_else(|| super::get_backup_run::not_found(self.run_id))?;
        let now = call.engine.now().seconds();
        let one_moment = run.barrier().is_some();
        let row = |planned: &PlannedParticipant| {
            let backed_up = view.participants.iter().find(|one| one.name == planned.named.name.as_str());
            let mut row = RestoredParticipant::new(&planned.named, ParticipantStatus::Completed, now, now);
            row.participant.artifacts = backed_up.map(|one| one.artifacts.clone()).unwrap_or_default();
            let mut notes = vec![match planned.recorded.atomic {
                true => "its commit is one step".to_owned(),
                false => "its commit is not one step: a crash in its middle is mended by the next start".to_owned(),
            }];
            let room = |space: &SpaceNeeded| format!("needs {} bytes beside {}", space.bytes, space.path.display());
            notes.extend(planned.space.iter().map(room));
            notes.extend(planned.notes.iter().cloned());
            notes.push(match self.safety {
                Safety::None => "nothing is kept of the state before: there is no way back from its commit".to_owned(),
                Safety::Required | Safety::BestEffort => {
                    let stored = row.participant.artifacts.iter().fold(0, |sum: u64, one| sum.saturating_add(one.size_bytes));
                    let free = holdfast_log::space::free(call.engine.home().root()).unwrap_or_default();
                    format!("the state before is kept in the home: {stored} bytes where it is as large as in the run, and {free} are free")
                }
            });
            if plan.participants.len() > 1 && !one_moment {
                notes.push("the run has no barrier: what is restored may be of different moments".to_owned());
            }
            notes.push(match run.encryption().is_on() {
                true => "the run is encrypted, and the key that is given opens it".to_owned(),
                false => "no key is needed: the run is not encrypted".to_owned(),
            });
            notes.iter().for_each(|note| row.participant.notes.add(note));
            row
        };
        let participants = plan.participants.iter().map(row).collect();
        Ok(RestoreView { participants, target: "in place".into(), bytes, ..self.dry(call) })
    }

    /// The restore that has begun, at once or after its end.
    async fn answer(
        &self,
        call: &Call,
        restore_id: RestoreId,
        ended: &mut watch::Receiver<bool>,
    ) -> Result<Reply<RestoreView>, ApiError> {
        call.accepted(&[("restore_id", restore_id.to_string())]).await?;
        if !self.wait {
            return Ok(Reply::accepted(restore(call, restore_id).await?));
        }
        // It ends with its own deadlines; where its task is gone, what is recorded is the answer.
        let _ = ended.wait_for(|ended| *ended).await;
        let view = restore(call, restore_id).await?;
        if view.status == RestoreStatus::Completed {
            return Ok(view.into());
        }
        let text = format!("restore {restore_id} ended {}: {}", view.status.as_str(), view.error_summary);
        Err(ApiError::new(ErrorCode::RestoreFailed, text).with_detail(json!(view)))
    }

    /// Into a folder, which asks for no maintenance and replaces nothing that a snapshot could keep.
    async fn into_folder(self, call: &Call, run: Arc<Run>, target: PathBuf) -> Result<Reply<RestoreView>, ApiError> {
        let mut named = self.participants.iter();
        let (participant, None) = (named.next(), named.next()) else {
            let text = "several participants, and not all, cannot be restored into a folder at a time: name one, or none for all";
            let detail = json!({ "participants": self.participants });
            return Err(ApiError::new(ErrorCode::RestoreNotSupported, text).with_detail(detail));
        };
        let source = self.open(call, run, participant).await?;
        let overwrite = self.overwrite.unwrap_or_default();
        let not_begun = |error| match error {
            NotBegun::Engine(error) => ApiError::from(error),
            NotBegun::Restore(error) => self.not_restorable(&error),
        };
        if self.dry_run {
            let shown = target.display().to_string();
            let (files, bytes) = call.engine.plan_into_folder(source, target, overwrite).await.map_err(not_begun)?;
            return Ok(RestoreView { files, bytes, target: shown, ..self.dry(call) }.into());
        }
        let begun = call.engine.restore_into_folder(source, target, overwrite).await;
        let (restore_id, mut ended) = begun.map_err(not_begun)?;
        self.answer(call, restore_id, &mut ended).await
    }

    /// The participants that are to be restored, all of them good in the run.
    fn wanted(&self, run: &Run) -> Result<BTreeSet<ParticipantName>, ApiError> {
        if run.retained() != Retained::Kept {
            return Err(ApiError::new(ErrorCode::BackupRunNotFound, run.not_here().to_string()));
        }
        let status = run.status(true);
        let not_restorable = |text: String| {
            ApiError::new(ErrorCode::BackupRunNotRestorable, text).with_detail(json!({ "status": status.as_str() }))
        };
        if run.is_open() {
            return Err(not_restorable(format!("run {} has not ended", self.run_id)));
        }
        if status != RunStatus::Completed && !self.accept_incomplete {
            let text =
                format!("run {} is {}: `accept_incomplete` takes what is good of it", self.run_id, status.as_str());
            return Err(not_restorable(text));
        }
        let missing: Vec<_> = self.participants.iter().filter(|name| run.participant(name).is_none()).collect();
        if !missing.is_empty() {
            let text = format!("run {} does not have all participants that are named", self.run_id);
            return Err(ApiError::new(ErrorCode::UnknownParticipant, text).with_detail(json!({ "unknown": missing })));
        }
        let good = |name: &ParticipantName| {
            run.participant(name).is_some_and(|participant| participant.status == ParticipantStatus::Completed)
        };
        let bad: Vec<_> = self.participants.iter().filter(|name| !good(name)).collect();
        if !bad.is_empty() {
            let text = format!("not all participants that are named are good in run {}", self.run_id);
            let detail = json!({ "status": status.as_str(), "participants": bad });
            return Err(ApiError::new(ErrorCode::BackupRunNotRestorable, text).with_detail(detail));
        }
        let all = || {
            // The installation's own state goes into no living installation, so it is not part of all.
            let names = run.participants().iter().map(|participant| &participant.name).filter(|name| good(name));
            names.filter(|name| !own_state::is_own(run, name)).cloned()
        };
        let wanted: BTreeSet<_> =
            if self.participants.is_empty() { all().collect() } else { self.participants.iter().cloned().collect() };
        if wanted.is_empty() {
            return Err(not_restorable(format!("nothing is good in run {}", self.run_id)));
        }
        Ok(wanted)
    }

    /// The run's directory, kept from deletion.
    async fn open(
        &self,
        call: &Call,
        run: Arc<Run>,
        participant: Option<&ParticipantName>,
    ) -> Result<RunSource, ApiError> {
        let (home, incomplete) = (call.engine.home().clone(), self.accept_incomplete);
        let participant = participant.cloned();
        let (engine, file_keys) = (call.engine.clone(), self.file_keys.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let key = match file_keys {
                Some(keys) => Key::Files(keys),
                None if run.encryption().is_on() => {
                    Key::Ring(engine.keyring().map_err(|error| RestoreError::from(StorageError::Encryption(error)))?)
                }
                None => Key::Without,
            };
            let source = RunSource::open(&home, &run, participant.as_ref(), incomplete, &key)?;
            Ok(if participant.is_none() { source.without_own_state() } else { source })
        });
        let opened = opened.await.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?;
        opened.map_err(|error| self.not_restorable(&error))
    }

    /// Why the source, or the target, keeps a restore from being made.
    fn not_restorable(&self, error: &RestoreError) -> ApiError {
        match error {
            RestoreError::Deleted(_) | RestoreError::KeptRemotely(_) => {
                ApiError::new(ErrorCode::BackupRunNotFound, error.to_string())
            }
            RestoreError::HoldsFiles { .. } | RestoreError::NotOneStream { .. } => {
                let detail = json!({ "participants": self.participants });
                ApiError::new(ErrorCode::RestoreNotSupported, error.to_string()).with_detail(detail)
            }
            _ => {
                let detail = json!({ "cause": error.code() });
                ApiError::new(ErrorCode::BackupRunNotRestorable, error.to_string()).with_detail(detail)
            }
        }
    }

    /// Why what would be restored is not as it was recorded.
    fn damaged(&self, failure: &Failure) -> ApiError {
        let text = format!("run {} cannot be restored as it lies there: {failure}", self.run_id);
        ApiError::new(ErrorCode::BackupRunNotRestorable, text).with_detail(json!({ "cause": failure.code }))
    }

    /// A dry run's answer, before what would be restored stands in it.
    fn dry(&self, call: &Call) -> RestoreView {
        let now = call.engine.now().seconds();
        RestoreView {
            restore_id: String::new(),
            source_run_id: self.run_id.to_string(),
            dry_run: true,
            force: self.force,
            safety: self.safety.as_str().to_owned(),
            pre_restore_path: String::new(),
            safety_removed_at: 0,
            timeout_s: 0,
            phase: "done".to_owned(),
            status: RestoreStatus::Completed,
            started_at: now,
            finished_at: now,
            error_summary: String::new(),
            error_code: String::new(),
            safety_error: String::new(),
            participants: Vec::new(),
            target: String::new(),
            files: 0,
            bytes: 0,
            warnings: 0,
        }
    }
}

/// Why a restore in place is not begun.
fn not_planned(error: NotPlanned, run: &Run) -> ApiError {
    let mut text = error.to_string();
    let (code, detail) = match error {
        NotPlanned::Engine(error) => return ApiError::from(error),
        NotPlanned::Space(error) => (ErrorCode::BackupRunNotRestorable, json!({ "cause": error.code() })),
        NotPlanned::NotSupported(participants) => {
            text.push_str(&unable(run, &participants));
            (ErrorCode::RestoreNotSupported, json!({ "participants": participants }))
        }
        NotPlanned::Format { participant, found, .. } => {
            let detail = json!({ "cause": "FORMAT_NOT_READ", "participants": [participant], "format_version": found });
            (ErrorCode::BackupRunNotRestorable, detail)
        }
        NotPlanned::Refused { participant, failure } => {
            (ErrorCode::BackupRunNotRestorable, json!({ "cause": failure.code, "participants": [participant] }))
        }
    };
    ApiError::new(code, text).with_detail(detail)
}

/// What can be done about participants that take nothing back.
fn unable(run: &Run, names: &[ParticipantName]) -> String {
    let kinds: BTreeSet<_> = names.iter().filter_map(|name| run.participant(name)).map(|one| &*one.kind).collect();
    let about = |kind: &&str| match *kind {
        Descriptor::MODULE => "; a module is registered by its application, and has to implement `Restore`".to_owned(),
        FilesDefinition::KIND => {
            "; files are restored in place where the configuration has them, else by `restore --target`".to_owned()
        }
        own_state::KIND => {
            "; the state of the installation is not put in the place of a living one: `restore --target DIR \
                            --participant holdfast` gives its files, and `holdfast recover` makes a home of them"
                .to_owned()
        }
        kind => format!("; a {kind} needs `restore` in the configuration, or `dump` feeds it by hand"),
    };
    kinds.iter().map(about).collect()
}
