//! A `command` participant, as the configuration says it.

use holdfast_model::ids::ArtifactName;
use serde::{Deserialize, Serialize};

use super::spec::CommandSpec;

/// A program whose output is backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandDefinition {
    /// What is run; its standard output is the artifact.
    pub command: CommandSpec,
    /// The artifact's name.
    pub artifact: ArtifactName,
    /// Whether no output at all passes.
    #[serde(default)]
    pub allow_empty: bool,
    /// What is run before each try: whether the command could do its work.
    #[serde(default)]
    pub preflight: Option<CommandSpec>,
    /// What takes the artifact back on its standard input.
    #[serde(default)]
    pub restore: Option<CommandSpec>,
}
