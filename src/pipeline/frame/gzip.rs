//! Gzip members (RFC 1952) that say how long they are.
//!
//! A member has no length of its own, so its extra field carries one, as the RFC's section 2.3.1.1 provides for: subfield
//! `HF`, 8 bytes, the member's length and its content's, little-endian. Other readers skip it.

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::{BadFrame, Fields, Probe, put};

/// Deflate, extra field there, no time, no hints, system unknown; the extra field's length; the subfield's name and length.
const START: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 12, 0, b'H', b'F', 8, 0];
const HEADER: usize = START.len() + 8;
/// CRC-32 and length of the content.
const TAIL: usize = 8;

pub(super) fn encode(level: u8, plain: &[u8], stored: &mut [u8]) -> Result<usize, BadFrame> {
    let body = stored.get_mut(HEADER..).ok_or(BadFrame::from("the buffer is too small"))?;
    let mut deflate = Compress::new(Compression::new(u32::from(level)), false);
    match deflate.compress(plain, body, FlushCompress::Finish) {
        Ok(Status::StreamEnd) => {}
        Ok(_) => return Err("deflate needs more room than a chunk can take".into()),
        Err(error) => return Err(BadFrame(error.to_string())),
    }
    let length = HEADER + usize::try_from(deflate.total_out()).unwrap_or(usize::MAX - HEADER - TAIL) + TAIL;
    let plain_length = small(plain.len())?.to_le_bytes();
    let mut at = 0;
    put(stored, &mut at, &START)?;
    put(stored, &mut at, &small(length)?.to_le_bytes())?;
    put(stored, &mut at, &plain_length)?;
    at = length - TAIL;
    put(stored, &mut at, &crc(plain).to_le_bytes())?;
    put(stored, &mut at, &plain_length)?;
    Ok(at)
}

fn small(length: usize) -> Result<u32, BadFrame> {
    u32::try_from(length).map_err(|_| "a gzip member is too long".into())
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

pub(super) fn probe(head: &[u8]) -> Result<Probe, BadFrame> {
    if head.len() < HEADER {
        return Ok(Probe::Need(HEADER));
    }
    let mut fields = Fields(head);
    if fields.bytes(START.len())? != START {
        return Err("no gzip member that was written here begins here".into());
    }
    let (stored, plain) = (fields.u32()? as usize, fields.u32()? as usize);
    if stored < HEADER + TAIL {
        return Err("a gzip member has an impossible length".into());
    }
    Ok(Probe::Frame { stored, plain })
}

pub(super) fn decode(stored: &[u8], plain: &mut [u8]) -> Result<(), BadFrame> {
    let mut fields = Fields(stored);
    fields.bytes(HEADER)?;
    let body = fields.bytes(fields.0.len().saturating_sub(TAIL))?;
    let mut inflate = Decompress::new(false);
    // The end of the stream must be reached in one go: all of the input is there, and room for all of the output.
    let mut at = 0;
    loop {
        let before = (inflate.total_in(), inflate.total_out());
        let input = body.get(usize::try_from(inflate.total_in()).unwrap_or(usize::MAX)..).unwrap_or_default();
        let room = plain.get_mut(at..).unwrap_or_default();
        let status = inflate
            .decompress(input, room, FlushDecompress::Finish)
            .map_err(|error| BadFrame(format!("a gzip member cannot be read: {error}")))?;
        at = usize::try_from(inflate.total_out()).unwrap_or(usize::MAX);
        if matches!(status, Status::StreamEnd) {
            break;
        }
        if before == (inflate.total_in(), inflate.total_out()) {
            return Err("a gzip member holds other than the bytes it declares".into());
        }
    }
    if at != plain.len() || inflate.total_in() != body.len() as u64 {
        return Err("a gzip member holds other than the bytes it declares".into());
    }
    if fields.u32()? != crc(plain) || fields.u32()? as usize != plain.len() {
        return Err("the checksum of a gzip member's content is wrong".into());
    }
    Ok(())
}
