//! `sftp://`: an SSH server with SFTP (draft-ietf-secsh-filexfer-02), by russh: with a password or a key, and without the system's `ssh`.
//!
//! One connection is kept and shared, and made again where it broke. Writes and reads go ahead of their answers by a few MiB, so that a long
//! way costs no throughput. The folder must be there; those below it are made.

mod known_hosts;
mod session;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, TryStreamExt, stream};
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use secrecy::SecretString;
use tokio::sync::Mutex;
use uuid::Uuid;

use self::session::{Session, status_of};
use super::address::SftpAddress;
use super::source::pieces;
use super::tree::{self, Child, Folders, MOST_CHILDREN};
use super::{
    Answer, ByteStream, ErrorKind, Existing, ObjectName, PARTIAL, Page, Prefix, Put, Range, Source, Stat, Store,
    StoreError,
};

/// Bytes of one write or read: what every server must take (draft-ietf-secsh-filexfer-02, section 3).
const BLOCK: u32 = 32 << 10;
/// Writes and reads that are under way at once: 2 MiB.
const AHEAD: usize = 64;

/// A folder of an SSH server.
pub struct SftpStore {
    far: Arc<session::Far>,
    session: Mutex<Option<Arc<Session>>>,
}

impl SftpStore {
    /// A store at this address. `limit` is how long each answer is waited for.
    #[must_use]
    pub fn new(address: SftpAddress, login: &str, password: SecretString, limit: Duration) -> Self {
        let far = session::Far { address, login: login.to_owned(), password, limit };
        Self { far: Arc::new(far), session: Mutex::new(None) }
    }

    /// The connection; a new one where there is none that works.
    async fn session(&self) -> Result<Arc<Session>, StoreError> {
        let mut kept = self.session.lock().await;
        if let Some(session) = kept.as_ref().filter(|session| session.works()) {
            return Ok(session.clone());
        }
        *kept = None;
        let session = Arc::new(Session::connect(&self.far).await?);
        *kept = Some(session.clone());
        Ok(session)
    }

    async fn send(&self, name: &ObjectName, source: &dyn Source, put: &Put) -> Result<u64, StoreError> {
        let session = self.session().await?;
        if put.existing == Existing::Replace && !session.can_replace {
            let why = "the server cannot replace a file in one step: it does not offer posix-rename@openssh.com";
            return Err(StoreError::new(ErrorKind::Fatal, format!("write {name}"), why));
        }
        let partial = session.path(&format!("{PARTIAL}/{}", Uuid::now_v7()));
        let sent = write(&session, &partial, name, source, put).await;
        let sent = match sent {
            Ok(bytes) => give_name(&session, &partial, name, put.existing).await.map(|()| bytes),
            Err(error) => Err(error),
        };
        if sent.is_err() && session.works() {
            let _ = session.raw.remove(partial).await;
        }
        put.meter.beat();
        sent
    }
}

async fn write(
    session: &Arc<Session>,
    partial: &str,
    name: &ObjectName,
    source: &dyn Source,
    put: &Put,
) -> Result<u64, StoreError> {
    let doing = || format!("write {name}");
    let mut stream = source.open().await?;
    let flags = OpenFlags::CREATE | OpenFlags::WRITE | OpenFlags::EXCLUDE;
    let open = || session.raw.open(partial, flags, permissions(0o600));
    let handle = match open().await {
        Err(error) if status_of(&error) == Some(StatusCode::NoSuchFile) => {
            session.make_folders(PARTIAL).await?;
            open().await
        }
        opened => opened,
    };
    let file = session.opened(handle.map_err(|error| session.failed(doing(), &error))?.handle);
    let (mut sent, mut acknowledged) = (0, 0);
    let mut under_way = FuturesUnordered::new();
    while let Some(bytes) = stream.try_next().await? {
        let mut blocks = std::pin::pin!(pieces(bytes));
        while let Some(piece) = blocks.next().await {
            for block in piece.chunks(BLOCK as usize) {
                let (length, at) = (block.len() as u64, sent);
                let written = session.raw.write(file.handle(), at, block.to_vec());
                under_way.push(async move { written.await.map(|_| length) });
                sent += length;
                while under_way.len() >= AHEAD {
                    acknowledged += settled(session, &doing, under_way.next().await).await?;
                    put.meter.reached(acknowledged);
                }
            }
        }
    }
    while acknowledged < sent {
        acknowledged += settled(session, &doing, under_way.next().await).await?;
        put.meter.reached(acknowledged);
    }
    drop(under_way);
    if session.can_sync {
        session.raw.fsync(file.handle()).await.map_err(|error| session.failed(doing(), &error))?;
        put.meter.beat();
    }
    file.close().await.map_err(|error| session.failed(doing(), &error))?;
    Ok(sent)
}

/// The length of a block that was written.
async fn settled(
    session: &Session,
    doing: &impl Fn() -> String,
    written: Option<Result<u64, russh_sftp::client::error::Error>>,
) -> Result<u64, StoreError> {
    match written {
        Some(Ok(length)) => Ok(length),
        // A full disk has no code of its own.
        Some(Err(error)) if status_of(&error) == Some(StatusCode::Failure) && session.is_full().await => {
            Err(StoreError::new(ErrorKind::Full, doing(), "there is no room on the server's disk"))
        }
        Some(Err(error)) => Err(session.failed(doing(), &error)),
        None => Err(StoreError::new(ErrorKind::Fatal, doing(), "an answer is missing")),
    }
}

async fn give_name(session: &Session, partial: &str, name: &ObjectName, existing: Existing) -> Result<(), StoreError> {
    let doing = || format!("write {name}");
    let target = session.path(name.as_str());
    for has_folder in [false, true] {
        let renamed = match existing {
            // The rename of the draft does not replace (section 6.5).
            Existing::Refuse => session.raw.rename(partial, target.as_str()).await.map(drop),
            Existing::Replace => session.posix_rename(partial, &target).await,
        };
        let error = match renamed {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match status_of(&error) {
            Some(StatusCode::NoSuchFile) if !has_folder => session.make_folders(name.folder()).await?,
            Some(StatusCode::Failure)
                if existing == Existing::Refuse && session.raw.lstat(target.as_str()).await.is_ok() =>
            {
                return Err(StoreError::new(ErrorKind::Exists, doing(), "something is there already"));
            }
            _ => return Err(session.failed(doing(), &error)),
        }
    }
    Err(StoreError::new(ErrorKind::Fatal, doing(), "its folder cannot be made"))
}

fn permissions(mode: u32) -> FileAttributes {
    FileAttributes { permissions: Some(mode), ..FileAttributes::empty() }
}

async fn stat(session: &Session, name: &ObjectName) -> Result<Stat, StoreError> {
    let doing = || format!("look at {name}");
    // Links are not followed.
    let attributes =
        session.raw.lstat(session.path(name.as_str())).await.map_err(|error| session.failed(doing(), &error))?;
    let attributes = attributes.attrs;
    if !attributes.file_type().is_file() {
        return Err(StoreError::new(ErrorKind::NotFound, doing(), "it is no file"));
    }
    let unsaid = || StoreError::new(ErrorKind::Fatal, doing(), "the server does not say how long it is");
    Ok(Stat { size: attributes.size.ok_or_else(unsaid)?, modified: attributes.modified().ok(), sha256: None })
}

/// A block, whole but for the end of the file.
async fn read_block(file: Arc<session::Opened>, name: ObjectName, from: u64, length: u32) -> Result<Bytes, StoreError> {
    let mut block = Vec::with_capacity(length as usize);
    while let Some(left) = length.checked_sub(block.len() as u32).filter(|left| *left > 0) {
        match file.session().raw.read(file.handle(), from + block.len() as u64, left).await {
            Ok(data) if data.data.len() <= left as usize && !data.data.is_empty() => {
                block.extend_from_slice(&data.data);
            }
            Ok(_) => {
                return Err(StoreError::new(
                    ErrorKind::Fatal,
                    format!("read {name}"),
                    "the server sends other than was asked for",
                ));
            }
            // Somebody cut it short meanwhile.
            Err(error) if status_of(&error) == Some(StatusCode::Eof) => {
                return Err(StoreError::new(ErrorKind::Retryable, format!("read {name}"), "it is shorter than it was"));
            }
            Err(error) => return Err(file.session().failed(format!("read {name}"), &error)),
        }
    }
    Ok(Bytes::from(block))
}

impl Folders for SftpStore {
    fn children<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Child>> {
        Box::pin(async move {
            let session = self.session().await?;
            let failed = |error: &_| session.failed(crate::endpoints::tree::listing(folder), error);
            let opened = match session.raw.opendir(session.path(folder)).await {
                Err(error) if !folder.is_empty() && status_of(&error) == Some(StatusCode::NoSuchFile) => {
                    return Ok(Vec::new());
                }
                opened => opened.map_err(|error| failed(&error))?,
            };
            let opened = session.opened(opened.handle);
            let mut children = Vec::new();
            loop {
                let files = match session.raw.readdir(opened.handle()).await {
                    Err(error) if status_of(&error) == Some(StatusCode::Eof) => break,
                    files => files.map_err(|error| failed(&error))?.files,
                };
                for file in files.into_iter().filter(|file| file.filename != "." && file.filename != "..") {
                    let kind = file.attrs.file_type();
                    if kind.is_dir() {
                        children.push(Child::Folder(file.filename));
                    } else if kind.is_file() {
                        let (size, modified) = (file.attrs.size.unwrap_or(0), file.attrs.modified().ok());
                        children.push(Child::File { name: file.filename, size, modified });
                    }
                }
                if children.len() > MOST_CHILDREN {
                    let why = "there are too many files in one folder";
                    return Err(StoreError::new(ErrorKind::Fatal, crate::endpoints::tree::listing(folder), why));
                }
            }
            Ok(children)
        })
    }
}

impl Store for SftpStore {
    fn put<'a>(&'a self, name: &'a ObjectName, source: &'a dyn Source, put: &'a Put) -> Answer<'a, u64> {
        Box::pin(self.send(name, source, put))
    }

    fn get<'a>(&'a self, name: &'a ObjectName, range: Range) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let doing = || format!("read {name}");
            let session = self.session().await?;
            let size = stat(&session, name).await?.size;
            if range.from > size {
                let why = format!("it has {size} bytes, and byte {} is asked for", range.from);
                return Err(StoreError::new(ErrorKind::Fatal, doing(), why));
            }
            let end = range.length.map_or(size, |length| range.from.saturating_add(length).min(size));
            let opened = session.raw.open(session.path(name.as_str()), OpenFlags::READ, FileAttributes::empty()).await;
            let file = Arc::new(session.opened(opened.map_err(|error| session.failed(doing(), &error))?.handle));
            let name = name.clone();
            let blocks = stream::iter((range.from..end).step_by(BLOCK as usize)).map(move |from| {
                let length = u32::try_from(end - from).unwrap_or(BLOCK).min(BLOCK);
                read_block(file.clone(), name.clone(), from, length)
            });
            Ok(blocks.buffered(AHEAD).boxed())
        })
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, Stat> {
        Box::pin(async move { stat(&*self.session().await?, name).await })
    }

    fn list<'a>(&'a self, prefix: &'a Prefix, after: Option<&'a ObjectName>, most: usize) -> Answer<'a, Page> {
        Box::pin(tree::list(self, prefix, after, most))
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, ()> {
        Box::pin(async move {
            let session = self.session().await?;
            match session.raw.remove(session.path(name.as_str())).await {
                Err(error) if status_of(&error) == Some(StatusCode::NoSuchFile) => {}
                removed => drop(removed.map_err(|error| session.failed(format!("delete {name}"), &error))?),
            }
            // Folders are only there for the names in them; one that holds something stays.
            let mut folder = name.folder();
            while !folder.is_empty() && session.raw.rmdir(session.path(folder)).await.is_ok() {
                folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
            }
            Ok(())
        })
    }

    fn sweep(&self, older_than: Duration) -> Answer<'_, u64> {
        Box::pin(async move {
            let limit = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
            let session = self.session().await?;
            let mut swept = 0;
            for child in self.children(PARTIAL).await? {
                if let Child::File { name, modified: Some(modified), .. } = child
                    && modified <= limit
                    && name.parse::<Uuid>().is_ok()
                {
                    match session.raw.remove(session.path(&format!("{PARTIAL}/{name}"))).await {
                        Err(error) if status_of(&error) == Some(StatusCode::NoSuchFile) => continue,
                        removed => drop(removed.map_err(|error| session.failed("sweep".into(), &error))?),
                    }
                    swept += 1;
                }
            }
            Ok(swept)
        })
    }
}
