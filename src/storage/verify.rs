//! A published run against what was recorded of it: every size and every hash again from disk.
//!
//! Nothing is taken for good because something else says so: the list of hashes must agree with the manifest, both with the
//! files, and, where the caller knows it from the log, the list with the hash it had at publish. The first fault ends
//! nothing: each file is told of. Names that neither list has are told of too, and are no fault: later additions lie beside
//! what was published, and harm nothing of it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;

use holdfast_model::ids::{ArtifactName, Sha256};
use sha2::Digest;

use super::error::{FileKind, StorageError};
use super::lease::{ReadLease, open_as};
use super::manifest::{self, Manifest};
use super::run_dir::names;
use super::sums::Sums;
use super::{MANIFEST, SUMS};
use crate::pipeline::hash_file;

/// What a verification found.
#[derive(Debug)]
pub struct RunReport {
    /// Each file that the run has or should have.
    pub files: Vec<FileReport>,
    /// Names in the directory that the run does not have.
    pub extra: Vec<String>,
    /// The manifest, where it can be read.
    pub manifest: Option<Manifest>,
}

impl RunReport {
    /// Whether everything is as it was published.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.faults().next().is_none()
    }

    /// The files that are not as they were published.
    pub fn faults(&self) -> impl Iterator<Item = (&FileReport, &StorageError)> {
        self.files.iter().filter_map(|file| Some((file, file.error.as_ref()?)))
    }
}

/// What a verification found of one file.
#[derive(Debug)]
pub struct FileReport {
    /// Its name in the run directory.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Its size as recorded, in bytes; 0 where only its hash is.
    pub size_bytes: u64,
    /// What is wrong with it.
    pub error: Option<StorageError>,
}

impl FileReport {
    pub(crate) fn new(listed: &Listed, error: Option<StorageError>) -> Self {
        let (name, size_bytes) = (listed.name.to_string(), listed.size_bytes.unwrap_or(0));
        Self { name, kind: listed.kind, size_bytes, error }
    }
}

/// A file as it was recorded.
pub(crate) struct Listed {
    pub(crate) name: ArtifactName,
    pub(crate) kind: FileKind,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) sha256: Sha256,
}

/// The files that a manifest names.
pub(crate) fn listed_files(manifest: &Manifest) -> Vec<Listed> {
    let mut files = Vec::new();
    for artifact in manifest.artifacts() {
        let (name, size_bytes) = (artifact.path.clone(), Some(artifact.size_bytes));
        files.push(Listed { name, kind: FileKind::Artifact, size_bytes, sha256: artifact.sha256 });
        if let Some(index) = &artifact.index {
            let (name, size_bytes) = (index.path.clone(), Some(index.size_bytes));
            files.push(Listed { name, kind: FileKind::Index, size_bytes, sha256: index.sha256 });
        }
    }
    files
}

impl ReadLease {
    /// Verifies the whole directory. `sums_sha256` is what `SHA256SUMS` had at publish, where that is known; `progress` is
    /// told the bytes read.
    #[must_use]
    pub fn verify(&self, sums_sha256: Option<Sha256>, progress: &mut dyn FnMut(u64)) -> RunReport {
        let mut files = Vec::new();
        let mut report = |name: &str, kind, size_bytes: usize, error| {
            files.push(FileReport { name: name.to_owned(), kind, size_bytes: size_bytes as u64, error });
        };

        let (sums, sums_bytes, error) = match self.read_and_parse_sums(sums_sha256) {
            Ok((sums, bytes)) => (Some(sums), bytes, None),
            Err(error) => (None, 0, Some(error)),
        };
        report(SUMS, FileKind::Sums, sums_bytes, error);

        let (manifest, manifest_bytes, error) = match self.read_and_parse_manifest(sums.as_ref()) {
            Ok((manifest, bytes, error)) => (Some(manifest), bytes, error),
            Err(error) => (None, 0, Some(error)),
        };
        report(MANIFEST, FileKind::Manifest, manifest_bytes, error);

        let mut unlisted = sums.as_ref().map(|sums| sums.0.clone()).unwrap_or_default();
        unlisted.retain(|name, _| name.as_str() != MANIFEST);
        for listed in manifest.iter().flat_map(listed_files) {
            let in_sums = unlisted.remove(&listed.name);
            let error = check_file_in(self, &listed, progress).err().or_else(|| {
                let disagree = sums.is_some() && in_sums != Some(listed.sha256);
                disagree.then(|| self.altered(&listed, "SHA256SUMS and the manifest disagree about it"))
            });
            files.push(FileReport::new(&listed, error));
        }
        for (name, sha256) in unlisted {
            let kind = if name.as_str().ends_with(".index") { FileKind::Index } else { FileKind::Artifact };
            let listed = Listed { name, kind, size_bytes: None, sha256 };
            let error = check_file_in(self, &listed, progress).err().or_else(|| {
                let unknown = manifest.is_some();
                unknown.then(|| self.altered(&listed, "it is in SHA256SUMS and not in the manifest"))
            });
            files.push(FileReport::new(&listed, error));
        }

        let known: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let mut extra = names(self.path()).unwrap_or_default();
        extra.retain(|name| !known.contains(name.as_str()));
        RunReport { files, extra, manifest }
    }

    /// Checks that the manifest is the one the run was published with, reading no artifact.
    ///
    /// # Errors
    /// [`StorageError`] where it, or `SHA256SUMS`, is not as it was.
    pub fn check_manifest(&self, sums_sha256: Option<Sha256>) -> Result<(), StorageError> {
        let (sums, _) = self.read_and_parse_sums(sums_sha256)?;
        let (_, _, altered) = self.read_and_parse_manifest(Some(&sums))?;
        altered.map_or(Ok(()), Err)
    }

    fn read_and_parse_sums(&self, recorded: Option<Sha256>) -> Result<(Sums, usize), StorageError> {
        let text = self.read_sums()?;
        let path = self.path().join(SUMS);
        let sums = Sums::from_text(&text, &path)?;
        if !sums.0.keys().any(|name| name.as_str() == MANIFEST) {
            let reason = "the manifest is not listed".to_owned();
            return Err(StorageError::SumsInvalid { path, line: 0, reason });
        }
        if recorded.is_some_and(|recorded| recorded != sha256(&text)) {
            let reason = "its SHA-256 is not the one it had at publish".to_owned();
            return Err(StorageError::Altered { path, kind: FileKind::Sums, reason });
        }
        Ok((sums, text.len()))
    }

    /// The manifest, its length, and what is wrong with it although it can be read.
    fn read_and_parse_manifest(
        &self,
        sums: Option<&Sums>,
    ) -> Result<(Manifest, usize, Option<StorageError>), StorageError> {
        let text = self.read_small(MANIFEST, FileKind::Manifest, manifest::MAX_BYTES)?;
        let listed = sums.and_then(|sums| sums.0.iter().find(|(name, _)| name.as_str() == MANIFEST));
        let altered = listed.filter(|(_, recorded)| **recorded != sha256(&text)).map(|_| StorageError::Altered {
            path: self.path().join(MANIFEST),
            kind: FileKind::Manifest,
            reason: "its SHA-256 is not the one in SHA256SUMS".to_owned(),
        });
        match (self.parse_manifest(&text), altered) {
            (Ok(manifest), altered) => Ok((manifest, text.len(), altered)),
            // That it was altered says more than what that made of it.
            (Err(_), Some(altered)) => Err(altered),
            (Err(error), None) => Err(error),
        }
    }

    fn altered(&self, listed: &Listed, reason: &str) -> StorageError {
        let path = self.path().join(listed.name.as_str());
        StorageError::Altered { path, kind: listed.kind, reason: reason.to_owned() }
    }
}

fn check_file_in(lease: &ReadLease, listed: &Listed, progress: &mut dyn FnMut(u64)) -> Result<(), StorageError> {
    check_open(&lease.open_as(listed.name.as_str(), listed.kind)?, lease.path(), listed, progress)
}

/// Compares a file's size and hash with what was recorded.
pub(crate) fn check_file(
    directory: &File,
    dir: &Path,
    listed: &Listed,
    progress: &mut dyn FnMut(u64),
) -> Result<(), StorageError> {
    check_open(&open_as(directory, dir, listed.name.as_str(), listed.kind)?, dir, listed, progress)
}

fn check_open(file: &File, dir: &Path, listed: &Listed, progress: &mut dyn FnMut(u64)) -> Result<(), StorageError> {
    let path = dir.join(listed.name.as_str());
    let kind = listed.kind;
    let found = file.metadata().map_err(StorageError::io("look at", &path))?.len();
    let expected = listed.size_bytes.unwrap_or(found);
    if found < expected {
        return Err(StorageError::Truncated { path, kind, expected, found });
    }
    if found > expected {
        let reason = format!("{} bytes were appended to it", found - expected);
        return Err(StorageError::Altered { path, kind, reason });
    }
    let taken = hash_file(file, found, progress).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            let found = file.metadata().map_or(0, |now| now.len());
            StorageError::Truncated { path: path.clone(), kind, expected, found }
        }
        _ => StorageError::io("read", &path)(error),
    })?;
    if taken != listed.sha256 {
        let reason = "its SHA-256 is not the recorded one".to_owned();
        return Err(StorageError::Altered { path, kind, reason });
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}
