//! Passwords of endpoints: `secrets.json` in the home, for its owner alone.
//!
//! An event names a password by an id and never holds it. A password is on stable storage before the event that names it; what no
//! endpoint names is swept at the next start. So a process that stops in between leaves a password too many, never one too few.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use holdfast_log::durable;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Its name in the home.
const NAME: &str = "secrets.json";
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

/// A secret on its way out of the file.
struct SecretText(SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// The password that an endpoint's configuration names. Blocks.
///
/// # Errors
/// [`SecretsError`] where the file cannot be read.
pub(crate) fn password(home: &Path, id: Uuid) -> Result<Option<SecretString>, SecretsError> {
    Secrets::of(home).get(id)
}

/// The secrets of one home. All calls block.
pub(super) struct Secrets {
    path: PathBuf,
}

impl Secrets {
    pub(super) fn of(home: &Path) -> Self {
        Self { path: home.join(NAME) }
    }

    /// Keeps a secret; it is on stable storage when this returns.
    pub(super) fn put(&self, id: Uuid, secret: SecretString) -> Result<(), SecretsError> {
        if !(1..=MAX_SECRET).contains(&secret.expose_secret().len()) {
            return Err(SecretsError::Length);
        }
        let mut all = self.load()?;
        all.insert(id, secret);
        self.store(&all)
    }

    /// A secret; nothing where there is none of this id.
    pub(super) fn get(&self, id: Uuid) -> Result<Option<SecretString>, SecretsError> {
        Ok(self.load()?.remove(&id))
    }

    /// Takes a secret away.
    pub(super) fn remove(&self, id: Uuid) -> Result<(), SecretsError> {
        let mut all = self.load()?;
        if all.remove(&id).is_none() {
            return Ok(());
        }
        self.store(&all)
    }

    /// Takes away what is not in `named`. Answers those that are named and not there.
    pub(super) fn sweep(&self, named: &BTreeSet<Uuid>) -> Result<BTreeSet<Uuid>, SecretsError> {
        self.take_away_unfinished()?;
        let mut all = self.load()?;
        let before = all.len();
        all.retain(|id, _| named.contains(id));
        if all.len() != before {
            self.store(&all)?;
        }
        Ok(named.iter().filter(|id| !all.contains_key(id)).copied().collect())
    }

    /// What a process that died while it wrote left beside the file: it holds passwords, and nothing names it.
    fn take_away_unfinished(&self) -> Result<(), SecretsError> {
        let unfinished = durable::with_suffix(&self.path, ".tmp");
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.io("take away what was unfinished of")(error))
            }
            _ => Ok(()),
        }
    }

    fn load(&self) -> Result<BTreeMap<Uuid, SecretString>, SecretsError> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            file => file.map_err(self.io("open"))?,
        };
        let meta = file.metadata().map_err(self.io("look at"))?;
        if meta.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %self.path.display(), "the file of secrets was open to others, and is closed to them");
            file.set_permissions(Permissions::from_mode(MODE)).map_err(self.io("close to others"))?;
        }
        let damaged = || SecretsError::Damaged(self.path.clone());
        if meta.len() > MAX_FILE {
            return Err(damaged());
        }
        // As large as it will get, so that no copy of it is left behind as it grows.
        let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0).saturating_add(1)));
        file.take(MAX_FILE).read_to_end(&mut text).map_err(self.io("read"))?;
        let found: Found = serde_json::from_slice(&text).map_err(|_| damaged())?;
        if found.format != FORMAT {
            return Err(damaged());
        }
        Ok(found.secrets.into_iter().map(|(id, secret)| (id, secret.0)).collect())
    }

    fn store(&self, all: &BTreeMap<Uuid, SecretString>) -> Result<(), SecretsError> {
        let secrets: BTreeMap<_, _> = all.iter().map(|(id, secret)| (*id, secret.expose_secret())).collect();
        // A byte becomes six at most; so the text never moves while it grows.
        let room: usize = secrets.values().map(|secret| 6 * secret.len() + 64).sum::<usize>() + 64;
        let mut text = Zeroizing::new(Vec::with_capacity(room));
        let written = Written { format: FORMAT, secrets };
        serde_json::to_writer(&mut *text, &written).map_err(|error| self.io("write")(error.into()))?;
        durable::write_atomic(&self.path, &text, MODE).map_err(self.io("write"))
    }

    fn io(&self, doing: &'static str) -> impl Fn(io::Error) -> SecretsError {
        let path = self.path.clone();
        move |source| SecretsError::Io { doing, path: path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn read(secrets: &Secrets) -> Vec<(u128, String)> {
        let all = secrets.load().unwrap();
        all.iter().map(|(id, secret)| (id.as_u128(), secret.expose_secret().to_owned())).collect()
    }

    #[test]
    fn what_is_put_is_there_for_the_owner_alone_until_it_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::of(home.path());
        secrets.remove(id(1)).unwrap();
        assert!(!home.path().join(NAME).exists(), "no file is made for nothing");
        secrets.put(id(1), "a \"quoted\"\nä".into()).unwrap();
        secrets.put(id(2), "two".into()).unwrap();
        let mode = || std::fs::metadata(home.path().join(NAME)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        assert_eq!(read(&secrets), [(1, "a \"quoted\"\nä".into()), (2, "two".into())]);
        secrets.put(id(2), "three".into()).unwrap();
        secrets.remove(id(1)).unwrap();
        assert_eq!(read(&secrets), [(2, "three".into())]);
        let names: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [NAME], "no other copy is left");

        std::fs::set_permissions(home.path().join(NAME), Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(&secrets).len(), 1);
        assert_eq!(mode(), 0o600, "closed again");
    }

    #[test]
    fn a_sweep_takes_what_nobody_names_and_tells_what_is_missing() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::of(home.path());
        (1..=3).for_each(|number| secrets.put(id(number), "x".into()).unwrap());
        let missing = secrets.sweep(&BTreeSet::from([id(2), id(9)])).unwrap();
        assert_eq!((missing, read(&secrets).len()), (BTreeSet::from([id(9)]), 1));
        let unfinished = home.path().join("secrets.json.tmp");
        std::fs::write(&unfinished, "hunter2").unwrap();
        secrets.sweep(&BTreeSet::from([id(2)])).unwrap();
        assert!(!unfinished.exists(), "what a kill left half written is taken away");
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_and_its_text_is_not_told() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(NAME);
        let secrets = Secrets::of(home.path());
        let nil = Uuid::nil();
        let texts = [
            "".to_owned(),
            "hunter2".to_owned(),
            format!("{{\"format\":1,\"secrets\":{{\"{nil}\":[\"hunter2\"]}}}}"),
            format!("{{\"format\":1,\"secrets\":{{\"{nil}\":\"hunter2\"}}"),
            format!("{{\"format\":2,\"secrets\":{{\"{nil}\":\"hunter2\"}}}}"),
        ];
        for text in texts {
            std::fs::write(&path, &text).unwrap();
            for error in [secrets.put(id(1), "new".into()).unwrap_err(), secrets.sweep(&BTreeSet::new()).unwrap_err()] {
                assert_eq!(error.code(), "SECRETS_DAMAGED");
                assert!(!format!("{error} {error:?}").contains("hunter2"));
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_secret_has_a_length() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::of(home.path());
        assert_eq!(secrets.put(id(1), "".into()).unwrap_err().code(), "INVALID_DATA");
        assert_eq!(secrets.put(id(1), "x".repeat(MAX_SECRET + 1).into()).unwrap_err().code(), "INVALID_DATA");
        secrets.put(id(1), "\u{1}".repeat(MAX_SECRET).into()).unwrap();
        assert_eq!(read(&secrets).len(), 1);
    }
}
