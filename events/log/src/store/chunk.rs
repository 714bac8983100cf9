//! What one key of the store holds: neighbouring events of one commit.
//!
//! ```text
//! key      'e' and the position of the last event, big-endian: the first key at or after a position holds its event
//! offset  size  field                         all integers little-endian
//!      0     8  position of the commit's first event
//!      8     8  position of the commit's last event
//!     16     4  number of events in here
//!     20    32  chain after the commit
//!     52     4  CRC32C of bytes 0..52
//!     56        the events, as in the commit's payload, each with its length and CRC32C
//! ```
//!
//! So each commit can be put together again byte by byte, its header and chain included. A commit is cut into chunks of
//! about 4 KiB, because sled keeps at least 16 values in a leaf and writes leaves of over 128 KiB into files that it
//! never syncs.

use holdfast_model::ids::{Position, Sha256};

use crate::journal::frame::{Commit, Encoded, Encoder, Entries};

/// A chunk is full at this size, unless its only event is larger.
const FULL: usize = 4 << 10;
const HEADER: usize = 56;
/// What the keys of events start with.
const PREFIX: u8 = b'e';

/// One value of the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk<'a> {
    /// First event of the commit.
    pub(crate) commit_first: Position,
    /// Last event of the commit.
    pub(crate) commit_last: Position,
    /// First event in here.
    pub(crate) first: Position,
    /// Last event in here.
    pub(crate) last: Position,
    /// Chain after the commit.
    pub(crate) chain: Sha256,
    /// The events.
    pub(crate) entries: &'a [u8],
}

/// The key of the chunk that ends with `last`.
pub(crate) fn key(last: Position) -> [u8; 9] {
    let mut key = [PREFIX; 9];
    for (place, byte) in key.iter_mut().skip(1).zip(last.0.to_be_bytes()) {
        *place = byte;
    }
    key
}

impl<'a> Chunk<'a> {
    /// Reads a key and its value; none where they are not a chunk.
    pub(crate) fn parse(key: &[u8], value: &'a [u8]) -> Option<Self> {
        let (prefix, last) = key.split_first()?;
        let last = u64::from_be_bytes(last.try_into().ok()?);
        let (header, entries) = value.split_first_chunk::<HEADER>()?;
        let (fields, crc) = header.split_last_chunk::<4>()?;
        let (commit_first, rest) = fields.split_first_chunk::<8>()?;
        let (commit_last, rest) = rest.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let commit_first = u64::from_le_bytes(*commit_first);
        let commit_last = u64::from_le_bytes(*commit_last);
        let first = last.checked_add(1)?.checked_sub(u64::from(u32::from_le_bytes(*count)))?;
        let sane =
            *prefix == PREFIX && commit_first > 0 && commit_first <= first && first <= last && last <= commit_last;
        if !sane || crc32c::crc32c(fields) != u32::from_le_bytes(*crc) {
            return None;
        }
        Some(Self {
            commit_first: Position(commit_first),
            commit_last: Position(commit_last),
            first: Position(first),
            last: Position(last),
            chain: Sha256(*rest.first_chunk::<32>()?),
            entries,
        })
    }
}

/// Cuts a commit into chunks and hands over key and value of each.
pub(crate) fn cut(commit: &Commit<'_>, mut each: impl FnMut([u8; 9], Vec<u8>)) {
    let mut entries = Entries(commit.payload).map_while(Result::ok).peekable();
    let mut last = commit.first.0.saturating_sub(1);
    while entries.peek().is_some() {
        let mut value = Vec::with_capacity(HEADER + FULL);
        value.resize(HEADER, 0);
        let mut count = 0_u32;
        while let Some(entry) = entries.next_if(|entry| count == 0 || value.len() + entry.bytes.len() <= FULL) {
            value.extend_from_slice(entry.bytes);
            count += 1;
        }
        last += u64::from(count);
        if let Some(place) = value.get_mut(..HEADER) {
            place.copy_from_slice(&header(commit, count));
        }
        each(key(Position(last)), value);
    }
}

fn header(commit: &Commit<'_>, count: u32) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(&commit.first.0.to_le_bytes());
    header.extend_from_slice(&commit.last().0.to_le_bytes());
    header.extend_from_slice(&count.to_le_bytes());
    header.extend_from_slice(&commit.chain.0);
    header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
    header
}

/// Puts commits together again from their chunks, which come in order.
#[derive(Default)]
pub(crate) struct Joiner {
    open: Option<(Encoder, Position)>,
}

/// What a chunk did to a commit.
pub(crate) enum Joined {
    /// More of it must come.
    More,
    /// It was the last one; the commit, as it was written, and its last position.
    Whole(Encoded, Position),
}

impl Joiner {
    /// Adds the chunk that follows those added. `before` is the chain before its commit. None where it does not follow,
    /// is damaged, or the commit is not the one that was written after `before`.
    pub(crate) fn add(&mut self, chunk: &Chunk<'_>, before: Sha256) -> Option<Joined> {
        let (mut encoder, expected) =
            self.open.take().unwrap_or_else(|| (Encoder::new(chunk.commit_first), chunk.commit_first));
        let count = Entries(chunk.entries).try_fold(0_u32, |count, entry| entry.ok().map(|_| count + 1))?;
        let announced = chunk.last.0 - chunk.first.0 + 1;
        if chunk.first != expected || u64::from(count) != announced {
            return None;
        }
        encoder.push_entries(chunk.entries, count);
        if chunk.last < chunk.commit_last {
            self.open = Some((encoder, chunk.last.next()));
            return Some(Joined::More);
        }
        let encoded = encoder.finish(before);
        (encoded.chain == chunk.chain).then_some(Joined::Whole(encoded, chunk.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::frame::{GENESIS, Parsed, parse};
    use crate::samples::record_of;

    #[test]
    fn a_commit_is_cut_and_joined_byte_by_byte() {
        for (count, size) in [(1, 10), (1, 6144), (64, 200), (5, 6144), (200, 30)] {
            let mut encoder = Encoder::new(Position(11));
            for i in 0..count {
                encoder.push(&record_of("run/a", 11 + i, 1 + i, size));
            }
            let before = Sha256([3; 32]);
            let encoded = encoder.finish(before);
            let Parsed::Commit(commit) = parse(&encoded.bytes) else { panic!("whole") };
            let mut chunks = Vec::new();
            cut(&commit, |key, value| chunks.push((key, value)));
            assert!(chunks.iter().all(|(_, value)| value.len() <= FULL.max(6144 + 400)));
            let mut joiner = Joiner::default();
            let mut whole = None;
            for (key, value) in &chunks {
                let chunk = Chunk::parse(key, value).unwrap();
                if let Joined::Whole(encoded, last) = joiner.add(&chunk, before).unwrap() {
                    whole = Some((encoded.bytes, last.0));
                }
            }
            assert_eq!(whole, Some((encoded.bytes.clone(), 10 + count)));

            // Not after another chain, not with a chunk missing, not with a flipped bit.
            let first = Chunk::parse(&chunks[0].0, &chunks[0].1).unwrap();
            if chunks.len() == 1 {
                assert!(Joiner::default().add(&first, GENESIS).is_none());
            } else {
                let second = Chunk::parse(&chunks[1].0, &chunks[1].1).unwrap();
                assert!(Joiner::default().add(&second, before).is_none());
            }
            for at in 0..chunks[0].1.len() {
                let mut value = chunks[0].1.clone();
                value[at] ^= 0x10;
                let parsed = Chunk::parse(&chunks[0].0, &value);
                assert!(parsed.and_then(|chunk| Joiner::default().add(&chunk, before)).is_none(), "{at}");
            }
        }
    }
}
