//! `GetBackupConfig`.

use holdfast_model::access::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint_row::EndpointRow;
use crate::api::{ApiError, Call, Command, Kind, Reply};

/// The endpoints, by name. Passwords are not shown.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetBackupConfig {}

/// The endpoints that are configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointRows {
    /// An endpoint each.
    pub rows: Vec<EndpointRow>,
}

impl Command for GetBackupConfig {
    const NAME: &'static str = "GetBackupConfig";
    const ROLE: Option<Role> = Some(Role::Viewer);
    const KIND: Kind = Kind::Read;
    type Answer = EndpointRows;

    async fn run(self, call: &Call) -> Result<Reply<EndpointRows>, ApiError> {
        let rows = call
            .engine
            .read(|known| {
                let all = known.endpoints.iter();
                all.filter_map(|(name, one)| EndpointRow::of(one, known.last_uploads.get(name).copied())).collect()
            })
            .await?;
        Ok(EndpointRows { rows }.into())
    }
}
