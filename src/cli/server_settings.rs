//! `[server]` of a configuration, as `config check` shows it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::config::duration;
use super::output;
use crate::config::{Origin, ServerConfig, ServerLimits};

/// Some lines for people.
pub(super) fn as_text(server: &ServerConfig) -> Vec<String> {
    let ServerLimits { connections, in_flight, requests_per_second, message, answer, .. } = &server.limits;
    let size = |bytes: usize| output::size(bytes as u64);
    let tls = match &server.tls {
        Some(files) => {
            format!("TLS with {}", output::printable(files.cert.to_string_lossy().as_bytes()))
        }
        None => "no TLS".to_owned(),
    };
    let origins = match server.allowed_origins.as_slice() {
        [] => String::new(),
        origins => format!("; browsers from {}", origins.iter().map(Origin::as_str).collect::<Vec<_>>().join(" ")),
    };
    let backup = match server.backup_on_shutdown {
        true => format!("a backup of at most {}, then ", duration(server.backup_on_shutdown_within)),
        false => String::new(),
    };
    vec![
        format!("serve: TCP {}, HTTP {}, {tls}{origins}", place(server.tcp), place(server.http)),
        format!(
            "a stop gives {backup}{} of grace; the log is {}, {}",
            duration(server.grace),
            server.log.as_str(),
            output::printable(server.log_level.as_bytes())
        ),
        format!(
            "{connections} connections, each {in_flight} requests at a time, {requests_per_second} a second, of {}; \
             answers of {}",
            size(*message),
            size(*answer)
        ),
    ]
}

fn place(address: Option<SocketAddr>) -> String {
    address.map_or("off".to_owned(), |address| address.to_string())
}

/// All of it, for programs.
pub(super) fn as_json(server: &ServerConfig) -> Value {
    let limits = &server.limits;
    json!({
        "tcp": place(server.tcp),
        "http": place(server.http),
        "tls_cert": server.tls.as_ref().map(|files| &files.cert),
        "tls_key": server.tls.as_ref().map(|files| &files.key),
        "insecure": server.insecure,
        "allowed_origins": server.allowed_origins.iter().map(Origin::as_str).collect::<Vec<_>>(),
        "backup_on_shutdown": server.backup_on_shutdown,
        "backup_on_shutdown_within_seconds": server.backup_on_shutdown_within.as_secs_f64(),
        "grace_seconds": server.grace.as_secs_f64(),
        "log": server.log.as_str(),
        "log_level": server.log_level,
        "metrics_public": server.metrics_public,
        "limits": {
            "message_before_auth_bytes": limits.message_before_auth,
            "message_bytes": limits.message,
            "answer_bytes": limits.answer,
            "page": limits.page,
            "page_max": limits.page_max,
            "ws_idle_seconds": limits.ws_idle.as_secs_f64(),
            "ws_ping_seconds": limits.ws_ping.as_secs_f64(),
            "ws_pong_seconds": limits.ws_pong.as_secs_f64(),
            "tcp_idle_seconds": limits.tcp_idle.as_secs_f64(),
            "unauthenticated_per_address": limits.unauthenticated_per_address,
            "outbox_bytes": limits.outbox_bytes,
            "outbox_messages": limits.outbox_messages,
            "slow_consumer_seconds": limits.slow_consumer.as_secs_f64(),
            "connections": limits.connections,
            "in_flight": limits.in_flight,
            "channels": limits.channels,
            "requests_per_second": limits.requests_per_second,
            "burst": limits.burst,
            "guesses_per_minute": limits.guesses_per_minute,
            "progress_per_second": limits.progress_per_second,
        },
    })
}
