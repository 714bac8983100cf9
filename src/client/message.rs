//! Messages as a client sends and receives them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Raw;
use super::error::ClientError;
use super::events::Notice;
use crate::api::envelope::EventType;
use crate::api::{ApiError, Channel, ErrorCode, RawReply, Reply};

/// A request on its way.
#[derive(Serialize)]
struct Outgoing<'a> {
    command: &'a str,
    #[serde(rename = "extID")]
    ext_id: &'a str,
    data: &'a RawValue,
}

/// The line of a request.
pub(super) fn request(command: &str, ext_id: &str, data: &RawValue) -> Result<Vec<u8>, ClientError> {
    let mut line = serde_json::to_vec(&Outgoing { command, ext_id, data })
        .map_err(|error| ClientError::Unreadable(error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}

/// What a message is.
#[derive(Debug)]
pub(super) enum Incoming {
    /// The answer of a request; of none where the other end could not tell which.
    Answer { ext_id: Option<String>, result: Result<RawReply, ApiError> },
    /// Something that happened.
    Notice(Notice),
    /// Something this client has no use for.
    Other,
}

#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "extID")]
    ext_id: Option<String>,
    status: Option<u16>,
    data: Option<Raw>,
    error: Option<ErrorCode>,
    #[serde(default)]
    message: String,
    detail: Option<serde_json::Value>,
    #[serde(default)]
    retryable: bool,
    #[serde(default)]
    retry_after_ms: u64,
    event: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<EventType>,
    #[serde(default)]
    seq: u64,
}

/// Reads one message.
pub(super) fn read(line: &[u8]) -> Result<Incoming, serde_json::Error> {
    let fields: Fields = serde_json::from_slice(line)?;
    if let Some(event) = fields.event {
        let known = (event.parse::<Channel>().ok(), fields.event_type, fields.data);
        let (Some(channel), Some(event_type), Some(data)) = known else { return Ok(Incoming::Other) };
        return Ok(Incoming::Notice(Notice { channel, event_type, seq: fields.seq, data }));
    }
    let result = match (fields.error, fields.data) {
        (Some(code), _) => Err(ApiError {
            code,
            message: fields.message,
            detail: fields.detail,
            retryable: fields.retryable,
            retry_after_ms: fields.retry_after_ms,
        }),
        (None, Some(data)) => Ok(Reply { status: fields.status.unwrap_or(200), data }),
        (None, None) => return Ok(Incoming::Other),
    };
    Ok(Incoming::Answer { ext_id: fields.ext_id, result })
}
