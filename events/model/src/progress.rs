//! How far a run has come, as programs and people are shown it. Field names and types are the wire contract.
//!
//! Folded from the run's events; live byte counts may be laid over it and are at most one recorded step ahead.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ParticipantName, Timestamp};
use crate::run::{ParticipantStatus, Run, RunParticipant, RunStatus, RunType, Stage, Trigger, share};

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing.
    Idle,
    /// Waits for its turn.
    Queued,
    /// Makes ready.
    Prepare,
    /// Holds all participants at one instant.
    Barrier,
    /// Participants write.
    Backup,
    /// Artifacts are read again.
    Validate,
    /// The directory goes to its place.
    Finalize,
    /// Copies go to endpoints.
    PublishRemote,
    /// Ended well.
    Done,
    /// Ended otherwise.
    Failed,
}

/// Live counts of one participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Content bytes done.
    pub bytes_done: u64,
    /// Content bytes in all, where known.
    pub bytes_total: Option<u64>,
    /// Files done.
    pub files_done: u64,
    /// Files in all, where known.
    pub files_total: Option<u64>,
}

/// Progress of a run. Times are Unix seconds, sizes bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Whether a run is being worked on.
    pub active: bool,
    /// The run at work, or the last one.
    pub run_id: String,
    /// All participants or some.
    #[serde(rename = "type")]
    pub run_type: Option<RunType>,
    /// What made it start.
    pub trigger: Option<Trigger>,
    /// Where it stands.
    pub status: Option<RunStatus>,
    /// What it is doing.
    pub phase: Phase,
    /// The same for people.
    pub message: String,
    /// Who is at work.
    pub current_participant: String,
    /// 0 to 100; never falls within an attempt.
    pub overall_percent: f64,
    /// Participants in all.
    pub participants_total: u64,
    /// Participants that have ended.
    pub participants_done: u64,
    /// Copies in all.
    pub remote_total: u64,
    /// Copies made.
    pub remote_done: u64,
    /// When it began.
    pub started_at: i64,
    /// When this was last new.
    pub updated_at: i64,
    /// When it ended.
    pub finished_at: i64,
    /// Content bytes done.
    pub bytes_done: u64,
    /// Content bytes in all; 0 where not known.
    pub bytes_total: u64,
    /// Content bytes a second since the start.
    pub bytes_per_second: u64,
    /// Seconds to go; 0 where not known.
    pub eta_seconds: u64,
    /// Each participant.
    pub participants: Vec<ParticipantProgress>,
}

/// Progress of one participant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ParticipantProgress {
    /// Its name.
    pub name: String,
    /// How far it has come.
    pub status: String,
    /// What it is doing.
    pub phase: Phase,
    /// 0 to 100.
    pub percent: f64,
    /// The same for people.
    pub message: String,
    /// Artifacts stored.
    pub artifacts: u64,
    /// Content bytes done.
    pub bytes_done: u64,
    /// Content bytes in all; 0 where not known.
    pub bytes_total: u64,
    /// Files done.
    pub files_done: u64,
    /// Files in all; 0 where not known.
    pub files_total: u64,
}

/// How much of the way lies before the last check: reading everything again takes the rest.
const WORK_SHARE: f64 = 90.0;

impl Progress {
    /// No run at work.
    #[must_use]
    pub fn idle(last_run: String) -> Self {
        Self {
            active: false,
            run_id: last_run,
            run_type: None,
            trigger: None,
            status: None,
            phase: Phase::Idle,
            message: String::new(),
            current_participant: String::new(),
            overall_percent: 0.0,
            participants_total: 0,
            participants_done: 0,
            remote_total: 0,
            remote_done: 0,
            started_at: 0,
            updated_at: 0,
            finished_at: 0,
            bytes_done: 0,
            bytes_total: 0,
            bytes_per_second: 0,
            eta_seconds: 0,
            participants: Vec::new(),
        }
    }

    /// The progress of `run` at `now`, with live counts where there are some. `owned` as for [`Run::status`].
    #[must_use]
    pub fn of(run: &Run, live: &BTreeMap<ParticipantName, Counts>, owned: bool, now: Timestamp) -> Self {
        let Some(request) = run.request() else { return Self::idle(String::new()) };
        let phase = Self::phase(run);
        let participants: Vec<_> =
            run.participants().iter().map(|participant| of_participant(participant, live)).collect();
        let (bytes_done, bytes_total) = participants.iter().fold((0_u64, 0_u64), |sum, row| {
            (sum.0.saturating_add(row.bytes_done), sum.1.saturating_add(row.bytes_total))
        });
        let at_work = run.participants().iter().find(|participant| participant.status == ParticipantStatus::Running);
        let elapsed = run.started_at().map_or(0, |at| now.0.saturating_sub(at.0).max(0));
        let per_second = if elapsed > 0 { bytes_done as f64 * 1e6 / elapsed as f64 } else { 0.0 };
        let to_go = bytes_total.saturating_sub(bytes_done) as f64;
        let status = run.status(owned);
        Self {
            active: run.is_open(),
            run_id: request.run_id.to_string(),
            run_type: Some(request.run_type),
            trigger: Some(request.trigger),
            status: Some(status),
            phase,
            message: message(run, phase),
            current_participant: at_work.map(|participant| participant.name.to_string()).unwrap_or_default(),
            overall_percent: overall(run, phase, &participants),
            participants_total: participants.len() as u64,
            participants_done: run.participants().iter().filter(|p| !p.status.is_open()).count() as u64,
            remote_total: 0,
            remote_done: 0,
            started_at: run.started_at().map_or(0, |at| at.seconds()),
            updated_at: run.updated_at().seconds(),
            finished_at: if run.stage() == Stage::Ended { run.finished_at().map_or(0, |at| at.seconds()) } else { 0 },
            bytes_done,
            bytes_total,
            bytes_per_second: per_second as u64,
            eta_seconds: if phase == Phase::Backup && per_second >= 1.0 {
                (to_go / per_second).ceil() as u64
            } else {
                0
            },
            participants,
        }
    }
}

impl Progress {
    /// What `run` is doing.
    #[must_use]
    pub fn phase(run: &Run) -> Phase {
        match run.stage() {
            Stage::Unknown => Phase::Idle,
            Stage::Queued => Phase::Queued,
            Stage::Preparing => Phase::Prepare,
            Stage::Working => Phase::Backup,
            Stage::Sealing => Phase::Validate,
            Stage::Publishing => Phase::Finalize,
            Stage::Ended => match run.status(true) {
                RunStatus::Completed | RunStatus::Partial => Phase::Done,
                _ => Phase::Failed,
            },
        }
    }
}

fn message(run: &Run, phase: Phase) -> String {
    let text = match phase {
        Phase::Idle => "",
        Phase::Queued => "waits for its turn",
        Phase::Prepare => "makes ready",
        Phase::Barrier => "holds all participants at one instant",
        Phase::Backup => "writes artifacts",
        Phase::Validate => "reads every artifact again",
        Phase::Finalize => "puts the run in its place",
        Phase::PublishRemote => "copies to endpoints",
        Phase::Done => "done",
        Phase::Failed => return run.error_summary().to_owned(),
    };
    text.to_owned()
}

fn of_participant(participant: &RunParticipant, live: &BTreeMap<ParticipantName, Counts>) -> ParticipantProgress {
    let recorded = participant.progress.as_ref().map(|progress| Counts {
        bytes_done: progress.bytes_done,
        bytes_total: progress.bytes_total,
        files_done: progress.files_done,
        files_total: progress.files_total,
    });
    let mut counts = recorded.unwrap_or_default();
    let running = participant.status == ParticipantStatus::Running;
    if let Some(live) = live.get(&participant.name).filter(|_| running) {
        counts = *live;
    }
    if participant.status == ParticipantStatus::Completed {
        let content =
            participant.artifacts.iter().fold(0, |sum: u64, artifact| sum.saturating_add(artifact.content_bytes));
        counts.bytes_done = counts.bytes_total.unwrap_or(content);
        counts.bytes_total = Some(counts.bytes_done);
        counts.files_done = participant.files;
        counts.files_total = Some(participant.files);
    }
    let done = !participant.status.is_open();
    let furthest = share(counts.bytes_done, counts.bytes_total).max(participant.furthest);
    let phase = match participant.status {
        ParticipantStatus::Pending => Phase::Queued,
        ParticipantStatus::Running if counts.bytes_total.is_none() && counts.bytes_done == 0 => Phase::Prepare,
        ParticipantStatus::Running => Phase::Backup,
        ParticipantStatus::Completed => Phase::Done,
        _ => Phase::Failed,
    };
    ParticipantProgress {
        name: participant.name.to_string(),
        status: participant.status.as_str().into(),
        phase,
        percent: if done { 100.0 } else { f64::from(furthest) / 100.0 },
        message: participant.failure.as_ref().map(ToString::to_string).unwrap_or_default(),
        artifacts: participant.artifacts.len() as u64,
        bytes_done: counts.bytes_done,
        bytes_total: counts.bytes_total.unwrap_or(0).max(counts.bytes_done),
        files_done: counts.files_done,
        files_total: counts.files_total.unwrap_or(0).max(counts.files_done),
    }
}

fn overall(run: &Run, phase: Phase, participants: &[ParticipantProgress]) -> f64 {
    match phase {
        Phase::Idle | Phase::Queued | Phase::Prepare | Phase::Barrier => 0.0,
        Phase::Backup => {
            let sum: f64 = participants.iter().map(|row| row.percent).sum();
            sum / participants.len().max(1) as f64 * WORK_SHARE / 100.0
        }
        // Damage found while publishing leads back to sealing, and the way already gone does not count less for it.
        Phase::Validate if run.target().is_some() => 99.0,
        Phase::Validate => WORK_SHARE,
        Phase::Finalize | Phase::PublishRemote => 99.0,
        Phase::Done | Phase::Failed => 100.0,
    }
}

#[cfg(test)]
mod tests;
