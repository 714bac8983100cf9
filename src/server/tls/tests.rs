#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::io::Write;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConnection};
use tempfile::TempDir;

use super::*;

/// A certificate for `localhost` that signs itself, and the files it is in.
struct Issued {
    folder: TempDir,
    der: CertificateDer<'static>,
}

impl Issued {
    fn new() -> Self {
        Self::with(&CertificateParams::new(["localhost".to_owned()]).unwrap())
    }

    fn with(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        let issued = Self { folder: tempfile::tempdir().unwrap(), der: cert.der().clone() };
        fs::write(issued.cert(), cert.pem()).unwrap();
        fs::write(issued.key(), key.serialize_pem()).unwrap();
        issued
    }

    fn cert(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    fn load(&self) -> Result<Arc<ReloadableCertificate>, TlsError> {
        ReloadableCertificate::load(&self.cert(), &self.key())
    }

    /// A client that trusts this certificate and no other, and a server.
    fn connect(&self, server: &Arc<ServerConfig>) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut pair = (ClientConnection::new(Arc::new(client), name)?, ServerConnection::new(Arc::clone(server))?);
        while pair.0.is_handshaking() || pair.1.is_handshaking() {
            exchange(&mut pair)?;
        }
        Ok(pair)
    }
}

/// Carries what each has to say to the other.
fn exchange((client, server): &mut (ClientConnection, ServerConnection)) -> Result<(), rustls::Error> {
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).unwrap();
    }
    let mut rest = &wire[..];
    while !rest.is_empty() {
        server.read_tls(&mut rest).unwrap();
        server.process_new_packets()?;
    }
    let mut wire = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut wire).unwrap();
    }
    let mut rest = &wire[..];
    while !rest.is_empty() {
        client.read_tls(&mut rest).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

fn says(pair: &mut (ClientConnection, ServerConnection), text: &str) {
    pair.0.writer().write_all(text.as_bytes()).unwrap();
    exchange(pair).unwrap();
    let mut heard = vec![0; text.len()];
    pair.1.reader().read_exact(&mut heard).unwrap();
    assert_eq!(heard, text.as_bytes());
}

#[test]
fn a_client_that_trusts_the_certificate_comes_in() {
    let issued = Issued::new();
    let server = Arc::new(issued.load().unwrap().server_config().unwrap());
    assert!(server.alpn_protocols.is_empty(), "that is the caller's");
    says(&mut issued.connect(&server).unwrap(), "ping");
    Issued::new().connect(&server).unwrap_err();
}

#[test]
fn a_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let (old, new) = (Issued::new(), Issued::new());
    let certificate = old.load().unwrap();
    let server = Arc::new(certificate.server_config().unwrap());
    let mut open = old.connect(&server).unwrap();

    certificate.reload(&new.cert(), &new.key()).unwrap();
    says(&mut new.connect(&server).unwrap(), "to the new one");
    old.connect(&server).unwrap_err();
    says(&mut open, "still here");

    // One that cannot be used changes nothing.
    assert_eq!(certificate.reload(&old.cert(), &new.key()).unwrap_err().code(), "TLS_KEY_MISMATCH");
    assert_eq!(certificate.reload(&old.cert(), Path::new("/no/such.key")).unwrap_err().code(), "TLS_FILE_UNREADABLE");
    says(&mut new.connect(&server).unwrap(), "as before");
}

#[test]
fn files_that_cannot_be_used_are_told_apart_and_never_shown() {
    let (issued, other) = (Issued::new(), Issued::new());
    let (cert, key) = (fs::read_to_string(issued.cert()).unwrap(), fs::read_to_string(issued.key()).unwrap());
    let secret = key.lines().nth(1).unwrap().to_owned();
    let code = |cert: &str, key: &str| {
        fs::write(issued.cert(), cert).unwrap();
        fs::write(issued.key(), key).unwrap();
        let error = issued.load().map(drop).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&secret[..20]), "{error:?}");
        (error.code(), error.to_string())
    };
    let foreign = fs::read_to_string(other.key()).unwrap();
    let encrypted =
        key.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE").replace("END PRIVATE", "END ENCRYPTED PRIVATE");
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let no_key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", &secret[..64]);
    for (cert, key, expected, part) in [
        ("", &key[..], "TLS_CERTIFICATE_INVALID", "no certificate in"),
        (&key, &key, "TLS_CERTIFICATE_INVALID", "no certificate in"),
        (damaged, &key, "TLS_CERTIFICATE_INVALID", "cannot be used"),
        (&cert[..cert.len() - 30], &key, "TLS_FILE_NOT_PEM", "server.pem is no PEM"),
        (&cert, "", "TLS_KEY_INVALID", "no private key in"),
        (&cert, &cert, "TLS_KEY_INVALID", "no private key in"),
        (&cert, &encrypted, "TLS_KEY_INVALID", "is encrypted: decrypt it"),
        (&cert, &no_key, "TLS_KEY_INVALID", "RSA from 2048 bits"),
        (&cert, &key[..key.len() - 30], "TLS_FILE_NOT_PEM", "server.key is no PEM"),
        (&cert, &key.replace(&secret, &format!("{secret}\u{7f}")), "TLS_FILE_NOT_PEM", "server.key is no PEM"),
        (&cert, &foreign, "TLS_KEY_MISMATCH", "name the two that belong together"),
        (&cert, &"\n".repeat((1 << 20) + 1), "TLS_FILE_UNREADABLE", "larger than"),
    ] {
        let (code, said) = code(cert, key);
        assert!(code == expected && said.contains(part), "{expected}, {part}: {code}, {said}");
    }
    let folder = ReloadableCertificate::load(issued.folder.path(), &issued.key()).unwrap_err();
    assert_eq!(folder.code(), "TLS_FILE_UNREADABLE");
    // A pipe nobody writes to holds nothing up.
    let pipe = issued.folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    let pipe = ReloadableCertificate::load(&pipe, &issued.key()).unwrap_err();
    assert_eq!((pipe.code(), pipe.to_string().contains("is not a file")), ("TLS_FILE_UNREADABLE", true));
}

#[test]
fn a_certificate_is_valid_while_all_it_leads_to_are() {
    const DAY: u64 = 24 * 3600;
    let between = |names: &[&str], start: (i32, u8, u8), end: (i32, u8, u8)| {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.not_before = date_time_ymd(start.0, start.1, start.2);
        params.not_after = date_time_ymd(end.0, end.1, end.2);
        params
    };
    // 2000-01-01 and 2001-01-01.
    let (start, end) = (10_957 * DAY, 11_323 * DAY);
    let issued = Issued::with(&between(&["localhost"], (2000, 1, 1), (2001, 1, 1)));
    assert_eq!(issued.load().unwrap().validity(), Some(Validity { not_before: start, not_after: end }));

    // An authority that ends sooner and begins later, after the certificate in the file.
    let mut params = between(&[], (2000, 1, 2), (2000, 12, 31));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = between(&["localhost"], (2000, 1, 1), (2001, 1, 1)).signed_by(&key, &authority).unwrap();
    fs::write(issued.cert(), cert.pem() + &authority.pem()).unwrap();
    fs::write(issued.key(), key.serialize_pem()).unwrap();
    let validity = issued.load().unwrap().validity();
    assert_eq!(validity, Some(Validity { not_before: start + DAY, not_after: end - DAY }));
}
