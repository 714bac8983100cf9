//! Which errors a command may be answered with: its own, and those that every command may.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::command::Entry;
use crate::api::error::ErrorCode;

/// A way the commands are asked by, as far as errors differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A request over HTTP.
    Http,
    /// A message on a connection that stays.
    Connection,
}

/// The codes of a command by status, in the order of the list of codes.
pub(super) fn by_status(entry: &Entry, way: Way) -> BTreeMap<u16, Vec<ErrorCode>> {
    let mut codes = vec![
        ErrorCode::InvalidMessage,
        ErrorCode::InvalidData,
        ErrorCode::InvalidToken,
        ErrorCode::MessageTooLarge,
        ErrorCode::AnswerTooLarge,
        ErrorCode::RateLimited,
        ErrorCode::Internal,
        ErrorCode::Draining,
        ErrorCode::StorageUnavailable,
        ErrorCode::OutcomeUnknown,
        ErrorCode::Busy,
        ErrorCode::LogLost,
        ErrorCode::LogUnreadable,
        ErrorCode::TooManyConnections,
    ];
    match way {
        Way::Http => codes.extend([ErrorCode::UnsupportedMediaType, ErrorCode::RequestTimeout]),
        Way::Connection => codes.push(ErrorCode::DuplicateExtId),
    }
    if entry.role.is_some() {
        codes.extend([ErrorCode::Unauthenticated, ErrorCode::Forbidden]);
    }
    codes.extend(entry.errors);
    let mut by_status = BTreeMap::<u16, Vec<ErrorCode>>::new();
    for code in ErrorCode::ALL.iter().copied().filter(|code| codes.contains(code)) {
        by_status.entry(code.status()).or_default().push(code);
    }
    by_status
}

/// The schema of an error with one of these codes.
pub(super) fn schema(codes: &[ErrorCode]) -> Value {
    let codes: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
    json!({
        "allOf": [
            { "$ref": "#/components/schemas/ErrorBody" },
            { "type": "object", "properties": { "error": { "enum": codes } } },
        ],
    })
}

/// Each code with what it means, as a list for people.
pub(super) fn meanings(codes: &[ErrorCode]) -> String {
    let lines: Vec<_> = codes.iter().map(|code| format!("- `{}`: {}", code.as_str(), code.meaning())).collect();
    lines.join("\n")
}

/// What an error with one of these codes looks like.
pub(super) fn examples(codes: &[ErrorCode]) -> Vec<(&'static str, Value)> {
    let example = |code: &ErrorCode| {
        let wait = if *code == ErrorCode::RateLimited { 1000 } else { 0 };
        let body = json!({
            "error": code.as_str(), "message": code.meaning(), "detail": {}, "retryable": wait > 0, "retry_after_ms": wait,
        });
        (code.as_str(), body)
    };
    codes.iter().map(example).collect()
}
