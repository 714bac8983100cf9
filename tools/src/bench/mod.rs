//! Speed and memory of Holdfast beside what people use today: one command, one table.
//!
//! Other work on the machine changes times by more than most differences that matter. So contenders take turns, each
//! figure is a median over rounds, and what is to be judged are ratios.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;

mod contenders;
mod copies;
mod copy;
mod dataset;
mod log;
mod measure;
mod memory;
mod parallel;
mod random;
mod runs;
mod server;
mod surroundings;
mod table;
mod targets;
mod volume;

use contenders::{Contender, Places};
use dataset::Made;
use measure::Series;
use memory::OfSize;
use parallel::Shape;
pub(crate) use server::BareArgs;
use surroundings::Surroundings;
use volume::Volume;

/// Measures, and prints the table.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Rounds: each figure is the median of so many
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=99))]
    rounds: u16,
    /// Only this part; may be given again
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Only these contenders
    #[arg(long, value_enum, value_name = "NAME")]
    contender: Vec<Contender>,
    /// How much of the data set, of the log's million events and of the large inputs: 1 is all, 0.1 a tenth
    #[arg(long, default_value_t = 1.0, value_name = "FRACTION", value_parser = fraction)]
    size: f64,
    /// Folder to work in; a new one below it is removed at the end [default: the system's temp folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write the figures as JSON instead of the table
    #[arg(long)]
    json: bool,
    /// The program to measure [default: `holdfast` beside this one]
    #[arg(long, value_name = "FILE")]
    holdfast: Option<PathBuf>,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The event log
    Log,
    /// Backups, restores and checks beside other programs
    Runs,
    /// Peak memory by size of the input
    Memory,
    /// One worker and eight participants, eight workers and one
    Parallel,
    /// `holdfast serve` under load
    Server,
    /// Copies on endpoints at once and in turn, a vault beside nginx, encryption beside age
    Copies,
}

/// Copies a tree, to be measured.
#[derive(Debug, Args)]
pub(super) struct CopyArgs {
    from: PathBuf,
    to: PathBuf,
    /// Threads that copy
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

impl CopyArgs {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        copy::run(&self.from, &self.to, self.threads)
    }
}

/// Makes the data set, to be looked at or measured by hand.
#[derive(Debug, Args)]
pub(super) struct DataArgs {
    /// A folder that does not exist yet
    dir: PathBuf,
    /// How much of it: 1 is all, 0.1 a tenth
    #[arg(long, default_value_t = 1.0, value_name = "FRACTION", value_parser = fraction)]
    size: f64,
}

impl DataArgs {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let made = dataset::make(&self.dir, self.size)?;
        println!("{} files, {} bytes", made.files, made.bytes);
        Ok(())
    }
}

/// Measures the log in a process of its own.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    #[command(subcommand)]
    action: log::Action,
}

fn fraction(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|size| (0.001..=1.0).contains(size)).ok_or_else(|| "a number from 0.001 to 1".to_owned())
}

impl LogArgs {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        self.action.run()
    }
}

/// All that was measured.
#[derive(Debug, Serialize)]
struct Report {
    rounds: u16,
    surroundings: Surroundings,
    /// Load averages at the end.
    load_after: String,
    data: Option<Made>,
    log: Option<log::Figures>,
    runs: Option<runs::Runs>,
    memory: Vec<OfSize>,
    parallel: Vec<(Shape, Series)>,
    server: Option<server::Figures>,
    copies: Option<copies::Figures>,
}

impl Report {
    /// The most memory that any process of ours took, in MiB.
    fn peak(&self) -> Option<f64> {
        let runs = self.runs.iter().flat_map(|runs| &runs.taken);
        let runs = runs.filter(|((_, contender), _)| contender.is_holdfast()).flat_map(|(_, series)| &series.0);
        let memory = self.memory.iter().flat_map(|one| [&one.backup, &one.verify, &one.restore]);
        let parallel = self.parallel.iter().flat_map(|(_, series)| &series.0);
        runs.chain(memory).chain(parallel).map(|taken| taken.peak).reduce(f64::max)
    }
}

impl BenchArgs {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("holdfast-bench.");
        let folder = self.dir.as_ref().map_or_else(|| builder.tempdir(), |dir| builder.tempdir_in(dir));
        let folder = folder.context("cannot make a folder to work in")?;
        let report = self.measure(folder.path());
        // Also where measuring failed.
        folder.close().context("cannot remove the folder that was worked in")?;
        let report = report?;
        if self.json {
            let targets = targets::judge(&report);
            println!("{}", serde_json::to_string(&serde_json::json!({ "report": report, "targets": targets }))?);
        } else {
            print!("{}", table::text(&report));
        }
        Ok(())
    }

    fn measure(&self, folder: &Path) -> anyhow::Result<Report> {
        let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("holdfast"));
        let holdfast = self.holdfast.clone().map_or_else(beside, Ok).context("cannot find this program")?;
        let holdfast = holdfast.canonicalize().with_context(|| format!("there is no {}", holdfast.display()))?;
        let say = |text: &str| eprintln!("{text}");
        let rounds = usize::from(self.rounds);

        let needs_data =
            [Part::Runs, Part::Parallel, Part::Server, Part::Copies].into_iter().any(|part| self.wants(part));
        let volume = if needs_data { Volume::where_needed(folder, self.size)? } else { None };
        let work = volume.as_ref().map_or(folder, Volume::path);
        let mut report = Report {
            rounds: self.rounds,
            surroundings: Surroundings::look(work, volume.is_some()),
            load_after: String::new(),
            data: None,
            log: None,
            runs: None,
            memory: Vec::new(),
            parallel: Vec::new(),
            server: None,
            copies: None,
        };
        let on_volume = Places { data: work.join("data"), work: work.to_owned(), holdfast };
        let beside_volume = Places { work: folder.to_owned(), ..on_volume.clone() };
        if self.wants(Part::Log) {
            report.log = Some(log::run(folder, rounds, self.size, &say)?);
        }
        if needs_data {
            say("making the data set");
            report.data = Some(dataset::make(&on_volume.data, self.size)?);
            rustix::fs::sync();
        }
        if self.wants(Part::Runs) {
            let all = self.contender.is_empty();
            let contenders = if all { Contender::ALL.to_vec() } else { self.contender.clone() };
            report.runs = Some(runs::run(&on_volume, &contenders, rounds, &say)?);
        }
        if self.wants(Part::Parallel) {
            report.parallel = parallel::run(&on_volume, rounds, &say)?;
        }
        if self.wants(Part::Server) {
            report.server = Some(server::run(&on_volume, rounds, self.size, &say)?);
        }
        if self.wants(Part::Copies) {
            let places = Places { work: folder.to_owned(), ..on_volume.clone() };
            report.copies = Some(copies::run(&places, rounds, self.size, &say)?);
        }
        // The largest inputs need the room.
        drop(volume);
        if needs_data && on_volume.data.exists() {
            std::fs::remove_dir_all(&on_volume.data).context("cannot remove the data set")?;
        }
        if self.wants(Part::Memory) {
            report.memory = memory::run(&beside_volume, self.size, &say)?;
        }
        report.load_after = surroundings::load();
        Ok(report)
    }

    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}
