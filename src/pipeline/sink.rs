//! From the workers into the file: frames put back in order, hashed and written.
//!
//! The sink's thread neither takes credits nor waits for any thread that does, so what is compressed always gets written
//! and its memory comes back. After a failure or a revocation it goes on taking, and drops what it takes.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard};

use holdfast_model::ids::Sha256;

use super::control::ArtifactControl;
use super::course::Place;
use super::credits::Buffer;
use super::error::PipelineError;
use super::frame;
use super::index::{FrameLine, IndexWriter};
use super::outlet::{Outlet, Stored};
use super::strand::{HashStrand, Panicked};

/// A chunk's stored form with its place in the artifact.
pub(crate) struct Numbered {
    number: u64,
    packed: Result<Packed, PipelineError>,
}

pub(crate) struct Packed {
    pub(crate) stored: Arc<Buffer>,
    pub(crate) plain_bytes: usize,
    pub(crate) crc32: Option<u32>,
}

/// The duty to tell the sink about one chunk, whatever happens to the work on it.
pub(crate) struct Ticket {
    to_sink: Option<Sender<Numbered>>,
    number: u64,
    control: ArtifactControl,
}

impl Ticket {
    pub(crate) fn new(to_sink: Sender<Numbered>, number: u64, control: ArtifactControl) -> Self {
        Self { to_sink: Some(to_sink), number, control }
    }

    pub(crate) fn send(mut self, packed: Result<Packed, PipelineError>) {
        self.tell(packed);
    }

    pub(crate) fn send_encoded(
        self,
        encoded: Result<usize, frame::BadFrame>,
        mut stored: Buffer,
        plain_bytes: usize,
        crc32: Option<u32>,
    ) {
        let path = self.control.path().to_owned();
        self.send(match encoded {
            Ok(length) => {
                stored.advance(length);
                Ok(Packed { stored: Arc::new(stored), plain_bytes, crc32 })
            }
            Err(frame::BadFrame(reason)) => Err(PipelineError::Compress { path, reason }),
        });
    }

    fn tell(&mut self, packed: Result<Packed, PipelineError>) {
        if let Some(to_sink) = self.to_sink.take() {
            // A sink that is gone has said why.
            let _ = to_sink.send(Numbered { number: self.number, packed });
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tell(Err(PipelineError::WorkerPanicked { path: self.control.path().to_owned() }));
    }
}

/// The thread that writes.
pub(crate) struct Sink {
    out: Out,
    index: Arc<Mutex<IndexWriter>>,
    control: ArtifactControl,
    stored_offset: u64,
    plain_offset: u64,
}

/// Where the frames go.
pub(crate) enum Out {
    /// As they are; the pool hashes them.
    Plain(Place, HashStrand),
    /// Through age, which is one after the other anyway.
    Age(Outlet),
}

/// What the sink made.
pub(crate) struct Written {
    pub(crate) place: Place,
    /// Bytes of all frames, before encryption.
    pub(crate) packed_bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) sha256: Sha256,
}

impl Sink {
    pub(crate) fn new(out: Out, index: Arc<Mutex<IndexWriter>>, control: ArtifactControl) -> Self {
        Self { out, index, control, stored_offset: 0, plain_offset: 0 }
    }

    /// Ends when all senders are gone.
    pub(crate) fn run(mut self, from_workers: &Receiver<Numbered>) -> Result<Written, PipelineError> {
        let mut early = BTreeMap::new();
        let mut next = 0;
        for Numbered { number, packed } in from_workers {
            early.insert(number, packed);
            while let Some(packed) = early.remove(&next) {
                next += 1;
                // After a failure the rest is taken and dropped, so that its memory comes back.
                if let Err(error) = self.control.check().and(packed).and_then(|packed| self.write(packed)) {
                    self.control.fail(error);
                }
            }
        }
        let packed_bytes = self.stored_offset;
        match self.out {
            Out::Plain(place, hash) => {
                let hashed = hash.finish();
                self.control.check()?;
                let panicked = |Panicked| PipelineError::WorkerPanicked { path: self.control.path().to_owned() };
                let (sha256, stored_bytes) = hashed.map_err(panicked)?;
                Ok(Written { place, packed_bytes, stored_bytes, sha256 })
            }
            Out::Age(outlet) => {
                self.control.check()?;
                let Stored { place, sha256, bytes } = outlet.finish()?;
                Ok(Written { place, packed_bytes, stored_bytes: bytes, sha256 })
            }
        }
    }

    fn write(&mut self, packed: Packed) -> Result<(), PipelineError> {
        let Packed { stored, plain_bytes, crc32 } = packed;
        match &mut self.out {
            Out::Plain(place, hash) => {
                // The hash first: it goes on while the file is written.
                hash.push(Arc::clone(&stored));
                place.write(&stored)?;
            }
            Out::Age(outlet) => outlet.write(&stored)?,
        }
        let line = FrameLine {
            stored_offset: self.stored_offset,
            stored_length: stored.len() as u64,
            plain_offset: self.plain_offset,
            plain_length: plain_bytes as u64,
            crc32,
        };
        lock(&self.index).frame(&line)?;
        self.stored_offset += line.stored_length;
        self.plain_offset += line.plain_length;
        self.control.add_stored(stored.len());
        Ok(())
    }
}

/// CRC-32 (ISO 3309), for forms that carry no checksum of their own.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

pub(crate) fn lock(index: &Mutex<IndexWriter>) -> MutexGuard<'_, IndexWriter> {
    // A panic in the index fails the artifact through the thread it happened in; what is read after it is thrown away.
    index.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
