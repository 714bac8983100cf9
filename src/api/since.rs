//! From where on a subscriber is told: a position of the log, or one for each channel.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use holdfast_model::ids::Position;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::channel::Channel;

/// Greatest position there can be.
const MOST: u64 = i64::MAX as u64;

/// Positions of the log: what comes after them is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// The same for all channels.
    All(Position),
    /// Each channel's own. A channel that is not among them is told from now on.
    Each(BTreeMap<Channel, Position>),
}

impl Since {
    /// A channel's.
    #[must_use]
    pub fn of(&self, channel: Channel) -> Option<Position> {
        match self {
            Since::All(position) => Some(*position),
            Since::Each(positions) => positions.get(&channel).copied(),
        }
    }
}

impl From<u64> for Since {
    fn from(position: u64) -> Self {
        Since::All(Position(position))
    }
}

impl Serialize for Since {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Since::All(position) => serializer.serialize_u64(position.0),
            Since::Each(positions) => serializer.collect_map(positions.iter().map(|(channel, at)| (channel, at.0))),
        }
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Positions)
    }
}

struct Positions;

fn position<E: Error>(number: u64) -> Result<Position, E> {
    if number > MOST { Err(E::custom("there is no such position")) } else { Ok(Position(number)) }
}

impl<'de> Visitor<'de> for Positions {
    type Value = Since;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a position, or an object of positions by channel")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Since, E> {
        position(number).map(Since::All)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Since, A::Error> {
        let mut positions = BTreeMap::new();
        while let Some((channel, number)) = fields.next_entry::<Channel, u64>()? {
            if positions.insert(channel, position(number)?).is_some() {
                return Err(A::Error::custom(format_args!("{channel} is there twice")));
            }
        }
        Ok(Since::Each(positions))
    }
}

impl JsonSchema for Since {
    fn schema_name() -> Cow<'static, str> {
        "Since".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let position = serde_json::json!({ "type": "integer", "minimum": 0, "maximum": MOST });
        let channels: serde_json::Map<_, _> =
            Channel::ALL.iter().map(|channel| (channel.to_string(), position.clone())).collect();
        json_schema!({
            "description": "A position of the log for all channels, or one for each: a channel that is left out is told from now on.",
            "oneOf": [
                position,
                { "type": "object", "properties": channels, "additionalProperties": false },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_number_or_a_number_for_each_channel() {
        let read = |text: &str| serde_json::from_str::<Since>(text);
        for (text, progress, events) in [
            ("24", Some(24), Some(24)),
            (r#"{"backup.progress":12,"backup.events":24}"#, Some(12), Some(24)),
            (r#"{"backup.events":0}"#, None, Some(0)),
            ("{}", None, None),
        ] {
            let since = read(text).expect(text);
            assert_eq!(since.of(Channel::BackupProgress).map(|at| at.0), progress, "{text}");
            assert_eq!(since.of(Channel::BackupEvents).map(|at| at.0), events, "{text}");
            assert_eq!(read(&serde_json::to_string(&since).expect("JSON")).expect("itself"), since);
        }
        for text in [
            "-1",
            "1.5",
            "9223372036854775808",
            "\"24\"",
            "[24]",
            r#"{"backup.events":-1}"#,
            r#"{"nothing":1}"#,
            r#"{"alerts":1,"alerts":2}"#,
            r#"{"alerts":9223372036854775808}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
