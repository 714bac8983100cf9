//! Messages on connections that stay: one JSON object each.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::channel::Channel;
use super::command::RawReply;
use super::error::{ApiError, ErrorBody, ErrorCode};

/// Longest `extID` in bytes.
pub const MAX_EXT_ID: usize = 128;

/// A request as it comes in.
#[derive(Debug, Deserialize)]
pub struct Request {
    /// The command's name, or an alias.
    pub command: String,
    /// What the answer is told apart by.
    #[serde(rename = "extID")]
    pub ext_id: String,
    /// The command's own fields.
    #[serde(default)]
    pub data: Option<Box<RawValue>>,
    /// Who asks, where the connection does not say so already.
    #[serde(rename = "__token", default)]
    pub token: Option<String>,
}

/// A message that is no request: the error it is answered with, and the `extID` where that could be read.
pub type Unread = (Option<String>, ApiError);

impl Request {
    /// Reads one message.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidMessage`] for what is no JSON object, [`ErrorCode::InvalidData`] for a field that is not as it must be.
    pub fn read(message: &[u8]) -> Result<Self, Box<Unread>> {
        let text = std::str::from_utf8(message).map_err(|_| unread(None, no_json("it is not UTF-8")))?;
        let mut reader = serde_json::Deserializer::from_str(text);
        let request: Self = match serde_path_to_error::deserialize(&mut reader) {
            Ok(request) => request,
            Err(error) => return Err(Box::new(explain(text, &error))),
        };
        reader.end().map_err(|error| unread(None, no_json(error)))?;
        if request.ext_id.len() > MAX_EXT_ID {
            let long = ApiError::field("extID", format_args!("it has more than {MAX_EXT_ID} bytes"));
            return Err(unread(None, long));
        }
        Ok(request)
    }
}

/// The token of a WebSocket's message that only says who is there, which is no request: it names no command.
#[must_use]
pub fn authorization(message: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Authorization {
        authorization: String,
        command: Option<IgnoredAny>,
    }
    let read: Authorization = serde_json::from_slice(message).ok()?;
    read.command.is_none().then_some(read.authorization)
}

fn unread(ext_id: Option<String>, error: ApiError) -> Box<Unread> {
    Box::new((ext_id, error))
}

fn no_json(reason: impl std::fmt::Display) -> ApiError {
    ApiError::new(
        ErrorCode::InvalidMessage,
        format!("the message is no JSON object of the form of a request: {reason}"),
    )
}

/// Which part of a message was wrong, with its `extID` where it has one.
fn explain(text: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> Unread {
    #[derive(Deserialize)]
    struct Parts {
        #[serde(rename = "extID")]
        ext_id: Option<serde_json::Value>,
    }
    let (path, reason) = (error.path().to_string(), error.inner().to_string());
    if serde_json::from_str::<IgnoredAny>(text).is_err() || !text.trim_ascii_start().starts_with('{') {
        return (None, no_json(reason));
    }
    let ext_id = serde_json::from_str::<Parts>(text).ok().and_then(|parts| parts.ext_id);
    let ext_id = ext_id.and_then(|id| id.as_str().map(str::to_owned)).filter(|id| id.len() <= MAX_EXT_ID);
    let missing =
        ["command", "extID"].into_iter().find(|field| reason.starts_with(&format!("missing field `{field}`")));
    match (missing, path.as_str()) {
        (Some(field), _) => (ext_id, ApiError::field(field, "is required")),
        (None, "." | "?") => (ext_id, no_json(reason)),
        // An unknown place within a field is the field's.
        (None, path) => (ext_id, ApiError::field(path.trim_end_matches(".?"), reason)),
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "extID")]
    ext_id: &'a str,
    status: u16,
    data: &'a RawValue,
}

#[derive(Serialize)]
struct Error<'a> {
    #[serde(rename = "extID")]
    ext_id: Option<&'a str>,
    status: u16,
    #[serde(flatten)]
    error: ErrorBody,
}

/// Whether more of the same follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// More may follow.
    Update,
    /// It is the last one of its run or restore.
    Final,
}

#[derive(Serialize)]
struct Event<'a, T> {
    event: Channel,
    #[serde(rename = "type")]
    event_type: EventType,
    seq: u64,
    epoch: &'a str,
    data: &'a T,
}

/// The message of an answer.
#[must_use]
pub fn answer(ext_id: &str, result: &Result<RawReply, ApiError>) -> Vec<u8> {
    match result {
        Ok(reply) => write(&Answer { ext_id, status: reply.status, data: &reply.data }),
        Err(problem) => error(Some(ext_id), problem),
    }
}

/// The message of an error; without an `extID` where the message it answers had none.
#[must_use]
pub fn error(ext_id: Option<&str>, error: &ApiError) -> Vec<u8> {
    write(&Error { ext_id, status: error.code.status(), error: error.body() })
}

/// The message of something that happened.
#[must_use]
pub fn event(channel: Channel, event_type: EventType, seq: u64, epoch: &str, data: &impl Serialize) -> Vec<u8> {
    write(&Event { event: channel, event_type, seq, epoch, data })
}

fn write(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_else(|error| {
        tracing::error!(%error, "a message has no JSON form");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &[u8]) -> (Option<String>, ErrorCode, String) {
        let (ext_id, error) = *Request::read(message).expect_err("it is no request");
        (ext_id, error.code, error.message)
    }

    #[test]
    fn a_request_is_read_and_what_is_unknown_in_it_is_passed_over() {
        let message = br#"{"more":{"a":[1]},"command":"Ping","extID":"1","data":{"x":1}}"#;
        let request = Request::read(message).expect("a request");
        assert_eq!((request.command.as_str(), request.ext_id.as_str()), ("Ping", "1"));
        assert_eq!(request.data.expect("data").get(), r#"{"x":1}"#);
        assert!(Request::read(br#"{"command":"Ping","extID":""}"#).is_ok_and(|request| request.data.is_none()));
    }

    #[test]
    fn what_is_no_request_is_told_apart_by_what_is_wrong() {
        for message in ["", "hello", "[1]", "\"text\"", "{", "{\"command\":\"Ping\",\"extID\":\"1\"} more", "null", "7"]
        {
            let (ext_id, code, _) = refused(message.as_bytes());
            assert_eq!((ext_id, code), (None, ErrorCode::InvalidMessage), "{message}");
        }
        assert_eq!(refused(b"\xff\xfe").1, ErrorCode::InvalidMessage);
        let deep = "[".repeat(100_000);
        assert_eq!(refused(deep.as_bytes()).1, ErrorCode::InvalidMessage);
        let deep = format!(r#"{{"command":"Ping","extID":"1","data":{deep}"#);
        assert_eq!(refused(deep.as_bytes()).1, ErrorCode::InvalidMessage);

        let field = |message: &str| {
            let (ext_id, code, text) = refused(message.as_bytes());
            assert_eq!(code, ErrorCode::InvalidData, "{message}");
            (ext_id, text.split(':').next().unwrap_or_default().to_owned())
        };
        let known = |name: &str| (Some("9".to_owned()), name.to_owned());
        assert_eq!(field(r#"{"extID":"9"}"#), known("command"));
        assert_eq!(field(r#"{"extID":"9","command":7}"#), known("command"));
        assert_eq!(field(r#"{"extID":"9","command":"Ping","__token":{}}"#), known("__token"));
        assert_eq!(field(r#"{"command":"Ping"}"#), (None, "extID".to_owned()));
        assert_eq!(field(r#"{"command":"Ping","extID":9}"#), (None, "extID".to_owned()));
        let long = format!(r#"{{"command":"Ping","extID":"{}"}}"#, "x".repeat(MAX_EXT_ID + 1));
        assert_eq!(field(&long), (None, "extID".to_owned()));
    }

    #[test]
    fn an_error_says_all_of_its_fields() {
        let error = error(None, &ApiError::field("limit", "must be from 1 to 1000"));
        let value: serde_json::Value = serde_json::from_slice(&error).expect("JSON");
        assert_eq!(
            value,
            serde_json::json!({
                "extID": null, "status": 400, "error": "INVALID_DATA", "message": "limit: must be from 1 to 1000",
                "detail": { "field": "limit" }, "retryable": false, "retry_after_ms": 0,
            })
        );
    }
}
