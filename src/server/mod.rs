//! The server: the doors through which other programs drive the engine.
//!
//! Lines of JSON over TCP and over a Unix socket under the home, WebSockets, and requests over HTTP: all of them lead to the one
//! dispatcher of [`crate::api`]. What is here knows connections, not commands. Its rules:
//!
//! - Each thing a client can make the server hold is bounded: a message, the queue of what it has not taken yet, requests in flight,
//!   subscriptions, connections.
//! - Each wait for a client has an end.
//! - A client that goes away ends its subscriptions, and nothing else.

mod feed;
mod gauges;
mod http;
mod lines;
mod lobby;
mod metrics;
mod outbox;
mod pace;
mod places;
mod session;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod unix;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::gauges::Gauges;
pub use self::http::incoming::{Frame, FrameFault, Frames};
pub use self::lines::{LineTooLong, Lines};
use self::lobby::Lobby;
use self::outbox::Reason;
use self::tls::{ReloadableCertificate, TlsError};
use crate::api::{Dispatcher, Refusing, Settings};
use crate::config::{ServerConfig, ServerLimits};
use crate::engine::Holdfast;

/// What clients are told when the server begins to stop.
const DRAINING: &[u8] = br#"{"event":"server.draining"}"#;
/// How long they are waited for to take that.
const TELLING: Duration = Duration::from_secs(1);
/// How long connections have to end by themselves once they were told to.
const CLOSING: Duration = Duration::from_secs(3);
/// How often it is looked whether a token that a connection rests on has expired.
const TOKENS: Duration = Duration::from_secs(1);
/// The tokens are looked at so often at most, however much is recorded.
const PAUSE: Duration = Duration::from_millis(25);

/// Why a server does not start, or does not take other settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The system does not let it listen there.
    #[error(
        "cannot listen on {address} ([server] {setting}): {source}; name another address, or end what listens there"
    )]
    Address {
        /// The key of the configuration.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system does not let it listen under the home.
    #[error("cannot listen on {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no TLS with the configured files.
    #[error("{reason} ([server] tls_cert, tls_key)")]
    Tls {
        /// Stable name for programs.
        code: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
}

impl ServerError {
    /// Stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "ADDRESS_UNAVAILABLE",
            Self::Socket { .. } => "SOCKET_UNAVAILABLE",
            Self::Tls { code, .. } => code,
        }
    }
}

impl From<TlsError> for ServerError {
    fn from(error: TlsError) -> Self {
        Self::Tls { code: error.code(), reason: error.to_string() }
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// For lines over TCP.
    pub tcp: Option<SocketAddr>,
    /// For HTTP, and WebSockets at `/ws`.
    pub http: Option<SocketAddr>,
    /// Whether both are encrypted.
    pub encrypted: bool,
    /// The Unix socket for processes of the same user.
    pub socket: PathBuf,
}

/// A server at work, in an application of its own or in one that embeds the engine. It holds a handle of the engine. Dropped, it closes
/// its doors at once; [`Server::stop`] does so with regard for its clients.
///
/// ```
/// use std::time::Duration;
///
/// use holdfast::config::ServerConfig;
/// use holdfast::engine::Holdfast;
/// use holdfast::server::Server;
/// use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
/// use tokio::net::TcpStream;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let home = folder.path().join("home");
/// let engine = Holdfast::builder(home).start().await?;
/// let config = ServerConfig { tcp: Some("127.0.0.1:0".parse()?), http: None, ..ServerConfig::default() };
/// let server = Server::start(&engine, &config)?;
///
/// let address = server.addresses().tcp.ok_or("it listens")?;
/// let mut client = BufReader::new(TcpStream::connect(address).await?);
/// client.write_all(b"{\"command\":\"Ping\",\"extID\":\"1\"}\n").await?;
/// let mut answer = String::new();
/// client.read_line(&mut answer).await?;
/// assert_eq!(answer, "{\"extID\":\"1\",\"status\":200,\"data\":{}}\r\n");
///
/// server.stop(Duration::from_secs(10)).await;
/// engine.stop().await;
/// # Ok(())
/// # }
/// ```
#[must_use = "a server that is dropped closes its doors"]
pub struct Server {
    lobby: Arc<Lobby>,
    addresses: Addresses,
    certificate: Option<Arc<ReloadableCertificate>>,
    stop: watch::Sender<bool>,
    /// What takes connections; each waits for those it took.
    doors: JoinSet<()>,
    http: Option<(ServerHandle, JoinHandle<()>)>,
    tokens: JoinHandle<()>,
    /// There once it has begun to stop.
    refusing: OnceLock<Refusing>,
}

impl Server {
    /// Opens the doors of an engine that the configuration names, and the Unix socket under its home. Clients are served on the engine's
    /// data plane.
    ///
    /// # Errors
    /// [`ServerError`]; no door is open then.
    pub fn start(engine: &Holdfast, config: &ServerConfig) -> Result<Self, ServerError> {
        let _data_plane = engine.data_plane().enter();
        let certificate = match &config.tls {
            Some(files) => Some(ReloadableCertificate::load(&files.cert, &files.key)?),
            None => None,
        };
        let tls = || certificate.as_ref().map(ReloadableCertificate::server_config).transpose();
        let lobby = Lobby::new(Dispatcher::new(engine.clone()), config.clone());
        let home = engine.home().root();
        let failed = |source| ServerError::Socket { path: home.join(unix::NAME), source };
        let socket = unix::listen(home).map_err(failed)?;
        let tcp = config.tcp.map(|address| listen("tcp", address)).transpose()?;
        let http = config.http.map(|address| listen("http", address)).transpose()?;
        let addresses = Addresses {
            tcp: tcp.as_ref().map(|(_, address)| *address),
            http: http.as_ref().map(|(_, address)| *address),
            encrypted: certificate.is_some(),
            socket: socket.path().to_owned(),
        };

        let stop = watch::Sender::new(false);
        let mut doors = JoinSet::new();
        if let Some((listener, address)) = tcp {
            let failed = |source| ServerError::Address { setting: "tcp", address, source };
            let listener = TcpListener::from_std(listener).map_err(failed)?;
            let tls = tls()?.map(|tls| TlsAcceptor::from(Arc::new(tls)));
            doors.spawn(tcp::serve(listener, lobby.clone(), tls, stop.subscribe()));
        }
        let http = match http {
            Some((listener, address)) => {
                let failed = |source| ServerError::Address { setting: "http", address, source };
                let (handle, serving) = http::serve(listener, &lobby, tls()?).map_err(failed)?;
                let serving = async move {
                    if let Err(error) = serving.await {
                        tracing::error!(%error, "the HTTP door has closed by itself");
                    }
                };
                Some((handle, engine.data_plane().spawn(serving)))
            }
            None => None,
        };
        doors.spawn(socket.serve(lobby.clone(), stop.subscribe()));
        let tokens = engine.data_plane().spawn(watch_tokens(lobby.clone()));
        settle(engine, &config.limits);
        engine.desk().life().begin();
        Ok(Self { lobby, addresses, certificate, stop, doors, http, tokens, refusing: OnceLock::new() })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Takes other settings while it runs: limits, origins, and the certificate, which is read again. Connections that are open keep the
    /// queue and the rate they have; addresses stay as they are.
    ///
    /// # Errors
    /// [`ServerError::Tls`]; the settings are as before then.
    pub fn reload(&self, config: &ServerConfig) -> Result<(), ServerError> {
        if let (Some(certificate), Some(files)) = (&self.certificate, &config.tls) {
            certificate.reload(&files.cert, &files.key)?;
        }
        self.lobby.set(config.clone());
        settle(self.lobby.dispatcher.engine(), &config.limits);
        Ok(())
    }

    /// Waits until each request that has come so far is answered, for so long at most.
    pub(crate) async fn answered(&self, within: Duration) {
        self.lobby.idle(within).await;
    }

    /// Begins to stop: no more work is begun, and who is in is told so. The doors stay open until [`Server::stop`], for who wants to look, to
    /// cancel, or to have it stop sooner.
    pub async fn drain(&self) {
        if self.refusing.set(self.lobby.dispatcher.engine().desk().refuse_work()).is_ok() {
            self.lobby.tell(DRAINING, TELLING).await;
        }
    }

    /// Closes the doors, after what [`Server::drain`] does; requests in flight have `grace` to be answered. Those that wait for longer are
    /// answered with what they began, and subscribers are sent what has happened by then. Work that was begun goes on in the engine.
    pub async fn stop(mut self, grace: Duration) {
        self.drain().await;
        self.lobby.idle(grace).await;
        self.stop.send_replace(true);
        if let Some((handle, _)) = &self.http {
            let _ = tokio::time::timeout(CLOSING, handle.pause()).await;
        }
        self.lobby.end_waiting();
        self.lobby.idle(CLOSING).await;
        self.lobby.end_subscriptions(CLOSING).await;
        self.lobby.close(Reason::GoingAway);
        let ended = async { while self.doors.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(CLOSING, ended).await;
        if let Some((handle, serving)) = self.http.take() {
            let _ = tokio::time::timeout(CLOSING, handle.stop(true)).await;
            serving.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.lobby.close(Reason::GoingAway);
        self.tokens.abort();
        if let Some((handle, _)) = self.http.take() {
            // It is told by this, whether or not somebody waits.
            drop(handle.stop(false));
        }
    }
}

fn listen(setting: &'static str, address: SocketAddr) -> Result<(StdListener, SocketAddr), ServerError> {
    let failed = |source| ServerError::Address { setting, address, source };
    let listener = tcp::listen(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Gives the commands those of the limits that are theirs.
fn settle(engine: &Holdfast, limits: &ServerLimits) {
    let before = engine.desk().settings();
    engine.desk().set(Settings {
        page: limits.page,
        page_max: limits.page_max,
        answer_bytes: limits.answer,
        guesses_per_minute: limits.guesses_per_minute.get(),
        limits: limits.clone(),
        ..(*before).clone()
    });
    engine.tell_progress_per_second(limits.progress_per_second.get());
}

/// Ends connections that rest on tokens that are no longer good: at once where one was revoked, soon where one has expired.
async fn watch_tokens(lobby: Arc<Lobby>) {
    let mut folded = lobby.dispatcher.engine().watch_folded();
    loop {
        tokio::select! {
            changed = folded.changed() => match changed {
                Ok(()) => tokio::time::sleep(PAUSE).await,
                // The engine has stopped.
                Err(_) => return,
            },
            () = tokio::time::sleep(TOKENS) => {}
        }
        folded.mark_unchanged();
        if let Err(error) = lobby.end_dead_tokens().await {
            tracing::debug!(%error, "it could not be seen which tokens are still good");
        }
    }
}
