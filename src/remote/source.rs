//! A file of a run directory on its way out: hashed while it is read, and stopped before its end where it is not as recorded.
//!
//! The last piece is held back until the hash of the whole is known. So what was damaged here never becomes whole there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdfast_model::ids::Sha256;
use rustix::fs::OFlags;
use sha2::Digest;

use super::SeekableSource;
use super::lists::MAX_LIST;
use crate::endpoints::{Answer, ByteStream, Bytewise, ErrorKind, Source, StoreError};

/// Size of a piece that is read, in bytes.
const READ: usize = 256 << 10;

/// A file as it was recorded.
#[derive(Debug, Clone)]
pub(super) struct RecordedFile {
    pub(super) path: PathBuf,
    pub(super) size_bytes: u64,
    pub(super) sha256: Sha256,
}

/// It while it is read.
struct Reading {
    file: File,
    recorded: RecordedFile,
    hash: sha2::Sha256,
    read: u64,
}

impl RecordedFile {
    fn refuse(&self, why: impl std::fmt::Display) -> StoreError {
        StoreError::new(ErrorKind::Source, format!("send {}", self.path.display()), why.to_string())
    }

    fn start(self) -> Result<Reading, StoreError> {
        let file = open(&self.path).map_err(|error| self.refuse(error))?;
        let found = file.metadata().map_err(|error| self.refuse(error))?.len();
        if found != self.size_bytes {
            return Err(self.refuse(format!("not as recorded: it has {found} bytes and not {}", self.size_bytes)));
        }
        Ok(Reading { file, recorded: self, hash: sha2::Sha256::new(), read: 0 })
    }
}

impl Reading {
    /// The next piece; an empty one at the end. Blocks.
    fn next(&mut self) -> Result<Bytes, StoreError> {
        let left = self.recorded.size_bytes - self.read;
        let length = usize::try_from(left).unwrap_or(READ).min(READ);
        let mut piece = vec![0; length];
        self.file.read_exact(&mut piece).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.recorded.refuse("not as recorded: it was cut while it was read"),
            _ => self.recorded.refuse(error),
        })?;
        self.hash.update(&piece);
        self.read += piece.len() as u64;
        if self.read == self.recorded.size_bytes {
            let found = Sha256(self.hash.clone().finalize().into());
            if found != self.recorded.sha256 {
                return Err(self.recorded.refuse("not as recorded: its SHA-256 is another one"));
            }
        }
        Ok(piece.into())
    }

    /// The next piece from `offset` on; what is before it is read for the hash alone. Blocks.
    fn next_from(&mut self, offset: u64) -> Result<Bytes, StoreError> {
        loop {
            let before = self.read;
            let mut piece = self.next()?;
            if piece.is_empty() || self.read > offset {
                let skipped = usize::try_from(offset.saturating_sub(before)).unwrap_or(usize::MAX).min(piece.len());
                return Ok(piece.split_off(skipped));
            }
        }
    }
}

/// A regular file and no link. Without NONBLOCK a pipe would be waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// One of the lists of a run directory. Blocks.
pub(super) fn list(run_dir: &Path, name: &str) -> Result<Bytes, StoreError> {
    let path = run_dir.join(name);
    let refuse = |why: String| StoreError::new(ErrorKind::Source, format!("read {}", path.display()), why);
    let file = open(&path).map_err(|error| refuse(error.to_string()))?;
    let mut text = Vec::new();
    file.take(MAX_LIST + 1).read_to_end(&mut text).map_err(|error| refuse(error.to_string()))?;
    if text.len() as u64 > MAX_LIST {
        return Err(refuse("it is too long".into()));
    }
    Ok(text.into())
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let broken =
        |_| Err(StoreError::new(ErrorKind::Source, "read or write a file", "the thread that did it has ended"));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(broken)
}

impl SeekableSource for RecordedFile {
    fn open_at(&self, offset: u64) -> Answer<'_, ByteStream> {
        let recorded = self.clone();
        Box::pin(async move {
            let reading = blocking(move || recorded.start()).await?;
            let pieces = stream::try_unfold(reading, move |mut reading| async move {
                let (piece, reading) = blocking(move || Ok((reading.next_from(offset)?, reading))).await?;
                Ok((!piece.is_empty()).then_some((piece, reading)))
            });
            Ok(pieces.boxed())
        })
    }
}

impl Source for RecordedFile {
    fn open(&self) -> Answer<'_, ByteStream> {
        self.open_at(0)
    }

    fn length(&self) -> Option<u64> {
        Some(self.size_bytes)
    }
}

impl SeekableSource for Bytewise {
    fn open_at(&self, offset: u64) -> Answer<'_, ByteStream> {
        let rest = usize::try_from(offset).ok().filter(|offset| *offset <= self.0.len());
        let rest = Bytewise(rest.map(|offset| self.0.slice(offset..)).unwrap_or_default());
        Box::pin(async move { rest.open().await })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use futures_util::TryStreamExt;

    use super::*;

    async fn read(file: &RecordedFile, offset: u64) -> Result<Vec<u8>, StoreError> {
        let stream = file.open_at(offset).await?;
        stream
            .try_fold(Vec::new(), |mut all, piece| async move {
                all.extend_from_slice(&piece);
                Ok(all)
            })
            .await
    }

    #[tokio::test]
    async fn a_file_is_read_from_anywhere_and_refused_where_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lz4");
        let bytes: Vec<u8> = (0..READ * 2 + 77).map(|n| (n * 7 % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let sha256 = Sha256(sha2::Sha256::digest(&bytes).into());
        let mut file = RecordedFile { path: path.clone(), size_bytes: bytes.len() as u64, sha256 };
        for offset in [0, 1, READ, READ + 5, READ * 2, READ * 2 + 76, READ * 2 + 77] {
            assert_eq!(read(&file, offset as u64).await.unwrap(), bytes[offset..], "{offset}");
        }
        file.sha256 = Sha256([1; 32]);
        for offset in [0, READ as u64 * 2 + 1] {
            let stream = file.open_at(offset).await.unwrap();
            let got: Vec<Result<Bytes, StoreError>> = stream.collect().await;
            let came: usize = got.iter().flatten().map(Bytes::len).sum();
            assert!(came + (offset as usize) < bytes.len(), "the last piece is held back");
            let error = got.last().unwrap().as_ref().unwrap_err();
            assert!(error.kind() == ErrorKind::Source && error.to_string().contains("not as recorded"), "{error}");
        }
        file.size_bytes += 1;
        assert_eq!(read(&file, 0).await.unwrap_err().kind(), ErrorKind::Source);
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        file.path = folder.path().join("link");
        assert_eq!(read(&file, 0).await.unwrap_err().kind(), ErrorKind::Source, "a link is not followed");
    }
}
