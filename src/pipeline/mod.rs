//! The way of the bytes: from a participant into an artifact on disk, and back.
//!
//! ```text
//! participant → 4 MiB chunks → CPU pool, a frame each → in order: (age →) SHA-256, size, file
//!                     └──────→ CPU pool, in order: SHA-256 of the content
//! file → frames → CPU pool, a chunk each → in order → reader          (both hashes taken again on the way)
//! ```
//!
//! An artifact is a row of frames of a standard format, so that `lz4`, `zstd`, `gzip` or `brotli` alone reads it back. A
//! file's name says what to undo, from the right: `<logical name>.<compression>`, and with `.index` at the end the
//! artifact's [index], which is compressed like it. `none` adds no extension. What is encrypted is `<name>.age`: the row of frames
//! inside of it, and its index likewise.
//!
//! What holds, whatever the data:
//!
//! - **Bounded memory.** A chunk's buffers are paid for by one of a fixed number of [`Credits`], shared by all artifacts,
//!   from before they are filled until the frame is in the file.
//! - **No deadlock, with one worker too.** Workers of the [`CpuPool`] never wait. A thread waits for a credit only while
//!   it holds none that others would have to give back. Whoever writes to a file is no worker and waits for no credit.
//!   So every credit in use is on its way back, but for those of participants that stand still with a chunk half full: at
//!   most one each.
//! - **Whole or not there.** An artifact gets its name once it and its index are on stable storage, and not after
//!   [`ArtifactControl::revoke`].
//! - **Nothing is taken on trust when it is read**: sizes a frame declares are bounded before memory is, and the end is
//!   accepted only between two frames, with sizes and hashes as recorded.

mod cipher;
mod compression;
mod control;
mod course;
mod credits;
mod error;
mod frame;
mod growing;
pub mod index;
mod outlet;
mod pool;
mod range;
mod reader;
mod sink;
mod source;
mod staged;
mod strand;
mod stream;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use cipher::{Cipher, header};
pub use compression::{Compression, InvalidCompression};
pub use control::ArtifactControl;
pub use course::{Course, Depot, DepotFile};
pub use credits::Credits;
pub use error::PipelineError;
pub use growing::{Follower, Growing, Growth, Whole};
pub use index::{FrameLine, FrameTable, IndexLine, IndexReader};
pub use pool::CpuPool;
pub use range::RangeStream;
pub(crate) use reader::hash_file;
pub use reader::{ArtifactReader, Expected};
pub use stream::ContentStream;
pub use writer::{ArtifactWriter, StoredArtifact, StoredIndex, WriteOptions};

/// Plain bytes in a chunk, and so in a frame: all but an artifact's last hold as many.
pub const CHUNK: usize = 4 << 20;

/// What all artifacts of a process share: the workers and the memory.
#[derive(Debug, Clone)]
pub struct Pipeline {
    pool: CpuPool,
    credits: Credits,
}

impl Pipeline {
    /// A pipeline of `workers` CPU workers and `credits` chunks in flight, each of up to 8.4 MiB.
    ///
    /// A participant that stands still keeps up to one credit: more credits than artifacts written at a time keep the
    /// others going. Four beyond the workers keep all of them busy.
    ///
    /// # Errors
    /// [`PipelineError::Io`] where the system gives no threads.
    pub fn new(workers: usize, credits: usize) -> Result<Self, PipelineError> {
        Ok(Self { pool: CpuPool::new(workers)?, credits: Credits::new(credits) })
    }

    /// The workers.
    #[must_use]
    pub fn pool(&self) -> &CpuPool {
        &self.pool
    }

    /// The memory.
    #[must_use]
    pub fn credits(&self) -> &Credits {
        &self.credits
    }
}
