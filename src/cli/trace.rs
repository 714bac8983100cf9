//! The process's own log, on standard error: what happens as it happens, for people and for what collects lines.
//!
//! Fields have the same names everywhere: `run_id`, `participant`, `command`, `principal`, `source`, `correlation_id`. There is a line for
//! each command of a client: what changes something at info, what only looks at debug, what is refused at warn. No request or answer is in
//! it, and so no secret. A server's lines are written by a thread of its own: where nobody takes them, they are lost and counted, and nothing
//! waits.

use std::fs::File;
use std::io::{self, IsTerminal, stderr};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::{LogFormat, ServerConfig};

/// Says what is logged, above all configuration.
const VARIABLE: &str = "HOLDFAST_LOG";

/// What is logged, to be changed while the server runs.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Lines of a server that wait to be written at most.
const WAITING: usize = 8192;

/// How often it is looked whether lines were lost.
const TELL_OF_LOST: Duration = Duration::from_secs(60);

/// Lines that were lost.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// For commands: lines for people, where the environment asks for them.
pub(super) fn for_commands() {
    start(told().unwrap_or_else(|| EnvFilter::new("off")), LogFormat::Text, BoxMakeWriter::new(stderr));
}

/// For the server: as it is configured, or as the environment says. What was not written yet is when the guard is dropped.
pub(super) fn for_server(server: &ServerConfig) -> io::Result<WorkerGuard> {
    // Not the locked one of the library: whoever else writes there would wait with it.
    let to = File::from(stderr().as_fd().try_clone_to_owned()?);
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING)
        .thread_name("holdfast-log-lines")
        .finish(to);
    let _ = LOST.set(writer.error_counter());
    start(told().unwrap_or_else(|| configured(server)), server.log, BoxMakeWriter::new(writer));
    Ok(guard)
}

/// Says from time to time how many lines were lost.
pub(super) async fn tell_of_lost_lines() {
    let Some(lost) = LOST.get() else { return };
    let mut told = 0;
    loop {
        tokio::time::sleep(TELL_OF_LOST).await;
        let lines = lost.dropped_lines();
        if lines > told {
            tracing::warn!(lines = lines - told, "lines of this log were lost: nobody took them in time");
            told = lines;
        }
    }
}

/// Takes over what is logged from now on. The form of the lines stays, and so does what the environment says.
pub(super) fn reload(server: &ServerConfig) {
    if told().is_some() {
        return;
    }
    if let Some(Err(error)) = FILTER.get().map(|filter| filter.reload(configured(server))) {
        tracing::warn!(%error, "what is logged cannot be changed");
    }
}

fn told() -> Option<EnvFilter> {
    EnvFilter::try_from_env(VARIABLE).ok().map(without_the_store)
}

/// The filter of the configuration, which was found to parse when it was read.
fn configured(server: &ServerConfig) -> EnvFilter {
    without_the_store(EnvFilter::builder().parse_lossy(&server.log_level))
}

/// sled frees what it holds while threads end, and says so after their place for lines is gone: at its finer levels that aborts the process.
fn without_the_store(filter: EnvFilter) -> EnvFilter {
    match "sled=warn".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

fn start(filter: EnvFilter, form: LogFormat, to: BoxMakeWriter) {
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(to);
    let lines = match form {
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    // A second start in one process keeps the first one's.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
}
