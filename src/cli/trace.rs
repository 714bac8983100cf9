//! The process's own log, on standard error: what happens as it happens, for people and for what collects lines.
//!
//! Fields have the same names everywhere: `run_id`, `participant`, `command`, `principal`, `source`, `correlation_id`. There is a line for
//! each command of a client: what changes something at info, what only looks at debug, what is refused at warn. No request or answer is in
//! it, and so no secret.

use std::io::{IsTerminal, stderr};
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::{LogFormat, ServerConfig};

/// Says what is logged, above all configuration.
const VARIABLE: &str = "HOLDFAST_LOG";

/// What is logged, to be changed while the server runs.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// For commands: lines for people, where the environment asks for them.
pub(super) fn for_commands() {
    start(told().unwrap_or_else(|| EnvFilter::new("off")), LogFormat::Text);
}

/// For the server: as it is configured, or as the environment says.
pub(super) fn for_server(server: &ServerConfig) {
    start(told().unwrap_or_else(|| configured(server)), server.log);
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
    EnvFilter::try_from_env(VARIABLE).ok()
}

/// The filter of the configuration, which was found to parse when it was read.
fn configured(server: &ServerConfig) -> EnvFilter {
    EnvFilter::builder().parse_lossy(&server.log_level)
}

fn start(filter: EnvFilter, form: LogFormat) {
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(stderr);
    let lines = match form {
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    // A second start in one process keeps the first one's.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
}
