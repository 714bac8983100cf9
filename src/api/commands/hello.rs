//! `Hello`.

use holdfast_model::access::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Call, Channel, Command, Kind, Reply};

/// Says who the server is and what it can do. Needs no token.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Hello {}

/// Who the server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Welcome {
    /// The program's version.
    pub version: String,
    /// What a client may ask for, and at most how much.
    pub limits: HelloLimits,
    /// What it can do that not every server of this kind, or of this one's configuration, can: the channels one can subscribe to, and
    /// `idempotency_key` (a backup that is asked for twice is begun once), `since_seq_by_channel` (each channel from its own position on),
    /// `token_per_message`, and `queueing` (a backup that is asked for while one is open waits for its turn).
    pub features: Vec<String>,
    /// Which installation it is; empty for those who have shown no token.
    pub server_id: String,
    /// Names this stay of the server's process.
    pub epoch: String,
}

/// Bounds a client meets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HelloLimits {
    /// Rows of a list where nothing is asked for.
    pub page: u64,
    /// Rows of a list at most.
    pub page_max: u64,
    /// Longest answer in bytes.
    pub answer_bytes: u64,
    /// Longest message in bytes, once a token was shown.
    pub message: u64,
    /// Longest message in bytes before that.
    pub message_before_auth: u64,
    /// Requests a connection may make in a second, over time.
    pub requests_per_second: u64,
    /// Requests it may make at once.
    pub burst: u64,
    /// Requests of a connection that may wait for their answers.
    pub in_flight: u64,
    /// Channels a connection may be subscribed to.
    pub channels: u64,
    /// Bytes that wait for a client to take them; one that leaves them for too long is closed.
    pub outbox_bytes: u64,
}

/// What every server can do, whatever its configuration.
const ALWAYS: [&str; 3] = ["idempotency_key", "since_seq_by_channel", "token_per_message"];

impl Command for Hello {
    const NAME: &'static str = "Hello";
    const ROLE: Option<Role> = None;
    const KIND: Kind = Kind::Read;
    type Answer = Welcome;

    async fn run(self, call: &Call) -> Result<Reply<Welcome>, ApiError> {
        let settings = call.desk.settings();
        let limits = &settings.limits;
        let channels = Channel::ALL.iter().map(|channel| channel.as_str());
        let mut features: Vec<String> = channels.chain(ALWAYS).map(Into::into).collect();
        if settings.queueing {
            features.push("queueing".into());
        }
        let known = call.caller.principal.is_some();
        let server_id = if known { call.engine.home().identity().server_id.to_string() } else { String::new() };
        Ok(Welcome {
            version: env!("CARGO_PKG_VERSION").into(),
            limits: HelloLimits {
                page: settings.page as u64,
                page_max: settings.page_max as u64,
                answer_bytes: settings.answer_bytes as u64,
                message: limits.message as u64,
                message_before_auth: limits.message_before_auth as u64,
                requests_per_second: limits.requests_per_second.get().into(),
                burst: limits.burst.get().into(),
                in_flight: limits.in_flight as u64,
                channels: limits.channels as u64,
                outbox_bytes: limits.outbox_bytes as u64,
            },
            features,
            server_id,
            epoch: call.desk.epoch().into(),
        }
        .into())
    }
}
