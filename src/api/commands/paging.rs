//! Pages of lists: how many rows, and where the next page begins.

use holdfast_model::ids::Position;

use crate::api::{ApiError, Call};

/// Most rows of a page, whatever is configured.
const MOST: u32 = 1000;

/// Refuses a page that cannot be.
pub(super) fn check(limit: Option<u32>, from: &str) -> Result<(), ApiError> {
    if limit.is_some_and(|rows| !(1..=MOST).contains(&rows)) {
        return Err(ApiError::field("limit", format_args!("must be from 1 to {MOST}")));
    }
    cursor(from).map(drop)
}

/// How many rows were asked for, within what is allowed.
pub(super) fn limit(call: &Call, asked: Option<u32>) -> Result<usize, ApiError> {
    let settings = call.desk.settings();
    match asked.map(|asked| asked as usize) {
        None => Ok(settings.page),
        Some(rows) if (1..=settings.page_max).contains(&rows) => Ok(rows),
        Some(_) => Err(ApiError::field("limit", format_args!("must be from 1 to {}", settings.page_max))),
    }
}

/// Where a page begins: a place in the log, as the page before gave it out. An empty one is none.
pub(super) fn cursor(text: &str) -> Result<Option<Position>, ApiError> {
    match text {
        "" => Ok(None),
        text => match text.parse() {
            Ok(place) => Ok(Some(Position(place))),
            Err(_) => Err(ApiError::field("cursor", "it is none that a page gave out as `next_cursor`")),
        },
    }
}
