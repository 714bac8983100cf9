//! Events to bytes and back. The only place that names bincode.
//!
//! bincode writes fields one after the other without names, so a form must never change: not its fields, not their
//! order, not their types. Integers are of variable length, little-endian; a payload is at most [`MAX_PAYLOAD`] bytes,
//! and all of them must be consumed. The format is that of bincode 2's `standard` configuration.

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::aggregate::Moment;
use crate::event::Event;
use crate::ids::{Position, StreamId, Timestamp, Version};
use crate::record::{EventType, MAX_PAYLOAD, NewRecord, Record};

/// Why an event could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It does not fit.
    #[error("the event is larger than {MAX_PAYLOAD} bytes")]
    TooLarge,
    /// A newer program wrote it.
    #[error("event type {} in version {version} is not known to this program: use the newer program that wrote it", event_type.0)]
    Unknown {
        /// Its number.
        event_type: EventType,
        /// The version of its form.
        version: u16,
    },
    /// The bytes are not of the form they should be.
    #[error("the event's payload cannot be read: {0}")]
    Malformed(String),
}

/// What reading one payload may take of memory. bincode counts a number by its full width, however short it is written,
/// so a payload counts for up to eight times its bytes.
const READ_LIMIT: usize = 8 * MAX_PAYLOAD;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<READ_LIMIT>()
}

pub(crate) fn encode_payload<T: Serialize>(form: &T) -> Result<Vec<u8>, CodecError> {
    let bytes =
        bincode::serde::encode_to_vec(form, config()).map_err(|error| CodecError::Malformed(error.to_string()))?;
    if bytes.len() > MAX_PAYLOAD { Err(CodecError::TooLarge) } else { Ok(bytes) }
}

pub(crate) fn decode_payload<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > MAX_PAYLOAD {
        return Err(CodecError::TooLarge);
    }
    let (form, consumed) =
        bincode::serde::decode_from_slice(bytes, config()).map_err(|error| CodecError::Malformed(error.to_string()))?;
    match bytes.len() - consumed {
        0 => Ok(form),
        rest => Err(CodecError::Malformed(format!("{rest} bytes follow its end"))),
    }
}

/// Who asked for what is about to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who asked, for example `local:uid=0`.
    pub principal: String,
    /// The command; equal for all that follows from it.
    pub correlation_id: Uuid,
}

/// An event as it lies in the log, read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Envelope {
    /// Place in the whole log.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Place in its stream.
    pub version: Version,
    /// When it was recorded, in microseconds since 1970.
    pub time: Timestamp,
    /// Who it is.
    pub event_id: Uuid,
    /// The command that led to it.
    pub correlation_id: Uuid,
    /// Who asked.
    pub principal: String,
    /// Its name.
    #[serde(rename = "type")]
    pub event_type: &'static str,
    /// The fact.
    pub data: Event,
}

impl Envelope {
    /// Reads a record.
    ///
    /// # Errors
    /// [`CodecError`] where its payload is not what its type says.
    pub fn read(record: Record) -> Result<Self, CodecError> {
        let body = record.body;
        let data = Event::decode(body.event_type, body.schema_version, &body.payload)?;
        Ok(Self {
            position: record.position,
            stream: record.stream,
            version: record.version,
            time: body.time,
            event_id: body.event_id,
            correlation_id: body.correlation_id,
            principal: body.principal,
            event_type: data.name(),
            data,
        })
    }

    /// What state depends on.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { time: self.time, principal: self.principal.clone() }
    }
}

/// Makes an event ready for the log.
///
/// # Errors
/// [`CodecError::TooLarge`] where it does not fit.
pub fn record(event: &Event, event_id: Uuid, time: Timestamp, origin: &Origin) -> Result<NewRecord, CodecError> {
    let (event_type, schema_version) = event.event_type();
    Ok(NewRecord {
        event_type,
        schema_version,
        time,
        event_id,
        correlation_id: origin.correlation_id,
        principal: crate::failure::cut(&origin.principal, crate::record::MAX_PRINCIPAL).to_owned(),
        payload: event.encode()?,
    })
}
