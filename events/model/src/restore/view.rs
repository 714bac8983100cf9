//! A restore as programs and people are shown it. Field names and types are the wire contract.

use serde::{Deserialize, Serialize};

use super::{Restore, RestoreStatus, RestoredParticipantV1, Restoring};
use crate::failure::Warnings;
use crate::run::{ArtifactStoredV1, ArtifactView, ParticipantStatus, ParticipantView};

/// A participant of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RestoredParticipant {
    /// As in a run, but of the restore: its times, and how it ended.
    #[serde(flatten)]
    pub participant: ParticipantView,
    /// Where its state before is kept; empty where that is nowhere.
    pub safety_snapshot_path: String,
    /// What is kept of it there.
    pub safety_artifacts: Vec<ArtifactView>,
}

impl RestoredParticipant {
    /// One that stands so, with times in Unix seconds, 0 where there is none yet.
    #[must_use]
    pub fn new(of: &RestoredParticipantV1, status: ParticipantStatus, started_at: i64, finished_at: i64) -> Self {
        let participant = ParticipantView {
            name: of.name.to_string(),
            kind: of.kind.clone(),
            critical: of.critical,
            ok: status == ParticipantStatus::Completed,
            status: status.as_str().into(),
            started_at,
            finished_at,
            tries: 0,
            error: String::new(),
            output: String::new(),
            warnings: Warnings::default(),
            notes: Warnings::default(),
            files: 0,
            artifacts: Vec::new(),
        };
        Self { participant, safety_snapshot_path: String::new(), safety_artifacts: Vec::new() }
    }
}

/// A restore. Times are Unix seconds, 0 where there is none yet; sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RestoreView {
    /// Its id.
    pub restore_id: String,
    /// The run it takes the bytes from.
    pub source_run_id: String,
    /// Whether nothing is written. One that is recorded writes.
    pub dry_run: bool,
    /// Whether it was made without maintenance being on. One into a folder does not ask for it.
    pub force: bool,
    /// What was to be kept of the state before it: `required`, `best_effort` or `none`. Of one into a folder nothing is, since a folder is
    /// not replaced.
    pub safety: String,
    /// Where that is; empty where there is none.
    pub pre_restore_path: String,
    /// Why the state before is not kept, where it should have been if it could.
    pub safety_error: String,
    /// When that was removed, as configured.
    pub safety_removed_at: i64,
    /// How many seconds it may take from its request on, 0 for as long as it takes.
    pub timeout_s: u64,
    /// Where it is on its way: `validate`, `quiesce`, `safety_snapshot`, `stage`, `commit`, `verify` or `rollback` where it is made in
    /// place, `restore` where it goes into a folder, and `done`.
    pub phase: String,
    /// Where it stands.
    pub status: RestoreStatus,
    /// When it was asked for.
    pub started_at: i64,
    /// When it ended.
    pub finished_at: i64,
    /// What went wrong, in one line.
    pub error_summary: String,
    /// The stable code of that; empty where nothing did.
    pub error_code: String,
    /// Each participant; none where all went into one folder.
    pub participants: Vec<RestoredParticipant>,
    /// The folder it goes into.
    pub target: String,
    /// Files restored.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What could not be set, such as owners.
    pub warnings: u64,
}

impl Restore {
    /// The restore as it is shown; `None` before its first event. `owned` says whether a living process works on it.
    #[must_use]
    pub fn view(&self, owned: bool) -> Option<RestoreView> {
        let request = self.request.as_ref()?;
        let (files, bytes, warnings) =
            self.completed.as_ref().map_or((0, 0, 0), |done| (done.files, done.bytes, done.warnings));
        Some(RestoreView {
            restore_id: request.restore_id.to_string(),
            source_run_id: request.source_run.to_string(),
            dry_run: false,
            force: request.force,
            safety: request.safety.as_str().into(),
            pre_restore_path: self.pre_restore_path(),
            safety_removed_at: self.safety_removed().map_or(0, |at| at.seconds()),
            timeout_s: request.timeout_ms.div_ceil(1000),
            safety_error: self.unkept.clone().unwrap_or_default(),
            phase: self.phase().to_owned(),
            status: match self.status {
                RestoreStatus::Running if !owned => RestoreStatus::Interrupted,
                status => status,
            },
            started_at: self.started_at.seconds(),
            finished_at: self.finished_at.map_or(0, |at| at.seconds()),
            error_summary: self.error_summary.clone(),
            error_code: self.error_code.clone(),
            participants: self.rows(),
            target: request.target.clone(),
            files,
            bytes,
            warnings,
        })
    }

    /// Where the state before is kept, relative to the home. One that touched nothing throws it away.
    fn pre_restore_path(&self) -> String {
        match &self.request {
            Some(request) if self.keeps_safety_snapshot() => format!("backups/pre-restore/{}", request.restore_id),
            _ => String::new(),
        }
    }

    /// What a participant holds after a restore that was not made.
    fn holds(&self, one: &Restoring) -> Option<&'static str> {
        match self.status {
            RestoreStatus::RolledBack | RestoreStatus::RollbackFailed if !one.touched || one.rolled_back => {
                Some("holds the state before")
            }
            RestoreStatus::RollbackFailed if one.committed => Some("holds what was restored"),
            RestoreStatus::RollbackFailed => Some("may hold neither the state before nor what was restored"),
            _ => None,
        }
    }

    /// All of a restore in place end as it does: there is one at a time.
    fn rows(&self) -> Vec<RestoredParticipant> {
        let Some(request) = &self.request else { return Vec::new() };
        let status = match self.status {
            RestoreStatus::Unknown => ParticipantStatus::Pending,
            RestoreStatus::Running | RestoreStatus::Interrupted => ParticipantStatus::Running,
            RestoreStatus::Completed => ParticipantStatus::Completed,
            RestoreStatus::Failed | RestoreStatus::RolledBack | RestoreStatus::RollbackFailed => {
                ParticipantStatus::Failed
            }
            RestoreStatus::Timeout => ParticipantStatus::Timeout,
            RestoreStatus::Cancelled => ParticipantStatus::Cancelled,
        };
        let (from, to) = (self.started_at.seconds(), self.finished_at.map_or(0, |at| at.seconds()));
        let row = |one| {
            let mut row = RestoredParticipant::new(one, status, from, to);
            row.participant.tries = 1;
            row.participant.error.clone_from(&self.error_summary);
            if let Some(module) = self.participants().iter().find(|module| *module.name() == one.name) {
                let path = self.pre_restore_path();
                row.participant.output.clone_from(&module.output);
                if let Some(holds) = self.holds(module) {
                    row.participant.notes.add(holds);
                }
                row.safety_artifacts = module.safety_artifacts.iter().map(|one| kept(one, &path)).collect();
                row.safety_snapshot_path = if row.safety_artifacts.is_empty() { String::new() } else { path };
            }
            row
        };
        request.participants.iter().map(row).collect()
    }
}

/// An artifact of a safety snapshot, which was read again before it was recorded.
fn kept(artifact: &ArtifactStoredV1, directory: &str) -> ArtifactView {
    ArtifactView {
        logical_name: artifact.logical_name.to_string(),
        path: if directory.is_empty() { String::new() } else { format!("{directory}/{}", artifact.stored.file) },
        size_bytes: artifact.stored.size_bytes,
        sha256: artifact.stored.sha256,
        content_bytes: artifact.content_bytes,
        content_sha256: artifact.content_sha256,
        compression: artifact.compression.clone(),
        encryption: "none".into(),
        opened_by: Vec::new(),
        integrity_ok: true,
        integrity_error: String::new(),
        validation_ok: true,
        validation_error: String::new(),
    }
}
