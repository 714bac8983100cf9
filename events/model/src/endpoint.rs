//! Somewhere a copy of a run goes: how it is configured.
//!
//! A password is never part of an event: the configuration says where it lies. What the configuration file declares is changed by that
//! file alone: [`EndpointCommand::Declare`] and [`EndpointCommand::Withdraw`] are its wishes, the others are everybody else's.

mod config;
mod health;
mod plaintext;

use serde::{Deserialize, Serialize};

pub use self::config::{EndpointConfigV1, EndpointConfigV2, UploadCheck};
pub use self::health::{
    EndpointRecoveredV1, EndpointTryFailedV1, EndpointUnavailableV1, Health, RemoteDeleteFailedV1,
    RemoteDeleteRequestedV1, RemoteRunDeletedV1, UNAVAILABLE_AFTER,
};
pub use self::plaintext::{PlaintextRefused, plaintext_refused};
use crate::aggregate::{Aggregate, Moment};
use crate::event::EndpointEvent;
use crate::failure::Failure;
use crate::ids::{EndpointName, RunId, Timestamp};

/// Most endpoints of an installation.
pub const MAX_ENDPOINTS: usize = 200;
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

/// [`EndpointAddedV1`], with a configuration that says more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointAddedV2 {
    /// How it is used.
    pub config: EndpointConfigV2,
}

impl From<EndpointAddedV1> for EndpointAddedV2 {
    fn from(v1: EndpointAddedV1) -> Self {
        Self { config: v1.config.into() }
    }
}

/// [`EndpointUpdatedV1`], with a configuration that says more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointUpdatedV2 {
    /// How it is used now.
    pub config: EndpointConfigV2,
}

impl From<EndpointUpdatedV1> for EndpointUpdatedV2 {
    fn from(v1: EndpointUpdatedV1) -> Self {
        Self { config: v1.config.into() }
    }
}

/// It is no longer used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointDeletedV1 {}

/// The state of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    config: Option<EndpointConfigV2>,
    changed_at: Timestamp,
    changed_by: String,
    health: Health,
}

impl Endpoint {
    /// How it is used; `None` where it is not there.
    #[must_use]
    pub fn config(&self) -> Option<&EndpointConfigV2> {
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
    Add(EndpointConfigV2),
    /// Use it so.
    Update(EndpointConfigV2),
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
    /// The configuration file has it, so.
    Declare(EndpointConfigV2),
    /// The configuration file has it no more.
    Withdraw,
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
    /// The configuration file has it.
    #[error("this endpoint is declared in the configuration file: change it there, and reload or restart the server")]
    Declared,
    /// The configuration file has one that was added otherwise already.
    #[error(
        "endpoint {0} of the configuration file was added by a command before: call it otherwise there, or take the other one away by \
         `holdfast endpoints remove {0}`"
    )]
    Taken(EndpointName),
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
            EndpointRefusal::Declared => "ENDPOINT_DECLARED",
            EndpointRefusal::Taken(_) => "ENDPOINT_TAKEN",
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
            (EndpointCommand::Add(config), None) => added(EndpointConfigV2 { declared: false, ..config }),
            (EndpointCommand::Declare(config), None) => added(EndpointConfigV2 { declared: true, ..config }),
            (EndpointCommand::Declare(config), Some(old)) if !old.declared => Err(EndpointRefusal::Taken(config.name)),
            (EndpointCommand::Declare(config), Some(old)) => {
                updated(EndpointConfigV2 { declared: true, ..config }, old)
            }
            // What was added otherwise is not the file's to take away.
            (EndpointCommand::Withdraw, old) => Ok(match old.as_ref().is_some_and(|old| old.declared) {
                true => vec![EndpointEvent::Deleted(EndpointDeletedV1 {})],
                false => Vec::new(),
            }),
            (_, None) => Err(EndpointRefusal::NotFound),
            (EndpointCommand::Update(_) | EndpointCommand::Delete, Some(old)) if old.declared => {
                Err(EndpointRefusal::Declared)
            }
            (EndpointCommand::Update(config), Some(old)) => {
                updated(EndpointConfigV2 { declared: false, ..config }, old)
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

fn added(config: EndpointConfigV2) -> Result<Vec<EndpointEvent>, EndpointRefusal> {
    config.check()?;
    Ok(vec![EndpointEvent::Added(EndpointAddedV2 { config })])
}

fn updated(config: EndpointConfigV2, old: &EndpointConfigV2) -> Result<Vec<EndpointEvent>, EndpointRefusal> {
    if config == *old {
        return Ok(Vec::new());
    }
    if config.name != old.name {
        return Err(EndpointRefusal::Invalid("an endpoint keeps its name: add another one instead".into()));
    }
    config.check()?;
    Ok(vec![EndpointEvent::Updated(EndpointUpdatedV2 { config })])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{Given, given};

    fn config() -> EndpointConfigV2 {
        let name = "offsite".parse().expect("a name");
        EndpointConfigV2 { url: "s3://bucket/prefix".into(), ..EndpointConfigV2::new(name) }
    }

    fn added() -> Given<Endpoint> {
        given([EndpointEvent::Added(EndpointAddedV2 { config: config() })])
    }

    #[test]
    fn an_endpoint_is_added_once_and_again_after_its_deletion() {
        given::<Endpoint>([])
            .when(EndpointCommand::Add(config()))
            .then([EndpointEvent::Added(EndpointAddedV2 { config: config() })])
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
        let changed = EndpointConfigV2 { enable: false, ..config() };
        let after = added()
            .when(EndpointCommand::Update(config()))
            .then([])
            .when(EndpointCommand::Update(changed.clone()))
            .then([EndpointEvent::Updated(EndpointUpdatedV2 { config: changed.clone() })]);
        assert_eq!(after.state().config(), Some(&changed));
        given::<Endpoint>([]).when(EndpointCommand::Update(config())).refused(EndpointRefusal::NotFound);
    }

    #[test]
    fn an_endpoint_keeps_its_name() {
        let renamed = EndpointConfigV2 { name: "other".parse().expect("a name"), ..config() };
        let then = added().when(EndpointCommand::Update(renamed));
        assert!(matches!(then.decision(), Err(EndpointRefusal::Invalid(_))));
    }

    #[test]
    fn what_the_configuration_file_has_is_changed_by_that_file_alone() {
        let declared = EndpointConfigV2 { declared: true, ..config() };
        let changed = EndpointConfigV2 { priority: -1, ..declared.clone() };
        given::<Endpoint>([])
            .when(EndpointCommand::Declare(config()))
            .then([EndpointEvent::Added(EndpointAddedV2 { config: declared.clone() })])
            .when(EndpointCommand::Declare(config()))
            .then([])
            .when(EndpointCommand::Update(changed.clone()))
            .refused(EndpointRefusal::Declared)
            .when(EndpointCommand::Delete)
            .refused(EndpointRefusal::Declared)
            .when(EndpointCommand::Add(config()))
            .refused(EndpointRefusal::Duplicate)
            .when(EndpointCommand::Declare(changed.clone()))
            .then([EndpointEvent::Updated(EndpointUpdatedV2 { config: changed })])
            .when(EndpointCommand::Withdraw)
            .then([EndpointEvent::Deleted(EndpointDeletedV1 {})])
            .when(EndpointCommand::Withdraw)
            .then([])
            .when(EndpointCommand::Add(declared))
            .then([EndpointEvent::Added(EndpointAddedV2 { config: config() })])
            .when(EndpointCommand::Declare(config()))
            .refused(EndpointRefusal::Taken(config().name))
            .when(EndpointCommand::Withdraw)
            .then([]);
    }

    #[test]
    fn what_cannot_be_used_or_would_show_a_password_is_refused() {
        let long = || "x".repeat(2000);
        let bad = [
            EndpointConfigV2 { url: "webdav://me:hunter2@host/path".into(), ..config() },
            EndpointConfigV2 { host: "me:hunter2@host:22".into(), ..config() },
            EndpointConfigV2 { url: long(), ..config() },
            EndpointConfigV2 { login: "a\nb".into(), ..config() },
            EndpointConfigV2 { retention: long(), ..config() },
            EndpointConfigV2 { mode: 2, ..config() },
            EndpointConfigV2 { retry_attempts: 0, ..config() },
            EndpointConfigV2 { streams: 0, ..config() },
            EndpointConfigV2 { streams: 17, ..config() },
            EndpointConfigV2 { password_file: "relative".into(), ..config() },
            EndpointConfigV2 { password_env: "A=B".into(), ..config() },
            EndpointConfigV2 { password_command: vec![String::new()], ..config() },
            EndpointConfigV2 { password_command: vec!["x".into(); 33], ..config() },
            EndpointConfigV2 { password_command: vec!["a\0".into()], ..config() },
            EndpointConfigV2 { password_file: "/a".into(), password_env: "A".into(), ..config() },
            EndpointConfigV2 { secret: Some(uuid::Uuid::nil()), password_command: vec!["x".into()], ..config() },
        ];
        for config in bad {
            let then = given::<Endpoint>([]).when(EndpointCommand::Add(config.clone()));
            assert!(matches!(then.decision(), Err(EndpointRefusal::Invalid(_))), "{config:?}");
        }
        for url in ["sftp://me@host:22/a:b@c", "file:///srv/a@b:c", "s3://bucket/key:x@y", "host:22"] {
            let good = EndpointConfigV2 { url: url.into(), ..config() };
            given::<Endpoint>([]).when(EndpointCommand::Add(good)).granted();
        }
    }
}
