//! The frames of an artifact, kept to find ranges by.

use super::FrameLine;

/// Where an artifact's frames lie: 20 bytes of memory a frame, 5 MiB a terabyte of content.
#[derive(Debug, Clone, Default)]
pub struct FrameTable {
    frames: Vec<Row>,
    stored_bytes: u64,
    content_bytes: u64,
}

/// A frame's beginnings; it ends where the next one begins.
#[derive(Debug, Clone, Copy)]
struct Row {
    stored_offset: u64,
    plain_offset: u64,
    crc32: Option<u32>,
}

impl FrameTable {
    /// Adds the next frame. They come from an [`super::IndexReader`], which has checked that they join.
    pub fn add(&mut self, line: FrameLine) {
        let FrameLine { stored_offset, plain_offset, crc32, .. } = line;
        self.frames.push(Row { stored_offset, plain_offset, crc32 });
        self.stored_bytes = stored_offset.saturating_add(line.stored_length);
        self.content_bytes = plain_offset.saturating_add(line.plain_length);
    }

    /// How many frames there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes of the artifact's file that they cover.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Bytes of content that they hold.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// The frame with number `n`.
    #[must_use]
    pub fn get(&self, n: usize) -> Option<FrameLine> {
        let row = self.frames.get(n)?;
        let (stored_end, plain_end) = match self.frames.get(n + 1) {
            Some(next) => (next.stored_offset, next.plain_offset),
            None => (self.stored_bytes, self.content_bytes),
        };
        Some(FrameLine {
            stored_offset: row.stored_offset,
            stored_length: stored_end - row.stored_offset,
            plain_offset: row.plain_offset,
            plain_length: plain_end - row.plain_offset,
            crc32: row.crc32,
        })
    }

    /// Numbers of the first and the last frame that hold bytes from `offset` on, `length` of them, at least one.
    #[must_use]
    pub fn covering(&self, offset: u64, length: u64) -> Option<(usize, usize)> {
        let last_byte = offset.checked_add(length.checked_sub(1)?)?;
        if last_byte >= self.content_bytes {
            return None;
        }
        // A frame of no bytes begins where the next one does, and holds nothing: the later one is meant.
        let holding = |byte: u64| self.frames.partition_point(|row| row.plain_offset <= byte).checked_sub(1);
        Some((holding(offset)?, holding(last_byte)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lengths: &[(u64, u64)]) -> FrameTable {
        let mut table = FrameTable::default();
        for &(stored_length, plain_length) in lengths {
            let (stored_offset, plain_offset) = (table.stored_bytes(), table.content_bytes());
            table.add(FrameLine { stored_offset, stored_length, plain_offset, plain_length, crc32: None });
        }
        table
    }

    #[test]
    fn a_range_is_covered_by_the_frames_it_lies_in() {
        let table = table(&[(10, 100), (20, 100), (5, 30)]);
        assert_eq!(table.covering(0, 1), Some((0, 0)));
        assert_eq!(table.covering(99, 1), Some((0, 0)));
        assert_eq!(table.covering(99, 2), Some((0, 1)));
        assert_eq!(table.covering(0, 230), Some((0, 2)));
        assert_eq!(table.covering(229, 1), Some((2, 2)));
        for (offset, length) in [(230, 1), (229, 2), (0, 0), (u64::MAX, 2), (0, u64::MAX)] {
            assert_eq!(table.covering(offset, length), None, "{offset} {length}");
        }
        let last = table.get(2).unwrap();
        assert_eq!((last.stored_offset, last.stored_length, last.plain_offset, last.plain_length), (30, 5, 200, 30));
        assert!(table.get(3).is_none());
    }

    #[test]
    fn a_frame_of_no_bytes_is_never_looked_into() {
        let table = table(&[(10, 100), (20, 0), (20, 50)]);
        assert_eq!(table.covering(100, 50), Some((2, 2)));
        assert_eq!(self::table(&[(10, 0)]).covering(0, 1), None);
    }
}
