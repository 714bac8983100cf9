//! Run directories on disk: made, filled, sealed, published, verified, deleted.
//!
//! ```text
//! backups/.running/<run id>/        being written
//! backups/completed/<run id>/       completed and partial runs
//! backups/failed/<run id>/          runs of every other end
//! backups/pre-restore/<restore id>/ safety snapshots
//! backups/.importing/<run id>/      arriving from elsewhere
//! backups/.deleting/<run id>/       deleted, to be unlinked
//!
//! <run id>/manifest.json            what the run is, and each artifact's sizes and hashes
//! <run id>/SHA256SUMS               of all files above and below it; `sha256sum -c` reads it
//! <run id>/<name>.<compression>     an artifact, and its `.index`
//! <run id>/a<number>.age            the same of an encrypted run, where nothing has a name that tells something
//! ```
//!
//! What holds:
//!
//! - A run directory is in one place at a time; it moves by one rename, and both folders are synced before the move is
//!   taken for done. So whoever comes after a crash looks where it is ([`Storage::locate`]) and goes on from there.
//! - What is in `completed/` or `failed/` is never changed there, only moved away as a whole; and it is not deleted while
//!   somebody reads it ([`ReadLease`]).
//! - A name that comes from a file is a typed one ([`ArtifactName`](holdfast_model::ids::ArtifactName)), so that no path
//!   leads out of its folder; links are not followed; what is read into memory is bounded.
//! - Folders are 0700, files 0600.
//!
//! Everything here blocks: call it from threads that may.

mod error;
mod field_path;
mod imports;
mod lease;
mod manifest;
mod places;
mod run_dir;
mod seal;
mod sums;
mod verify;

#[cfg(test)]
mod tests;

pub use error::{FileKind, StorageError};
pub use imports::Arrived;
pub use lease::ReadLease;
pub use manifest::{Consistency, Encryption, Manifest, ManifestArtifact, ManifestIndex, ManifestParticipant, Warnings};
pub use places::{Destination, Place, Storage};
pub use run_dir::{RunDir, Sealed, Staged};
pub(crate) use seal::refused as key_refused;
pub(crate) use sums::parse as parse_sums;
pub(crate) use verify::listed_files;
pub use verify::{FileReport, RunReport};

/// The manifest's name in its run directory.
pub const MANIFEST: &str = "manifest.json";
/// The name of the list of hashes in its run directory.
pub const SUMS: &str = "SHA256SUMS";
