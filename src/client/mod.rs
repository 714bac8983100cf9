//! A client of the commands, for programs on the same machine: what the command line speaks with whoever owns a home.
//!
//! It speaks lines of JSON (see [`crate::api::envelope`]) over whatever carries bytes both ways: the Unix socket under a home, by
//! [`Client::connect`], or a pipe to an engine of one's own. Its rules:
//!
//! - Answers may come in any order; each goes to whoever asked.
//! - A program of another version is told apart before anything else is said, and never misread.
//! - What is received and not looked at is bounded: progress is merged to the latest, and of other events the oldest are kept, with a
//!   word that some are missing ([`Heard::Missed`]); they can be had again from the log.
//! - A server that goes away is an error for all who wait, at once; one that is silent is one after a deadline.

mod connection;
mod error;
mod events;
mod message;
#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use self::connection::Connection;
pub use self::error::ClientError;
pub use self::events::{Events, Heard, Notice};
use crate::api::commands::{Hello, Ping, Subscribe};
use crate::api::{ApiError, Channel, Command, ErrorCode, RawReply};

/// How long an answer is waited for before it is asked whether the other end is still there, and how long that answer is waited for.
const ANSWER: Duration = Duration::from_secs(60);

/// A connection to an engine. Clones share it; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct Client {
    connection: Arc<Connection>,
}

impl Client {
    /// Speaks over `io`. Must be called on a tokio runtime.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        Self { connection: Arc::new(Connection::start(io)) }
    }

    /// Connects to whoever owns the home at `home`, and makes sure that it is a program of this version. `None` where nobody listens.
    ///
    /// # Errors
    /// [`ClientError::VersionMismatch`]; [`ClientError::Silent`] where there is no answer within `patience`; [`ClientError::Closed`] where
    /// it is about to end, or does not let this user in.
    pub async fn connect(home: &Path, patience: Duration) -> Result<Option<Self>, ClientError> {
        let Some(stream) = open(home).await? else { return Ok(None) };
        let client = Self::new(stream);
        client.greet(patience).await?;
        Ok(Some(client))
    }

    /// Makes sure that a program of this version is at the other end.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn greet(&self, patience: Duration) -> Result<(), ClientError> {
        /// All that is read of an answer whose other fields may be those of another version.
        #[derive(Deserialize)]
        struct Version {
            version: String,
        }
        let reply = match timeout(patience, self.send(Hello::NAME, &Hello {})).await {
            Ok(reply) => reply?,
            Err(_) => return Err(ClientError::Silent { command: Hello::NAME.into(), waited: patience }),
        };
        let Version { version: theirs } = error::read(&reply.data)?;
        let ours = env!("CARGO_PKG_VERSION");
        if theirs == ours { Ok(()) } else { Err(ClientError::VersionMismatch { theirs, ours }) }
    }

    /// Asks for a command, and waits for its answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ask<C: Command + Serialize>(&self, command: &C) -> Result<C::Answer, ClientError>
    where
        C::Answer: serde::de::DeserializeOwned,
    {
        error::read(&self.call(C::NAME, command).await?.data)
    }

    /// Asks for a command by its name. Where the other end says that it is asked too much at a time, it is asked again when it says.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call(&self, command: &str, data: &impl Serialize) -> Result<RawReply, ClientError> {
        let asking = async {
            loop {
                match self.send(command, data).await {
                    Err(ClientError::Refused(error)) if too_fast(&error) => {
                        sleep(Duration::from_millis(error.retry_after_ms)).await;
                    }
                    reply => return reply,
                }
            }
        };
        let mut asking = std::pin::pin!(asking);
        loop {
            if let Ok(reply) = timeout(ANSWER, &mut asking).await {
                return reply;
            }
            // Some commands take their time: to read a run of terabytes again, for one.
            if timeout(ANSWER, self.send(Ping::NAME, &Ping {})).await.is_err() {
                return Err(ClientError::Silent { command: command.to_owned(), waited: ANSWER });
            }
        }
    }

    async fn send(&self, command: &str, data: &impl Serialize) -> Result<RawReply, ClientError> {
        let data = serde_json::value::to_raw_value(data).map_err(|error| ClientError::Unreadable(error.to_string()))?;
        self.connection.ask(command, &data).await
    }

    /// Has what happens on channels sent, from after the position `since` on, or from now on. A channel that is subscribed to already
    /// begins anew.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn subscribe(&self, channels: &[Channel], since: Option<u64>) -> Result<(), ClientError> {
        let channels = channels.iter().map(ToString::to_string).collect();
        let subscribe = Subscribe { channels, since_seq: since.map(Into::into), epoch: None };
        self.call(Subscribe::NAME, &subscribe).await.map(drop)
    }

    /// What happens on the channels that are subscribed to. Each event goes to one of those who ask.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.connection.clone())
    }

    /// Waits until the connection is over, and says why.
    pub async fn closed(&self) -> ClientError {
        self.connection.closed().await
    }
}

/// Opens the socket under a home.
async fn open(home: &Path) -> Result<Option<tokio::net::UnixStream>, ClientError> {
    let stream = match crate::server::unix::connect(home).await {
        Ok(stream) => stream,
        Err(error) if nobody_listens(&error) => return Ok(None),
        Err(error) => return Err(ClientError::Closed(error.to_string())),
    };
    // What lies under the home is the owner's; somebody else's program would be a trap.
    let owner = std::fs::metadata(home).map(|home| home.uid());
    let peer = stream.peer_cred().map(|peer| peer.uid());
    match (owner, peer) {
        (Ok(owner), Ok(peer)) if peer == owner || peer == 0 => Ok(Some(stream)),
        _ => Err(ClientError::Closed("what listens under the home is not of the home's owner".into())),
    }
}

/// Nobody is there, what is there was left by a process that died, or it is not for this user.
fn nobody_listens(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::PermissionDenied)
}

fn too_fast(error: &ApiError) -> bool {
    error.code == ErrorCode::RateLimited && error.retry_after_ms > 0
}

/// Data as it came.
type Raw = Box<RawValue>;
