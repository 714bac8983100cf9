//! The configuration the commands go by.

use std::path::{Path, PathBuf};

use super::exit::{CliError, Exit};
use crate::config::{Config, ConfigError};

/// Where the configuration lies that goes for a home.
fn default_place(home: &Path) -> PathBuf {
    home.join("config.toml")
}

/// The configuration that was given, else the home's own where it has one, else the defaults.
pub(super) fn load(given: Option<&Path>, home: &Path) -> Result<Config, CliError> {
    match given {
        Some(path) => Config::read(path).map_err(|error| invalid(&error)),
        None => match Config::read(&default_place(home)) {
            Err(ConfigError::Missing { .. }) => Ok(Config::default()),
            read => read.map_err(|error| invalid(&error)),
        },
    }
}

fn invalid(error: &ConfigError) -> CliError {
    let next = match error {
        ConfigError::Invalid { .. } => "Correct the file; `holdfast config check` tells whether all is well.",
        _ => "",
    };
    CliError::new(Exit::Usage, error.code(), error, next)
}
