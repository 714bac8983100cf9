//! The Unix socket under the home: lines from processes of this machine that could read and write the home anyway.
//!
//! It never stands open to anybody else, not even for a moment: it is bound in a folder that only its owner can enter, and moved into its
//! place once its mode is 0600, over whatever a process that died left there. Whoever connects must be root or the home's owner, as the
//! kernel says. A socket's path has at most 107 bytes, and a home's may have more: paths go through `/proc/self/fd`.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::DuplexStream;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::lines;
use super::lobby::Lobby;
use super::session::{Connection, Newcomer};
use super::tcp::refused_by_the_system;
use crate::api::{Dispatcher, Door, Principal};
use crate::config::ServerConfig;

/// The socket's name under the home.
pub(crate) const NAME: &str = "control.sock";
/// The folder it is bound in.
const APART: &str = ".control";
/// What may be on its way in each direction between a process and its own engine.
const PIPE: usize = 64 << 10;

/// A socket that listens; its name is taken away when this is dropped.
pub(crate) struct Socket {
    path: PathBuf,
    inode: (u64, u64),
    listener: Option<StdListener>,
    owner: u32,
}

/// Begins to listen under a home whose lock is held.
pub(crate) fn listen(home: &Path) -> io::Result<Socket> {
    let apart = home.join(APART);
    remove_apart(&apart)?;
    DirBuilder::new().mode(0o700).create(&apart)?;
    let bound = bind(home, &apart);
    let removed = remove_apart(&apart);
    let socket = bound?;
    removed?;
    Ok(socket)
}

fn bind(home: &Path, apart: &Path) -> io::Result<Socket> {
    let listener = StdListener::bind(short(&File::open(apart)?))?;
    listener.set_nonblocking(true)?;
    let made = apart.join(NAME);
    fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    let metadata = fs::symlink_metadata(&made)?;
    let path = home.join(NAME);
    fs::rename(&made, &path)?;
    let inode = (metadata.dev(), metadata.ino());
    Ok(Socket { path, inode, listener: Some(listener), owner: fs::metadata(home)?.uid() })
}

/// Takes away what a process that died in the middle left.
fn remove_apart(apart: &Path) -> io::Result<()> {
    for left in [fs::remove_file(apart.join(NAME)), fs::remove_dir(apart)] {
        match left {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A way to the socket in a folder that is short enough, for as long as the folder is open.
fn short(folder: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(NAME)
}

/// Connects to whoever owns a home.
///
/// # Errors
/// Of the system: [`io::ErrorKind::NotFound`] or [`io::ErrorKind::ConnectionRefused`] where nobody listens.
pub(crate) async fn connect(home: &Path) -> io::Result<UnixStream> {
    let folder = File::open(home)?;
    UnixStream::connect(short(&folder)).await
}

impl Socket {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What listens, for somebody who speaks something else there than lines of commands; once.
    pub(crate) fn listener(&mut self) -> io::Result<UnixListener> {
        let listener = self.listener.take().ok_or(io::ErrorKind::NotConnected)?;
        UnixListener::from_std(listener)
    }

    /// Whether whoever connected may speak here: root, and who owns the home.
    pub(crate) fn admits(&self, stream: &UnixStream) -> bool {
        let Ok(peer) = stream.peer_cred() else { return false };
        let admitted = peer.uid() == 0 || peer.uid() == self.owner;
        if !admitted {
            tracing::warn!(uid = peer.uid(), "a process of another user connected to the socket, and was sent away");
        }
        admitted
    }

    /// Takes connections until it is told to stop, and then waits for those that are open.
    pub(super) async fn serve(mut self, lobby: Arc<Lobby>, mut stop: watch::Receiver<bool>) {
        let Some(Ok(listener)) = self.listener.take().map(UnixListener::from_std) else {
            tracing::error!(path = %self.path.display(), "the socket cannot be listened on");
            return;
        };
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.admit(&mut connections, stream, &lobby),
                Err(error) => refused_by_the_system("socket", &error).await,
            }
        }
        drop((listener, self));
        while connections.join_next().await.is_some() {}
    }

    fn admit(&self, connections: &mut JoinSet<()>, stream: UnixStream, lobby: &Arc<Lobby>) {
        let (true, Ok(peer)) = (self.admits(&stream), stream.peer_cred()) else { return };
        let source = peer.pid().map_or_else(|| "pid=?".to_owned(), |pid| format!("pid={pid}"));
        let newcomer = Newcomer::Known(Principal::local(peer.uid()));
        match Connection::open(lobby, Door::Socket, source, newcomer) {
            Ok((visit, queue)) => {
                connections.spawn(async move {
                    lines::speak(stream, visit.connection.clone(), queue, None).await;
                });
            }
            Err(error) => {
                let mut stream = stream;
                connections.spawn(async move {
                    let _ = lines::turn_away(&mut stream, &error).await;
                });
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket cannot be removed");
        }
    }
}

/// The same connection to an engine of the process's own, without any socket.
pub(crate) fn in_process(dispatcher: Dispatcher) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let data_plane = dispatcher.engine().data_plane().clone();
    let lobby = Lobby::new(dispatcher, ServerConfig::default());
    let newcomer = Newcomer::Known(Principal::local(rustix::process::getuid().as_raw()));
    let source = format!("pid={}", std::process::id());
    // There is a place: nobody else is in this lobby.
    if let Ok((visit, queue)) = Connection::open(&lobby, Door::Handle, source, newcomer) {
        data_plane.spawn(async move {
            lines::speak(theirs, visit.connection.clone(), queue, None).await;
        });
    }
    ours
}
