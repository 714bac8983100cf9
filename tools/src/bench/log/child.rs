//! The processes in which the log is measured: each begins with nothing in memory, and one of them is killed.
//!
//! Each writes one line of JSON.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Subcommand;
use holdfast_log::{Append, DurableLog, EventLog, Options, ReadLog};
use holdfast_model::codec::Envelope;
use holdfast_model::history::History;
use holdfast_model::ids::{Position, StreamId, Version};
use serde::{Deserialize, Serialize};

use super::counted::Counted;
use super::events;

/// Events read at once.
const BATCH: usize = 1024;
/// Longest that the one which is to be killed waits for that.
const VICTIM: Duration = Duration::from_secs(120);

/// What is measured.
#[derive(Debug, Clone, Subcommand)]
pub(in crate::bench) enum Action {
    /// Append events by several writers, each waiting for its answer before the next
    Append { dir: PathBuf, writers: u64, events: u64 },
    /// Write as many bytes in as many batches to a plain file, each followed by fdatasync
    Raw { dir: PathBuf, batches: u64, bytes: u64 },
    /// Fill a log with runs
    Fill { dir: PathBuf, events: u64 },
    /// Open a log, say how long that took, close it
    Open { dir: PathBuf },
    /// Append to a log until killed
    Victim { dir: PathBuf },
    /// Read a whole log, then read and fold it
    Replay { dir: PathBuf },
}

/// Of [`Action::Append`] and [`Action::Fill`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::bench) struct Appends {
    pub(super) seconds: f64,
    pub(super) events: u64,
    /// Commits, each of which was synced.
    pub(super) commits: u64,
    /// Bytes of them.
    pub(super) bytes: u64,
}

/// Of [`Action::Raw`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::bench) struct Raw {
    pub(super) seconds: f64,
}

/// Of [`Action::Open`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::bench) struct Opened {
    pub(super) seconds: f64,
    pub(super) events: u64,
    /// Whether nothing had to be mended.
    pub(super) clean: bool,
    /// Resident memory that opening took, in MiB.
    pub(super) memory: f64,
}

/// Of [`Action::Replay`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::bench) struct Replayed {
    pub(super) events: u64,
    /// Reading all events.
    pub(super) read: f64,
    /// Reading all, decoding them, and folding the history of runs.
    pub(super) fold: f64,
}

impl Action {
    /// Does it and writes the line.
    ///
    /// # Errors
    /// As the log says.
    pub(in crate::bench) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Append { dir, writers, events } => say(&append(dir, *writers, *events)?),
            Self::Raw { dir, batches, bytes } => say(&raw(dir, *batches, *bytes)?),
            Self::Fill { dir, events } => say(&fill(dir, *events)?),
            Self::Open { dir } => say(&open(dir)?),
            Self::Victim { dir } => victim(dir),
            Self::Replay { dir } => say(&replay(dir)?),
        }
    }
}

fn say(what: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    io::stdout().write_all(&line).context("cannot write to standard output")
}

fn append(dir: &Path, writers: u64, events: u64) -> anyhow::Result<Appends> {
    with_log(dir, |log| async move {
        let tasks = (0..writers).map(|writer| {
            let log = log.clone();
            tokio::spawn(async move {
                let stream: StreamId = format!("participant/writer-{writer}").parse()?;
                let mut version = log.stream_version(&stream)?;
                for _ in 0..events / writers {
                    let events = vec![events::sized(version)];
                    version = log.append(Append { stream: stream.clone(), expected: version, events }).await?.version;
                }
                anyhow::Ok(())
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await??;
        }
        Ok(events / writers * writers)
    })
}

fn fill(dir: &Path, events: u64) -> anyhow::Result<Appends> {
    let next_run = Arc::new(AtomicU64::new(0));
    with_log(dir, |log| async move {
        let tasks = (0..64).map(|_| {
            let (log, next_run) = (log.clone(), next_run.clone());
            tokio::spawn(async move {
                loop {
                    let run = next_run.fetch_add(1, Ordering::Relaxed);
                    if run * events::RUN >= events {
                        return anyhow::Ok(());
                    }
                    append_run(&log, run).await?;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await??;
        }
        Ok(log.head().0)
    })
}

/// Appends the events of a run, one by one.
async fn append_run(log: &DurableLog, number: u64) -> anyhow::Result<()> {
    let run = events::run_id(number);
    let mut version = Version::NONE;
    for event in events::of_run(run)? {
        let append = Append { stream: StreamId::run(run), expected: version, events: vec![event] };
        version = log.append(append).await?.version;
    }
    Ok(())
}

/// Opens a log, measures what `work` does with it, closes it.
fn with_log<F: Future<Output = anyhow::Result<u64>>>(
    dir: &Path,
    work: impl FnOnce(Arc<DurableLog>) -> F,
) -> anyhow::Result<Appends> {
    let disk = Arc::new(Counted::default());
    let (log, _) = DurableLog::open(dir, Options { disk: disk.clone(), ..Options::default() })?;
    let log = Arc::new(log);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let before = (disk.syncs(), disk.bytes());
    let begun = Instant::now();
    let events = runtime.block_on(work(log.clone()))?;
    let seconds = begun.elapsed().as_secs_f64();
    let (commits, bytes) = (disk.syncs() - before.0, disk.bytes() - before.1);
    log.close();
    Ok(Appends { seconds, events, commits, bytes })
}

fn raw(dir: &Path, batches: u64, bytes: u64) -> anyhow::Result<Raw> {
    let path = dir.join("raw");
    let mut file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let batch = vec![0x5a; usize::try_from(bytes / batches.max(1))?];
    let begun = Instant::now();
    for _ in 0..batches {
        file.write_all(&batch)?;
        file.sync_data()?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(Raw { seconds })
}

fn open(dir: &Path) -> anyhow::Result<Opened> {
    let before = resident()?;
    let begun = Instant::now();
    let (log, report) = DurableLog::open(dir, Options::default())?;
    let seconds = begun.elapsed().as_secs_f64();
    let memory = resident()? - before;
    let opened = Opened { seconds, events: log.head().0, clean: report.is_clean(), memory };
    log.close();
    Ok(opened)
}

/// Resident memory of this process, in MiB.
fn resident() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<f64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Ok(kib.context("/proc/self/status has no VmRSS")? / 1024.0)
}

/// Says each position it was told, until it is killed.
fn victim(dir: &Path) -> anyhow::Result<()> {
    let (log, _) = DurableLog::open(dir, Options::default())?;
    let log = Arc::new(log);
    let first = log.head().0 + 1;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    let work = async {
        let tasks = (0..8).map(|writer| {
            let log = log.clone();
            tokio::spawn(async move {
                for number in 0.. {
                    append_run(&log, first + writer + number * 8).await?;
                    say(&log.head().0)?;
                }
                anyhow::Ok(())
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await??;
        }
        anyhow::Ok(())
    };
    runtime.block_on(async { tokio::time::timeout(VICTIM, work).await })?
}

fn replay(dir: &Path) -> anyhow::Result<Replayed> {
    let (log, _) = DurableLog::open(dir, Options::default())?;
    let head = log.head();

    let begun = Instant::now();
    let mut at = Position::START;
    while at < head {
        let records = log.read_all(at.next(), BATCH)?;
        at = records.last().context("the log ends before its head")?.position;
    }
    let read = begun.elapsed().as_secs_f64();

    let begun = Instant::now();
    let mut history = History::default();
    while history.folded_to() < head {
        for record in log.read_all(history.folded_to().next(), BATCH)? {
            history.apply(&Envelope::read(record)?);
        }
    }
    let fold = begun.elapsed().as_secs_f64();
    ensure!(history.newest_first().next().is_some(), "no run was found in the log");
    log.close();
    Ok(Replayed { events: head.0, read, fold })
}
