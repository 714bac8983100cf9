//! `Ping`.

use holdfast_model::access::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Call, Command, Kind, Reply};

/// Says that the server answers.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Ping {}

/// It does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pong {}

impl Command for Ping {
    const NAME: &'static str = "Ping";
    const ROLE: Option<Role> = None;
    const KIND: Kind = Kind::Read;
    type Answer = Pong;

    async fn run(self, _call: &Call) -> Result<Reply<Pong>, ApiError> {
        Ok(Pong {}.into())
    }
}
