//! What a far side may see of an encrypted run, and what it may not.
//!
//! The file of an encrypted run's manifest has two parts. The plain one is what is needed to list runs, verify them by their stored
//! hashes, retain and publish them: ids, times, how the run ended, how many participants and artifacts there are, the files with their
//! sizes and hashes, what opens them. Everything else, above all every name, size and hash of content, who asked, and what went wrong, is
//! in `sealed`: the whole manifest as JSON, encrypted by age like the artifacts, in age's text form. `jq -r .sealed manifest.json | age
//! -d -i KEY` shows it. The files have neutral names (`a1.age`), since a file's name is seen by all.
//!
//! Whoever opens it is given the inner manifest only where hiding it again makes exactly the outer one: so neither can have been put
//! together with another one. That nobody else wrote both, no encryption to public keys can say: that is said by the hash that the log
//! keeps.

use std::io::{Read, Write};
use std::path::Path;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use holdfast_model::ids::{ArtifactName, ParticipantName, RunId};

use super::error::StorageError;
use super::manifest::{Encryption, MAX_BYTES, Manifest, ManifestArtifact, ManifestParticipant, Warnings, invalid};
use crate::encryption::{EXTENSION, EncryptTo, EncryptionError, FileKey, Keyring};

/// Longest header of the sealed part, in bytes.
const MAX_HEADER: usize = 64 << 10;

/// The name of the `number`th artifact's file, without its extension.
pub(super) fn neutral(number: usize) -> String {
    format!("a{number}")
}

/// Whether a file's name tells nothing.
pub(super) fn is_neutral(file: &ArtifactName) -> bool {
    let number = file.as_str().strip_prefix('a').and_then(|rest| rest.strip_suffix(EXTENSION)?.strip_suffix('.'));
    number.and_then(|number| number.parse::<u32>().ok().filter(|parsed| parsed.to_string() == number)).is_some()
}

impl Manifest {
    /// The manifest with all that matters in its encrypted part.
    pub(super) fn hidden(&self, encrypt_to: &EncryptTo, path: &Path) -> Result<Self, StorageError> {
        let failed = |error: std::io::Error| StorageError::io("encrypt", path)(error);
        let text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        let encryptor = encrypt_to.encryptor().map_err(StorageError::Encryption)?;
        let armored = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).map_err(failed)?;
        let mut writer = encryptor.wrap_output(armored).map_err(failed)?;
        writer.write_all(&text).map_err(failed)?;
        let sealed = writer.finish().and_then(ArmoredWriter::finish).map_err(failed)?;
        let sealed = String::from_utf8(sealed).map_err(|error| failed(std::io::Error::other(error)))?;
        Ok(Self { sealed: Some(sealed), ..self.outer() })
    }

    /// What is seen of it.
    fn outer(&self) -> Self {
        Self {
            // Nothing says by its length or its absence what is in the other part.
            error_summary: String::new(),
            requested_by: String::new(),
            requested_participants: Vec::new(),
            size_bytes: 0,
            participants: self.participants.iter().enumerate().filter_map(|(n, one)| participant(n + 1, one)).collect(),
            sealed: None,
            ..self.clone()
        }
    }

    /// Opens the encrypted part; a manifest without one is given as it is. `path` is for messages.
    ///
    /// # Errors
    /// [`StorageError::Encryption`] where the key is missing or wrong; [`StorageError::ManifestInvalid`] where the two parts do not
    /// belong together.
    pub fn open(&self, keyring: &Keyring, path: &Path) -> Result<Self, StorageError> {
        if self.sealed.is_none() {
            return Ok(self.clone());
        }
        let key = self.unlock(keyring, path)?;
        let key = key.ok_or_else(|| StorageError::Encryption(refused(self.run_id, self.opened_by(), keyring)))?;
        self.open_with(&key, path)
    }

    /// The key of the encrypted part, by the private keys at hand; `None` where none of them opens it, or there is no such part.
    pub(crate) fn unlock(&self, keyring: &Keyring, path: &Path) -> Result<Option<FileKey>, StorageError> {
        let Some(bytes) = self.sealed_bytes(path)? else { return Ok(None) };
        let head = bytes.get(..bytes.len().min(MAX_HEADER)).unwrap_or_default();
        keyring.unlock(head, path).map_err(StorageError::Encryption)
    }

    /// Opens the encrypted part with its key, as [`Manifest::open`] does.
    pub(crate) fn open_with(&self, key: &FileKey, path: &Path) -> Result<Self, StorageError> {
        let broken = |reason: &str| invalid(path, "sealed", reason);
        let Some(bytes) = self.sealed_bytes(path)? else { return Ok(self.clone()) };
        let text = decrypt(&bytes, key).map_err(|reason| broken(&reason))?;
        let inner: Self = serde_json::from_slice(&text).map_err(|error| broken(&error.to_string()))?;
        inner.check(path)?;
        if inner.outer() != (Self { sealed: None, ..self.clone() }) {
            return Err(broken("it is not of this manifest"));
        }
        Ok(inner)
    }

    fn sealed_bytes(&self, path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(sealed) = &self.sealed else { return Ok(None) };
        let mut bytes = Vec::new();
        let mut plain = ArmoredReader::new(sealed.as_bytes());
        plain.read_to_end(&mut bytes).map_err(|error| invalid(path, "sealed", &error.to_string()))?;
        Ok(Some(bytes))
    }

    /// What opens it, where it is encrypted.
    #[must_use]
    pub fn opened_by(&self) -> Vec<String> {
        self.artifacts().next().map(|artifact| artifact.opened_by.clone()).unwrap_or_default()
    }
}

/// Why a keyring does not open a run.
pub(crate) fn refused(run_id: RunId, opened_by: Vec<String>, keyring: &Keyring) -> EncryptionError {
    match keyring.is_empty() {
        true => EncryptionError::KeyMissing { run_id, opened_by },
        false => EncryptionError::KeyWrong { run_id, given: keyring.given(), opened_by },
    }
}

fn decrypt(bytes: &[u8], key: &FileKey) -> Result<Vec<u8>, String> {
    let opened = age::Decryptor::new_buffered(bytes)
        .and_then(|decryptor| decryptor.decrypt(std::iter::once(key as &dyn age::Identity)))
        .map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    opened.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_BYTES {
        return Err("it is longer than 16 MiB".to_owned());
    }
    Ok(text)
}

fn participant(number: usize, one: &ManifestParticipant) -> Option<ManifestParticipant> {
    let name: ParticipantName = format!("p{number}").parse().ok()?;
    Some(ManifestParticipant {
        name,
        kind: None,
        started_at: 0,
        finished_at: 0,
        error: String::new(),
        warnings: Warnings::default(),
        artifacts: one.artifacts.iter().filter_map(artifact).collect(),
        critical: one.critical,
        ok: one.ok,
        status: one.status.clone(),
    })
}

fn artifact(one: &ManifestArtifact) -> Option<ManifestArtifact> {
    let stem = one.path.as_str().strip_suffix(EXTENSION)?.strip_suffix('.')?;
    Some(ManifestArtifact {
        logical_name: stem.parse().ok()?,
        content_bytes: None,
        content_sha256: None,
        ..one.clone()
    })
    .filter(|_| one.encryption == Encryption::Age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neutral_name_is_a_number() {
        let is = |name: &str| is_neutral(&name.parse().unwrap());
        assert!(is(&format!("{}.age", neutral(12))));
        for name in ["a.age", "a01.age", "b1.age", "a1age", "a1.lz4", "a+1.age", "site.tar.age"] {
            assert!(name.contains('+') || !is(name), "{name}");
        }
    }
}
