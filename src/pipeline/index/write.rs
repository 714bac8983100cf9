//! Writing an index, a block of lines at a time.

use std::path::PathBuf;

use holdfast_model::ids::{self, ArtifactName};
use serde::Serialize;

use super::{FrameLine, Header, MAX_LINE, OWN, Trailer, VERSION};
use crate::encryption::EncryptTo;
use crate::pipeline::compression::Compression;
use crate::pipeline::course::Place;
use crate::pipeline::error::PipelineError;
use crate::pipeline::frame;
use crate::pipeline::outlet::{Outlet, Stored};

/// Lines are compressed and written once there are so many bytes of them.
const BLOCK: usize = 256 << 10;

/// Writes an index while its artifact is written. Its memory is two blocks and the longest line.
///
/// An index is about a thousandth of its artifact, so it is compressed by whoever adds to it, not by the pool.
pub(crate) struct IndexWriter {
    /// Away once taken.
    outlet: Option<Outlet>,
    path: PathBuf,
    file: ArtifactName,
    compression: Compression,
    brotli: Option<frame::brotli::Encoder>,
    lines: Vec<u8>,
    stored: Vec<u8>,
    frames: u64,
    entries: u64,
}

/// A whole index that has no name yet.
pub(crate) struct WrittenIndex {
    pub(crate) place: Place,
    pub(crate) file: ArtifactName,
    pub(crate) stored_bytes: u64,
    pub(crate) sha256: ids::Sha256,
    pub(crate) frames: u64,
}

impl IndexWriter {
    pub(crate) fn create(
        place: Place,
        file: ArtifactName,
        artifact: &ArtifactName,
        compression: Compression,
        encrypt_to: Option<&EncryptTo>,
    ) -> Result<Self, PipelineError> {
        let brotli = match compression {
            Compression::Brotli(quality) => Some(frame::brotli::Encoder::new(quality)),
            _ => None,
        };
        let mut index = Self {
            path: place.target().to_owned(),
            outlet: Some(Outlet::new(place, encrypt_to)?),
            file,
            compression,
            brotli,
            lines: Vec::new(),
            stored: Vec::new(),
            frames: 0,
            entries: 0,
        };
        index.json(&Header { holdfast_index: VERSION, artifact: artifact.clone(), compression })?;
        Ok(index)
    }

    pub(crate) fn frame(&mut self, line: &FrameLine) -> Result<(), PipelineError> {
        self.frames += 1;
        let FrameLine { stored_offset, stored_length, plain_offset, plain_length, crc32 } = *line;
        match crc32 {
            Some(crc32) => self.json(&(stored_offset, stored_length, plain_offset, plain_length, crc32)),
            None => self.json(&(stored_offset, stored_length, plain_offset, plain_length)),
        }
    }

    pub(crate) fn entry(&mut self, line: &str) -> Result<(), PipelineError> {
        let refuse = |reason| Err(PipelineError::EntryInvalid { path: self.path(), reason });
        if line.len() > MAX_LINE {
            return refuse("it is longer than 1 MiB");
        }
        if !line.starts_with('{') || !line.ends_with('}') || line.contains(['\n', '\r']) {
            return refuse("it is not one JSON object on one line");
        }
        if line.starts_with(OWN) {
            return refuse("its first key belongs to the index itself");
        }
        self.entries += 1;
        self.line(line.as_bytes())
    }

    /// Ends the index.
    pub(crate) fn take(&mut self, stored_bytes: u64, content_bytes: u64) -> Result<WrittenIndex, PipelineError> {
        let (frames, entries) = (self.frames, self.entries);
        self.json(&Trailer { holdfast_index_end: VERSION, frames, entries, stored_bytes, content_bytes })?;
        self.write_block()?;
        if let Some(brotli) = self.brotli.take() {
            let end = brotli.finish();
            self.append(&end)?;
        }
        let outlet = self.outlet.take().ok_or_else(|| self.refused("it was taken already"))?;
        let Stored { place, sha256, bytes } = outlet.finish()?;
        Ok(WrittenIndex { place, file: self.file.clone(), stored_bytes: bytes, sha256, frames })
    }

    fn json(&mut self, line: &impl Serialize) -> Result<(), PipelineError> {
        let line = serde_json::to_vec(line).map_err(|error| self.refused(&error.to_string()))?;
        self.line(&line)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), PipelineError> {
        self.lines.extend_from_slice(line);
        self.lines.push(b'\n');
        if self.lines.len() >= BLOCK { self.write_block() } else { Ok(()) }
    }

    fn write_block(&mut self) -> Result<(), PipelineError> {
        let lines = std::mem::take(&mut self.lines);
        let mut stored = std::mem::take(&mut self.stored);
        // Room for the worst case of every form, as `MAX_STORED` has it for a chunk.
        stored.resize(stored.len().max(lines.len() + lines.len() / 10 + 1024), 0);
        let written = match (&mut self.brotli, self.compression) {
            (Some(encoder), _) => encoder.encode(&lines, &mut stored).map(Some),
            (None, Compression::None) => Ok(None),
            (None, compression) => frame::encode(compression, &lines, &mut stored).map(Some),
        };
        match written.map_err(|frame::BadFrame(reason)| self.refused(&reason))? {
            Some(length) => self.append(stored.get(..length).unwrap_or_default())?,
            None => self.append(&lines)?,
        }
        self.lines = lines;
        self.lines.clear();
        self.stored = stored;
        Ok(())
    }

    fn append(&mut self, stored: &[u8]) -> Result<(), PipelineError> {
        match &mut self.outlet {
            Some(outlet) => outlet.write(stored),
            None => Err(self.refused("it was taken already")),
        }
    }

    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn refused(&self, reason: &str) -> PipelineError {
        PipelineError::Compress { path: self.path(), reason: reason.to_owned() }
    }
}
