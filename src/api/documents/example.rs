//! Examples of what schemas describe: the least that is valid, or what a type says of itself.

use serde_json::{Map, Value, json};

use super::schemas::resolve;

/// Schemas within schemas that are looked into.
const DEEPEST: usize = 16;

/// A request with what it needs and no more.
pub(super) fn request(schema: &Value, definitions: &Map<String, Value>) -> Value {
    of(schema, definitions, Fields::Required, 0)
}

/// An answer with all it has.
pub(super) fn answer(schema: &Value, definitions: &Map<String, Value>) -> Value {
    of(schema, definitions, Fields::All, 0)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fields {
    Required,
    All,
}

fn of(schema: &Value, definitions: &Map<String, Value>, fields: Fields, depth: usize) -> Value {
    let schema = resolve(schema, definitions);
    let first = |key: &str| schema.get(key).and_then(Value::as_array).and_then(|choices| choices.first());
    let told = first("examples").or_else(|| schema.get("const")).or_else(|| schema.get("default"));
    if let Some(told) = told.or_else(|| first("enum")) {
        return told.clone();
    }
    if depth > DEEPEST {
        return Value::Null;
    }
    if let Some(choice) = first("oneOf").or_else(|| first("anyOf")).or_else(|| first("allOf")) {
        return of(choice, definitions, fields, depth + 1);
    }
    let kind = schema.get("type").map(|kind| kind.as_array().and_then(|kinds| kinds.first()).unwrap_or(kind));
    match kind.and_then(Value::as_str) {
        Some("object") => object(schema, definitions, fields, depth),
        Some("array") => array(schema, definitions, fields, depth),
        Some("integer" | "number") => match schema.get("minimum").and_then(Value::as_i64) {
            Some(least) if least > 0 => json!(least),
            _ => json!(0),
        },
        Some("boolean") => json!(false),
        Some("string") => json!(""),
        _ => json!({}),
    }
}

fn object(schema: &Value, definitions: &Map<String, Value>, fields: Fields, depth: usize) -> Value {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return json!({}) };
    let required = |name: &String| {
        let names = schema.get("required").and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|required| required.as_str() == Some(name)))
    };
    let shown = properties.iter().filter(|(name, _)| fields == Fields::All || required(name));
    Value::Object(shown.map(|(name, one)| (name.clone(), of(one, definitions, fields, depth + 1))).collect())
}

fn array(schema: &Value, definitions: &Map<String, Value>, fields: Fields, depth: usize) -> Value {
    let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
    match schema.get("items") {
        Some(items) if fields == Fields::All || least > 0 => json!([of(items, definitions, fields, depth + 1)]),
        _ => json!([]),
    }
}
