//! How a stream is cut into parts: few enough for S3, and small enough for memory.

use bytes::Bytes;
use opendal::Buffer;

use crate::endpoints::{ErrorKind, StoreError};

/// Most parts of an upload (Amazon S3 user guide, "Multipart upload limits").
const MOST: u64 = 10_000;
/// Smallest part; S3 wants 5 MiB for all but the last.
const SMALLEST: u64 = 8 << 20;
/// The first parts of a stream of unknown length, and after how many they double.
const UNKNOWN: u64 = 16 << 20;
const DOUBLED_AFTER: u64 = 1_000;
/// Largest part of a stream of unknown length: what memory is spent at most. With it about 3 TiB can be sent.
const LARGEST: u64 = 512 << 20;

/// Takes pieces, gives parts.
pub(super) struct Parts {
    length: Option<u64>,
    pieces: Vec<Bytes>,
    filled: u64,
    count: u64,
    taken: u64,
}

impl Parts {
    /// For a stream of this length.
    pub(super) fn of(length: Option<u64>) -> Self {
        Self { length, pieces: Vec::new(), filled: 0, count: 0, taken: 0 }
    }

    /// The size of the part that fills.
    fn size(&self) -> u64 {
        match self.length {
            Some(length) => length.div_ceil(MOST).next_multiple_of(1 << 20).max(SMALLEST),
            None => {
                let doublings = u32::try_from(self.count / DOUBLED_AFTER).unwrap_or(u32::MAX);
                UNKNOWN.checked_shl(doublings).unwrap_or(LARGEST).min(LARGEST)
            }
        }
    }

    pub(super) fn add(&mut self, bytes: Bytes) {
        self.filled += bytes.len() as u64;
        self.pieces.push(bytes);
    }

    /// A part, where there is enough for one.
    pub(super) fn full(&mut self) -> Option<Result<Buffer, StoreError>> {
        let size = self.size();
        if self.filled < size {
            return None;
        }
        let mut pieces = std::mem::take(&mut self.pieces);
        let over = usize::try_from(self.filled - size).unwrap_or(0);
        if over > 0
            && let Some(last) = pieces.last_mut()
        {
            let rest = last.split_off(last.len().saturating_sub(over));
            self.pieces.push(rest);
        }
        self.filled = over as u64;
        Some(self.cut(pieces, size))
    }

    /// What is left at the end; nothing where parts have taken all.
    pub(super) fn rest(&mut self) -> Result<Option<Buffer>, StoreError> {
        let (pieces, size) = (std::mem::take(&mut self.pieces), std::mem::take(&mut self.filled));
        if size == 0 { Ok(None) } else { self.cut(pieces, size).map(Some) }
    }

    /// How many bytes went into parts.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    fn cut(&mut self, pieces: Vec<Bytes>, size: u64) -> Result<Buffer, StoreError> {
        if self.count == MOST {
            let why = "a stream of unknown length has more bytes than 10,000 parts can hold";
            return Err(StoreError::new(ErrorKind::Fatal, "write it to S3", why));
        }
        self.count += 1;
        self.taken += size;
        Ok(Buffer::from(pieces))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn parts_are_few_enough_and_small_enough() {
        for length in [0, 1, 5 << 30, 80_000 << 20, 5 << 40] {
            let size = Parts::of(Some(length)).size();
            assert!(length.div_ceil(size) <= MOST, "{length}: {size}");
            assert!(size == SMALLEST || size <= length.div_ceil(MOST) + (1 << 20), "{length}: {size}");
        }
        let unknown = |count| Parts { count, ..Parts::of(None) }.size();
        assert_eq!([0, 999, 1000, 4999, 9999].map(unknown), [UNKNOWN, UNKNOWN, UNKNOWN * 2, UNKNOWN * 16, LARGEST]);
        let total: u64 = (0..MOST).map(unknown).sum();
        assert!(total > 2 << 40, "{total}");
    }

    #[test]
    fn nothing_is_lost_between_parts() {
        let mut parts = Parts::of(None);
        let piece = Bytes::from(vec![7; 5 << 20]);
        let mut sizes = Vec::new();
        for _ in 0..7 {
            parts.add(piece.clone());
            while let Some(part) = parts.full() {
                sizes.push(part.unwrap().len());
            }
        }
        sizes.extend(parts.rest().unwrap().map(|part| part.len()));
        assert_eq!(sizes, [16 << 20, 16 << 20, 3 << 20]);
        assert_eq!(parts.taken(), 35 << 20);
        assert!(parts.rest().unwrap().is_none());
    }
}
