//! Tokens: who one stands for, and what becomes of wrong ones.

use std::time::Duration;

use subtle::ConstantTimeEq;

use super::caller::Principal;
use super::error::{ApiError, ErrorCode};
use crate::engine::{Holdfast, token_hash};

/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 256;

/// Who a token stands for. A wrong one counts against its source: above a rate it is not even answered as wrong, but as too many. One
/// that is right is taken at any time, so that nobody can lock others out.
pub(super) async fn authenticate(engine: &Holdfast, token: &str, source: &str) -> Result<Principal, ApiError> {
    let now = engine.now();
    let asked = token_hash(token);
    let found = engine
        .read(|known| {
            let token = known.access.by_hash(&asked).filter(|token| token.is_live(now))?;
            let same: bool = token.hash.0.ct_eq(&asked.0).into();
            let name = format!("token:{}", token.name);
            same.then_some(Principal { name, role: token.role, token_id: Some(token.token_id) })
        })
        .await?;
    match found {
        Some(principal) if token.len() <= MAX_TOKEN => Ok(principal),
        _ => Err(wrong(engine, source)),
    }
}

fn wrong(engine: &Holdfast, source: &str) -> ApiError {
    match engine.desk().counts.guess(engine, source) {
        Ok(()) => ApiError::new(
            ErrorCode::InvalidToken,
            "the token is not known, has expired or was revoked: `holdfast token create` makes another",
        ),
        Err(wait) => ApiError::new(ErrorCode::RateLimited, "too many wrong tokens came from here")
            .retry_after(wait.max(Duration::from_secs(1))),
    }
}
