//! An endpoint's configuration as it is shown, and the bounds of its numbers.

use std::ops::RangeInclusive;

use holdfast_model::endpoint::{Endpoint, EndpointConfigV2, UploadCheck};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::text::{PasswordFile, Secret, Url};
use crate::api::{ApiError, Call};
use crate::endpoints::check_url;

/// Longest pause between two uploads, in seconds: a year.
pub(super) const INTERVAL: RangeInclusive<u64> = 0..=31_536_000;
/// How long an answer may be waited for, in seconds.
pub(super) const TIMEOUT: RangeInclusive<u64> = 1..=86_400;
/// Attempts of an upload.
pub(super) const ATTEMPTS: RangeInclusive<u64> = 1..=100;
/// The pause before another attempt, in seconds.
pub(super) const DELAY: RangeInclusive<u64> = 0..=86_400;
/// Streams at once.
pub(super) const STREAMS: RangeInclusive<u64> = 1..=16;
/// Bytes a second: a terabyte.
pub(super) const BANDWIDTH: RangeInclusive<u64> = 0..=1_000_000_000_000;
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
    /// Where its configuration stands: `api` for here, `file` for the configuration file.
    pub source: String,
    /// Whether the configuration file declares it: then it is changed there alone.
    pub declared: bool,
    /// Where its password lies: `kept` for here, `file`, `command`, `environment`; empty where it has none.
    pub password_from: String,
    /// How an upload is checked where the far side cannot say its SHA-256: `size` or `readback`.
    pub verify: Verify,
    /// Bytes a second at most; 0 for no limit.
    pub bandwidth: u64,
    /// Who begins first where uploads are limited, and is asked first: the lower number.
    pub priority: i32,
    /// Streams at once.
    pub streams: u32,
    /// Whether runs may lie there unencrypted.
    pub plaintext: bool,
    /// Whether an upload follows its artifact while that is still written.
    pub stream: bool,
}

/// How an upload is checked where the far side cannot say its SHA-256.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// By its length.
    #[default]
    Size,
    /// It is read back and hashed.
    Readback,
}

impl From<UploadCheck> for Verify {
    fn from(check: UploadCheck) -> Self {
        match check {
            UploadCheck::Size => Self::Size,
            UploadCheck::Readback => Self::Readback,
        }
    }
}

impl From<Verify> for UploadCheck {
    fn from(verify: Verify) -> Self {
        match verify {
            Verify::Size => Self::Size,
            Verify::Readback => Self::Readback,
        }
    }
}

impl EndpointRow {
    /// The row of an endpoint that is there.
    pub(super) fn of(endpoint: &Endpoint) -> Option<Self> {
        endpoint.config().map(Self::of_config)
    }

    fn of_config(config: &EndpointConfigV2) -> Self {
        Self {
            name: config.name.to_string(),
            host: config.host.clone(),
            login: config.login.clone(),
            password_set: config.has_password(),
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
            source: if config.declared { "file" } else { "api" }.into(),
            declared: config.declared,
            password_from: password_from(config).into(),
            verify: config.verify.into(),
            bandwidth: config.bandwidth,
            priority: config.priority,
            streams: config.streams,
            plaintext: config.plaintext,
            stream: config.stream,
        }
    }
}

fn password_from(config: &EndpointConfigV2) -> &'static str {
    if config.secret.is_some() {
        "kept"
    } else if !config.password_file.is_empty() {
        "file"
    } else if !config.password_command.is_empty() {
        "command"
    } else if !config.password_env.is_empty() {
        "environment"
    } else {
        ""
    }
}

/// Where a password lies on this machine, as requests say it: a file is read and a program is run as the server's user, so whoever is not on
/// this machine may say neither.
pub(super) fn password_place(
    call: &Call,
    password: Option<&Secret>,
    file: Option<&PasswordFile>,
    command: Option<&[String]>,
) -> Result<(), ApiError> {
    for (field, said) in [("password_file", file.is_some()), ("password_command", command.is_some())] {
        if said && !call.caller.door.is_local() {
            return Err(ApiError::field(field, "is accepted on the Unix socket alone"));
        }
    }
    let said = [
        password.is_some_and(|password| !password.is_empty()),
        file.is_some_and(|file| !file.as_str().is_empty()),
        command.is_some_and(|command| !command.is_empty()),
    ];
    match said.into_iter().filter(|said| *said).count() {
        0 | 1 => Ok(()),
        _ => Err(ApiError::field("password", "there is one: say one of password, password_file and password_command")),
    }
}

/// Refuses a number out of its range.
pub(super) fn within(field: &str, number: u64, range: &RangeInclusive<u64>) -> Result<(), ApiError> {
    match range.contains(&number) {
        true => Ok(()),
        false => Err(ApiError::field(field, format_args!("must be from {} to {}", range.start(), range.end()))),
    }
}

/// Refuses a priority out of its range.
pub(super) fn ranked(priority: i32) -> Result<(), ApiError> {
    match (-1000..=1000).contains(&priority) {
        true => Ok(()),
        false => Err(ApiError::field("priority", "must be from -1000 to 1000")),
    }
}

/// Refuses an address that no store can be made of. A vault has a protocol of its own.
pub(super) fn usable(url: &Url) -> Result<(), ApiError> {
    check_url(url.as_str()).map_err(|error| ApiError::field("url", error))
}
