//! Participants as they are listed: what is known of each, and how it stands.

use std::time::Duration;

use holdfast_model::history::{History, RunEntry};
use holdfast_model::ids::{ParticipantName, RunId};
use holdfast_model::participant::{Participant, Standing};
use holdfast_model::run::{Run, RunStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::registry::Registered;
use super::{EngineError, Holdfast};
use crate::own_state;
use crate::participant::Descriptor;

/// A participant of the configuration or the application, of the log, or of both. Times are Unix seconds, 0 for never.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ParticipantRow {
    /// Its name.
    pub name: ParticipantName,
    /// Whether the configuration or the application defines it; otherwise it is only remembered.
    pub configured: bool,
    /// Whether its failure fails a run.
    pub critical: bool,
    /// What it is: `files`, `command`, `module`; `-` for one that is only remembered.
    pub kind: String,
    /// Whether `StartRestoreRun` restores it: into where it came from. Files go into a folder, by `holdfast restore --target`.
    pub restore_supported: bool,
    /// Whether `StartRestoreRun` says without restoring what it would do.
    pub dry_run_supported: bool,
    /// Whether it can be held at one instant together with others.
    pub barrier_supported: bool,
    /// Participants that work before it.
    pub depends_on: Vec<ParticipantName>,
    /// How long it may take.
    pub deadlines: Option<DeadlinesRow>,
    /// How it stands: `idle`, `working`, `stuck`, `quarantined`, or `interrupted` where its process is gone.
    pub state: String,
    /// Whether a run tries it only once.
    pub quarantined: bool,
    /// Failures since it was last good.
    pub failures: u32,
    /// The last run it worked for.
    pub last_run: Option<RunId>,
    /// How that one stands: its status, `open` or `deleted`.
    pub last_run_status: String,
    /// The last run it was good in, but for those whose files were not as recorded when they were last read again.
    pub last_good_run: Option<RunId>,
    /// How that one stands.
    pub last_good_run_status: String,
    /// When it was last good.
    pub last_good_at: i64,
    /// Why it failed last, since it was last good.
    pub last_error: String,
    /// When that was.
    pub last_failed_at: i64,
    /// When it is tried again, where it waits for that.
    pub next_retry: i64,
}

/// How long a participant may take, in seconds; as long as it likes where nothing is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadlinesRow {
    /// To look whether it could write.
    pub preflight_seconds: Option<f64>,
    /// To prepare itself, where it can stand still.
    pub prepare_seconds: Option<f64>,
    /// To stand still, where it does so by itself; in a barrier the run's budget counts.
    pub freeze_seconds: f64,
    /// To write.
    pub write_seconds: Option<f64>,
    /// Without a byte.
    pub stall_seconds: Option<f64>,
}

/// A participant that is defined, and what can be restored of it.
pub(crate) struct Defined {
    descriptor: Descriptor,
    in_place: bool,
    stands_still: bool,
}

/// Participants as they are listed.
pub(crate) fn defined(registered: Vec<Registered>) -> Vec<Defined> {
    let define = |one: Registered| {
        let (stands_still, in_place) = (one.code.phases().is_some(), one.code.restore().is_some());
        Defined { in_place, stands_still, descriptor: one.descriptor }
    };
    registered.into_iter().map(define).collect()
}

/// The rows of those that are defined, and then of those that are only remembered. `open` are the open runs; `owned` says whether a
/// living process works on them.
pub(crate) fn rows(defined: Vec<Defined>, history: &History, open: &[Run], owned: bool) -> Vec<ParticipantRow> {
    let known = history.participants();
    let is_defined = |name: &ParticipantName| defined.iter().any(|one| one.descriptor.name == *name);
    let remembered: Vec<_> = known.keys().filter(|name| !is_defined(name)).cloned().map(|name| (name, None)).collect();
    let defined = defined.into_iter().map(|one| (one.descriptor.name.clone(), Some(one)));
    let row = |(name, defined): (ParticipantName, Option<Defined>)| {
        let unused = Participant::default();
        let state = known.get(&name).unwrap_or(&unused);
        let retry = open.iter().filter_map(|run| run.participant(&name)?.retry_at).min();
        let (last_good_run, last_good_at) = history.last_good(&name).unzip();
        let own = own_state::is_reserved(name.as_str());
        let mut row = ParticipantRow::of(name, defined.as_ref(), state, owned);
        if own {
            // The installation itself: no list has it, and it takes part all the same.
            (row.configured, row.kind) = (true, own_state::KIND.to_owned());
        }
        row.last_good_run = last_good_run;
        row.last_good_at = last_good_at.map_or(0, |at| at.seconds());
        row.last_run_status = stands(history, row.last_run);
        row.last_good_run_status = stands(history, row.last_good_run);
        row.next_retry = retry.map_or(0, |at| at.seconds());
        row
    };
    defined.chain(remembered).map(row).collect()
}

impl ParticipantRow {
    fn of(name: ParticipantName, defined: Option<&Defined>, state: &Participant, owned: bool) -> Self {
        let (last_error, last_failed_at) = state.last_failure().unzip();
        let descriptor = defined.map(|one| &one.descriptor);
        Self {
            name,
            configured: descriptor.is_some(),
            critical: descriptor.is_some_and(|descriptor| descriptor.critical),
            kind: descriptor.map_or("-", |descriptor| &descriptor.kind).to_owned(),
            restore_supported: defined.is_some_and(|one| one.in_place),
            dry_run_supported: defined.is_some_and(|one| one.in_place),
            barrier_supported: defined.is_some_and(|one| one.stands_still),
            depends_on: descriptor.map(|descriptor| descriptor.depends_on.clone()).unwrap_or_default(),
            deadlines: descriptor.map(DeadlinesRow::of),
            state: standing(state, owned).to_owned(),
            quarantined: state.is_quarantined(),
            failures: state.failures_in_a_row(),
            last_run: state.last_run(),
            last_run_status: String::new(),
            last_good_run: None,
            last_good_run_status: String::new(),
            last_good_at: 0,
            last_error: last_error.map(ToString::to_string).unwrap_or_default(),
            last_failed_at: last_failed_at.map_or(0, |at| at.seconds()),
            next_retry: 0,
        }
    }
}

impl DeadlinesRow {
    fn of(descriptor: &Descriptor) -> Self {
        let seconds = |limit: Option<Duration>| limit.map(|limit| limit.as_secs_f64());
        let deadlines = &descriptor.deadlines;
        Self {
            preflight_seconds: seconds(deadlines.preflight),
            prepare_seconds: seconds(deadlines.prepare),
            freeze_seconds: deadlines.freeze.as_secs_f64(),
            write_seconds: seconds(deadlines.write),
            stall_seconds: seconds(deadlines.stall),
        }
    }
}

/// What is at work without a living process is what a dead one left.
fn standing(state: &Participant, owned: bool) -> &'static str {
    match state.standing() {
        Standing::Working | Standing::Stuck if !owned => "interrupted",
        standing => standing.as_str(),
    }
}

/// A run in which a participant was good may have failed for another one, or be gone.
fn stands(history: &History, run: Option<RunId>) -> String {
    let status = |entry: &RunEntry| match entry.outcome {
        _ if entry.deleted => "deleted",
        Some(outcome) => RunStatus::from(outcome).as_str(),
        None => "open",
    };
    run.and_then(|run| history.run(run)).map(status).unwrap_or_default().to_owned()
}

impl Holdfast {
    /// All participants as they are listed: those of the configuration and of the application, and then those that are only remembered.
    ///
    /// # Errors
    /// [`EngineError`] where the log cannot be read.
    pub async fn participant_rows(&self) -> Result<Vec<ParticipantRow>, EngineError> {
        let open: Vec<_> = self.read(|known| known.history.open().map(|entry| entry.run_id).collect()).await?;
        let mut runs = Vec::new();
        for run_id in open {
            runs.push(Run::clone(&*self.run(run_id).await?));
        }
        let defined = defined(self.participants());
        self.read(|known| rows(defined, &known.history, &runs, true)).await
    }
}
