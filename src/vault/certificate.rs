//! The vault's certificate: its own, made when the vault is, or one that it is given.

use std::path::{Path, PathBuf};

use holdfast_log::durable;
use holdfast_model::ids::Sha256;
use rcgen::{CertificateParams, KeyPair};

use super::error::VaultError;
use super::places::TLS;
use crate::server::tls::{ReloadableCertificate, TlsError};

/// A certificate and its key, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those it leads to.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl From<TlsError> for VaultError {
    fn from(error: TlsError) -> Self {
        Self::Tls { code: error.code(), reason: error.to_string() }
    }
}

impl CertificateFiles {
    /// Where the vault at `root` has its own.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        let folder = root.join(TLS);
        Self { cert: folder.join("cert.pem"), key: folder.join("key.pem") }
    }

    /// Whether both are there.
    #[must_use]
    pub fn are_there(&self) -> bool {
        self.cert.is_file() && self.key.is_file()
    }

    /// Makes a certificate that signs itself, for these names, where there is none yet. Clients know it by its fingerprint. Blocks.
    ///
    /// # Errors
    /// [`VaultError::Tls`] where a name is none; of the system.
    pub fn make(&self, names: &[String]) -> Result<(), VaultError> {
        if self.are_there() {
            return Ok(());
        }
        let failed = |error: rcgen::Error| VaultError::Tls {
            code: "TLS_NOT_MADE",
            reason: format!("no certificate can be made: {error}"),
        };
        let key = KeyPair::generate().map_err(failed)?;
        let params = CertificateParams::new(names.to_vec()).map_err(failed)?;
        let cert = params.self_signed(&key).map_err(failed)?;
        let folder = durable::parent(&self.key);
        durable::make_dir(folder, 0o700).map_err(VaultError::io("make", folder))?;
        let text = secrecy::zeroize::Zeroizing::new(key.serialize_pem());
        durable::write_atomic(&self.key, text.as_bytes(), 0o600).map_err(VaultError::io("write", &self.key))?;
        durable::write_atomic(&self.cert, cert.pem().as_bytes(), 0o600).map_err(VaultError::io("write", &self.cert))
    }

    /// The SHA-256 of the certificate itself (DER), by which clients may know the vault. Blocks.
    ///
    /// # Errors
    /// [`VaultError::Tls`] where the files cannot be used.
    pub fn fingerprint(&self) -> Result<Sha256, VaultError> {
        let loaded = ReloadableCertificate::load(&self.cert, &self.key)?;
        let missing =
            || VaultError::Tls { code: "TLS_CERTIFICATE_INVALID", reason: "there is no certificate".to_owned() };
        loaded.fingerprint().ok_or_else(missing)
    }
}
