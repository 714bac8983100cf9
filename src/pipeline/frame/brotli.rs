//! One Brotli stream (RFC 7932) over all chunks.
//!
//! Brotli has no frames that can follow one another, so a chunk's stored form here is what the encoder gives up to a flush
//! after it: enough to decode the chunk, given all that stands before. The stream has no checksum; the index carries a
//! CRC-32 of each chunk instead.

use std::io::Write;

use brotli::CompressorWriter;

use super::BadFrame;

/// Window of the encoder, a power of two: 4 MiB, what every decoder takes without a flag.
const WINDOW: u32 = 22;
const BUFFER: usize = 64 << 10;

/// The encoder of one stream.
pub(crate) struct Encoder {
    writer: CompressorWriter<Vec<u8>>,
}

impl Encoder {
    pub(crate) fn new(quality: u8) -> Self {
        Self { writer: CompressorWriter::new(Vec::new(), BUFFER, u32::from(quality), WINDOW) }
    }

    /// Compresses the next chunk into the front of `stored`; says how many bytes it took.
    pub(crate) fn encode(&mut self, plain: &[u8], stored: &mut [u8]) -> Result<usize, BadFrame> {
        self.writer
            .write_all(plain)
            .and_then(|()| self.writer.flush())
            .map_err(|error| BadFrame(format!("brotli: {error}")))?;
        let given = self.writer.get_mut();
        let length = given.len();
        let room = stored.get_mut(..length).ok_or(BadFrame::from("brotli needs more room than a chunk can take"))?;
        room.copy_from_slice(given);
        given.clear();
        Ok(length)
    }

    /// The end of the stream, a few bytes.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.writer.into_inner()
    }
}
