//! Requests in flight: each has an `extID` of its own, and there are few of them.

use std::sync::Arc;
use std::time::Duration;

use super::Connection;
use crate::api::{ApiError, ErrorCode};
use crate::server::lobby::Working;

/// When it is worth another try for a request that was one too many at a time.
const SOON: Duration = Duration::from_millis(100);

/// A request in flight.
pub(super) struct Flight {
    connection: Arc<Connection>,
    ext_id: Option<String>,
    _working: Working,
}

impl Flight {
    /// Frees its `extID`.
    pub(super) fn land(&mut self) {
        if let Some(ext_id) = self.ext_id.take() {
            self.connection.state().ext_ids.remove(&ext_id);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.land();
        self.connection.in_flight.send_modify(|in_flight| *in_flight -= 1);
    }
}

impl Connection {
    /// Takes a request's `extID`, and counts it as in flight.
    pub(super) fn take_off(self: &Arc<Self>, ext_id: &str) -> Result<Flight, ApiError> {
        let most = self.lobby.settings().limits.in_flight;
        let mut state = self.state();
        state.asked = true;
        if state.ext_ids.contains(ext_id) {
            let text = format!("the extID {ext_id:?} belongs to a request that is not answered yet: use another");
            return Err(ApiError::new(ErrorCode::DuplicateExtId, text));
        }
        if state.ext_ids.len() >= most {
            drop(state);
            self.lobby.gauges.limited();
            let text = format!("{most} requests of this connection are not answered yet: wait for one of them");
            return Err(ApiError::new(ErrorCode::RateLimited, text).retry_after(SOON));
        }
        state.ext_ids.insert(ext_id.to_owned());
        drop(state);
        self.in_flight.send_modify(|in_flight| *in_flight += 1);
        let working = self.lobby.work();
        Ok(Flight { connection: self.clone(), ext_id: Some(ext_id.to_owned()), _working: working })
    }
}
