//! The TCP door: lines, encrypted where the configuration says so.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::lines;
use super::lobby::Lobby;
use super::session::{Connection, Newcomer};
use crate::api::Door;

/// How long a client has to agree on the encryption.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long nothing is accepted after the system refused to.
const BACK_OFF: Duration = Duration::from_millis(200);
/// How long a client may take nothing of what was sent to it, as far as the system sees that, in milliseconds.
const UNACKNOWLEDGED: u32 = 60_000;
/// How long such a client is waited for.
const TELLING: Duration = Duration::from_millis(500);

/// Begins to listen, with what every connection inherits: answers go out at once, and a client that is gone is noticed by the system: by
/// keepalive where nothing is to be sent, and by what it does not acknowledge otherwise.
pub(crate) fn listen(address: SocketAddr) -> io::Result<StdListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with};

    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(&socket, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(&socket, 4)?;
    sockopt::set_tcp_user_timeout(&socket, UNACKNOWLEDGED)?;
    bind(&socket, &address)?;
    listen(&socket, 1024)?;
    Ok(socket.into())
}

/// Takes connections until it is told to stop, and then waits for those that are open.
pub(super) async fn serve(
    listener: TcpListener,
    lobby: Arc<Lobby>,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&mut connections, stream, peer.ip(), &lobby, tls.as_ref()),
            Err(error) => refused_by_the_system("tcp", &error).await,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits a moment where another try at once would fail the same way: there are no descriptors or no memory left.
pub(crate) async fn refused_by_the_system(door: &'static str, error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        tracing::warn!(door, %error, "no connection can be accepted");
        tokio::time::sleep(BACK_OFF).await;
    }
}

fn admit(
    connections: &mut JoinSet<()>,
    stream: TcpStream,
    address: IpAddr,
    lobby: &Arc<Lobby>,
    tls: Option<&TlsAcceptor>,
) {
    let source = address.to_canonical().to_string();
    let stranger = lobby.places.newcomer(address, &lobby.settings().limits);
    let opened = stranger.and_then(|it| {
        let trial = it.trial();
        Ok((Connection::open(lobby, Door::Tcp, source, Newcomer::Stranger(it))?, trial))
    });
    let ((visit, queue), trial) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            if let Some(permit) = lobby.places.tell() {
                let tls = tls.cloned();
                connections.spawn(async move {
                    let telling = async {
                        match tls {
                            None => lines::turn_away(&mut { stream }, &error).await,
                            Some(tls) => lines::turn_away(&mut tls.accept(stream).await?, &error).await,
                        }
                    };
                    let _ = timeout(TELLING, telling).await;
                    drop(permit);
                });
            }
            return;
        }
    };
    let tls = tls.cloned();
    connections.spawn(async move {
        let connection = visit.connection.clone();
        match tls {
            None => lines::speak(stream, connection, queue, trial).await,
            Some(tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
                Ok(Ok(stream)) => lines::speak(stream, connection, queue, trial).await,
                Ok(Err(error)) => tracing::debug!(%address, %error, "the encryption could not be agreed on"),
                Err(_) => tracing::debug!(%address, "the encryption was not agreed on in time"),
            },
        }
        drop(visit);
    });
}
