//! OpenAPI 3.1 (<https://spec.openapis.org/oas/v3.1.1.html>) of the HTTP door.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::errors::{self, Way};
use super::schemas::{Described, Schemas, resolve};
use super::{example, good, info, notes, text};
use crate::api::command::Reach;
use crate::api::error::ErrorCode;
use crate::api::table::TABLE;

const DESCRIPTION: &str = "\
The commands of the server over HTTP, one path each. A request's body is the command's `data`, an empty body is `{}`; unknown fields are \
ignored. An answer's body is its data, and that of an error the error object. Times are Unix seconds, sizes bytes.\n\n\
Commands that wait for the end of long work hold their request open; a client that goes away does not stop the work.\n\n\
Events, and commands about subscriptions, need a connection that stays: see `/asyncapi.json`.";

/// The document.
#[must_use]
pub fn openapi() -> Value {
    let mut schemas = Schemas::new(&SchemaSettings::draft2020_12());
    let shown = TABLE.iter().filter(|entry| entry.reach == Reach::Everywhere);
    let mut commands: Vec<_> = shown.map(|entry| schemas.describe(entry)).collect();
    let definitions = schemas.finish(&mut commands);
    let mut paths = Map::new();
    for command in &commands {
        paths.insert(format!("/api/v1/{}", command.entry.name), json!({ "post": operation(command, &definitions) }));
    }
    paths.extend(others());
    json!({
        "openapi": "3.1.1",
        "info": info("Holdfast over HTTP", DESCRIPTION),
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{ "url": "/", "description": "This server; http://127.0.0.1:7421 where nothing else is configured." }],
        "tags": [
            { "name": "commands", "description": "What may be asked of the server." },
            { "name": "operation", "description": "How it is, for those who run it." },
        ],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "headers": {
                "RetryAfter": {
                    "description": "Seconds until another try is worth it.",
                    "schema": { "type": "integer", "minimum": 0 },
                },
                "Authenticate": {
                    "description": "How to say who one is (RFC 6750).",
                    "schema": { "type": "string", "examples": ["Bearer"] },
                },
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `holdfast token create`, or the first one, in `admin.token` under the home.",
                },
            },
        },
    })
}

fn operation(command: &Described, definitions: &Map<String, Value>) -> Value {
    let entry = command.entry;
    let schema = resolve(&command.request, definitions);
    let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let needed = schema.get("required").and_then(Value::as_array).is_some_and(|required| !required.is_empty());
    let mut operation = Map::from_iter([
        ("operationId".to_owned(), json!(entry.name)),
        ("tags".to_owned(), json!(["commands"])),
        ("summary".to_owned(), json!(text::summary(description))),
        ("description".to_owned(), json!(description)),
        ("security".to_owned(), security(entry.role.is_some())),
        (
            "requestBody".to_owned(),
            json!({
                "required": needed,
                "content": { "application/json": {
                    "schema": command.request,
                    "example": example::request(&command.request, definitions),
                } },
            }),
        ),
        ("responses".to_owned(), responses(command)),
    ]);
    operation.extend(notes(entry).into_iter().map(|(name, note)| (name.to_owned(), note)));
    Value::Object(operation)
}

/// What is open to all may be asked with a token too.
fn security(needed: bool) -> Value {
    if needed { json!([{ "token": [] }]) } else { json!([{}, { "token": [] }]) }
}

fn responses(command: &Described) -> Value {
    let mut responses = Map::new();
    for (status, description) in good(command.entry) {
        let content = json!({ "application/json": { "schema": command.answer } });
        responses.insert(status.to_string(), json!({ "description": description, "content": content }));
    }
    for (status, codes) in errors::by_status(command.entry, Way::Http) {
        responses.insert(status.to_string(), error(status, &codes));
    }
    Value::Object(responses)
}

fn error(status: u16, codes: &[ErrorCode]) -> Value {
    let examples = errors::examples(codes).into_iter().map(|(code, body)| (code.to_owned(), json!({ "value": body })));
    let mut response = json!({
        "description": errors::meanings(codes),
        "content": { "application/json": { "schema": errors::schema(codes), "examples": Map::from_iter(examples) } },
    });
    let header = match status {
        401 => Some(("WWW-Authenticate", "Authenticate")),
        429 | 503 => Some(("Retry-After", "RetryAfter")),
        _ => None,
    };
    if let (Some((header, named)), Some(response)) = (header, response.as_object_mut()) {
        let place = format!("#/components/headers/{named}");
        response.insert("headers".into(), json!({ header: { "$ref": place } }));
    }
    response
}

/// What is no command.
fn others() -> Map<String, Value> {
    let checks = |description: &str| {
        json!({
            "description": description,
            "content": { "application/json": { "schema": crate::api::health::schema() } },
        })
    };
    // Where there is no place for a stranger's connection, it is closed with that.
    let not_well = |description: &str| {
        let full = errors::schema(&[ErrorCode::TooManyConnections]);
        json!({
            "description": description,
            "content": { "application/json": { "schema": { "oneOf": [crate::api::health::schema(), full] } } },
        })
    };
    let limited = error(429, &[ErrorCode::RateLimited]);
    let paths = BTreeMap::from([
        (
            "/healthz",
            json!({
                "operationId": "healthz", "summary": "Whether the process works",
                "description": "For whoever would restart it. It fails once nothing can be recorded any more.",
                "responses": {
                    "200": checks("It works."),
                    "429": limited,
                    "503": not_well("It does not; `checks` says why."),
                },
            }),
        ),
        (
            "/readyz",
            json!({
                "operationId": "readyz", "summary": "Whether new work is taken",
                "description": "For whoever would send work. It fails while the server is about to stop too.",
                "responses": {
                    "200": checks("It is."),
                    "429": limited,
                    "503": not_well("It is not; `checks` says why."),
                },
            }),
        ),
        (
            "/metrics",
            json!({
                "operationId": "metrics", "summary": "Figures for Prometheus",
                "description": "In the text form of Prometheus, or in that of OpenMetrics 1.0 where `Accept` asks for it. Needs a token of \
                    role viewer unless `[server] metrics_public = true`.",
                "security": security(true),
                "responses": {
                    "200": {
                        "description": "The figures.",
                        "content": {
                            "text/plain": { "schema": { "type": "string" } },
                            "application/openmetrics-text": { "schema": { "type": "string" } },
                        },
                    },
                    "401": error(401, &[ErrorCode::Unauthenticated, ErrorCode::InvalidToken]),
                    "429": error(429, &[ErrorCode::RateLimited]),
                    "503": error(503, &[ErrorCode::LogLost, ErrorCode::LogUnreadable, ErrorCode::TooManyConnections]),
                },
            }),
        ),
        ("/openapi.json", document("openapi", "This document")),
        ("/asyncapi.json", document("asyncapi", "The document of the other doors")),
    ]);
    let operation = |(path, mut get): (&str, Value)| {
        if let Some(get) = get.as_object_mut() {
            get.insert("tags".into(), json!(["operation"]));
            get.entry("security").or_insert_with(|| json!([{}]));
        }
        (path.to_owned(), json!({ "get": get }))
    };
    paths.into_iter().map(operation).collect()
}

fn document(id: &str, summary: &str) -> Value {
    let content = json!({ "application/json": { "schema": { "type": "object" } } });
    json!({
        "operationId": id, "summary": summary,
        "responses": {
            "200": { "description": "The document.", "content": content },
            "429": error(429, &[ErrorCode::RateLimited]),
            "503": error(503, &[ErrorCode::TooManyConnections]),
        },
    })
}
