//! Facts about the installation itself: stream `system`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The home was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeCreatedV1 {
    /// Who this installation is.
    pub server_id: Uuid,
    /// The program that made it.
    pub app_version: String,
}

/// A process took the home over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStartedV1 {
    /// Which process.
    pub pid: u32,
    /// What for, for example `backup`.
    pub purpose: String,
    /// Its version.
    pub app_version: String,
}

/// Opening the log found something and put it right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRepairedV1 {
    /// What was found and what was done, for people.
    pub what: String,
}

/// A process was stopped in good order while runs were open: they go on at the next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStoppedV1 {
    /// Which process.
    pub pid: u32,
}
