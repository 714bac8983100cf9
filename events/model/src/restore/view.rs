//! A restore as programs and people are shown it. Field names and types are the wire contract.

use serde::{Deserialize, Serialize};

use super::{Restore, RestoreStatus};
use crate::run::ParticipantView;

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
    /// What is kept of the state before it: `none`, since a folder is not replaced.
    pub safety: String,
    /// Where that is; empty where there is none.
    pub pre_restore_path: String,
    /// Where it stands.
    pub status: RestoreStatus,
    /// When it was asked for.
    pub started_at: i64,
    /// When it ended.
    pub finished_at: i64,
    /// What went wrong, in one line.
    pub error_summary: String,
    /// Each participant; none where all went into one folder.
    pub participants: Vec<ParticipantView>,
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
            force: false,
            safety: "none".into(),
            pre_restore_path: String::new(),
            status: match self.status {
                RestoreStatus::Running if !owned => RestoreStatus::Interrupted,
                status => status,
            },
            started_at: self.started_at.seconds(),
            finished_at: self.finished_at.map_or(0, |at| at.seconds()),
            error_summary: self.error_summary.clone(),
            participants: Vec::new(),
            target: request.target.clone(),
            files,
            bytes,
            warnings,
        })
    }
}
