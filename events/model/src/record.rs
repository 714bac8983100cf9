//! The envelope: what the log stores of an event, in a fixed byte form of its own.
//!
//! ```text
//! offset  size  field                         all integers little-endian
//!      0     1  format version, 1
//!      1     1  length of the principal's name, p
//!      2     1  length of the stream's name, s
//!      3     1  zero
//!      4     4  event type
//!      8     2  schema version of the payload
//!     10     2  length of the payload, n
//!     12     8  position
//!     20     8  version in the stream
//!     28     8  time, microseconds since 1970, signed
//!     36    16  event id (UUIDv7)
//!     52    16  correlation id: the command that led to it
//!     68     p  principal: who asked
//!   68+p     s  stream
//! 68+p+s     n  payload
//! ```
//!
//! The payload is opaque here; [`crate::codec`] reads it. The header is outside of it so that a log can be listed, checked
//! and copied by a program that knows none of its event types.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{Position, StreamId, Timestamp, Version};

/// Which fact an event states. The table of them is in [`crate::codec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventType(pub u32);

/// Longest payload in bytes. Larger facts are split over several events.
pub const MAX_PAYLOAD: usize = 6 * 1024;
/// Longest name of a principal in bytes.
pub const MAX_PRINCIPAL: usize = 128;
const FORMAT: u8 = 1;
const HEADER: usize = 68;

/// An event on its way into the log: everything but its places, which the log gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// What happened.
    pub event_type: EventType,
    /// Version of the payload's form.
    pub schema_version: u16,
    /// When, by the clock of the machine.
    pub time: Timestamp,
    /// Who this event is (UUIDv7).
    pub event_id: Uuid,
    /// The command that led to it; equal for all events of one command.
    pub correlation_id: Uuid,
    /// Who asked, for example `local:uid=0`.
    pub principal: String,
    /// The fact in its wire form.
    pub payload: Vec<u8>,
}

/// An event in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Place in the whole log.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Place in its stream.
    pub version: Version,
    /// The rest of it.
    pub body: NewRecord,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer or more bytes than the header announces.
    #[error("the record has {found} bytes where its header announces {announced}")]
    Length {
        /// Bytes announced.
        announced: usize,
        /// Bytes found.
        found: usize,
    },
    /// A newer program wrote it.
    #[error("the record has format version {0}, this program reads version 1: use the newer program")]
    Format(u8),
    /// A name in it is not one.
    #[error("the record's {0} is not valid")]
    Field(&'static str),
    /// The payload or a name is longer than a record may hold.
    #[error("the event's {what} has {bytes} bytes, at most {limit} fit")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
}

impl NewRecord {
    /// Whether it fits a record.
    ///
    /// # Errors
    /// [`RecordError::TooLarge`] names the part that does not.
    pub fn check(&self) -> Result<(), RecordError> {
        let fits = |what, bytes, limit| {
            if bytes > limit { Err(RecordError::TooLarge { what, bytes, limit }) } else { Ok(()) }
        };
        fits("payload", self.payload.len(), MAX_PAYLOAD)?;
        fits("principal", self.principal.len(), MAX_PRINCIPAL)
    }
}

impl Record {
    /// The byte form, appended to `out`. The body must have passed [`NewRecord::check`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        let body = &self.body;
        let stream = self.stream.as_str();
        out.reserve(HEADER + body.principal.len() + stream.len() + body.payload.len());
        out.extend_from_slice(&[FORMAT, body.principal.len() as u8, stream.len() as u8, 0]);
        out.extend_from_slice(&body.event_type.0.to_le_bytes());
        out.extend_from_slice(&body.schema_version.to_le_bytes());
        out.extend_from_slice(&(body.payload.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.position.0.to_le_bytes());
        out.extend_from_slice(&self.version.0.to_le_bytes());
        out.extend_from_slice(&body.time.0.to_le_bytes());
        out.extend_from_slice(body.event_id.as_bytes());
        out.extend_from_slice(body.correlation_id.as_bytes());
        out.extend_from_slice(body.principal.as_bytes());
        out.extend_from_slice(stream.as_bytes());
        out.extend_from_slice(&body.payload);
    }

    /// Reads the byte form; all of `bytes` must belong to the record.
    ///
    /// # Errors
    /// [`RecordError`] says what is not as it should be. No input panics.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut fields = Fields(bytes);
        let short = || RecordError::Length { announced: HEADER, found: bytes.len() };
        let [format, principal_len, stream_len, zero] = fields.take::<4>().ok_or_else(short)?;
        if format != FORMAT {
            return Err(RecordError::Format(format));
        }
        if zero != 0 {
            return Err(RecordError::Field("reserved byte"));
        }
        let event_type = EventType(u32::from_le_bytes(fields.take().ok_or_else(short)?));
        let schema_version = u16::from_le_bytes(fields.take().ok_or_else(short)?);
        let payload_len = u16::from_le_bytes(fields.take().ok_or_else(short)?);
        let position = Position(u64::from_le_bytes(fields.take().ok_or_else(short)?));
        let version = Version(u64::from_le_bytes(fields.take().ok_or_else(short)?));
        let time = Timestamp(i64::from_le_bytes(fields.take().ok_or_else(short)?));
        let event_id = Uuid::from_bytes(fields.take().ok_or_else(short)?);
        let correlation_id = Uuid::from_bytes(fields.take().ok_or_else(short)?);

        let lengths = [usize::from(principal_len), usize::from(stream_len), usize::from(payload_len)];
        let announced = HEADER + lengths.iter().sum::<usize>();
        let wrong = || RecordError::Length { announced, found: bytes.len() };
        if announced != bytes.len() {
            return Err(wrong());
        }
        let [principal, stream, payload] = fields.split(lengths).ok_or_else(wrong)?;
        let principal = std::str::from_utf8(principal).map_err(|_| RecordError::Field("principal"))?;
        let stream = std::str::from_utf8(stream).ok().and_then(|text| text.parse().ok());
        let stream = stream.ok_or(RecordError::Field("stream"))?;
        let body = NewRecord {
            event_type,
            schema_version,
            time,
            event_id,
            correlation_id,
            principal: principal.to_owned(),
            payload: payload.to_vec(),
        };
        body.check()?;
        Ok(Self { position, stream, version, body })
    }
}

/// A cursor over the fields of a record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn split<const N: usize>(&mut self, lengths: [usize; N]) -> Option<[&'a [u8]; N]> {
        let mut parts = [&[][..]; N];
        for (part, length) in parts.iter_mut().zip(lengths) {
            let (field, rest) = self.0.split_at_checked(length)?;
            (*part, self.0) = (field, rest);
        }
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Record> {
        let body =
            (any::<(u32, u16, i64, u128, u128)>(), "[a-z:=0-9]{0,20}", proptest::collection::vec(any::<u8>(), 0..300));
        (body, any::<(u64, u64)>(), "[a-z]{1,9}/[A-Za-z0-9._-]{1,40}").prop_map(
            |(((kind, schema, time, event, correlation), principal, payload), (position, version), stream)| Record {
                position: Position(position),
                stream: stream.parse().expect("legal"),
                version: Version(version),
                body: NewRecord {
                    event_type: EventType(kind),
                    schema_version: schema,
                    time: Timestamp(time),
                    event_id: Uuid::from_u128(event),
                    correlation_id: Uuid::from_u128(correlation),
                    principal,
                    payload,
                },
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(record in record()) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            prop_assert_eq!(Record::decode(&bytes), Ok(record));
        }

        #[test]
        fn cut_or_longer_bytes_are_refused(record in record(), cut in 0usize..2000) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            let cut = cut % bytes.len();
            prop_assert!(Record::decode(&bytes[..cut]).is_err());
            bytes.push(0);
            prop_assert!(Record::decode(&bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Record::decode(&bytes);
        }
    }
}
