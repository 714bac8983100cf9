//! One chunk as one frame of a standard format, and back.
//!
//! Each frame says how long it is, stored and plain, and carries a checksum of its content. So a reader finds the
//! boundaries by looking at headers alone, in parallel with the decoding, and needs no index for it. The forms are exact
//! ones of wider formats: the standard tools read all of what is written here, and what is read back here is what was
//! written here and nothing else.

pub(crate) mod brotli;
mod gzip;
mod lz4;
mod zstd;

use super::CHUNK;
use super::compression::Compression;

/// The most bytes a chunk's stored form takes: what an LZ4 encoder wants to have at hand (110 %), and headers. The other
/// formats need less.
pub(crate) const MAX_STORED: usize = CHUNK + CHUNK / 10 + 1024;

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadFrame(pub(crate) String);

impl From<&str> for BadFrame {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// What the first bytes of a frame tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Nothing yet: look again with so many bytes from the frame's start. Never more than the frame has.
    Need(usize),
    /// The frame ends after `stored` bytes and holds `plain` bytes.
    Frame {
        /// At most [`MAX_STORED`].
        stored: usize,
        /// At most [`CHUNK`].
        plain: usize,
    },
}

/// Compresses `plain` into the front of `stored`, which must have [`MAX_STORED`] bytes; says how many it took.
/// For [`Compression::None`] and [`Compression::Brotli`] there are no frames.
pub(crate) fn encode(compression: Compression, plain: &[u8], stored: &mut [u8]) -> Result<usize, BadFrame> {
    match compression {
        Compression::Lz4 => lz4::encode(plain, stored),
        Compression::Zstd(level) => zstd::encode(level, plain, stored),
        Compression::Gzip(level) => gzip::encode(level, plain, stored),
        Compression::Brotli(_) | Compression::None => Err("this compression has no frames".into()),
    }
}

/// Where the frame that begins with `head` ends. `left` bytes remain to the end of what is stored.
pub(crate) fn probe(compression: Compression, head: &[u8], left: u64) -> Result<Probe, BadFrame> {
    let probe = match compression {
        Compression::Lz4 => lz4::probe(head)?,
        Compression::Zstd(_) => zstd::probe(head)?,
        Compression::Gzip(_) => gzip::probe(head)?,
        Compression::None => {
            let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            Probe::Frame { stored: length, plain: length }
        }
        Compression::Brotli(_) => return Err("a brotli stream has no frames".into()),
    };
    let needed = match probe {
        Probe::Need(needed) => needed,
        Probe::Frame { plain, .. } if plain > CHUNK => {
            return Err(BadFrame(format!("a frame declares {plain} bytes, and a chunk has {CHUNK}")));
        }
        Probe::Frame { stored, .. } => stored,
    };
    if needed > MAX_STORED {
        return Err(BadFrame(format!("a frame of at least {needed} bytes is longer than any that was written")));
    }
    if needed as u64 > left {
        return Err(BadFrame(format!("the last frame ends {} bytes after the file", needed as u64 - left)));
    }
    Ok(probe)
}

/// Decompresses one whole frame into `plain`, which must be as long as the frame declares.
pub(crate) fn decode(compression: Compression, stored: &[u8], plain: &mut [u8]) -> Result<(), BadFrame> {
    match compression {
        Compression::Lz4 => lz4::decode(stored, plain),
        Compression::Zstd(_) => zstd::decode(stored, plain),
        Compression::Gzip(_) => gzip::decode(stored, plain),
        Compression::None if stored.len() == plain.len() => {
            plain.copy_from_slice(stored);
            Ok(())
        }
        Compression::None => Err("the chunk's length changed".into()),
        Compression::Brotli(_) => Err("a brotli stream has no frames".into()),
    }
}

/// Reads little-endian integers off the front of a frame.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], BadFrame> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(BadFrame("a frame ends early".to_owned()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn integer(&mut self, bytes: usize) -> Result<u64, BadFrame> {
        Ok(self.bytes(bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn u8(&mut self) -> Result<u8, BadFrame> {
        Ok(self.bytes(1)?.first().copied().unwrap_or_default())
    }

    fn u32(&mut self) -> Result<u32, BadFrame> {
        Ok(self.integer(4)? as u32)
    }
}

/// Writes `bytes` to `buffer` at `*at` and moves it on.
fn put(buffer: &mut [u8], at: &mut usize, bytes: &[u8]) -> Result<(), BadFrame> {
    let end = *at + bytes.len();
    buffer.get_mut(*at..end).ok_or(BadFrame("the frame does not fit its buffer".to_owned()))?.copy_from_slice(bytes);
    *at = end;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) const FRAMED: [Compression; 4] =
        [Compression::Lz4, Compression::Zstd(1), Compression::Zstd(19), Compression::Gzip(6)];

    pub(crate) fn encoded(compression: Compression, plain: &[u8]) -> Vec<u8> {
        let mut stored = vec![0; MAX_STORED];
        let length = encode(compression, plain, &mut stored).unwrap();
        stored.truncate(length);
        stored
    }

    /// Probes as a reader does, who only ever shows what was asked for.
    fn probed(compression: Compression, stored: &[u8]) -> Result<(usize, usize), BadFrame> {
        let mut seen = 0;
        loop {
            match probe(compression, &stored[..seen], stored.len() as u64)? {
                Probe::Need(more) => {
                    assert!(more > seen, "{compression}: a probe must go on");
                    seen = more;
                }
                Probe::Frame { stored, plain } => return Ok((stored, plain)),
            }
        }
    }

    fn samples() -> Vec<Vec<u8>> {
        let mut noise = 7_u64;
        let mut random = |count: usize| -> Vec<u8> {
            (0..count)
                .map(|_| {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (noise >> 56) as u8
                })
                .collect()
        };
        vec![
            Vec::new(),
            b"x".to_vec(),
            b"insert into trades values (1, 2, 3);\n".repeat(5000),
            random(100_000),
            random(CHUNK),
            vec![0; CHUNK],
            vec![7; CHUNK - 1],
        ]
    }

    #[test]
    fn a_frame_says_where_it_ends_and_gives_its_bytes_back() {
        for compression in FRAMED {
            for plain in samples() {
                let stored = encoded(compression, &plain);
                assert_eq!(probed(compression, &stored), Ok((stored.len(), plain.len())), "{compression}");
                let mut back = vec![0; plain.len()];
                decode(compression, &stored, &mut back).unwrap();
                assert!(back == plain, "{compression}");
            }
        }
    }

    #[test]
    fn a_frame_followed_by_another_ends_where_it_ends() {
        for compression in FRAMED {
            let mut stored = encoded(compression, b"first frame");
            let first = stored.len();
            stored.extend(encoded(compression, b"second"));
            assert_eq!(probed(compression, &stored), Ok((first, 11)), "{compression}");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let plain = b"insert into trades values (1, 2, 3);\n".repeat(10);
        for compression in FRAMED {
            let stored = encoded(compression, &plain);
            let read = |stored: &[u8]| -> Result<Vec<u8>, BadFrame> {
                let (length, plain_length) = probed(compression, stored)?;
                let mut back = vec![0; plain_length];
                decode(compression, stored.get(..length).ok_or(BadFrame::from("short"))?, &mut back)?;
                Ok(back)
            };
            for bit in 0..stored.len() * 8 {
                let mut damaged = stored.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                // A bit that means nothing (a gzip header's time) may go unnoticed here: then the content is unharmed,
                // and the hash of the file tells.
                if let Ok(back) = read(&damaged) {
                    assert!(back == plain, "{compression}: bit {bit} changed the content unnoticed");
                }
            }
            for length in 0..stored.len() {
                assert!(read(&stored[..length]).is_err(), "{compression}: cut to {length}");
            }
        }
    }

    #[test]
    fn a_frame_that_declares_more_than_a_chunk_is_refused_before_any_memory() {
        let plain = vec![0; CHUNK];
        let mut lz4 = encoded(Compression::Lz4, &plain);
        lz4[6..14].copy_from_slice(&(1_u64 << 40).to_le_bytes());
        lz4[14] = (twox_hash::XxHash32::oneshot(0, &lz4[4..14]) >> 8) as u8;
        assert!(probed(Compression::Lz4, &lz4).unwrap_err().0.contains("declares"));
        let bomb = ::zstd::bulk::compress(&vec![0; CHUNK * 16], 3).unwrap();
        assert!(probed(Compression::Zstd(3), &bomb).is_err());
        let mut gzip = encoded(Compression::Gzip(6), &plain);
        gzip[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(probed(Compression::Gzip(6), &gzip).unwrap_err().0.contains("declares"));
    }

    proptest! {
        #[test]
        fn nothing_makes_a_probe_or_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), keep in 0_usize..24) {
            for compression in FRAMED {
                let mut stored = encoded(compression, b"a frame to start from");
                stored.truncate(keep);
                stored.extend(&bytes);
                let _ = probed(compression, &stored);
                let _ = decode(compression, &stored, &mut [0; 64]);
            }
        }
    }
}
