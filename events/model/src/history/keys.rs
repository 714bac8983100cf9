//! Idempotency keys: what a run was asked for under, for a day.

use std::collections::BTreeMap;

use crate::codec::Envelope;
use crate::ids::{Position, RunId, Timestamp};
use crate::run::RunRequestedV4;

/// How long a key is remembered, in seconds.
const KEPT_S: u64 = 24 * 3600;
/// Most keys that are remembered; the oldest go first.
const MAX_KEYS: usize = 10_000;

/// Whose, and which.
type Key = (String, String);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    position: Position,
    run_id: RunId,
    at: Timestamp,
}

/// The newest run of each key. A key is its principal's own: nobody attaches to a run of another by guessing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Keys {
    asked: BTreeMap<Key, Asked>,
    oldest_first: BTreeMap<Position, Key>,
}

impl Keys {
    pub(super) fn note(&mut self, envelope: &Envelope, request: &RunRequestedV4) {
        if request.idempotency_key.is_empty() {
            return;
        }
        let key = (envelope.principal.clone(), request.idempotency_key.clone());
        let asked = Asked { position: envelope.position, run_id: request.run_id, at: envelope.time };
        self.oldest_first.insert(envelope.position, key.clone());
        if let Some(earlier) = self.asked.insert(key, asked) {
            self.oldest_first.remove(&earlier.position);
        }
        if self.oldest_first.len() > MAX_KEYS
            && let Some((_, oldest)) = self.oldest_first.pop_first()
        {
            self.asked.remove(&oldest);
        }
    }

    pub(super) fn find(&self, principal: &str, key: &str, now: Timestamp) -> Option<RunId> {
        let asked = self.asked.get(&(principal.to_owned(), key.to_owned()))?;
        (now.seconds_since(asked.at) < KEPT_S).then_some(asked.run_id)
    }
}
