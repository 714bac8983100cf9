//! By what a vault is known: an authority, or the fingerprint of its certificate.
//!
//! A pinned certificate is compared byte by byte, by its SHA-256 and in constant time. Its dates and names are not looked at: whoever pinned it
//! said that it is this one, and a vault's own certificate is known by nothing else. That the far side holds its key is proved by the handshake
//! as ever. Where a certificate is refused, the error says which one was shown, so that it can be compared and pinned.

use std::path::Path;
use std::sync::Arc;

use holdfast_model::ids::Sha256;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, SignatureScheme};
use sha2::Digest;
use subtle::ConstantTimeEq;

use crate::endpoints::address::VaultTrust;
use crate::endpoints::{ErrorKind, StoreError, http};

/// What a client of a vault trusts.
pub(super) fn config(trust: &VaultTrust) -> Result<ClientConfig, StoreError> {
    let fatal = |error: &dyn std::fmt::Display| StoreError::new(ErrorKind::Fatal, "set up TLS", error.to_string());
    let provider = Arc::new(ring::default_provider());
    let verifier = match trust {
        VaultTrust::Pinned(pinned) => Known::Fingerprint(*pinned),
        VaultTrust::CaFile(path) => by_authority(Some(path), &provider)?,
        // Without TLS nobody is asked.
        VaultTrust::System | VaultTrust::Loopback => by_authority(None, &provider)?,
    };
    let verifier = Arc::new(Verifier { known: verifier, provider: provider.clone() });
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| fatal(&error))?;
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn by_authority(ca_file: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Known, StoreError> {
    let roots = Arc::new(http::roots(ca_file)?);
    if roots.is_empty() {
        return Ok(Known::Nothing);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
    let refuse = |error: rustls::client::VerifierBuilderError| {
        StoreError::new(ErrorKind::Credentials, "set up TLS", error.to_string())
    };
    Ok(Known::Authority(verifier.map_err(refuse)?))
}

/// By what a certificate is known.
#[derive(Debug)]
enum Known {
    Authority(Arc<WebPkiServerVerifier>),
    Fingerprint(Sha256),
    /// The system trusts no authority.
    Nothing,
}

#[derive(Debug)]
struct Verifier {
    known: Known,
    provider: Arc<CryptoProvider>,
}

/// Why a certificate is refused, and which it was.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(
        "its certificate is not trusted ({why}). It has the fingerprint sha256:{shown}: compare that with what `holdfast vault` printed there, \
         and where they are the same, pin it by `fingerprint={shown}` in the address"
    )]
    Untrusted { shown: Sha256, why: String },
    #[error("its certificate, with the fingerprint sha256:{shown}, {why}")]
    OutOfDate { shown: Sha256, why: String },
    #[error(
        "its certificate has the fingerprint sha256:{shown} and not the pinned one: somebody stands in between, or the vault has a new \
         certificate. Compare it with what `holdfast vault` prints there before you pin it"
    )]
    Other { shown: Sha256 },
}

fn refuse(refused: Refused) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Sha256(sha2::Sha256::digest(end_entity).into());
        let untrusted = |why: String| refuse(Refused::Untrusted { shown, why });
        match &self.known {
            Known::Fingerprint(pinned) => match bool::from(shown.0.ct_eq(&pinned.0)) {
                true => Ok(ServerCertVerified::assertion()),
                false => Err(refuse(Refused::Other { shown })),
            },
            Known::Nothing => Err(untrusted("the system trusts no authority".to_owned())),
            Known::Authority(verifier) => verifier
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|error| match error {
                    rustls::Error::InvalidCertificate(wrong) => match http::out_of_date(&wrong) {
                        Some(why) => refuse(Refused::OutOfDate { shown, why }),
                        None => untrusted(wrong.to_string()),
                    },
                    other => other,
                }),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
