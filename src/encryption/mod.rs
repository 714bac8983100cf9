//! Encryption of what is stored, by age (the format: age-encryption.org/v1), so that `age` alone reads it back.
//!
//! What holds:
//!
//! - **A backup needs public keys only.** [`EncryptTo`] makes a key for each file and wraps it for every recipient; what opens the file is
//!   on no machine that only backs up.
//! - **A private key is used once.** A [`Keyring`] unwraps the keys of a run's files before anything is read or touched; everything after
//!   that works with these [`FileKeys`], also in another process.
//! - **No secret is shown.** Neither has a text form that shows it; errors name files and public keys; files that others may read are
//!   refused.

mod error;
mod file_keys;
mod keyring;
mod recipients;

use std::path::Path;

use secrecy::SecretString;

pub use error::EncryptionError;
pub(crate) use file_keys::FileKey;
pub use file_keys::FileKeys;
pub use keyring::Keyring;
pub use recipients::{EncryptTo, recipient, recipients};

/// The extension of an encrypted file, without a dot.
pub const EXTENSION: &str = "age";

/// The passphrase in a file: its first line.
///
/// # Errors
/// [`EncryptionError`] where it cannot be read, others may read it, or it is too short.
pub fn passphrase(path: &Path) -> Result<SecretString, EncryptionError> {
    keyring::passphrase(path)
}
