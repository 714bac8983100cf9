//! The right to read a published run, as long as it is held.
//!
//! A lease is a shared `flock(2)` on the run directory's own descriptor, and a deletion takes it exclusively: so a run is
//! not deleted under a restore, by no process, and a reader that dies holds nothing. All files are opened from that
//! descriptor, so what is read is of that directory whatever happens to its name.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use holdfast_model::ids::{ArtifactName, RunId, Sha256};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use sha2::Digest;

use super::error::{FileKind, StorageError};
use super::manifest::{self, Manifest, ManifestArtifact};
use super::places::is_same;
use super::{MANIFEST, SUMS, sums};
use crate::encryption::{EncryptionError, FileKey, FileKeys, Keyring};
use crate::pipeline::{ArtifactReader, Cipher, IndexReader, Pipeline, PipelineError, header};

/// A published run that stays while this is held.
#[derive(Debug)]
pub struct ReadLease {
    run_id: RunId,
    path: PathBuf,
    directory: File,
}

impl ReadLease {
    pub(crate) fn take(run_id: RunId, path: PathBuf) -> Result<Self, StorageError> {
        let directory = open_dir(&path).map_err(StorageError::io("open", &path))?;
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StorageError::InUse { run_id }),
            Err(error) => return Err(StorageError::io("lock", &path)(error.into())),
        }
        // A deletion may have come between the opening and the lock.
        if !is_same(&directory, &path) {
            return Err(StorageError::RunDirectoryMissing { run_id });
        }
        Ok(Self { run_id, path, directory })
    }

    /// The run.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.run_id
    }

    /// The run directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the manifest.
    ///
    /// # Errors
    /// [`StorageError::Missing`], [`StorageError::ManifestInvalid`], [`StorageError::Io`].
    pub fn manifest(&self) -> Result<Manifest, StorageError> {
        self.parse_manifest(&self.read_small(MANIFEST, FileKind::Manifest, manifest::MAX_BYTES)?)
    }

    pub(crate) fn parse_manifest(&self, text: &[u8]) -> Result<Manifest, StorageError> {
        let path = self.path.join(MANIFEST);
        let manifest = Manifest::from_text(text, &path)?;
        if manifest.run_id != self.run_id {
            let reason = format!("it is of run {}, in the directory of run {}", manifest.run_id, self.run_id);
            return Err(manifest::invalid(&path, "run_id", &reason));
        }
        Ok(manifest)
    }

    /// Opens an artifact of this run's manifest for reading. Only its size is looked at yet, and its header where it is encrypted and
    /// `keys` has its key; without that, only its stored bytes can be checked.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub fn artifact(
        &self,
        pipeline: &Pipeline,
        artifact: &ManifestArtifact,
        keys: Option<&FileKeys>,
    ) -> Result<ArtifactReader, PipelineError> {
        let path = self.path.join(artifact.path.as_str());
        let file = self.open(&artifact.path, |reason| PipelineError::altered(&path, reason))?;
        let expected = artifact.expected().ok_or_else(|| PipelineError::Locked { path: path.clone() })?;
        let cipher = artifact.cipher(&artifact.path, keys);
        ArtifactReader::open(pipeline, file, &path, artifact.compression, expected, cipher)
    }

    /// Opens an artifact's index, if it has one, and checks its hash.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub fn index(
        &self,
        artifact: &ManifestArtifact,
        keys: Option<&FileKeys>,
    ) -> Result<Option<IndexReader>, PipelineError> {
        let Some(index) = &artifact.index else { return Ok(None) };
        let path = self.path.join(index.path.as_str());
        let altered =
            |reason: &str| PipelineError::IndexAltered { path: path.clone(), line: 0, reason: reason.to_owned() };
        let file = self.open(&index.path, altered)?;
        let cipher = artifact.cipher(&index.path, keys);
        if matches!(cipher, Cipher::Locked) {
            return Err(PipelineError::Locked { path });
        }
        IndexReader::open(file, &path, artifact.compression, Some((index.size_bytes, index.sha256)), cipher).map(Some)
    }

    /// The key of a file of this run, by the private keys at hand; `None` where none of them opens it.
    ///
    /// # Errors
    /// [`StorageError::Encryption`] where it is not encrypted, or damaged; [`StorageError::Missing`], [`StorageError::Io`].
    pub(crate) fn unlock(&self, keyring: &Keyring, file: &ArtifactName) -> Result<Option<FileKey>, StorageError> {
        let path = self.path.join(file.as_str());
        let altered = |reason: String| EncryptionError::Altered { path: path.clone(), reason };
        let opened = self.open_as(file.as_str(), FileKind::Artifact)?;
        let header = header(&opened, &path).map_err(|error| match error {
            PipelineError::Altered { reason, .. } => StorageError::Encryption(altered(reason)),
            error => StorageError::Encryption(altered(error.to_string())),
        })?;
        keyring.unlock(&header, &path).map_err(StorageError::Encryption)
    }

    /// Opens a file that was recorded. That it is not there, or no file, is damage like any other.
    fn open(&self, name: &ArtifactName, altered: impl FnOnce(&str) -> PipelineError) -> Result<File, PipelineError> {
        use rustix::io::Errno;
        open_file(&self.directory, name.as_str()).map_err(|error| {
            match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::NOENT) => altered("it is missing"),
                Some(Errno::LOOP | Errno::NXIO) => altered(NOT_A_FILE),
                None if error.kind() == io::ErrorKind::InvalidInput => altered(NOT_A_FILE),
                _ => PipelineError::io("open", &self.path.join(name.as_str()))(error),
            }
        })
    }

    /// Opens a file of the directory as what it should be.
    pub(crate) fn open_as(&self, name: &str, kind: FileKind) -> Result<File, StorageError> {
        open_as(&self.directory, &self.path, name, kind)
    }

    /// SHA-256 of the list of hashes, and with it of everything.
    ///
    /// # Errors
    /// [`StorageError::Missing`], [`StorageError::Io`].
    pub fn sums_sha256(&self) -> Result<Sha256, StorageError> {
        Ok(Sha256(sha2::Sha256::digest(self.read_sums()?).into()))
    }

    pub(crate) fn read_sums(&self) -> Result<Vec<u8>, StorageError> {
        self.read_small(SUMS, FileKind::Sums, sums::MAX_BYTES)
    }

    pub(crate) fn read_small(&self, name: &str, kind: FileKind, most: u64) -> Result<Vec<u8>, StorageError> {
        let path = self.path.join(name);
        let file = self.open_as(name, kind)?;
        let mut text = Vec::new();
        file.take(most + 1).read_to_end(&mut text).map_err(StorageError::io("read", &path))?;
        if text.len() as u64 > most {
            let reason = format!("it is longer than {most} bytes");
            return Err(StorageError::Altered { path, kind, reason });
        }
        Ok(text)
    }
}

/// Opens a directory itself, not what a link leads to.
pub(crate) fn open_dir(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?.into())
}

const NOT_A_FILE: &str = "it is not a regular file";

/// Opens a regular file in `directory`, and nothing else.
fn open_file(directory: &File, name: &str) -> io::Result<File> {
    // Without NONBLOCK a pipe under the file's name would hold the reader for ever.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: File = rustix::fs::openat(directory, name, flags, Mode::empty())?.into();
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, NOT_A_FILE))
}

/// As [`open_file`], with errors that say what the file should have been.
pub(crate) fn open_as(directory: &File, dir: &Path, name: &str, kind: FileKind) -> Result<File, StorageError> {
    let path = dir.join(name);
    open_file(directory, name).map_err(|error| match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOENT) => StorageError::Missing { path, kind },
        // What opening a link, a folder's contents, or a socket gives.
        Some(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => StorageError::NotAFile { path, kind },
        None if error.kind() == io::ErrorKind::InvalidInput => StorageError::NotAFile { path, kind },
        _ => StorageError::io("open", &path)(error),
    })
}
