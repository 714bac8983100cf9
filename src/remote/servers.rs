//! Which installations have runs at a far side, for somebody who has nothing but its address.

use std::sync::Arc;

use secrecy::SecretString;
use uuid::Uuid;

use super::vault;
use crate::endpoints::address::VaultAddress;
use crate::endpoints::{Address, Credentials, ErrorKind, Limits, ObjectName, Prefix, Store, StoreError};

/// Most folders at the top of a store that are looked at.
const MOST: usize = 1000;
/// As long as a part of a name may be.
const LONGEST: usize = 200;

/// The installations that have a folder at a store, in the order of their ids; of a vault the one that the token belongs to, which is all that
/// a vault tells.
///
/// # Errors
/// [`StoreError`] where the far side does not answer, or has too many folders to look through.
pub async fn servers(address: &Address, credentials: Credentials, limits: &Limits) -> Result<Vec<Uuid>, StoreError> {
    match address {
        Address::Vault(vault) => of_vault(vault, credentials.password, limits).await.map(|server_id| vec![server_id]),
        address => of_store(&crate::endpoints::open(address, credentials, limits)?).await,
    }
}

async fn of_vault(vault: &VaultAddress, token: SecretString, limits: &Limits) -> Result<Uuid, StoreError> {
    vault::server_id(vault, token, limits).await
}

/// One name of each folder is asked for: how much there is in it does not matter.
async fn of_store(store: &Arc<dyn Store>) -> Result<Vec<Uuid>, StoreError> {
    let refuse = |why: String| StoreError::new(ErrorKind::Fatal, "look for installations", why);
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..MOST {
        let page = store.list(&Prefix::top(), after.as_ref(), 1).await?;
        let Some(entry) = page.entries.into_iter().next() else { return Ok(found) };
        after = Some(match entry.name.as_str().split_once('/') {
            None => entry.name,
            Some((folder, _)) => {
                // As ids are written here: no other spelling is a folder of ours.
                found.extend(Uuid::parse_str(folder).ok().filter(|id| id.to_string() == folder));
                // No name in a folder of ours comes after that.
                let last = format!("{folder}/{}", "z".repeat(LONGEST));
                ObjectName::new(last).map_err(|error| refuse(error.to_string()))?
            }
        });
    }
    Err(refuse(format!("there are more than {MOST} folders: name the installation")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[tokio::test]
    async fn the_installations_of_a_store_are_its_folders_with_ids() {
        let folder = tempfile::tempdir().unwrap();
        let ids = [Uuid::from_u128(7), Uuid::from_u128(1 << 120), Uuid::from_u128(3 << 100)];
        for id in ids {
            for file in ["runs/20261121-220000-000042/manifest.json", "catalog/new/x", "runs/zzz"] {
                let path = folder.path().join(id.to_string()).join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "x").unwrap();
            }
        }
        for other in ["notes/a/b", "zz", "0197", "A0000000-0000-0000-0000-000000000001/x"] {
            let path = folder.path().join(other);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let address = Address::parse(&format!("file://{}", folder.path().display())).unwrap();
        let mut sorted = ids.to_vec();
        sorted.sort();
        assert_eq!(servers(&address, Credentials::default(), &Limits::default()).await.unwrap(), sorted);
    }
}
