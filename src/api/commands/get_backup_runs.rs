//! `GetBackupRuns`.

use holdfast_model::access::Role;
use holdfast_model::run::{RunStatus, RunView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::paging;
use crate::api::{ApiError, Call, Command, Kind, Reply};

/// Runs, the newest first, a page at a time. Deleted ones are not listed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GetBackupRuns {
    /// Rows at most; 1 to 1,000, and 100 where nothing is said.
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before, empty for the first.
    #[schemars(regex(pattern = r"^[0-9]{0,19}$"))]
    pub cursor: String,
    /// Only runs that stand so.
    pub status: Option<RunStatus>,
}

/// A page of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRows {
    /// The runs, the newest first.
    pub rows: Vec<RunView>,
    /// Where the next page begins; empty where there is none.
    pub next_cursor: String,
}

impl Command for GetBackupRuns {
    const NAME: &'static str = "GetBackupRuns";
    const ALIASES: &'static [&'static str] = &["GetBackupsList"];
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    type Answer = RunRows;

    fn check(&self) -> Result<(), ApiError> {
        paging::check(self.limit, &self.cursor)
    }

    async fn run(self, call: &Call) -> Result<Reply<RunRows>, ApiError> {
        let limit = paging::limit(call, self.limit)?;
        let before = paging::cursor(&self.cursor)?;
        let entries: Vec<_> = call
            .engine
            .read(|known| {
                let listed = known.history.newest_first().filter(|entry| !entry.deleted);
                listed.filter(|entry| before.is_none_or(|before| entry.requested < before)).copied().collect()
            })
            .await?;
        let entries: Vec<holdfast_model::history::RunEntry> = entries;
        let (mut rows, mut next_cursor) = (Vec::new(), String::new());
        let mut last = None;
        for entry in entries {
            if rows.len() == limit {
                next_cursor = last.map_or_else(String::new, |last: holdfast_model::ids::Position| last.to_string());
                break;
            }
            // An end that is known needs no look at the run.
            let ended = entry.outcome.map(RunStatus::from);
            if self.status.is_some_and(|status| ended.is_some_and(|ended| ended != status)) {
                continue;
            }
            let Some(row) = call.engine.run(entry.run_id).await?.view(true) else { continue };
            if self.status.is_none_or(|status| status == row.status) {
                last = Some(entry.requested);
                rows.push(row);
            }
        }
        Ok(RunRows { rows, next_cursor }.into())
    }
}
