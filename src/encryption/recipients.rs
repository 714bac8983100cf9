//! What a run is encrypted to: public keys, or a passphrase.

use age::x25519;
use holdfast_model::run::{Encryption, MAX_RECIPIENTS};
use secrecy::SecretString;

use super::error::EncryptionError;

/// Work of a passphrase's key derivation (scrypt, RFC 7914), as a power of two: 64 MiB of memory for a moment and a file, which a
/// backup of several at a time can have. Long passphrases make up for it; the reference program works at 18.
const WORK: u8 = 16;

/// What files are encrypted to.
#[derive(Clone)]
pub enum EncryptTo {
    /// Each of these opens them.
    Recipients(Vec<x25519::Recipient>),
    /// This opens them.
    Passphrase(SecretString),
}

impl std::fmt::Debug for EncryptTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Recipients(recipients) => f.debug_tuple("Recipients").field(recipients).finish(),
            Self::Passphrase(_) => f.write_str("Passphrase"),
        }
    }
}

impl EncryptTo {
    /// What a run's record says; `None` where it is not encrypted.
    ///
    /// # Errors
    /// [`EncryptionError::Recipient`]; [`EncryptionError::PassphraseMissing`] where the record says that there is one.
    pub fn of(encryption: &Encryption, passphrase: Option<&SecretString>) -> Result<Option<Self>, EncryptionError> {
        match encryption {
            Encryption::None => Ok(None),
            Encryption::Recipients(texts) => {
                let parsed = texts.iter().map(|text| recipient(text)).collect::<Result<_, _>>()?;
                Ok(Some(Self::Recipients(parsed)))
            }
            Encryption::Passphrase => match passphrase {
                Some(passphrase) => Ok(Some(Self::Passphrase(passphrase.clone()))),
                None => Err(EncryptionError::PassphraseMissing),
            },
        }
    }

    /// A file's header and key, made anew for each file.
    pub(crate) fn encryptor(&self) -> Result<age::Encryptor, EncryptionError> {
        let refused = |error: age::EncryptError| EncryptionError::Refused(error.to_string());
        match self {
            Self::Recipients(recipients) => {
                age::Encryptor::with_recipients(recipients.iter().map(|one| one as &dyn age::Recipient))
                    .map_err(refused)
            }
            Self::Passphrase(passphrase) => {
                let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
                recipient.set_work_factor(WORK);
                age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).map_err(refused)
            }
        }
    }
}

/// Reads one public key.
///
/// # Errors
/// [`EncryptionError::Recipient`]; [`EncryptionError::IdentityAsRecipient`], which does not show it.
pub fn recipient(text: &str) -> Result<x25519::Recipient, EncryptionError> {
    let text = text.trim();
    if text.to_ascii_uppercase().contains("AGE-SECRET-KEY-1") {
        return Err(EncryptionError::IdentityAsRecipient);
    }
    text.parse().map_err(|_| EncryptionError::Recipient { shown: text.chars().take(70).collect() })
}

/// Public keys as a run records them: each once, in their own spelling.
///
/// # Errors
/// As [`recipient`]; [`EncryptionError::Count`].
pub fn recipients<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Encryption, EncryptionError> {
    let mut keys: Vec<String> = Vec::new();
    for text in texts {
        let key = recipient(text)?.to_string();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    if keys.is_empty() || keys.len() > MAX_RECIPIENTS {
        return Err(EncryptionError::Count { given: keys.len(), most: MAX_RECIPIENTS });
    }
    Ok(Encryption::Recipients(keys))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn keys_are_recorded_once_and_a_private_one_is_refused_unshown() {
        let identity = x25519::Identity::generate();
        let public = identity.to_public().to_string();
        let keys = recipients([public.as_str(), &format!(" {public} ")]).unwrap();
        assert_eq!(keys, Encryption::Recipients(vec![public]));
        let private = identity.to_string();
        for text in [private.expose_secret().to_owned(), private.expose_secret().to_lowercase()] {
            let error = recipients([text.as_str()]).unwrap_err();
            assert_eq!(error.code(), "RECIPIENT_INVALID");
            assert!(!error.to_string().contains(&text), "{error}");
        }
        assert!(recipient("age1abc").unwrap_err().to_string().contains("age1abc"));
        assert!(matches!(recipients([]), Err(EncryptionError::Count { given: 0, .. })));
    }
}
