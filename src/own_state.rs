//! The state of the installation itself, as it lies in each full run: what a machine that has nothing needs in order to go on as this one.
//!
//! | artifact | |
//! |---|---|
//! | `holdfast.log` | the event log, up to a position: a segment of its journal, commit by commit |
//! | `holdfast.config.toml` | the configuration file that is in force |
//! | `holdfast.endpoints.json` | the endpoints, for people: where copies lie, without any password |
//! | `holdfast.secrets.age` | the passwords of endpoints, encrypted to the key of the home |
//! | `holdfast.secrets.key` | that key: only in a run that is encrypted, so that it lies nowhere in the clear |
//! | `holdfast.state.json` | [`State`]: what the others are |
//!
//! The log goes as far as the last moment before the run at which no run and no restore was open. So whoever has it begins with nothing
//! half-done, and the run itself is not in it: it comes back as any run that a log does not know.

use holdfast_log::export::Exported;
use holdfast_log::home::Identity;
use holdfast_model::ids::{ParticipantName, Position, Sha256};
use holdfast_model::run::Run;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The name under which the installation itself takes part in its full runs. No other participant may have it.
pub(crate) const NAME: &str = "holdfast";
/// The kind of that participant.
pub(crate) const KIND: &str = "holdfast";
/// The form of the artifacts that this program writes, and the newest it reads.
pub(crate) const FORMAT: u32 = 1;

/// The event log.
pub(crate) const LOG: &str = "holdfast.log";
/// The configuration file.
pub(crate) const CONFIG: &str = "holdfast.config.toml";
/// The endpoints, for people.
pub(crate) const ENDPOINTS: &str = "holdfast.endpoints.json";
/// The passwords of endpoints.
pub(crate) const SECRETS: &str = "holdfast.secrets.age";
/// What opens them.
pub(crate) const SECRETS_KEY: &str = "holdfast.secrets.key";
/// What the others are.
pub(crate) const STATE: &str = "holdfast.state.json";

/// `holdfast.state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The form of these artifacts.
    pub(crate) format: u32,
    /// The installation.
    pub(crate) server_id: Uuid,
    /// The program that wrote them.
    pub(crate) app_version: String,
    /// What `home.json` says.
    pub(crate) home: Identity,
    /// How far the event log goes.
    pub(crate) log: LogState,
    /// The configuration file, where there is one.
    pub(crate) config: Option<ConfigState>,
    /// Whether the passwords of endpoints are there.
    pub(crate) secrets: bool,
    /// Whether the key that opens them is.
    pub(crate) secrets_key: bool,
    /// The public keys that runs are encrypted to; `passphrase` for a passphrase.
    pub(crate) encrypt_to: Vec<String>,
}

/// How far the event log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogState {
    /// The last event.
    pub(crate) position: Position,
    /// SHA-256 that no other history has.
    pub(crate) chain: Sha256,
}

impl From<Exported> for LogState {
    fn from(exported: Exported) -> Self {
        Self { position: exported.head, chain: exported.chain }
    }
}

impl From<LogState> for Exported {
    fn from(log: LogState) -> Self {
        Self { head: log.position, chain: log.chain }
    }
}

/// The configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigState {
    /// Where it lay.
    pub(crate) path: String,
    /// Whether values of variables stand as `***`: in a run that is not encrypted those whose names say that they are secret do.
    pub(crate) redacted: bool,
}

/// Whether a participant of a run is the installation itself.
pub(crate) fn is_own(run: &Run, name: &ParticipantName) -> bool {
    name.as_str() == NAME && run.participant(name).is_some_and(|one| one.kind == KIND)
}

/// Whether a name is taken by the installation itself. Names are told apart without case.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.eq_ignore_ascii_case(NAME)
}

/// Whether an artifact of somebody else would be taken for one of these.
pub(crate) fn is_own_artifact(name: &str) -> bool {
    [LOG, CONFIG, ENDPOINTS, SECRETS, SECRETS_KEY, STATE].iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// What is said where somebody else would take it.
pub(crate) const RESERVED: &str =
    "is the name under which Holdfast's own state is backed up: give the participant another one";
