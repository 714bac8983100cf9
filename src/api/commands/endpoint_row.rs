//! An endpoint's configuration as it is shown, and the bounds of its numbers.

use std::ops::RangeInclusive;

use holdfast_model::endpoint::{Endpoint, EndpointConfigV1};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::ApiError;
use crate::api::text::Url;
use crate::endpoints::Address;

/// Longest pause between two uploads, in seconds: a year.
pub(super) const INTERVAL: RangeInclusive<u64> = 0..=31_536_000;
/// How long an answer may be waited for, in seconds.
pub(super) const TIMEOUT: RangeInclusive<u64> = 1..=86_400;
/// Attempts of an upload.
pub(super) const ATTEMPTS: RangeInclusive<u64> = 1..=100;
/// The pause before another attempt, in seconds.
pub(super) const DELAY: RangeInclusive<u64> = 0..=86_400;
/// What is one of two things.
pub(super) const EITHER: RangeInclusive<u64> = 0..=1;

/// An endpoint, and how it is used. The password itself is never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointRow {
    /// Its name.
    pub name: String,
    /// Its address as `host:port`; empty where `url` says it.
    pub host: String,
    /// Who Holdfast is there.
    pub login: String,
    /// Whether there is a password.
    pub password_set: bool,
    /// Whether copies go there: 1 or 0.
    pub enable: u8,
    /// Of which runs: 0 every run, 1 full runs only.
    pub mode: u8,
    /// Least seconds between two uploads; 0 for each run.
    pub timeinterval: u64,
    /// How long an answer is waited for in each attempt, in seconds.
    pub timeout: u64,
    /// Attempts of an upload, the first included.
    pub retry_attempts: u32,
    /// The pause before the second attempt, in seconds.
    pub retry_delay: u64,
    /// Its address with what kind it is; empty where `host` says it.
    pub url: String,
    /// What is kept there; empty for all.
    pub retention: String,
    /// When a run was copied there last; 0 for never.
    pub last_upload: i64,
    /// Whether it can be reached: `unknown` until something was copied there.
    pub health: String,
    /// Where its configuration stands: `api` for here.
    pub source: String,
}

impl EndpointRow {
    /// The row of an endpoint that is there.
    pub(super) fn of(endpoint: &Endpoint) -> Option<Self> {
        endpoint.config().map(Self::of_config)
    }

    fn of_config(config: &EndpointConfigV1) -> Self {
        Self {
            name: config.name.to_string(),
            host: config.host.clone(),
            login: config.login.clone(),
            password_set: config.secret.is_some(),
            enable: u8::from(config.enable),
            mode: u8::from(config.mode != 0),
            timeinterval: config.timeinterval_s,
            timeout: config.timeout_s,
            retry_attempts: config.retry_attempts,
            retry_delay: config.retry_delay_s,
            url: config.url.clone(),
            retention: config.retention.clone(),
            last_upload: 0,
            health: "unknown".into(),
            source: "api".into(),
        }
    }
}

/// Refuses a number out of its range.
pub(super) fn within(field: &str, number: u64, range: &RangeInclusive<u64>) -> Result<(), ApiError> {
    match range.contains(&number) {
        true => Ok(()),
        false => Err(ApiError::field(field, format_args!("must be from {} to {}", range.start(), range.end()))),
    }
}

/// Refuses an address that no store can be made of. A vault has a protocol of its own.
pub(super) fn usable(url: &Url) -> Result<(), ApiError> {
    match url.as_str() {
        "" => Ok(()),
        url if url.starts_with("vault://") => Ok(()),
        url => Address::parse(url).map(drop).map_err(|error| ApiError::field("url", error)),
    }
}
