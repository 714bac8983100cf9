use std::collections::BTreeSet;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::schemas::Schemas;
use super::*;

/// Every reference in a document, and what is there.
fn references(document: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut values = vec![document];
    while let Some(value) = values.pop() {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                values.extend(fields.values());
            }
            Value::Array(items) => values.extend(items),
            _ => {}
        }
    }
    found
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_referred_to() {
    for document in [openapi(), asyncapi()] {
        let references = references(&document);
        for reference in &references {
            let place = reference.strip_prefix('#').expect("a place in the document");
            assert!(document.pointer(place).is_some(), "{reference}");
        }
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        for name in schemas.keys() {
            assert!(references.contains(&format!("{}{name}", schemas::PLACE)), "{name} is not used");
        }
    }
}

#[test]
fn what_is_for_this_machine_only_is_in_neither() {
    for document in [openapi(), asyncapi()] {
        let text = document.to_string();
        for hidden in ["CreateToken", "RevokeToken", "exclude", "one_file_system"] {
            assert!(!text.contains(&format!("\"{hidden}\"")), "{hidden}");
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Both {
    #[serde(default)]
    omitted: u32,
}

#[test]
fn a_type_of_requests_and_answers_has_two_forms_where_they_differ() {
    let entry = crate::api::find("Ping").expect("it is there");
    let entry: &'static Entry = Box::leak(Box::new(Entry {
        request: |schemas| schemas.subschema_for::<Both>(),
        answer: |schemas| schemas.subschema_for::<Both>(),
        ..*entry
    }));
    let mut schemas = Schemas::new(&SchemaSettings::draft2020_12());
    let mut commands = [schemas.describe(entry)];
    let definitions = schemas.finish(&mut commands);
    assert_eq!(commands[0].request, json!({ "$ref": "#/components/schemas/BothInput" }));
    assert_eq!(commands[0].answer, json!({ "$ref": "#/components/schemas/Both" }));
    assert_eq!(definitions["Both"]["required"], json!(["omitted"]));
    assert_eq!(definitions["BothInput"].get("required"), None);
    assert_eq!(definitions["BothInput"]["properties"]["omitted"]["maximum"], u32::MAX);
}

#[test]
fn doc_comments_become_titles_and_whole_lines() {
    let text = "Begins a backup of all\nparticipants. It goes on.\n\n- one\n- two\n  more";
    assert_eq!(text::summary(text), "Begins a backup of all participants");
    assert_eq!(text::summary("Runs"), "Runs");
    let whole = "Begins a backup of all participants. It goes on.\n\n- one\n- two   more";
    assert_eq!(text::unwrapped(text), whole);
}

#[test]
fn errors_of_a_command_are_told_by_status() {
    let entry = crate::api::find("StartFullBackup").expect("it is there");
    let http = errors::by_status(entry, errors::Way::Http);
    let codes = |status| http.get(&status).map(|codes| codes.iter().map(|code| code.as_str()).collect::<Vec<_>>());
    assert_eq!(codes(401), Some(vec!["UNAUTHENTICATED", "INVALID_TOKEN"]));
    assert!(codes(409).is_some_and(|codes| codes.contains(&"BACKUP_ALREADY_RUNNING")));
    assert!(codes(500).is_some_and(|codes| codes == ["BACKUP_RUN_FAILED", "INTERNAL"]));
    assert_eq!(codes(404), Some(vec!["RET_NOT_FOUND"]), "an endpoint that is not there");
    let connection = errors::by_status(entry, errors::Way::Connection);
    assert!(connection.get(&409).is_some_and(|codes| codes.contains(&crate::api::ErrorCode::DuplicateExtId)));
    assert!(!connection.contains_key(&415));
}
