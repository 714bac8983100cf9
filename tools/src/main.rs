//! Tools of those who develop and operate Holdfast.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod arrows;
mod bench;

/// Tools of those who develop and operate Holdfast.
#[derive(Debug, Parser)]
#[command(name = "holdfast-tools", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Check that crates and modules name only what lies below them; exit 1 and list each place where one does not
    CheckArrows {
        /// Top folder of the repository
        #[arg(long, value_name = "DIR", default_value = ".")]
        root: PathBuf,
    },
    /// Measure speed and memory beside other programs and print one table; `tools/bench` installs what it needs and calls this
    Bench(bench::BenchArgs),
    /// Make the data set of `bench`
    BenchData(bench::DataArgs),
    /// Copy a tree, to be measured
    #[command(hide = true)]
    BenchCopy(bench::CopyArgs),
    /// Do one thing with an event log, to be measured
    #[command(hide = true)]
    BenchLog(bench::LogArgs),
    /// Answer every request over HTTP with the same bytes, to be measured
    #[command(hide = true)]
    BenchBare(bench::BareArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().tool {
        Tool::CheckArrows { root } => {
            let report = arrows::check(&root)?;
            for violation in &report.violations {
                println!("{violation}");
            }
            println!(
                "checked {} crates and {} source files: {} violations",
                report.crates,
                report.files,
                report.violations.len()
            );
            Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Tool::Bench(args) => args.run().map(|()| ExitCode::SUCCESS),
        Tool::BenchData(args) => args.run().map(|()| ExitCode::SUCCESS),
        Tool::BenchCopy(args) => args.run().map(|()| ExitCode::SUCCESS),
        Tool::BenchLog(args) => args.run().map(|()| ExitCode::SUCCESS),
        Tool::BenchBare(args) => args.serve().map(|()| ExitCode::SUCCESS),
    }
}
