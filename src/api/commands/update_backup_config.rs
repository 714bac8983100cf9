//! `UpdateBackupConfig`.

use holdfast_model::access::Role;
use holdfast_model::endpoint::{Endpoint, EndpointConfigV1};
use holdfast_model::ids::EndpointName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint_row::{ATTEMPTS, DELAY, EITHER, EndpointRow, INTERVAL, TIMEOUT, usable, within};
use crate::api::text::{Host, Line, Retention, Secret, Url};
use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};

/// Changes an endpoint. What is left out stays as it is; an empty password takes the password away.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UpdateBackupConfig {
    /// Which endpoint.
    pub name: EndpointName,
    /// Its address as `host:port`.
    pub host: Option<Host>,
    /// Who Holdfast is there.
    pub login: Option<Line>,
    /// Another password; an empty one takes it away.
    pub password: Option<Secret>,
    /// Whether copies go there: 1, or 0.
    #[schemars(range(min = 0, max = 1))]
    pub enable: Option<u8>,
    /// Of which runs: 0 every run, 1 full runs only.
    #[schemars(range(min = 0, max = 1))]
    pub mode: Option<u8>,
    /// Least seconds between two uploads; 0 for each run.
    #[schemars(range(min = 0, max = 31_536_000))]
    pub timeinterval: Option<u64>,
    /// How long an answer is waited for in each attempt, in seconds.
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout: Option<u64>,
    /// Attempts of an upload, the first included.
    #[schemars(range(min = 1, max = 100))]
    pub retry_attempts: Option<u32>,
    /// The pause before the second attempt, in seconds.
    #[schemars(range(min = 0, max = 86_400))]
    pub retry_delay: Option<u64>,
    /// Its address with what kind it is, for example `s3://bucket/prefix`.
    pub url: Option<Url>,
    /// What is kept there, as `30 days` or `10 runs, 12 months`; all where it is empty.
    pub retention: Option<Retention>,
}

impl Command for UpdateBackupConfig {
    const NAME: &'static str = "UpdateBackupConfig";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound];
    type Answer = EndpointRow;

    fn check(&self) -> Result<(), ApiError> {
        let bounded = [
            ("enable", self.enable.map(u64::from), EITHER),
            ("mode", self.mode.map(u64::from), EITHER),
            ("timeinterval", self.timeinterval, INTERVAL),
            ("timeout", self.timeout, TIMEOUT),
            ("retry_attempts", self.retry_attempts.map(u64::from), ATTEMPTS),
            ("retry_delay", self.retry_delay, DELAY),
        ];
        bounded
            .iter()
            .try_for_each(|(field, number, range)| number.map_or(Ok(()), |number| within(field, number, range)))?;
        self.url.as_ref().map_or(Ok(()), usable)
    }

    /// The names of what changes, without the values.
    fn recorded(&self) -> Vec<(&'static str, String)> {
        let changed = [
            ("host", self.host.is_some()),
            ("login", self.login.is_some()),
            ("password", self.password.is_some()),
            ("enable", self.enable.is_some()),
            ("mode", self.mode.is_some()),
            ("timeinterval", self.timeinterval.is_some()),
            ("timeout", self.timeout.is_some()),
            ("retry_attempts", self.retry_attempts.is_some()),
            ("retry_delay", self.retry_delay.is_some()),
            ("url", self.url.is_some()),
            ("retention", self.retention.is_some()),
        ];
        let changed: Vec<_> = changed.iter().filter(|(_, changed)| *changed).map(|(field, _)| *field).collect();
        vec![("name", self.name.to_string()), ("changed", changed.join(","))]
    }

    async fn run(mut self, call: &Call) -> Result<Reply<EndpointRow>, ApiError> {
        let (name, password) = (self.name.clone(), self.password.take());
        let taken_away = password.as_ref().is_some_and(Secret::is_empty);
        let password = password.filter(|password| !password.is_empty()).map(Secret::into_inner);
        let change = move |config: &mut EndpointConfigV1| {
            self.apply(config);
            if taken_away {
                config.secret = None;
            }
        };
        there(&call.engine.update_endpoint(&name, change, password).await?)
    }
}

impl UpdateBackupConfig {
    fn apply(self, config: &mut EndpointConfigV1) {
        fn set<T, U: Into<T>>(field: &mut T, value: Option<U>) {
            if let Some(value) = value {
                *field = value.into();
            }
        }
        set(&mut config.host, self.host);
        set(&mut config.url, self.url);
        set(&mut config.login, self.login);
        set(&mut config.enable, self.enable.map(|enable| enable == 1));
        set(&mut config.mode, self.mode);
        set(&mut config.timeinterval_s, self.timeinterval);
        set(&mut config.timeout_s, self.timeout);
        set(&mut config.retry_attempts, self.retry_attempts);
        set(&mut config.retry_delay_s, self.retry_delay);
        set(&mut config.retention, self.retention);
    }
}

/// The row of an endpoint that was just recorded.
pub(super) fn there(endpoint: &Endpoint) -> Result<Reply<EndpointRow>, ApiError> {
    let row = EndpointRow::of(endpoint);
    row.map(Reply::from).ok_or_else(|| ApiError::new(ErrorCode::NotFound, "the endpoint was deleted meanwhile"))
}
