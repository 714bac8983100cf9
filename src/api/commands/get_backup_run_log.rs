//! `GetBackupRunLog`.

use holdfast_model::access::Role;
use holdfast_model::ids::{RunId, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::paging;
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};
use crate::engine::LogRow;

/// The story of a run: each of its recorded events as a line for people, the oldest first, a page at a time. Also of a deleted run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetBackupRunLog {
    /// Which run.
    pub run_id: RunId,
    /// Rows at most; 1 to 1,000, and 100 where nothing is said.
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before, empty for the first.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[0-9]{0,19}$"))]
    pub cursor: String,
}

/// A page of a run's story.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogRows {
    /// A line each, the oldest first.
    pub rows: Vec<LogRow>,
    /// Where the next page begins; empty where there is none.
    pub next_cursor: String,
}

impl Command for GetBackupRunLog {
    const NAME: &'static str = "GetBackupRunLog";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::BackupRunNotFound];
    type Answer = LogRows;

    fn check(&self) -> Result<(), ApiError> {
        paging::check(self.limit, &self.cursor)
    }

    async fn run(self, call: &Call) -> Result<Reply<LogRows>, ApiError> {
        let limit = paging::limit(call, self.limit)?;
        // The place in the run's own stream.
        let after = paging::cursor(&self.cursor)?.map_or(Version::NONE, |place| Version(place.0));
        call.engine.run(self.run_id).await?;
        let (engine, run_id) = (call.engine.clone(), self.run_id);
        let read = tokio::task::spawn_blocking(move || engine.run_events(run_id, after)).await;
        let read = read.map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))??;
        let rows: Vec<_> = read.iter().take(limit).map(LogRow::from).collect();
        let more = read.len() > rows.len() || read.len() == crate::engine::RUN_EVENTS;
        let last = read.get(rows.len().wrapping_sub(1)).filter(|_| more);
        let next_cursor = last.map_or_else(String::new, |last| last.version.to_string());
        Ok(LogRows { rows, next_cursor }.into())
    }
}
