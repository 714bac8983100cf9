//! `StartFullBackup`.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_model::access::Role;
use holdfast_model::ids::{EndpointName, ParticipantName, RunId};
use holdfast_model::run::{
    Consistency, Copies, Encryption, MAX_COPIES, Outcome, RequireEndpoints, Run, RunParticipant, RunType, RunView,
    Staging, Trigger,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::get_backup_run::not_found;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};
use crate::encryption::{self, EncryptionError};
use crate::engine::{Backup, FilesDefinition, RunHandle};
use crate::files::{FilesSpec, RawPath};
use crate::pipeline::Compression;

/// Longest deadline of a run or a restore, in seconds: 366 days, as in the configuration.
pub(super) const MAX_TIMEOUT_S: u64 = 366 * 24 * 3600;

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
    /// Whether the artifacts are to be of one moment; as configured where it is not said.
    pub consistency: Option<Consistency>,
    /// How many seconds each attempt may take before it is stopped and has ended `timeout`, 0 for as many as it likes; as configured where it
    /// is not said.
    #[schemars(range(max = 31_622_400))]
    pub timeout_s: Option<u64>,
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
    /// Endpoints that get a copy, all of which must have it for the run to be good; as configured where none is named.
    #[schemars(length(max = 50))]
    pub endpoints: Vec<EndpointName>,
    /// Where artifacts are written: `local`, here first, or `none`, straight to the endpoints; as configured where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staging: Option<Staging>,
    /// Public keys that its artifacts are encrypted to; as configured where none is given. This machine only: who could choose them could
    /// make backups that nobody here can open.
    #[schemars(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub encrypt_to: Vec<String>,
    /// Files and folders in place of participants; absolute paths, byte for byte. This and what follows is for this machine only.
    #[schemars(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<RawPath>,
    /// The name of the participant that they make; after the first path where none is given.
    #[schemars(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<ParticipantName>,
    /// What to leave out of them.
    #[schemars(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Whether to stay on the paths' file systems.
    #[schemars(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_file_system: Option<bool>,
    /// Whether a folder without anything in it is good.
    #[schemars(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_empty: Option<bool>,
}

impl Default for StartFullBackup {
    fn default() -> Self {
        Self {
            participants: Vec::new(),
            trigger: Trigger::Manual,
            consistency: None,
            timeout_s: None,
            wait: true,
            idempotency_key: String::new(),
            job: String::new(),
            strict: false,
            compression: None,
            endpoints: Vec::new(),
            staging: None,
            encrypt_to: Vec::new(),
            paths: Vec::new(),
            name: None,
            exclude: Vec::new(),
            one_file_system: None,
            allow_empty: None,
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
        ErrorCode::RestoreRollbackFailed,
        ErrorCode::NotFound,
        ErrorCode::IdempotencyKeyReused,
        ErrorCode::BackupRunFailed,
    ];
    type Answer = RunView;

    fn check(&self) -> Result<(), ApiError> {
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.participants.len() > holdfast_model::run::MAX_PARTICIPANTS {
            return Err(ApiError::field("participants", "must be no more than a run may have"));
        }
        if self.endpoints.len() > MAX_COPIES {
            return Err(ApiError::field("endpoints", format!("must be {MAX_COPIES} names at most")));
        }
        if self.idempotency_key.chars().count() > 128 {
            return Err(ApiError::field("idempotency_key", "must be at most 128 characters"));
        }
        if self.job.len() > 64 || !self.job.chars().all(name) {
            return Err(ApiError::field("job", "must be at most 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'"));
        }
        if self.timeout_s.is_some_and(|timeout| timeout > MAX_TIMEOUT_S) {
            return Err(ApiError::field("timeout_s", format!("must be at most {MAX_TIMEOUT_S}, or 0 for no limit")));
        }
        if !self.paths.iter().all(|path| path.as_path().is_absolute()) {
            return Err(ApiError::field("paths", "must be absolute"));
        }
        if !self.paths.is_empty() && !self.participants.is_empty() {
            return Err(ApiError::field("paths", "must be left out where participants are named"));
        }
        if let (true, Some(field)) = (self.paths.is_empty(), self.ad_hoc().next()) {
            return Err(ApiError::field(field, "must come with `paths`"));
        }
        self.encryption().map_err(|error| ApiError::field("encrypt_to", error))?;
        let spec = FilesSpec { paths: Vec::new(), exclude: self.exclude.clone(), one_file_system: false };
        spec.check_patterns().map_err(|error| ApiError::field("exclude", error))
    }

    fn recorded(&self) -> Vec<(&'static str, String)> {
        let names: Vec<_> = self.participants.iter().map(ToString::to_string).collect();
        let mut fields = vec![("trigger", self.trigger.as_str().to_owned())];
        fields.extend((!names.is_empty()).then(|| ("participants", names.join(","))));
        let endpoints: Vec<_> = self.endpoints.iter().map(ToString::to_string).collect();
        fields.extend((!endpoints.is_empty()).then(|| ("endpoints", endpoints.join(","))));
        fields.extend((!self.job.is_empty()).then(|| ("job", self.job.clone())));
        fields.extend((!self.paths.is_empty()).then(|| ("name", self.participant_of_paths().to_string())));
        fields
    }

    async fn run(self, call: &Call) -> Result<Reply<RunView>, ApiError> {
        if let (Some(field), false) = (self.ad_hoc().next(), call.caller.door.is_local()) {
            return Err(ApiError::field(
                field,
                "must be left out: it is taken on the Unix socket under the home only, where `holdfast backup PATH…` asks for it",
            ));
        }
        if !self.encrypt_to.is_empty() && !call.caller.door.is_local() {
            let rule = "must be left out: it is taken on the Unix socket under the home only";
            return Err(ApiError::field("encrypt_to", rule));
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

    /// Whether a run is what this asks for: the same participants by the same definitions, in the same way.
    fn is_of(&self, run: &Run) -> bool {
        let Some(request) = run.request() else { return false };
        let taken: BTreeSet<_> = run.participants().iter().map(|one| &one.name).collect();
        let recorded = run.participants().iter().any(|one| !one.definition.is_empty());
        let same = if self.paths.is_empty() {
            let asked: BTreeSet<_> = self.participants.iter().collect();
            let scoped = request.run_type == RunType::Scoped;
            !recorded && scoped != asked.is_empty() && (asked.is_empty() || asked == taken)
        } else {
            let (name, definition) = (self.participant_of_paths(), self.definition());
            let defined = |text: &str| serde_json::from_str::<FilesDefinition>(text).is_ok_and(|one| one == definition);
            let is = |one: &RunParticipant| one.name == name && defined(&one.definition);
            recorded && run.participants().iter().all(is)
        };
        same && request.trigger == self.trigger
            && request.job == self.job
            && request.strict == self.strict
            && self.consistency.is_none_or(|consistency| consistency == request.consistency)
            && (self.endpoints.is_empty() || self.endpoints == run.planned_copies().endpoints)
            && self.timeout_s.is_none_or(|timeout| timeout.saturating_mul(1000) == request.timeout_ms)
            && self.encryption().ok().flatten().is_none_or(|encryption| encryption == request.encryption)
            && self.compression.is_none_or(|compression| compression.to_string() == request.compression)
    }

    /// What its artifacts are encrypted to; `None` as configured.
    fn encryption(&self) -> Result<Option<Encryption>, EncryptionError> {
        match &*self.encrypt_to {
            [] => Ok(None),
            keys => encryption::recipients(keys.iter().map(String::as_str)).map(Some),
        }
    }

    /// The names of those fields that were said and are for this machine only.
    fn ad_hoc(&self) -> impl Iterator<Item = &'static str> {
        let said = [
            ("paths", !self.paths.is_empty()),
            ("name", self.name.is_some()),
            ("exclude", !self.exclude.is_empty()),
            ("one_file_system", self.one_file_system.is_some()),
            ("allow_empty", self.allow_empty.is_some()),
        ];
        said.into_iter().filter(|(_, said)| *said).map(|(field, _)| field)
    }

    /// What the participant of the paths is called: as was said, or the last part of the first path, as far as a name may have it.
    fn participant_of_paths(&self) -> ParticipantName {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let last = self.paths.first().and_then(|path| path.as_path().file_name());
        let last = last.map(|name| name.to_string_lossy().into_owned());
        let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
        let name: String = last.unwrap_or_else(|| "root".into()).chars().map(legal).take(48).collect();
        let name = name.trim_start_matches(['.', '-']);
        name.parse().or_else(|_| "files".parse()).unwrap_or_else(|_| unreachable!("`files` is a participant name"))
    }

    /// What the participant of the paths takes.
    fn definition(&self) -> FilesDefinition {
        let paths = self.paths.iter().map(|path| path.as_path().to_path_buf()).collect();
        let one_file_system = self.one_file_system.unwrap_or_default();
        let spec = FilesSpec { paths, exclude: self.exclude.clone(), one_file_system };
        FilesDefinition { spec, allow_empty: self.allow_empty.unwrap_or_default() }
    }

    fn backup(&self) -> Backup {
        let backup = match (self.paths.is_empty(), self.participants.is_empty()) {
            (false, _) => Backup::files(self.participant_of_paths(), self.definition()),
            (true, true) => Backup::full(),
            (true, false) => Backup::scoped(self.participants.iter().cloned()),
        };
        let backup = backup.trigger(self.trigger).strict(self.strict);
        let backup = backup.job(&self.job).idempotency_key(&self.idempotency_key);
        let backup = match self.consistency {
            Some(consistency) => backup.consistency(consistency),
            None => backup,
        };
        let backup = match self.timeout_s {
            Some(timeout) => backup.timeout((timeout > 0).then(|| Duration::from_secs(timeout))),
            None => backup,
        };
        let backup = match self.endpoints.is_empty() {
            true => backup,
            false => backup.copies(Copies {
                endpoints: self.endpoints.clone(),
                require: RequireEndpoints::All,
                keep_local: true,
                staging: Staging::Local,
            }),
        };
        let backup = match self.staging {
            Some(staging) => backup.staging(staging),
            None => backup,
        };
        let backup = match self.encryption() {
            Ok(Some(encryption)) => backup.encryption(encryption),
            // Refused before it comes here.
            Ok(None) | Err(_) => backup,
        };
        match self.compression {
            Some(compression) => backup.compression(compression),
            None => backup,
        }
    }
}

fn shown(run: &Run, run_id: RunId) -> Result<RunView, ApiError> {
    run.view(true).ok_or_else(|| not_found(run_id))
}
