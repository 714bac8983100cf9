//! Who may do what: tokens and their roles.
//!
//! A token itself is never recorded: its hash is. It is random and long, so the hash needs no salt and gives nothing away.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Aggregate, Moment};
use crate::event::AccessEvent;
use crate::ids::{InvalidName, Sha256, Timestamp, TokenName};

/// Most tokens that are not revoked.
pub const MAX_TOKENS: usize = 1000;
/// How many revoked tokens are kept for the list.
pub const MAX_REVOKED: usize = 200;

/// What its holder may do; each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Start, cancel and validate runs.
    Operator,
    /// All about backups and restores.
    Manager,
    /// All.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Operator, Role::Manager, Role::Admin];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Manager => "manager",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let found = Role::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| InvalidName::new("role", text, "it is viewer, operator, manager or admin"))
    }
}

/// A token was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCreatedV1 {
    /// Which.
    pub token_id: Uuid,
    /// What it is called.
    pub name: TokenName,
    /// What its holder may do.
    pub role: Role,
    /// SHA-256 of its text.
    pub hash: Sha256,
    /// When it ends; never where nothing is said.
    pub expires_at: Option<Timestamp>,
}

/// A token is not taken any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRevokedV1 {
    /// Which.
    pub token_id: Uuid,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Which.
    pub token_id: Uuid,
    /// What it is called.
    pub name: TokenName,
    /// What its holder may do.
    pub role: Role,
    /// SHA-256 of its text.
    pub hash: Sha256,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it ends; never where nothing is said.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl Token {
    /// Whether it is taken at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// All tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    tokens: BTreeMap<Uuid, Token>,
    by_hash: BTreeMap<Sha256, Uuid>,
    /// Revoked ones that are kept, the oldest first.
    revoked: Vec<Uuid>,
}

impl Access {
    /// All tokens that are known, by their id.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.values()
    }

    /// The token with this id.
    #[must_use]
    pub fn token(&self, token_id: Uuid) -> Option<&Token> {
        self.tokens.get(&token_id)
    }

    /// The token that was revoked last.
    #[must_use]
    pub fn last_revoked(&self) -> Option<&Token> {
        self.tokens.get(self.revoked.last()?)
    }

    /// The token whose text has this hash, live or not.
    #[must_use]
    pub fn by_hash(&self, hash: &Sha256) -> Option<&Token> {
        self.tokens.get(self.by_hash.get(hash)?)
    }

    /// The token that is meant: one that is not revoked, by its id or by its name; of several of one name the live one.
    fn find(&self, which: &str, now: Timestamp) -> Option<&Token> {
        let named = |token: &&Token| token.revoked_at.is_none() && token.name.as_str() == which;
        let by_id = Uuid::parse_str(which).ok().and_then(|id| self.tokens.get(&id));
        by_id
            .filter(|token| token.revoked_at.is_none())
            .or_else(|| self.tokens.values().filter(named).max_by_key(|token| token.is_live(now)))
    }
}

/// A wish about access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessCommand {
    /// Make a token.
    Create(TokenCreatedV1),
    /// Take it no more.
    Revoke {
        /// Its id or its name.
        token: String,
    },
}

/// Why a wish about access was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessRefusal {
    /// A live one is called so.
    #[error("a token of this name is in use: revoke it first, or choose another name")]
    Exists,
    /// There are as many as there may be.
    #[error("there are {MAX_TOKENS} tokens already: revoke those that have expired or are not used")]
    Full,
    /// There is none.
    #[error("there is no such token, or it is revoked already")]
    NotFound,
}

impl AccessRefusal {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            AccessRefusal::Exists => "TOKEN_EXISTS",
            AccessRefusal::Full => "TOKENS_FULL",
            AccessRefusal::NotFound => "TOKEN_NOT_FOUND",
        }
    }
}

impl Aggregate for Access {
    type Command = AccessCommand;
    type Event = AccessEvent;
    type Effect = ();
    type Refusal = AccessRefusal;

    fn decide(&self, command: AccessCommand, now: Timestamp) -> Result<Vec<AccessEvent>, AccessRefusal> {
        match command {
            AccessCommand::Create(new) => {
                let taken = |token: &Token| token.is_live(now) && token.name == new.name;
                let known = self.tokens.contains_key(&new.token_id) || self.by_hash.contains_key(&new.hash);
                if known || self.tokens.values().any(taken) {
                    return Err(AccessRefusal::Exists);
                }
                if self.tokens.len().saturating_sub(self.revoked.len()) >= MAX_TOKENS {
                    return Err(AccessRefusal::Full);
                }
                Ok(vec![AccessEvent::TokenCreated(new)])
            }
            AccessCommand::Revoke { token } => {
                let token = self.find(&token, now).ok_or(AccessRefusal::NotFound)?;
                Ok(vec![AccessEvent::TokenRevoked(TokenRevokedV1 { token_id: token.token_id })])
            }
        }
    }

    fn apply(&mut self, event: &AccessEvent, moment: &Moment) {
        match event {
            AccessEvent::TokenCreated(new) if !self.tokens.contains_key(&new.token_id) => {
                self.by_hash.insert(new.hash, new.token_id);
                let token = Token {
                    token_id: new.token_id,
                    name: new.name.clone(),
                    role: new.role,
                    hash: new.hash,
                    created_at: moment.time,
                    created_by: moment.principal.clone(),
                    expires_at: new.expires_at,
                    revoked_at: None,
                };
                self.tokens.insert(new.token_id, token);
            }
            AccessEvent::TokenCreated(_) => {}
            AccessEvent::TokenRevoked(revoked) => self.revoke(revoked.token_id, moment.time),
        }
    }

    fn effects(&self, _events: &[AccessEvent]) -> Vec<()> {
        Vec::new()
    }
}

impl Access {
    fn revoke(&mut self, token_id: Uuid, now: Timestamp) {
        let Some(token) = self.tokens.get_mut(&token_id).filter(|token| token.revoked_at.is_none()) else { return };
        token.revoked_at = Some(now);
        self.revoked.push(token_id);
        if self.revoked.len() > MAX_REVOKED {
            let oldest = self.revoked.remove(0);
            if let Some(forgotten) = self.tokens.remove(&oldest)
                && self.by_hash.get(&forgotten.hash) == Some(&oldest)
            {
                self.by_hash.remove(&forgotten.hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{Given, PRINCIPAL, given};

    fn token(number: u128, name: &str) -> TokenCreatedV1 {
        let mut hash = [0; 32];
        hash[..16].copy_from_slice(&number.to_be_bytes());
        TokenCreatedV1 {
            token_id: Uuid::from_u128(number),
            name: name.parse().expect("a name"),
            role: Role::Operator,
            hash: Sha256(hash),
            expires_at: None,
        }
    }

    fn created(number: u128, name: &str) -> AccessEvent {
        AccessEvent::TokenCreated(token(number, name))
    }

    fn revoked(number: u128) -> AccessEvent {
        AccessEvent::TokenRevoked(TokenRevokedV1 { token_id: Uuid::from_u128(number) })
    }

    fn revoke(token: &str) -> AccessCommand {
        AccessCommand::Revoke { token: token.into() }
    }

    fn ids(access: &Given<Access>) -> Vec<u128> {
        access.state().tokens().map(|token| token.token_id.as_u128()).collect()
    }

    #[test]
    fn a_token_is_found_by_its_hash_and_knows_where_it_comes_from() {
        let one =
            given::<Access>([]).seconds_later(2).when(AccessCommand::Create(token(1, "ci"))).then([created(1, "ci")]);
        let found = one.state().by_hash(&token(1, "ci").hash).expect("known");
        assert_eq!((found.name.as_str(), found.role, found.created_by.as_str()), ("ci", Role::Operator, PRINCIPAL));
        assert_eq!((found.created_at, found.revoked_at), (Timestamp(2_000_000), None));
        assert_eq!(one.state().by_hash(&Sha256::default()), None);
    }

    #[test]
    fn a_name_is_used_by_one_live_token_at_a_time() {
        let short = TokenCreatedV1 { expires_at: Some(Timestamp(5_000_000)), ..token(1, "ci") };
        let one = given::<Access>([AccessEvent::TokenCreated(short)]);
        one.clone().when(AccessCommand::Create(token(2, "ci"))).refused(AccessRefusal::Exists);
        let later = one.seconds_later(5).when(AccessCommand::Create(token(2, "ci"))).then([created(2, "ci")]);
        assert!(!later.state().token(Uuid::from_u128(1)).expect("kept").is_live(Timestamp(5_000_000)));
        // The name means the live one, then what is left.
        later.when(revoke("ci")).then([revoked(2)]).when(revoke("ci")).then([revoked(1)]);
    }

    #[test]
    fn a_token_is_revoked_once_by_name_or_id() {
        let two = given::<Access>([created(1, "ci"), created(2, "ops")]);
        let after =
            two.when(revoke("ci")).then([revoked(1)]).when(revoke(&Uuid::from_u128(2).to_string())).then([revoked(2)]);
        for gone in ["ci", "ops", "nobody", &Uuid::from_u128(1).to_string()] {
            after.clone().when(revoke(gone)).refused(AccessRefusal::NotFound);
        }
        assert!(after.state().tokens().all(|token| !token.is_live(Timestamp(0))));
        after.when(AccessCommand::Create(token(3, "ci"))).granted();
    }

    #[test]
    fn there_is_an_end_to_tokens_and_to_the_memory_of_revoked_ones() {
        let full = given::<Access>((0..1000).map(|number| created(number, &format!("t{number}"))));
        full.clone().when(AccessCommand::Create(token(5000, "more"))).refused(AccessRefusal::Full);
        let less = full.and((0..300).map(revoked));
        assert_eq!(ids(&less), (100..1000).collect::<Vec<_>>(), "the newest 200 revoked ones are kept");
        assert_eq!(less.state().by_hash(&token(99, "t99").hash), None);
        less.when(AccessCommand::Create(token(5000, "more"))).granted();
    }

    #[test]
    fn roles_are_ordered_and_read_back() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
