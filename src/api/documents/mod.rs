//! The documents of the interface, made from the same types that read the requests: nothing in them is written twice.
//!
//! [`openapi`] is OpenAPI 3.1 for HTTP, with schemas of JSON Schema 2020-12. [`asyncapi`] is AsyncAPI 3.0 for TCP and WebSocket, whose
//! schemas are of draft 7, as that format wants them. Both are served by the HTTP door and printed by `holdfast documents`.
//!
//! A command stands under its name. Its other names do the same and are listed with it as `x-aliases`: as paths of their own they would
//! only double what is generated from the documents. What only this machine may ask for is in neither document, and what needs a
//! connection that stays is in the second one only.

mod asyncapi;
mod errors;
mod example;
mod openapi;
mod schemas;
mod text;

pub use self::asyncapi::asyncapi;
pub use self::openapi::openapi;

use serde_json::{Value, json};

use super::command::{Entry, Kind};

/// What both documents begin with.
fn info(title: &str, description: &str) -> Value {
    json!({
        "title": title,
        "version": env!("CARGO_PKG_VERSION"),
        "description": description,
        "license": { "name": "MIT OR Apache-2.0", "url": "https://spdx.org/licenses/MIT.html" },
    })
}

/// What is said of a command beside its schemas.
fn notes(entry: &Entry) -> Vec<(&'static str, Value)> {
    let kind = match entry.kind {
        Kind::Read => "read",
        Kind::Change => "change",
        Kind::Work => "work",
    };
    let mut notes = vec![("x-kind", json!(kind))];
    notes.extend(entry.role.map(|role| ("x-role", json!(role.as_str()))));
    notes.extend((!entry.aliases.is_empty()).then(|| ("x-aliases", json!(entry.aliases))));
    notes
}

/// The statuses of answers that are none of errors.
fn good(entry: &Entry) -> &'static [(u16, &'static str)] {
    match entry.kind {
        Kind::Work => &[(200, "Done."), (202, "Begun; it goes on.")],
        Kind::Read | Kind::Change => &[(200, "Done.")],
    }
}

#[cfg(test)]
mod tests;
