//! Private keys: read from a file that nobody else may read, held in memory that is wiped, never shown.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use age::x25519;
use age_core::format::{FileKey as AgeKey, Stanza};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::error::EncryptionError;
use super::file_keys::FileKey;

/// Largest file with keys that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;
/// Most work that an encrypted file may ask for (scrypt, as a power of two): 1 GiB of memory.
const MAX_WORK: u8 = 20;
const PRIVATE: &str = "AGE-SECRET-KEY-1";

/// The private keys at hand.
#[derive(Clone, Default)]
pub struct Keyring {
    identities: Vec<x25519::Identity>,
    passphrase: Option<SecretString>,
    /// The files they came from.
    given: Vec<String>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("given", &self.given).finish_non_exhaustive()
    }
}

impl Keyring {
    /// The keys of these files, as far as they are named.
    ///
    /// # Errors
    /// [`EncryptionError`] where one cannot be read, others may read it, or it is not what it should be.
    pub fn read(identity_file: Option<&Path>, passphrase_file: Option<&Path>) -> Result<Self, EncryptionError> {
        let mut keyring = Self::default();
        if let Some(path) = identity_file {
            keyring.identities = identities(path)?;
            keyring.given.push(path.display().to_string());
        }
        if let Some(path) = passphrase_file {
            keyring.passphrase = Some(passphrase(path)?);
            keyring.given.push(path.display().to_string());
        }
        Ok(keyring)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.passphrase.is_none()
    }

    /// The public halves of its keys.
    #[must_use]
    pub fn public_keys(&self) -> Vec<String> {
        self.identities.iter().map(|identity| identity.to_public().to_string()).collect()
    }

    /// The files it came from.
    #[must_use]
    pub fn given(&self) -> String {
        self.given.join(" or ")
    }

    /// The key of one encrypted file, of which `header` is the beginning; `None` where no key of the ring opens it.
    pub(crate) fn unlock(&self, header: &[u8], path: &Path) -> Result<Option<FileKey>, EncryptionError> {
        let altered =
            |error: age::DecryptError| EncryptionError::Altered { path: path.to_owned(), reason: error.to_string() };
        let passphrase = self.passphrase.clone().map(|passphrase| {
            let mut identity = age::scrypt::Identity::new(passphrase);
            identity.set_max_work_factor(MAX_WORK);
            identity
        });
        let all = self.identities.iter().map(|one| one as &dyn age::Identity);
        let all = all.chain(passphrase.iter().map(|one| one as &dyn age::Identity));
        let seen: Vec<_> = all.map(|identity| Watched { identity, key: RefCell::default() }).collect();
        let opened = age::Decryptor::new_buffered(header)
            .map_err(altered)?
            .decrypt(seen.iter().map(|one| one as &dyn age::Identity));
        match opened {
            Ok(_) => Ok(seen.iter().find_map(|one| one.key.borrow_mut().take())),
            // What a wrong passphrase gives.
            Err(age::DecryptError::NoMatchingKeys | age::DecryptError::DecryptionFailed) => Ok(None),
            Err(age::DecryptError::KeyDecryptionFailed) => Ok(None),
            Err(error) => Err(altered(error)),
        }
    }
}

/// An identity that keeps what it unwraps.
struct Watched<'a> {
    identity: &'a dyn age::Identity,
    key: RefCell<Option<FileKey>>,
}

impl age::Identity for Watched<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<AgeKey, age::DecryptError>> {
        let unwrapped = self.identity.unwrap_stanza(stanza)?;
        if let Ok(key) = &unwrapped {
            *self.key.borrow_mut() = Some(FileKey::new(key.expose_secret()));
        }
        Some(unwrapped)
    }
}

/// The identities in a file: one a line, `#` begins a comment.
fn identities(path: &Path) -> Result<Vec<x25519::Identity>, EncryptionError> {
    let text = read(path)?;
    let wrong = |line, reason| EncryptionError::File { path: path.to_owned(), line, reason };
    let mut identities = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with("age1") {
            return Err(wrong(n + 1, "this is a public key: the file with the private one is needed"));
        }
        if !line.to_ascii_uppercase().starts_with(PRIVATE) {
            return Err(wrong(
                n + 1,
                "no private key stands here: each line is AGE-SECRET-KEY-1…, empty, or # a comment",
            ));
        }
        let parsed = line.to_ascii_uppercase().parse();
        identities.push(parsed.map_err(|_| wrong(n + 1, "the private key is cut off or mistyped"))?);
    }
    if identities.is_empty() {
        return Err(wrong(1, "the file holds no private key: `holdfast key generate` makes one"));
    }
    Ok(identities)
}

/// The passphrase in a file: its first line.
pub(super) fn passphrase(path: &Path) -> Result<SecretString, EncryptionError> {
    let text = read(path)?;
    let first = text.lines().next().unwrap_or_default();
    let wrong = |reason| EncryptionError::File { path: path.to_owned(), line: 1, reason };
    if first.to_ascii_uppercase().starts_with(PRIVATE) {
        return Err(wrong("this is a private key and no passphrase: name the file as identity_file"));
    }
    if first.chars().count() < 12 {
        return Err(wrong("the passphrase is the first line, and has at least 12 characters"));
    }
    Ok(SecretString::from(first.to_owned()))
}

/// Reads a small file, from the very one whose owner and mode were looked at.
fn read(path: &Path) -> Result<Zeroizing<String>, EncryptionError> {
    let failed = |source: std::io::Error| EncryptionError::Io { path: path.to_owned(), source: Arc::new(source) };
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblocking).open(path).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    if !facts.is_file() {
        return Err(failed(std::io::Error::other("it is not a regular file")));
    }
    if facts.uid() != 0 && facts.uid() != rustix::process::geteuid().as_raw() {
        return Err(EncryptionError::Owner { path: path.to_owned(), owner: facts.uid() });
    }
    if facts.mode() & 0o077 != 0 {
        return Err(EncryptionError::Readable { path: path.to_owned(), mode: facts.mode() & 0o7777 });
    }
    let mut text = Zeroizing::new(String::new());
    BufReader::new(file.take(MAX_FILE)).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
