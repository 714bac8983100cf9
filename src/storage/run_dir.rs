//! The directory of a run that is being written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use holdfast_log::durable;
use holdfast_model::ids::{ArtifactName, Sha256};

use super::error::{FileKind, StorageError};
use super::lease::{open_as, open_dir};
use super::manifest::Manifest;
use super::places::{remove, sync_dir};
use super::sums::Sums;
use super::verify::{FileReport, check_file, listed_files};
use super::{MANIFEST, SUMS, seal};
use crate::encryption::{EXTENSION, EncryptTo};
use crate::pipeline::{Compression, hash_file, index};

/// A run's directory before publish, or a safety snapshot's. Shared by the run's participants.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    taken: Mutex<Taken>,
}

/// Names in use, in lower case.
#[derive(Debug, Default)]
struct Taken {
    files: BTreeSet<String>,
    /// What artifacts are called whose files have neutral names, by their files.
    hidden: BTreeMap<String, String>,
}

/// Where a run's artifacts lie when it is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staged {
    /// In its directory: each is read again.
    Here,
    /// At endpoints, which are asked by whoever publishes the run. Indexes and lists are in its directory all the same.
    Elsewhere,
}

/// What a sealed directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// SHA-256 of `SHA256SUMS`, and with it of everything.
    pub sums_sha256: Sha256,
    /// Files in the list.
    pub files: usize,
}

impl RunDir {
    pub(crate) fn create(path: PathBuf) -> Result<Self, StorageError> {
        durable::make_dir(&path, 0o700).map_err(StorageError::io("make", &path))?;
        Ok(Self { path, taken: Mutex::new(Taken { files: own_names(), ..Taken::default() }) })
    }

    pub(crate) fn open(path: PathBuf) -> Result<Self, StorageError> {
        let mut files = own_names();
        files.extend(names(&path)?.iter().map(|name| name.to_ascii_lowercase()));
        Ok(Self { path, taken: Mutex::new(Taken { files, ..Taken::default() }) })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the names of an artifact's file and index, before the first byte. Gives the file's name.
    ///
    /// # Errors
    /// [`StorageError::NameTaken`], [`StorageError::NameInvalid`].
    pub fn reserve(&self, name: &ArtifactName, compression: Compression) -> Result<ArtifactName, StorageError> {
        let file = compression.file_name(name)?;
        let index = index::file_name(&file)?;
        let mut taken = self.taken();
        for wanted in [&file, &index] {
            if taken.files.contains(&wanted.as_str().to_ascii_lowercase()) {
                return Err(StorageError::NameTaken { name: wanted.to_string() });
            }
        }
        taken.files.extend([&file, &index].map(|name| name.as_str().to_ascii_lowercase()));
        Ok(file)
    }

    /// Takes the names of an encrypted artifact's file and index, which tell nothing of it. Gives the name that the file has with `.age`
    /// behind it.
    ///
    /// # Errors
    /// [`StorageError::NameTaken`] where another artifact is called the same; [`StorageError::NameInvalid`].
    pub fn reserve_hidden(&self, name: &ArtifactName) -> Result<ArtifactName, StorageError> {
        let mut taken = self.taken();
        let own = name.as_str().to_ascii_lowercase();
        if taken.hidden.values().any(|other| *other == own) {
            return Err(StorageError::NameTaken { name: name.to_string() });
        }
        let mut number = 1;
        let (stem, file) = loop {
            let stem = seal::neutral(number);
            let file = format!("{stem}.{EXTENSION}");
            if !taken.files.contains(&file) {
                break (stem, file);
            }
            number += 1;
        };
        taken.files.extend([file.clone(), format!("{file}.index")]);
        taken.hidden.insert(file, own);
        Ok(stem.parse()?)
    }

    /// What an artifact is called that an earlier process has written.
    pub fn called(&self, file: &ArtifactName, name: &ArtifactName) {
        self.taken().hidden.insert(file.as_str().to_ascii_lowercase(), name.as_str().to_ascii_lowercase());
    }

    /// Removes what a participant left: its artifacts' files, their indexes, and what never got a name. Their names are
    /// free again.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn discard(&self, files: &[ArtifactName]) -> Result<(), StorageError> {
        let mut gone: BTreeSet<String> = files.iter().map(|file| file.as_str().to_owned()).collect();
        gone.extend(files.iter().map(|file| format!("{file}.index")));
        self.remove_where(|name| gone.contains(name) || unnamed(name).is_some_and(|target| gone.contains(target)))?;
        let freed: BTreeSet<String> = gone.iter().map(|name| name.to_ascii_lowercase()).collect();
        let mut taken = self.taken();
        taken.files.retain(|name| !freed.contains(name));
        taken.hidden.retain(|file, _| !freed.contains(file));
        Ok(())
    }

    /// Removes everything but the artifacts in `files` and their indexes: what a run that goes on keeps. The manifest goes
    /// too; it is written again.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn retain(&self, files: &[ArtifactName]) -> Result<(), StorageError> {
        let mut kept: BTreeSet<String> = files.iter().map(|file| file.as_str().to_owned()).collect();
        kept.extend(files.iter().map(|file| format!("{file}.index")));
        self.remove_where(|name| !kept.contains(name))?;
        let mut taken = self.taken();
        taken.files = own_names();
        taken.files.extend(kept.iter().map(|name| name.to_ascii_lowercase()));
        let Taken { files, hidden } = &mut *taken;
        hidden.retain(|file, _| files.contains(file));
        Ok(())
    }

    /// Writes the manifest as a whole, over the one before it. Of an encrypted run, only what anybody may see stands in it plainly.
    ///
    /// # Errors
    /// [`StorageError::ManifestInvalid`] where it would be too long; [`StorageError::Io`].
    pub fn write_manifest(&self, manifest: &Manifest, encrypt_to: Option<&EncryptTo>) -> Result<(), StorageError> {
        let path = self.path.join(MANIFEST);
        let text = match encrypt_to {
            Some(encrypt_to) => manifest.hidden(encrypt_to, &path)?.to_text(&path)?,
            None => manifest.to_text(&path)?,
        };
        durable::write_atomic(&path, &text, 0o600).map_err(StorageError::io("write", &path))
    }

    /// Checks each artifact of the manifest and its index, size and hash from disk; then writes the manifest and the
    /// list of hashes. `progress` is told the bytes read. Sealing again is harmless.
    ///
    /// # Errors
    /// [`StorageError::NotAsWritten`] with those that are not; [`StorageError::Io`].
    pub fn seal(
        &self,
        manifest: &Manifest,
        encrypt_to: Option<&EncryptTo>,
        staged: Staged,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Sealed, StorageError> {
        let directory = open_dir(&self.path).map_err(StorageError::io("open", &self.path))?;
        let mut sums = BTreeMap::new();
        let mut wrong = Vec::new();
        for listed in listed_files(manifest) {
            if staged == Staged::Elsewhere && listed.kind == FileKind::Artifact {
                sums.insert(listed.name, listed.sha256);
                continue;
            }
            match check_file(&directory, &self.path, &listed, progress) {
                Ok(()) => drop(sums.insert(listed.name, listed.sha256)),
                Err(error) => wrong.push(FileReport::new(&listed, Some(error))),
            }
        }
        if !wrong.is_empty() {
            return Err(StorageError::NotAsWritten { path: self.path.clone(), files: wrong });
        }
        self.write_manifest(manifest, encrypt_to)?;
        let text = open_as(&directory, &self.path, MANIFEST, FileKind::Manifest)?;
        sums.insert(MANIFEST.parse()?, self.hash(&text)?);
        let sums = Sums(sums);
        let path = self.path.join(SUMS);
        let list = sums.to_text();
        durable::write_atomic(&path, list.as_bytes(), 0o600).map_err(StorageError::io("write", &path))?;
        let written = open_as(&directory, &self.path, SUMS, FileKind::Sums)?;
        Ok(Sealed { sums_sha256: self.hash(&written)?, files: sums.0.len() })
    }

    fn hash(&self, file: &File) -> Result<Sha256, StorageError> {
        let failed = |error| StorageError::io("read", &self.path)(error);
        hash_file(file, file.metadata().map_err(failed)?.len(), &mut |_| {}).map_err(failed)
    }

    fn remove_where(&self, wanted: impl Fn(&str) -> bool) -> Result<(), StorageError> {
        for name in names(&self.path)?.iter().filter(|name| wanted(name)) {
            remove(&self.path.join(name))?;
        }
        sync_dir(&self.path)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Each change under the lock is whole.
        self.taken.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn own_names() -> BTreeSet<String> {
    BTreeSet::from([MANIFEST.to_ascii_lowercase(), SUMS.to_ascii_lowercase()])
}

/// The names in a directory, in order.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, StorageError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(StorageError::io("list", path))? {
        let entry = entry.map_err(StorageError::io("list", path))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The name that a file would have got, of the temp name `.<name>.<process>-<number>.tmp` of an artifact writer.
fn unnamed(name: &str) -> Option<&str> {
    let (target, number) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    let counted = |byte: u8| byte.is_ascii_digit() || byte == b'-';
    (!number.is_empty() && number.bytes().all(counted)).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temp_name_says_whose_it_is() {
        assert_eq!(unnamed(".a.lz4.12.tmp"), Some("a.lz4"));
        assert_eq!(unnamed(".a.lz4.4711-12.tmp"), Some("a.lz4"));
        assert_eq!(unnamed(".a.lz4.b.lz4.3.tmp"), Some("a.lz4.b.lz4"));
        for name in ["a.lz4.12.tmp", ".a.lz4.tmp", ".a.lz4.12", ".a.lz4.x1.tmp", ".tmp", "."] {
            assert_eq!(unnamed(name), None, "{name}");
        }
    }
}
