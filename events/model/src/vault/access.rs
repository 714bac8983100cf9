//! Who may come to a vault: its tokens, and the one client each is bound to.
//!
//! A token without a client takes the first one that shows it, and then no other. It can take none that is known already: who has a new token
//! must not get at the runs of somebody else by saying their name. The vault's administration may bind a token to a known client.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Aggregate, Moment};
use crate::event::VaultAccessEvent;
use crate::ids::{InvalidName, Sha256, Timestamp, TokenName};

/// Most tokens that are not revoked.
const MAX_TOKENS: usize = 10_000;
/// Most clients.
const MAX_CLIENTS: usize = 10_000;
/// How many revoked tokens are kept for the list.
const MAX_REVOKED: usize = 200;

/// What the holder of a token may do, with the runs of its own client alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Read.
    Read,
    /// Read, and bring new runs; take nothing away that was committed.
    Append,
    /// All of that, and delete.
    Full,
}

impl Permission {
    /// All of them, the least first.
    pub const ALL: [Permission; 3] = [Permission::Read, Permission::Append, Permission::Full];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::Read => "read",
            Permission::Append => "append",
            Permission::Full => "full",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let found = Permission::ALL.into_iter().find(|permission| permission.as_str() == text);
        found.ok_or_else(|| InvalidName::new("permission", text, "it is append, read or full"))
    }
}

/// A token was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultTokenAddedV1 {
    /// Which.
    pub token_id: Uuid,
    /// What it is called.
    pub name: TokenName,
    /// What its holder may do.
    pub permission: Permission,
    /// SHA-256 of its text.
    pub hash: Sha256,
    /// Bytes its client may have in the vault at most, runs and uploads together; none for no bound.
    pub quota_bytes: Option<u64>,
    /// The client it is for; none for the first that shows it.
    pub server_id: Option<Uuid>,
}

/// A client showed a token for the first time: from now on the token is its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultClientBoundV1 {
    /// Which.
    pub token_id: Uuid,
    /// The client.
    pub server_id: Uuid,
}

/// A token is not taken any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultTokenRevokedV1 {
    /// Which.
    pub token_id: Uuid,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultToken {
    /// As it was made.
    pub made: VaultTokenAddedV1,
    /// The client it is bound to.
    pub server_id: Option<Uuid>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// All tokens of a vault, and all clients that there ever were.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VaultAccess {
    tokens: BTreeMap<Uuid, VaultToken>,
    by_hash: BTreeMap<Sha256, Uuid>,
    /// Revoked ones that are kept, the oldest first.
    revoked: Vec<Uuid>,
    clients: BTreeSet<Uuid>,
}

impl VaultAccess {
    /// All tokens that are known, the oldest first.
    pub fn tokens(&self) -> impl Iterator<Item = &VaultToken> {
        self.tokens.values()
    }

    /// The token whose text has this hash, where it is not revoked.
    #[must_use]
    pub fn by_hash(&self, hash: &Sha256) -> Option<&VaultToken> {
        self.tokens.get(self.by_hash.get(hash)?).filter(|token| token.revoked_at.is_none())
    }

    /// The token with this id, revoked or not.
    #[must_use]
    pub fn token(&self, token_id: Uuid) -> Option<&VaultToken> {
        self.tokens.get(&token_id)
    }

    /// All clients that a token was ever bound to.
    pub fn clients(&self) -> impl Iterator<Item = Uuid> {
        self.clients.iter().copied()
    }

    fn find(&self, which: &str) -> Option<&VaultToken> {
        let id = Uuid::parse_str(which).ok();
        let meant = |token: &&VaultToken| Some(token.made.token_id) == id || token.made.name.as_str() == which;
        self.tokens.values().filter(|token| token.revoked_at.is_none()).find(meant)
    }
}

/// A wish about who may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultAccessCommand {
    /// Make a token.
    Add(VaultTokenAddedV1),
    /// A client shows a token.
    Bind {
        /// Which.
        token_id: Uuid,
        /// The client.
        server_id: Uuid,
    },
    /// Take a token no more.
    Revoke {
        /// Its id or its name.
        token: String,
    },
}

/// Why a wish about who may come was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultAccessRefusal {
    /// A live one is called so.
    #[error("a token of this name is in use: revoke it first, or choose another name")]
    Exists,
    /// There are as many as there may be.
    #[error("there are {MAX_TOKENS} tokens already: revoke those that are not used")]
    Full,
    /// There are as many clients as there may be.
    #[error("there are {MAX_CLIENTS} clients already: use another vault")]
    ClientsFull,
    /// There is none.
    #[error("there is no such token, or it is revoked already")]
    NotFound,
    /// It is another client's.
    #[error("this token belongs to another installation: have one made for this one (`holdfast vault token add`)")]
    Foreign,
    /// The client is known by another token.
    #[error(
        "this installation is known to the vault by another token: have this one made for it (`holdfast vault token add --server-id`)"
    )]
    ClientKnown,
}

impl VaultAccessRefusal {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            VaultAccessRefusal::Exists => "TOKEN_EXISTS",
            VaultAccessRefusal::Full => "TOKENS_FULL",
            VaultAccessRefusal::ClientsFull => "CLIENTS_FULL",
            VaultAccessRefusal::NotFound => "TOKEN_NOT_FOUND",
            VaultAccessRefusal::Foreign => "FOREIGN_SERVER_ID",
            VaultAccessRefusal::ClientKnown => "SERVER_ID_TAKEN",
        }
    }
}

impl Aggregate for VaultAccess {
    type Command = VaultAccessCommand;
    type Event = VaultAccessEvent;
    type Effect = ();
    type Refusal = VaultAccessRefusal;

    fn decide(
        &self,
        command: VaultAccessCommand,
        _now: Timestamp,
    ) -> Result<Vec<VaultAccessEvent>, VaultAccessRefusal> {
        match command {
            VaultAccessCommand::Add(new) => {
                let known = self.tokens.contains_key(&new.token_id) || self.by_hash.contains_key(&new.hash);
                let taken = |token: &VaultToken| token.revoked_at.is_none() && token.made.name == new.name;
                if known || self.tokens.values().any(taken) {
                    return Err(VaultAccessRefusal::Exists);
                }
                if self.tokens.len().saturating_sub(self.revoked.len()) >= MAX_TOKENS {
                    return Err(VaultAccessRefusal::Full);
                }
                let adds = new.server_id.is_some_and(|server_id| !self.clients.contains(&server_id));
                if adds && self.clients.len() >= MAX_CLIENTS {
                    return Err(VaultAccessRefusal::ClientsFull);
                }
                Ok(vec![VaultAccessEvent::TokenAdded(new)])
            }
            VaultAccessCommand::Bind { token_id, server_id } => {
                let token = self.tokens.get(&token_id).filter(|token| token.revoked_at.is_none());
                match token.ok_or(VaultAccessRefusal::NotFound)?.server_id {
                    Some(bound) if bound == server_id => Ok(Vec::new()),
                    Some(_) => Err(VaultAccessRefusal::Foreign),
                    None if self.clients.contains(&server_id) => Err(VaultAccessRefusal::ClientKnown),
                    None if self.clients.len() >= MAX_CLIENTS => Err(VaultAccessRefusal::ClientsFull),
                    None => Ok(vec![VaultAccessEvent::ClientBound(VaultClientBoundV1 { token_id, server_id })]),
                }
            }
            VaultAccessCommand::Revoke { token } => {
                let token_id = self.find(&token).ok_or(VaultAccessRefusal::NotFound)?.made.token_id;
                Ok(vec![VaultAccessEvent::TokenRevoked(VaultTokenRevokedV1 { token_id })])
            }
        }
    }

    fn apply(&mut self, event: &VaultAccessEvent, moment: &Moment) {
        match event {
            VaultAccessEvent::TokenAdded(new) if !self.tokens.contains_key(&new.token_id) => {
                self.by_hash.insert(new.hash, new.token_id);
                self.clients.extend(new.server_id);
                let (made, server_id) = (new.clone(), new.server_id);
                let token = VaultToken { made, server_id, created_at: moment.time, revoked_at: None };
                self.tokens.insert(new.token_id, token);
            }
            VaultAccessEvent::TokenAdded(_) => {}
            VaultAccessEvent::ClientBound(bound) => {
                if let Some(token) = self.tokens.get_mut(&bound.token_id) {
                    token.server_id = Some(bound.server_id);
                }
                self.clients.insert(bound.server_id);
            }
            VaultAccessEvent::TokenRevoked(revoked) => self.revoke(revoked.token_id, moment.time),
        }
    }

    fn effects(&self, _events: &[VaultAccessEvent]) -> Vec<()> {
        Vec::new()
    }
}

impl VaultAccess {
    fn revoke(&mut self, token_id: Uuid, now: Timestamp) {
        let Some(token) = self.tokens.get_mut(&token_id).filter(|token| token.revoked_at.is_none()) else { return };
        token.revoked_at = Some(now);
        self.revoked.push(token_id);
        if self.revoked.len() > MAX_REVOKED {
            let oldest = self.revoked.remove(0);
            if let Some(forgotten) = self.tokens.remove(&oldest)
                && self.by_hash.get(&forgotten.made.hash) == Some(&oldest)
            {
                self.by_hash.remove(&forgotten.made.hash);
            }
        }
    }
}
