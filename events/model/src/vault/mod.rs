//! A vault: who may bring it runs, and what it holds of each client.
//!
//! A vault is the far side of a backup. Its clients are installations, known by their server ids. What is stated here is what the vault
//! may say yes to; the bytes are on its disk. Two rules stand above the others:
//!
//! - **History is only added to.** No wish of a client takes the place of a committed run, changes its time, or makes room by removing
//!   another one. What a client may not have (a run of the future, a name twice, more than its quota) is refused, and nothing else moves.
//! - **A run is there as a whole or not at all.** It is promised by [`VaultRunCommitRequestedV1`] once every file of it is whole, and is there from
//!   [`VaultRunCommittedV1`] on; between the two the vault owes it.

mod access;
mod client;
mod events;

pub use access::{
    Permission, VaultAccess, VaultAccessCommand, VaultAccessRefusal, VaultClientBoundV1, VaultToken, VaultTokenAddedV1,
    VaultTokenRevokedV1,
};
pub use client::{
    CLOCK_TOLERANCE_S, NewUpload, OpenUpload, Owed, Said, StoredRun, Upload, UploadLimits, VaultClient,
    VaultClientCommand, VaultClientRefusal,
};
pub use events::{
    UploadEnd, VaultRunCommitRequestedV1, VaultRunCommittedV1, VaultRunDeleteRequestedV1, VaultRunDeletedV1,
    VaultUploadClosedV1, VaultUploadCreatedV1, VaultUploadFinishedV1, VaultUploadOpenedV1, VaultUploadRemovedV1,
};

#[cfg(test)]
mod tests;
