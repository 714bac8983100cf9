//! What is sent while it is written: a file that grows here, or a pipe from whoever writes.
//!
//! The last piece of a file is held back until the file has its name and its hash is that of what was read: what fails here never becomes
//! whole there.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdfast_model::ids::Sha256;
use sha2::Digest;
use tokio::sync::mpsc;

use super::source::blocking;
use super::{GrowingSource, SeekableSource};
use crate::endpoints::{Answer, ByteStream, ErrorKind, Source, StoreError};
use crate::pipeline::{Growing, Growth, Whole};

/// Size of a piece that is read, in bytes.
const READ: u64 = 256 << 10;

/// A file of a run that is being written.
#[derive(Debug, Clone)]
pub(crate) struct GrowingFile {
    growing: Growing,
    name: String,
}

impl GrowingFile {
    pub(crate) fn new(growing: Growing, name: String) -> Self {
        Self { growing, name }
    }
}

/// It while it is read.
struct Reading {
    file: GrowingFile,
    hash: sha2::Sha256,
    read: u64,
    /// What was read and is not given yet.
    held: Option<Bytes>,
}

impl Reading {
    fn refuse(&self, why: impl Into<String>) -> StoreError {
        StoreError::new(ErrorKind::Source, format!("send {} while it is written", self.file.name), why)
    }

    /// The next piece; none at the end.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        loop {
            let (there, whole) = match self.file.growing.beyond(self.read).await {
                Growth::Writing(written) => (written, None),
                Growth::Whole(whole) => (whole.bytes, Some(whole)),
                Growth::Gone => return Err(self.refuse("its participant did not finish it")),
            };
            if let Some(whole) = whole.filter(|whole| whole.bytes <= self.read) {
                if whole.bytes != self.read || Sha256(self.hash.clone().finalize().into()) != whole.sha256 {
                    return Err(self.refuse("what was read is not what was written: the disk is not to be trusted"));
                }
                let last = self.held.take();
                return Ok(last.map(|last| (last, self)));
            }
            let length = usize::try_from((there - self.read).min(READ)).unwrap_or(0);
            let (growing, at, mut hash) = (self.file.growing.clone(), self.read, self.hash.clone());
            let read = blocking(move || {
                let mut piece = vec![0; length];
                growing
                    .read_at(&mut piece, at)
                    .map(|()| {
                        hash.update(&piece);
                        (Bytes::from(piece), hash)
                    })
                    .map_err(|error| StoreError::new(ErrorKind::Source, "read what is written", error.to_string()))
            });
            let (piece, hash) = read.await?;
            self.hash = hash;
            self.read += piece.len() as u64;
            if let Some(before) = self.held.replace(piece) {
                return Ok(Some((before, self)));
            }
        }
    }
}

impl Source for GrowingFile {
    fn open(&self) -> Answer<'_, ByteStream> {
        let reading = Reading { file: self.clone(), hash: sha2::Sha256::new(), read: 0, held: None };
        let pieces = stream::try_unfold(reading, Reading::next);
        Box::pin(std::future::ready(Ok(pieces.boxed())))
    }

    fn length(&self) -> Option<u64> {
        None
    }
}

impl SeekableSource for GrowingFile {
    /// From the start alone: whoever lost his place begins anew.
    fn open_at(&self, offset: u64) -> Answer<'_, ByteStream> {
        match offset {
            0 => self.open(),
            _ => Box::pin(std::future::ready(Err(again(&self.name)))),
        }
    }
}

impl GrowingSource for GrowingFile {
    fn whole(&self) -> Option<Whole> {
        match self.growing.growth() {
            Growth::Whole(whole) => Some(whole),
            Growth::Writing(_) | Growth::Gone => None,
        }
    }
}

/// Bytes that are kept nowhere here, as somebody writes them.
#[derive(Debug)]
pub(crate) struct Pipe {
    name: String,
    pieces: Mutex<Option<mpsc::Receiver<Bytes>>>,
    whole: Arc<OnceLock<Whole>>,
}

/// The side of a pipe that writes. Dropped before the whole was said, it fails whoever reads.
#[derive(Debug)]
pub(crate) struct PipeWriter {
    pub(crate) pieces: mpsc::Sender<Bytes>,
    whole: Arc<OnceLock<Whole>>,
}

impl PipeWriter {
    /// All of it was written.
    pub(crate) fn end(self, whole: Whole) {
        let _ = self.whole.set(whole);
    }
}

/// A pipe that holds so many pieces.
pub(crate) fn pipe(name: String, pieces: usize) -> (PipeWriter, Pipe) {
    let (sender, receiver) = mpsc::channel(pieces);
    let whole = Arc::<OnceLock<Whole>>::default();
    let writer = PipeWriter { pieces: sender, whole: whole.clone() };
    (writer, Pipe { name, pieces: Mutex::new(Some(receiver)), whole })
}

impl Source for Pipe {
    fn open(&self) -> Answer<'_, ByteStream> {
        let taken = self.pieces.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(pieces) = taken else { return Box::pin(std::future::ready(Err(again(&self.name)))) };
        let (whole, name) = (self.whole.clone(), self.name.clone());
        let stream = stream::unfold(Some((pieces, 0)), move |state| {
            let (whole, name) = (whole.clone(), name.clone());
            async move {
                let (mut pieces, sent) = state?;
                if let Some(piece) = pieces.recv().await {
                    let sent = sent + piece.len() as u64;
                    return Some((Ok(piece), Some((pieces, sent))));
                }
                match whole.get() {
                    Some(whole) if whole.bytes == sent => None,
                    _ => {
                        let doing = format!("send {name} while it is written");
                        let why = "its participant did not finish it";
                        Some((Err(StoreError::new(ErrorKind::Source, doing, why)), None))
                    }
                }
            }
        });
        Box::pin(std::future::ready(Ok(stream.boxed())))
    }

    fn length(&self) -> Option<u64> {
        None
    }
}

impl SeekableSource for Pipe {
    fn open_at(&self, offset: u64) -> Answer<'_, ByteStream> {
        match offset {
            0 => self.open(),
            _ => Box::pin(std::future::ready(Err(again(&self.name)))),
        }
    }
}

impl GrowingSource for Pipe {
    fn whole(&self) -> Option<Whole> {
        self.whole.get().copied()
    }
}

fn again(name: &str) -> StoreError {
    let why = "what was sent is not kept here, and cannot be sent again";
    StoreError::new(ErrorKind::Source, format!("send {name} while it is written"), why)
}
