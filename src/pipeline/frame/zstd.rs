//! Zstandard frames (RFC 8878), with content size and content checksum.
//!
//! The library compresses and decompresses; where a frame ends is found here by walking the block headers, as the RFC's
//! section 3.1.1 lays them out, because that needs to see a few bytes of each block at a time and no whole frame.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use super::{BadFrame, Fields, MAX_STORED, Probe};

const MAGIC: u32 = 0xFD2F_B528;
/// Frame header descriptor: a content checksum follows the last block.
const HAS_CHECKSUM: u8 = 1 << 2;
const RESERVED: u8 = 1 << 3;
const SINGLE_SEGMENT: u8 = 1 << 5;
const DICTIONARY: u8 = 0b11;
const BLOCK_HEADER: usize = 3;
const CHECKSUM: usize = 4;

thread_local! {
    // A context is some megabytes of tables: one a worker, kept, instead of one a chunk.
    static COMPRESSOR: RefCell<Option<(u8, Compressor<'static>)>> = const { RefCell::new(None) };
}

pub(super) fn encode(level: u8, plain: &[u8], stored: &mut [u8]) -> Result<usize, BadFrame> {
    let refused = |error: std::io::Error| BadFrame(error.to_string());
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some((kept_level, compressor)) if *kept_level == level => compressor,
            _ => {
                let mut fresh = Compressor::new(i32::from(level)).map_err(refused)?;
                fresh.set_parameter(CParameter::ChecksumFlag(true)).map_err(refused)?;
                fresh.set_parameter(CParameter::ContentSizeFlag(true)).map_err(refused)?;
                &mut kept.insert((level, fresh)).1
            }
        };
        compressor.compress_to_buffer(plain, stored).map_err(refused)
    })
}

pub(super) fn probe(head: &[u8]) -> Result<Probe, BadFrame> {
    if head.len() < 5 {
        return Ok(Probe::Need(5));
    }
    let mut fields = Fields(head);
    if fields.u32()? != MAGIC {
        return Err("no zstd frame begins here".into());
    }
    let descriptor = fields.u8()?;
    let single_segment = descriptor & SINGLE_SEGMENT != 0;
    if descriptor & (RESERVED | DICTIONARY) != 0 || descriptor & HAS_CHECKSUM == 0 {
        return Err("a zstd frame is of a form that was never written".into());
    }
    let (size_bytes, size_base) = match descriptor >> 6 {
        0 if single_segment => (1, 0),
        0 => return Err("a zstd frame does not say how much it holds".into()),
        1 => (2, 256),
        2 => (4, 0),
        _ => (8, 0),
    };
    let header = 5 + usize::from(!single_segment) + size_bytes;
    if head.len() < header {
        return Ok(Probe::Need(header));
    }
    fields.bytes(usize::from(!single_segment))?;
    let plain = usize::try_from(fields.integer(size_bytes)?.saturating_add(size_base)).unwrap_or(usize::MAX);
    let mut end = header;
    loop {
        let block_end = end + BLOCK_HEADER;
        if block_end > MAX_STORED || head.len() < block_end {
            return Ok(Probe::Need(block_end));
        }
        let block = Fields(head.get(end..).unwrap_or_default()).integer(BLOCK_HEADER)? as usize;
        let size = block >> 3;
        end = block_end
            + match block >> 1 & 0b11 {
                0 | 2 => size,
                // A run of one byte.
                1 => 1,
                _ => return Err("a zstd frame has a block of a reserved type".into()),
            };
        if block & 1 == 1 {
            return Ok(Probe::Frame { stored: end + CHECKSUM, plain });
        }
    }
}

pub(super) fn decode(stored: &[u8], plain: &mut [u8]) -> Result<(), BadFrame> {
    let refused = |error: std::io::Error| BadFrame(format!("a zstd frame cannot be read: {error}"));
    let unpacked = Decompressor::new().map_err(refused)?.decompress_to_buffer(stored, plain).map_err(refused)?;
    if unpacked != plain.len() {
        return Err("a zstd frame holds fewer bytes than it declares".into());
    }
    Ok(())
}
