//! The HTTP door: `POST /api/v1/<Command>`, WebSockets at `/ws`, and pages for programs that watch the server.
//!
//! Whatever goes wrong is told in the one form errors have everywhere, with its status. HTTP/1.1 and
//! nothing else: over HTTP/2 one connection could hold any number of answers that it does not take.

mod answer;
mod commands;
pub(super) mod incoming;
mod outgoing;
mod pages;
mod peer;
mod watch;
mod ws;

use std::any::Any;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Extensions, ServerHandle};
use actix_web::http::KeepAlive;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

use self::peer::Peer;
use super::lobby::Lobby;
use crate::api::{ApiError, ErrorCode};

/// Threads that read and write; the commands themselves run on the data plane.
const WORKERS: usize = 2;
/// Connections of a worker at most, where WebSockets need no more: those that are only for a request come and go. More than there are
/// places for strangers, so that who shows a token is heard.
const CONNECTIONS: usize = 128;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection without a request is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long a client has to take the last of an answer once its connection is to end.
const DISCONNECT: Duration = Duration::from_secs(1);
/// How long connections are waited for when the server stops, in seconds.
const SHUTDOWN: u64 = 2;

/// Begins to serve. The future is the server; it ends once it is told to by the handle.
pub(super) fn serve(
    listener: TcpListener,
    lobby: &Arc<Lobby>,
    tls: Option<rustls::ServerConfig>,
) -> io::Result<(ServerHandle, impl Future<Output = io::Result<()>> + Send + use<>)> {
    let connections = lobby.settings().limits.connections.max(CONNECTIONS);
    let secure = tls.is_some();
    let (of_app, of_connection) = (lobby.clone(), lobby.clone());
    let server = HttpServer::new(move || {
        App::new()
            .wrap(from_fn(watch::watched))
            .app_data(web::Data::from(of_app.clone()))
            .app_data(web::Data::new(Scheme { secure }))
            .configure(pages::configure)
            .service(web::resource("/ws").route(web::get().to(ws::open)).default_service(web::to(only_get)))
            .service(
                web::resource("/api/v1/{command}")
                    .route(web::post().to(commands::run))
                    .default_service(web::to(only_post)),
            )
            .default_service(web::to(unknown_path))
    })
    .workers(WORKERS)
    .max_connections(connections)
    .client_request_timeout(HEAD)
    .client_disconnect_timeout(DISCONNECT)
    .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
    .shutdown_timeout(SHUTDOWN)
    .disable_signals()
    .on_connect(move |io: &dyn Any, data: &mut Extensions| {
        data.insert(Arc::new(Peer::new(&of_connection, io)));
    });
    let server = match tls {
        None => server.listen(listener)?,
        Some(tls) => server.listen_rustls_0_23(listener, tls)?,
    };
    let server = server.run();
    Ok((server.handle(), server))
}

/// How the server is reached.
struct Scheme {
    secure: bool,
}

/// Where a request came from: the address that is connected, whatever headers say.
fn source(request: &HttpRequest) -> String {
    request.peer_addr().map_or_else(|| "?".to_owned(), |peer| peer.ip().to_canonical().to_string())
}

async fn only_post() -> HttpResponse {
    let error = ApiError::new(ErrorCode::MethodNotAllowed, "commands are asked for by POST");
    answer::with_header(answer::error(&error), "allow", "POST")
}

async fn only_get() -> HttpResponse {
    let error = ApiError::new(ErrorCode::MethodNotAllowed, "a WebSocket is opened by GET");
    answer::with_header(answer::error(&error), "allow", "GET")
}

async fn unknown_path(request: HttpRequest) -> HttpResponse {
    let known = "commands are at /api/v1/<Command>, WebSockets at /ws, and /openapi.json lists the rest";
    let text = format!("there is nothing at {}: {known}", request.path());
    answer::error(&ApiError::new(ErrorCode::UnknownPath, text))
}
