//! The schemas of the requests say what the code takes: each bound, each type, each word of a list, to the letter.

use std::cell::RefCell;

use holdfast::api::{Entry, Reach, TABLE};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

/// A good value for each required field.
fn sample(field: &str) -> Value {
    match field {
        "run_id" => json!("20261121-031500-000042"),
        "restore_id" => json!("019aa700-0000-7000-8000-000000000001"),
        "name" | "server_name" | "token" => json!("offsite"),
        "role" => json!("viewer"),
        "enabled" => json!(true),
        "channels" => json!(["alerts"]),
        other => panic!("{other} is required and has no sample here"),
    }
}

/// A command's request: what is required, and the schema of each field with its references resolved.
struct Request {
    entry: &'static Entry,
    minimal: Value,
    fields: Vec<(String, Value)>,
    /// Where schema and code are not of one mind.
    wrong: RefCell<Vec<String>>,
}

fn request(entry: &'static Entry) -> Request {
    let mut schemas = SchemaGenerator::default();
    let schema = (entry.request)(&mut schemas).to_value();
    let definitions = schemas.take_definitions(true);
    let schema = resolved(&schema, &definitions);
    let empty = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let fields = properties.iter().map(|(name, schema)| (name.clone(), resolved(schema, &definitions))).collect();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut minimal = json!({});
    for field in required.iter().map(|field| field.as_str().unwrap()) {
        minimal[field] = sample(field);
    }
    Request { entry, minimal, fields, wrong: RefCell::default() }
}

/// The schema itself where it is a reference; of something that may be null what it is otherwise.
fn resolved(schema: &Value, definitions: &Map<String, Value>) -> Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        let mut resolved = resolved(&definitions[name], definitions);
        // What stands beside a reference holds too.
        for (key, value) in schema.as_object().unwrap().iter().filter(|(key, _)| *key != "$ref") {
            resolved[key] = value.clone();
        }
        return resolved;
    }
    if let Some(either) = schema["anyOf"].as_array() {
        let null = |schema: &&Value| schema["type"] == "null";
        let other = either.iter().find(|schema| !null(schema)).expect("not only null");
        let mut resolved = resolved(other, definitions);
        if either.iter().any(|schema| null(&schema)) {
            resolved["nullable"] = json!(true);
        }
        return resolved;
    }
    schema.clone()
}

impl Request {
    fn takes(&self, field: &str, value: &Value) -> Result<(), String> {
        let mut data = self.minimal.clone();
        data[field] = value.clone();
        self.entry.check(&data.to_string()).map_err(|error| error.to_string())
    }

    fn must_take(&self, field: &str, value: &Value) {
        if let Err(error) = self.takes(field, value) {
            self.wrong(format!("{field} = {value} is not taken: {error}"));
        }
    }

    /// Refused, and named.
    fn must_refuse(&self, field: &str, value: &Value) {
        match self.takes(field, value) {
            Ok(()) => self.wrong(format!("{field} = {value} is taken")),
            Err(error) if !error.starts_with(field) || !error.contains("INVALID_DATA") => {
                self.wrong(format!("{field} = {value} is refused, but so: {error}"));
            }
            Err(_) => {}
        }
    }

    fn wrong(&self, what: String) {
        self.wrong.borrow_mut().push(format!("{}: {what}", self.entry.name));
    }
}

fn types(schema: &Value) -> Vec<String> {
    match &schema["type"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) => several.iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn requests_are_taken_and_refused_as_their_schemas_say() {
    let mut wrong = Vec::new();
    // What is for this machine only is in no document.
    for request in TABLE.iter().filter(|entry| entry.reach != Reach::Local).map(request) {
        let name = request.entry.name;
        request.entry.check(&request.minimal.to_string()).unwrap_or_else(|error| panic!("{name}: {error}"));
        for missing in request.minimal.as_object().unwrap().keys() {
            let mut data = request.minimal.clone();
            data.as_object_mut().unwrap().remove(missing);
            match request.entry.check(&data.to_string()) {
                Err(error) if error.to_string().starts_with(missing.as_str()) => {}
                other => request.wrong(format!("without {missing}: {other:?}")),
            }
        }
        for (field, schema) in &request.fields {
            check_types(&request, field, schema);
            check_bounds(&request, field, schema);
            check_words(&request, field, schema);
        }
        wrong.append(&mut request.wrong.take());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check_types(request: &Request, field: &str, schema: &Value) {
    let types = types(schema);
    if types.is_empty() {
        return;
    }
    let is = |name: &str| types.iter().any(|one| one == name) || (name == "null" && schema["nullable"] == true);
    let values = [
        ("null", json!(null)),
        ("boolean", json!(true)),
        ("integer", json!(1)),
        ("number", json!(1.5)),
        ("string", json!("\u{1}")),
        ("array", json!([[]])),
        ("object", json!({})),
    ];
    for (name, value) in values {
        match is(name) {
            // Whether a text or a list is taken depends on more than its type.
            true if !["string", "array", "integer"].contains(&name) => request.must_take(field, &value),
            true => {}
            false => request.must_refuse(field, &value),
        }
    }
}

fn check_bounds(request: &Request, field: &str, schema: &Value) {
    if let (Some(least), Some(most)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
        request.must_take(field, &json!(least));
        request.must_take(field, &json!(most));
        request.must_refuse(field, &json!(least - 1));
        request.must_refuse(field, &json!(most + 1));
    } else if types(schema).iter().any(|one| one == "integer") {
        request.wrong(format!("{field} has no bounds in its schema: {schema}"));
    }
    if let Some(most) = schema["maxLength"].as_u64() {
        request.must_refuse(field, &json!("x".repeat(usize::try_from(most).unwrap() + 1)));
        if schema["pattern"].is_null() {
            request.must_take(field, &json!("ä".repeat(usize::try_from(most).unwrap())));
        }
    } else if types(schema).iter().any(|one| one == "string") && schema["pattern"].is_null() {
        let said = !schema["enum"].is_null() || !schema["format"].is_null() || !schema["const"].is_null();
        if !said {
            request.wrong(format!("{field} is any text, of any length: {schema}"));
        }
    }
}

fn check_words(request: &Request, field: &str, schema: &Value) {
    let listed = |schema: &Value| -> Vec<Value> {
        let mut words = schema["enum"].as_array().cloned().unwrap_or_default();
        for one in schema["oneOf"].as_array().into_iter().flatten() {
            words.extend(one.get("const").cloned());
            words.extend(one["enum"].as_array().cloned().unwrap_or_default());
        }
        words
    };
    let words = listed(schema);
    for word in &words {
        request.must_take(field, word);
    }
    if !words.is_empty() {
        request.must_refuse(field, &json!("no such word"));
    }
}
