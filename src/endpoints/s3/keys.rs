//! The access key and its secret, as the signing library asks for them.
//!
//! That library logs what it is given keys by, with all in it. So it is given this, which does not show them.

use std::fmt;

use reqsign_aws_v4::Credential;
use reqsign_core::{Context, ProvideCredential};
use secrecy::{ExposeSecret, SecretString};

/// The keys of one endpoint.
#[derive(Clone)]
pub(super) struct Keys {
    access_key: String,
    secret_key: SecretString,
}

impl Keys {
    pub(super) fn new(access_key: &str, secret_key: &SecretString) -> Self {
        Self { access_key: access_key.to_owned(), secret_key: secret_key.clone() }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl ProvideCredential for Keys {
    type Credential = Credential;

    async fn provide_credential(&self, _: &Context) -> reqsign_core::Result<Option<Credential>> {
        Ok(Some(Credential {
            access_key_id: self.access_key.clone(),
            secret_access_key: self.secret_key.expose_secret().to_owned(),
            session_token: None,
            expires_in: None,
        }))
    }
}
