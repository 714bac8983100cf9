//! `[encryption]`: to whom runs are encrypted, and where the keys lie.

use std::path::PathBuf;

use holdfast_model::run::{Encryption, MAX_RECIPIENTS};

use super::section::Section;
use super::values;
use crate::encryption;

/// `[encryption]`: to whom runs are encrypted, and where the keys lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncryptionConfig {
    /// Public keys, each of whose private halves opens what is backed up; empty for none.
    pub encrypt_to: Vec<String>,
    /// Private keys for restores; a backup needs none.
    pub identity_file: Option<PathBuf>,
    /// A passphrase in place of public keys.
    pub passphrase_file: Option<PathBuf>,
}

impl EncryptionConfig {
    pub(crate) const KEYS: [&str; 3] = ["encrypt_to", "identity_file", "passphrase_file"];

    /// How runs are encrypted where whoever asks does not say so.
    #[must_use]
    pub fn encryption(&self) -> Encryption {
        match (&*self.encrypt_to, &self.passphrase_file) {
            ([], None) => Encryption::None,
            ([], Some(_)) => Encryption::Passphrase,
            (recipients, _) => Encryption::Recipients(recipients.to_vec()),
        }
    }

    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        section.allow("[encryption]", &Self::KEYS, |_| None);
        let key =
            |text: &str| encryption::recipient(text).map(|key| key.to_string()).map_err(|error| error.to_string());
        let mut encrypt_to: Vec<String> = Vec::new();
        for recipient in section.list("encrypt_to", "a list of public keys", key).unwrap_or_default() {
            if !encrypt_to.contains(recipient.get_ref()) {
                encrypt_to.push(recipient.into_inner());
            }
        }
        if encrypt_to.len() > MAX_RECIPIENTS {
            let message = format!("`encrypt_to`: there are {}: {MAX_RECIPIENTS} at most", encrypt_to.len());
            section.refuse_value("encrypt_to", message);
        }
        let path = |value: &toml::de::DeValue<'_>| values::absolute(values::text(value, "an absolute path")?).map(Some);
        let identity_file = section.read_or("identity_file", None, path);
        let passphrase_file = section.read_or("passphrase_file", None, path);
        if !encrypt_to.is_empty() && passphrase_file.is_some() {
            let message = encryption::EncryptionError::Mixed.to_string();
            section.refuse_value("passphrase_file", format!("`passphrase_file`: {message}"));
        }
        Self { encrypt_to, identity_file, passphrase_file }
    }
}
