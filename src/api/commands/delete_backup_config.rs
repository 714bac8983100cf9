//! `DeleteBackupConfig`.

use holdfast_model::access::Role;
use holdfast_model::ids::EndpointName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reply};

/// Takes an endpoint and its password out of the configuration. What lies there stays.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DeleteBackupConfig {
    /// Which endpoint.
    pub name: EndpointName,
    /// Whether runs may be lost from sight that it alone has, and uploads that wait for it may fail.
    #[serde(default)]
    pub force: bool,
}

/// The endpoint is not used any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointDeleted {
    /// It is so.
    pub ok: bool,
    /// Which endpoint it was.
    pub name: EndpointName,
}

impl Command for DeleteBackupConfig {
    const NAME: &'static str = "DeleteBackupConfig";
    const ROLE: Option<Role> = Some(Role::Manager);
    const KIND: Kind = Kind::Change;
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::NotFound, ErrorCode::EndpointDeclared, ErrorCode::EndpointBusy, ErrorCode::EndpointHoldsCopies];
    type Answer = EndpointDeleted;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.to_string()), ("force", self.force.to_string())]
    }

    async fn run(self, call: &Call) -> Result<Reply<EndpointDeleted>, ApiError> {
        call.engine.delete_endpoint(&self.name, self.force.into()).await?;
        Ok(EndpointDeleted { ok: true, name: self.name }.into())
    }
}
