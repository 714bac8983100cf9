//! `Auth`.

use holdfast_model::access::Role;
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::api::text::Secret;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reach, Reply, access};

/// Says once who this connection speaks for, by a token.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Auth {
    /// The token.
    pub token: Secret,
}

/// Who the connection speaks for from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Authenticated {
    /// What it may do.
    pub role: Role,
    /// Who it is, as the log has it.
    pub name: String,
}

impl Command for Auth {
    const NAME: &'static str = "Auth";
    const ROLE: Option<Role> = None;
    const KIND: Kind = Kind::Read;
    const REACH: Reach = Reach::Connections;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::InvalidToken];
    type Answer = Authenticated;

    async fn run(self, call: &Call) -> Result<Reply<Authenticated>, ApiError> {
        let token = self.token.into_inner();
        let principal = access::authenticate(&call.engine, token.expose_secret(), &call.caller.source).await?;
        let told = Authenticated { role: principal.role, name: principal.name.clone() };
        if let Some(session) = &call.session {
            session.authenticate(principal);
        }
        Ok(told.into())
    }
}
