//! `AddBackupConfig`.

use holdfast_model::access::Role;
use holdfast_model::endpoint::EndpointConfigV2;
use holdfast_model::ids::EndpointName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint_row::{
    ATTEMPTS, BANDWIDTH, DELAY, EITHER, EndpointRow, INTERVAL, STREAMS, TIMEOUT, Verify, password_place, ranked,
    usable, within,
};
use super::update_backup_config::there;
use crate::api::text::{Host, Line, PasswordFile, Retention, Secret, Url};
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};

/// Adds an endpoint: somewhere copies of runs go. Only its name is required. The password is kept apart from the event log, and is never
/// shown again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct AddBackupConfig {
    /// What it is called from now on.
    pub name: EndpointName,
    /// Its address as `host:port`.
    #[serde(default)]
    pub host: Host,
    /// Who Holdfast is there.
    #[serde(default)]
    pub login: Line,
    /// The password; none where it is empty.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Whether copies go there: 1, or 0.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1))]
    pub enable: u8,
    /// Of which runs: 0 every run, 1 full runs only.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub mode: u8,
    /// Least seconds between two uploads; 0 for each run.
    #[serde(default)]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub timeinterval: u64,
    /// How long an answer is waited for in each attempt, in seconds.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout: u64,
    /// Attempts of an upload, the first included.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    pub retry_attempts: u32,
    /// The pause before the second attempt, in seconds.
    #[serde(default = "five")]
    #[schemars(range(min = 0, max = 86_400))]
    pub retry_delay: u64,
    /// Its address with what kind it is, for example `s3://bucket/prefix`.
    #[serde(default)]
    pub url: Url,
    /// What is kept there, as `30 days` or `10 runs, 12 months`; all where nothing is said.
    #[serde(default)]
    pub retention: Retention,
    /// The file whose first line is the password when it is used, in place of `password`. On the Unix socket alone.
    #[schemars(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PasswordFile>,
    /// The program and its arguments whose first line of output is the password when it is used, in place of `password`. On the Unix socket
    /// alone.
    #[schemars(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_command: Option<Vec<String>>,
    /// How an upload is checked where the far side cannot say its SHA-256.
    #[serde(default)]
    pub verify: Verify,
    /// Bytes a second at most; 0 for no limit.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000_000u64))]
    pub bandwidth: u64,
    /// Who begins first where uploads are limited, and is asked first: the lower number.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// Streams at once.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 16))]
    pub streams: u32,
    /// Whether runs may lie there unencrypted.
    #[serde(default)]
    pub plaintext: bool,
    /// Whether an upload follows its artifact while that is still written; not built yet, so it must be false.
    #[serde(default)]
    pub stream: bool,
}

fn one() -> u8 {
    1
}

fn thirty() -> u64 {
    30
}

fn three() -> u32 {
    3
}

fn four() -> u32 {
    EndpointConfigV2::STREAMS
}

fn five() -> u64 {
    5
}

impl Command for AddBackupConfig {
    const NAME: &'static str = "AddBackupConfig";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Duplicate, ErrorCode::LimitReached];
    type Answer = EndpointRow;

    fn check(&self) -> Result<(), ApiError> {
        within("enable", self.enable.into(), &EITHER)?;
        within("mode", self.mode.into(), &EITHER)?;
        within("timeinterval", self.timeinterval, &INTERVAL)?;
        within("timeout", self.timeout, &TIMEOUT)?;
        within("retry_attempts", self.retry_attempts.into(), &ATTEMPTS)?;
        within("retry_delay", self.retry_delay, &DELAY)?;
        within("streams", self.streams.into(), &STREAMS)?;
        within("bandwidth", self.bandwidth, &BANDWIDTH)?;
        ranked(self.priority)?;
        usable(&self.url)
    }

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.to_string())]
    }

    async fn run(self, call: &Call) -> Result<Reply<EndpointRow>, ApiError> {
        password_place(call, self.password.as_ref(), self.password_file.as_ref(), self.password_command.as_deref())?;
        let config = EndpointConfigV2 {
            host: self.host.into(),
            url: self.url.into(),
            login: self.login.into(),
            enable: self.enable == 1,
            mode: self.mode.into(),
            timeinterval_s: self.timeinterval,
            timeout_s: self.timeout,
            retry_attempts: self.retry_attempts,
            retry_delay_s: self.retry_delay,
            retention: self.retention.into(),
            password_file: self.password_file.map(String::from).unwrap_or_default(),
            password_command: self.password_command.unwrap_or_default(),
            verify: self.verify.into(),
            bandwidth: self.bandwidth,
            priority: self.priority,
            streams: self.streams,
            plaintext: self.plaintext,
            stream: self.stream,
            ..EndpointConfigV2::new(self.name)
        };
        let password = self.password.filter(|password| !password.is_empty()).map(Secret::into_inner);
        there(&call.engine.add_endpoint(config, password).await?)
    }
}
