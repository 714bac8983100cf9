//! Passwords of endpoints: `secrets.age` in the home, encrypted to a key of its own.
//!
//! An event names a password by an id and never holds it. A password is on stable storage before the event that names it; what no
//! endpoint names is swept at the next start. So a process that stops in between leaves a password too many, never one too few.
//!
//! The file is an age file to one key. That lies in `secrets.key` beside it, for its owner alone, made when the first password is kept;
//! or it is given by the environment, so that a copy of the home opens nothing ([`key`]). With a wrong key, or without one, nothing is
//! written: what is there stays readable for whoever has the right one.

mod key;
mod password;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use age::x25519;
use holdfast_log::durable;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::key::KeySource;
pub(crate) use self::key::VARIABLE as KEY_VARIABLE;
pub use self::password::PasswordError;
pub(crate) use self::password::endpoint_password;

/// Its name in the home.
const NAME: &str = "secrets.age";
/// What it was called before it was encrypted.
const PLAIN: &str = "secrets.json";
/// The only form there is yet.
const FORMAT: u32 = 1;
/// Longest secret, in bytes.
const MAX_SECRET: usize = 4096;
/// Largest file that is read: more secrets of the longest kind than there are endpoints, each byte escaped.
const MAX_FILE: u64 = 8 << 20;
const MODE: u32 = 0o600;

/// Why a secret could not be kept or taken away.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be. What it holds is not told: it may be a secret.
    #[error("{} is damaged: put it back from a copy, or take it away and set the passwords of the endpoints again", .0.display())]
    Damaged(PathBuf),
    /// What opens the file is not there, or is something else.
    #[error("the passwords of the endpoints cannot be opened, and nothing is changed: {0}")]
    Key(String),
    /// The secret cannot be kept.
    #[error("a password has 1 to {MAX_SECRET} bytes")]
    Length,
}

impl SecretsError {
    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            SecretsError::Io { .. } => "SECRETS_IO",
            SecretsError::Damaged(_) => "SECRETS_DAMAGED",
            SecretsError::Key(_) => "SECRETS_KEY",
            SecretsError::Length => "INVALID_DATA",
        }
    }
}

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    secrets: BTreeMap<Uuid, &'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    format: u32,
    secrets: BTreeMap<Uuid, SecretText>,
}

/// Bytes that are wiped when they are not needed any more.
type Bytes = Zeroizing<Vec<u8>>;

/// A secret on its way out of the file.
struct SecretText(SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// The secrets of one home. All calls block.
pub(super) struct Secrets {
    home: PathBuf,
    path: PathBuf,
    key: KeySource,
}

impl Secrets {
    pub(super) fn of(home: &Path) -> Self {
        Self::opened_by(home, KeySource::of(home))
    }

    fn opened_by(home: &Path, key: KeySource) -> Self {
        Self { home: home.to_owned(), path: home.join(NAME), key }
    }

    /// Keeps a secret; it is on stable storage when this returns.
    pub(super) fn put(&self, id: Uuid, secret: SecretString) -> Result<(), SecretsError> {
        if !(1..=MAX_SECRET).contains(&secret.expose_secret().len()) {
            return Err(SecretsError::Length);
        }
        let mut all = self.taken_over()?;
        all.insert(id, secret);
        self.store(&all)
    }

    /// A secret; nothing where there is none of this id.
    pub(super) fn get(&self, id: Uuid) -> Result<Option<SecretString>, SecretsError> {
        Ok(self.load()?.remove(&id))
    }

    /// Takes a secret away.
    pub(super) fn remove(&self, id: Uuid) -> Result<(), SecretsError> {
        let mut all = self.taken_over()?;
        if all.remove(&id).is_none() {
            return Ok(());
        }
        self.store(&all)
    }

    /// Takes away what is not in `named`. Answers those that are named and not there.
    pub(super) fn sweep(&self, named: &BTreeSet<Uuid>) -> Result<BTreeSet<Uuid>, SecretsError> {
        self.take_away_unfinished()?;
        let mut all = self.taken_over()?;
        let before = all.len();
        all.retain(|id, _| named.contains(id));
        if all.len() != before {
            self.store(&all)?;
        }
        Ok(named.iter().filter(|id| !all.contains_key(id)).copied().collect())
    }

    /// The file as it is, and the key that opens it where that is kept in the home. One that is given by the environment is kept elsewhere
    /// already, on purpose.
    pub(super) fn exported(&self) -> Result<Option<(Bytes, Option<Bytes>)>, SecretsError> {
        let Some(secrets) = read(&self.path)? else { return Ok(None) };
        let key = match &self.key {
            KeySource::Home(path) => read(path)?,
            KeySource::File(_) | KeySource::Given(_) | KeySource::Twice => None,
        };
        Ok(Some((secrets, key)))
    }

    /// What a process that died while it wrote left beside the files: it may hold passwords, and nothing names it.
    fn take_away_unfinished(&self) -> Result<(), SecretsError> {
        for name in [NAME, PLAIN, key::NAME] {
            take_away(&durable::with_suffix(&self.home.join(name), ".tmp"))?;
        }
        Ok(())
    }

    /// All there are, once what lay there unencrypted is encrypted. That goes only when the encrypted file is durable; a process that ends
    /// in between leaves both, and the next one goes on.
    fn taken_over(&self) -> Result<BTreeMap<Uuid, SecretString>, SecretsError> {
        let all = self.load()?;
        let plain = self.home.join(PLAIN);
        if plain.exists() {
            self.store(&all)?;
            take_away(&plain)?;
            durable::sync_dir(&self.home).map_err(failed("write", &self.home))?;
            tracing::info!("the passwords of the endpoints are encrypted now");
        }
        Ok(all)
    }

    fn load(&self) -> Result<BTreeMap<Uuid, SecretString>, SecretsError> {
        let mut all = match read(&self.home.join(PLAIN))? {
            Some(text) => parse(&text).ok_or_else(|| SecretsError::Damaged(self.home.join(PLAIN)))?,
            None => BTreeMap::new(),
        };
        if let Some(encrypted) = read(&self.path)? {
            all.extend(self.decrypt(&encrypted)?);
        }
        Ok(all)
    }

    fn decrypt(&self, encrypted: &[u8]) -> Result<BTreeMap<Uuid, SecretString>, SecretsError> {
        let damaged = || SecretsError::Damaged(self.path.clone());
        let identity = self.key.present()?;
        let decryptor = age::Decryptor::new_buffered(encrypted).map_err(|_| damaged())?;
        let plain =
            decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(|error| match error {
                age::DecryptError::NoMatchingKeys => self.key.wrong(),
                _ => damaged(),
            })?;
        // As large as it will get, so that no copy of it is left behind as it grows.
        let mut text = Zeroizing::new(Vec::with_capacity(encrypted.len().saturating_add(1)));
        plain.take(MAX_FILE).read_to_end(&mut text).map_err(|_| damaged())?;
        parse(&text).ok_or_else(damaged)
    }

    fn store(&self, all: &BTreeMap<Uuid, SecretString>) -> Result<(), SecretsError> {
        let secrets: BTreeMap<_, _> = all.iter().map(|(id, secret)| (*id, secret.expose_secret())).collect();
        // A byte becomes six at most; so the text never moves while it grows.
        let room: usize = secrets.values().map(|secret| 6 * secret.len() + 64).sum::<usize>() + 64;
        let mut text = Zeroizing::new(Vec::with_capacity(room));
        let written = Written { format: FORMAT, secrets };
        let refused = || failed("write", &self.path);
        serde_json::to_writer(&mut *text, &written).map_err(|error| refused()(error.into()))?;
        let recipient = if self.path.exists() { self.key.present()? } else { self.key.present_or_new()? }.to_public();
        let encrypted = encrypt(&text, &recipient).map_err(refused())?;
        durable::write_atomic(&self.path, &encrypted, MODE).map_err(refused())
    }
}

fn encrypt(text: &[u8], recipient: &x25519::Recipient) -> io::Result<Vec<u8>> {
    let mut encrypted = Vec::with_capacity(text.len().saturating_add(1024));
    let encryptor = age::Encryptor::with_recipients(std::iter::once(recipient as &dyn age::Recipient));
    let mut writer = encryptor.map_err(io::Error::other)?.wrap_output(&mut encrypted)?;
    writer.write_all(text)?;
    writer.finish()?;
    Ok(encrypted)
}

fn parse(text: &[u8]) -> Option<BTreeMap<Uuid, SecretString>> {
    let found: Found = serde_json::from_slice(text).ok()?;
    (found.format == FORMAT).then(|| found.secrets.into_iter().map(|(id, secret)| (id, secret.0)).collect())
}

/// A file of secrets, closed to others; `None` where there is none.
fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, SecretsError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed("open", path))?,
    };
    let meta = file.metadata().map_err(failed("look at", path))?;
    if meta.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "a file of secrets was open to others, and is closed to them");
        file.set_permissions(Permissions::from_mode(MODE)).map_err(failed("close to others", path))?;
    }
    if meta.len() > MAX_FILE {
        return Err(SecretsError::Damaged(path.to_owned()));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0).saturating_add(1)));
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(failed("read", path))?;
    Ok(Some(bytes))
}

fn take_away(path: &Path) -> Result<(), SecretsError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("take away", path)(error)),
        _ => Ok(()),
    }
}

fn failed(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> SecretsError {
    let path = path.to_owned();
    move |source| SecretsError::Io { doing, path: path.clone(), source }
}

#[cfg(test)]
mod tests;
