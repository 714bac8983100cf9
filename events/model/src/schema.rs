//! JSON schemas of the names of things: exactly what their parsers take.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::codec::Envelope;
use crate::event::Event;
use crate::ids::{ArtifactName, EndpointName, ParticipantName, Position, RestoreId, RunId, Sha256, TokenName};

macro_rules! text {
    ($($name:ident $pattern:literal $example:literal $description:literal;)+) => {
        $(
            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_schemas: &mut SchemaGenerator) -> Schema {
                    json_schema!({
                        "type": "string", "pattern": $pattern, "description": $description, "examples": [$example],
                    })
                }
            }
        )+
    };
}

text! {
    RunId r"^[0-9]{8}-[0-9]{6}-([0-9]{6}|[1-9][0-9]{6,8})$" "20261121-031500-000001" "A run: the clock in UTC at its request and a counter.";
    ParticipantName r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$" "shop" "A participant.";
    EndpointName r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$" "vault1" "An endpoint.";
    TokenName r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$" "dashboard" "A token, by its name.";
    ArtifactName r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$" "shop.dump.lz4" "The name of an artifact or of its file.";
    Sha256 r"^[0-9a-f]{64}$" "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" "A SHA-256 in hexadecimal.";
}

impl JsonSchema for RestoreId {
    fn schema_name() -> Cow<'static, str> {
        "RestoreId".into()
    }

    fn json_schema(_schemas: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uuid", "description": "A restore.", "examples": ["0199c0de-0000-7000-8000-000000000001"] })
    }
}

impl JsonSchema for Position {
    fn schema_name() -> Cow<'static, str> {
        "Position".into()
    }

    fn json_schema(_schemas: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer", "minimum": 0, "maximum": u64::MAX, "description": "A place in the event log.",
        })
    }
}

impl JsonSchema for Envelope {
    fn schema_name() -> Cow<'static, str> {
        "Event".into()
    }

    fn json_schema(_schemas: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = Event::TABLE.iter().map(|(_, name, _)| *name).collect();
        json_schema!({
            "type": "object",
            "description": "An event of the log.",
            "required": [
                "position", "stream", "version", "time", "event_id", "correlation_id", "principal", "type", "data",
            ],
            "properties": {
                "position": { "type": "integer", "minimum": 1, "description": "Place in the whole log." },
                "stream": {
                    "type": "string", "pattern": "^[A-Za-z0-9._/-]{1,128}$", "description": "The stream it belongs to.",
                    "examples": ["run/20261121-031500-000001"],
                },
                "version": { "type": "integer", "minimum": 1, "description": "Place in its stream." },
                "time": { "type": "integer", "description": "When it was recorded, in microseconds since 1970." },
                "event_id": { "type": "string", "format": "uuid", "description": "Who it is." },
                "correlation_id": { "type": "string", "format": "uuid", "description": "The command that led to it." },
                "principal": { "type": "string", "description": "Who asked." },
                "type": { "enum": names, "description": "Its name; later programs have more." },
                "data": { "type": "object", "description": "The fact; its fields go by its type." },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;
    use crate::ids::{EndpointName, TokenName};

    /// Whatever a type's pattern describes is taken by its parser, and says its example of itself.
    fn taken<T: JsonSchema + FromStr<Err: std::fmt::Debug>>() {
        let schema = T::json_schema(&mut SchemaGenerator::default());
        let text = |field: &str| schema.get(field).and_then(|value| value.as_str().map(str::to_owned));
        let pattern = text("pattern").expect("a pattern");
        let inner = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')).expect("of the whole text");
        let described = string_regex(inner).expect("a pattern that is understood");
        proptest!(|(name in described)| {
            prop_assert!(name.parse::<T>().is_ok(), "{name:?}");
        });
        let example = schema.get("examples").and_then(|examples| examples.get(0)?.as_str()).expect("an example");
        example.parse::<T>().expect("the example is one");
    }

    #[test]
    fn what_a_pattern_describes_its_parser_takes() {
        taken::<RunId>();
        taken::<ParticipantName>();
        taken::<EndpointName>();
        taken::<TokenName>();
        taken::<ArtifactName>();
        taken::<Sha256>();
    }
}
