//! A far side as it is configured: a vault, or a store with the layout of runs in it.

use std::sync::Arc;

use uuid::Uuid;

use super::Remote;
use super::store::StoreRemote;
use super::vault::{self, VaultRemote};
use crate::endpoints::probe::Step;
use crate::endpoints::{Address, Credentials, Limits, StoreError, probe as probe_store};

/// The runs of an installation at an address, of whatever kind. The far side is not asked yet. The password is the token of a vault.
///
/// # Errors
/// [`StoreError`] where it cannot be set up: files that are not there, credentials that are missing.
pub fn open(
    address: &Address,
    credentials: Credentials,
    limits: &Limits,
    server_id: Uuid,
) -> Result<Arc<dyn Remote>, StoreError> {
    if let Address::Vault(vault) = address {
        return Ok(Arc::new(VaultRemote::new(vault, credentials.password, limits, server_id)?));
    }
    let store = crate::endpoints::open(address, credentials, limits)?;
    Ok(Arc::new(StoreRemote::new(store, server_id, limits.streams)))
}

/// Tries an endpoint out, whatever its kind, and tells each step when it has ended. Says whether all were good. The server id is needed for a vault
/// whose token belongs to no installation yet; it then belongs to this one.
pub async fn probe(
    address: &Address,
    credentials: Credentials,
    limits: &Limits,
    server_id: Option<Uuid>,
    mut told: impl FnMut(&Step),
) -> bool {
    if let Address::Vault(vault) = address {
        return vault::probe(vault, credentials.password, limits, server_id, told).await;
    }
    let began = std::time::Instant::now();
    match crate::endpoints::open(address, credentials, limits) {
        Ok(store) => probe_store(&*store, told).await,
        Err(error) => {
            told(&Step { name: "set up", took: began.elapsed(), error: Some(error) });
            false
        }
    }
}
