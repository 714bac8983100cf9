//! The exchange as a server: it trades, and Holdfast inside backs it up when somebody asks by one of its doors.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use holdfast::config::{Config, ServerConfig};
use holdfast::engine::Holdfast;
use holdfast::model::run::Consistency;
use holdfast::server::Server;
use tokio::signal::unix::{SignalKind, signal};

use crate::exchange::{Exchange, Modules};
use crate::participants;
use crate::traffic::Traffic;

/// How long clients have to come to an end.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where the modules keep their data
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where the backups and their event log are
    #[arg(long, value_name = "DIR")]
    home: PathBuf,
    /// Where commands are taken as lines
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7420")]
    tcp: SocketAddr,
    /// Where commands are taken over HTTP, and WebSockets at /ws
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7421")]
    http: SocketAddr,
    /// Orders a second; 0 for as many as are taken
    #[arg(long, value_name = "N", default_value_t = 4000)]
    orders: u32,
}

/// Trades and serves until it is told to stop.
pub(crate) async fn serve(options: &Serve) -> anyhow::Result<()> {
    let modules = Modules::open(&options.data)?;
    let mut config = Config::default();
    // All four at one moment, where whoever asks does not say otherwise.
    config.runs.consistency = Consistency::Barrier;
    let builder = Holdfast::builder(&options.home).config(config);
    let engine = participants::register(builder, &modules)?.start().await?;
    let doors = ServerConfig { tcp: Some(options.tcp), http: Some(options.http), ..ServerConfig::default() };
    engine.desk().life().is_a_server();
    let mut stops = engine.desk().life().subscribe();
    let server = Server::start(&engine, &doors)?;
    let exchange = Exchange::start(modules)?;
    let traffic = Traffic::start(&exchange, 4, options.orders)?;
    println!(
        "trading; backups by lines on {}, by HTTP on {}",
        shown(server.addresses().tcp),
        shown(server.addresses().http)
    );
    println!("a token: holdfast --home {} token create NAME --role admin", options.home.display());
    println!("a backup: holdfast --home {} backup", options.home.display());

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
        _ = stops.wait_for(Option::is_some) => {}
    }
    server.stop(GRACE).await;
    engine.stop().await;
    let brought = traffic.brought();
    drop(traffic);
    exchange.stop()?;
    println!("{brought} orders");
    Ok(())
}

fn shown(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "nothing".to_owned(), |address| address.to_string())
}
