//! LZ4 frames (LZ4 Frame Format Description 1.6.4), one block each.
//!
//! ```text
//! 4  magic 0x184D2204        8  content size          4  block size, top bit: not compressed     4  end mark, 0
//! 1  flags 0x6C              1  header checksum       n  block                                   4  XXH32 of the content
//! 1  block maximum 0x70 (4 MiB)
//! ```
//!
//! Flags: version 1, blocks independent, content size and content checksum there. A frame of no bytes has no block. The
//! block codec comes from the library; its own frame type copies each chunk twice more and keeps 8 MiB a worker.

use twox_hash::XxHash32;

use super::{BadFrame, Fields, Probe, put};
use crate::pipeline::CHUNK;

const MAGIC: u32 = 0x184D_2204;
const FLAGS: u8 = 0x6C;
const BLOCK_MAXIMUM: u8 = 0x70;
const HEADER: usize = 15;
const NOT_COMPRESSED: u32 = 1 << 31;
/// End mark and content checksum.
const TAIL: usize = 8;

/// Bytes of each sample that [`is_dense`] looks at.
const SAMPLE: usize = 16 << 10;
/// How many samples, spread evenly.
const SAMPLES: usize = 4;

pub(super) fn encode(plain: &[u8], stored: &mut [u8]) -> Result<usize, BadFrame> {
    let mut at = 0;
    put(stored, &mut at, &MAGIC.to_le_bytes())?;
    put(stored, &mut at, &[FLAGS, BLOCK_MAXIMUM])?;
    put(stored, &mut at, &(plain.len() as u64).to_le_bytes())?;
    let checksum = header_checksum(stored.get(4..at).unwrap_or_default());
    put(stored, &mut at, &[checksum])?;
    if !plain.is_empty() {
        let block = at + 4;
        let room = stored.get_mut(block..).unwrap_or_default();
        let packed = if is_dense(plain, room) { None } else { Some(compress(plain, room)?) };
        match packed.filter(|length| *length < plain.len()) {
            Some(length) => {
                put(stored, &mut at, &size(length)?.to_le_bytes())?;
                at += length;
            }
            None => {
                put(stored, &mut at, &(size(plain.len())? | NOT_COMPRESSED).to_le_bytes())?;
                put(stored, &mut at, plain)?;
            }
        }
    }
    put(stored, &mut at, &0_u32.to_le_bytes())?;
    put(stored, &mut at, &XxHash32::oneshot(0, plain).to_le_bytes())?;
    Ok(at)
}

fn size(length: usize) -> Result<u32, BadFrame> {
    u32::try_from(length).ok().filter(|size| size & NOT_COMPRESSED == 0).ok_or("a block is too long".into())
}

fn compress(plain: &[u8], room: &mut [u8]) -> Result<usize, BadFrame> {
    lz4_flex::block::compress_into(plain, room).map_err(|error| BadFrame(error.to_string()))
}

/// Whether no sample of a chunk gets smaller: random, encrypted and compressed data costs the encoder as much time as
/// text does, and gives nothing for it.
fn is_dense(plain: &[u8], room: &mut [u8]) -> bool {
    if plain.len() < SAMPLE * SAMPLES * 4 {
        return false;
    }
    let apart = (plain.len() - SAMPLE) / (SAMPLES - 1);
    (0..SAMPLES).all(|n| {
        let sample = plain.get(n * apart..n * apart + SAMPLE).unwrap_or_default();
        compress(sample, room).is_ok_and(|length| length >= sample.len())
    })
}

/// The second byte of the XXH32 of the descriptor.
fn header_checksum(descriptor: &[u8]) -> u8 {
    let [_, second, ..] = XxHash32::oneshot(0, descriptor).to_le_bytes();
    second
}

pub(super) fn probe(head: &[u8]) -> Result<Probe, BadFrame> {
    if head.len() < HEADER {
        return Ok(Probe::Need(HEADER));
    }
    let mut fields = Fields(head);
    if fields.u32()? != MAGIC {
        return Err("no lz4 frame begins here".into());
    }
    if header_checksum(head.get(4..HEADER - 1).unwrap_or_default()) != head.get(HEADER - 1).copied().unwrap_or_default()
    {
        return Err("the checksum of an lz4 frame's header is wrong".into());
    }
    if fields.bytes(2)? != [FLAGS, BLOCK_MAXIMUM] {
        return Err("an lz4 frame is of a form that was never written".into());
    }
    let plain = fields.integer(8)?;
    // Too large for this machine is too large for a chunk: the caller says so.
    let plain = usize::try_from(plain).unwrap_or(usize::MAX);
    if plain == 0 {
        return Ok(Probe::Frame { stored: HEADER + TAIL, plain });
    }
    if plain > CHUNK {
        return Ok(Probe::Frame { stored: 0, plain });
    }
    fields.u8()?;
    if head.len() < HEADER + 4 {
        return Ok(Probe::Need(HEADER + 4));
    }
    let (length, compressed) = block_size(fields.u32()?);
    if length == 0 || (compressed && length >= plain) || (!compressed && length != plain) {
        return Err("the block of an lz4 frame has an impossible size".into());
    }
    Ok(Probe::Frame { stored: HEADER + 4 + length + TAIL, plain })
}

fn block_size(field: u32) -> (usize, bool) {
    ((field & !NOT_COMPRESSED) as usize, field & NOT_COMPRESSED == 0)
}

pub(super) fn decode(stored: &[u8], plain: &mut [u8]) -> Result<(), BadFrame> {
    let mut fields = Fields(stored);
    fields.bytes(HEADER)?;
    if !plain.is_empty() {
        let (length, compressed) = block_size(fields.u32()?);
        let block = fields.bytes(length)?;
        if compressed {
            let unpacked =
                lz4_flex::block::decompress_into(block, plain).map_err(|error| BadFrame(error.to_string()))?;
            if unpacked != plain.len() {
                return Err("an lz4 frame holds fewer bytes than it declares".into());
            }
        } else if block.len() == plain.len() {
            plain.copy_from_slice(block);
        } else {
            return Err("an lz4 frame holds other than the bytes it declares".into());
        }
    }
    if fields.u32()? != 0 {
        return Err("an lz4 frame has no end mark".into());
    }
    if fields.u32()? != XxHash32::oneshot(0, plain) {
        return Err("the checksum of an lz4 frame's content is wrong".into());
    }
    if !fields.0.is_empty() {
        return Err("an lz4 frame goes on after its end".into());
    }
    Ok(())
}
