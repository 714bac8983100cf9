//! A connection: the host is checked, the login is checked, and what the server offers is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russh::client::{self, AuthResult, Handle, Handler, KeyboardInteractiveAuthResponse};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{MethodKind, MethodSet, Preferred};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::client::{Config, RawSftpSession};
use russh_sftp::protocol::{Packet, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::known_hosts::KnownHosts;
use super::permissions;
use crate::endpoints::address::SftpAddress;
use crate::endpoints::{ErrorKind, StoreError};

/// Rounds of questions that a server may ask of a login.
const MOST_QUESTIONS: usize = 5;
/// How long a connection that broke may take to be seen as that.
const ENDING: Duration = Duration::from_millis(500);
/// A disk with less room than this is full, in bytes.
const FULL: u64 = 1 << 20;

/// The far side and who Holdfast is there.
pub(super) struct Far {
    pub(super) address: SftpAddress,
    pub(super) login: String,
    pub(super) password: SecretString,
    pub(super) limit: Duration,
}

/// A connection that is logged in.
pub(super) struct Session {
    pub(super) raw: RawSftpSession,
    pub(super) can_sync: bool,
    pub(super) can_replace: bool,
    can_say_room: bool,
    root: String,
    ssh: Handle<Host>,
    broken: AtomicBool,
}

/// The host's side of the handshake.
pub(super) struct Host {
    known: KnownHosts,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum HostError {
    #[error(transparent)]
    Untrusted(StoreError),
    #[error(transparent)]
    Ssh(#[from] russh::Error),
}

impl Handler for Host {
    type Error = HostError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, HostError> {
        // Of a certificate who signed it is not asked: its key is known by itself, or not at all.
        let key = shown.public_key();
        self.known.check(&key).map(|()| true).map_err(HostError::Untrusted)
    }
}

impl Session {
    /// Connects and logs in, within the limit for each step.
    pub(super) async fn connect(far: &Arc<Far>) -> Result<Self, StoreError> {
        let SftpAddress { host, port, .. } = &far.address;
        let doing = || format!("connect to {host}:{port}");
        let late =
            || StoreError::new(ErrorKind::Timeout, doing(), format!("no answer in {} s", far.limit.as_secs_f64()));
        let for_keys = far.clone();
        let read = tokio::task::spawn_blocking(move || {
            let address = &for_keys.address;
            KnownHosts::read(address.known_hosts.as_deref(), &address.host, address.port)
        });
        let known = read
            .await
            .map_err(|_| StoreError::new(ErrorKind::Fatal, doing(), "the thread that did it has ended"))??;
        let connecting = timeout(far.limit, TcpStream::connect((host.as_str(), *port))).await.map_err(|_| late())?;
        let socket = connecting.map_err(|error| StoreError::new(ErrorKind::Retryable, doing(), error.to_string()))?;
        let _ = socket.set_nodelay(true);
        let preferred = Preferred { key: known.preferred(&Preferred::DEFAULT.key).into(), ..Preferred::DEFAULT };
        let config = client::Config {
            preferred,
            keepalive_interval: Some(far.limit.max(Duration::from_secs(5))),
            keepalive_max: 2,
            ..client::Config::default()
        };
        let handshake = timeout(far.limit, client::connect_stream(Arc::new(config), socket, Host { known }));
        let mut ssh = handshake.await.map_err(|_| late())?.map_err(|error| match error {
            HostError::Untrusted(error) => error,
            HostError::Ssh(error) => ssh_failed(doing(), &error),
        })?;
        timeout(far.limit, far.log_in(&mut ssh)).await.map_err(|_| late())??;
        let open = async {
            let channel = ssh.channel_open_session().await?;
            channel.request_subsystem(true, "sftp").await?;
            Ok::<_, russh::Error>(channel)
        };
        let channel =
            timeout(far.limit, open).await.map_err(|_| late())?.map_err(|error| ssh_failed(doing(), &error))?;
        let seconds = far.limit.as_secs().max(1);
        let config = Config { request_timeout_secs: seconds, ..Config::default() };
        let raw = RawSftpSession::new_with_config(channel.into_stream(), config);
        let version = match raw.init().await {
            Ok(version) => version,
            Err(error) => {
                let (kind, why) = match error {
                    SftpError::Timeout => (ErrorKind::Timeout, "no answer"),
                    _ if has_ended(&mut ssh).await => (ErrorKind::Retryable, "the connection broke"),
                    _ => (ErrorKind::Fatal, "it has no SFTP for this login"),
                };
                return Err(StoreError::new(kind, doing(), why));
            }
        };
        let offers = |name: &str| version.extensions.contains_key(name);
        Ok(Self {
            can_sync: offers("fsync@openssh.com"),
            can_replace: offers("posix-rename@openssh.com"),
            can_say_room: offers("statvfs@openssh.com"),
            raw,
            root: far.address.root.clone(),
            ssh,
            broken: AtomicBool::new(false),
        })
    }

    /// Whether it can still be used.
    pub(super) fn works(&self) -> bool {
        !self.broken.load(Ordering::Relaxed) && !self.ssh.is_closed()
    }

    /// The path of a name; of the endpoint's folder where it is empty.
    pub(super) fn path(&self, name: &str) -> String {
        if name.is_empty() { self.root.clone() } else { format!("{}/{name}", self.root) }
    }

    /// What an error of SFTP means. A connection that failed is not used again.
    pub(super) fn failed(&self, doing: String, error: &SftpError) -> StoreError {
        let (kind, why) = match error {
            SftpError::Status(status) => match status.status_code {
                StatusCode::NoSuchFile => (ErrorKind::NotFound, "it is not there"),
                StatusCode::PermissionDenied => (ErrorKind::Denied, "the login may not do it"),
                StatusCode::OpUnsupported => (ErrorKind::Fatal, "the server cannot do it"),
                StatusCode::NoConnection | StatusCode::ConnectionLost => (ErrorKind::Retryable, "the connection broke"),
                _ => (ErrorKind::Fatal, "the server says failure and no reason"),
            },
            SftpError::Timeout => (ErrorKind::Timeout, "no answer in time"),
            _ => (ErrorKind::Retryable, "the connection broke"),
        };
        if kind.retryable() {
            self.broken.store(true, Ordering::Relaxed);
        }
        StoreError::new(kind, doing, why)
    }

    /// Makes a folder and those above it, below the endpoint's own.
    pub(super) async fn make_folders(&self, path: &str) -> Result<(), StoreError> {
        let doing = || format!("make the folder {path}");
        if self.raw.stat(self.root.as_str()).await.is_err_and(|error| status_of(&error) == Some(StatusCode::NoSuchFile))
        {
            let why = format!("the folder {} is not there: make it", self.root);
            return Err(StoreError::new(ErrorKind::Fatal, doing(), why));
        }
        let mut made = String::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            made.push_str(if made.is_empty() { "" } else { "/" });
            made.push_str(segment);
            let at = self.path(&made);
            if let Err(error) = self.raw.mkdir(at.as_str(), permissions(0o700)).await {
                // One that is there is as good; a failure does not say so.
                let is_there = self.raw.lstat(at.as_str()).await.is_ok_and(|found| found.attrs.file_type().is_dir());
                if !is_there {
                    return Err(self.failed(doing(), &error));
                }
            }
        }
        Ok(())
    }

    /// Renames over what is there, in one step (OpenSSH, PROTOCOL, section 4.3).
    pub(super) async fn posix_rename(&self, from: &str, to: &str) -> Result<(), SftpError> {
        let mut data = Vec::new();
        for path in [from, to] {
            let length = u32::try_from(path.len()).map_err(|_| SftpError::Limited("a path is too long".into()))?;
            data.extend_from_slice(&length.to_be_bytes());
            data.extend_from_slice(path.as_bytes());
        }
        match self.raw.extended("posix-rename@openssh.com", data).await? {
            Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
            Packet::Status(status) => Err(status.into()),
            _ => Err(SftpError::UnexpectedPacket),
        }
    }

    /// Whether the server's disk is full, where it can say so.
    pub(super) async fn is_full(&self) -> bool {
        if !self.can_say_room {
            return false;
        }
        let room = self.raw.statvfs(self.root.as_str()).await;
        room.is_ok_and(|room| room.blocks_avail.saturating_mul(room.fragment_size) < FULL || room.inodes_avail == 0)
    }

    /// A handle that is closed when it is dropped.
    pub(super) fn opened(self: &Arc<Self>, handle: String) -> Opened {
        Opened { session: self.clone(), handle: Some(handle) }
    }
}

/// An open file or folder.
pub(super) struct Opened {
    session: Arc<Session>,
    handle: Option<String>,
}

impl Opened {
    pub(super) fn handle(&self) -> String {
        self.handle.clone().unwrap_or_default()
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) async fn close(mut self) -> Result<(), SftpError> {
        match self.handle.take() {
            Some(handle) => self.session.raw.close(handle).await.map(drop),
            None => Ok(()),
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // A server lets so many be open at once; a stream that is dropped in the middle gives its own back.
        if let Some(handle) = self.handle.take()
            && self.session.works()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let session = self.session.clone();
            runtime.spawn(async move { session.raw.close(handle).await });
        }
    }
}

impl Far {
    async fn log_in(&self, ssh: &mut Handle<Host>) -> Result<(), StoreError> {
        let doing = || format!("log in at {}", self.address.host);
        let failed = |error: russh::Error| ssh_failed(doing(), &error);
        let refuse = |why: &str| StoreError::new(ErrorKind::Credentials, doing(), why);
        let password = self.password.expose_secret();
        if let Some(file) = &self.address.key_file {
            let secret = (!password.is_empty()).then_some(password);
            let key = load_secret_key(file, secret).map_err(|_| {
                let why =
                    "cannot be read: it must be there, be OpenSSH's or PKCS#8's form, and the password must decrypt it";
                refuse(&format!("the key {} {why}", file.display()))
            })?;
            let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
            return match ssh.authenticate_publickey(&self.login, key).await.map_err(failed)? {
                AuthResult::Success => Ok(()),
                AuthResult::Failure { remaining_methods, .. } => {
                    self.unless_broken(ssh, &remaining_methods).await?;
                    Err(refuse("the server does not take this key for this login"))
                }
            };
        }
        match ssh.authenticate_password(&self.login, password).await.map_err(failed)? {
            AuthResult::Success => Ok(()),
            AuthResult::Failure { remaining_methods, .. }
                if remaining_methods.contains(&MethodKind::KeyboardInteractive) =>
            {
                self.answer_questions(ssh).await
            }
            AuthResult::Failure { remaining_methods, .. } => {
                self.unless_broken(ssh, &remaining_methods).await?;
                Err(refuse("the server does not take this login and password"))
            }
        }
    }

    /// An error where a refusal is none of the server's: a connection that breaks looks like one that leaves no method to go on with.
    async fn unless_broken(&self, ssh: &mut Handle<Host>, remaining: &MethodSet) -> Result<(), StoreError> {
        if !remaining.is_empty() || !has_ended(ssh).await {
            return Ok(());
        }
        let why = "the connection ended before the server had said whether this login may come in";
        Err(StoreError::new(ErrorKind::Retryable, format!("log in at {}", self.address.host), why))
    }

    /// The password as the answer to each question (RFC 4256): how many servers ask for it.
    async fn answer_questions(&self, ssh: &mut Handle<Host>) -> Result<(), StoreError> {
        let doing = || format!("log in at {}", self.address.host);
        let failed = |error: russh::Error| ssh_failed(doing(), &error);
        let mut answer =
            ssh.authenticate_keyboard_interactive_start(&self.login, None::<String>).await.map_err(failed)?;
        for _ in 0..MOST_QUESTIONS {
            answer = match answer {
                KeyboardInteractiveAuthResponse::Success => return Ok(()),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, .. } => {
                    self.unless_broken(ssh, &remaining_methods).await?;
                    break;
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    let answers = prompts.iter().map(|_| self.password.expose_secret().to_owned()).collect();
                    ssh.authenticate_keyboard_interactive_respond(answers).await.map_err(failed)?
                }
            };
        }
        Err(StoreError::new(ErrorKind::Credentials, doing(), "the server does not take this login and password"))
    }
}

/// Whether the connection has ended, or ends now. It is not used any more afterwards.
async fn has_ended(ssh: &mut Handle<Host>) -> bool {
    timeout(ENDING, ssh).await.is_ok()
}

/// The code of an answer that is an error.
pub(super) fn status_of(error: &SftpError) -> Option<StatusCode> {
    match error {
        SftpError::Status(status) => Some(status.status_code),
        _ => None,
    }
}

fn ssh_failed(doing: String, error: &russh::Error) -> StoreError {
    let (kind, why) = match error {
        russh::Error::NoCommonAlgo { .. } => {
            (ErrorKind::Fatal, "the server has no algorithm that is still safe".to_owned())
        }
        russh::Error::ConnectionTimeout | russh::Error::KeepaliveTimeout => {
            (ErrorKind::Timeout, "no answer in time".into())
        }
        russh::Error::ChannelOpenFailure(_) | russh::Error::RequestDenied => {
            (ErrorKind::Denied, "the login has no right to open SFTP".into())
        }
        russh::Error::IO(error) => (ErrorKind::Retryable, error.to_string()),
        _ => (ErrorKind::Retryable, "the connection broke".into()),
    };
    StoreError::new(kind, doing, why)
}
