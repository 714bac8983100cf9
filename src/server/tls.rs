//! TLS of the doors: the certificate from its files, and a new one in its place while connections stay open.
//!
//! A certificate is taken whole or not at all: one that cannot be read, or whose key is another's, leaves the one in
//! force where it is. What the key file holds is never part of an error.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys, RootCertStore, ServerConfig};

/// Largest file of a certificate or key that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why there is no TLS with these files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TlsError {
    /// The system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a folder, a pipe, a device.
    #[error("{} is not a file: name one", .0.display())]
    NotAFile(PathBuf),
    /// No certificate is so large.
    #[error("{} is larger than {MAX_FILE} bytes: name the right file", .0.display())]
    TooLarge(PathBuf),
    /// It is no PEM.
    #[error("{} is no PEM: save it as text that begins with `-----BEGIN`", .0.display())]
    NotPem(PathBuf),
    /// It holds something else.
    #[error("there is no certificate in {}: write it there as PEM, and those it leads to after it", .0.display())]
    NoCertificate(PathBuf),
    /// It holds something else.
    #[error("there is no private key in {}: write it there as PEM", .0.display())]
    NoKey(PathBuf),
    /// Nobody is there to say the password when the server starts.
    #[error("the private key in {} is encrypted: decrypt it (`openssl pkey -in … -out …`), mode 0600", .0.display())]
    EncryptedKey(PathBuf),
    /// It is damaged, or of a version that nobody makes any more (RFC 5280, section 4.1.2.1).
    #[error("the certificate in {} cannot be used: it is damaged, or not of version 3; have it issued again", .0.display())]
    Certificate(PathBuf),
    /// It is damaged, or of a kind that is not supported.
    #[error("the private key in {} cannot be used: RSA from 2048 bits, ECDSA P-256 or P-384 or Ed25519 is needed", .0.display())]
    Key(PathBuf),
    /// Each is good, and they are not of one pair.
    #[error("the key in {} is not that of the first certificate in {}: name the two that belong together", key.display(), cert.display())]
    Mismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A bug in this program or a library under it.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

impl TlsError {
    /// Stable name for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } | Self::NotAFile(_) | Self::TooLarge(_) => "TLS_FILE_UNREADABLE",
            Self::NotPem(_) => "TLS_FILE_NOT_PEM",
            Self::NoCertificate(_) | Self::Certificate(_) => "TLS_CERTIFICATE_INVALID",
            Self::NoKey(_) | Self::EncryptedKey(_) | Self::Key(_) => "TLS_KEY_INVALID",
            Self::Mismatch { .. } => "TLS_KEY_MISMATCH",
            Self::Setup(_) => "TLS_SETUP_FAILED",
        }
    }
}

/// The certificate that new connections get. Another can take its place; connections that are open stay as they are.
#[derive(Debug)]
pub(crate) struct ReloadableCertificate {
    current: Mutex<Arc<CertifiedKey>>,
}

impl ReloadableCertificate {
    /// The certificate of these files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn load(cert: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let current = Mutex::new(Arc::new(read(cert, key)?));
        Ok(Arc::new(Self { current }))
    }

    /// Puts the certificate of these files in the place of the one in force.
    ///
    /// # Errors
    /// [`TlsError`]; the one in force stays.
    pub(crate) fn reload(&self, cert: &Path, key: &Path) -> Result<(), TlsError> {
        let new = Arc::new(read(cert, key)?);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// TLS 1.2 and 1.3 with whatever certificate is in force. The caller sets what protocols are offered (ALPN).
    ///
    /// # Errors
    /// [`TlsError::Setup`].
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        Ok(config.with_no_client_auth().with_cert_resolver(Arc::<Self>::clone(self)))
    }

    /// When the certificate, and each it leads to, is valid; `None` where one does not say.
    pub(crate) fn validity(&self) -> Option<Validity> {
        let all = self.current().cert.iter().map(Validity::of).collect::<Option<Vec<_>>>()?;
        all.into_iter().reduce(Validity::and)
    }

    /// The SHA-256 of the certificate itself, by which clients may know it.
    pub(crate) fn fingerprint(&self) -> Option<holdfast_model::ids::Sha256> {
        let current = self.current();
        let certificate = current.cert.first()?;
        Some(holdfast_model::ids::Sha256(<sha2::Sha256 as sha2::Digest>::digest(certificate).into()))
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for ReloadableCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// From when to when a certificate is valid, in seconds since the beginning of 1970, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

impl Validity {
    /// Asks the verifier what is wrong with the certificate at the beginning and at the end of all time: it looks at the
    /// times first, and says what they are.
    fn of(cert: &CertificateDer<'_>) -> Option<Self> {
        let cert = ParsedCertificate::try_from(cert).ok()?;
        let wrong_at = |seconds| {
            let (roots, now) = (RootCertStore::empty(), UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
            match verify_server_cert_signed_by_trust_anchor(&cert, &roots, &[], now, algorithms()) {
                Err(rustls::Error::InvalidCertificate(wrong)) => Some(wrong),
                _ => None,
            }
        };
        let not_before = match wrong_at(0)? {
            CertificateError::NotValidYetContext { not_before, .. } => not_before.as_secs(),
            _ => 0,
        };
        match wrong_at(u64::MAX)? {
            CertificateError::ExpiredContext { not_after, .. } => {
                Some(Self { not_before, not_after: not_after.as_secs() })
            }
            _ => None,
        }
    }

    /// When both are valid.
    fn and(self, other: Self) -> Self {
        Self { not_before: self.not_before.max(other.not_before), not_after: self.not_after.min(other.not_after) }
    }
}

fn algorithms() -> &'static [&'static dyn rustls::pki_types::SignatureVerificationAlgorithm] {
    ring::default_provider().signature_verification_algorithms.all
}

fn read(cert_file: &Path, key_file: &Path) -> Result<CertifiedKey, TlsError> {
    let provider: CryptoProvider = ring::default_provider();
    let text = file(cert_file)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::NotPem(cert_file.to_owned()))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(cert_file.to_owned()));
    }
    let key = private_key(key_file)?;
    let key = provider.key_provider.load_private_key(key).map_err(|_| TlsError::Key(key_file.to_owned()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        // A key that does not tell its public half is found out by the first handshake.
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsError::Mismatch { cert: cert_file.to_owned(), key: key_file.to_owned() })
        }
        Err(_) => Err(TlsError::Certificate(cert_file.to_owned())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    use rustls::pki_types::pem::Error;
    const ENCRYPTED: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];

    let text = file(path)?;
    let holds = |words: &[u8]| text.windows(words.len()).any(|window| window == words);
    if ENCRYPTED.into_iter().any(holds) {
        return Err(TlsError::EncryptedKey(path.to_owned()));
    }
    // What the parser says may hold a line of the file.
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        Error::NoItemsFound => TlsError::NoKey(path.to_owned()),
        _ => TlsError::NotPem(path.to_owned()),
    })
}

fn file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Io { path: path.to_owned(), source };
    // A pipe nobody writes to must not hold the server up.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblocking).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(TlsError::NotAFile(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(TlsError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
