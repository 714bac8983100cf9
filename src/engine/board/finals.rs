//! The last progress of ended runs, folded once for all who are sent it.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_model::ids::RunId;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use crate::engine::EngineError;

/// So many are kept, those of the newest runs: the others are folded again when they are asked for.
const KEPT: usize = 64;

/// Final progress by run. It never changes.
#[derive(Default)]
pub(super) struct Finals(Mutex<BTreeMap<RunId, Arc<RawValue>>>);

impl Finals {
    /// That of a run, made by `fold` where it is not here. Whoever comes while it is being made waits for it.
    pub(super) async fn get<F>(&self, run_id: RunId, fold: F) -> Result<Arc<RawValue>, EngineError>
    where
        F: AsyncFnOnce() -> Result<Arc<RawValue>, EngineError>,
    {
        let mut kept = self.0.lock().await;
        if let Some(known) = kept.get(&run_id) {
            return Ok(known.clone());
        }
        let made = fold().await?;
        kept.insert(run_id, made.clone());
        if kept.len() > KEPT {
            kept.pop_first();
        }
        Ok(made)
    }
}
