//! `GetBackupParticipants`.

use holdfast_model::access::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Call, Command, Kind, Reply};
use crate::engine::ParticipantRow;

/// The participants and how they stand: those of the configuration and of the application, then those that are only remembered.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetBackupParticipants {}

/// All participants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ParticipantRows {
    /// A participant each.
    pub rows: Vec<ParticipantRow>,
}

impl Command for GetBackupParticipants {
    const NAME: &'static str = "GetBackupParticipants";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    type Answer = ParticipantRows;

    async fn run(self, call: &Call) -> Result<Reply<ParticipantRows>, ApiError> {
        Ok(ParticipantRows { rows: call.engine.participant_rows().await? }.into())
    }
}
