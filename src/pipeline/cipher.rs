//! Out of an encrypted file, at any place of it.
//!
//! What age encrypts is a header and a row of chunks of 64 KiB, each with a tag of 16 bytes that covers its place and whether it is the
//! last. So where a byte of the packed form lies is reckoned from the file's size; a chunk that was changed, moved or cut off is found by
//! whoever reads it; and reading a range reads the chunks it lies in.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::StreamReader;
use holdfast_model::ids;
use sha2::{Digest, Sha256};

use super::error::PipelineError;
use super::source::Source;
use crate::encryption::FileKey;

/// Longest header read, in bytes: some hundreds of recipients.
const MAX_HEADER: usize = 64 << 10;
/// Random bytes between the header and the first chunk.
const NONCE: u64 = 16;
/// A chunk's plain bytes, and what its tag adds.
const CHUNK: u64 = 64 << 10;
const TAG: u64 = 16;

/// How the stored bytes of a file become packed ones.
#[derive(Clone)]
pub(crate) enum Cipher {
    /// They are the same.
    None,
    /// By a key that is not at hand: the stored bytes can be hashed, and nothing else.
    Locked,
    /// By this key.
    Key(Arc<FileKey>),
}

/// The header of an encrypted file, with the nonce after it.
///
/// # Errors
/// [`PipelineError::Altered`] where it has none.
pub(crate) fn header(file: &File, path: &Path) -> Result<Vec<u8>, PipelineError> {
    let mut text = vec![0; MAX_HEADER];
    let mut have = 0;
    while have < text.len() {
        let room = text.get_mut(have..).unwrap_or_default();
        match file.read_at(room, have as u64).map_err(PipelineError::io("read", path))? {
            0 => break,
            count => have += count,
        }
    }
    text.truncate(have);
    let bad = || PipelineError::altered(path, "it does not begin as an encrypted file does");
    if !text.starts_with(b"age-encryption.org/") {
        return Err(bad());
    }
    let mac = text.windows(5).position(|window| window == b"\n--- ").ok_or_else(bad)?;
    let end = text.iter().skip(mac + 1).position(|byte| *byte == b'\n').ok_or_else(bad)?;
    let end = mac + 1 + end + 1 + NONCE as usize;
    if end > text.len() {
        return Err(bad());
    }
    text.truncate(end);
    Ok(text)
}

/// How many packed bytes an encrypted file of `size` bytes holds after a header of `header` bytes.
pub(crate) fn packed_bytes(size: u64, header: u64, path: &Path) -> Result<u64, PipelineError> {
    let cut = || PipelineError::altered(path, "it ends in the middle of an encrypted chunk");
    let chunks = size.checked_sub(header).filter(|left| *left >= TAG).ok_or_else(cut)?;
    let count = chunks.div_ceil(CHUNK + TAG);
    let last = chunks - (count - 1) * (CHUNK + TAG);
    if last < TAG {
        return Err(cut());
    }
    Ok(chunks - count * TAG)
}

/// The packed bytes of an encrypted file.
pub(crate) struct Decrypted {
    reader: StreamReader<BufReader<Ciphertext>>,
    at: u64,
    seen: Arc<Mutex<Seen>>,
    path: Arc<Path>,
}

impl Decrypted {
    /// Reads the header; the key is the header's or it is refused.
    pub(crate) fn open(
        file: Arc<File>,
        path: &Arc<Path>,
        key: &FileKey,
        bytes_read: Arc<AtomicU64>,
    ) -> Result<Self, PipelineError> {
        // Bounded before the library reads it.
        header(&file, path)?;
        let seen = Arc::<Mutex<Seen>>::default();
        let stored = Ciphertext { file, at: 0, bytes_read, seen: seen.clone() };
        let opened = age::Decryptor::new_buffered(BufReader::with_capacity(CHUNK as usize, stored))
            .and_then(|decryptor| decryptor.decrypt(std::iter::once(key as &dyn age::Identity)));
        match opened {
            Ok(reader) => Ok(Self { reader, at: 0, seen, path: path.clone() }),
            Err(error) => Err(PipelineError::altered(path, format!("its header cannot be read: {error}"))),
        }
    }

    /// Reads exactly `part` of the packed bytes.
    pub(crate) fn read_at(&mut self, part: &mut [u8], offset: u64) -> Result<(), PipelineError> {
        if part.is_empty() {
            return Ok(());
        }
        if offset != self.at {
            self.reader.seek(SeekFrom::Start(offset)).map_err(|error| bad(&self.path, error))?;
            self.at = offset;
        }
        self.reader.read_exact(part).map_err(|error| bad(&self.path, error))?;
        self.at += part.len() as u64;
        Ok(())
    }

    /// Hash and count of all stored bytes, after all packed ones were read in order: the last chunk is known to be the last.
    pub(crate) fn finish(mut self) -> Result<(ids::Sha256, u64), PipelineError> {
        let more = self.reader.read(&mut [0]).map_err(|error| bad(&self.path, error))?;
        if more > 0 {
            return Err(PipelineError::altered(&self.path, "it holds more than what was stored"));
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((ids::Sha256(seen.hash.clone().finalize().into()), seen.bytes))
    }
}

/// An encrypted file's own bytes, hashed as far as they are read in order.
struct Ciphertext {
    file: Arc<File>,
    at: u64,
    bytes_read: Arc<AtomicU64>,
    seen: Arc<Mutex<Seen>>,
}

/// What was read of it in order, from its first byte on.
#[derive(Default)]
struct Seen {
    hash: Sha256,
    bytes: u64,
}

impl Read for Ciphertext {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(bytes, self.at)?;
        self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if self.at == seen.bytes {
            seen.hash.update(bytes.get(..count).unwrap_or_default());
            seen.bytes += count as u64;
        }
        drop(seen);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Ciphertext {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let beyond = || io::Error::new(io::ErrorKind::InvalidInput, "before the start of the file");
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.at = at.ok_or_else(beyond)?;
        Ok(self.at)
    }
}

/// What age says of a chunk is damage; what the file system says is not.
fn bad(path: &Path, error: io::Error) -> PipelineError {
    match error.raw_os_error() {
        Some(_) => PipelineError::io("read", path)(error),
        None => PipelineError::altered(path, format!("it cannot be decrypted: {error}")),
    }
}

/// Packed bytes at any place of a file, encrypted or not. Each reader of a file has one of its own, opened at its first read.
pub(crate) struct Input(Option<Box<Decrypted>>);

impl Input {
    pub(crate) fn new() -> Self {
        Self(None)
    }

    /// Reads exactly `part`.
    pub(crate) fn read_at(&mut self, source: &Source, part: &mut [u8], offset: u64) -> Result<(), PipelineError> {
        match &source.cipher {
            Cipher::None => source.read_at(part, offset),
            Cipher::Locked => Err(locked(&source.path)),
            Cipher::Key(key) => self.decrypted(source, key)?.read_at(part, offset),
        }
    }

    /// Hash and count of all stored bytes, where they are encrypted: else whoever reads them takes it.
    pub(crate) fn finish(mut self, source: &Source) -> Option<Result<(ids::Sha256, u64), PipelineError>> {
        match &source.cipher {
            Cipher::None => None,
            Cipher::Locked => Some(Err(locked(&source.path))),
            // One without any packed byte was not opened yet.
            Cipher::Key(key) => Some(match self.decrypted(source, key) {
                Ok(_) => self.0.map_or_else(|| Err(locked(&source.path)), |opened| opened.finish()),
                Err(error) => Err(error),
            }),
        }
    }

    fn decrypted(&mut self, source: &Source, key: &FileKey) -> Result<&mut Decrypted, PipelineError> {
        match &mut self.0 {
            Some(opened) => Ok(opened),
            empty => {
                let opened = Decrypted::open(source.file.clone(), &source.path, key, source.bytes_read.clone())?;
                Ok(empty.insert(Box::new(opened)))
            }
        }
    }
}

pub(crate) fn locked(path: &Path) -> PipelineError {
    PipelineError::Locked { path: path.to_owned() }
}
