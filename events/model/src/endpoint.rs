//! Somewhere a copy of a run goes: how it is configured.
//!
//! A password is never part of an event: the configuration names it by an id, and it lies in a file of its own.

mod health;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::health::{
    EndpointRecoveredV1, EndpointTryFailedV1, EndpointUnavailableV1, Health, RemoteDeleteFailedV1,
    RemoteDeleteRequestedV1, RemoteRunDeletedV1, UNAVAILABLE_AFTER,
};

use crate::aggregate::{Aggregate, Moment};
use crate::event::EndpointEvent;
use crate::failure::Failure;
use crate::ids::{EndpointName, RunId, Timestamp};

/// Most endpoints of an installation.
pub const MAX_ENDPOINTS: usize = 200;
/// Longest host, login and retention, in bytes.
const MAX_TEXT: usize = 256;
/// Longest address, in bytes.
const MAX_URL: usize = 1024;
/// Most tries of an upload.
const MAX_TRIES: u32 = 100;

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
    /// A configuration in which only the name is said.
    #[must_use]
    pub fn new(name: EndpointName) -> Self {
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

    fn check(&self) -> Result<(), EndpointRefusal> {
        let invalid = |text: String| Err(EndpointRefusal::Invalid(text));
        let texts = [
            ("host", &self.host, MAX_TEXT),
            ("url", &self.url, MAX_URL),
            ("login", &self.login, MAX_TEXT),
            ("retention", &self.retention, MAX_TEXT),
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
        Ok(())
    }
}

/// Whether an address carries `user:password@` (RFC 3986, section 3.2.1). It would be shown and recorded with it.
fn holds_password(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// An endpoint was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointAddedV1 {
    /// How it is used.
    pub config: EndpointConfigV1,
}

/// It is used otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointUpdatedV1 {
    /// How it is used now.
    pub config: EndpointConfigV1,
}

/// It is no longer used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointDeletedV1 {}

/// The state of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    config: Option<EndpointConfigV1>,
    changed_at: Timestamp,
    changed_by: String,
    health: Health,
}

impl Endpoint {
    /// How it is used; `None` where it is not there.
    #[must_use]
    pub fn config(&self) -> Option<&EndpointConfigV1> {
        self.config.as_ref()
    }

    /// How it does.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// When it was added or changed last.
    #[must_use]
    pub fn changed_at(&self) -> Timestamp {
        self.changed_at
    }

    /// Who did that.
    #[must_use]
    pub fn changed_by(&self) -> &str {
        &self.changed_by
    }
}

/// A wish about an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointCommand {
    /// Add it.
    Add(EndpointConfigV1),
    /// Use it so.
    Update(EndpointConfigV1),
    /// Use it no more.
    Delete,
    /// A try of an upload failed there.
    TryFailed {
        /// Of which run.
        run_id: RunId,
        /// Why.
        failure: Failure,
    },
    /// An upload succeeded there.
    Succeeded,
    /// Delete a run there.
    DeleteRun(RunId),
    /// It is gone there.
    RunDeleted(RunId),
    /// It could not be deleted there.
    RunDeleteFailed {
        /// Which.
        run_id: RunId,
        /// Why.
        failure: Failure,
    },
}

/// What an endpoint asks of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointEffect {
    /// What waits for it may have its turn now, or never.
    LookAgain,
}

/// Why a wish about an endpoint was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointRefusal {
    /// It is there already.
    #[error("an endpoint of this name is there already: update it, or choose another name")]
    Duplicate,
    /// It is not there.
    #[error("there is no endpoint of this name")]
    NotFound,
    /// There are as many as there may be.
    #[error("there are {MAX_ENDPOINTS} endpoints already: delete one first")]
    Full,
    /// It cannot be used so.
    #[error("{0}")]
    Invalid(String),
}

impl EndpointRefusal {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            EndpointRefusal::Duplicate => "RET_ERR_DUPLICATE",
            EndpointRefusal::NotFound => "RET_NOT_FOUND",
            EndpointRefusal::Full => "ENDPOINTS_FULL",
            EndpointRefusal::Invalid(_) => "INVALID_DATA",
        }
    }
}

impl Aggregate for Endpoint {
    type Command = EndpointCommand;
    type Event = EndpointEvent;
    type Effect = EndpointEffect;
    type Refusal = EndpointRefusal;

    fn decide(&self, command: EndpointCommand, _now: Timestamp) -> Result<Vec<EndpointEvent>, EndpointRefusal> {
        match (command, &self.config) {
            (EndpointCommand::Add(_), Some(_)) => Err(EndpointRefusal::Duplicate),
            (EndpointCommand::Add(config), None) => {
                config.check()?;
                Ok(vec![EndpointEvent::Added(EndpointAddedV1 { config })])
            }
            (_, None) => Err(EndpointRefusal::NotFound),
            (EndpointCommand::Update(config), Some(old)) if config == *old => Ok(Vec::new()),
            (EndpointCommand::Update(config), Some(old)) if config.name != old.name => {
                Err(EndpointRefusal::Invalid("an endpoint keeps its name: add another one instead".into()))
            }
            (EndpointCommand::Update(config), Some(_)) => {
                config.check()?;
                Ok(vec![EndpointEvent::Updated(EndpointUpdatedV1 { config })])
            }
            (EndpointCommand::Delete, Some(_)) => Ok(vec![EndpointEvent::Deleted(EndpointDeletedV1 {})]),
            (EndpointCommand::TryFailed { run_id, failure }, Some(_)) => Ok(self.health.try_failed(run_id, failure)),
            (EndpointCommand::Succeeded, Some(_)) => Ok(self.health.succeeded()),
            (EndpointCommand::DeleteRun(run_id), Some(_)) => {
                Ok(vec![EndpointEvent::RemoteDeleteRequested(RemoteDeleteRequestedV1 { run_id })])
            }
            (EndpointCommand::RunDeleted(run_id), Some(_)) => {
                Ok(vec![EndpointEvent::RemoteRunDeleted(RemoteRunDeletedV1 { run_id })])
            }
            (EndpointCommand::RunDeleteFailed { run_id, failure }, Some(_)) => {
                let failure = failure.bounded();
                Ok(vec![EndpointEvent::RemoteDeleteFailed(RemoteDeleteFailedV1 { run_id, failure })])
            }
        }
    }

    fn apply(&mut self, event: &EndpointEvent, moment: &Moment) {
        match event {
            EndpointEvent::Added(added) => self.config = Some(added.config.clone()),
            // What it is now may do better than what it was.
            EndpointEvent::Updated(updated) => self.config = Some(updated.config.clone()),
            EndpointEvent::Deleted(_) => self.config = None,
            _ => return self.health.apply(event, moment.time),
        }
        self.health = Health::default();
        self.changed_at = moment.time;
        self.changed_by.clone_from(&moment.principal);
    }

    fn effects(&self, events: &[EndpointEvent]) -> Vec<EndpointEffect> {
        let changed = |event: &EndpointEvent| matches!(event, EndpointEvent::Updated(_) | EndpointEvent::Deleted(_));
        events.iter().any(changed).then_some(EndpointEffect::LookAgain).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{Given, given};

    fn config() -> EndpointConfigV1 {
        let name = "offsite".parse().expect("a name");
        EndpointConfigV1 { url: "s3://bucket/prefix".into(), ..EndpointConfigV1::new(name) }
    }

    fn added() -> Given<Endpoint> {
        given([EndpointEvent::Added(EndpointAddedV1 { config: config() })])
    }

    #[test]
    fn an_endpoint_is_added_once_and_again_after_its_deletion() {
        given::<Endpoint>([])
            .when(EndpointCommand::Add(config()))
            .then([EndpointEvent::Added(EndpointAddedV1 { config: config() })])
            .when(EndpointCommand::Add(config()))
            .refused(EndpointRefusal::Duplicate)
            .when(EndpointCommand::Delete)
            .then([EndpointEvent::Deleted(EndpointDeletedV1 {})])
            .when(EndpointCommand::Delete)
            .refused(EndpointRefusal::NotFound)
            .when(EndpointCommand::Add(config()))
            .granted();
    }

    #[test]
    fn a_change_is_recorded_and_none_is_not() {
        let changed = EndpointConfigV1 { enable: false, ..config() };
        let after = added()
            .when(EndpointCommand::Update(config()))
            .then([])
            .when(EndpointCommand::Update(changed.clone()))
            .then([EndpointEvent::Updated(EndpointUpdatedV1 { config: changed.clone() })]);
        assert_eq!(after.state().config(), Some(&changed));
        given::<Endpoint>([]).when(EndpointCommand::Update(config())).refused(EndpointRefusal::NotFound);
    }

    #[test]
    fn an_endpoint_keeps_its_name() {
        let renamed = EndpointConfigV1 { name: "other".parse().expect("a name"), ..config() };
        let then = added().when(EndpointCommand::Update(renamed));
        assert!(matches!(then.decision(), Err(EndpointRefusal::Invalid(_))));
    }

    #[test]
    fn what_cannot_be_used_or_would_show_a_password_is_refused() {
        let long = || "x".repeat(2000);
        let bad = [
            EndpointConfigV1 { url: "webdav://me:hunter2@host/path".into(), ..config() },
            EndpointConfigV1 { host: "me:hunter2@host:22".into(), ..config() },
            EndpointConfigV1 { url: long(), ..config() },
            EndpointConfigV1 { login: "a\nb".into(), ..config() },
            EndpointConfigV1 { retention: long(), ..config() },
            EndpointConfigV1 { mode: 2, ..config() },
            EndpointConfigV1 { retry_attempts: 0, ..config() },
        ];
        for config in bad {
            let then = given::<Endpoint>([]).when(EndpointCommand::Add(config.clone()));
            assert!(matches!(then.decision(), Err(EndpointRefusal::Invalid(_))), "{config:?}");
        }
        for url in ["sftp://me@host:22/a:b@c", "file:///srv/a@b:c", "s3://bucket/key:x@y", "host:22"] {
            let good = EndpointConfigV1 { url: url.into(), ..config() };
            given::<Endpoint>([]).when(EndpointCommand::Add(good)).granted();
        }
    }
}
