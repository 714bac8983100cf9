//! Whether the system whose data is kept is down for maintenance. Restores in place ask for it.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Moment};
use crate::event::MaintenanceEvent;
use crate::failure::{Failure, cut};
use crate::ids::{RestoreId, Timestamp};

/// Maintenance begins, or goes on for another reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceEnabledV1 {
    /// Why.
    pub reason: String,
}

/// [`MaintenanceEnabledV1`], with the restore that left what it was made into in such a state that nobody is to work with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceEnabledV2 {
    /// Why.
    pub reason: String,
    /// The restore because of which it is, where it is because of one.
    pub restore_id: Option<RestoreId>,
}

impl From<MaintenanceEnabledV1> for MaintenanceEnabledV2 {
    fn from(v1: MaintenanceEnabledV1) -> Self {
        Self { reason: v1.reason, restore_id: None }
    }
}

/// Maintenance is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceDisabledV1 {}

/// The state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maintenance {
    /// Whether it is on.
    pub enabled: bool,
    /// Why it is.
    pub reason: String,
    /// Since when it is.
    pub since: Option<Timestamp>,
    /// Who said so last.
    pub by: String,
    /// The restore because of which it is, where it is because of one.
    pub restore_id: Option<RestoreId>,
    /// Why it was before that restore.
    before: Option<String>,
}

/// A wish about maintenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaintenanceCommand {
    /// Begin it.
    Enable {
        /// Why.
        reason: String,
        /// The restore because of which it is, where it is because of one.
        restore_id: Option<RestoreId>,
    },
    /// End it.
    Disable,
    /// What a restore left is put right: it is as it was before that.
    Settled,
}

impl Aggregate for Maintenance {
    type Command = MaintenanceCommand;
    type Event = MaintenanceEvent;
    type Effect = ();
    type Refusal = Infallible;

    fn decide(&self, command: MaintenanceCommand, _now: Timestamp) -> Result<Vec<MaintenanceEvent>, Infallible> {
        Ok(match command {
            MaintenanceCommand::Enable { reason, restore_id } => {
                let reason = cut(&reason, Failure::MAX_MESSAGE);
                if self.enabled && self.reason == reason {
                    return Ok(Vec::new());
                }
                vec![MaintenanceEvent::Enabled(MaintenanceEnabledV2 { reason: reason.to_owned(), restore_id })]
            }
            MaintenanceCommand::Disable if self.enabled => {
                vec![MaintenanceEvent::Disabled(MaintenanceDisabledV1 {})]
            }
            MaintenanceCommand::Settled if self.enabled && self.restore_id.is_some() => vec![match &self.before {
                Some(reason) => {
                    MaintenanceEvent::Enabled(MaintenanceEnabledV2 { reason: reason.clone(), restore_id: None })
                }
                None => MaintenanceEvent::Disabled(MaintenanceDisabledV1 {}),
            }],
            MaintenanceCommand::Disable | MaintenanceCommand::Settled => Vec::new(),
        })
    }

    fn apply(&mut self, event: &MaintenanceEvent, moment: &Moment) {
        let by = moment.principal.clone();
        *self = match event {
            MaintenanceEvent::Enabled(enabled) => {
                let since = self.since.or(Some(moment.time));
                let before = match (enabled.restore_id, self.restore_id) {
                    (None, _) => None,
                    (Some(_), Some(_)) => self.before.clone(),
                    (Some(_), None) => self.enabled.then(|| self.reason.clone()),
                };
                Self {
                    enabled: true,
                    reason: enabled.reason.clone(),
                    since,
                    by,
                    restore_id: enabled.restore_id,
                    before,
                }
            }
            MaintenanceEvent::Disabled(_) => Self { by, ..Self::default() },
        };
    }

    fn effects(&self, _events: &[MaintenanceEvent]) -> Vec<()> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{PRINCIPAL, given};

    fn enable(reason: &str) -> MaintenanceCommand {
        MaintenanceCommand::Enable { reason: reason.into(), restore_id: None }
    }

    fn enabled(reason: &str) -> MaintenanceEvent {
        MaintenanceEvent::Enabled(MaintenanceEnabledV2 { reason: reason.into(), restore_id: None })
    }

    #[test]
    fn it_begins_once_and_ends_once() {
        let on = given::<Maintenance>([]).seconds_later(3).when(enable("move")).then([enabled("move")]);
        let expected = Maintenance {
            enabled: true,
            reason: "move".into(),
            since: Some(Timestamp(3_000_000)),
            by: PRINCIPAL.into(),
            ..Maintenance::default()
        };
        assert_eq!(on.state(), &expected);
        on.seconds_later(1)
            .when(enable("move"))
            .then([])
            .when(MaintenanceCommand::Disable)
            .then([MaintenanceEvent::Disabled(MaintenanceDisabledV1 {})])
            .when(MaintenanceCommand::Disable)
            .then([]);
    }

    #[test]
    fn what_a_restore_left_on_ends_with_that_and_what_somebody_said_before_counts_again() {
        let left_on =
            MaintenanceCommand::Enable { reason: "half".into(), restore_id: Some(RestoreId(uuid::Uuid::nil())) };
        let because = MaintenanceEvent::Enabled(MaintenanceEnabledV2 {
            reason: "half".into(),
            restore_id: Some(RestoreId(uuid::Uuid::nil())),
        });
        given::<Maintenance>([])
            .when(left_on.clone())
            .then([because.clone()])
            .when(MaintenanceCommand::Settled)
            .then([MaintenanceEvent::Disabled(MaintenanceDisabledV1 {})])
            .when(MaintenanceCommand::Settled)
            .then([]);
        given::<Maintenance>([enabled("move")])
            .when(MaintenanceCommand::Settled)
            .then([])
            .when(left_on)
            .then([because])
            .when(MaintenanceCommand::Settled)
            .then([enabled("move")]);
    }

    #[test]
    fn another_reason_is_another_fact_and_not_another_beginning() {
        let on = given::<Maintenance>([enabled("move")])
            .seconds_later(9)
            .when(enable("still moving"))
            .then([enabled("still moving")]);
        assert_eq!((on.state().reason.as_str(), on.state().since), ("still moving", Some(Timestamp(0))));
    }

    #[test]
    fn a_long_reason_is_cut_and_the_same_one_is_no_new_fact() {
        let long = "ä".repeat(9000);
        given::<Maintenance>([]).when(enable(&long)).granted().when(enable(&long)).then([]);
    }
}
