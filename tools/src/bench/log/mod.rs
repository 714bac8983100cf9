//! The event log: appends beside plain writes of the same batches, replay, open, and what a million events take.

mod child;
mod counted;
mod events;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) use child::Action;
use child::{Appends, Opened, Raw, Replayed};

use super::measure::median;
use super::runs::bytes_below;

/// Events appended in a round by one writer, and by 64.
const BY_ONE: u64 = 6_000;
const BY_MANY: u64 = 192_000;
const MANY: u64 = 64;
/// Events of the large log.
const MILLION: u64 = 1_000_000;
/// Events that a process appends before it is killed.
const BEFORE_KILL: u64 = 5_000;
/// Longest that a child may take, in seconds.
const DEADLINE: &str = "1800";

/// Figures of all rounds.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Figures {
    pub(super) one: Vec<Beside>,
    pub(super) many: Vec<Beside>,
    pub(super) replay: Vec<Replayed>,
    pub(super) open_clean: Vec<Opened>,
    pub(super) open_killed: Vec<Opened>,
    /// Of the large log.
    pub(super) fill: Option<Appends>,
    /// What it takes on the disk, in bytes.
    pub(super) disk: u64,
}

/// Appends, and plain writes of as many batches of the same size right after or before them.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Beside {
    pub(super) log: Appends,
    pub(super) raw: Raw,
}

impl Beside {
    /// Speed of the log by that of the plain writes.
    pub(super) fn ratio(&self) -> f64 {
        self.raw.seconds / self.log.seconds
    }

    /// Events a second that the log took.
    pub(super) fn log_speed(&self) -> f64 {
        self.log.events as f64 / self.log.seconds
    }

    /// Events a second that the plain writes made durable.
    pub(super) fn raw_speed(&self) -> f64 {
        self.log.events as f64 / self.raw.seconds
    }

    /// Events in a commit of the log, in the mean.
    pub(super) fn batch(&self) -> f64 {
        self.log.events as f64 / self.log.commits as f64
    }
}

impl Figures {
    /// Speed of the log by that of plain writes, by 64 writers.
    pub(super) fn many_ratio(&self) -> f64 {
        median(self.many.iter().map(Beside::ratio).collect())
    }

    /// Events a second that are read.
    pub(super) fn read_speed(&self) -> f64 {
        median(self.replay.iter().map(|one| one.events as f64 / one.read).collect())
    }

    /// Events a second that are read, decoded and folded.
    pub(super) fn fold_speed(&self) -> f64 {
        median(self.replay.iter().map(|one| one.events as f64 / one.fold).collect())
    }

    /// Seconds to open a million events after a clean close.
    pub(super) fn open_clean_seconds(&self) -> f64 {
        median(self.open_clean.iter().map(|one| one.seconds / one.events as f64 * 1e6).collect())
    }

    /// Seconds to open a million events after a kill.
    pub(super) fn open_killed_seconds(&self) -> f64 {
        median(self.open_killed.iter().map(|one| one.seconds / one.events as f64 * 1e6).collect())
    }

    /// Memory in MiB that opening a million events takes.
    pub(super) fn open_memory(&self) -> f64 {
        median(self.open_clean.iter().map(|one| one.memory / one.events as f64 * 1e6).collect())
    }

    /// Events in the large log.
    pub(super) fn events(&self) -> u64 {
        self.fill.map_or(0, |fill| fill.events)
    }

    /// Runs in it.
    pub(super) fn runs(&self) -> u64 {
        self.events() / events::RUN
    }
}

/// Measures the log in `dir`.
///
/// # Errors
/// Where a process that measures fails.
pub(super) fn run(dir: &Path, rounds: usize, size: f64, say: &dyn Fn(&str)) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let scaled = |full: u64| ((full as f64 * size) as u64).max(MANY);
    let large = dir.join("log-large");
    figures.fill = Some(call(&["fill", path(&large)?, &scaled(MILLION).to_string()])?);
    figures.disk = bytes_below(&large)?;
    for round in 0..rounds {
        say(&format!("round {} of {rounds}: log", round + 1));
        figures.one.push(beside(dir, 1, scaled(BY_ONE))?);
        figures.many.push(beside(dir, MANY, scaled(BY_MANY))?);
        figures.open_clean.push(call(&["open", path(&large)?])?);
        figures.replay.push(call(&["replay", path(&large)?])?);
        let told = kill_one(&large)?;
        let opened: Opened = call(&["open", path(&large)?])?;
        ensure!(opened.events >= told, "{} events are there after a kill, {told} were acknowledged", opened.events);
        figures.open_killed.push(opened);
    }
    std::fs::remove_dir_all(&large).context("cannot remove a log")?;
    Ok(figures)
}

fn beside(dir: &Path, writers: u64, events: u64) -> anyhow::Result<Beside> {
    let folder = dir.join("log-small");
    let log: Appends = call(&["append", path(&folder)?, &writers.to_string(), &events.to_string()])?;
    std::fs::remove_dir_all(&folder).context("cannot remove a log")?;
    rustix::fs::sync();
    let raw = call(&["raw", path(dir)?, &log.commits.to_string(), &log.bytes.to_string()])?;
    rustix::fs::sync();
    Ok(Beside { log, raw })
}

/// Begins a process that appends, kills it in the midst of that, and says what it was told last.
fn kill_one(log: &Path) -> anyhow::Result<u64> {
    let mut child =
        Command::new(own_path()?).args(["bench-log", "victim", path(log)?]).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("a child has no output")?;
    let mut told = 0;
    let mut first = None;
    for line in BufReader::new(output).lines() {
        told = told.max(line?.parse()?);
        if told >= *first.get_or_insert(told) + BEFORE_KILL {
            break;
        }
    }
    child.kill().context("cannot kill a child")?;
    let status = child.wait()?;
    ensure!(!status.success() && told > 0, "the process that was to be killed ended with {status}");
    Ok(told)
}

fn call<T: DeserializeOwned>(arguments: &[&str]) -> anyhow::Result<T> {
    let output = Command::new("timeout")
        .args(["--foreground", DEADLINE])
        .arg(own_path()?)
        .arg("bench-log")
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start a child")?;
    ensure!(output.status.success(), "{arguments:?} failed with {}", output.status);
    serde_json::from_slice(&output.stdout).context("cannot read what a child wrote")
}

fn own_path() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program")
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
