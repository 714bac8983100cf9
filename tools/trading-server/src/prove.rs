//! The proof: backups under live traffic, each restored into a second instance, where the money must be all there is.
//!
//! The second instance is another exchange with data of its own that takes the home over for a moment; the first one trades on meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use holdfast::api::Dispatcher;
use holdfast::api::commands::StartRestoreRun;
use holdfast::engine::{Backup, Holdfast, Loss};
use holdfast::model::ids::RunId;
use holdfast::model::run::{Consistency, Outcome};
use serde_json::json;

use crate::exchange::{Exchange, MONEY, Modules};
use crate::participants::{self, Module};
use crate::traffic::Traffic;

/// How long the modules of an engine that has stopped may be held.
const LET_GO: Duration = Duration::from_secs(30);

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
    let home = options.dir.join("home");
    let modules = Modules::open(&options.dir.join("exchange"))?;
    let exchange = Exchange::start(modules.clone())?;
    let traffic = Traffic::start(&exchange, 4, options.orders)?;
    let consistency = match options.consistency {
        Together::Barrier => Consistency::Barrier,
        Together::Concurrent => Consistency::Concurrent,
    };
    let (mut whole, mut standstill) = (0, Duration::ZERO);
    modules.gate.longest_wait();
    for number in 1..=options.runs {
        let engine = participants::register(Holdfast::builder(&home), &modules)?.start().await?;
        let run = engine.back_up(Backup::full().consistency(consistency)).await?;
        let run_id = run.run_id;
        let run = engine.wait(run).await?;
        ensure!(run.outcome() == Some(Outcome::Completed), "run {run_id} did not complete: {}", run.error_summary());
        engine.stop().await;
        let held = run.barrier().map_or(Duration::ZERO, |barrier| Duration::from_micros(barrier.longest_us));
        standstill = standstill.max(held);
        let second = options.dir.join("second");
        restore(&home, run_id, &second).await.with_context(|| format!("run {run_id} is not restored"))?;
        let (accounts, open) = money(&second).await?;
        whole += u32::from(accounts + open == MONEY);
        println!(
            "run {number} of {}: {run_id}, stood still for {held:?}; restored: accounts {accounts} + open trades {open} = {}{}",
            options.runs,
            accounts + open,
            if accounts + open == MONEY { "" } else { ", which is NOT all there is" }
        );
        std::fs::remove_dir_all(&second)?;
    }
    let pause = modules.gate.longest_wait();
    let brought = traffic.brought();
    drop(traffic);
    exchange.stop()?;
    println!(
        "{whole} of {} {:?} backups are of one moment; {brought} orders meanwhile; the longest standstill was {standstill:?}, the longest pause of traffic {pause:?}",
        options.runs, consistency
    );
    ensure!(consistency == Consistency::Concurrent || whole == options.runs, "a barrier did not hold");
    Ok(())
}

/// The money in what was restored. What the engine still does about the restore's end may hold the modules for a moment.
async fn money(folder: &Path) -> anyhow::Result<(i64, i64)> {
    let until = Instant::now() + LET_GO;
    loop {
        match participants::money(folder) {
            Err(_) if Instant::now() < until => tokio::task::yield_now().await,
            money => return money,
        }
    }
}

/// Restores a run into the modules of another exchange, as it stands, and deletes the run.
async fn restore(home: &Path, run_id: RunId, folder: &Path) -> anyhow::Result<()> {
    let second = Modules::open(folder)?;
    let engine = participants::register(Holdfast::builder(home), &second)?.start().await?;
    let wish = serde_json::from_value::<StartRestoreRun>(json!({ "run_id": run_id, "force": true }))?;
    let restored = Dispatcher::new(engine.clone()).ask(&wish).await;
    if restored.is_ok() {
        engine.delete(run_id, Loss::Refused).await?;
    }
    engine.stop().await;
    drop(second);
    let restored = restored.map_err(|error| anyhow::anyhow!("{}: {}", error.code.as_str(), error.message))?;
    ensure!(restored.participants.len() == Module::ALL.len(), "{restored:?}");
    Ok(())
}
