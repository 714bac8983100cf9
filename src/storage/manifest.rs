//! `manifest.json`: what a run is, final at publish.
//!
//! Its fields are those of a run that do not change later, under the names that the wire uses. Times are Unix seconds.
//! File names are relative to the run directory; since they are typed names, and must be what the artifact's name and
//! compression make, a manifest from elsewhere can lead nowhere else. Fields that this program does not know are ignored: a
//! newer program adds some without changing what the others mean.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use holdfast_model::ids::{ArtifactName, ParticipantName, RunId, Sha256};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::StorageError;
use super::field_path::field_path;
use super::{MANIFEST, SUMS, seal};
use crate::encryption::FileKeys;
use crate::pipeline::{Cipher, Compression, Expected, StoredArtifact, index};

/// Longest manifest read, in bytes.
pub(crate) const MAX_BYTES: u64 = 16 << 20;
/// The version of this format.
const VERSION: u32 = 1;

/// A run as its directory holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format: 1.
    pub backup_format_version: u32,
    /// The installation that made the run.
    pub server_id: Uuid,
    /// Version of the program that made it.
    pub app_version: String,
    /// The run.
    pub run_id: RunId,
    /// `full` or `scoped`.
    #[serde(rename = "type")]
    pub run_type: String,
    /// What started it: `manual`, `cron`, …
    pub trigger: String,
    /// How it ended: `completed`, `partial`, `failed`, `cancelled`, `timeout`; `running` before that.
    pub status: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When it started.
    pub started_at: i64,
    /// When it ended; 0 before that.
    pub finished_at: i64,
    /// Why it did not complete; empty where it did.
    pub error_summary: String,
    /// Who asked for it.
    pub requested_by: String,
    /// The participants asked for; empty for all.
    pub requested_participants: Vec<ParticipantName>,
    /// The moment its artifacts are of.
    pub consistency: Consistency,
    /// The job it belongs to, if it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Bytes of content in all artifacts.
    pub size_bytes: u64,
    /// Bytes of all artifacts' files.
    pub stored_bytes: u64,
    /// What became of each participant.
    pub participants: Vec<ManifestParticipant>,
    /// All of the manifest, encrypted, where the run is: see the module `seal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
}

/// The moment a run's artifacts are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consistency {
    /// `barrier`: all of one moment; `concurrent`: each of its own.
    pub mode: String,
    /// When the barrier stood; 0 without one.
    pub barrier_at: i64,
    /// How long participants stood still, from the first that was told to until the last that went on, in microseconds.
    #[serde(default)]
    pub held_us: u64,
}

/// What became of one participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestParticipant {
    /// Its name.
    pub name: ParticipantName,
    /// What it is: `files` stores a tree as a tar stream, every other kind streams of its own. Older manifests do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether the run fails with it.
    pub critical: bool,
    /// Whether its artifacts are good.
    pub ok: bool,
    /// `completed`, `failed`, `skipped`, `cancelled`, `timeout`; before the end `pending`, `running`.
    pub status: String,
    /// When it started.
    pub started_at: i64,
    /// When it ended; 0 before that.
    pub finished_at: i64,
    /// Why it failed; empty where it did not.
    pub error: String,
    /// What it left out.
    pub warnings: Warnings,
    /// What it wrote.
    pub artifacts: Vec<ManifestArtifact>,
}

/// What a participant left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warnings {
    /// How many things.
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
}

/// How an artifact is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// Not at all.
    #[default]
    None,
    /// By age, version 1.
    Age,
}

/// One artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestArtifact {
    /// What the participant calls it.
    pub logical_name: ArtifactName,
    /// Its file in the run directory.
    pub path: ArtifactName,
    /// Size of the file in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256,
    /// Bytes the participant wrote; `None` where that is in the encrypted part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_bytes: Option<u64>,
    /// SHA-256 of them; `None` where that is in the encrypted part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_sha256: Option<Sha256>,
    /// How they are compressed.
    pub compression: Compression,
    /// How they are encrypted.
    pub encryption: Encryption,
    /// What opens it where it is encrypted: public keys, of which the private half of one does; or `passphrase`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opened_by: Vec<String>,
    /// Its index, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<ManifestIndex>,
}

/// An artifact's index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestIndex {
    /// Its file in the run directory.
    pub path: ArtifactName,
    /// Size of the file in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256,
}

impl ManifestArtifact {
    /// What the manifest says of `stored`, which its participant calls `logical_name`.
    #[must_use]
    pub fn new(logical_name: ArtifactName, stored: &StoredArtifact) -> Self {
        Self {
            logical_name,
            path: stored.file.clone(),
            size_bytes: stored.stored_bytes,
            sha256: stored.sha256,
            content_bytes: Some(stored.content_bytes),
            content_sha256: Some(stored.content_sha256),
            compression: stored.compression,
            encryption: Encryption::None,
            opened_by: Vec::new(),
            index: Some(ManifestIndex {
                path: stored.index.file.clone(),
                size_bytes: stored.index.stored_bytes,
                sha256: stored.index.sha256,
            }),
        }
    }

    /// What a reader of it must find; `None` where only the encrypted part of the manifest says that.
    #[must_use]
    pub fn expected(&self) -> Option<Expected> {
        Some(Expected {
            stored_bytes: self.size_bytes,
            sha256: self.sha256,
            content_bytes: self.content_bytes?,
            content_sha256: self.content_sha256?,
        })
    }

    /// How its stored bytes are read: by the key there is for one of its files.
    pub(crate) fn cipher(&self, file: &ArtifactName, keys: Option<&FileKeys>) -> Cipher {
        match (self.encryption, keys.and_then(|keys| keys.get(file))) {
            (Encryption::None, _) => Cipher::None,
            (Encryption::Age, None) => Cipher::Locked,
            (Encryption::Age, Some(key)) => Cipher::Key(Arc::new(key.clone())),
        }
    }
}

impl Manifest {
    /// The version of the format that this program writes.
    pub const VERSION: u32 = VERSION;

    /// All artifacts of all participants.
    pub fn artifacts(&self) -> impl Iterator<Item = &ManifestArtifact> {
        self.participants.iter().flat_map(|participant| &participant.artifacts)
    }

    /// The text of the file.
    pub(crate) fn to_text(&self, path: &Path) -> Result<Vec<u8>, StorageError> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| StorageError::io("write", path)(std::io::Error::other(error)))?;
        text.push(b'\n');
        if text.len() as u64 > MAX_BYTES {
            return Err(invalid(path, ".", "the manifest would be longer than 16 MiB"));
        }
        Ok(text)
    }

    /// Reads a manifest's text and refuses what must not be followed. `path` is for messages.
    pub(crate) fn from_text(text: &[u8], path: &Path) -> Result<Self, StorageError> {
        // The version first: a newer format may differ in everything else.
        let read = serde_json::from_slice::<Version>(text)
            .and_then(|version| match version.backup_format_version {
                VERSION => serde_json::from_slice(text).map(Ok),
                other => Ok(Err(other)),
            })
            .map_err(|error| {
                let field = field_path(text, error.line(), error.column());
                invalid(path, &field, &error.to_string())
            })?;
        let manifest: Self = read.map_err(|version| {
            invalid(path, "backup_format_version", &format!("version {version} is not known here: upgrade holdfast"))
        })?;
        manifest.check(path)?;
        Ok(manifest)
    }

    /// What the types do not say.
    pub(super) fn check(&self, path: &Path) -> Result<(), StorageError> {
        let mut names = BTreeSet::from([MANIFEST.to_ascii_lowercase(), SUMS.to_ascii_lowercase()]);
        let mut unique = |name: &ArtifactName, field: &str| match names.insert(name.as_str().to_ascii_lowercase()) {
            true => Ok(()),
            false => Err(invalid(path, field, &format!("two files cannot both be {name}"))),
        };
        for (p, participant) in self.participants.iter().enumerate() {
            for (a, artifact) in participant.artifacts.iter().enumerate() {
                let field = format!("participants[{p}].artifacts[{a}]");
                let fits = match artifact.encryption {
                    Encryption::None => {
                        artifact.compression.file_name(&artifact.logical_name).as_ref() == Ok(&artifact.path)
                    }
                    Encryption::Age => seal::is_neutral(&artifact.path),
                };
                if !fits {
                    let reason = "it is not the file that the artifact's name, compression and encryption make";
                    return Err(invalid(path, &format!("{field}.path"), reason));
                }
                if artifact.encryption == Encryption::None && self.sealed.is_some() {
                    let reason = "it is not encrypted, in a run that is";
                    return Err(invalid(path, &format!("{field}.encryption"), reason));
                }
                if artifact.expected().is_none() && self.sealed.is_none() {
                    return Err(invalid(path, &format!("{field}.content_sha256"), "it is missing"));
                }
                unique(&artifact.path, &format!("{field}.path"))?;
                let Some(index) = &artifact.index else { continue };
                if index::file_name(&artifact.path).as_ref() != Ok(&index.path) {
                    return Err(invalid(path, &format!("{field}.index.path"), "it is not the artifact's own index"));
                }
                unique(&index.path, &format!("{field}.index.path"))?;
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Version {
    backup_format_version: u32,
}

pub(crate) fn invalid(path: &Path, field: &str, reason: &str) -> StorageError {
    StorageError::ManifestInvalid { path: path.to_owned(), field: field.to_owned(), reason: reason.to_owned() }
}
