//! Names that may stand in some source files of a crate and not in others.

use anyhow::Context;

use super::{Violation, tokens};

/// The folders whose sources are looked at.
pub(super) const FOLDERS: &[&str] = &["events/model/src", "src", "tests"];

/// Names, and where they may not stand.
struct Rule {
    folder: &'static str,
    /// The module in it where they may.
    module: Option<&'static str>,
    names: &'static [&'static str],
    because: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        folder: "events/model/src",
        module: None,
        names: &[
            // IO, and what the process knows of its surroundings
            "std::env",
            "std::fs",
            "std::io",
            "std::net",
            "std::os",
            "std::process",
            "print",
            "println",
            "eprint",
            "eprintln",
            "dbg",
            // clocks; a `Duration` is a number like any other
            "Instant",
            "SystemTime",
            "UNIX_EPOCH",
            // randomness, the order of a hash map's entries included
            "HashMap",
            "HashSet",
            "RandomState",
            "new_v4",
            "now_v1",
            "now_v6",
            "now_v7",
            "rand",
            "getrandom",
            // threads, and what is shared between them
            "std::thread",
            "thread_local",
            "Mutex",
            "RwLock",
            "Condvar",
            "std::sync::Barrier",
            "mpsc",
            "std::sync::atomic",
            "core::sync::atomic",
            // waiting
            "async",
            "await",
            "std::future",
            "core::future",
            "std::task",
            "core::task",
        ],
        because: "the model is pure: time, ids and bytes arrive inside commands",
    },
    Rule {
        folder: "events/model/src",
        module: Some("codec"),
        names: &["bincode"],
        because: "only the codec module knows the wire form",
    },
    Rule { folder: "src", module: Some("engine"), names: &["actix"], because: "only the engine runs actors" },
    Rule { folder: "tests", module: None, names: &["actix"], because: "tests see what a user sees" },
];

impl Rule {
    fn covers(&self, file: &str) -> bool {
        let Some(inside) = file.strip_prefix(self.folder).and_then(|rest| rest.strip_prefix('/')) else { return false };
        let module = inside.split('/').next().map(|first| first.strip_suffix(".rs").unwrap_or(first));
        self.module.is_none() || self.module != module
    }
}

/// Where `source`, the file at the path `file` below the top folder, names what it may not.
///
/// # Errors
/// Where `source` is no Rust.
pub(super) fn violations(file: &str, source: &str) -> anyhow::Result<Vec<Violation>> {
    let named = tokens::paths(source).with_context(|| format!("{file} cannot be checked"))?;
    let mut violations = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.covers(file)) {
        for name in rule.names {
            let words: Vec<&str> = name.split("::").collect();
            violations.extend(named.iter().filter(|named| named.holds(&words)).map(|named| Violation {
                place: format!("{file}:{}", named.line),
                text: format!("names {name}: {}", rule.because),
            }));
        }
    }
    Ok(violations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, source: &str) -> Vec<String> {
        violations(file, source).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_model_names_nothing_of_the_world() {
        let because = "the model is pure: time, ids and bytes arrive inside commands";
        assert_eq!(
            found("events/model/src/run/decide.rs", "use std::{fs, time::Duration};\nfn f() { SystemTime::now(); }"),
            [
                format!("events/model/src/run/decide.rs:1: names std::fs: {because}"),
                format!("events/model/src/run/decide.rs:2: names SystemTime: {because}"),
            ]
        );
        assert_eq!(found("events/model/src/ids.rs", "async fn f() { Uuid::now_v7(); println!() }").len(), 3);
        assert!(
            found("events/model/src/ids.rs", "/// Not std::fs.\nuse std::{collections::BTreeMap, fmt};").is_empty()
        );
        assert!(found("src/storage.rs", "use std::fs;").is_empty());
    }

    #[test]
    fn kept_names_stand_in_their_module_only() {
        for file in ["events/model/src/codec.rs", "events/model/src/codec/mod.rs", "src/lib.rs"] {
            assert!(found(file, "use bincode::config;").is_empty(), "{file}");
        }
        assert_eq!(found("events/model/src/event.rs", "#[derive(bincode::Encode)] struct S;").len(), 1);

        for file in ["src/engine/mod.rs", "src/engine/start.rs", "src/engine.rs", "actors/src/lib.rs"] {
            assert!(found(file, "use actix::Actor;").is_empty(), "{file}");
        }
        for file in ["src/cli/engine.rs", "src/engines.rs", "tests/kill.rs"] {
            assert_eq!(found(file, "use actix::Actor;").len(), 1, "{file}");
        }
        assert!(found("src/api.rs", "use actix_web::web;").is_empty());
    }
}
