//! JSON schemas of the names of things: exactly what their parsers take.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::ids::{ArtifactName, EndpointName, ParticipantName, Position, RestoreId, RunId, Sha256, TokenName};

macro_rules! text {
    ($($name:ident $pattern:literal $description:literal;)+) => {
        $(
            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_schemas: &mut SchemaGenerator) -> Schema {
                    json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
                }
            }
        )+
    };
}

text! {
    RunId r"^[0-9]{8}-[0-9]{6}-([0-9]{6}|[1-9][0-9]{6,8})$" "A run: the clock in UTC at its request and a counter.";
    ParticipantName r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$" "A participant.";
    EndpointName r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$" "An endpoint.";
    TokenName r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$" "A token, by its name.";
    ArtifactName r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$" "The name of an artifact or of its file.";
    Sha256 r"^[0-9a-f]{64}$" "A SHA-256 in hexadecimal.";
}

impl JsonSchema for RestoreId {
    fn schema_name() -> Cow<'static, str> {
        "RestoreId".into()
    }

    fn json_schema(_schemas: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uuid", "description": "A restore." })
    }
}

impl JsonSchema for Position {
    fn schema_name() -> Cow<'static, str> {
        "Position".into()
    }

    fn json_schema(_schemas: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "description": "A place in the event log." })
    }
}
