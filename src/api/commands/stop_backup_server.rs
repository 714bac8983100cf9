//! `StopBackupServer`.

use std::time::Duration;

use holdfast_model::access::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint_row::within;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};

/// Longest grace, in seconds: a day.
const MAX_GRACE: u64 = 86_400;

/// Tells the server to stop. It answers at once, takes no new work, gives what is open its grace, and ends; what is open then goes on at
/// the next start.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StopBackupServer {
    /// How long open work has to end by itself, in seconds; as configured where nothing is said. Of several requests the shortest holds.
    #[serde(default)]
    #[schemars(range(min = 0, max = 86_400))]
    pub grace_s: Option<u64>,
}

/// The server is about to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stopping {
    /// It is so.
    pub ok: bool,
}

impl Command for StopBackupServer {
    const NAME: &'static str = "StopBackupServer";
    const ROLE: Option<Role> = Some(Role::Admin);
    const KIND: Kind = Kind::Change;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotAServer];
    type Answer = Stopping;

    fn check(&self) -> Result<(), ApiError> {
        self.grace_s.map_or(Ok(()), |grace| within("grace_s", grace, &(0..=MAX_GRACE)))
    }

    fn recorded(&self) -> Vec<(&'static str, String)> {
        self.grace_s.map(|grace| ("grace_s", grace.to_string())).into_iter().collect()
    }

    async fn run(self, call: &Call) -> Result<Reply<Stopping>, ApiError> {
        let life = call.desk.life();
        if !life.can_stop() {
            let text = "no server answers here: what does ends by itself, with its work";
            return Err(ApiError::new(ErrorCode::NotAServer, text));
        }
        // While there is a log to record it in.
        call.accepted(&[]).await?;
        life.stop(self.grace_s.map_or(call.desk.settings().grace, Duration::from_secs));
        Ok(Stopping { ok: true }.into())
    }
}
