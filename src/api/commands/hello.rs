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
    /// What it can do: the channels one can subscribe to, and whether backups that are asked for may wait.
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
}

impl Command for Hello {
    const NAME: &'static str = "Hello";
    const ROLE: Option<Role> = None;
    const KIND: Kind = Kind::Read;
    type Answer = Welcome;

    async fn run(self, call: &Call) -> Result<Reply<Welcome>, ApiError> {
        let settings = call.desk.settings();
        let mut features: Vec<_> = Channel::ALL.iter().map(ToString::to_string).collect();
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
            },
            features,
            server_id,
            epoch: call.desk.epoch().into(),
        }
        .into())
    }
}
