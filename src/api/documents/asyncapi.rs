//! AsyncAPI 3.0 (<https://www.asyncapi.com/docs/reference/specification/v3.0.0>) of the doors with a connection that stays.
//!
//! Told from the server's side: it receives requests and sends answers and events. The same messages go over TCP and WebSocket.

use holdfast_model::alert::Alert;
use holdfast_model::progress::Progress;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::errors::{self, Way};
use super::schemas::{Described, Schemas, resolve};
use super::{example, good, info, notes, text};
use crate::api::channel::Channel;
use crate::api::command::Reach;
use crate::api::envelope::MAX_EXT_ID;
use crate::api::error::{ErrorBody, ErrorCode};
use crate::api::table::TABLE;

const DESCRIPTION: &str = "\
The commands and events of the server over connections that stay: TCP, one JSON object a line, ended by `\\r\\n` (a lone `\\n` is taken \
too), and WebSocket at `/ws`, one object a text message. Nothing is sent unasked before the client's first message. Answers may come out \
of order, and are told apart by `extID`; one that is still in flight on the connection is refused. The text `ping` gets `pong`.\n\n\
Who one is, is said by `__token` in a message, for that message, or once by `Auth`; on a WebSocket also by `Authorization: Bearer`, or by a \
first message `{\"authorization\": \"…\"}`.\n\n\
`seq` of an event is the position in the event log that it is up to, so `since_seq` works across restarts. It \
is one number, or one for each channel: channels do not keep pace with each other, and of several the least number is the right one for all. \
`epoch` names one stay of the server's process.\n\n\
A connection whose token, or that of one of its subscriptions, is revoked or expires is closed: on TCP after an `INVALID_TOKEN` without \
`extID`, on WebSocket with the status 4001. A stop of the server answers what still waits with `SERVER_DRAINING` and what was begun in \
`detail`.";

/// What goes over a channel one can subscribe to.
struct Events {
    channel: Channel,
    id: &'static str,
    /// The schema of `data`.
    data: Value,
    /// Whether there are events that end something.
    ends: bool,
}

/// The document.
#[must_use]
pub fn asyncapi() -> Value {
    let mut schemas = Schemas::new(&SchemaSettings::draft07());
    let events = events(&mut schemas);
    let shown = TABLE.iter().filter(|entry| entry.reach != Reach::Local);
    let mut commands: Vec<_> = shown.map(|entry| schemas.describe(entry)).collect();
    let definitions = schemas.finish(&mut commands);
    let mut document = Document::default();
    document.own_messages();
    for command in &commands {
        document.command(command, &definitions);
    }
    for events in &events {
        document.events(events, &definitions);
    }
    let Document { messages, operations, channels, commands } = document;
    let mut channels = channels;
    channels.insert("commands".into(), commands_channel(&commands));
    json!({
        "asyncapi": "3.0.0",
        "info": info("Holdfast over TCP and WebSocket", DESCRIPTION),
        "defaultContentType": "application/json",
        "servers": {
            "tcp": server("tcp", "127.0.0.1:7420", None),
            "websocket": server("ws", "127.0.0.1:7421", Some("/ws")),
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": definitions,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `holdfast token create`: a bearer token of the WebSocket's request, or `__token` in each \
                                    message, or said once by `Auth`.",
                },
            },
        },
    })
}

fn server(protocol: &str, host: &str, path: Option<&str>) -> Value {
    let mut server = json!({
        "host": host, "protocol": protocol,
        "description": "Where it listens if nothing else is configured; with a certificate configured, over TLS.",
        "security": [{ "$ref": "#/components/securitySchemes/token" }],
    });
    if let (Some(path), Some(server)) = (path, server.as_object_mut()) {
        server.insert("pathname".into(), json!(path));
    }
    server
}

/// The channel of requests and answers.
fn commands_channel(names: &[String]) -> Value {
    let messages = names.iter().map(|name| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") })));
    json!({
        "address": null,
        "title": "Commands",
        "description": "Requests and their answers, both on the client's connection.",
        "messages": Map::from_iter(messages),
    })
}

/// What the channels carry.
fn events(schemas: &mut Schemas) -> Vec<Events> {
    let one = |channel: Channel, id, data, ends| Events { channel, id, data, ends };
    vec![
        one(Channel::BackupProgress, "backupProgress", schemas.sent::<Progress>(), true),
        one(Channel::RestoreProgress, "restoreProgress", schemas.sent::<holdfast_model::restore::RestoreView>(), true),
        one(Channel::BackupEvents, "backupEvents", schemas.sent::<holdfast_model::codec::Envelope>(), false),
        one(Channel::Alerts, "alerts", schemas.sent::<Alert>(), false),
    ]
}

#[derive(Default)]
struct Document {
    messages: Map<String, Value>,
    operations: Map<String, Value>,
    channels: Map<String, Value>,
    /// Messages of the channel of commands.
    commands: Vec<String>,
}

impl Document {
    fn message(&mut self, name: String, message: Value) {
        self.messages.insert(name.clone(), message);
        self.commands.push(name);
    }

    /// Messages that belong to no command and no channel.
    fn own_messages(&mut self) {
        let no_request = ErrorCode::ALL.iter().copied().filter(|code| {
            matches!(
                code,
                ErrorCode::InvalidMessage
                    | ErrorCode::InvalidData
                    | ErrorCode::UnknownCommand
                    | ErrorCode::InvalidToken
                    | ErrorCode::MessageTooLarge
                    | ErrorCode::TooManyConnections
                    | ErrorCode::RateLimited
            )
        });
        let codes: Vec<_> = no_request.collect();
        let error = error_message(
            "what is no request of a known command",
            &codes,
            &json!({ "type": ["string", "null"] }),
            None,
        );
        self.message("Unread".into(), error);
        let draining = json!({
            "type": "object", "required": ["event"], "properties": { "event": { "const": "server.draining" } },
        });
        let summary = "The server is about to stop, and closes the connection when what is in flight has ended";
        self.message(
            "ServerDraining".into(),
            plain("ServerDraining", summary, &draining, &json!({ "event": "server.draining" })),
        );
        self.operation("serverDraining", "send", "commands", &["ServerDraining"], summary);
    }

    fn operation(&mut self, id: &str, action: &str, channel: &str, messages: &[&str], summary: &str) {
        let place = |name: &&str| json!({ "$ref": format!("#/channels/{channel}/messages/{name}") });
        let operation = json!({
            "action": action,
            "channel": { "$ref": format!("#/channels/{channel}") },
            "summary": summary,
            "messages": messages.iter().map(place).collect::<Vec<_>>(),
        });
        self.operations.insert(id.to_owned(), operation);
    }

    fn command(&mut self, command: &Described, definitions: &Map<String, Value>) {
        let entry = command.entry;
        let name = entry.name;
        let schema = resolve(&command.request, definitions);
        let description = schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
        let summary = text::summary(&description);
        let (request, answer, error) = (format!("{name}Request"), format!("{name}Answer"), format!("{name}Error"));
        self.message(request.clone(), request_message(command, &summary, definitions));
        self.message(answer.clone(), answer_message(command, definitions));
        let codes: Vec<_> = errors::by_status(entry, Way::Connection).into_values().flatten().collect();
        let id = json!({ "type": "string", "maxLength": MAX_EXT_ID });
        self.message(error.clone(), error_message(name, &codes, &id, Some("1")));
        self.operation(name, "receive", "commands", &[&request], &summary);
        let place = |name: &str| json!({ "$ref": format!("#/channels/commands/messages/{name}") });
        if let Some(operation) = self.operations.get_mut(name).and_then(Value::as_object_mut) {
            operation.insert("description".into(), json!(description));
            let reply = json!({
                "channel": { "$ref": "#/channels/commands" }, "messages": [place(&answer), place(&error)],
            });
            operation.insert("reply".into(), reply);
            if entry.role.is_some() {
                operation.insert("security".into(), json!([{ "$ref": "#/components/securitySchemes/token" }]));
            }
            operation.extend(notes(entry).into_iter().map(|(name, note)| (name.to_owned(), note)));
        }
    }

    fn events(&mut self, events: &Events, definitions: &Map<String, Value>) {
        let Events { channel, id, data, ends } = events;
        let name = channel.as_str();
        let types: &[&str] = if *ends { &["update", "final"] } else { &["update"] };
        let payload = json!({
            "type": "object",
            "required": ["event", "type", "seq", "epoch", "data"],
            "properties": {
                "event": { "const": name },
                "type": { "enum": types },
                "seq": { "type": "integer", "minimum": 0 },
                "epoch": { "type": "string" },
                "data": data,
            },
        });
        let example = json!({
            "event": name, "type": "update", "seq": 17, "epoch": "0199c0de", "data": example::answer(data, definitions),
        });
        let message = format!("{id}Event");
        let summary = format!("What is sent to those who have subscribed to {name}");
        self.messages.insert(message.clone(), plain(&message, &summary, &payload, &example));
        let messages = json!({ message.clone(): { "$ref": format!("#/components/messages/{message}") } });
        let channel = json!({ "address": name, "title": name, "description": channel.meaning(), "messages": messages });
        self.channels.insert((*id).to_owned(), channel);
        self.operation(id, "send", id, &[&message], &summary);
    }
}

fn plain(name: &str, summary: &str, payload: &Value, example: &Value) -> Value {
    json!({
        "name": name, "title": name, "summary": summary, "contentType": "application/json",
        "payload": payload, "examples": [{ "payload": example }],
    })
}

fn request_message(command: &Described, summary: &str, definitions: &Map<String, Value>) -> Value {
    let entry = command.entry;
    let mut names = vec![entry.name];
    names.extend(entry.aliases);
    let data = resolve(&command.request, definitions);
    let needed = data.get("required").and_then(Value::as_array).is_some_and(|required| !required.is_empty());
    let mut required = vec!["command", "extID"];
    required.extend(needed.then_some("data"));
    let payload = json!({
        "type": "object",
        "required": required,
        "properties": {
            "command": { "enum": names },
            "extID": { "type": "string", "maxLength": MAX_EXT_ID, "description": "What the answer is told apart by." },
            "data": command.request,
            "__token": { "type": "string", "description": "Who asks, for this message." },
        },
    });
    let example =
        json!({ "command": entry.name, "extID": "1", "data": example::request(&command.request, definitions) });
    plain(&format!("{}Request", entry.name), summary, &payload, &example)
}

fn answer_message(command: &Described, definitions: &Map<String, Value>) -> Value {
    let name = command.entry.name;
    let statuses: Vec<_> = good(command.entry).iter().map(|(status, _)| *status).collect();
    let payload = json!({
        "type": "object",
        "required": ["extID", "status", "data"],
        "properties": {
            "extID": { "type": "string", "maxLength": MAX_EXT_ID },
            "status": { "enum": statuses },
            "data": command.answer,
        },
    });
    let example = json!({ "extID": "1", "status": 200, "data": example::answer(&command.answer, definitions) });
    plain(&format!("{name}Answer"), &format!("The answer to {name}"), &payload, &example)
}

fn error_message(of: &str, codes: &[ErrorCode], ext_id: &Value, example_id: Option<&str>) -> Value {
    let mut statuses: Vec<_> = codes.iter().map(|code| code.status()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    let names: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
    let payload = json!({
        "allOf": [
            { "$ref": "#/components/schemas/ErrorBody" },
            {
                "type": "object",
                "required": ["extID", "status"],
                "properties": { "extID": ext_id, "status": { "enum": statuses }, "error": { "enum": names } },
            },
        ],
    });
    let first = codes.first().copied().unwrap_or(ErrorCode::Internal);
    let body = ErrorBody {
        error: first,
        message: first.meaning().to_owned(),
        detail: json!({}),
        retryable: false,
        retry_after_ms: 0,
    };
    let mut example = json!(body);
    if let Some(example) = example.as_object_mut() {
        example.insert("extID".into(), json!(example_id));
        example.insert("status".into(), json!(first.status()));
    }
    let mut message = plain("Error", &format!("An error of {of}"), &payload, &example);
    if let Some(message) = message.as_object_mut() {
        message.insert("description".into(), json!(errors::meanings(codes)));
    }
    message
}
