//! The first token, without which nobody could make another one over the network.

use std::path::{Path, PathBuf};

use holdfast_log::durable;
use holdfast_model::access::Role;
use secrecy::{ExposeSecret, SecretString};

use crate::cli::errors;
use crate::cli::exit::{CliError, Exit};
use crate::engine::{Holdfast, new_token};

/// Longest file that is looked at, in bytes.
const MAX_FILE: u64 = 1024;

/// Where the first admin token lies. It is made where no token ever was; where a start before came only as far as the file, that one is
/// taken.
pub(super) async fn token(engine: &Holdfast) -> Result<PathBuf, CliError> {
    let path = engine.home().root().join("admin.token");
    let none = engine.read(|known| known.access.tokens().next().is_none()).await.map_err(errors::engine)?;
    if none {
        let token = match left(&path) {
            Some(token) => token,
            None => {
                let token = new_token().map_err(errors::engine)?;
                let line = format!("{}\n", token.expose_secret());
                durable::write_atomic(&path, line.as_bytes(), 0o600).map_err(|error| refuse(&path, &error))?;
                token
            }
        };
        let name = "admin".parse().map_err(|error| refuse(&path, &error))?;
        engine.register_token(name, Role::Admin, &token, None).await.map_err(errors::engine)?;
    }
    Ok(path)
}

fn refuse(path: &Path, error: &dyn std::fmt::Display) -> CliError {
    let message = format!("the first admin token cannot be written to {}: {error}", path.display());
    CliError::new(Exit::Failed, "ADMIN_TOKEN", message, "See to what the system says of it, then start again.")
}

/// A token that a start before wrote and did not come to record.
fn left(path: &Path) -> Option<SecretString> {
    let length = path.metadata().ok()?.len();
    let text = (length <= MAX_FILE).then(|| std::fs::read_to_string(path).ok()).flatten()?;
    let token = text.trim();
    (token.len() > 32).then(|| token.to_owned().into())
}
