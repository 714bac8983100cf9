//! Whether the server is well: what `/healthz` and `/readyz` say.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::Holdfast;

/// How the server is. A check that is well says `ok`; one that is not, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `ok` or `failed`.
    pub status: &'static str,
    /// Each check by its name.
    pub checks: BTreeMap<&'static str, String>,
}

impl Health {
    /// Whether the process does its work: it answers, and what happens can be recorded. Where it cannot, only a new process helps.
    #[must_use]
    pub fn live(engine: &Holdfast) -> Self {
        Self::of([log(engine)])
    }

    /// Whether new work is taken. That it answers shows that it has started: its doors open only after the log was replayed, with the
    /// home's lock held until they are closed.
    #[must_use]
    pub fn ready(engine: &Holdfast) -> Self {
        let draining = engine.desk().life().is_draining();
        let taking = if draining { Err("the server is about to stop".to_owned()) } else { Ok(()) };
        Self::of([("started", Ok(())), ("home", Ok(())), log(engine), ("draining", taking)])
    }

    fn of<const N: usize>(checks: [(&'static str, Result<(), String>); N]) -> Self {
        let well = checks.iter().all(|(_, check)| check.is_ok());
        let said = |check: Result<(), String>| check.map_or_else(|reason| reason, |()| "ok".to_owned());
        Self {
            status: if well { "ok" } else { "failed" },
            checks: checks.into_iter().map(|(name, check)| (name, said(check))).collect(),
        }
    }

    /// Whether all is well.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.status == "ok"
    }
}

fn log(engine: &Holdfast) -> (&'static str, Result<(), String>) {
    ("log", engine.is_lost().map_or(Ok(()), Err))
}

/// The schema of an answer.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["status", "checks"],
        "properties": {
            "status": { "enum": ["ok", "failed"] },
            "checks": { "type": "object", "additionalProperties": { "type": "string" } },
        },
        "example": { "status": "ok", "checks": { "log": "ok" } },
    })
}
