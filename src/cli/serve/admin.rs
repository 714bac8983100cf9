//! The first token, without which nobody could make another one over the network.

use std::path::{Path, PathBuf};

use holdfast_log::durable;
use holdfast_model::access::Role;
use secrecy::{ExposeSecret, SecretString};

use crate::cli::errors;
use crate::cli::exit::{CliError, Exit};
use crate::engine::{Holdfast, new_token, token_hash};

/// Longest file that is looked at, in bytes.
const MAX_FILE: u64 = 1024;

/// What there is of the first admin token.
pub(super) enum FirstToken {
    /// It lies there.
    Lies(PathBuf),
    /// It lies nowhere, or is not good any more; another admin has one that is.
    Gone,
    /// No admin has one that is good.
    NoAdmin,
}

/// Where the first admin token lies. It is made where no token ever was; where a start before came only as far as the file, that one is
/// taken.
pub(super) async fn token(engine: &Holdfast) -> Result<FirstToken, CliError> {
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
    let hash = left(&path).map(|token| token_hash(token.expose_secret()));
    let now = engine.now();
    let look = engine.read(|known| {
        let mut admins = known.access.tokens().filter(|token| token.role == Role::Admin && token.is_live(now));
        let own = hash.is_some_and(|hash| known.access.tokens().any(|token| token.hash == hash && token.is_live(now)));
        (own, admins.next().is_some())
    });
    Ok(match look.await.map_err(errors::engine)? {
        (true, _) => FirstToken::Lies(path),
        (false, true) => FirstToken::Gone,
        (false, false) => FirstToken::NoAdmin,
    })
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
