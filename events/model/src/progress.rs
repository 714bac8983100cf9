//! How far a run has come, as programs and people are shown it. Field names and types are the wire contract.
//!
//! [`Progress::of`] is folded from the run's events, with live counts laid over it that are at most one recorded step ahead.
//! [`Course`] is the same as it is shown over time: within an attempt its percents never fall, and it knows the pace.

mod course;
mod pace;

use std::collections::BTreeMap;

pub use self::course::{Course, Live};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ParticipantName, Timestamp};
use crate::run::{
    CopyStatus, Outcome, ParticipantStatus, Run, RunParticipant, RunStatus, RunType, Stage, Trigger, share,
};

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

impl Phase {
    /// The same for people.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Phase::Idle => "",
            Phase::Queued => "waits for its turn",
            Phase::Prepare => "makes ready",
            Phase::Barrier => "holds all participants at one instant",
            Phase::Backup => "writes artifacts",
            Phase::Validate => "checks what was written",
            Phase::Finalize => "puts the run in its place",
            Phase::PublishRemote => "copies to endpoints",
            Phase::Done => "done",
            Phase::Failed => "failed",
        }
    }
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
    /// All participants or some; left out where no run is at work.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub run_type: Option<RunType>,
    /// What made it start; left out where no run is at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// Where it stands; left out where no run is at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RunStatus>,
    /// Which attempt it is in, 1 for the first. An attempt that follows an interruption may begin lower than was shown before.
    pub attempt: u32,
    /// What it is doing.
    pub phase: Phase,
    /// The same for people.
    pub message: String,
    /// Who is at work.
    pub current_participant: String,
    /// 0 to 100; never falls within an attempt. 100 is a run that is done; another stays where it was.
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
    /// Content bytes in all; 0 where somebody's are not known.
    pub bytes_total: u64,
    /// Bytes a second over the last half minute: of content while participants write, of artifacts while they are read again. Of an
    /// ended run, content bytes a second from its start to its end.
    pub bytes_per_second: u64,
    /// Seconds until the run has ended, the reading again included; left out where not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
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
    /// 0 to 100: 100 is one that gave all it has; another stays where it was.
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

/// How much of the way lies before everything is read again.
const WORK_SHARE: f64 = 90.0;
/// How much of it lies before the rename.
const CHECKED: f64 = 99.0;

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
            attempt: 0,
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
            eta_seconds: None,
            participants: Vec::new(),
        }
    }

    /// The same of a run that has ended, while copies of it are under way: so many bytes of all these are there.
    #[must_use]
    pub fn copying(self, bytes_done: u64, bytes_total: u64) -> Self {
        let phase = Phase::PublishRemote;
        Self {
            active: true,
            phase,
            message: phase.message().to_owned(),
            bytes_done,
            bytes_total,
            bytes_per_second: 0,
            eta_seconds: None,
            ..self
        }
    }

    /// The progress of `run` as it is recorded, with live counts where there are some. It knows no pace while the run is open. `owned`
    /// as for [`Run::status`].
    #[must_use]
    pub fn of(run: &Run, live: &BTreeMap<ParticipantName, Counts>, owned: bool) -> Self {
        Self::with(run, live, 0, owned)
    }

    fn with(run: &Run, live: &BTreeMap<ParticipantName, Counts>, checked: u64, owned: bool) -> Self {
        let Some(request) = run.request() else { return Self::idle(String::new()) };
        let phase = Self::phase(run);
        let rows: Vec<_> = run.participants().iter().map(|participant| Row::of(participant, live)).collect();
        let bytes_done = rows.iter().fold(0_u64, |sum, row| sum.saturating_add(row.shown.bytes_done));
        let to_go = rows.iter().try_fold(0_u64, |sum, row| Some(sum.saturating_add(row.to_go?)));
        let at_work = run.participants().iter().find(|participant| participant.status == ParticipantStatus::Running);
        let status = run.status(owned);
        let ended_at = run.finished_at().filter(|_| run.stage() == Stage::Ended);
        Self {
            active: run.is_open() && owned,
            run_id: request.run_id.to_string(),
            run_type: Some(request.run_type),
            trigger: Some(request.trigger),
            status: Some(status),
            attempt: run.attempt(),
            phase,
            message: message(run, phase, status),
            current_participant: at_work.map(|participant| participant.name.to_string()).unwrap_or_default(),
            overall_percent: overall(run, phase, &rows, checked),
            participants_total: rows.len() as u64,
            participants_done: run.participants().iter().filter(|p| !p.status.is_open()).count() as u64,
            remote_total: run.copies().len().max(run.planned_copies().endpoints.len()) as u64,
            remote_done: run.copies().iter().filter(|copy| copy.status == CopyStatus::Uploaded).count() as u64,
            started_at: run.started_at().map_or(0, |at| at.seconds()),
            updated_at: run.updated_at().seconds(),
            finished_at: ended_at.map_or(0, |at| at.seconds()),
            bytes_done,
            bytes_total: to_go.map_or(0, |to_go| bytes_done.saturating_add(to_go)),
            bytes_per_second: match (run.started_at(), ended_at) {
                (Some(from), Some(to)) => average(bytes_done, from, to),
                _ => 0,
            },
            eta_seconds: ended_at.map(|_| 0),
            participants: rows.into_iter().map(|row| row.shown).collect(),
        }
    }
}

/// Bytes a second between two instants; 0 where no time passed between them.
fn average(bytes: u64, from: Timestamp, to: Timestamp) -> u64 {
    match to.0.saturating_sub(from.0) {
        passed if passed > 0 => (bytes as f64 * 1e6 / passed as f64) as u64,
        _ => 0,
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
            Stage::Barrier => Phase::Barrier,
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

fn message(run: &Run, phase: Phase, status: RunStatus) -> String {
    match phase {
        _ if status == RunStatus::Interrupted => {
            "interrupted: nobody works on it until the next start goes on with it".to_owned()
        }
        Phase::Failed => run.error_summary().to_owned(),
        phase => phase.message().to_owned(),
    }
}

/// A participant as it is shown, and what it has to do.
struct Row {
    shown: ParticipantProgress,
    /// Content bytes to go; `None` where that is not known.
    to_go: Option<u64>,
}

impl Row {
    fn of(participant: &RunParticipant, live: &BTreeMap<ParticipantName, Counts>) -> Self {
        let counts = counts(participant, live);
        let open = participant.status.is_open();
        let total = counts.bytes_total.map(|total| total.max(counts.bytes_done));
        let furthest = share(counts.bytes_done, counts.bytes_total).max(participant.furthest);
        let phase = match participant.status {
            ParticipantStatus::Pending => Phase::Queued,
            ParticipantStatus::Running if counts.bytes_total.is_none() && counts.bytes_done == 0 => Phase::Prepare,
            ParticipantStatus::Running => Phase::Backup,
            ParticipantStatus::Completed => Phase::Done,
            _ => Phase::Failed,
        };
        let shown = ParticipantProgress {
            name: participant.name.to_string(),
            status: participant.status.as_str().into(),
            phase,
            // What ended without stays where it was.
            percent: if participant.status == ParticipantStatus::Completed {
                100.0
            } else {
                f64::from(furthest) / 100.0
            },
            message: participant.failure.as_ref().map(ToString::to_string).unwrap_or_default(),
            artifacts: participant.artifacts.len() as u64,
            bytes_done: counts.bytes_done,
            bytes_total: total.unwrap_or(0),
            files_done: counts.files_done,
            files_total: counts.files_total.unwrap_or(0).max(counts.files_done),
        };
        // What is left of one that has ended without is not done by anybody.
        let to_go = if open { total.map(|total| total.saturating_sub(counts.bytes_done)) } else { Some(0) };
        Self { shown, to_go }
    }
}

/// What is recorded; ahead of it what is read live; and at the end what there was.
fn counts(participant: &RunParticipant, live: &BTreeMap<ParticipantName, Counts>) -> Counts {
    let recorded = participant.progress.as_ref().map(|progress| Counts {
        bytes_done: progress.bytes_done,
        bytes_total: progress.bytes_total,
        files_done: progress.files_done,
        files_total: progress.files_total,
    });
    let mut counts = recorded.unwrap_or_default();
    match participant.status {
        ParticipantStatus::Running => live.get(&participant.name).copied().unwrap_or(counts),
        ParticipantStatus::Completed => {
            let content =
                participant.artifacts.iter().fold(0, |sum: u64, artifact| sum.saturating_add(artifact.content_bytes));
            counts.bytes_done = counts.bytes_total.unwrap_or(content);
            counts.bytes_total = Some(counts.bytes_done);
            counts.files_done = participant.files;
            counts.files_total = Some(participant.files);
            counts
        }
        _ => counts,
    }
}

fn overall(run: &Run, phase: Phase, rows: &[Row], checked: u64) -> f64 {
    let work = || {
        let sum: f64 = rows.iter().map(|row| row.shown.percent).sum();
        sum / rows.len().max(1) as f64 * WORK_SHARE / 100.0
    };
    let good = matches!(run.outcome(), None | Some(Outcome::Completed | Outcome::Partial));
    match phase {
        Phase::Idle | Phase::Queued | Phase::Barrier => 0.0,
        // A run that is not good stays where it was: what it has is put in its place, and that is no way to go.
        Phase::Validate | Phase::Finalize | Phase::PublishRemote | Phase::Failed if !good => {
            if run.was_good() {
                CHECKED
            } else {
                work()
            }
        }
        // What an attempt keeps of the one before counts from its start.
        Phase::Prepare | Phase::Backup => work(),
        // Damage found while publishing leads back to sealing, and the way already gone does not count less for it.
        Phase::Validate if run.target().is_some() => CHECKED,
        Phase::Validate => match run.check_bytes() {
            0 => WORK_SHARE,
            total => WORK_SHARE + (CHECKED - WORK_SHARE) * (checked as f64 / total as f64).min(1.0),
        },
        Phase::Finalize | Phase::PublishRemote => CHECKED,
        Phase::Done | Phase::Failed => 100.0,
    }
}

#[cfg(test)]
mod tests;
