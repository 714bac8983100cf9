//! The index beside an artifact: which stored bytes hold which plain bytes, and what the participant says lies there.
//!
//! JSON, one value a line, compressed like the artifact, in `<artifact's file>.index`:
//!
//! ```text
//! {"holdfast_index":1,"artifact":"site.tar.lz4","compression":"lz4"}      first
//! [0,1318404,0,4194304]                                                   a frame: stored offset, stored length,
//! [1318404,1297021,4194304,4194304]                                         plain offset, plain length (, CRC-32)
//! {"path":"site/index.html","size":5120,…}                                an entry of the participant, as it came
//! {"holdfast_index_end":1,"frames":2,"entries":1,"stored_bytes":2615425,"content_bytes":8388608}    last
//! ```
//!
//! Frames stand in order and without gaps; entries stand between them in the order they came, which need not be where
//! their frames are. A frame line carries the CRC-32 (ISO 3309) of its plain bytes where the form has no checksum of its
//! own (`none`, `brotli`). For `brotli` a line says up to where the stream must be read, from its start, to have the
//! plain bytes. A whole index ends with its trailer, so that a cut shows; its hash stands in the manifest. It can be made
//! again from the artifact, but for the entries.

mod read;
mod table;
mod write;

use holdfast_model::ids::{ArtifactName, InvalidName};
use serde::{Deserialize, Serialize};

use super::compression::Compression;

pub use read::{IndexLine, IndexReader};
pub use table::FrameTable;
pub(crate) use write::IndexWriter;

/// Longest line of an index in bytes, without its line break.
pub const MAX_LINE: usize = 1 << 20;

/// No entry of a participant begins like this.
const OWN: &str = "{\"holdfast_index";

/// The name of the index of the artifact in `file`.
///
/// # Errors
/// [`InvalidName`] where it would be too long.
pub fn file_name(file: &ArtifactName) -> Result<ArtifactName, InvalidName> {
    format!("{file}.index").parse()
}

/// Where one frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLine {
    /// Its first byte in the artifact's file.
    pub stored_offset: u64,
    /// Its length there.
    pub stored_length: u64,
    /// Its first byte in the content.
    pub plain_offset: u64,
    /// Its length there.
    pub plain_length: u64,
    /// CRC-32 of the plain bytes, where the form has no checksum of its own.
    pub crc32: Option<u32>,
}

/// First line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    holdfast_index: u32,
    artifact: ArtifactName,
    compression: Compression,
}

/// Last line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Trailer {
    holdfast_index_end: u32,
    frames: u64,
    entries: u64,
    stored_bytes: u64,
    content_bytes: u64,
}

/// The version of this format.
const VERSION: u32 = 1;
