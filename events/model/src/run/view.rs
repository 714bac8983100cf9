//! A run as programs and people are shown it. Field names and types are the wire contract.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ArtifactStoredV1, Consistency, Encryption, Outcome, ParticipantStatus, Places, Run, RunCopy, RunParticipant,
    RunType, Stage, Trigger,
};
use crate::failure::Warnings;
use crate::ids::{ArtifactName, Sha256};

/// Where a run stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Waits for its turn.
    Queued,
    /// Is being worked on.
    Running,
    /// Is open, and nobody works on it.
    Interrupted,
    /// Every participant is good, all bytes verified.
    Completed,
    /// Every critical participant is good, an optional one is not.
    Partial,
    /// Not good.
    Failed,
    /// Stopped by request.
    Cancelled,
    /// Stopped by its deadline.
    Timeout,
}

impl RunStatus {
    /// All of them, in the order of a run's life.
    pub const ALL: [RunStatus; 8] = [
        RunStatus::Queued,
        RunStatus::Running,
        RunStatus::Interrupted,
        RunStatus::Completed,
        RunStatus::Partial,
        RunStatus::Failed,
        RunStatus::Cancelled,
        RunStatus::Timeout,
    ];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RunStatus::Queued => "queued",
            RunStatus::Running => "running",
            RunStatus::Interrupted => "interrupted",
            RunStatus::Completed => "completed",
            RunStatus::Partial => "partial",
            RunStatus::Failed => "failed",
            RunStatus::Cancelled => "cancelled",
            RunStatus::Timeout => "timeout",
        }
    }
}

impl From<Outcome> for RunStatus {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed => RunStatus::Completed,
            Outcome::Partial => RunStatus::Partial,
            Outcome::Failed => RunStatus::Failed,
            Outcome::Cancelled => RunStatus::Cancelled,
            Outcome::Timeout => RunStatus::Timeout,
        }
    }
}

impl ParticipantStatus {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ParticipantStatus::Pending => "pending",
            ParticipantStatus::Running => "running",
            ParticipantStatus::Completed => "completed",
            ParticipantStatus::Failed => "failed",
            ParticipantStatus::Skipped => "skipped",
            ParticipantStatus::Cancelled => "cancelled",
            ParticipantStatus::Timeout => "timeout",
        }
    }
}

/// A run. Times are Unix seconds, 0 where there is none yet; sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunView {
    /// Its id.
    pub run_id: String,
    /// All participants or some.
    #[serde(rename = "type")]
    pub run_type: RunType,
    /// What made it start.
    pub trigger: Trigger,
    /// Where it stands.
    pub status: RunStatus,
    /// Its directory relative to home; empty where it has none.
    pub path: String,
    /// When it left the queue.
    pub started_at: i64,
    /// When it ended.
    pub finished_at: i64,
    /// What went wrong, in one line.
    pub error_summary: String,
    /// Those named; empty for all.
    pub requested_participants: Vec<String>,
    /// Each participant.
    pub participants: Vec<ParticipantView>,
    /// How many processes have worked on it.
    pub attempt: u32,
    /// Whether the artifacts are of one moment.
    pub consistency: ConsistencyView,
    /// How the copies on endpoints stand: `none`, `uploading`, `completed`, `partial`, `failed`.
    pub remote_status: String,
    /// Each copy.
    pub endpoints: Vec<CopyView>,
    /// Whether the run is good: completed, with a copy at as many endpoints as are required.
    pub good: bool,
    /// How many of its endpoints must have it for it to be good: `none`, `any`, `all`.
    #[serde(default)]
    pub require_endpoints: String,
    /// Whether its directory stays here once its copies are there.
    #[serde(default)]
    pub keep_local: bool,
    /// Whether it is kept from deletion.
    pub locked: bool,
    /// Why; empty where it is not, or nothing was said.
    pub lock_reason: String,
    /// The job it belongs to; empty for none.
    pub job: String,
    /// Content of all good artifacts.
    pub size_bytes: u64,
    /// Stored size of all good artifacts.
    pub stored_bytes: u64,
    /// Who asked.
    pub requested_by: String,
    /// Whether its directory has been deleted. One that was taken away because copies are kept on endpoints is not deleted: it has no `path`.
    pub deleted: bool,
    /// Where it came back from last, where it was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_from: Option<ImportedFromView>,
}

/// Where a run came back from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedFromView {
    /// The endpoint.
    pub endpoint: String,
    /// The installation that made the run.
    pub server_id: String,
    /// When it came.
    pub imported_at: i64,
    /// Whether its names, texts and contents are in the encrypted part of its manifest alone: they are neutral, empty and 0 here.
    pub masked: bool,
}

/// Whether the artifacts of a run are of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsistencyView {
    /// What was asked for. `concurrent`: each participant's are of a moment of its own; `barrier`: all are of one, which is `barrier_at`.
    pub mode: Consistency,
    /// The common moment; 0 where there is none, and then the artifacts are not of one.
    pub barrier_at: i64,
    /// How long participants stood still, from the first that was told to until the last that went on, in microseconds.
    pub held_us: u64,
}

/// A copy of a run on an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CopyView {
    /// The endpoint.
    pub name: String,
    /// `pending`, `uploading`, `uploaded`, `failed`, `deleted`; `elsewhere` where it came there, and the endpoint is another place now or is
    /// not there any more.
    pub status: String,
    /// Tries since it was asked for last.
    pub tries: u32,
    /// Why it is not there, or why its last try failed.
    pub error: String,
    /// The code of that.
    pub error_code: String,
    /// When the last try began.
    pub started_at: i64,
    /// When it was there, or given up.
    pub finished_at: i64,
    /// When it is tried again; 0 where it does not wait for that.
    pub retry_at: i64,
    /// Bytes there.
    pub stored_bytes: u64,
    /// Bytes that were sent in the last try.
    pub sent_bytes: u64,
    /// How it was checked there: `hash`, `size`, `readback`; empty before that.
    pub check: String,
    /// Where it lies, once it is there; empty where that is not known.
    #[serde(default)]
    pub address: String,
}

/// A participant of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParticipantView {
    /// Its name.
    pub name: String,
    /// What it is, for example `files`.
    pub kind: String,
    /// Whether its failure fails the run.
    pub critical: bool,
    /// Whether it is good.
    pub ok: bool,
    /// How far it has come.
    pub status: String,
    /// When it began.
    pub started_at: i64,
    /// When it ended.
    pub finished_at: i64,
    /// Tries in the last attempt.
    pub tries: u32,
    /// Why it is not good, or why its last try was not.
    pub error: String,
    /// The end of its program's standard error where it failed.
    pub output: String,
    /// What it left out.
    pub warnings: Warnings,
    /// What can never be backed up, for the record.
    pub notes: Warnings,
    /// Files in it.
    pub files: u64,
    /// Its artifacts.
    pub artifacts: Vec<ArtifactView>,
}

/// An artifact of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactView {
    /// Its name.
    pub logical_name: String,
    /// Its file relative to home.
    pub path: String,
    /// Stored size.
    pub size_bytes: u64,
    /// SHA-256 of the stored form.
    pub sha256: Sha256,
    /// Size of the content.
    pub content_bytes: u64,
    /// SHA-256 of the content.
    pub content_sha256: Sha256,
    /// How it is compressed.
    pub compression: String,
    /// How it is encrypted: `none` or `age`.
    pub encryption: String,
    /// What opens it where it is encrypted: public keys, of which the private half of one does; or `passphrase`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opened_by: Vec<String>,
    /// Whether it was read again before publish and was as written.
    pub integrity_ok: bool,
    /// Why not.
    pub integrity_error: String,
    /// Whether it was as written when it was last read.
    pub validation_ok: bool,
    /// Why not.
    pub validation_error: String,
}

impl Run {
    /// Where it stands. `owned` says whether a living process works on the open runs of its home.
    #[must_use]
    pub fn status(&self, owned: bool) -> RunStatus {
        match (self.stage, self.outcome) {
            (Stage::Ended, Some(outcome)) => outcome.into(),
            (Stage::Ended, None) => RunStatus::Failed,
            _ if !owned => RunStatus::Interrupted,
            (Stage::Unknown | Stage::Queued, _) => RunStatus::Queued,
            _ => RunStatus::Running,
        }
    }

    /// How its artifacts are encrypted.
    #[must_use]
    pub fn encryption(&self) -> &Encryption {
        static NONE: Encryption = Encryption::None;
        self.request.as_ref().map_or(&NONE, |request| &request.encryption)
    }

    /// Content bytes of all good artifacts.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.good_artifacts().fold(0, |sum, artifact| artifact.content_bytes.saturating_add(sum))
    }

    /// Stored bytes of all good artifacts.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.good_artifacts().fold(0, |sum, artifact| artifact.stored.size_bytes.saturating_add(sum))
    }

    /// Files of all good participants.
    #[must_use]
    pub fn files(&self) -> u64 {
        let good = self.participants.iter().filter(|participant| participant.status == ParticipantStatus::Completed);
        good.fold(0, |sum, participant| participant.files.saturating_add(sum))
    }

    /// The run as it is shown; `None` before its first event.
    #[must_use]
    pub fn view(&self, owned: bool) -> Option<RunView> {
        let request = self.request.as_ref()?;
        let scoped = request.run_type == RunType::Scoped;
        let names = self.participants.iter().map(|participant| participant.name.to_string());
        Some(RunView {
            run_id: request.run_id.to_string(),
            run_type: request.run_type,
            trigger: request.trigger,
            status: self.status(owned),
            path: self.path(),
            started_at: self.started_at.map_or(0, |at| at.seconds()),
            finished_at: if self.stage == Stage::Ended { self.finished_at.map_or(0, |at| at.seconds()) } else { 0 },
            error_summary: self.error_summary.clone(),
            requested_participants: if scoped { names.collect() } else { Vec::new() },
            participants: self.participants.iter().map(|participant| self.participant_view(participant)).collect(),
            attempt: self.attempt,
            consistency: ConsistencyView {
                mode: request.consistency,
                barrier_at: self.barrier.map_or(0, |barrier| barrier.at.seconds()),
                held_us: self.barrier.map_or(0, |barrier| barrier.longest_us),
            },
            remote_status: self.remote_status().as_str().into(),
            endpoints: self.copies.iter().map(copy_view).collect(),
            good: self.is_good(),
            require_endpoints: self.planned_copies.require.as_str().into(),
            keep_local: !self.is_staged_elsewhere()
                && (self.planned_copies.keep_local || self.planned_copies.endpoints.is_empty()),
            locked: self.lock.is_some(),
            lock_reason: self.lock.clone().unwrap_or_default(),
            job: request.job.clone(),
            size_bytes: self.size_bytes(),
            stored_bytes: self.stored_bytes(),
            requested_by: self.requested_by.clone(),
            deleted: self.retained != super::Retained::Kept && !self.kept_remotely,
            imported_from: self.imported.as_ref().map(|from| ImportedFromView {
                endpoint: from.endpoint.to_string(),
                server_id: from.server_id.to_string(),
                imported_at: from.at.seconds(),
                masked: self.masked,
            }),
        })
    }

    /// The same; of its copies those count that are where they were brought.
    #[must_use]
    pub fn view_at(&self, owned: bool, places: &Places) -> Option<RunView> {
        let mut view = self.view(owned)?;
        view.remote_status = self.remote_status_at(places).as_str().into();
        view.good = self.is_good_at(places);
        for (copy, shown) in self.copies.iter().zip(&mut view.endpoints) {
            if let Some(doubt) = places.doubt(copy) {
                shown.status = "elsewhere".into();
                shown.error = doubt;
                shown.error_code = "COPY_ELSEWHERE".into();
            }
        }
        Some(view)
    }

    fn participant_view(&self, participant: &RunParticipant) -> ParticipantView {
        let ended = |at: Option<crate::ids::Timestamp>| at.map_or(0, |at| at.seconds());
        ParticipantView {
            name: participant.name.to_string(),
            kind: participant.kind.clone(),
            critical: participant.critical,
            ok: participant.status == ParticipantStatus::Completed,
            status: participant.status.as_str().into(),
            started_at: ended(participant.started_at),
            finished_at: ended(participant.finished_at),
            tries: participant.tries,
            output: participant.output.clone(),
            error: participant.failure.as_ref().map(ToString::to_string).unwrap_or_default(),
            warnings: participant.warnings.clone(),
            notes: participant.notes.clone(),
            files: participant.files,
            artifacts: self.shown_artifacts(participant).map(|artifact| self.artifact_view(artifact)).collect(),
        }
    }

    /// Those that it still has, or may have again: not what went to endpoints alone and is kept by none.
    fn shown_artifacts<'a>(&self, participant: &'a RunParticipant) -> impl Iterator<Item = &'a ArtifactStoredV1> {
        let shown = !self.came_to_nothing();
        participant.artifacts.iter().filter(move |_| shown)
    }

    fn artifact_view(&self, artifact: &ArtifactStoredV1) -> ArtifactView {
        let file = artifact.stored.file.as_str();
        let sealed = matches!(self.stage, Stage::Publishing | Stage::Ended);
        let validation_error = self.validation_error(file).unwrap_or_default();
        let directory = if self.is_staged_elsewhere() { String::new() } else { self.path() };
        let encryption = self.encryption();
        ArtifactView {
            logical_name: artifact.logical_name.to_string(),
            path: if directory.is_empty() { String::new() } else { format!("{directory}/{file}") },
            size_bytes: artifact.stored.size_bytes,
            sha256: artifact.stored.sha256,
            content_bytes: artifact.content_bytes,
            content_sha256: artifact.content_sha256,
            compression: artifact.compression.clone(),
            encryption: encryption.as_str().into(),
            opened_by: encryption.opened_by(),
            integrity_ok: sealed,
            integrity_error: String::new(),
            validation_ok: sealed && validation_error.is_empty(),
            validation_error,
        }
    }

    /// What the last verification said of a file. Where it found more than it could list, every unlisted file is in
    /// doubt.
    fn validation_error(&self, file: &str) -> Option<String> {
        let last = self.last_verified.as_ref().filter(|last| !last.ok)?;
        let prefix = format!("{file}: ");
        if let Some(error) = last.errors.first.iter().find_map(|error| error.strip_prefix(&prefix)) {
            return Some(error.to_owned());
        }
        if last.errors.count > last.errors.first.len() as u64 {
            return Some("the last verification found more damage than it could list".to_owned());
        }
        // Damage of no artifact is damage of all: the directory is gone, or the list of hashes.
        last.errors.first.iter().find(|error| !self.names_an_artifact(error)).cloned()
    }

    fn names_an_artifact(&self, error: &str) -> bool {
        let of = |file: &ArtifactName| error.strip_prefix(file.as_str()).is_some_and(|rest| rest.starts_with(": "));
        let own = |artifact: &ArtifactStoredV1| {
            of(&artifact.stored.file) || artifact.index.as_ref().is_some_and(|index| of(&index.file))
        };
        self.good_artifacts().any(own)
    }
}

fn copy_view(copy: &RunCopy) -> CopyView {
    let seconds = |at: Option<crate::ids::Timestamp>| at.map_or(0, |at| at.seconds());
    CopyView {
        name: copy.endpoint.to_string(),
        status: copy.status.as_str().into(),
        tries: copy.tries,
        error: copy.failure.as_ref().map(ToString::to_string).unwrap_or_default(),
        error_code: copy.failure.as_ref().map(|failure| failure.code.clone()).unwrap_or_default(),
        started_at: seconds(copy.started_at),
        finished_at: seconds(copy.finished_at),
        retry_at: seconds(copy.retry_at),
        stored_bytes: copy.stored_bytes,
        sent_bytes: copy.sent_bytes,
        check: copy.check.map(|check| check.as_str().to_owned()).unwrap_or_default(),
        address: copy.address.clone().unwrap_or_default(),
    }
}
