//! `serve`: the engine as a server, until it is told to stop.
//!
//! Standard output has what a supervisor waits for: where it listens, and what became of a reload with `--json`. All that happens is told in
//! the process's log, in its form.

mod admin;
mod service;

use std::time::{Duration, Instant};

use holdfast_log::owner::OwnerError;
use holdfast_model::run::{Outcome, Trigger};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::admin::FirstToken;
use self::service::Service;
use super::exit::{CliError, CliResult, Exit};
use super::interrupts::Interrupts;
use super::{Context, config, errors, trace};
use crate::api::Settings;
use crate::config::Config;
use crate::engine::{Backup, EngineError, Holdfast};
use crate::server::{Addresses, Server};

/// How long an engine that can record nothing any more still answers, before the process ends and its supervisor starts it anew.
const LOST_GRACE: Duration = Duration::from_secs(1);

pub(super) async fn serve(context: &Context) -> CliResult {
    let service = Service;
    service.status("starting");
    let mut signals = Signals::new()?;
    let engine = tokio::select! {
        engine = own(context) => engine.map_err(errors::engine)?,
        () = signals.again() => {
            tracing::info!("told to stop before it had begun");
            return Ok(Exit::Good);
        }
    };
    engine.settled().iter().for_each(|line| tracing::info!("{line}"));
    service.watch(engine.downgrade());
    tokio::spawn(trace::tell_of_lost_lines());
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
                reload(context, &engine, &mut server, &mut config).await;
                service.ready("serving");
            }
            Wish::Stop { grace } => break grace.unwrap_or(config.server.grace),
            Wish::Lost => break LOST_GRACE,
        }
    };
    let limit = end
        + STOPPING
        + if config.server.backup_on_shutdown { config.server.backup_on_shutdown_within } else { Duration::ZERO };
    let _stopping = service.stopping(limit);
    stop(engine, server, &config, end, &mut signals).await
}

/// The home, once whoever else has it gives it back.
async fn own(context: &Context) -> Result<Holdfast, EngineError> {
    let start = |wait| Holdfast::start(&context.home, context.start("serve", wait, true));
    match start(Duration::ZERO).await {
        Err(EngineError::Owner(OwnerError::Held { holder, .. })) if !context.lock_wait.is_zero() => {
            let seconds = context.lock_wait.as_secs();
            match holder {
                Some(holder) => tracing::warn!(
                    pid = holder.pid,
                    what = holder.what,
                    seconds,
                    "the home is in use: it is waited for"
                ),
                None => tracing::warn!(seconds, "the home is in use: it is waited for"),
            }
            start(context.lock_wait).await
        }
        started => started,
    }
}

/// What a stop takes beside the grace and the last backup.
const STOPPING: Duration = Duration::from_secs(30);

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
    match &token {
        FirstToken::Lies(path) => {
            out.value(&json!({ "message_type": "admin_token", "path": path }))?;
            out.line(format!("{:<9} {}", "token", path.display()))?;
        }
        FirstToken::Gone => {
            out.value(&json!({ "message_type": "admin_token", "path": null }))?;
            out.line(format!("{:<9} the first one was taken away; another admin's is good", "token"))?;
        }
        FirstToken::NoAdmin => {
            out.value(&json!({ "message_type": "admin_token", "path": null }))?;
            let how = "holdfast token create NAME --role admin";
            out.line(format!("{:<9} no admin has one that is good: `{how}` makes one", "token"))?;
            tracing::warn!("no admin has a token that is good: `{how}` makes one");
        }
    }
    for run in engine.resumed() {
        out.value(&json!({ "message_type": "resumed", "run_id": run.run_id }))?;
        let waited = run.watch.borrow().attempt() == 0;
        let (what, how) =
            if waited { ("queued", "which waits for its turn") } else { ("resumes", "which was interrupted") };
        out.line(format!("{what:<9} run {}, {how}", run.run_id))?;
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
        grace: config.server.grace,
        limits: limits.clone(),
    }
}

/// Takes the configuration over that lies there now. One that cannot be used changes nothing.
async fn reload(context: &Context, engine: &Holdfast, server: &mut Server, config: &mut Config) {
    let new = match config::reload(context.config_file.as_deref(), &context.home) {
        Ok(new) => new,
        Err(error) => {
            return tell(context, false, &format!("the configuration cannot be read, the one before stays: {error}"));
        }
    };
    let refuse = |error: &dyn std::fmt::Display| {
        tell(context, false, &format!("the configuration cannot be taken over, the one before stays: {error}"));
    };
    // All of it or nothing.
    if let Err(error) = server.reload(&new.server) {
        return refuse(&error);
    }
    if let Err(error) = engine.reconfigure(&new).await {
        if let Err(error) = server.reload(&config.server) {
            tracing::error!(%error, "the doors cannot go back to their settings before");
        }
        return refuse(&error);
    }
    engine.desk().set(settings(&new));
    trace::reload(&new.server);
    // What runs is what it was started with, whatever was read since.
    for key in context.config.needs_restart(&new) {
        tell(context, false, &format!("{key} is taken over by a restart only"));
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
}

/// Takes no new work, makes the last backup where that is wished for, gives what is at work its grace, and ends. What is open then is
/// resumed by the next start.
async fn stop(engine: Holdfast, server: Server, config: &Config, grace: Duration, signals: &mut Signals) -> CliResult {
    engine.desk().life().drain(grace);
    tracing::info!("stopping: no new work is taken; once more stops at once");
    let lost = engine.is_lost();
    let mut exit = Exit::Good;
    let ending = async {
        server.drain().await;
        if config.server.backup_on_shutdown && lost.is_none() {
            exit = last_backup(&engine, config.server.backup_on_shutdown_within).await;
        }
        // Clients stay to see how what is at work ends, to cancel it, or to have it stop sooner.
        let began = Instant::now();
        let ended = engine.drain(grace).await;
        // Somebody may have asked for less meanwhile.
        let grace = engine.desk().life().subscribe().borrow().map_or(grace, |less| less.min(grace));
        server.stop(grace.saturating_sub(began.elapsed())).await;
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
        tracing::warn!("a run is open: the next start resumes it");
    }
    Ok(exit)
}

/// The run of a stop, after what is open has ended; all within a limit. What comes of it is how the process ends.
async fn last_backup(engine: &Holdfast, within: Duration) -> Exit {
    let backup = async {
        engine.drain(within).await;
        let handle = engine.back_up(Backup::full().trigger(Trigger::Shutdown)).await?;
        tracing::info!(run_id = %handle.run_id, "a run before the stop");
        engine.wait(handle).await
    };
    match tokio::time::timeout(within, backup).await {
        Ok(Ok(run)) if run.outcome() == Some(Outcome::Completed) => Exit::Good,
        Ok(Ok(run)) => {
            let partial = run.outcome() == Some(Outcome::Partial);
            tracing::error!(error = run.error_summary(), "the run before the stop did not complete");
            if partial { Exit::Warnings } else { Exit::Failed }
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "no run before the stop");
            Exit::Failed
        }
        Err(_) => {
            tracing::error!("the run before the stop took too long: the next start resumes it");
            Exit::Failed
        }
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
