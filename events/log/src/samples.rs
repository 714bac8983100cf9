//! Records for the tests of this crate.

use holdfast_model::ids::{Position, Timestamp, Version};
use holdfast_model::record::{EventType, NewRecord, Record};
use uuid::Uuid;

/// An event with `size` bytes of payload.
pub(crate) fn body(seed: u64, size: usize) -> NewRecord {
    NewRecord {
        event_type: EventType(1),
        schema_version: 1,
        time: Timestamp(seed as i64),
        event_id: Uuid::from_u128(u128::from(seed)),
        correlation_id: Uuid::nil(),
        principal: "local:uid=0".into(),
        payload: (0..size).map(|i| (seed as usize * 31 + i * 7) as u8).collect(),
    }
}

/// An event at a place.
pub(crate) fn record_of(stream: &str, position: u64, version: u64, size: usize) -> Record {
    Record {
        position: Position(position),
        stream: stream.parse().expect("a legal name"),
        version: Version(version),
        body: body(position, size),
    }
}

/// A small event at a place.
pub(crate) fn record(stream: &str, position: u64, version: u64) -> Record {
    record_of(stream, position, version, 24)
}
