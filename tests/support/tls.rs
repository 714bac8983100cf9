//! A way with TLS to a server without it, with a certificate of the test's choice: what clients say to it is told.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// An authority, and a certificate for this machine that it has issued.
pub(crate) struct Certificate {
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// One that is good from the start of 2020 to the start of a year.
    pub(crate) fn until(year: i32, folder: &Path) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 1));
        let cert = params.signed_by(&key, &issuer).unwrap();
        let write = |name: &str, text: String| {
            let path = folder.join(format!("{year}-{name}.pem"));
            std::fs::write(&path, text).unwrap();
            path
        };
        let (ca, cert) = (write("ca", ca.pem()), write("cert", cert.pem()));
        let key = write("key", key.serialize_pem());
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Self { ca, cert, key }
    }
}

/// The way.
pub(crate) struct TlsWay {
    pub(crate) port: u16,
    told: Arc<AtomicU64>,
    accepting: tokio::task::JoinHandle<()>,
}

impl TlsWay {
    /// A way to a port of the loopback address.
    pub(crate) async fn to(port: u16, certificate: &Certificate) -> Self {
        let chain = CertificateDer::pem_file_iter(&certificate.cert).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let told = Arc::<AtomicU64>::default();
        let of_all = told.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, port, acceptor.clone(), of_all.clone()));
            }
        });
        Self { port: own, told, accepting }
    }

    /// How many bytes clients have said within TLS.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }
}

impl Drop for TlsWay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, port: u16, acceptor: TlsAcceptor, told: Arc<AtomicU64>) -> std::io::Result<()> {
    let client = acceptor.accept(client).await?;
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let (from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.split();
    let mut from_client = Counted { from_client, told };
    let up = tokio::io::copy(&mut from_client, &mut to_server);
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        ended = up => ended.map(drop),
        ended = down => ended.map(drop),
    }
}

/// A stream whose bytes are counted.
struct Counted<S> {
    from_client: S,
    told: Arc<AtomicU64>,
}

impl<S: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for Counted<S> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = std::pin::Pin::new(&mut self.from_client).poll_read(context, buffer);
        self.told.fetch_add((buffer.filled().len() - before) as u64, Ordering::SeqCst);
        polled
    }
}
