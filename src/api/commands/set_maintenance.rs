//! `SetMaintenance`.

use holdfast_model::access::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::text::Reason;
use crate::api::{ApiError, Call, Command, Kind, Reply};

/// Says that the system whose data is kept is down for maintenance, or up again. A restore in place asks for it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SetMaintenance {
    /// Whether it is.
    pub enabled: bool,
    /// Why, for the record.
    #[serde(default)]
    pub reason: Reason,
}

/// How it stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MaintenanceSet {
    /// Whether there is maintenance.
    pub enabled: bool,
}

impl Command for SetMaintenance {
    const NAME: &'static str = "SetMaintenance";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    type Answer = MaintenanceSet;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("enabled", self.enabled.to_string()), ("reason", self.reason.as_str().to_owned())]
    }

    async fn run(self, call: &Call) -> Result<Reply<MaintenanceSet>, ApiError> {
        let now = call.engine.set_maintenance(self.enabled, self.reason.as_str()).await?;
        Ok(MaintenanceSet { enabled: now.enabled }.into())
    }
}
