//! The proof: backups under live traffic, each loaded into a second instance, where the money must be all there is.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use holdfast::engine::{Backup, Holdfast};
use holdfast::model::ids::RunId;
use holdfast::model::run::{Consistency, Outcome, Run};
use holdfast::restore::RunSource;

use crate::exchange::{Exchange, MONEY, Modules};
use crate::participants::{self, Module};
use crate::traffic::Traffic;

#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// A folder for the exchange, the backups and the second instances; a new one
    #[arg(long, value_name = "DIR")]
    dir: std::path::PathBuf,
    /// Backups
    #[arg(long, value_name = "N", default_value_t = 100)]
    runs: u32,
    /// Whether all modules stand still together
    #[arg(long, value_enum, default_value_t = Together::Barrier)]
    consistency: Together,
    /// Orders a second; 0 for as many as are taken
    #[arg(long, value_name = "N", default_value_t = 4000)]
    orders: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Together {
    Barrier,
    Concurrent,
}

/// Backs up and loads, so many times.
pub(crate) async fn prove(options: &Prove) -> anyhow::Result<()> {
    let modules = Modules::open(&options.dir.join("exchange"))?;
    let engine = participants::register(Holdfast::builder(options.dir.join("home")), &modules)?.start().await?;
    let exchange = Exchange::start(modules.clone())?;
    let traffic = Traffic::start(&exchange, 4, options.orders)?;
    let consistency = match options.consistency {
        Together::Barrier => Consistency::Barrier,
        Together::Concurrent => Consistency::Concurrent,
    };
    let (mut whole, mut standstill) = (0, Duration::ZERO);
    modules.gate.longest_wait();
    for number in 1..=options.runs {
        let run = engine.back_up(Backup::full().consistency(consistency)).await?;
        let run_id = run.run_id;
        let run = engine.wait(run).await?;
        ensure!(run.outcome() == Some(Outcome::Completed), "run {run_id} did not complete: {}", run.error_summary());
        let held = run.barrier().map_or(Duration::ZERO, |barrier| Duration::from_micros(barrier.longest_us));
        standstill = standstill.max(held);
        let second = options.dir.join("second");
        let (accounts, open) = load(&engine, &run, &second)?;
        whole += u32::from(accounts + open == MONEY);
        println!(
            "run {number} of {}: {run_id}, stood still for {held:?}; loaded: accounts {accounts} + open trades {open} = {}{}",
            options.runs,
            accounts + open,
            if accounts + open == MONEY { "" } else { ", which is NOT all there is" }
        );
        std::fs::remove_dir_all(&second)?;
        delete(&engine, run_id).await?;
    }
    let pause = modules.gate.longest_wait();
    let brought = traffic.brought();
    drop(traffic);
    exchange.stop()?;
    engine.stop().await;
    println!(
        "{whole} of {} {:?} backups are of one moment; {brought} orders meanwhile; the longest standstill was {standstill:?}, the longest pause of traffic {pause:?}",
        options.runs, consistency
    );
    ensure!(consistency == Consistency::Concurrent || whole == options.runs, "a barrier did not hold");
    Ok(())
}

/// Loads a run into fresh modules: what is in their accounts, and in their open trades.
fn load(engine: &Holdfast, run: &Run, folder: &Path) -> anyhow::Result<(i64, i64)> {
    let source = RunSource::open(engine.home(), run, None, false)?;
    let modules = Modules::open(folder)?;
    for module in Module::ALL {
        let artifact = source.artifacts().iter().find(|one| one.logical_name.as_str() == module.artifact());
        let artifact = artifact.with_context(|| format!("the run has no {}", module.artifact()))?;
        participants::load(&modules, module, source.reader(artifact)?.stream())?;
    }
    drop(modules);
    participants::money(folder)
}

async fn delete(engine: &Holdfast, run_id: RunId) -> anyhow::Result<()> {
    engine.delete(run_id).await?;
    Ok(())
}
