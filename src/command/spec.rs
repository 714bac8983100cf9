//! What is run, as the configuration says it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A command and its surroundings. It inherits the environment of Holdfast; `env` and `env_file` add to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSpec {
    /// The program and its arguments; with `shell`, one script.
    pub argv: Vec<String>,
    /// Whether it is a script for `bash`, run with `-o pipefail`: a failing stage of a pipeline fails it.
    #[serde(default)]
    pub shell: bool,
    /// Variables of its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables whose values are read from files when it is run: secrets. A line break at the end is not part of the value.
    #[serde(default)]
    pub env_file: BTreeMap<String, PathBuf>,
    /// The folder it is run in; `/` where none is given.
    #[serde(default)]
    pub directory: Option<PathBuf>,
}
