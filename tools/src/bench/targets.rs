//! What is to be reached, and whether it is.

use serde::Serialize;

use super::Report;
use super::contenders::{Contender, Task};
use super::copies::Figures;

/// One target beside what was measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Target {
    pub(super) what: &'static str,
    pub(super) bound: Bound,
    pub(super) found: f64,
    pub(super) reached: bool,
}

/// What a figure must be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn new(what: &'static str, bound: Bound, found: Option<f64>) -> Option<Self> {
        let found = found.filter(|found| found.is_finite())?;
        let reached = match bound {
            Bound::AtLeast(least) => found >= least,
            Bound::AtMost(most) => found <= most,
        };
        Some(Self { what, bound, found, reached })
    }
}

/// All targets for which there is a figure.
pub(super) fn judge(report: &Report) -> Vec<Target> {
    use Bound::{AtLeast, AtMost};
    let log = report.log.as_ref();
    let wall = |task, contender| Some(report.runs.as_ref()?.taken.get(&(task, contender))?.wall());
    let ours = |task| wall(task, Contender::Holdfast);
    // Seconds of the second in seconds of the first: below 1 the first is faster.
    let by = |task, other| Some(ours(task)? / wall(task, other)?);
    let faster = |task, other| by(task, other).map(f64::recip);
    let peak = report.peak();
    let server = report.server.as_ref();
    let copies = report.copies.as_ref();
    [
        Target::new("64 writers: log / raw write + fdatasync", AtLeast(0.5), log.map(|log| log.many_ratio())),
        Target::new("replay: million events a second read", AtLeast(0.8), log.map(|log| log.read_speed() / 1e6)),
        Target::new(
            "replay: million events a second read, decoded, folded",
            AtLeast(0.8),
            log.map(|log| log.fold_speed() / 1e6),
        ),
        Target::new(
            "open after kill -9: seconds a million events",
            AtMost(2.0),
            log.map(|log| log.open_killed_seconds()),
        ),
        Target::new("first backup: time / tar | zstd -1 -T2", AtMost(0.8), by(Task::First, Contender::TarZstd)),
        Target::new("first backup: speed / restic", AtLeast(2.0), faster(Task::First, Contender::Restic)),
        Target::new("restore: speed / restic", AtLeast(1.5), faster(Task::Restore, Contender::Restic)),
        Target::new("restore: time / plain parallel copy", AtMost(1.6), by(Task::Restore, Contender::Copy)),
        Target::new("verify: speed / restic check --read-data", AtLeast(1.0), faster(Task::Check, Contender::Restic)),
        Target::new("peak memory of holdfast, MiB, the most of all", AtMost(128.0), peak),
        Target::new("copies: three endpoints at once / their sum in turn", AtMost(1.1), copies.map(Figures::at_once)),
        Target::new("copies: three at once / one, 20 MB/s each", AtMost(1.3), copies.map(Figures::limited_at_once)),
        Target::new("server: errors at capacity", AtMost(0.0), server.map(|server| server.capacity.errors() as f64)),
        Target::new(
            "server: run time with 500 requests/s, 100 subscribers / alone",
            AtMost(1.1),
            server.map(|server| server.interference.ratio()),
        ),
        Target::new(
            "server: errors beside a run",
            AtMost(0.0),
            server.map(|server| server.interference.errors() as f64),
        ),
        Target::new("server: errors under overload", AtMost(0.0), server.map(|server| server.overload.errors() as f64)),
        Target::new(
            "server: requests refused under overload",
            AtLeast(1.0),
            server.map(|server| server.overload.refused() as f64),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}
