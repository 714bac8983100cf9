//! The documents of the interface: valid by validators that others wrote, the same wherever they are read, complete.

use std::collections::BTreeSet;
use std::fs;

use holdfast::api::{Reach, TABLE};
use serde_json::Value;

use crate::support::Home;
use crate::support::others::{curl, node, python};
use crate::support::server::Server;

fn document(home: &Home, name: &str) -> (std::path::PathBuf, Value) {
    let printed = home.holdfast(["documents", name]).run().expect(0).out();
    let path = home.beside(format!("{name}.json"));
    fs::write(&path, &printed).unwrap();
    (path, serde_json::from_str(&printed).unwrap())
}

#[test]
fn openapi_is_valid_and_so_are_its_examples() {
    let home = Home::new();
    let (path, _) = document(&home, "openapi");
    let said = python(&home, "openapi.py").arg(path).run().expect(0).out();
    assert!(said.contains("examples"), "{said}");
}

#[test]
fn asyncapi_is_valid_and_so_are_its_examples() {
    let home = Home::new();
    let (path, _) = document(&home, "asyncapi");
    let said = node(&home, "asyncapi.cjs").arg(path).run().expect(0).out();
    assert!(said.contains("5 channels"), "{said}");
}

#[test]
fn every_command_stands_in_the_document_of_each_door_it_may_come_by() {
    let home = Home::new();
    let paths = document(&home, "openapi").1["paths"].clone();
    let operations = document(&home, "asyncapi").1["operations"].clone();
    for entry in TABLE {
        let path = &paths[format!("/api/v1/{}", entry.name)]["post"];
        let operation = &operations[entry.name];
        assert_eq!(path.is_object(), entry.reach == Reach::Everywhere, "{} over HTTP", entry.name);
        assert_eq!(operation.is_object(), entry.reach != Reach::Local, "{} over connections", entry.name);
        for described in [path, operation].into_iter().filter(|described| described.is_object()) {
            assert!(described["description"].as_str().is_some_and(|text| !text.is_empty()), "{}", entry.name);
            let aliases: Vec<_> = described["x-aliases"].as_array().into_iter().flatten().collect();
            assert_eq!(aliases, entry.aliases, "{}", entry.name);
        }
        if entry.reach == Reach::Everywhere {
            let codes: BTreeSet<_> = path["responses"]
                .as_object()
                .unwrap()
                .values()
                .filter_map(|response| response["content"]["application/json"]["examples"].as_object())
                .flat_map(|examples| examples.keys().cloned())
                .collect();
            for code in entry.errors {
                assert!(codes.contains(code.as_str()), "{} does not say {}", entry.name, code.as_str());
            }
        }
    }
}

#[test]
fn what_is_served_is_what_is_printed_and_needs_no_token() {
    let home = Home::new();
    let server = Server::start(&home, "");
    for name in ["openapi", "asyncapi"] {
        let served = curl(&home, &server, &format!("/{name}.json"), &[]);
        assert_eq!((served.status, served.header("content-type")), (200, Some("application/json")));
        assert_eq!(serde_json::from_str::<Value>(&served.body).unwrap(), document(&home, name).1);
    }
    server.stop().expect(0);
}
