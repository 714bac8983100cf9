//! The way of every command that needs an owner of the home: to the one there is, or to an engine of one's own.
//!
//! Whoever owns the home and listens is attached to. Else the home is taken, and the engine of one's own is spoken to through the same
//! commands. So there is one way to do each thing, and it does not matter who is at work. An owner that does not listen is waited for.

use std::time::{Duration, Instant};

use holdfast_log::owner::{self, Holder, OwnerError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::exit::CliError;
use super::interrupts::Interrupts;
use super::{Context, errors};
use crate::api::{self, Command, Settings};
use crate::client::{Client, ClientError};
use crate::config::ServerConfig;
use crate::engine::{EngineError, Holdfast};
use crate::server::{Server, unix};

/// How long the lock is waited for before it is looked again whether its holder listens.
const STEP: Duration = Duration::from_millis(250);
/// How long whoever listens has for its first answer, however little there is to wait.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it has where there is another way.
const BRIEF_PATIENCE: Duration = Duration::from_secs(5);
/// How long others who are attached have to be answered when this process ends.
const GRACE: Duration = Duration::from_secs(2);

/// A way to the commands.
pub(super) struct Door {
    client: Client,
    own: Option<Own>,
}

/// An engine of one's own.
struct Own {
    engine: Holdfast,
    /// The socket for others, where this process stays for a while.
    server: Option<Server>,
}

/// What the home may be taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// One command that is soon done. What is open stays open.
    Brief(&'static str),
    /// Something that takes its time: others may attach, and what is open stays open.
    Stays(&'static str),
    /// Work that stays: open runs are gone on with, and others may attach.
    Work(&'static str),
    /// A restore in place: others may attach, and open runs stay open. A backup that is at work is waited for, and not asked to do it.
    Restore,
}

impl Door {
    /// The owner of the home, where there is one that listens.
    pub(super) async fn attach(context: &Context) -> Result<Option<Self>, CliError> {
        match Client::connect(&context.home, BRIEF_PATIENCE).await {
            Ok(client) => Ok(client.map(|client| Self { client, own: None })),
            Err(error @ ClientError::VersionMismatch { .. }) => Err(errors::client(error)),
            Err(error) => {
                tracing::debug!(%error, "the owner of the home cannot be spoken to");
                Ok(None)
            }
        }
    }

    /// The owner of the home, or the home itself. Waits for an owner that does not listen, for so long.
    pub(super) async fn open(context: &Context, purpose: Purpose, wait: Duration) -> Result<Self, CliError> {
        let until = Instant::now() + wait;
        let left = || until.saturating_duration_since(Instant::now());
        loop {
            let connected = match purpose {
                Purpose::Restore if holder(context).is_some_and(|holder| !is_server(&holder)) => Ok(None),
                _ => Client::connect(&context.home, left().max(PATIENCE)).await,
            };
            match connected {
                Ok(Some(client)) => return Ok(Self { client, own: None }),
                Ok(None) => {}
                Err(error @ ClientError::VersionMismatch { .. }) => return Err(errors::client(error)),
                Err(error) => tracing::debug!(%error, "the owner of the home cannot be spoken to"),
            }
            match Self::take(context, purpose, left().min(STEP)).await {
                Err(EngineError::Owner(OwnerError::Held { .. })) if !left().is_zero() => {}
                taken => return taken.map_err(errors::engine),
            }
        }
    }

    async fn take(context: &Context, purpose: Purpose, wait: Duration) -> Result<Self, EngineError> {
        let (what, stays) = match purpose {
            Purpose::Brief(what) => (what, false),
            Purpose::Work(what) | Purpose::Stays(what) => (what, true),
            Purpose::Restore => ("restore", true),
        };
        let resume = matches!(purpose, Purpose::Work(_));
        let engine = Holdfast::start(&context.home, context.start(what, wait, resume)).await?;
        let queueing = context.config.runs.queueing;
        engine.desk().set(Settings { queueing, ..Settings::default() });
        let client = Client::new(unix::in_process(engine.dispatcher()));
        let server = if stays { listen(context, &engine) } else { None };
        Ok(Self { client, own: Some(Own { engine, server }) })
    }

    /// The client, for what happens.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The engine, where it is of this process.
    pub(super) fn engine(&self) -> Option<&Holdfast> {
        self.own.as_ref().map(|own| &own.engine)
    }

    /// Asks for a command.
    pub(super) async fn ask<C: Command + Serialize>(&self, command: &C) -> Result<C::Answer, CliError>
    where
        C::Answer: DeserializeOwned,
    {
        self.client.ask(command).await.map_err(errors::client)
    }

    /// Waits until nothing more can come of it, and says why: the owner is gone, or can record nothing any more.
    pub(super) async fn broken(&self) -> CliError {
        let lost = async {
            match self.engine() {
                Some(engine) => errors::engine(EngineError::Lost(engine.until_lost().await)),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            error = lost => error,
            error = self.client.closed() => errors::client(error),
        }
    }

    /// Gives the home back, where it is ours.
    pub(super) async fn close(self) {
        let Self { client, own } = self;
        drop(client);
        let Some(Own { engine, server }) = own else { return };
        if let Some(server) = server {
            server.stop(GRACE).await;
        }
        engine.desk().flush(&engine).await;
        engine.stop().await;
    }

    /// The same, after what others began here has ended; Ctrl-C leaves that to the next start.
    pub(super) async fn close_after_others(self, context: &Context, interrupts: &mut Interrupts) {
        if let Some(Own { engine, server }) = &self.own {
            // Nothing new from now on: who asks for it is told to ask the next owner.
            engine.desk().life().drain(GRACE);
            let others = async {
                // One that was just being asked for counts.
                if let Some(server) = server {
                    server.drain().await;
                    server.answered(GRACE).await;
                }
                if engine.is_lost().is_some() {
                    return;
                }
                while let Some(run) = engine.open_run().await {
                    context.output.note(format!("run {} was begun meanwhile: its end is waited for", run.run_id));
                    if engine.wait(run).await.is_err() {
                        return;
                    }
                }
                engine.restores_ended().await;
            };
            tokio::select! {
                () = others => {}
                () = interrupts.next() => {}
            }
        }
        self.close().await;
    }
}

/// Lets others in. Where that cannot be done they wait, as for any owner.
fn listen(context: &Context, engine: &Holdfast) -> Option<Server> {
    let limits = context.config.server.limits.clone();
    let config = ServerConfig { tcp: None, http: None, tls: None, limits, ..ServerConfig::default() };
    match Server::start(engine, &config) {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::warn!(%error, "other commands have to wait until this one has ended");
            None
        }
    }
}

/// Whether whoever has the home stays until it is told to go.
pub(super) fn is_server(holder: &Holder) -> bool {
    matches!(holder.what.as_str(), "serve" | "application")
}

/// Who has the home, as that process wrote it down.
pub(super) fn holder(context: &Context) -> Option<Holder> {
    owner::who(&context.home.join("lock"))
}

/// Whether an error says that its owner takes nothing new, or has gone: the next one may.
pub(super) fn is_gone(error: &ClientError) -> bool {
    match error {
        ClientError::Closed(_) => true,
        ClientError::Refused(error) => error.code == api::ErrorCode::Draining,
        _ => false,
    }
}
