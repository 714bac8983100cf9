//! How an endpoint is used, in each form that was recorded.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::EndpointRefusal;
use crate::ids::EndpointName;

/// Longest host, login and retention, in bytes.
const MAX_TEXT: usize = 256;
/// Longest address and path, in bytes.
const MAX_URL: usize = 1024;
/// Most tries of an upload.
const MAX_TRIES: u32 = 100;
/// Most words of a command that gives a password.
const MAX_WORDS: usize = 32;
/// All its words together, in bytes. With the longest texts beside it the event still has room.
const MAX_COMMAND: usize = 1024;

/// How an endpoint is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointConfigV1 {
    /// Its name.
    pub name: EndpointName,
    /// Its address as `host:port`; empty where `url` says it.
    pub host: String,
    /// Its address with what kind it is, for example `s3://bucket/prefix`; empty where `host` says it.
    pub url: String,
    /// Who Holdfast is there.
    pub login: String,
    /// Whether copies go there.
    pub enable: bool,
    /// Of which runs: 0 every run, 1 full runs only.
    pub mode: u32,
    /// Least seconds between two uploads; 0 for each run.
    pub timeinterval_s: u64,
    /// How long an answer is waited for in each attempt, in seconds.
    pub timeout_s: u64,
    /// Attempts of an upload, the first included.
    pub retry_attempts: u32,
    /// The pause before the second attempt, in seconds.
    pub retry_delay_s: u64,
    /// What is kept there; empty for all.
    pub retention: String,
    /// The password's id in the file of secrets.
    pub secret: Option<Uuid>,
}

impl EndpointConfigV1 {
    fn new(name: EndpointName) -> Self {
        Self {
            name,
            host: String::new(),
            url: String::new(),
            login: String::new(),
            enable: true,
            mode: 0,
            timeinterval_s: 0,
            timeout_s: 60,
            retry_attempts: 3,
            retry_delay_s: 10,
            retention: String::new(),
            secret: None,
        }
    }
}

/// How an upload is checked where the far side cannot say its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadCheck {
    /// By its length.
    #[default]
    Size,
    /// It is read back and hashed.
    Readback,
}

impl UploadCheck {
    /// As configurations spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Readback => "readback",
        }
    }
}

/// [`EndpointConfigV1`], with how uploads are checked and paced, whether they may be readable there, where else a password lies, and
/// whether the configuration file declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointConfigV2 {
    /// Its name.
    pub name: EndpointName,
    /// Its address as `host:port`; empty where `url` says it.
    pub host: String,
    /// Its address with what kind it is, for example `s3://bucket/prefix`; empty where `host` says it.
    pub url: String,
    /// Who Holdfast is there.
    pub login: String,
    /// Whether copies go there.
    pub enable: bool,
    /// Of which runs: 0 every run, 1 full runs only.
    pub mode: u32,
    /// Least seconds between two uploads; 0 for each run.
    pub timeinterval_s: u64,
    /// How long an answer is waited for in each attempt, in seconds.
    pub timeout_s: u64,
    /// Attempts of an upload, the first included.
    pub retry_attempts: u32,
    /// The pause before the second attempt, in seconds.
    pub retry_delay_s: u64,
    /// What is kept there; empty for all.
    pub retention: String,
    /// The password's id in the file of secrets, where it is kept.
    pub secret: Option<Uuid>,
    /// The file whose first line is the password; empty for none.
    pub password_file: String,
    /// The program and its arguments whose first line of output is the password; empty for none.
    pub password_command: Vec<String>,
    /// The variable of the environment that is the password; empty for none.
    pub password_env: String,
    /// How an upload is checked.
    pub verify: UploadCheck,
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
    /// Whether the configuration file declares it.
    pub declared: bool,
}

impl From<EndpointConfigV1> for EndpointConfigV2 {
    fn from(v1: EndpointConfigV1) -> Self {
        Self {
            name: v1.name,
            host: v1.host,
            url: v1.url,
            login: v1.login,
            enable: v1.enable,
            mode: v1.mode,
            timeinterval_s: v1.timeinterval_s,
            timeout_s: v1.timeout_s,
            retry_attempts: v1.retry_attempts,
            retry_delay_s: v1.retry_delay_s,
            retention: v1.retention,
            secret: v1.secret,
            password_file: String::new(),
            password_command: Vec::new(),
            password_env: String::new(),
            verify: UploadCheck::Size,
            bandwidth: 0,
            priority: 0,
            streams: Self::STREAMS,
            plaintext: false,
            stream: false,
            declared: false,
        }
    }
}

impl EndpointConfigV2 {
    /// Streams at once where nothing is said.
    pub const STREAMS: u32 = 4;
    /// Most streams at once.
    pub const MAX_STREAMS: u32 = 16;

    /// A configuration in which only the name is said.
    #[must_use]
    pub fn new(name: EndpointName) -> Self {
        EndpointConfigV1::new(name).into()
    }

    /// Whether there is a password, wherever it lies.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.passwords() > 0
    }

    /// Without any password.
    pub fn forget_password(&mut self) {
        self.secret = None;
        self.password_file.clear();
        self.password_command.clear();
        self.password_env.clear();
    }

    /// In how many places a password is said to lie.
    fn passwords(&self) -> usize {
        let said = [
            self.secret.is_some(),
            !self.password_file.is_empty(),
            !self.password_command.is_empty(),
            !self.password_env.is_empty(),
        ];
        said.into_iter().filter(|said| *said).count()
    }

    /// Refuses what cannot be used, or would show a password.
    ///
    /// # Errors
    /// [`EndpointRefusal::Invalid`], which names the field.
    pub fn check(&self) -> Result<(), EndpointRefusal> {
        let invalid = |text: String| Err(EndpointRefusal::Invalid(text));
        let texts = [
            ("host", &self.host, MAX_TEXT),
            ("url", &self.url, MAX_URL),
            ("login", &self.login, MAX_TEXT),
            ("retention", &self.retention, MAX_TEXT),
            ("password_file", &self.password_file, MAX_URL),
            ("password_env", &self.password_env, MAX_TEXT),
        ];
        for (field, text, most) in texts {
            if text.len() > most || text.chars().any(char::is_control) {
                return invalid(format!("{field} is text of at most {most} bytes without control characters"));
            }
        }
        for (field, text) in [("host", &self.host), ("url", &self.url)] {
            if holds_password(text) {
                return invalid(format!("{field} holds a password: take it out and give it as `password`"));
            }
        }
        if self.mode > 1 {
            return invalid("mode is 0 (every run) or 1 (full runs only)".into());
        }
        if !(1..=MAX_TRIES).contains(&self.retry_attempts) {
            return invalid(format!("retry_attempts is 1 to {MAX_TRIES}"));
        }
        if !(1..=Self::MAX_STREAMS).contains(&self.streams) {
            return invalid(format!("streams is 1 to {}", Self::MAX_STREAMS));
        }
        if !self.password_file.is_empty() && !self.password_file.starts_with('/') {
            return invalid("password_file is the path of a file, from / on".into());
        }
        let words = &self.password_command;
        let length: usize = words.iter().map(String::len).sum();
        if words.len() > MAX_WORDS || length > MAX_COMMAND || words.iter().any(|word| word.contains('\0')) {
            return invalid(format!(
                "password_command has at most {MAX_WORDS} words, {MAX_COMMAND} bytes in all, without zero bytes"
            ));
        }
        if words.first().is_some_and(String::is_empty) {
            return invalid("password_command begins with the program".into());
        }
        if self.password_env.contains('=') {
            return invalid("password_env is the name of a variable".into());
        }
        if self.passwords() > 1 {
            return invalid(
                "there is one password: say one of password, password_file, password_command and password_env".into(),
            );
        }
        Ok(())
    }
}

/// Whether an address carries `user:password@` (RFC 3986, section 3.2.1). It would be shown and recorded with it.
fn holds_password(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}
