//! A home made anew of what lies at a far side, for a machine that has nothing: the far side's address, the credentials for it and the
//! private key.
//!
//! ```text
//! which installation ─► which run ─► its state is fetched ─► a home is made of it ─► what is not here is recorded ─► the run's data comes
//!      ─► all of it is put in its place, home.json last
//! ```
//!
//! What holds:
//!
//! - **Half a home is never taken for a whole one.** All of it is made in a folder of its own in the home, and moved out of it once it is
//!   whole; `home.json`, without which there is no home, comes last ([`Site`]).
//! - **Nothing is trusted that is not checked**: files against their hashes, the log by its chain of commits against what the state says of
//!   it, the manifest against its encrypted part.
//! - **Killed at any instant**, the same command starts over, or ends what was decided.
//! - **A home that holds anything is left alone.**
//!
//! The home goes on as the installation that it was: under its id, with its history. What is said in the log of runs that are not here is
//! appended, not changed.

mod choose;
mod error;
mod site;
mod state;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_actors::ports::Clock;
use holdfast_log::home::Home;
use holdfast_model::codec::Origin;
use holdfast_model::endpoint::Endpoint;
use holdfast_model::ids::{EndpointName, Position, RunId};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

use self::choose::Chosen;
pub(crate) use self::choose::{Seen, Unknown};
pub(crate) use self::error::RecoverError;
use self::site::{Begun, Site};
use self::state::Opened;
use crate::command::Launcher;
use crate::config::{Config, EncryptionConfig};
use crate::encryption::Keyring;
use crate::endpoints::{Address, Credentials, ErrorKind, Limits};
use crate::engine::{APP_VERSION, Holdfast, ImportProgress, ImportRequest, Start, SystemClock};
use crate::remote::{self, Remote};

/// How often it is told how far the data is.
const LOOK: Duration = Duration::from_millis(250);

/// What is to be recovered, and where from.
pub(crate) struct Recovery {
    /// The home that is to be.
    pub(crate) home: PathBuf,
    /// The far side, as it was given.
    pub(crate) url: String,
    /// The same, understood.
    pub(crate) address: Address,
    /// Who Holdfast is there.
    pub(crate) login: String,
    /// The password for it; the token of a vault.
    pub(crate) password: SecretString,
    /// The name of the far side where the installation knows it by none.
    pub(crate) name: EndpointName,
    /// What opens runs.
    pub(crate) keyring: Keyring,
    /// The file of a passphrase, where one was given.
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Which installation, where there are several.
    pub(crate) server_id: Option<Uuid>,
    /// Which run; the newest good one where nothing is said.
    pub(crate) run: Option<RunId>,
    /// Whether the run's data comes too.
    pub(crate) data: bool,
    /// Who asks for it.
    pub(crate) principal: String,
}

/// What is being done.
pub(crate) enum Step<'a> {
    /// The installation and the run are known.
    Chosen(Uuid, RunId),
    /// The run, and newer ones that were passed over for it.
    PassedOver(&'a [RunId]),
    /// The state is being fetched.
    State,
    /// What is not here is being recorded.
    History,
    /// The data comes.
    Data(&'a ImportProgress),
}

/// Told of each step.
pub(crate) type Observer<'a> = &'a (dyn Fn(&Step<'_>) + Sync);

/// What was recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recovered {
    /// The installation.
    pub(crate) server_id: Uuid,
    /// The run that it was recovered from.
    pub(crate) run_id: RunId,
    /// The far side, as the home calls it.
    pub(crate) endpoint: EndpointName,
    /// Whether the run held the state of the installation; where not, its history begins anew.
    pub(crate) state: bool,
    /// The last event of the history that came back; 0 for none.
    pub(crate) position: Position,
    /// How many runs the history knows.
    pub(crate) runs: u64,
    /// How many of them lie on endpoints alone.
    pub(crate) runs_elsewhere: u64,
    /// Runs at the far side that the history does not know.
    #[serde(default)]
    pub(crate) unknown: Unknown,
    /// Where the configuration file lay, where there was one. It is `config.toml` in the home now.
    pub(crate) config: Option<String>,
    /// Whether values stand as `***` in it.
    pub(crate) redacted: bool,
    /// How the passwords of endpoints are: `recovered`, `none`, or `missing` where what opens them is not in the run.
    pub(crate) passwords: String,
    /// Endpoints whose passwords have to be set again.
    pub(crate) without_password: Vec<EndpointName>,
    /// Whether the run's data is here.
    pub(crate) data: bool,
}

impl Recovery {
    /// Recovers the home. Ends what an earlier try decided, or starts over where that had not come so far.
    ///
    /// # Errors
    /// [`RecoverError`]; there is no home then, and nothing that could be taken for one.
    pub(crate) async fn run(&self, observer: Observer<'_>) -> Result<Recovered, RecoverError> {
        let (site, begun) = Site::take(&self.home)?;
        if let Begun::Whole(recovered) = begun {
            site.put_in_place()?;
            return Ok(recovered);
        }
        let server_id = self.server().await?;
        let remote = remote::open(&self.address, self.credentials(), &Limits::default(), server_id)?;
        let chosen = choose::run(&*remote, server_id, self.run, &self.keyring).await?;
        observer(&Step::Chosen(server_id, chosen.run_id));
        observer(&Step::PassedOver(&chosen.passed_over));
        let made = match self.make_home(&site, &*remote, &chosen, server_id, observer).await {
            Ok(made) => self.fill(&site, remote, &chosen, made, observer).await,
            Err(error) => Err(error),
        };
        if made.is_err() {
            site.give_up();
        }
        let recovered = made?;
        site.decide(&recovered)?;
        site.put_in_place()?;
        Ok(recovered)
    }

    fn credentials(&self) -> Credentials {
        Credentials { login: self.login.clone(), password: self.password.clone() }
    }

    /// The installation that is meant.
    async fn server(&self) -> Result<Uuid, RecoverError> {
        if let Some(server_id) = self.server_id {
            return Ok(server_id);
        }
        let found = remote::servers(&self.address, self.credentials(), &Limits::default()).await?;
        match found.as_slice() {
            [] => Err(RecoverError::Nobody),
            [one] => Ok(*one),
            several => {
                let mut seen = Vec::new();
                for server_id in several {
                    let remote = remote::open(&self.address, self.credentials(), &Limits::default(), *server_id)?;
                    seen.push(choose::look(&*remote, *server_id).await?);
                }
                Err(RecoverError::Several(seen))
            }
        }
    }

    /// Makes a home of the state that the run holds; an empty one of that installation where it holds none.
    async fn make_home(
        &self,
        site: &Site,
        remote: &dyn Remote,
        chosen: &Chosen,
        server_id: Uuid,
        observer: Observer<'_>,
    ) -> Result<Made, RecoverError> {
        let root = site.begin()?;
        let Some(artifacts) = &chosen.state else {
            Home::create(&root, APP_VERSION, server_id, SystemClock.now()).map_err(RecoverError::Home)?;
            return Ok(Made::default());
        };
        observer(&Step::State);
        let folder = site.fetched()?;
        let files: Vec<_> = artifacts.iter().map(|artifact| artifact.path.clone()).collect();
        let progress = remote::UploadProgress::default();
        let fetched = remote::fetch_some(remote, &chosen.head, &files, &folder, &progress).await;
        fetched.map_err(|error| match error.kind() {
            ErrorKind::Altered | ErrorKind::Fatal => RecoverError::Invalid(error.to_string()),
            _ => error.into(),
        })?;
        let (artifacts, keyring, run_id) = (artifacts.clone(), self.keyring.clone(), chosen.run_id);
        let made = tokio::task::spawn_blocking(move || {
            let opened = Opened::new(folder, artifacts, &keyring, run_id)?;
            opened.make_home(&root, server_id)
        });
        made.await.map_err(|panic| RecoverError::Thread(panic.to_string()))?
    }

    /// Records in the new home what is not here, and brings what is to be here.
    async fn fill(
        &self,
        site: &Site,
        remote: Arc<dyn Remote>,
        chosen: &Chosen,
        made: Made,
        observer: Observer<'_>,
    ) -> Result<Recovered, RecoverError> {
        let engine = self.start(site, &made).await?;
        let filled = self.fill_by(&engine, remote, chosen, made, observer).await;
        engine.stop().await;
        filled
    }

    async fn fill_by(
        &self,
        engine: &Holdfast,
        remote: Arc<dyn Remote>,
        chosen: &Chosen,
        made: Made,
        observer: Observer<'_>,
    ) -> Result<Recovered, RecoverError> {
        let password = (!self.password.expose_secret().is_empty()).then(|| self.password.clone());
        let endpoint = engine.endpoint_at(&self.url, &self.login, password, &self.name).await?;
        observer(&Step::History);
        let (runs, runs_elsewhere) = engine.note_what_is_not_here().await?;
        let server_id = engine.home().identity().server_id;
        let fields = [
            ("server_id", server_id.to_string()),
            ("run_id", chosen.run_id.to_string()),
            ("endpoint", endpoint.to_string()),
        ];
        engine.record_recovery(fields).await?;
        let unknown = choose::unknown(&*remote, engine, chosen.run_id).await?;
        if self.data {
            let wish =
                ImportRequest { endpoint: endpoint.clone(), server_id: None, run_id: chosen.run_id, overwrite: false };
            let import = engine.import_from(wish, remote);
            tokio::pin!(import);
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    imported = &mut import => break imported.map(drop)?,
                    _ = looks.tick() => if let Some(now) = engine.import_progress() {
                        observer(&Step::Data(&now));
                    },
                }
            }
        }
        let without_password = engine.without_password().await?;
        Ok(Recovered {
            server_id,
            run_id: chosen.run_id,
            endpoint,
            state: chosen.state.is_some(),
            position: made.position,
            runs,
            runs_elsewhere,
            unknown,
            config: made.config,
            redacted: made.redacted,
            passwords: made.passwords.to_owned(),
            without_password,
            data: self.data,
        })
    }

    /// Starts an engine on the new home that does what is asked of it here and nothing else: no participants, and the endpoints as they are
    /// recorded.
    async fn start(&self, site: &Site, made: &Made) -> Result<Holdfast, RecoverError> {
        let root = site.home();
        let endpoints = made.declared(&root)?;
        let (encrypt_to, passphrase_file) = match made.encrypt_to.as_slice() {
            [one] if one == "passphrase" => (Vec::new(), self.passphrase_file.clone()),
            keys => (keys.to_vec(), None),
        };
        let encryption = EncryptionConfig { encrypt_to, identity_file: None, passphrase_file };
        let start = Start {
            purpose: "recover",
            config: Config { endpoints, encryption, ..Config::default() },
            participants: Vec::new(),
            launcher: Some(Launcher::this_program()),
            late_registration: Duration::ZERO,
            lock_wait: Duration::ZERO,
            resume: false,
            origin: Origin { principal: self.principal.clone(), correlation_id: Uuid::now_v7() },
        };
        Ok(Holdfast::start(&root, start).await?)
    }
}

/// What a home was made of.
#[derive(Debug, Default)]
struct Made {
    position: Position,
    config: Option<String>,
    redacted: bool,
    passwords: &'static str,
    encrypt_to: Vec<String>,
}

impl Made {
    /// The endpoints that the configuration file declared, as the log has them.
    fn declared(&self, root: &Path) -> Result<Vec<holdfast_model::endpoint::EndpointConfigV2>, RecoverError> {
        if self.position == Position::START {
            return Ok(Vec::new());
        }
        let view = crate::engine::HomeView::open(root)?;
        let known = view.endpoints()?;
        Ok(known.values().filter_map(Endpoint::config).filter(|config| config.declared).cloned().collect())
    }
}
