//! An artifact on disk, against what was recorded of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use holdfast_model::ids;
use sha2::{Digest, Sha256};

use super::Pipeline;
use super::cipher::{self, Cipher};
use super::compression::Compression;
use super::error::PipelineError;
use super::index::FrameTable;
use super::range::RangeStream;
use super::source::Source;
use super::stream::ContentStream;

/// Bytes read at a time where only a hash is taken.
const PIECE: usize = 1 << 20;

/// What was recorded of an artifact when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Size of its file in bytes.
    pub stored_bytes: u64,
    /// SHA-256 of its file.
    pub sha256: ids::Sha256,
    /// Bytes the participant wrote.
    pub content_bytes: u64,
    /// SHA-256 of them.
    pub content_sha256: ids::Sha256,
}

impl Expected {
    pub(crate) fn compare_stored(&self, path: &Path, (sha256, bytes): (ids::Sha256, u64)) -> Result<(), PipelineError> {
        if bytes != self.stored_bytes {
            let expected = self.stored_bytes;
            return Err(PipelineError::altered(path, format!("{bytes} stored bytes where {expected} were recorded")));
        }
        if sha256 != self.sha256 {
            return Err(PipelineError::altered(path, "the SHA-256 of the file is not the recorded one"));
        }
        Ok(())
    }

    pub(crate) fn compare_content(
        &self,
        path: &Path,
        (sha256, bytes): (ids::Sha256, u64),
    ) -> Result<(), PipelineError> {
        if bytes != self.content_bytes {
            let expected = self.content_bytes;
            return Err(PipelineError::altered(
                path,
                format!("{bytes} bytes of content where {expected} were recorded"),
            ));
        }
        if sha256 != self.content_sha256 {
            return Err(PipelineError::altered(path, "the SHA-256 of the content is not the recorded one"));
        }
        Ok(())
    }
}

/// Reads an artifact. All its streams may be used at a time, and count into one [`ArtifactReader::stored_bytes_read`].
pub struct ArtifactReader {
    pipeline: Pipeline,
    source: Source,
    expected: Expected,
}

impl ArtifactReader {
    /// Takes an open file, whose `path` is for messages, and looks at its size.
    ///
    /// # Errors
    /// [`PipelineError::Truncated`] or [`PipelineError::Altered`] by the size alone; [`PipelineError::Io`].
    pub(crate) fn open(
        pipeline: &Pipeline,
        file: File,
        path: &Path,
        compression: Compression,
        expected: Expected,
        cipher: Cipher,
    ) -> Result<Self, PipelineError> {
        let found = file.metadata().map_err(PipelineError::io("look at", path))?.len();
        let recorded = expected.stored_bytes;
        if found < recorded {
            return Err(PipelineError::Truncated { path: path.to_owned(), expected: recorded, found });
        }
        if found > recorded {
            return Err(PipelineError::altered(path, format!("{} bytes were appended to it", found - recorded)));
        }
        let source = Source::new(Arc::new(file), path, compression, found, cipher)?;
        Ok(Self { pipeline: pipeline.clone(), source, expected })
    }

    /// Bytes read of the file so far, by all streams.
    #[must_use]
    pub fn stored_bytes_read(&self) -> u64 {
        self.source.bytes_read.load(Ordering::Relaxed)
    }

    /// Takes the SHA-256 of the file again. `progress` is told the bytes of each piece. Blocks the thread.
    ///
    /// # Errors
    /// [`PipelineError::Truncated`], [`PipelineError::Altered`], [`PipelineError::Io`].
    pub fn check_stored(&self, progress: &mut dyn FnMut(u64)) -> Result<(), PipelineError> {
        let Source { file, path, bytes_read, .. } = &self.source;
        let size = self.expected.stored_bytes;
        let sha256 = hash_file(file, size, &mut |count| {
            bytes_read.fetch_add(count, Ordering::Relaxed);
            progress(count);
        })
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => PipelineError::Truncated {
                path: path.to_path_buf(),
                expected: size,
                found: file.metadata().map_or(0, |now| now.len()),
            },
            _ => PipelineError::io("read", path)(error),
        })?;
        self.expected.compare_stored(path, (sha256, size))
    }

    /// All of the content, verified to its end. To be read from a thread that may block.
    #[must_use]
    pub fn stream(&self) -> ContentStream {
        ContentStream::new(&self.pipeline, &self.source, self.expected)
    }

    /// `length` bytes of the content from `offset` on, reading only the frames they lie in (with brotli, all up to
    /// there). Each frame is verified by its checksum; the artifact as a whole is not.
    ///
    /// # Errors
    /// [`PipelineError::RangeOutside`]; [`PipelineError::Altered`] where `frames` are not this artifact's.
    pub fn read_range(&self, frames: &Arc<FrameTable>, offset: u64, length: u64) -> Result<RangeStream, PipelineError> {
        let covered = (frames.stored_bytes(), frames.content_bytes());
        if matches!(self.source.cipher, Cipher::Locked) {
            return Err(cipher::locked(&self.source.path));
        }
        if covered != (self.source.packed_bytes, self.expected.content_bytes) {
            let reason = "its index is of another artifact";
            return Err(PipelineError::altered(&self.source.path, reason));
        }
        RangeStream::new(&self.pipeline, &self.source, Arc::clone(frames), offset, length)
    }
}

/// SHA-256 of the first `size` bytes of a file; `progress` is told the bytes of each piece.
///
/// # Errors
/// `UnexpectedEof` where there are fewer; else as `pread(2)`.
pub(crate) fn hash_file(file: &File, size: u64, progress: &mut dyn FnMut(u64)) -> io::Result<ids::Sha256> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
        let part = piece.get_mut(..length).unwrap_or_default();
        file.read_exact_at(part, at)?;
        hash.update(&*part);
        at += length as u64;
        progress(length as u64);
    }
    Ok(ids::Sha256(hash.finalize().into()))
}
