//! Files with holes: where their content is, and the map of it in the stream.
//!
//! Format: GNU tar's sparse format 1.0 ("Storing Sparse Files" in its manual). The stored content begins with decimal
//! numbers, one a line: how many stretches there are, then offset and length of each; padded to a block. Then the
//! stretches follow without gaps.

use std::os::fd::AsFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::entry::Span;
use super::header::{BLOCK, Block};
use super::pax;

/// Most stretches that are written; what is behind the last of them is stored with its holes.
const MAX_WRITTEN: usize = 65_536;
/// Most stretches that are read.
const MAX_READ: u64 = 1 << 20;

/// Where a file of this size has content, in order. One stretch over all of it where the file system does not say.
pub(super) fn stretches(file: impl AsFd, size: u64) -> Vec<Span> {
    let whole = || vec![Span { offset: 0, length: size }];
    let mut found = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(&file, SeekFrom::Data(at)) {
            Ok(start) if start < size => start,
            // Nothing but a hole up to the end; or the file grew, and what is behind its size is not stored.
            Ok(_) | Err(Errno::NXIO) => break,
            Err(_) => return whole(),
        };
        let end = match rustix::fs::seek(&file, SeekFrom::Hole(start)) {
            // The file may change between the calls: go forward in any case.
            Ok(end) if end > start => end.min(size),
            Ok(_) | Err(_) => return whole(),
        };
        if found.len() + 1 == MAX_WRITTEN {
            found.push(Span { offset: start, length: size - start });
            break;
        }
        found.push(Span { offset: start, length: end - start });
        at = end;
    }
    found
}

/// The map of a file of `size` bytes with these stretches, padded.
pub(super) fn encode(stretches: &[Span], size: u64) -> Vec<u8> {
    let end = stretches.last().map_or(0, |last| last.offset + last.length);
    // A hole at the end is shown by an empty stretch behind it.
    let tail = (end < size).then_some(Span { offset: size, length: 0 });
    let mut map = format!("{}\n", stretches.len() + usize::from(tail.is_some()));
    for span in stretches.iter().chain(&tail) {
        map.push_str(&format!("{}\n{}\n", span.offset, span.length));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

/// Reads the map at the start of `stored` bytes of content of a file of `size` bytes. `next` gives a block each time.
/// Whatever it says, the stretches are in order, do not overlap, end within `size`, and have together as many bytes as
/// follow the map.
pub(super) fn decode<E>(
    stored: u64,
    size: u64,
    mut next: impl FnMut(&mut Block) -> Result<(), E>,
) -> Result<Result<Vec<Span>, &'static str>, E> {
    let mut numbers = Numbers { block: [0; BLOCK], used: BLOCK, left: stored };
    let Some(count) = numbers.next(&mut next)? else { return Ok(Err("the map of a sparse file is not well-formed")) };
    if count > MAX_READ {
        return Ok(Err("a sparse file has too many holes"));
    }
    let (mut found, mut end, mut content) = (Vec::new(), 0_u64, 0_u64);
    for _ in 0..count {
        let (Some(offset), Some(length)) = (numbers.next(&mut next)?, numbers.next(&mut next)?) else {
            return Ok(Err("the map of a sparse file is not well-formed"));
        };
        if offset < end || length > size.saturating_sub(offset) || offset > size {
            return Ok(Err("the map of a sparse file contradicts itself"));
        }
        end = offset + length;
        content += length;
        if length > 0 {
            found.push(Span { offset, length });
        }
    }
    if content != numbers.left {
        return Ok(Err("the map of a sparse file does not fit its content"));
    }
    Ok(Ok(found))
}

/// The numbers of a map.
struct Numbers {
    block: Block,
    used: usize,
    /// Bytes of content after the blocks read so far.
    left: u64,
}

impl Numbers {
    fn next<E>(&mut self, next: &mut impl FnMut(&mut Block) -> Result<(), E>) -> Result<Option<u64>, E> {
        let mut digits = Vec::new();
        loop {
            let Some(byte) = self.block.get(self.used).copied() else {
                match self.left.checked_sub(BLOCK as u64) {
                    Some(left) => self.left = left,
                    None => return Ok(None),
                }
                next(&mut self.block)?;
                self.used = 0;
                continue;
            };
            self.used += 1;
            match byte {
                b'\n' if !digits.is_empty() => return Ok(pax::number(&digits)),
                b'0'..=b'9' if digits.len() < 20 => digits.push(byte),
                _ => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn read(map: &[u8], stored: u64, size: u64) -> Result<Vec<Span>, &'static str> {
        let mut blocks = map.chunks(BLOCK);
        let next = |block: &mut Block| {
            let chunk = blocks.next().unwrap_or_default();
            block.fill(0);
            block[..chunk.len()].copy_from_slice(chunk);
            Ok::<_, Infallible>(())
        };
        match decode(stored, size, next) {
            Ok(result) => result,
        }
    }

    proptest! {
        #[test]
        fn maps_survive(gaps in proptest::collection::vec((1_u64..1 << 40, 1_u64..1 << 30), 0..200), tail in 0_u64..9) {
            let mut end = 0;
            let spans: Vec<_> = gaps.iter().map(|(gap, length)| {
                let offset = end + gap;
                end = offset + length;
                Span { offset, length: *length }
            }).collect();
            let map = encode(&spans, end + tail);
            prop_assert_eq!(map.len() % BLOCK, 0);
            let content: u64 = spans.iter().map(|span| span.length).sum();
            prop_assert_eq!(read(&map, map.len() as u64 + content, end + tail), Ok(spans));
        }

        #[test]
        fn arbitrary_maps_never_lead_outside(
            text in "[0-9]{0,22}\n([0-9]{1,4}\n){0,40}",
            stored in 0_u64..4096,
            size: u64,
        ) {
            if let Ok(spans) = read(text.as_bytes(), stored, size) {
                let mut end = 0;
                for span in spans {
                    prop_assert!(span.offset >= end);
                    end = span.offset + span.length;
                    prop_assert!(end <= size);
                }
            }
        }
    }

    #[test]
    fn a_map_that_contradicts_itself_is_refused() {
        for map in [
            "2\n10\n5\n12\n1\n",
            "1\n90\n20\n",
            "1\n200\n0\n",
            "1\n",
            "x\n",
            "99999999\n",
            "1\n0\n18446744073709551615\n",
        ] {
            assert!(read(map.as_bytes(), 512, 100).is_err(), "{map}");
        }
        assert_eq!(read(b"1\n100\n0\n", 512, 100), Ok(vec![]));
        assert_eq!(read(b"1\n0\n5\n", 517, 100), Ok(vec![Span { offset: 0, length: 5 }]));
        assert!(read(b"1\n0\n5\n", 518, 100).is_err());
    }
}
