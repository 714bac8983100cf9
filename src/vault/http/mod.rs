//! The vault's door: HTTP/1.1, and the socket of its administration.

mod answer;
mod connection;
mod range;
mod runs;
mod uploads;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Extensions, ServerHandle};
use actix_web::http::KeepAlive;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::connection::Connection;
use super::certificate::CertificateFiles;
use super::error::{Problem, VaultError};
use super::places::STATE;
use super::visitor::{Shown, Visitor};
use super::wire::SERVER_ID;
use super::{Vault, admin};
use crate::server::tcp;
use crate::server::tls::ReloadableCertificate;
use crate::server::unix::{self, Socket};

/// Threads that read and write the network; the disk's work is done on the runtime the vault was opened on.
const WORKERS: usize = 2;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection without a request is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long a client has to take the last of an answer once its connection is to end.
const DISCONNECT: Duration = Duration::from_secs(1);
/// How long requests are waited for when the vault stops, in seconds.
const SHUTDOWN: u64 = 10;
/// Conversations of the administration at the same time.
const ADMINS: usize = 16;

/// Where a vault listens, and how.
#[derive(Debug, Clone)]
pub struct VaultAddress {
    /// The address.
    pub listen: SocketAddr,
    /// Its certificate; none for no encryption.
    pub tls: Option<CertificateFiles>,
    /// Whether it may go without encryption on an address that others reach.
    pub insecure: bool,
}

/// A vault that is being served.
#[must_use = "a server that is dropped closes its door"]
pub struct VaultServer {
    vault: Arc<Vault>,
    address: SocketAddr,
    certificate: Option<(CertificateFiles, Arc<ReloadableCertificate>)>,
    handle: ServerHandle,
    serving: JoinHandle<()>,
    admins: JoinHandle<()>,
    house: JoinHandle<()>,
}

impl VaultServer {
    /// Opens the door of a vault.
    ///
    /// # Errors
    /// [`VaultError::Insecure`] where others could read what is sent; [`VaultError::Tls`], [`VaultError::Address`].
    pub fn start(vault: &Arc<Vault>, address: &VaultAddress) -> Result<Self, VaultError> {
        if address.tls.is_none() && !address.insecure && !address.listen.ip().is_loopback() {
            return Err(VaultError::Insecure(address.listen));
        }
        let certificate = match &address.tls {
            Some(files) => Some((files.clone(), ReloadableCertificate::load(&files.cert, &files.key)?)),
            None => None,
        };
        let state = vault.root.join(STATE);
        let mut socket = unix::listen(&state).map_err(VaultError::io("listen under", &state))?;
        let of_admins = socket.listener().map_err(VaultError::io("listen under", &state))?;
        let failed = |source| VaultError::Address { address: address.listen, source };
        let listener = tcp::listen(address.listen).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let (of_app, idle) = (vault.clone(), vault.limits.idle);
        let server = HttpServer::new(move || {
            App::new()
                .wrap(from_fn(connection::watched))
                .app_data(web::Data::from(of_app.clone()))
                .configure(uploads::configure)
                .configure(runs::configure)
                .default_service(web::to(unknown_path))
        })
        .workers(WORKERS)
        .max_connections(vault.limits.connections / WORKERS)
        .client_request_timeout(HEAD)
        .client_disconnect_timeout(DISCONNECT)
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .shutdown_timeout(SHUTDOWN)
        .disable_signals()
        .on_connect(move |io: &dyn Any, data: &mut Extensions| {
            data.insert(Arc::new(Connection::new(io, idle)));
        });
        let server = match &certificate {
            None => server.listen(listener).map_err(failed)?,
            Some((_, certificate)) => {
                server.listen_rustls_0_23(listener, certificate.server_config()?).map_err(failed)?
            }
        };
        let server = server.run();
        let handle = server.handle();
        let serving = vault.runtime.spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the vault's door has closed by itself");
            }
        });
        let admins = vault.runtime.spawn(serve_admins(vault.clone(), socket, of_admins));
        let house = vault.runtime.spawn(vault.clone().keep_house());
        Ok(Self { vault: vault.clone(), address: bound, certificate, handle, serving, admins, house })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether what is sent there is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.certificate.is_some()
    }

    /// Reads the certificate again; connections that are open stay as they are.
    ///
    /// # Errors
    /// [`VaultError::Tls`]; the one before stays in force then.
    pub fn reload(&self) -> Result<(), VaultError> {
        if let Some((files, certificate)) = &self.certificate {
            certificate.reload(&files.cert, &files.key)?;
        }
        Ok(())
    }

    /// True once the vault can record nothing any more and has to be started anew.
    #[must_use]
    pub fn watch_lost(&self) -> watch::Receiver<bool> {
        self.vault.book.watch_lost()
    }

    /// Closes the door; requests at work have a while to end. The vault stays open.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        self.admins.abort();
        self.house.abort();
        let limit = Duration::from_secs(SHUTDOWN);
        if tokio::time::timeout(limit, self.serving).await.is_err() {
            tracing::warn!("the vault's door did not close in time");
        }
    }
}

async fn serve_admins(vault: Arc<Vault>, socket: Socket, listener: UnixListener) {
    let mut talks = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = talks.join_next(), if !talks.is_empty() => {}
            accepted = listener.accept(), if talks.len() < ADMINS => match accepted {
                Ok((stream, _)) if socket.admits(&stream) => {
                    talks.spawn(admin::serve(vault.clone(), stream));
                }
                Ok(_) => {}
                Err(error) => tcp::refused_by_the_system("socket", &error).await,
            },
        }
    }
}

/// Where a request came from: the address that is connected, whatever headers say.
fn source(request: &HttpRequest) -> String {
    request.peer_addr().map_or_else(|| "?".to_owned(), |peer| peer.ip().to_canonical().to_string())
}

/// A header as text; none where it is not there, or no text.
fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// What a request asks for, as the record names it, and about what.
type What = (&'static str, String);

/// Lets somebody in whose token is good; else the answer to give.
async fn admit(vault: &Arc<Vault>, request: &HttpRequest, what: &What) -> Result<Visitor, HttpResponse> {
    let token = header(request, "authorization").and_then(|value| value.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let source = source(request);
    let shown = Shown { token, server_id: header(request, SERVER_ID), source: &source };
    match vault.admit(&shown).await {
        Ok(visitor) => Ok(visitor),
        Err((problem, Some(visitor))) => Err(refuse(vault, request, &visitor, what, &problem).await),
        Err((problem, None)) => Err(answer::problem(&problem)),
    }
}

/// The answer to somebody known who does not get what they asked for, which is recorded.
async fn refuse(
    vault: &Arc<Vault>,
    request: &HttpRequest,
    visitor: &Visitor,
    what: &What,
    problem: &Problem,
) -> HttpResponse {
    let source = source(request);
    tracing::warn!(
        principal = visitor.principal(),
        source,
        request = what.0,
        about = what.1,
        code = problem.code,
        "refused"
    );
    let counted = problem.status != 503;
    if counted {
        let (of, who, what, told) = (vault.clone(), visitor.clone(), what.clone(), problem.clone());
        // Also where the client has hung up.
        let recorded = vault.runtime.spawn(async move {
            of.refusals.refused(&of.book, &who, &source, what, &told).await;
        });
        let _ = recorded.await;
    }
    answer::problem(problem)
}

/// Who is known and asks for what there is not is recorded too: that is how somebody looks for a way in.
async fn unknown_path(request: HttpRequest, vault: web::Data<Vault>) -> HttpResponse {
    let text = format!(
        "there is nothing at {} for {}: uploads are at /uploads, runs at /runs",
        request.path(),
        request.method()
    );
    nothing_there(&request, vault, &Problem::new(404, "UNKNOWN_PATH", text)).await
}

/// A method that a path does not know.
async fn wrong_method(request: HttpRequest, vault: web::Data<Vault>) -> HttpResponse {
    let text = format!("{} is not for {}", request.method(), request.path());
    nothing_there(&request, vault, &Problem::new(405, "METHOD_NOT_ALLOWED", text)).await
}

async fn nothing_there(request: &HttpRequest, vault: web::Data<Vault>, problem: &Problem) -> HttpResponse {
    let (vault, what) = (vault.into_inner(), ("NoSuchRequest", String::new()));
    match admit(&vault, request, &what).await {
        Ok(visitor) => refuse(&vault, request, &visitor, &what, problem).await,
        Err(response) => response,
    }
}
