//! `StartFullBackup`.

use std::sync::Arc;

use holdfast_model::access::Role;
use holdfast_model::ids::{ParticipantName, RunId};
use holdfast_model::run::{Outcome, Run, RunView, Trigger};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::get_backup_run::not_found;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};
use crate::engine::{Backup, FilesDefinition, RunHandle};
use crate::files::{FilesSpec, RawPath};
use crate::pipeline::Compression;

/// Begins a backup of all participants, or of those that are named, and answers with the run: after its end, or at once where `wait` is
/// false.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StartFullBackup {
    /// Only these; all where none is named.
    #[schemars(length(max = 200))]
    pub participants: Vec<ParticipantName>,
    /// What makes it start, for the record.
    pub trigger: Trigger,
    /// Whether the artifacts are to be of one moment.
    pub consistency: Consistency,
    /// Whether to answer after the run's end only.
    pub wait: bool,
    /// A request with the same key, from the same caller and within 24 hours, is the same request: it attaches to the run.
    #[schemars(length(max = 128))]
    pub idempotency_key: String,
    /// The job it belongs to, for the record.
    #[schemars(length(max = 64), regex(pattern = r"^[A-Za-z0-9._-]*$"))]
    pub job: String,
    /// Whether a warning fails its participant.
    pub strict: bool,
    /// How artifacts are compressed, as `lz4` or `zstd:3`; as configured where it is not said.
    #[schemars(
        with = "Option<String>",
        regex(pattern = r"^(lz4|none|zstd:([1-9]|1[0-9]|2[0-2])|gzip:[1-9]|brotli:([0-9]|1[01]))$")
    )]
    pub compression: Option<Compression>,
    /// Files and folders in place of participants. On this machine only.
    #[schemars(skip)]
    pub files: Option<Files>,
}

/// Whether the artifacts of a run are of one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Each participant at its own time.
    #[default]
    Concurrent,
    /// All at one instant. Needs participants that can be held.
    Barrier,
}

/// Files and folders that are named on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The participant's name.
    pub name: ParticipantName,
    /// What to take; absolute paths, byte for byte.
    pub paths: Vec<RawPath>,
    /// What to leave out.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether to stay on the paths' file systems.
    #[serde(default)]
    pub one_file_system: bool,
    /// Whether a folder without anything in it is good.
    #[serde(default)]
    pub allow_empty: bool,
}

impl Default for StartFullBackup {
    fn default() -> Self {
        Self {
            participants: Vec::new(),
            trigger: Trigger::Manual,
            consistency: Consistency::default(),
            wait: true,
            idempotency_key: String::new(),
            job: String::new(),
            strict: false,
            compression: None,
            files: None,
        }
    }
}

impl Command for StartFullBackup {
    const NAME: &'static str = "StartFullBackup";
    const ALIASES: &'static [&'static str] = &["StartBackupServer"];
    const ROLE: Option<Role> = Some(Role::Operator);
    const KIND: Kind = Kind::Work;
    const ERRORS: &'static [ErrorCode] = &[
        ErrorCode::UnknownParticipant,
        ErrorCode::BackupAlreadyRunning,
        ErrorCode::RestoreAlreadyRunning,
        ErrorCode::IdempotencyKeyReused,
        ErrorCode::BackupRunFailed,
    ];
    type Answer = RunView;

    fn check(&self) -> Result<(), ApiError> {
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.participants.len() > holdfast_model::run::MAX_PARTICIPANTS {
            return Err(ApiError::field("participants", "there are more than a run may have"));
        }
        if self.idempotency_key.chars().count() > 128 {
            return Err(ApiError::field("idempotency_key", "it has more than 128 characters"));
        }
        if self.job.len() > 64 || !self.job.chars().all(name) {
            return Err(ApiError::field("job", "it is at most 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'"));
        }
        if let Some(files) = &self.files {
            if let Some(path) = files.paths.iter().find(|path| !path.as_path().is_absolute()) {
                return Err(ApiError::field("files.paths", format_args!("{path} is not absolute")));
            }
            if files.paths.is_empty() || !self.participants.is_empty() {
                return Err(ApiError::field("files.paths", "name at least one, and no participants beside them"));
            }
        }
        Ok(())
    }

    fn recorded(&self) -> Vec<(&'static str, String)> {
        let names: Vec<_> = self.participants.iter().map(ToString::to_string).collect();
        let mut fields = vec![("trigger", self.trigger.as_str().to_owned())];
        fields.extend((!names.is_empty()).then(|| ("participants", names.join(","))));
        fields.extend((!self.job.is_empty()).then(|| ("job", self.job.clone())));
        fields.extend(self.files.as_ref().map(|files| ("files", files.name.to_string())));
        fields
    }

    async fn run(self, call: &Call) -> Result<Reply<RunView>, ApiError> {
        if self.files.is_some() && !call.caller.door.is_local() {
            return Err(ApiError::field(
                "files",
                "it is taken on the Unix socket under the home only: `holdfast backup PATH…` asks for it there",
            ));
        }
        if self.consistency == Consistency::Barrier {
            let unable = self.unable(call).join(", ");
            return Err(ApiError::field("consistency", format_args!("these participants cannot be held: {unable}")));
        }
        let handle = self.begin(call).await?;
        call.accepted(&[("run_id", handle.run_id.to_string())]).await?;
        if !self.wait {
            let run = handle.watch.borrow().clone();
            return Ok(Reply::accepted(shown(&run, handle.run_id)?));
        }
        let run_id = handle.run_id;
        let run = call.engine.wait(handle).await?;
        let view = shown(&run, run_id)?;
        match run.outcome() {
            Some(Outcome::Completed | Outcome::Partial) => Ok(view.into()),
            _ => {
                let text = format!("run {run_id} ended {}: {}", view.status.as_str(), view.error_summary);
                Err(ApiError::new(ErrorCode::BackupRunFailed, text).with_detail(json!(view)))
            }
        }
    }
}

impl StartFullBackup {
    /// The run that this is the same request as, or a new one.
    async fn begin(&self, call: &Call) -> Result<RunHandle, ApiError> {
        let _starting = call.desk.starting.lock().await;
        if let Some(run_id) = self.known(call).await? {
            let handle = call.engine.attach(run_id).await?;
            let run = handle.watch.borrow().clone();
            if !self.is_of(&run) {
                let text =
                    format!("the idempotency key belongs to run {run_id}, which was asked for with other fields");
                return Err(ApiError::new(ErrorCode::IdempotencyKeyReused, text));
            }
            return Ok(handle);
        }
        // By the log: who has seen a run's end there may begin the next one.
        let open = call.engine.read(|known| known.history.open().next().map(|entry| entry.run_id)).await?;
        if let (Some(run_id), false) = (open, call.desk.settings().queueing) {
            let text = format!("run {run_id} is at work: wait for its end, or cancel it");
            let mut error = ApiError::new(ErrorCode::BackupAlreadyRunning, text);
            error.retryable = true;
            return Err(error.with_detail(json!({ "active_run_id": run_id })));
        }
        Ok(call.engine.back_up(self.backup()).await?)
    }

    async fn known(&self, call: &Call) -> Result<Option<RunId>, ApiError> {
        if self.idempotency_key.is_empty() {
            return Ok(None);
        }
        let who = call.caller.principal.as_ref().map(|principal| principal.name.as_str()).unwrap_or_default();
        let now = call.engine.now();
        Ok(call.engine.read(|known| known.history.by_key(who, &self.idempotency_key, now)).await?)
    }

    /// Whether a run is what this asks for.
    fn is_of(&self, run: &Arc<Run>) -> bool {
        let Some(view) = run.view(true) else { return false };
        let asked: std::collections::BTreeSet<_> = self.participants.iter().map(ToString::to_string).collect();
        let taken: std::collections::BTreeSet<_> = view.requested_participants.into_iter().collect();
        asked == taken && view.trigger == self.trigger && view.job == self.job
    }

    fn backup(&self) -> Backup {
        let backup = match &self.files {
            Some(files) => {
                let paths = files.paths.iter().map(|path| path.as_path().to_path_buf()).collect();
                let exclude = files.exclude.clone();
                let spec = FilesSpec { paths, exclude, one_file_system: files.one_file_system };
                Backup::files(files.name.clone(), FilesDefinition { spec, allow_empty: files.allow_empty })
            }
            None if self.participants.is_empty() => Backup::full(),
            None => Backup::scoped(self.participants.iter().cloned()),
        };
        let backup = backup.trigger(self.trigger).strict(self.strict);
        let backup = backup.job(&self.job).idempotency_key(&self.idempotency_key);
        match self.compression {
            Some(compression) => backup.compression(compression),
            None => backup,
        }
    }

    /// Participants of the request that cannot be held at one instant. None can yet.
    fn unable(&self, call: &Call) -> Vec<String> {
        if !self.participants.is_empty() {
            return self.participants.iter().map(ToString::to_string).collect();
        }
        call.engine.participants().iter().map(|one| one.descriptor.name.to_string()).collect()
    }
}

fn shown(run: &Run, run_id: RunId) -> Result<RunView, ApiError> {
    run.view(true).ok_or_else(|| not_found(run_id))
}
