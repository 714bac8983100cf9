//! The vault's administration: on its machine alone, by whoever owns its folder.
//!
//! Where no process has the vault, it is opened for the moment. Where one serves it, that one is asked through a Unix socket under the vault's
//! state, one line of JSON each way: only root and the folder's owner get in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_actors::ports::Clock;
use holdfast_log::owner::OwnerError;
use holdfast_model::ids::{RunId, TokenName};
use holdfast_model::vault::{Permission, VaultAccessCommand, VaultToken, VaultTokenAddedV1};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;
use uuid::Uuid;

use super::error::VaultError;
use super::places::STATE;
use super::wire::VaultRuns;
use super::{Vault, VaultLimits, runs};
use crate::engine::{SystemClock, new_token, token_hash};
use crate::server::unix;

/// Longest request, in bytes.
const MAX_REQUEST: u64 = 64 << 10;
/// Longest answer, in bytes.
const MAX_ANSWER: u64 = 64 << 20;
/// How long a request or its answer may take to come.
const WAIT: Duration = Duration::from_secs(60);
/// How often a vault that is in somebody's hands is tried again, and how long between.
const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Request {
    TokenAdd { name: TokenName, permission: Permission, quota_bytes: Option<u64>, server_id: Option<Uuid> },
    TokenList,
    TokenRevoke { token: String },
    Clients,
    Runs { client: Uuid, cursor: Option<String> },
    Delete { client: Uuid, run_id: RunId },
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Good(Value),
    Bad { code: String, message: String },
}

/// A token, as its administration sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VaultTokenRow {
    /// Its id.
    pub token_id: Uuid,
    /// What it is called.
    pub name: TokenName,
    /// What its holder may do.
    pub permission: Permission,
    /// Bytes its client may have; none for no bound.
    pub quota_bytes: Option<u64>,
    /// The client it is bound to.
    pub server_id: Option<Uuid>,
    /// When it was made, in Unix seconds.
    pub created_at: i64,
    /// When it was revoked, in Unix seconds; 0 where it was not.
    pub revoked_at: i64,
}

/// A client, as the vault's administration sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VaultClientRow {
    /// The installation.
    pub server_id: Uuid,
    /// How many runs it has.
    pub runs: u64,
    /// Bytes of them.
    pub stored_bytes: u64,
    /// How many uploads it has open.
    pub uploads: u64,
    /// Bytes of those once they are whole.
    pub promised_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct NewToken {
    token: String,
    row: VaultTokenRow,
}

impl From<&VaultToken> for VaultTokenRow {
    fn from(token: &VaultToken) -> Self {
        Self {
            token_id: token.made.token_id,
            name: token.made.name.clone(),
            permission: token.made.permission,
            quota_bytes: token.made.quota_bytes,
            server_id: token.server_id,
            created_at: token.created_at.seconds(),
            revoked_at: token.revoked_at.map_or(0, |at| at.seconds()),
        }
    }
}

/// The administration of the vault at a folder.
#[derive(Debug, Clone)]
pub struct VaultAdmin {
    root: PathBuf,
    by: String,
}

impl VaultAdmin {
    /// Of the vault at `root`; `by` is who asks, for the record.
    #[must_use]
    pub fn new(root: PathBuf, by: String) -> Self {
        Self { root, by }
    }

    /// Makes a token. Its text is nowhere but in this answer.
    ///
    /// # Errors
    /// [`VaultError`] with the code `TOKEN_EXISTS` where a live one is called so.
    pub async fn add_token(
        &self,
        name: TokenName,
        permission: Permission,
        quota_bytes: Option<u64>,
        server_id: Option<Uuid>,
    ) -> Result<(SecretString, VaultTokenRow), VaultError> {
        let made: NewToken = self.ask(Request::TokenAdd { name, permission, quota_bytes, server_id }).await?;
        Ok((made.token.into(), made.row))
    }

    /// All tokens, the oldest first.
    ///
    /// # Errors
    /// [`VaultError`] where the vault cannot be asked.
    pub async fn tokens(&self) -> Result<Vec<VaultTokenRow>, VaultError> {
        self.ask(Request::TokenList).await
    }

    /// Takes a token no more, by its name or its id.
    ///
    /// # Errors
    /// [`VaultError`] with the code `TOKEN_NOT_FOUND`.
    pub async fn revoke_token(&self, token: &str) -> Result<(), VaultError> {
        self.ask(Request::TokenRevoke { token: token.to_owned() }).await
    }

    /// All clients.
    ///
    /// # Errors
    /// [`VaultError`] where the vault cannot be asked.
    pub async fn clients(&self) -> Result<Vec<VaultClientRow>, VaultError> {
        self.ask(Request::Clients).await
    }

    /// A page of the runs of a client, the one received last first.
    ///
    /// # Errors
    /// [`VaultError`] where the vault cannot be asked.
    pub async fn runs(&self, client: Uuid, cursor: Option<String>) -> Result<VaultRuns, VaultError> {
        self.ask(Request::Runs { client, cursor }).await
    }

    /// Deletes a run.
    ///
    /// # Errors
    /// [`VaultError`] with the code `RUN_NOT_FOUND` or `RUN_DELETED`.
    pub async fn delete(&self, client: Uuid, run_id: RunId) -> Result<(), VaultError> {
        self.ask(Request::Delete { client, run_id }).await
    }

    /// The directory of a run, to be read.
    #[must_use]
    pub fn run_directory(&self, client: Uuid, run_id: RunId) -> PathBuf {
        super::ClientPlace::of(&self.root, client).run(run_id)
    }

    async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, VaultError> {
        let broken = |error: serde_json::Error| VaultError::Thread(error.to_string());
        // Between two tries the process that had it may have ended, or begun to listen.
        let mut last = None;
        for _ in 0..TRIES {
            match Vault::open(&self.root, VaultLimits::default()).await {
                Ok(vault) => {
                    let answer = answer(&vault, &self.by, request).await;
                    vault.close().await;
                    return serde_json::from_value(answer?).map_err(broken);
                }
                Err(VaultError::Owner(held @ OwnerError::Held { .. })) => last = Some(held),
                Err(error) => return Err(error),
            }
            if let Ok(stream) = unix::connect(&self.root.join(STATE)).await {
                let value = converse(stream, &request, &self.root).await?;
                return serde_json::from_value(value).map_err(broken);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(last.map_or_else(|| VaultError::Missing(self.root.clone()), VaultError::Owner))
    }
}

/// Asks the process that has the vault.
async fn converse(stream: UnixStream, request: &Request, root: &Path) -> Result<Value, VaultError> {
    let failed = VaultError::io("ask who serves", root);
    let asked = async {
        let mut stream = BufReader::new(stream);
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_until(b'\n', &mut answer).await?;
        Ok::<Answer, std::io::Error>(serde_json::from_slice(&answer)?)
    };
    match timeout(WAIT, asked).await {
        Ok(Ok(Answer::Good(value))) => Ok(value),
        Ok(Ok(Answer::Bad { code, message })) => Err(VaultError::Refused { code, message }),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(failed(std::io::ErrorKind::TimedOut.into())),
    }
}

/// Answers one who connected.
pub(super) async fn serve(vault: Arc<Vault>, stream: UnixStream) {
    let by = match stream.peer_cred() {
        Ok(peer) => format!("local:uid={}", peer.uid()),
        Err(_) => return,
    };
    let talk = async {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        (&mut stream).take(MAX_REQUEST).read_until(b'\n', &mut line).await?;
        let answered = match serde_json::from_slice(&line) {
            Ok(request) => answer(&vault, &by, request).await,
            Err(error) => Err(VaultError::Refused { code: "INVALID_DATA".to_owned(), message: error.to_string() }),
        };
        let said = answered.map_or_else(
            |error| Answer::Bad { code: error.code().to_owned(), message: error.to_string() },
            Answer::Good,
        );
        let mut line = serde_json::to_vec(&said)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        stream.flush().await
    };
    match timeout(WAIT, talk).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a conversation with the administration ended early"),
        Err(_) => tracing::warn!("a conversation with the administration took too long"),
    }
}

async fn answer(vault: &Arc<Vault>, by: &str, request: Request) -> Result<Value, VaultError> {
    let json = |value: serde_json::Result<Value>| value.map_err(|error| VaultError::Thread(error.to_string()));
    match request {
        Request::TokenAdd { name, permission, quota_bytes, server_id } => {
            let text = new_token().map_err(|error| VaultError::Random(error.to_string()))?;
            let (token_id, hash) = (SystemClock.new_id(), token_hash(text.expose_secret()));
            let new = VaultTokenAddedV1 { token_id, name, permission, hash, quota_bytes, server_id };
            vault.book.tell_access(by, VaultAccessCommand::Add(new)).await?;
            let row = vault.book.access(|access| access.token(token_id).map(VaultTokenRow::from));
            let row = row.ok_or_else(|| VaultError::Thread("the token is not there".to_owned()))?;
            json(serde_json::to_value(NewToken { token: text.expose_secret().to_owned(), row }))
        }
        Request::TokenList => {
            let rows: Vec<_> = vault.book.access(|access| access.tokens().map(VaultTokenRow::from).collect());
            json(serde_json::to_value(rows))
        }
        Request::TokenRevoke { token } => {
            vault.book.tell_access(by, VaultAccessCommand::Revoke { token }).await?;
            Ok(Value::Null)
        }
        Request::Clients => {
            let row = |server_id| {
                vault.book.client(server_id, |client| VaultClientRow {
                    server_id,
                    runs: client.run_count() as u64,
                    stored_bytes: client.stored_bytes(),
                    uploads: client.uploads().count() as u64,
                    promised_bytes: client.promised_bytes(),
                })
            };
            let rows: Vec<_> = vault.book.clients().into_iter().map(row).collect();
            json(serde_json::to_value(rows))
        }
        Request::Runs { client, cursor } => {
            let page = vault.runs(client, cursor.as_deref(), runs::MAX_PAGE);
            let page = page
                .map_err(|problem| VaultError::Refused { code: problem.code.to_owned(), message: problem.message })?;
            json(serde_json::to_value(page))
        }
        Request::Delete { client, run_id } => {
            vault.delete_run(client, by, run_id).await?;
            Ok(Value::Null)
        }
    }
}
