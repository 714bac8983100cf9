//! `UpdateBackupConfig`.

use holdfast_model::access::Role;
use holdfast_model::endpoint::{Endpoint, EndpointConfigV2};
use holdfast_model::ids::EndpointName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint_row::{
    ATTEMPTS, BANDWIDTH, DELAY, EITHER, EndpointRow, INTERVAL, STREAMS, TIMEOUT, Verify, password_place, ranked,
    usable, within,
};
use crate::api::text::{Host, Line, PasswordFile, Retention, Secret, Url};
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
    /// What is kept there: all, so it is left out.
    pub retention: Option<Retention>,
    /// The file whose first line is the password when it is used, in place of `password`. On the Unix socket alone.
    #[schemars(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PasswordFile>,
    /// The program and its arguments whose first line of output is the password when it is used, in place of `password`. On the Unix socket
    /// alone.
    #[schemars(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_command: Option<Vec<String>>,
    /// How an upload is checked where the far side cannot say its SHA-256.
    pub verify: Option<Verify>,
    /// Bytes a second at most; 0 for no limit.
    #[schemars(range(min = 0, max = 1_000_000_000_000u64))]
    pub bandwidth: Option<u64>,
    /// Who begins first where uploads are limited, and is asked first: the lower number.
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: Option<i32>,
    /// Streams at once.
    #[schemars(range(min = 1, max = 16))]
    pub streams: Option<u32>,
    /// Whether runs may lie there unencrypted.
    pub plaintext: Option<bool>,
    /// Whether an upload follows its artifact while that is still written; not built yet, so it must be false.
    pub stream: Option<bool>,
    /// Whether runs may be lost from sight that it alone has where it becomes another place, and uploads that wait for it may fail.
    #[serde(default)]
    pub force: bool,
}

impl Command for UpdateBackupConfig {
    const NAME: &'static str = "UpdateBackupConfig";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::NotFound, ErrorCode::EndpointDeclared, ErrorCode::EndpointBusy, ErrorCode::EndpointHoldsCopies];
    type Answer = EndpointRow;

    fn check(&self) -> Result<(), ApiError> {
        let bounded = [
            ("enable", self.enable.map(u64::from), EITHER),
            ("mode", self.mode.map(u64::from), EITHER),
            ("timeinterval", self.timeinterval, INTERVAL),
            ("timeout", self.timeout, TIMEOUT),
            ("retry_attempts", self.retry_attempts.map(u64::from), ATTEMPTS),
            ("retry_delay", self.retry_delay, DELAY),
            ("streams", self.streams.map(u64::from), STREAMS),
            ("bandwidth", self.bandwidth, BANDWIDTH),
        ];
        bounded
            .iter()
            .try_for_each(|(field, number, range)| number.map_or(Ok(()), |number| within(field, number, range)))?;
        self.priority.map_or(Ok(()), ranked)?;
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
            ("password_file", self.password_file.is_some()),
            ("password_command", self.password_command.is_some()),
            ("verify", self.verify.is_some()),
            ("bandwidth", self.bandwidth.is_some()),
            ("priority", self.priority.is_some()),
            ("streams", self.streams.is_some()),
            ("plaintext", self.plaintext.is_some()),
            ("stream", self.stream.is_some()),
        ];
        let changed: Vec<_> = changed.iter().filter(|(_, changed)| *changed).map(|(field, _)| *field).collect();
        vec![("name", self.name.to_string()), ("changed", changed.join(","))]
    }

    async fn run(mut self, call: &Call) -> Result<Reply<EndpointRow>, ApiError> {
        password_place(call, self.password.as_ref(), self.password_file.as_ref(), self.password_command.as_deref())?;
        let (name, password, force) = (self.name.clone(), self.password.take(), self.force.into());
        let given = password.is_some() || self.password_file.is_some() || self.password_command.is_some();
        if !given && !call.caller.door.is_local() {
            self.keeps_its_address(call).await?;
        }
        let taken_away = password.as_ref().is_some_and(Secret::is_empty);
        let password = password.filter(|password| !password.is_empty()).map(Secret::into_inner);
        let change = move |config: &mut EndpointConfigV2| {
            if taken_away {
                config.forget_password();
            }
            self.apply(config);
        };
        there(&call.engine.update_endpoint(&name, change, password, force).await?)
    }
}

impl UpdateBackupConfig {
    /// Who may not read a password must not have it sent to an address of his own either.
    async fn keeps_its_address(&self, call: &Call) -> Result<(), ApiError> {
        let before =
            call.engine.read(|known| known.endpoints.get(&self.name).and_then(Endpoint::config).cloned()).await?;
        let Some(before) = before.filter(EndpointConfigV2::has_password) else { return Ok(()) };
        let moved = |new: Option<&str>, old: &str| new.is_some_and(|new| new != old);
        for (field, new, old) in [
            ("url", self.url.as_ref().map(|url| url.as_str()), before.url.as_str()),
            ("host", self.host.as_ref().map(|host| host.as_str()), before.host.as_str()),
        ] {
            if moved(new, old) {
                return Err(ApiError::field(
                    field,
                    "must come with the password given again: it would go to another address",
                ));
            }
        }
        Ok(())
    }

    fn apply(self, config: &mut EndpointConfigV2) {
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
        config.retention.clear();
        set(&mut config.verify, self.verify);
        set(&mut config.bandwidth, self.bandwidth);
        set(&mut config.priority, self.priority);
        set(&mut config.streams, self.streams);
        set(&mut config.plaintext, self.plaintext);
        set(&mut config.stream, self.stream);
        // Another place for the password takes the place of the one before.
        if self.password_file.is_some() || self.password_command.is_some() {
            config.forget_password();
        }
        set(&mut config.password_file, self.password_file);
        set(&mut config.password_command, self.password_command);
    }
}

/// The row of an endpoint that was just recorded.
pub(super) fn there(endpoint: &Endpoint) -> Result<Reply<EndpointRow>, ApiError> {
    let row = EndpointRow::of(endpoint, None);
    row.map(Reply::from).ok_or_else(|| ApiError::new(ErrorCode::NotFound, "the endpoint was deleted meanwhile"))
}
