//! The facts of one client of a vault.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{ArtifactName, RunId, Sha256};

/// A client began to bring a file of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultUploadCreatedV1 {
    /// The upload.
    pub upload_id: Uuid,
    /// The run the file is of.
    pub run_id: RunId,
    /// The file's name in the run.
    pub file: ArtifactName,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its SHA-256, as the client says.
    pub sha256: Sha256,
    /// The token it was begun with.
    pub token_id: Uuid,
}

/// A client began to bring a file of a run that is not whole on its side yet: its size and its SHA-256 are said at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultUploadOpenedV1 {
    /// The upload.
    pub upload_id: Uuid,
    /// The run the file is of.
    pub run_id: RunId,
    /// The file's name in the run.
    pub file: ArtifactName,
    /// The token it was begun with.
    pub token_id: Uuid,
}

/// The client said where such a file ends; all of it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultUploadClosedV1 {
    /// The upload.
    pub upload_id: Uuid,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its SHA-256, as the vault took it.
    pub sha256: Sha256,
}

/// All of the file is there, and has the hash that was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultUploadFinishedV1 {
    /// The upload.
    pub upload_id: Uuid,
}

/// Why an upload ended without a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadEnd {
    /// Its client took it back.
    Terminated,
    /// Nothing came for its run for too long.
    Expired,
    /// What came has another hash than was said.
    Damaged,
    /// Its directory is not on the disk any more.
    Lost,
}

/// An upload ended without a run; what came of it is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultUploadRemovedV1 {
    /// The upload.
    pub upload_id: Uuid,
    /// Why.
    pub end: UploadEnd,
}

/// Each file of a run is whole and as its manifest says: from now on the vault owes the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRunCommitRequestedV1 {
    /// The run.
    pub run_id: RunId,
    /// Its files, the manifest and the list of hashes included.
    pub files: u32,
    /// Bytes of all of them.
    pub stored_bytes: u64,
    /// SHA-256 of its list of hashes, and with it of everything.
    pub sums_sha256: Sha256,
}

/// The run is in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRunCommittedV1 {
    /// The run.
    pub run_id: RunId,
}

/// A run is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRunDeleteRequestedV1 {
    /// The run.
    pub run_id: RunId,
}

/// It is not there any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRunDeletedV1 {
    /// The run.
    pub run_id: RunId,
}
