//! What a command is: one type with its request, its answer and its errors.

use std::any::type_name;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use holdfast_model::access::Role;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::call::Call;
use super::error::{ApiError, ErrorCode};

/// What a command does to the world, which says whether it is recorded and whether it is taken while the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It shows something. Only its refusals are recorded.
    Read,
    /// It changes something. It is recorded.
    Change,
    /// It begins work that takes its time. It is recorded, and refused while the server is about to stop.
    Work,
}

/// Where a command may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Every door.
    Everywhere,
    /// Doors with a connection that stays: all but HTTP.
    Connections,
    /// The Unix socket and the handle: what it means depends on this machine, or is for the command line alone.
    Local,
}

/// A command. The type is its `data`: unknown fields are ignored, what is omitted keeps its default. Its doc comment is its description.
pub trait Command: DeserializeOwned + JsonSchema + Send + 'static {
    /// Its name.
    const NAME: &'static str;
    /// Other names for it.
    const ALIASES: &'static [&'static str] = &[];
    /// The least role that may; `None` for everybody, known or not.
    const ROLE: Option<Role>;
    /// What it does to the world.
    const KIND: Kind;
    /// Where it may come from.
    const REACH: Reach = Reach::Everywhere;
    /// Errors of its own, beside those that every command may have.
    const ERRORS: &'static [ErrorCode] = &[];

    /// The answer's `data`.
    type Answer: Serialize + JsonSchema + Send + 'static;

    /// Refuses values that the types let through.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidData`], naming the field.
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }

    /// What of the request is recorded: names and choices, never secrets and nothing long.
    fn recorded(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Does it.
    fn run(self, call: &Call) -> impl Future<Output = Result<Reply<Self::Answer>, ApiError>> + Send;
}

/// An answer with its status.
#[derive(Debug)]
pub struct Reply<T> {
    /// 200, or 202 for what goes on.
    pub status: u16,
    /// The answer's `data`.
    pub data: T,
}

impl<T> From<T> for Reply<T> {
    fn from(data: T) -> Self {
        Self { status: 200, data }
    }
}

impl<T> Reply<T> {
    /// The answer of what has begun and goes on.
    pub fn accepted(data: T) -> Self {
        Self { status: 202, data }
    }
}

/// An answer as it is sent.
pub type RawReply = Reply<Box<RawValue>>;
pub(super) type Running = Pin<Box<dyn Future<Output = Result<RawReply, ApiError>> + Send>>;

/// A request that was read and found valid.
pub(super) struct Prepared {
    /// What of it is recorded.
    pub(super) recorded: Vec<(&'static str, String)>,
    /// Does it.
    pub(super) run: Box<dyn FnOnce(Arc<Call>) -> Running + Send>,
}

/// A command in the dispatcher's list: what is known of it without its type.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// The least role that may; `None` for everybody.
    pub role: Option<Role>,
    /// What it does to the world.
    pub kind: Kind,
    /// Where it may come from.
    pub reach: Reach,
    /// Errors of its own.
    pub errors: &'static [ErrorCode],
    /// The schema of its `data`.
    pub request: fn(&mut SchemaGenerator) -> Schema,
    /// The schema of its answer's `data`.
    pub answer: fn(&mut SchemaGenerator) -> Schema,
    pub(super) prepare: fn(&str) -> Result<Prepared, ApiError>,
}

impl Entry {
    /// Reads a request's `data` and checks it, and does nothing more.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidData`], naming the field.
    pub fn check(&self, data: &str) -> Result<(), ApiError> {
        (self.prepare)(data).map(drop)
    }
}

/// The entry of a command.
pub(super) const fn entry<C: Command>() -> Entry {
    Entry {
        name: C::NAME,
        aliases: C::ALIASES,
        role: C::ROLE,
        kind: C::KIND,
        reach: C::REACH,
        errors: C::ERRORS,
        request: |schemas| schemas.subschema_for::<C>(),
        answer: |schemas| schemas.subschema_for::<C::Answer>(),
        prepare: prepare::<C>,
    }
}

fn prepare<C: Command>(data: &str) -> Result<Prepared, ApiError> {
    let command: C = read(data)?;
    command.check()?;
    let recorded = command.recorded();
    let run = |call: Arc<Call>| -> Running {
        Box::pin(async move {
            let reply = command.run(&call).await.map_err(|error| error.told_to(call.caller.door))?;
            let data = serde_json::value::to_raw_value(&reply.data).map_err(|error| {
                tracing::error!(answer = type_name::<C::Answer>(), %error, "an answer has no JSON form");
                ApiError::new(ErrorCode::Internal, "the answer could not be written")
            })?;
            Ok(Reply { status: reply.status, data })
        })
    };
    Ok(Prepared { recorded, run: Box::new(run) })
}

/// Reads `data`. What is wrong is told with the field's name, as a path from the top.
pub(super) fn read<T: DeserializeOwned>(data: &str) -> Result<T, ApiError> {
    if !data.trim_ascii_start().starts_with('{') {
        return Err(ApiError::field("data", "must be a JSON object"));
    }
    from_text(data).or_else(|error| with_whole_numbers(data).ok_or(error))
}

fn from_text<T: DeserializeOwned>(data: &str) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_str(data);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let path = path.trim_end_matches(".?");
        let reason = error.into_inner();
        match path {
            // A field that is missing is named by the reason.
            "." | "?" => match missing(&reason.to_string()) {
                Some(field) => ApiError::field(&field, "is required"),
                None => ApiError::field("data", rule(&reason)),
            },
            path => ApiError::field(path, rule(&reason)),
        }
    })?;
    reader.end().map_err(|_| ApiError::field("data", "must be one JSON object, and nothing after it"))?;
    Ok(value)
}

/// The largest number up to which a float holds every whole one.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// Reads data in which whole numbers are written as others are: JSON knows one kind of numbers, and by the schemas `5.0` is an integer
/// (JSON Schema 2020-12, validation, 6.1.1). `None` where there are none, or where that was not what was wrong: nothing but the form of the
/// numbers is changed, so all else that is refused is refused again.
fn with_whole_numbers<T: DeserializeOwned>(data: &str) -> Option<T> {
    from_text(&whole_numbers(data)?).ok()
}

/// The same text with each whole number in the form of one; `None` where all are.
fn whole_numbers(data: &str) -> Option<String> {
    let mut text = String::with_capacity(data.len());
    let (mut rest, mut found) = (data, false);
    while let Some(at) = rest.find(['"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let end = match from.strip_prefix('"') {
            Some(string) => 1 + end_of_string(string),
            None => from
                .find(|c: char| !c.is_ascii_digit() && !matches!(c, '+' | '-' | '.' | 'e' | 'E'))
                .unwrap_or(from.len()),
        };
        let (token, after) = from.split_at(end);
        match whole(token) {
            Some(number) => {
                found = true;
                text.push_str(&number.to_string());
            }
            None => text.push_str(token),
        }
        rest = after;
    }
    text.push_str(rest);
    found.then_some(text)
}

/// The bytes up to and with the end of a string.
fn end_of_string(string: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in string.bytes().enumerate() {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    string.len()
}

/// The number, where it is whole and not written as such.
fn whole(token: &str) -> Option<i64> {
    if !token.contains(['.', 'e', 'E']) || token.starts_with('"') {
        return None;
    }
    let float: f64 = token.parse().ok()?;
    (float.fract() == 0.0 && float.abs() <= WHOLE).then_some(float as i64)
}

/// What a value must be, in words: what serde says names types of Rust, quotes what was sent, and tells a place in it.
fn rule(reason: &serde_json::Error) -> String {
    use serde_json::error::Category;
    if matches!(reason.classify(), Category::Syntax | Category::Eof) {
        return "must be JSON".to_owned();
    }
    let text = reason.to_string();
    // A place in `data`, which is none in the message it came in.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    if text.starts_with("UUID parsing failed") {
        return "must be a UUID, as 0199c0de-0000-7000-8000-000000000001".to_owned();
    }
    if let Some((_, words)) = text.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected ")) {
        return format!("must be {}", words.replace('`', ""));
    }
    let expected = ["invalid type: ", "invalid value: ", "invalid length "].into_iter().find_map(|kind| {
        let rest = text.strip_prefix(kind)?;
        Some(rest.rsplit_once(", expected ")?.1)
    });
    match expected {
        None => text.to_owned(),
        Some("a boolean") => "must be true or false".to_owned(),
        Some("u8") => up_to(u8::MAX),
        Some("u16") => up_to(u16::MAX),
        Some("u32") => up_to(u32::MAX),
        Some("u64" | "usize") => up_to(u64::MAX),
        Some("i64") => "must be a whole number".to_owned(),
        Some("f64") => "must be a number".to_owned(),
        Some("a string" | "path string" | "a formatted UUID string") => "must be a string".to_owned(),
        Some("a sequence") => "must be a list".to_owned(),
        Some(other) if other.starts_with("struct ") || other == "a map" => "must be an object".to_owned(),
        Some(other) if other.contains("UUID") => "must be a UUID, as 0199c0de-0000-7000-8000-000000000001".to_owned(),
        Some(other) if other.ends_with("identifier") || other.starts_with("enum ") => {
            "must be one of its words".to_owned()
        }
        Some(other) => format!("must be {other}"),
    }
}

fn up_to(most: impl std::fmt::Display) -> String {
    format!("must be a whole number from 0 to {most}")
}

/// The field of serde's "missing field `name`".
fn missing(reason: &str) -> Option<String> {
    let rest = reason.strip_prefix("missing field `")?;
    Some(rest.split_once('`')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::api::ErrorCode;
    use crate::api::table::find;

    fn refused(command: &str, data: &str) -> String {
        let error = find(command).expect("a command").check(data).expect_err("it is refused");
        assert_eq!(error.code, ErrorCode::InvalidData);
        error.detail.and_then(|detail| Some(detail.get("field")?.as_str()?.to_owned())).expect("it names the field")
    }

    #[test]
    fn wrong_data_is_told_with_the_name_of_the_field() {
        assert_eq!(refused("GetBackupRun", "{}"), "run_id");
        assert_eq!(refused("GetBackupRun", r#"{"run_id":7}"#), "run_id");
        assert_eq!(refused("GetBackupRun", r#"{"run_id":"../etc"}"#), "run_id");
        assert_eq!(refused("GetBackupRuns", r#"{"limit":-1}"#), "limit");
        assert_eq!(refused("GetBackupRuns", r#"{"limit":1e30}"#), "limit");
        assert_eq!(refused("StartFullBackup", r#"{"participants":["a",3]}"#), "participants[1]");
        assert_eq!(refused("StartFullBackup", r#"{"wait":"yes"}"#), "wait");
        for data in ["", "null", "[]", "7", "{", "{}{}"] {
            assert_eq!(refused("Ping", data), "data", "{data}");
        }
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        for data in [r#"{"limit":5.0}"#, r#"{"limit":5e1}"#, r#"{"more":[1.0,{"deep":2.0}],"limit":5.0}"#] {
            find("GetBackupRuns").expect("a command").check(data).expect("valid");
        }
        for data in [r#"{"limit":5.5}"#, r#"{"limit":-5.0}"#, r#"{"limit":1e300}"#, r#"{"limit":5.0,"status":"no"}"#] {
            refused("GetBackupRuns", data);
        }
    }

    #[test]
    fn what_a_value_must_be_is_told_in_words() {
        let told =
            |command: &str, data: &str| find(command).expect("a command").check(data).expect_err("refused").message;
        for (command, data, message) in [
            ("GetBackupRuns", r#"{"limit":-1}"#, "limit: must be a whole number from 0 to 4294967295"),
            ("GetBackupRuns", r#"{"limit":0}"#, "limit: must be from 1 to 1000"),
            ("StartFullBackup", r#"{"wait":"hunter2"}"#, "wait: must be true or false"),
            ("StartFullBackup", r#"{"participants":"a"}"#, "participants: must be a list"),
            ("StartFullBackup", r#"{"paths":["etc"]}"#, "paths: must be absolute"),
            ("StartFullBackup", r#"{"name":"a"}"#, "name: must come with `paths`"),
            (
                "GetRestoreRun",
                r#"{"restore_id":"latest"}"#,
                "restore_id: must be a UUID, as 0199c0de-0000-7000-8000-000000000001",
            ),
            (
                "AddBackupConfig",
                r#"{"name":"a","host":"nas"}"#,
                "host: must be host:port, an IPv6 address in brackets, or nothing",
            ),
            ("AddBackupConfig", r#"{"name":"a","enable":2}"#, "enable: must be from 0 to 1"),
            ("AddBackupConfig", r#"{"name":"a","enable":true}"#, "enable: must be a whole number from 0 to 255"),
            ("GetBackupRun", "{}", "run_id: is required"),
            ("Ping", "{}{}", "data: must be one JSON object, and nothing after it"),
            ("Ping", "{", "data: must be JSON"),
        ] {
            assert_eq!(told(command, data), message, "{command} {data}");
        }
    }

    #[test]
    fn a_number_that_is_taken_lets_nothing_else_through() {
        for data in [
            r#"{"enabled":false,"enabled":true,"x":1.0}"#,
            r#"{"enabled":"yes","x":1.0}"#,
            r#"{"enabled":true,"x":1.0,}"#,
            r#"{"enabled":true,"x":1.0} 2.0"#,
            r#"{"x":1.0}"#,
        ] {
            refused("SetMaintenance", data);
        }
        refused("GetBackupRuns", r#"{"limit":5.0,"limit":6.0}"#);
        // What looks like a number in a text is none.
        assert_eq!(super::whole_numbers(r#"{"a":"1.0 \" 2.0","1.0":3}"#), None);
        let mixed = r#"{"a":[1.0,"\\",-2e1,0.5],"b":1e400,"c":5.0}"#;
        assert_eq!(super::whole_numbers(mixed).as_deref(), Some(r#"{"a":[1,"\\",-20,0.5],"b":1e400,"c":5}"#));
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        find("Ping").expect("a command").check(&format!(r#"{{"deep":{deep},"more":1}}"#)).expect("valid");
    }
}
