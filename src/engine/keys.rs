//! Where the engine takes keys from: files that the configuration names, read when they are needed and not kept.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_model::failure::{Failure, FailureKind};
use holdfast_model::run::Encryption;
use tokio::task::spawn_blocking;

use super::{EngineError, Holdfast};
use crate::config::EncryptionConfig;
use crate::encryption::{self, EncryptTo, EncryptionError, Keyring};

/// The file with the passphrase that runs are encrypted with, where one is configured. Clones share it.
#[derive(Clone, Default)]
pub(super) struct PassphraseFile(Arc<Mutex<Option<PathBuf>>>);

impl PassphraseFile {
    pub(super) fn new(config: &EncryptionConfig) -> Self {
        Self(Arc::new(Mutex::new(config.passphrase_file.clone())))
    }

    /// It is another one from now on.
    pub(super) fn set(&self, config: &EncryptionConfig) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&config.passphrase_file);
    }

    /// What a run's files are encrypted to. Reads the passphrase's file where that is needed.
    pub(super) fn encrypt_to(&self, encryption: &Encryption) -> Result<Option<Arc<EncryptTo>>, EncryptionError> {
        let path = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let passphrase = match (encryption, path) {
            (Encryption::Passphrase, Some(path)) => Some(encryption::passphrase(&path)?),
            _ => None,
        };
        Ok(EncryptTo::of(encryption, passphrase.as_ref())?.map(Arc::new))
    }
}

/// As a participant's failure: nobody but whoever has the machine can mend it.
pub(super) fn failure(error: &EncryptionError) -> Failure {
    Failure::new(FailureKind::Fatal, error.code(), error.to_string())
}

/// Refuses files with keys that could not be used later.
pub(super) async fn check(config: &EncryptionConfig) -> Result<(), EngineError> {
    let config = config.clone();
    let checked =
        spawn_blocking(move || Keyring::read(config.identity_file.as_deref(), config.passphrase_file.as_deref())).await;
    checked.map_err(|error| EngineError::Thread(error.to_string()))?.map(drop).map_err(EngineError::Encryption)
}

impl Holdfast {
    /// The private keys that the configuration names. Blocks the thread.
    ///
    /// # Errors
    /// [`EncryptionError`] where a file cannot be read or is not what it should be.
    pub fn keyring(&self) -> Result<Keyring, EncryptionError> {
        let config = self.config();
        Keyring::read(config.encryption.identity_file.as_deref(), config.encryption.passphrase_file.as_deref())
    }
}
