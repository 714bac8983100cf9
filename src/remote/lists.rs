//! The two lists of a run, `manifest.json` and `SHA256SUMS`: read, bounded, and held against one another.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use holdfast_model::ids::{ArtifactName, RunId, Sha256};
use sha2::Digest;

use super::{RemoteHead, RemoteRun};
use crate::endpoints::{ByteStream, ErrorKind, StoreError};
use crate::storage::{MANIFEST, Manifest, SUMS, listed_files, parse_sums};

/// Longest list that is read, in bytes.
pub(super) const MAX_LIST: u64 = 16 << 20;

/// A file that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedFile {
    pub(super) name: ArtifactName,
    pub(super) size_bytes: u64,
    pub(super) sha256: Sha256,
}

/// The lists of a run, which agree.
#[derive(Debug, Clone)]
pub(super) struct Lists {
    pub(super) manifest: Manifest,
    pub(super) manifest_text: Bytes,
    pub(super) sums: BTreeMap<ArtifactName, Sha256>,
    pub(super) sums_text: Bytes,
    pub(super) sums_sha256: Sha256,
    /// All files but these two.
    pub(super) files: Vec<ListedFile>,
}

impl Lists {
    /// Reads the lists of a run.
    ///
    /// # Errors
    /// Of the kind that is given, where they are not of this run, not to be followed, or do not agree.
    pub(super) fn read(run_id: RunId, manifest: Bytes, sums: Bytes, kind: ErrorKind) -> Result<Self, StoreError> {
        let refuse = |why: String| StoreError::new(kind, format!("use the lists of run {run_id}"), why);
        let parsed = Manifest::from_text(&manifest, Path::new(MANIFEST)).map_err(|error| refuse(error.to_string()))?;
        if parsed.run_id != run_id {
            return Err(refuse(format!("the manifest is of run {}", parsed.run_id)));
        }
        let hashes = parse_sums(&sums, Path::new(SUMS)).map_err(|error| refuse(error.to_string()))?;
        let mut unlisted = hashes.clone();
        let manifest_name: ArtifactName =
            MANIFEST.parse().map_err(|error: holdfast_model::ids::InvalidName| refuse(error.to_string()))?;
        if unlisted.remove(&manifest_name) != Some(Sha256(sha2::Sha256::digest(&manifest).into())) {
            return Err(refuse(format!("{MANIFEST} is not as recorded in {SUMS}")));
        }
        let mut files = Vec::new();
        for listed in listed_files(&parsed) {
            if unlisted.remove(&listed.name) != Some(listed.sha256) {
                return Err(refuse(format!("{SUMS} and the manifest disagree about {}", listed.name)));
            }
            let size_bytes = listed.size_bytes.ok_or_else(|| refuse(format!("{} has no size", listed.name)))?;
            files.push(ListedFile { name: listed.name, size_bytes, sha256: listed.sha256 });
        }
        if let Some(name) = unlisted.keys().next() {
            return Err(refuse(format!("{name} is in {SUMS} and not in the manifest")));
        }
        let sums_sha256 = Sha256(sha2::Sha256::digest(&sums).into());
        Ok(Self { manifest: parsed, manifest_text: manifest, sums: hashes, sums_text: sums, sums_sha256, files })
    }

    /// Bytes of all files, these two included.
    pub(super) fn bytes(&self) -> u64 {
        let lists = self.manifest_text.len() as u64 + self.sums_text.len() as u64;
        self.files.iter().fold(lists, |sum, file| sum.saturating_add(file.size_bytes))
    }

    /// What a listing says of the run.
    pub(super) fn row(&self, received_at: i64) -> RemoteRun {
        RemoteRun {
            run_id: self.manifest.run_id,
            run_type: self.manifest.run_type.clone(),
            status: self.manifest.status.clone(),
            started_at: self.manifest.started_at,
            finished_at: self.manifest.finished_at,
            received_at,
            files: u32::try_from(self.sums.len()).unwrap_or(u32::MAX).saturating_add(1),
            stored_bytes: self.bytes(),
            encrypted: self.manifest.sealed.is_some(),
            sums_sha256: self.sums_sha256,
        }
    }

    pub(super) fn head(self, received_at: i64) -> RemoteHead {
        RemoteHead { row: self.row(received_at), manifest: self.manifest_text, sums: self.sums_text }
    }
}

/// All of a stream, where it is not longer than it may be. `name` is for messages.
pub(super) async fn whole(mut stream: ByteStream, most: u64, name: &str) -> Result<Bytes, StoreError> {
    let mut text = BytesMut::new();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes?;
        if text.len() as u64 + bytes.len() as u64 > most {
            return Err(StoreError::new(ErrorKind::Altered, format!("read {name}"), "it is too long"));
        }
        text.extend_from_slice(&bytes);
    }
    Ok(text.freeze())
}
