//! `GetRestoreRuns` and `GetRestoreRun`.

use holdfast_model::access::Role;
use holdfast_model::ids::RestoreId;
use holdfast_model::restore::RestoreView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::paging;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};

/// Restores, the newest first, a page at a time.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GetRestoreRuns {
    /// Rows at most; 1 to 1,000, and 100 where nothing is said.
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before, empty for the first.
    #[schemars(regex(pattern = r"^[0-9]{0,19}$"))]
    pub cursor: String,
}

/// A page of restores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RestoreRows {
    /// The restores, the newest first.
    pub rows: Vec<RestoreView>,
    /// Where the next page begins; empty where there is none.
    pub next_cursor: String,
}

/// One restore.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetRestoreRun {
    /// Which restore.
    pub restore_id: RestoreId,
}

impl Command for GetRestoreRuns {
    const NAME: &'static str = "GetRestoreRuns";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    type Answer = RestoreRows;

    fn check(&self) -> Result<(), ApiError> {
        paging::check(self.limit, &self.cursor)
    }

    async fn run(self, call: &Call) -> Result<Reply<RestoreRows>, ApiError> {
        let limit = paging::limit(call, self.limit)?;
        let before = paging::cursor(&self.cursor)?;
        let mut entries: Vec<_> = call
            .engine
            .read(|known| {
                let listed = known.history.restores_newest_first();
                let listed = listed.filter(|entry| before.is_none_or(|before| entry.requested < before));
                // One more than the page, which says whether there is a next one.
                listed.take(limit.saturating_add(1)).copied().collect()
            })
            .await?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let last = entries.last().filter(|_| more);
        let next_cursor = last.map_or_else(String::new, |last| last.requested.to_string());
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            rows.push(restore(call, entry.restore_id).await?);
        }
        Ok(RestoreRows { rows, next_cursor }.into())
    }
}

impl Command for GetRestoreRun {
    const NAME: &'static str = "GetRestoreRun";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::RestoreRunNotFound];
    type Answer = RestoreView;

    async fn run(self, call: &Call) -> Result<Reply<RestoreView>, ApiError> {
        Ok(restore(call, self.restore_id).await?.into())
    }
}

/// The restore as it is shown.
pub(super) async fn restore(call: &Call, restore_id: RestoreId) -> Result<RestoreView, ApiError> {
    let restore = call.engine.restore_run(restore_id).await?;
    let view = restore.view(call.engine.restore_at_work(restore_id));
    view.ok_or_else(|| ApiError::new(ErrorCode::RestoreRunNotFound, format!("there is no restore {restore_id}")))
}
