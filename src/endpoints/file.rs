//! `file://`: a folder of this machine, or one that is mounted here.
//!
//! Not by OpenDAL: its writer syncs the file, but not the folders in which the file's name is, so that a power failure could take back what
//! was reported as kept; and it follows links.
//!
//! The folder itself is never made: where a mount is missing, what lies below the mount point must not fill up instead. Below it every
//! step is taken from an open folder and follows no link, so that somebody who can write there cannot lead a name elsewhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use uuid::Uuid;

use super::tree::{self, Child, Folders, MOST_CHILDREN};
use super::{
    Answer, ByteStream, ErrorKind, Existing, ObjectName, PARTIAL, Page, Prefix, Put, Range, Source, Stat, Store,
    StoreError,
};

/// Size of a piece that is read, in bytes.
const READ: usize = 256 << 10;
/// How often a folder is made again that somebody else takes away at the same time.
const TRIES: usize = 5;

/// A folder.
#[derive(Clone)]
pub struct FileStore {
    root: Arc<PathBuf>,
}

impl FileStore {
    /// A store in this folder, which must be there when it is used.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root: Arc::new(root) }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        doing: String,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let root = self.root.clone();
        match tokio::task::spawn_blocking(move || work(&root)).await {
            Ok(done) => done.map_err(|error| StoreError::io(doing, &error)),
            Err(_) => Err(StoreError::new(ErrorKind::Fatal, doing, "the thread that did it has ended")),
        }
    }

    async fn send(&self, name: &ObjectName, source: &dyn Source, put: &Put) -> Result<u64, StoreError> {
        let doing = || format!("write {name}");
        let mut stream = source.open().await?;
        let (mut file, partial) = self.blocking(doing(), Partial::make).await?;
        let mut written = 0;
        while let Some(bytes) = stream.try_next().await? {
            file.write_all(&bytes).await.map_err(|error| StoreError::io(doing(), &error))?;
            written += bytes.len() as u64;
            put.meter.reached(written);
        }
        file.sync_all().await.map_err(|error| StoreError::io(doing(), &error))?;
        let (name, existing) = (name.clone(), put.existing);
        self.blocking(doing(), move |root| partial.become_whole(root, &name, existing)).await?;
        put.meter.beat();
        Ok(written)
    }
}

/// A file that is not whole yet. Dropped, it is taken away.
struct Partial {
    folder: OwnedFd,
    name: String,
}

impl Partial {
    fn make(root: &Path) -> io::Result<(tokio::fs::File, Self)> {
        let folder = folder(root, PARTIAL, true)?;
        let name = Uuid::now_v7().to_string();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, &name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok((tokio::fs::File::from_std(File::from(file)), Self { folder, name }))
    }

    /// Its name from now on, in one step and safe from power loss.
    fn become_whole(self, root: &Path, name: &ObjectName, existing: Existing) -> io::Result<()> {
        let last = name.as_str().rsplit('/').next().unwrap_or_default();
        let mut tries = 0;
        loop {
            let target = folder(root, name.folder(), true)?;
            let renamed = match existing {
                Existing::Replace => rustix::fs::renameat(&self.folder, &self.name, &target, last),
                Existing::Refuse => {
                    let flags = RenameFlags::NOREPLACE;
                    match rustix::fs::renameat_with(&self.folder, &self.name, &target, last, flags) {
                        // Some file systems cannot do that. A second name is refused where there is one; the first one goes by the drop.
                        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                            rustix::fs::linkat(&self.folder, &self.name, &target, last, AtFlags::empty())
                        }
                        renamed => renamed,
                    }
                }
            };
            match renamed {
                // Whoever deletes takes empty folders away.
                Err(rustix::io::Errno::NOENT) if tries < TRIES => tries += 1,
                renamed => {
                    renamed?;
                    return Ok(rustix::fs::fsync(&target)?);
                }
            }
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Not there any more where it became whole.
        let _ = rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty());
    }
}

/// A folder below the root, step by step. Where it is made, its name is safe before this returns.
fn folder(root: &Path, path: &str, make: bool) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(root, flags, Mode::empty()).map_err(|error| {
        let error = io::Error::from(error);
        let why = format!("the folder {} cannot be opened: {error}; make it, or mount it", root.display());
        // Nothing under this name is another thing than no folder for all names.
        io::Error::new(if error.kind() == io::ErrorKind::NotFound { io::ErrorKind::Other } else { error.kind() }, why)
    })?;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let open = |at: &OwnedFd| rustix::fs::openat(at, segment, flags | OFlags::NOFOLLOW, Mode::empty());
        at = match open(&at) {
            Err(rustix::io::Errno::NOENT) if make => {
                match rustix::fs::mkdirat(&at, segment, Mode::RWXU) {
                    Err(rustix::io::Errno::EXIST) => {}
                    made => made?,
                }
                rustix::fs::fsync(&at)?;
                open(&at)?
            }
            opened => opened?,
        };
    }
    Ok(at)
}

fn open_file(root: &Path, name: &ObjectName) -> io::Result<(File, std::fs::Metadata)> {
    let at = folder(root, name.folder(), false)?;
    let last = name.as_str().rsplit('/').next().unwrap_or_default();
    // Without NONBLOCK a pipe would be waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(at, last, flags, Mode::empty())?);
    let meta = file.metadata()?;
    if meta.is_file() { Ok((file, meta)) } else { Err(io::Error::new(io::ErrorKind::NotFound, "it is no file")) }
}

fn children(root: &Path, path: &str) -> io::Result<Vec<Child>> {
    let at = match folder(root, path, false) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        at => at?,
    };
    let mut children = Vec::new();
    for entry in Dir::read_from(&at)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name == "." || name == ".." {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => children.push(Child::Folder(name.to_owned())),
            FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                children.push(Child::File { name: name.to_owned(), size, modified: time(stat.st_mtime) });
            }
            _ => {}
        }
        if children.len() > MOST_CHILDREN {
            return Err(io::Error::other("there are too many files in one folder"));
        }
    }
    Ok(children)
}

fn time(seconds: i64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

fn delete(root: &Path, name: &ObjectName) -> io::Result<()> {
    let last = name.as_str().rsplit('/').next().unwrap_or_default();
    let gone = |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    let at = match folder(root, name.folder(), false) {
        Err(error) if gone(&error) => return Ok(()),
        at => at?,
    };
    match rustix::fs::unlinkat(&at, last, AtFlags::empty()) {
        Err(rustix::io::Errno::NOENT) => {}
        unlinked => {
            unlinked?;
            rustix::fs::fsync(&at)?;
        }
    }
    // Folders are only there for the names in them.
    let mut path = name.folder();
    while !path.is_empty() {
        let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
        let Ok(at) = folder(root, above, false) else { break };
        if rustix::fs::unlinkat(at.as_fd(), last, AtFlags::REMOVEDIR).is_err() {
            break;
        }
        path = above;
    }
    Ok(())
}

fn sweep(root: &Path, older_than: Duration) -> io::Result<u64> {
    let limit = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut swept = 0;
    for child in children(root, PARTIAL)? {
        if let Child::File { name, modified, .. } = child
            && modified.is_some_and(|modified| modified <= limit)
        {
            rustix::fs::unlinkat(folder(root, PARTIAL, false)?, &name, AtFlags::empty())?;
            swept += 1;
        }
    }
    Ok(swept)
}

impl Folders for FileStore {
    fn children<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Child>> {
        let path = folder.to_owned();
        Box::pin(self.blocking(super::tree::listing(folder), move |root| children(root, &path)))
    }
}

impl Store for FileStore {
    fn put<'a>(&'a self, name: &'a ObjectName, source: &'a dyn Source, put: &'a Put) -> Answer<'a, u64> {
        Box::pin(self.send(name, source, put))
    }

    fn get<'a>(&'a self, name: &'a ObjectName, range: Range) -> Answer<'a, ByteStream> {
        Box::pin(async move {
            let doing = format!("read {name}");
            let wanted = name.clone();
            let (file, meta) = self.blocking(doing.clone(), move |root| open_file(root, &wanted)).await?;
            if range.from > meta.len() {
                let why = format!("it has {} bytes, and byte {} is asked for", meta.len(), range.from);
                return Err(StoreError::new(ErrorKind::Fatal, doing, why));
            }
            let mut file = tokio::fs::File::from_std(file);
            let failed = move |error: &io::Error| StoreError::io(doing.clone(), error);
            file.seek(io::SeekFrom::Start(range.from)).await.map_err(|error| failed(&error))?;
            let left = range.length.unwrap_or(u64::MAX);
            Ok(stream::try_unfold((file, left, failed), |(mut file, left, failed)| async move {
                let mut piece = BytesMut::with_capacity(usize::try_from(left).unwrap_or(READ).min(READ));
                if left == 0 {
                    return Ok(None);
                }
                let read = (&mut file).take(left.min(READ as u64)).read_buf(&mut piece).await;
                match read.map_err(|error| failed(&error))? {
                    0 => Ok(None),
                    read => Ok(Some((Bytes::from(piece), (file, left - read as u64, failed)))),
                }
            })
            .boxed())
        })
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, Stat> {
        let wanted = name.clone();
        Box::pin(self.blocking(format!("look at {name}"), move |root| {
            let (_, meta) = open_file(root, &wanted)?;
            Ok(Stat { size: meta.len(), modified: meta.modified().ok(), sha256: None })
        }))
    }

    fn list<'a>(&'a self, prefix: &'a Prefix, after: Option<&'a ObjectName>, most: usize) -> Answer<'a, Page> {
        Box::pin(tree::list(self, prefix, after, most))
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Answer<'a, ()> {
        let wanted = name.clone();
        Box::pin(self.blocking(format!("delete {name}"), move |root| delete(root, &wanted)))
    }

    fn sweep(&self, older_than: Duration) -> Answer<'_, u64> {
        Box::pin(self.blocking("sweep".into(), move |root| sweep(root, older_than)))
    }
}
