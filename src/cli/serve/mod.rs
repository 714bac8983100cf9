//! `serve`: the engine as a server, until it is told to stop.

mod admin;
mod service;

use std::time::{Duration, Instant};

use holdfast_model::run::{Outcome, Trigger};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::service::Service;
use super::exit::{CliError, CliResult, Exit};
use super::interrupts::Interrupts;
use super::{Context, config, errors, trace};
use crate::api::Settings;
use crate::config::Config;
use crate::engine::{Backup, Holdfast};
use crate::server::{Addresses, Server};

/// How long an engine that can record nothing any more still answers, before the process ends and its supervisor starts it anew.
const LOST_GRACE: Duration = Duration::from_secs(1);

pub(super) async fn serve(context: &Context) -> CliResult {
    let service = Service::detect();
    service.status("starting");
    let mut signals = Signals::new()?;
    let start = context.start("serve", context.lock_wait, true);
    let engine = Holdfast::start(&context.home, start).await.map_err(errors::engine)?;
    engine.settled().iter().for_each(|line| context.output.note(line));
    let mut server = match open(context, &engine).await {
        Ok(server) => server,
        Err(error) => {
            engine.stop().await;
            return Err(error);
        }
    };
    service.ready("serving");
    let mut config = context.config.clone();
    let end = loop {
        match signals.next(&engine).await {
            Wish::Reload => {
                service.reloading();
                reload(context, &engine, &mut server, &mut config);
                service.ready("serving");
            }
            Wish::Stop { grace } => break grace.unwrap_or(config.server.grace),
            Wish::Lost => break LOST_GRACE,
        }
    };
    service.stopping();
    stop(context, engine, server, &config, end, &mut signals).await
}

/// Opens the doors and says where they are.
async fn open(context: &Context, engine: &Holdfast) -> Result<Server, CliError> {
    engine.desk().set(settings(&context.config));
    engine.desk().life().is_a_server();
    let token = admin::token(engine).await?;
    let server = Server::start(engine, &context.config.server)
        .map_err(|error| CliError::new(Exit::Failed, error.code(), &error, "See to [server] in the configuration."))?;
    let out = context.output;
    for (door, address) in doors(server.addresses()) {
        out.value(&json!({ "message_type": "listening", "door": door, "address": address }))?;
        out.line(format!("{door:<9} {address}"))?;
    }
    out.value(&json!({ "message_type": "admin_token", "path": token }))?;
    out.line(format!("{:<9} {}", "token", token.display()))?;
    for run in engine.resumed() {
        out.value(&json!({ "message_type": "resumed", "run_id": run.run_id }))?;
        out.line(format!("{:<9} run {}, which was interrupted", "resumes", run.run_id))?;
    }
    Ok(server)
}

/// Each door and where it is, as a client would name it.
fn doors(addresses: &Addresses) -> Vec<(&'static str, String)> {
    let scheme = if addresses.encrypted { "https" } else { "http" };
    let mut doors = Vec::new();
    doors.extend(addresses.tcp.map(|address| ("tcp", address.to_string())));
    doors.extend(addresses.http.map(|address| ("http", format!("{scheme}://{address}"))));
    doors.push(("socket", addresses.socket.display().to_string()));
    doors
}

/// What of the configuration the commands go by.
pub(super) fn settings(config: &Config) -> Settings {
    let limits = &config.server.limits;
    Settings {
        page: limits.page,
        page_max: limits.page_max,
        answer_bytes: limits.answer,
        queueing: config.runs.queueing,
        guesses_per_minute: limits.guesses_per_minute.get(),
        limits: limits.clone(),
    }
}

/// Takes the configuration over that lies there now. One that cannot be used changes nothing.
fn reload(context: &Context, engine: &Holdfast, server: &mut Server, config: &mut Config) {
    let new = match config::load(context.config_file.as_deref(), &context.home) {
        Ok(new) => new,
        Err(error) => {
            return tell(context, false, &format!("the configuration cannot be read, the one before stays: {error}"));
        }
    };
    for key in config.needs_restart(&new) {
        tell(context, false, &format!("{key} is taken over by a restart only"));
    }
    if let Err(error) = engine.reconfigure(&new) {
        return tell(context, false, &format!("the configuration cannot be taken over, the one before stays: {error}"));
    }
    engine.desk().set(settings(&new));
    trace::reload(&new.server);
    if let Err(error) = server.reload(&new.server) {
        tell(context, false, &format!("the doors go on with the settings before: {error}"));
    }
    tell(context, true, "the configuration was read again");
    *config = new;
}

/// Says what became of a reload, for whoever looks at the output and for the log.
fn tell(context: &Context, ok: bool, what: &str) {
    match ok {
        true => tracing::info!("{what}"),
        false => tracing::error!("{what}"),
    }
    let _ = context.output.value(&json!({ "message_type": "reload", "ok": ok, "message": what }));
    if ok { context.output.note(what) } else { context.output.alert(what) }
}

/// Takes no new work, makes the last backup where that is wished for, gives what is at work its grace, and ends. What is open then is
/// resumed by the next start.
async fn stop(
    context: &Context,
    engine: Holdfast,
    server: Server,
    config: &Config,
    grace: Duration,
    signals: &mut Signals,
) -> CliResult {
    engine.desk().life().drain(grace);
    context.output.note("stopping: no new work is taken; once more stops at once");
    let lost = engine.is_lost();
    let ending = async {
        server.drain().await;
        if config.server.backup_on_shutdown && lost.is_none() {
            last_backup(context, &engine, config.server.backup_on_shutdown_within).await;
        }
        // Clients stay to see how what is at work ends, to cancel it, or to have it stop sooner.
        let (ended, left) = wait_for_work(&engine, grace).await;
        server.stop(left).await;
        ended
    };
    let ended = tokio::select! {
        ended = ending => ended,
        () = signals.again() => false,
    };
    engine.desk().flush(&engine).await;
    engine.stop().await;
    if let Some(reason) = lost {
        let next = "What was recorded is safe. See to the disk (space, errors), then start again.";
        return Err(CliError::new(Exit::Failed, "LOG_LOST", reason, next));
    }
    if !ended {
        context.output.note("a run is open: the next start resumes it");
    }
    Ok(Exit::Good)
}

/// Waits until no run is open, for the grace at most, or for a shorter one that somebody asks for meanwhile. Says whether none is, and how
/// much of the grace is left.
async fn wait_for_work(engine: &Holdfast, grace: Duration) -> (bool, Duration) {
    let mut wishes = engine.desk().life().subscribe();
    let mut until = Instant::now() + grace;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        tokio::select! {
            ended = engine.drain(left) => return (ended, until.saturating_duration_since(Instant::now())),
            Ok(()) = wishes.changed() => {
                let sooner = wishes.borrow_and_update().map(|grace| Instant::now() + grace);
                until = sooner.map_or(until, |sooner| sooner.min(until));
            }
        }
    }
}

/// The run of a stop, after what is open has ended; all within a limit.
async fn last_backup(context: &Context, engine: &Holdfast, within: Duration) {
    let backup = async {
        engine.drain(within).await;
        let handle = engine.back_up(Backup::full().trigger(Trigger::Shutdown)).await?;
        context.output.note(format!("run {} before the stop", handle.run_id));
        engine.wait(handle).await
    };
    match tokio::time::timeout(within, backup).await {
        Ok(Ok(run)) if run.outcome() == Some(Outcome::Completed) => {}
        Ok(Ok(run)) => {
            context.output.alert(format!("the run before the stop did not complete: {}", run.error_summary()));
        }
        Ok(Err(error)) => context.output.alert(format!("no run before the stop: {error}")),
        Err(_) => context.output.alert("the run before the stop took too long: the next start resumes it"),
    }
}

/// What the server is asked to do.
enum Wish {
    Reload,
    Stop {
        grace: Option<Duration>,
    },
    /// Nothing can be recorded any more.
    Lost,
}

/// Signals, `StopBackupServer`, and a log that is lost: all that makes the server do something of its own.
struct Signals {
    stop: Interrupts,
    reload: Signal,
}

impl Signals {
    fn new() -> Result<Self, CliError> {
        let reload = signal(SignalKind::hangup()).map_err(|error| CliError::failed("SIGNALS", error))?;
        Ok(Self { stop: Interrupts::without_hang_up()?, reload })
    }

    async fn next(&mut self, engine: &Holdfast) -> Wish {
        let mut stops = engine.desk().life().subscribe();
        tokio::select! {
            () = self.stop.next() => Wish::Stop { grace: None },
            _ = self.reload.recv() => Wish::Reload,
            Ok(stop) = stops.wait_for(Option::is_some) => Wish::Stop { grace: *stop },
            _ = engine.until_lost() => Wish::Lost,
        }
    }

    /// Waits for a second request to stop.
    async fn again(&mut self) {
        self.stop.next().await;
    }
}
