//! How many messages or requests a connection may make in a second.

use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::api::{ApiError, ErrorCode};
use crate::config::ServerLimits;

/// How many requests a connection may make in a second.
pub(super) struct Pace(DefaultDirectRateLimiter);

impl Pace {
    pub(super) fn new(limits: &ServerLimits) -> Self {
        let quota = Quota::per_second(limits.requests_per_second).allow_burst(limits.burst);
        Self(RateLimiter::direct(quota))
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`ErrorCode::RateLimited`] where it is one too many.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        self.0.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            ApiError::new(ErrorCode::RateLimited, "these are more requests a second than a connection may make")
                .retry_after(wait.max(Duration::from_millis(1)))
        })
    }
}
