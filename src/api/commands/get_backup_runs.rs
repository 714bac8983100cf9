//! `GetBackupRuns`.

use holdfast_model::access::Role;
use holdfast_model::history::RunEntry;
use holdfast_model::ids::Position;
use holdfast_model::run::{RunStatus, RunView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::paging;
use crate::api::{ApiError, Call, Command, Kind, Reply, Written};

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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RunRows {
    /// The runs, the newest first.
    pub rows: Vec<Written<RunView>>,
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
        let mut before = paging::cursor(&self.cursor)?.unwrap_or(Position(u64::MAX));
        let mut rows = Vec::new();
        loop {
            // One more than there is room for says whether there is another page.
            let wanted = limit + 1 - rows.len();
            let entries = self.entries(call, before, wanted).await?;
            let is_last = entries.len() < wanted;
            for entry in entries {
                before = entry.requested;
                let Some(row) = call.engine.run_row(entry.run_id).await? else { continue };
                if self.status.is_none_or(|status| status == row.status) {
                    rows.push((entry.requested, row));
                }
            }
            if is_last || rows.len() > limit {
                break;
            }
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more);
        let next_cursor = last.map_or_else(String::new, |(requested, _)| requested.to_string());
        let rows = rows.into_iter().map(|(_, row)| Written::new(row.json)).collect();
        Ok(RunRows { rows, next_cursor }.into())
    }
}

impl GetBackupRuns {
    /// The next entries of the history that may be rows: an end that is known needs no look at the run.
    async fn entries(&self, call: &Call, before: Position, count: usize) -> Result<Vec<RunEntry>, ApiError> {
        let may_be = |entry: &&RunEntry| {
            let ended = entry.outcome.map(RunStatus::from);
            !entry.deleted && self.status.is_none_or(|status| ended.is_none_or(|ended| ended == status))
        };
        let read =
            call.engine.read(|known| known.history.newest_before(before).filter(may_be).take(count).copied().collect());
        Ok(read.await?)
    }
}
