//! A participant's bytes on their way into an artifact.
//!
//! Three kinds of thread work on one artifact at a time: the participant's own fills chunks; workers compress and hash
//! them; a [sink](super::sink) puts the frames back in order and writes them.

use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use holdfast_log::space;
use holdfast_model::ids::{ArtifactName, Sha256};

use super::compression::Compression;
use super::control::ArtifactControl;
use super::course::{Course, Place};
use super::credits::ChunkBuffers;
use super::error::PipelineError;
use super::growing::Whole;
use super::index::IndexWriter;
use super::outlet::Outlet;
use super::sink::{Numbered, Out, Packed, Sink, Ticket, Written, crc32, lock};
use super::staged::Staged;
use super::strand::{HashStrand, Panicked, Strand};
use super::{Pipeline, frame};
use crate::encryption::{EXTENSION, EncryptTo};

/// How an artifact is written.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Its compression.
    pub compression: Compression,
    /// Bytes that stay free on the disk; `None`: [`space::reserve`].
    pub reserve: Option<u64>,
    /// What it is encrypted to; `None` for not at all. Its file then is the given name with `.age`, whatever the compression.
    pub encrypt_to: Option<Arc<EncryptTo>>,
    /// Where its bytes go.
    pub course: Course,
}

/// An artifact on stable storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredArtifact {
    /// Its file's name in the run directory.
    pub file: ArtifactName,
    /// Size of the file in bytes.
    pub stored_bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256,
    /// Bytes the participant wrote.
    pub content_bytes: u64,
    /// SHA-256 of them.
    pub content_sha256: Sha256,
    /// How they are compressed.
    pub compression: Compression,
    /// Frames in the file; for a form without frames, pieces its index names.
    pub frames: u64,
    /// Its index.
    pub index: StoredIndex,
}

/// An artifact's index on stable storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIndex {
    /// Its file's name in the run directory.
    pub file: ArtifactName,
    /// Size of the file in bytes.
    pub stored_bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256,
}

/// Takes a participant's plain bytes, from the participant's own blocking thread.
///
/// Nothing has the artifact's name before [`ArtifactWriter::finish`] says so; dropped before, it leaves nothing.
pub struct ArtifactWriter {
    pipeline: Pipeline,
    compression: Compression,
    file: ArtifactName,
    control: ArtifactControl,
    /// The chunk that is being filled.
    current: Option<ChunkBuffers>,
    /// Its number.
    next: u64,
    content: Option<HashStrand>,
    brotli: Option<Strand<frame::brotli::Encoder>>,
    index: Arc<Mutex<IndexWriter>>,
    to_sink: Option<Sender<Numbered>>,
    sink: Option<JoinHandle<Result<Written, PipelineError>>>,
}

impl ArtifactWriter {
    /// Starts artifact `name` in the run directory `dir`.
    ///
    /// # Errors
    /// [`PipelineError::Exists`] where its file is there, else [`PipelineError::Io`].
    pub fn create(
        pipeline: &Pipeline,
        dir: &Path,
        name: &ArtifactName,
        options: WriteOptions,
    ) -> Result<Self, PipelineError> {
        let WriteOptions { compression, reserve, encrypt_to, course } = options;
        let unnamed = |error| PipelineError::io("name", &dir.join(name.as_str()))(io::Error::other(error));
        let encrypt_to = encrypt_to.as_deref();
        let file = match encrypt_to {
            Some(_) => format!("{name}.{EXTENSION}").parse().map_err(unnamed)?,
            None => compression.file_name(name).map_err(unnamed)?,
        };
        let index_file = super::index::file_name(&file).map_err(unnamed)?;
        let reserve = match reserve {
            Some(bytes) => bytes,
            None => space::reserve(dir).map_err(PipelineError::io("find the room in", dir))?,
        };
        let control = ArtifactControl::new(dir.join(file.as_str()), pipeline.credits.clone());
        let place = Place::create(&course, dir, &file, reserve, &control)?;
        let index = IndexWriter::create(
            Place::Disk(Staged::create(dir, &index_file, reserve)?, None),
            index_file,
            &file,
            compression,
            encrypt_to,
        )?;
        let index = Arc::new(Mutex::new(index));
        let (to_sink, from_workers) = mpsc::channel();
        let out = match encrypt_to {
            Some(_) => Out::Age(Outlet::new(place, encrypt_to)?),
            None => Out::Plain(place, HashStrand::new(&pipeline.pool)),
        };
        let sink = Sink::new(out, Arc::clone(&index), control.clone());
        let sink = std::thread::Builder::new()
            .name("artifact-sink".to_owned())
            .spawn(move || sink.run(&from_workers))
            .map_err(PipelineError::io("start a thread for", control.path()))?;
        let brotli = match compression {
            Compression::Brotli(quality) => Some(Strand::new(&pipeline.pool, frame::brotli::Encoder::new(quality))),
            _ => None,
        };
        Ok(Self {
            pipeline: pipeline.clone(),
            compression,
            file,
            control,
            current: None,
            next: 0,
            content: Some(HashStrand::new(&pipeline.pool)),
            brotli,
            index,
            to_sink: Some(to_sink),
            sink: Some(sink),
        })
    }

    /// A handle for other threads.
    #[must_use]
    pub fn control(&self) -> ArtifactControl {
        self.control.clone()
    }

    /// The name of the artifact's file in the run directory.
    #[must_use]
    pub fn file(&self) -> &ArtifactName {
        &self.file
    }

    /// Adds a line of the participant's own to the index: one JSON object, without line breaks, of up to
    /// [`MAX_LINE`](super::index::MAX_LINE) bytes.
    ///
    /// # Errors
    /// [`PipelineError`]; after one that is not [`PipelineError::EntryInvalid`] the artifact is lost.
    pub fn entry(&mut self, line: &str) -> Result<(), PipelineError> {
        self.control.check()?;
        lock(&self.index).entry(line).inspect_err(|error| {
            if !matches!(error, PipelineError::EntryInvalid { .. }) {
                self.control.fail(error.clone());
            }
        })
    }

    /// Ends the artifact: when this returns, it and its index have their names and are on stable storage.
    ///
    /// # Errors
    /// [`PipelineError`]; then nothing of it is left.
    pub fn finish(mut self) -> Result<StoredArtifact, PipelineError> {
        self.control.check()?;
        self.submit_last()?;
        let written = self.join_sink().unwrap_or_else(|| Err(self.panicked()))?;
        self.control.check()?;
        let content = self.content.take().map(HashStrand::finish);
        let (content_sha256, content_bytes) = content.unwrap_or(Err(Panicked)).map_err(|Panicked| self.panicked())?;
        let mut place = written.place;
        let whole = Whole { bytes: written.stored_bytes, sha256: written.sha256 };
        place.sync(whole)?;
        let mut index = lock(&self.index).take(written.packed_bytes, content_bytes)?;
        let whole_index = Whole { bytes: index.stored_bytes, sha256: index.sha256 };
        index.place.sync(whole_index)?;
        // Revoked up to here: no names. From here on: both names, and a revocation comes too late.
        self.control.begin_commit()?;
        index.place.rename()?;
        place.rename()?;
        place.sync_dir()?;
        index.place.keep(whole_index);
        place.keep(whole);
        Ok(StoredArtifact {
            file: self.file.clone(),
            stored_bytes: written.stored_bytes,
            sha256: written.sha256,
            content_bytes,
            content_sha256,
            compression: self.compression,
            frames: index.frames,
            index: StoredIndex { file: index.file, stored_bytes: index.stored_bytes, sha256: index.sha256 },
        })
    }

    fn acquire(&self) -> Result<ChunkBuffers, PipelineError> {
        self.pipeline.credits.acquire(|| self.control.is_revoked()).ok_or_else(|| self.control.revoked())
    }

    /// Hands a full chunk, or the last one, to the workers.
    fn submit(&mut self, chunk: ChunkBuffers) {
        let Some(ticket) = self.ticket() else { return };
        let ChunkBuffers { plain, mut stored } = chunk;
        let plain = Arc::new(plain);
        if let Some(content) = &self.content {
            content.push(Arc::clone(&plain));
        }
        let plain_bytes = plain.len();
        match (self.compression, &self.brotli) {
            (Compression::None, _) => {
                drop(stored);
                self.pipeline.pool.spawn(move || {
                    let crc32 = Some(crc32(&plain));
                    ticket.send(Ok(Packed { stored: plain, plain_bytes, crc32 }));
                });
            }
            (Compression::Brotli(_), Some(strand)) => strand.push(move |encoder| {
                let crc32 = Some(crc32(&plain));
                let encoded = encoder.encode(&plain, stored.spare());
                drop(plain);
                ticket.send_encoded(encoded, stored, plain_bytes, crc32);
            }),
            (compression, _) => self.pipeline.pool.spawn(move || {
                let encoded = frame::encode(compression, &plain, stored.spare());
                // Before the sink is told: when it has seen the last chunk, all memory is back.
                drop(plain);
                ticket.send_encoded(encoded, stored, plain_bytes, None);
            }),
        }
    }

    fn submit_last(&mut self) -> Result<(), PipelineError> {
        match self.current.take() {
            Some(chunk) => self.submit(chunk),
            // The standard tools want at least one frame, also of nothing.
            None if self.next == 0 && self.compression != Compression::None && self.brotli.is_none() => {
                let chunk = self.acquire()?;
                self.submit(chunk);
            }
            None => {}
        }
        if let Some(strand) = self.brotli.take() {
            let end = strand.finish().map_err(|Panicked| self.panicked())?.finish();
            let ChunkBuffers { mut stored, .. } = self.acquire()?;
            stored.fill_from(&end);
            if let Some(ticket) = self.ticket() {
                ticket.send(Ok(Packed { stored: Arc::new(stored), plain_bytes: 0, crc32: Some(0) }));
            }
        }
        Ok(())
    }

    /// The duty to tell the sink about the next chunk.
    pub(super) fn ticket(&mut self) -> Option<Ticket> {
        let number = self.next;
        self.next += 1;
        let to_sink = self.to_sink.clone()?;
        Some(Ticket::new(to_sink, number, self.control.clone()))
    }

    /// Lets the sink come to its end; `None` where it has been joined already, or panicked.
    fn join_sink(&mut self) -> Option<Result<Written, PipelineError>> {
        self.to_sink = None;
        self.sink.take()?.join().ok()
    }

    fn panicked(&self) -> PipelineError {
        PipelineError::WorkerPanicked { path: self.control.path().to_owned() }
    }
}

impl Write for ArtifactWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.control.check()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut chunk = match self.current.take() {
            Some(chunk) => chunk,
            None => self.acquire()?,
        };
        let taken = chunk.plain.fill_from(bytes);
        self.control.add_content(taken);
        if chunk.plain.is_full() {
            self.submit(chunk);
        } else {
            self.current = Some(chunk);
        }
        Ok(taken)
    }

    /// Does nothing: a chunk goes on when it is full, and all of it at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(self.control.check()?)
    }
}

impl Drop for ArtifactWriter {
    fn drop(&mut self) {
        self.current = None;
        // Unfinished: the sink must not go on writing what nobody wants.
        self.control.revoke();
        // Its file goes with the result, and all credits are back when this returns.
        drop(self.join_sink());
        let _ = self.brotli.take().map(Strand::finish);
        let _ = self.content.take().map(HashStrand::finish);
    }
}

impl std::fmt::Debug for ArtifactWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArtifactWriter").field("file", &self.file).field("compression", &self.compression).finish()
    }
}
