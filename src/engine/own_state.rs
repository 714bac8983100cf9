//! The installation as a participant of its own full runs. See [`own_state`](crate::own_state).
//!
//! It reads a log that is being appended to, by its own run among others, up to a position that is known when it begins: it waits for nobody.
//! What can be missing without the rest being worthless is left out with a warning; that the log cannot be read fails it. It is not critical.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use holdfast_log::export::ExportError;
use holdfast_log::home::Home;
use holdfast_log::{DurableLog, ReadLog};
use holdfast_model::endpoint::EndpointConfigV2;
use holdfast_model::history::{History, RunEntry};
use holdfast_model::ids::{EndpointName, Position, RunId, StreamId, Version};

use super::registry::Registered;
use super::secrets::Secrets;
use super::{EngineError, Projections};
use crate::config::{Config, ConfigFile};
use crate::own_state::{CONFIG, ConfigState, ENDPOINTS, FORMAT, KIND, LOG, NAME, SECRETS, SECRETS_KEY, STATE, State};
use crate::participant::{
    Artifacts, Capture, Descriptor, Frozen, Participant, ParticipantError, Phase, Phased, Thaw, digest,
};

/// The installation itself. Clones share it.
#[derive(Clone)]
pub(super) struct OwnState {
    home: Home,
    log: Arc<DurableLog>,
    config: Arc<RwLock<InForce>>,
}

/// What the configuration says now.
#[derive(Clone, Default)]
struct InForce {
    file: Option<Arc<ConfigFile>>,
    encrypt_to: Vec<String>,
    wanted: bool,
}

impl InForce {
    fn of(config: &Config) -> Self {
        let encrypt_to = config.encryption.encryption().opened_by();
        Self { file: config.file.clone(), encrypt_to, wanted: config.runs.own_state }
    }
}

impl OwnState {
    pub(super) fn new(home: &Home, log: &Arc<DurableLog>, config: &Config) -> Self {
        let config = Arc::new(RwLock::new(InForce::of(config)));
        Self { home: home.clone(), log: log.clone(), config }
    }

    /// Another configuration is in force.
    pub(super) fn set(&self, config: &Config) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = InForce::of(config);
    }

    fn in_force(&self) -> InForce {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it is part of full runs. An installation without a configuration file is configured by its application, which has that
    /// elsewhere.
    pub(super) fn is_wanted(&self) -> bool {
        let now = self.in_force();
        now.wanted && now.file.is_some()
    }

    /// As the participant it is.
    pub(super) fn registered(&self) -> Result<Registered, EngineError> {
        let descriptor = Descriptor::new(NAME);
        let descriptor = descriptor.map_err(|error| EngineError::Thread(error.to_string()))?;
        let mut descriptor = descriptor.optional().tries(2, Duration::from_secs(5));
        descriptor.kind = KIND.to_owned();
        descriptor.digest = digest(&format!("{KIND} {NAME} {FORMAT}"));
        Ok(Registered { descriptor, code: Arc::new(self.clone()) })
    }

    fn give(&self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        let unreadable = |error: &dyn std::fmt::Display| ParticipantError::fatal("LOG_UNREADABLE", error.to_string());
        let now = self.in_force();
        let encrypted = artifacts.surroundings().encrypt_to.is_some();
        let begun = self.begun(artifacts.work().run_id)?;
        let known = Projections::fold(&*self.log, self.log.head()).map_err(|error| unreadable(&error))?;
        artifacts.alive();
        let before = quiet_before(&known.history, begun);

        let mut sink = artifacts.create(LOG)?;
        let exported = self.log.export(before, &mut sink).map_err(|error| match error {
            ExportError::Write(error) => error.into(),
            error => unreadable(&error),
        })?;
        sink.finish()?;

        let config = match &now.file {
            Some(file) => write_config(artifacts, file, encrypted)?,
            None => None,
        };
        let endpoints = known.endpoints.iter().filter_map(|(name, one)| Some((name, shown(one.config()?))));
        put(artifacts, ENDPOINTS, &pretty(&endpoints.collect::<BTreeMap<&EndpointName, _>>())?)?;
        let (secrets, secrets_key) = self.give_secrets(artifacts, encrypted)?;
        let state = State {
            format: FORMAT,
            server_id: self.home.identity().server_id,
            app_version: env!("CARGO_PKG_VERSION").into(),
            home: self.home.identity().clone(),
            log: exported.into(),
            config,
            secrets,
            secrets_key,
            encrypt_to: now.encrypt_to,
        };
        // Last: what it names is there.
        put(artifacts, STATE, &pretty(&state)?)
    }

    /// The position of a run's first event.
    fn begun(&self, run_id: RunId) -> Result<Position, ParticipantError> {
        let first = self.log.read_stream(&StreamId::run(run_id), Version(1), 1);
        let first = first.map_err(|error| ParticipantError::fatal("LOG_UNREADABLE", error.to_string()))?;
        Ok(first.first().map_or_else(|| self.log.head().next(), |record| record.position))
    }

    /// Says whether the passwords are there, and whether what opens them is.
    fn give_secrets(&self, artifacts: &mut Artifacts, encrypted: bool) -> Result<(bool, bool), ParticipantError> {
        let found = match Secrets::of(self.home.root()).exported() {
            Ok(found) => found,
            Err(error) => {
                artifacts.warn(&format!("the passwords of endpoints are left out: {error}"));
                return Ok((false, false));
            }
        };
        let Some((secrets, key)) = found else { return Ok((false, false)) };
        put(artifacts, SECRETS, &secrets)?;
        let Some(key) = key.filter(|_| encrypted) else { return Ok((true, false)) };
        put(artifacts, SECRETS_KEY, &key)?;
        Ok((true, true))
    }
}

/// The last moment before a position at which no run and no restore was open, as the position of the first event after it.
fn quiet_before(history: &History, position: Position) -> Position {
    // One that came from elsewhere was over when it came.
    let over = |run: &RunEntry| run.ended.or_else(|| run.outcome.map(|_| run.requested));
    let runs = history.newest_before(position).map(|run| (run.requested, over(run)));
    let restores = history.restores_newest_first().map(|restore| (restore.requested, restore.ended));
    let mut open: Vec<_> = runs.chain(restores).collect();
    open.sort_unstable_by_key(|(requested, _)| std::cmp::Reverse(*requested));
    open.into_iter().fold(position, |quiet, (requested, ended)| {
        let at_work = requested < quiet && ended.is_none_or(|ended| ended >= quiet);
        if at_work { requested } else { quiet }
    })
}

/// The configuration file, as it was read. In a run that is not encrypted values that are secret by their names are blanked out.
fn write_config(
    artifacts: &mut Artifacts,
    file: &ConfigFile,
    encrypted: bool,
) -> Result<Option<ConfigState>, ParticipantError> {
    let path = file.path().display().to_string();
    if encrypted {
        put(artifacts, CONFIG, file.text().as_bytes())?;
        return Ok(Some(ConfigState { path, redacted: false }));
    }
    let Some(text) = file.without_secrets() else {
        artifacts.warn("the configuration file is left out: what is secret in it cannot be told from the rest");
        return Ok(None);
    };
    put(artifacts, CONFIG, text.as_bytes())?;
    Ok(Some(ConfigState { path, redacted: text != file.text() }))
}

/// An endpoint for people: a password that is kept here is a file of its own, and its id says nothing.
fn shown(config: &EndpointConfigV2) -> EndpointConfigV2 {
    EndpointConfigV2 { secret: None, ..config.clone() }
}

fn pretty(value: &impl serde::Serialize) -> Result<Vec<u8>, ParticipantError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(io::Error::from)?;
    text.push(b'\n');
    Ok(text)
}

fn put(artifacts: &mut Artifacts, name: &str, bytes: &[u8]) -> Result<(), ParticipantError> {
    let mut sink = artifacts.create(name)?;
    sink.write_all(bytes)?;
    sink.finish()
}

impl Participant for OwnState {
    fn phases(&self) -> Option<&dyn Phased> {
        Some(self)
    }

    fn write(&self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        self.give(artifacts)
    }
}

/// What it gives is of before the run, whatever happens meanwhile: there is nothing to hold on to.
impl Phased for OwnState {
    fn freeze(&self, _phase: &Phase) -> Result<Box<dyn Frozen>, ParticipantError> {
        Ok(Box::new(self.clone()))
    }
}

impl Frozen for OwnState {
    fn capture(&mut self, _phase: &Phase) -> Result<Box<dyn Capture>, ParticipantError> {
        Ok(Box::new(self.clone()))
    }

    fn thaw(self: Box<Self>, _how: Thaw) -> Result<(), ParticipantError> {
        Ok(())
    }
}

impl Capture for OwnState {
    fn write(&mut self, artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
        self.give(artifacts)
    }
}
