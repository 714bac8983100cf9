//! Who asks: a token that is good, and the one client it is bound to.

use holdfast_model::vault::{Permission, VaultAccessCommand};
use uuid::Uuid;

use super::Vault;
use super::error::Problem;
use crate::engine::token_hash;

/// Somebody whose token is good. All it can name is its own client's.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) token_id: Uuid,
    pub(super) name: String,
    pub(super) permission: Permission,
    pub(super) quota_bytes: Option<u64>,
    pub(super) server_id: Uuid,
}

impl Visitor {
    /// Who it is, for the record.
    pub(super) fn principal(&self) -> String {
        format!("token:{}", self.name)
    }

    /// Refuses what its token is not for.
    pub(super) fn may(&self, needed: Permission) -> Result<(), Problem> {
        if self.permission >= needed {
            return Ok(());
        }
        let text = format!("this token may {} only, and {needed} is needed: have another one made", self.permission);
        Err(Problem::new(403, "PERMISSION_DENIED", text))
    }
}

/// What a request shows of who asks.
#[derive(Debug, Default)]
pub(super) struct Shown<'a> {
    pub(super) token: Option<&'a str>,
    pub(super) server_id: Option<&'a str>,
    pub(super) source: &'a str,
}

impl Vault {
    /// Finds out who asks. A token without a client takes the one that shows it now.
    ///
    /// # Errors
    /// 401 for a token that is not good, 429 where there were too many of them, 403 where it is another client's. With it comes the
    /// visitor, where the token was good, so that the refusal can be recorded.
    pub(super) async fn admit(&self, shown: &Shown<'_>) -> Result<Visitor, (Problem, Option<Visitor>)> {
        let Some(token) = shown.token else {
            let text = "a token is needed: `Authorization: Bearer …`";
            return Err((Problem::new(401, "UNAUTHENTICATED", text), None));
        };
        let hash = token_hash(token);
        let Some(token) = self.book.access(|access| access.by_hash(&hash).cloned()) else {
            let problem = match self.refusals.guess(shown.source, self.limits.guesses_per_minute) {
                true => Problem::new(429, "RATE_LIMITED", "too many wrong tokens came from there: wait a minute"),
                false => Problem::new(401, "INVALID_TOKEN", "this token is not known here, or was revoked"),
            };
            return Err((problem, None));
        };
        let named = match shown.server_id.map(Uuid::parse_str) {
            Some(Err(_)) => {
                let text = "Holdfast-Server-Id is a UUID: the server id in the home's home.json";
                return Err((Problem::new(400, "INVALID_DATA", text), None));
            }
            named => named.and_then(Result::ok),
        };
        let Some(server_id) = named.or(token.server_id) else {
            let text =
                "this token belongs to no installation yet: say which this is, with the header Holdfast-Server-Id";
            return Err((Problem::new(400, "SERVER_ID_NEEDED", text), None));
        };
        let visitor = Visitor {
            token_id: token.made.token_id,
            name: token.made.name.to_string(),
            permission: token.made.permission,
            quota_bytes: token.made.quota_bytes,
            server_id,
        };
        if token.server_id != Some(server_id) {
            let bind = VaultAccessCommand::Bind { token_id: visitor.token_id, server_id };
            if let Err(error) = self.book.tell_access(&visitor.principal(), bind).await {
                return Err((error.into(), Some(visitor)));
            }
        }
        Ok(visitor)
    }
}
