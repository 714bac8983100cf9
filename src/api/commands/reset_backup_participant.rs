//! `ResetBackupParticipant`.

use holdfast_model::access::Role;
use holdfast_model::ids::ParticipantName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::text::Reason;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};

/// Takes a participant out of quarantine: the next run tries it as often as others.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ResetBackupParticipant {
    /// Which participant.
    pub name: ParticipantName,
    /// Why, for the record.
    #[serde(default)]
    pub reason: Reason,
}

/// The participant is out of quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParticipantReset {
    /// It is so.
    pub ok: bool,
    /// Which participant.
    pub name: ParticipantName,
}

impl Command for ResetBackupParticipant {
    const NAME: &'static str = "ResetBackupParticipant";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::UnknownParticipant, ErrorCode::NotQuarantined];
    type Answer = ParticipantReset;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.to_string()), ("reason", self.reason.as_str().to_owned())]
    }

    async fn run(self, call: &Call) -> Result<Reply<ParticipantReset>, ApiError> {
        let registered = call.engine.participants().iter().any(|one| one.descriptor.name == self.name);
        let remembered = call.engine.read(|known| known.history.participants().contains_key(&self.name)).await?;
        if !registered && !remembered {
            let text = format!("no participant is called {}: GetBackupParticipants lists them", self.name);
            return Err(ApiError::new(ErrorCode::UnknownParticipant, text));
        }
        let reason = match self.reason.as_str() {
            "" => "asked by the user",
            reason => reason,
        };
        call.engine.lift_quarantine(&self.name, reason).await?;
        Ok(ParticipantReset { ok: true, name: self.name }.into())
    }
}
