//! `CreateToken`, `ListTokens` and `RevokeToken`: for `holdfast token` and the application itself.

use std::borrow::Cow;

use holdfast_model::access::{Role, Token};
use holdfast_model::ids::{Timestamp, TokenName};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Call, Command, ErrorCode, Kind, Reach, Reply};

/// Longest life of a token that ends, in seconds: a hundred years.
const LONGEST: u64 = 3_155_760_000;

/// Makes a token. Its text is in this answer and nowhere else.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CreateToken {
    /// What it is called, in the list and in the log.
    pub name: TokenName,
    /// What its holder may do.
    pub role: Role,
    /// When it ends; never where nothing is said.
    #[serde(default)]
    pub expires: Option<Expiry>,
}

/// When a token ends: seconds from now, or a time as in RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expiry {
    /// In so many seconds.
    In(u64),
    /// Then.
    At(jiff::Timestamp),
}

/// A new token.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct TokenCreated {
    /// The token itself: keep it, it is not shown again.
    pub token: String,
    /// What is known of it.
    #[serde(flatten)]
    pub row: TokenRow,
}

/// A token as it is listed. Times are Unix seconds, 0 for never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRow {
    /// Its id.
    pub token_id: String,
    /// What it is called.
    pub name: TokenName,
    /// What its holder may do.
    pub role: Role,
    /// Whether it is taken now.
    pub live: bool,
    /// When it was made.
    pub created_at: i64,
    /// Who made it.
    pub created_by: String,
    /// When it ends by itself.
    pub expires_at: i64,
    /// When it was revoked.
    pub revoked_at: i64,
}

/// The tokens there are, the oldest first; of revoked ones the last 200.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListTokens {}

/// All tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRows {
    /// A token each.
    pub rows: Vec<TokenRow>,
}

/// Takes a token no more.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RevokeToken {
    /// Its name or its id.
    #[schemars(length(min = 1, max = 64))]
    pub token: String,
}

impl TokenRow {
    fn of(token: &Token, now: Timestamp) -> Self {
        Self {
            token_id: token.token_id.to_string(),
            name: token.name.clone(),
            role: token.role,
            live: token.is_live(now),
            created_at: token.created_at.seconds(),
            created_by: token.created_by.clone(),
            expires_at: token.expires_at.map_or(0, Timestamp::seconds),
            revoked_at: token.revoked_at.map_or(0, Timestamp::seconds),
        }
    }
}

impl Expiry {
    /// The instant; none where it is not in the future, or too far in it.
    fn at(&self, now: Timestamp) -> Option<Timestamp> {
        let longest = now.0.checked_add(i64::try_from(LONGEST).ok()?.checked_mul(1_000_000)?)?;
        let end = match self {
            Expiry::In(seconds) => now.0.checked_add(i64::try_from(*seconds).ok()?.checked_mul(1_000_000)?)?,
            Expiry::At(time) => time.as_microsecond(),
        };
        (now.0 < end && end <= longest).then_some(Timestamp(end))
    }
}

impl Serialize for Expiry {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Expiry::In(seconds) => serializer.serialize_u64(*seconds),
            Expiry::At(time) => serializer.collect_str(time),
        }
    }
}

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rule = || serde::de::Error::custom("must be a count of seconds, or a time as 2027-01-31T12:00:00Z");
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Number(seconds) => seconds.as_u64().map(Self::In).ok_or_else(rule),
            serde_json::Value::String(text) => text.parse().map(Self::At).map_err(|_| rule()),
            _ => Err(rule()),
        }
    }
}

impl JsonSchema for Expiry {
    fn schema_name() -> Cow<'static, str> {
        "Expiry".into()
    }

    fn json_schema(_schemas: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Seconds from now, or a time as in RFC 3339, in the future.",
            "oneOf": [
                { "type": "integer", "minimum": 1, "maximum": LONGEST },
                { "type": "string", "format": "date-time" },
            ],
        })
    }
}

impl Command for CreateToken {
    const NAME: &'static str = "CreateToken";
    const ROLE: Option<Role> = Some(Role::Admin);
    const KIND: Kind = Kind::Change;
    const REACH: Reach = Reach::Local;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::TokenExists, ErrorCode::LimitReached];
    type Answer = TokenCreated;

    fn recorded(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.to_string()), ("role", self.role.to_string())]
    }

    async fn run(self, call: &Call) -> Result<Reply<TokenCreated>, ApiError> {
        let now = call.engine.now();
        let expires_at = match &self.expires {
            None => None,
            Some(expiry) => Some(
                expiry
                    .at(now)
                    .ok_or_else(|| ApiError::field("expires", "it is in the future, and within a hundred years"))?,
            ),
        };
        let (text, token) = call.engine.create_token(self.name, self.role, expires_at).await?;
        Ok(TokenCreated { token: text.expose_secret().to_owned(), row: TokenRow::of(&token, now) }.into())
    }
}

impl Command for ListTokens {
    const NAME: &'static str = "ListTokens";
    const ROLE: Option<Role> = Some(Role::Admin);
    const KIND: Kind = Kind::Read;
    const REACH: Reach = Reach::Local;
    type Answer = TokenRows;

    async fn run(self, call: &Call) -> Result<Reply<TokenRows>, ApiError> {
        let now = call.engine.now();
        let rows =
            call.engine.read(|known| known.access.tokens().map(|token| TokenRow::of(token, now)).collect()).await;
        Ok(TokenRows { rows: rows? }.into())
    }
}

impl Command for RevokeToken {
    const NAME: &'static str = "RevokeToken";
    const ROLE: Option<Role> = Some(Role::Admin);
    const KIND: Kind = Kind::Change;
    const REACH: Reach = Reach::Local;
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::TokenNotFound];
    type Answer = TokenRow;

    fn check(&self) -> Result<(), ApiError> {
        match self.token.chars().count() {
            1..=64 => Ok(()),
            _ => Err(ApiError::field("token", "it is the name or the id of a token")),
        }
    }

    /// Its name is; a text that is none, and so may be the token itself, is not.
    fn recorded(&self) -> Vec<(&'static str, String)> {
        let is_name = !self.token.starts_with("hf_") && self.token.parse::<TokenName>().is_ok();
        if is_name { vec![("token", self.token.clone())] } else { Vec::new() }
    }

    async fn run(self, call: &Call) -> Result<Reply<TokenRow>, ApiError> {
        let token = call.engine.revoke_token(&self.token).await?;
        Ok(TokenRow::of(&token, call.engine.now()).into())
    }
}
