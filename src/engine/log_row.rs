//! Recorded events as rows for people.

use holdfast_model::codec::Envelope;
use holdfast_model::ids::Position;
use holdfast_model::story::{Level, LogLine};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A recorded event, told in a sentence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogRow {
    /// When, in Unix seconds.
    pub time: i64,
    /// How much somebody has to care.
    pub level: Level,
    /// The event's name.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The participant it is about; empty for none.
    pub participant: String,
    /// The endpoint it is about; empty for none.
    pub endpoint: String,
    /// What happened.
    pub message: String,
    /// The event's own fields.
    pub details: serde_json::Value,
    /// Its place in the event log.
    pub position: Position,
}

impl From<&Envelope> for LogRow {
    fn from(envelope: &Envelope) -> Self {
        let LogLine { level, participant, endpoint, message } = LogLine::of(envelope);
        let details = serde_json::to_value(&envelope.data).unwrap_or_default();
        Self {
            time: envelope.time.seconds(),
            level,
            event_type: envelope.event_type.to_owned(),
            participant,
            endpoint,
            message,
            details,
            position: envelope.position,
        }
    }
}
