//! `ledger`: a small application that backs itself up.
//!
//! It moves money between accounts, a thousand times a second, and owns two stores: [`accounts`](accounts::Accounts), whose balances are
//! in memory and whose journal is flushed now and then; and [`audit`](audit::Audit), a binary file behind an async interface. Both are
//! participants of the engine it has inside. Killed at any instant, it finds its own data whole at the next start, and goes on with the
//! backup that was under way.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use holdfast::engine::{Backup, Events, Holdfast, RunHandle};
use holdfast::model::ids::Position;
use holdfast::model::run::RunStatus;
use holdfast::participant::Descriptor;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

mod accounts;
mod audit;

use self::accounts::Accounts;
use self::audit::Audit;

/// So many transfers are in memory only at most. A participant that did not flush would miss them.
const FLUSH_AFTER: usize = 50;

/// A ledger that backs itself up
#[derive(Debug, Parser)]
#[command(name = "ledger", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep the books, and back them up, until interrupted
    Run(Options),
}

#[derive(Debug, Args)]
struct Options {
    /// Where the backups and their event log are
    #[arg(long, value_name = "DIR")]
    home: PathBuf,
    /// Where the ledger's own files are
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// How many accounts a new ledger has
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..))]
    accounts: u32,
    /// Time between two backups: `250ms`, `1s`, `5m`
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    backup_every: Duration,
    /// End after so many new backups
    #[arg(long, value_name = "N")]
    runs: Option<u32>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a number and one of ms, s, m, for example 250ms".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(wrong()),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(options) => run(options).await,
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    std::fs::create_dir_all(&options.data).with_context(|| format!("cannot make {}", options.data.display()))?;
    let (audit, noted) = Audit::open(&options.data.join("audit.bin"))?;
    let journal = options.data.join("accounts.journal");
    let (accounts, missing) = Accounts::open(&journal, options.accounts, noted)?;
    println!(
        "ledger: {} transfers are on the books, {} of them new to the auditors",
        accounts.transfers(),
        missing.len()
    );
    audit.append(&missing).await?;

    let engine = Holdfast::builder(&options.home)
        .participant("accounts", accounts.clone())
        // What the auditors want to see is nothing to fail a backup of the balances for.
        .participant_with(Descriptor::new("audit")?.optional(), audit.participant(Handle::current()))
        .start()
        .await?;
    let (shown, mut is_shown) = watch::channel(Position::START);
    tokio::spawn(print_events(engine.events(Position::START), shown));
    let work = tokio::spawn(keep_books(accounts, audit));

    tokio::select! {
        result = back_up(&engine, &options) => result?,
        result = work => result??,
        result = tokio::signal::ctrl_c() => result?,
    }
    let head = engine.head();
    timeout(Duration::from_secs(10), is_shown.wait_for(|shown| *shown >= head))
        .await
        .context("events are not read")??;
    engine.stop().await;
    Ok(())
}

/// Goes on with what an earlier process left, then backs up again and again.
async fn back_up(engine: &Holdfast, options: &Options) -> anyhow::Result<()> {
    for run in engine.resumed() {
        println!("recovery: goes on with run {}", run.run_id);
        follow(engine, run.clone()).await?;
    }
    let mut ticks = interval(options.backup_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut made = 0;
    while options.runs.is_none_or(|runs| made < runs) {
        ticks.tick().await;
        let run = engine.back_up(Backup::full()).await?;
        println!("run {} was asked for", run.run_id);
        follow(engine, run).await?;
        made += 1;
    }
    Ok(())
}

/// Prints how far a run has come, and its end.
async fn follow(engine: &Holdfast, run: RunHandle) -> anyhow::Result<()> {
    let mut updates = engine.progress_updates(run.clone());
    while let Some(progress) = updates.next().await {
        println!("progress {}: {:.0} % {}", progress.run_id, progress.overall_percent, progress.message);
    }
    let run_id = run.run_id;
    let ended = engine.wait(run).await?;
    let status = ended.outcome().map_or("open", |outcome| RunStatus::from(outcome).as_str());
    println!("run {run_id} ended: {status}, attempt {}, {}", ended.attempt(), ended.error_summary());
    Ok(())
}

/// Prints every event of the log, those of earlier processes too, until the engine is stopped.
async fn print_events(mut events: Events, shown: watch::Sender<Position>) {
    while let Ok(batch) = events.next(100).await {
        for event in batch {
            println!("event {} {} {}", event.position, event.stream, event.event_type);
            shown.send_replace(event.position);
        }
    }
}

/// Moves money about. The auditors are told of transfers that are on the disk, and of no other.
async fn keep_books(accounts: Accounts, audit: Audit) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_millis(1));
    let mut made = Vec::new();
    loop {
        ticks.tick().await;
        made.push(accounts.transfer()?);
        if made.len() == FLUSH_AFTER {
            let flushing = accounts.clone();
            tokio::task::spawn_blocking(move || flushing.flush()).await??;
            audit.append(&made).await?;
            made.clear();
        }
    }
}
