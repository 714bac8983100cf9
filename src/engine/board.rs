//! The progress of the runs at work: one look at each, a few times a second, for whoever wants to know.
//!
//! Each open run has a task that looks at what is recorded and what is read live, keeps its [`Course`], and shows what is new. However
//! many look on, a run is looked at and written as JSON once. What is shown of an ended run is folded from the log instead, up to its end,
//! so that it is the same whenever it is asked for.

mod finals;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use holdfast_actors::participant::LiveCounts;
use holdfast_actors::ports::World;
use holdfast_actors::root::RunHandle;
use holdfast_log::ReadLog;
use holdfast_model::history::History;
use holdfast_model::ids::{ParticipantName, Position, RunId};
use holdfast_model::progress::{Counts, Course, Live, Phase, Progress};
use holdfast_model::run::{Outcome, Run, Stage};
use serde_json::value::RawValue;
use tokio::sync::watch;

use self::finals::Finals;
use super::backups::Checks;
use super::{EngineError, Holdfast, view};

/// Looks at a run a second where nothing else was said.
const PER_SECOND: u32 = 4;

/// What was shown of a run at work. It is written as JSON once, however many it is sent to.
pub(crate) struct Shown {
    pub(crate) run_id: RunId,
    pub(crate) progress: Progress,
    json: OnceLock<Arc<RawValue>>,
}

impl Shown {
    fn new(run_id: RunId, progress: Progress) -> Arc<Self> {
        Arc::new(Self { run_id, progress, json: OnceLock::new() })
    }

    /// It as JSON.
    pub(crate) fn json(&self) -> Arc<RawValue> {
        self.json.get_or_init(|| json(&self.progress)).clone()
    }
}

/// Something that always has a JSON form.
pub(crate) fn json(value: &impl serde::Serialize) -> Arc<RawValue> {
    match serde_json::value::to_raw_value(value) {
        Ok(json) => json.into(),
        Err(error) => {
            tracing::error!(%error, "what is to be sent has no JSON form");
            RawValue::NULL.to_owned().into()
        }
    }
}

/// Content bytes a second that were read again by the last run that says so, among the newest few that completed.
pub(super) fn last_check_rate(log: &dyn ReadLog, history: &History) -> Option<f64> {
    const LOOKED_AT: usize = 5;
    let completed = history.newest_first().filter(|entry| entry.outcome == Some(Outcome::Completed));
    completed.take(LOOKED_AT).find_map(|entry| view::run_at(log, entry.run_id, entry.ended?).ok()?.check_rate())
}

/// The progress of the runs at work. Clones share it.
#[derive(Clone)]
pub(super) struct Board {
    shared: Arc<Shared>,
}

struct Shared {
    rows: Mutex<BTreeMap<RunId, Row>>,
    world: World,
    live: LiveCounts,
    checks: Checks,
    /// Content bytes a second of the last check that was measured.
    check_rate: Mutex<Option<f64>>,
    /// Milliseconds between two looks.
    pause: AtomicU64,
    began: Instant,
    changed: watch::Sender<u64>,
    finals: Finals,
}

/// A run at work.
struct Row {
    watch: watch::Receiver<Arc<Run>>,
    course: Arc<Mutex<Course>>,
    shown: Arc<Shown>,
}

impl Board {
    /// An empty one. `check_rate` is the [`Run::check_rate`] of the last run that has one.
    pub(super) fn new(world: &World, live: &LiveCounts, checks: &Checks, check_rate: Option<f64>) -> Self {
        let shared = Shared {
            rows: Mutex::default(),
            world: world.clone(),
            live: live.clone(),
            checks: checks.clone(),
            check_rate: Mutex::new(check_rate),
            pause: AtomicU64::new(0),
            began: Instant::now(),
            changed: watch::Sender::new(0),
            finals: Finals::default(),
        };
        let board = Self { shared: Arc::new(shared) };
        board.look_per_second(PER_SECOND);
        board
    }

    /// How often a run is looked at, at most; a change of its phase is seen at once in any case.
    pub(super) fn look_per_second(&self, times: u32) {
        self.shared.pause.store(1000 / u64::from(times.clamp(1, 1000)), Ordering::Relaxed);
    }

    pub(super) fn pause(&self) -> Duration {
        Duration::from_millis(self.shared.pause.load(Ordering::Relaxed))
    }

    /// Shows a run until its end.
    pub(super) fn follow(&self, handle: &RunHandle) {
        let (run_id, run) = (handle.run_id, handle.watch.borrow().clone());
        if has_ended(&run) {
            return;
        }
        let course = Arc::new(Mutex::new(Course::new(*lock(&self.shared.check_rate))));
        let mut rows = lock(&self.shared.rows);
        if rows.contains_key(&run_id) {
            return;
        }
        let progress = self.look(run_id, &run, &course);
        let row = Row { watch: handle.watch.clone(), course, shown: Shown::new(run_id, progress) };
        rows.insert(run_id, row);
        drop(rows);
        self.tell();
        self.shared.world.data_plane.spawn(self.clone().show(handle.clone()));
    }

    /// Shows a run that goes on. One that had begun is shown once that is recorded: until then it is in an attempt of which more was shown
    /// than the record knows.
    pub(super) fn resume(&self, handle: &RunHandle) {
        if handle.watch.borrow().stage() == Stage::Queued {
            return self.follow(handle);
        }
        let (board, mut handle) = (self.clone(), handle.clone());
        let mut lost = self.shared.world.lost.subscribe();
        self.shared.world.data_plane.spawn(async move {
            tokio::select! {
                changed = handle.watch.changed() => if changed.is_ok() { board.follow(&handle) },
                _ = lost.wait_for(Option::is_some) => {}
            }
        });
    }

    /// Looks at a run until it has ended, or nobody works on it any more.
    async fn show(self, mut handle: RunHandle) {
        let run_id = handle.run_id;
        let mut lost = self.shared.world.lost.subscribe();
        loop {
            let run = handle.watch.borrow_and_update().clone();
            if has_ended(&run) {
                if let Some(rate) = run.check_rate() {
                    *lock(&self.shared.check_rate) = Some(rate);
                }
                break;
            }
            let Some(phase) = self.refresh(run_id) else { break };
            let news = |run: &Arc<Run>| has_ended(run) || Progress::phase(run) != phase;
            tokio::select! {
                () = tokio::time::sleep(self.pause()) => {}
                changed = handle.watch.wait_for(news) => if changed.is_err() { break },
                _ = lost.wait_for(Option::is_some) => break,
            }
        }
        lock(&self.shared.rows).remove(&run_id);
        self.shared.checks.forget(run_id);
        self.tell();
    }

    /// Looks at a run at work, shows what is new, and says what it is doing.
    fn refresh(&self, run_id: RunId) -> Option<Phase> {
        let (run, course) = self.row(run_id)?;
        let progress = self.look(run_id, &run, &course);
        let phase = progress.phase;
        let mut rows = lock(&self.shared.rows);
        let row = rows.get_mut(&run_id)?;
        let new = row.shown.progress != progress;
        if new {
            row.shown = Shown::new(run_id, progress);
        }
        drop(rows);
        if new {
            self.tell();
        }
        Some(phase)
    }

    fn row(&self, run_id: RunId) -> Option<(Arc<Run>, Arc<Mutex<Course>>)> {
        let rows = lock(&self.shared.rows);
        let row = rows.get(&run_id)?;
        Some((row.watch.borrow().clone(), row.course.clone()))
    }

    fn look(&self, run_id: RunId, run: &Run, course: &Mutex<Course>) -> Progress {
        let mut course = lock(course);
        let live = Live { counts: self.live_counts(run_id), checked: self.shared.checks.read(run_id) };
        course.look(run, &live, self.shared.world.clock.now(), self.shared.began.elapsed())
    }

    fn live_counts(&self, run_id: RunId) -> BTreeMap<ParticipantName, Counts> {
        let live = lock(&self.shared.live);
        let of_run = live.iter().filter(|((of, _), _)| *of == run_id);
        of_run.map(|((_, name), report)| (name.clone(), report.counts())).collect()
    }

    /// How far a run at work has come now.
    fn now(&self, run_id: RunId) -> Option<Progress> {
        let (run, course) = self.row(run_id)?;
        run.is_open().then(|| self.look(run_id, &run, &course))
    }

    /// What was shown last of each run at work, the oldest first.
    fn shown(&self) -> Vec<Arc<Shown>> {
        lock(&self.shared.rows)
            .values()
            .filter(|row| row.watch.borrow().is_open())
            .map(|row| row.shown.clone())
            .collect()
    }

    fn tell(&self) {
        self.shared.changed.send_modify(|times| *times = times.wrapping_add(1));
    }
}

/// One without an id has not begun yet.
fn has_ended(run: &Run) -> bool {
    run.id().is_some() && !run.is_open()
}

impl Holdfast {
    /// How far a run has come, with live counts.
    #[must_use]
    pub fn progress(&self, run: &Run) -> Progress {
        let now = run.id().filter(|_| run.is_open()).and_then(|run_id| self.shared.board.now(run_id));
        // One that is open and not here is worked on by nobody.
        now.unwrap_or_else(|| Progress::of(run, &BTreeMap::new(), false))
    }

    /// How far the run at work has come, the oldest of several; where there is none, the id of the last one.
    ///
    /// # Errors
    /// As [`Holdfast::read`].
    pub async fn present_progress(&self) -> Result<Progress, EngineError> {
        let mut open = self.shared.board.shown();
        // Those that wait for their turn come after.
        open.sort_by_key(|shown| shown.progress.phase == Phase::Queued);
        if let Some(now) = open.iter().find_map(|shown| self.shared.board.now(shown.run_id)) {
            return Ok(now);
        }
        let own = |known: &super::Projections| {
            known.history.newest_first().find(|entry| !entry.imported).map(|entry| entry.run_id)
        };
        if let Some(copying) = self.copying().await? {
            return Ok(copying);
        }
        let last = self.read(own).await?;
        Ok(Progress::idle(last.map(|run_id| run_id.to_string()).unwrap_or_default()))
    }

    /// The progress of the oldest run of which copies are under way, if there is one.
    async fn copying(&self) -> Result<Option<Progress>, EngineError> {
        let uploads = self.uploads();
        let Some(run_id) = uploads.iter().map(|upload| upload.run_id).min() else { return Ok(None) };
        let run = self.run(run_id).await?;
        let of_run = uploads.iter().filter(|upload| upload.run_id == run_id);
        let (done, total) = of_run.fold((0_u64, 0_u64), |(done, total), upload| {
            (done.saturating_add(upload.bytes_done), total.saturating_add(upload.bytes_total))
        });
        Ok(Some(Progress::of(&run, &BTreeMap::new(), true).copying(done, total)))
    }

    /// How often a run's progress is told a second, at most; a change of its phase is told at once in any case.
    pub fn tell_progress_per_second(&self, times: u32) {
        self.shared.board.look_per_second(times);
    }

    /// What was shown last of each run at work, the oldest first.
    pub(crate) fn runs_shown(&self) -> Vec<Arc<Shown>> {
        self.shared.board.shown()
    }

    /// Changes when [`Holdfast::runs_shown`] does.
    pub(crate) fn watch_shown(&self) -> watch::Receiver<u64> {
        self.shared.board.shared.changed.subscribe()
    }

    /// The progress of a run that ended at `end`, as it was then, as JSON.
    ///
    /// # Errors
    /// [`EngineError`] where the log cannot be read.
    pub(crate) async fn final_progress(&self, run_id: RunId, end: Position) -> Result<Arc<RawValue>, EngineError> {
        let log = self.shared.world.log.clone();
        let finals = &self.shared.board.shared.finals;
        let fold = async || {
            let run = self.blocking(move || view::run_at(&*log, run_id, end)).await??;
            Ok(json(&Progress::of(&run, &BTreeMap::new(), true)))
        };
        finals.get(run_id, fold).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change under a lock is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
