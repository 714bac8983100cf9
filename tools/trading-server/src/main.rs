//! A small exchange with Holdfast inside: four modules with a storage of their own each, traffic that moves money between them, and one sum
//! that has to be the same at any moment that is one.

mod accounts;
mod exchange;
mod files;
mod gate;
mod participants;
mod prove;
mod restoring;
mod serve;
mod staff;
mod symbols;
mod trades;
mod traffic;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};

use self::exchange::{Exchange, MONEY, Modules};
use self::traffic::Traffic;

/// A small exchange with Holdfast inside.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trade, and take commands for backups
    Serve(serve::Serve),
    /// Back up under traffic, and load each backup into a second instance
    Prove(prove::Prove),
    /// Trade for some seconds
    Trade {
        /// Where the modules keep their data
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// For so long, in seconds
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Sum up the money in accounts and trades
    Check {
        /// Where the modules keep their data
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve(options) => serve::serve(&options).await,
        Command::Prove(options) => prove::prove(&options).await,
        Command::Trade { data, seconds } => {
            let exchange = Exchange::start(Modules::open(&data)?)?;
            let traffic = Traffic::start(&exchange, 4, 0)?;
            let until = Instant::now() + Duration::from_secs(seconds);
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
            let orders = traffic.brought();
            drop(traffic);
            exchange.stop()?;
            println!("{orders} orders in {seconds} s");
            check(&data)
        }
        Command::Check { data } => check(&data),
    }
}

fn check(data: &std::path::Path) -> anyhow::Result<()> {
    anyhow::ensure!(data.join("trades.log").exists(), "there is no exchange in {}", data.display());
    let modules = Modules::open(data)?;
    let _closed = modules.gate.close();
    let accounts: i64 = modules.accounts.capture()?.balances()?.values().sum();
    let mut text = Vec::new();
    modules.trades.capture()?.write(&mut text)?;
    let book = trades::book(&text[..])?;
    let open = book.sum();
    println!("accounts {accounts} + open trades {open} = {}, of {MONEY}; {} trades", accounts + open, book.last);
    anyhow::ensure!(accounts + open == MONEY, "money came from nowhere or is gone");
    Ok(())
}
