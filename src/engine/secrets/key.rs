//! The key of the file of secrets: in the home, or given by the environment.

use std::path::{Path, PathBuf};

use age::x25519;
use holdfast_log::durable;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::{MODE, SecretsError, failed, read};

/// Its name in the home.
pub(super) const NAME: &str = "secrets.key";
/// The variable that is the key itself. No process that we start inherits it.
pub(crate) const VARIABLE: &str = "HOLDFAST_SECRETS_KEY";
/// The variable that is the path of its file.
const FILE_VARIABLE: &str = "HOLDFAST_SECRETS_KEY_FILE";

/// Where the key is.
pub(super) enum KeySource {
    /// In the home. It is made there when it is first needed.
    Home(PathBuf),
    /// In a file that is named.
    File(PathBuf),
    /// Given as it is.
    Given(SecretString),
    /// Given in two ways.
    Twice,
}

impl KeySource {
    /// As the environment says.
    pub(super) fn of(home: &Path) -> Self {
        let said = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        match (said(VARIABLE), said(FILE_VARIABLE)) {
            (None, None) => Self::Home(home.join(NAME)),
            (None, Some(path)) => Self::File(PathBuf::from(path)),
            (Some(key), None) => Self::Given(key.into_string().unwrap_or_default().into()),
            (Some(_), Some(_)) => Self::Twice,
        }
    }

    /// The key that is there.
    pub(super) fn present(&self) -> Result<x25519::Identity, SecretsError> {
        let none = || {
            SecretsError::Key(format!(
                "{} is not there: put it back, or give the key by {FILE_VARIABLE} or {VARIABLE}",
                self.place()
            ))
        };
        self.find()?.ok_or_else(none)
    }

    /// The key that is there, or a new one in the home, which is durable when this returns. Only where nothing is encrypted to another yet.
    pub(super) fn present_or_new(&self) -> Result<x25519::Identity, SecretsError> {
        match (self.find()?, self) {
            (Some(identity), _) => Ok(identity),
            (None, Self::Home(path)) => {
                let identity = x25519::Identity::generate();
                let text = format!(
                    "# opens secrets.age beside it: the passwords of the endpoints\n{}\n",
                    Zeroizing::new(identity.to_string().expose_secret().to_owned()).as_str()
                );
                durable::write_atomic(path, Zeroizing::new(text).as_bytes(), MODE).map_err(failed("write", path))?;
                Ok(identity)
            }
            (None, _) => self.present(),
        }
    }

    /// It is the key of something else.
    pub(super) fn wrong(&self) -> SecretsError {
        SecretsError::Key(format!("{} is not the key they are encrypted to: give the right one", self.place()))
    }

    fn find(&self) -> Result<Option<x25519::Identity>, SecretsError> {
        let text = match self {
            Self::Home(path) | Self::File(path) => match read(path)? {
                Some(bytes) => bytes,
                None => return Ok(None),
            },
            Self::Given(text) => Zeroizing::new(text.expose_secret().as_bytes().to_vec()),
            Self::Twice => {
                return Err(SecretsError::Key(format!("{VARIABLE} and {FILE_VARIABLE} are both set: set one")));
            }
        };
        let invalid = || {
            SecretsError::Key(format!(
                "{} holds no age key: one line AGE-SECRET-KEY-1… is needed, beside comments that begin with #",
                self.place()
            ))
        };
        let text = std::str::from_utf8(&text).map_err(|_| invalid())?;
        let mut keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        match (keys.next().map(str::parse), keys.next()) {
            (Some(Ok(identity)), None) => Ok(Some(identity)),
            _ => Err(invalid()),
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Home(path) | Self::File(path) => path.display().to_string(),
            Self::Given(_) | Self::Twice => VARIABLE.to_owned(),
        }
    }
}
