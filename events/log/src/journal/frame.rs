//! One commit in bytes, and the chain that ties it to those before it.
//!
//! ```text
//! offset  size  field                         all integers little-endian
//!      0     4  magic "HFC1"
//!      4     4  length of the payload, n
//!      8     8  position of the first event
//!     16     4  number of events, at least 1
//!     20     4  CRC32C of bytes 0..20, so that a damaged length is never believed
//!     24     n  payload: for each event its length (4), its CRC32C (4) and its record
//!   24+n    32  chain: SHA-256 of the chain before this commit and of bytes 0..24+n
//!   56+n     4  CRC32C of bytes 0..56+n
//! ```
//!
//! The CRCs find accidents, the chain finds rewritten history: a commit that was changed together with its CRC no longer
//! fits the commits after it. The chain before the first commit is all zeros.

use holdfast_model::ids::{Position, Sha256};
use holdfast_model::record::Record;
use sha2::Digest;

/// The chain before the first commit.
pub(crate) const GENESIS: Sha256 = Sha256([0; 32]);
/// Bytes before the payload.
pub(crate) const HEADER: usize = 24;
/// Bytes after the payload.
const TRAILER: usize = 36;
/// Longest payload that is written or believed.
pub(crate) const MAX_PAYLOAD: usize = 4 << 20;
/// How a commit starts.
pub(crate) const MAGIC: [u8; 4] = *b"HFC1";
/// Bytes before each record of a payload.
const ENTRY_HEADER: usize = 8;

/// The chain after a commit whose header and payload are `signed`.
pub(crate) fn chain_after(before: Sha256, signed: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::new().chain_update(before.0).chain_update(signed).finalize().into())
}

/// A whole commit, its CRCs checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commit<'a> {
    /// Position of its first event.
    pub(crate) first: Position,
    /// Number of its events.
    pub(crate) count: u32,
    /// Its events, one [`Entry`] after the other.
    pub(crate) payload: &'a [u8],
    /// The chain after it, as it says itself.
    pub(crate) chain: Sha256,
    /// All its bytes.
    pub(crate) bytes: &'a [u8],
}

impl Commit<'_> {
    /// Position of its last event.
    pub(crate) fn last(&self) -> Position {
        Position(self.first.0.saturating_add(u64::from(self.count)).saturating_sub(1))
    }

    /// Whether it is the commit that was written after the one that ended in `before`.
    pub(crate) fn follows(&self, before: Sha256) -> bool {
        let signed = self.bytes.get(..HEADER + self.payload.len()).unwrap_or_default();
        chain_after(before, signed) == self.chain
    }
}

/// What stands at a place where a commit may start.
#[derive(Debug)]
pub(crate) enum Parsed<'a> {
    /// A whole commit.
    Commit(Commit<'a>),
    /// The commit goes on: this many bytes are needed to tell.
    Short(usize),
    /// Not a commit, or a damaged one.
    Flaw(Flaw),
}

/// What is wrong with the bytes at some place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// What does not hold.
    pub(crate) reason: &'static str,
    /// The first event that is damaged, where the bytes still tell.
    pub(crate) event: Option<Position>,
}

impl Flaw {
    pub(crate) fn new(reason: &'static str) -> Self {
        Self { reason, event: None }
    }
}

/// Reads the commit that starts at `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some(header) = bytes.get(..HEADER) else { return Parsed::Short(HEADER) };
    let Some((first, count, length)) = parse_header(header) else {
        return Parsed::Flaw(Flaw::new("the commit's header is damaged"));
    };
    let whole = HEADER + length + TRAILER;
    let Some(bytes) = bytes.get(..whole) else { return Parsed::Short(whole) };
    let (Some(payload), Some((covered, crc))) = (bytes.get(HEADER..HEADER + length), bytes.split_last_chunk::<4>())
    else {
        return Parsed::Flaw(Flaw::new("the commit's header is damaged"));
    };
    if crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
        return Parsed::Flaw(Flaw {
            reason: "the commit's checksum does not hold",
            event: first_damaged(first, payload),
        });
    }
    let chain = covered.last_chunk::<32>().copied().unwrap_or_default();
    Parsed::Commit(Commit { first, count, payload, chain: Sha256(chain), bytes })
}

/// First position, number of events and payload length, if the header is whole.
fn parse_header(header: &[u8]) -> Option<(Position, u32, usize)> {
    let (fields, crc) = header.split_last_chunk::<4>()?;
    let (magic, rest) = fields.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (first, rest) = rest.split_first_chunk::<8>()?;
    let count = u32::from_le_bytes(*rest.first_chunk::<4>()?);
    let (first, length) = (u64::from_le_bytes(*first), usize::try_from(u32::from_le_bytes(*length)).ok()?);
    let sane = *magic == MAGIC && length <= MAX_PAYLOAD && count > 0 && first > 0;
    (sane && crc32c::crc32c(fields) == u32::from_le_bytes(*crc)).then_some((Position(first), count, length))
}

/// The first event of a damaged payload whose own checksum does not hold; none where all do (the damage is in the
/// trailer).
fn first_damaged(first: Position, payload: &[u8]) -> Option<Position> {
    let index = Entries(payload).position(|entry| entry.is_err())?;
    Some(Position(first.0.saturating_add(index as u64)))
}

/// The events of a payload in order; an error ends it.
pub(crate) struct Entries<'a>(pub(crate) &'a [u8]);

/// One event of a payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Its record, its checksum checked.
    pub(crate) record: &'a [u8],
    /// The record with its length and checksum.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = split_entry(self.0);
        self.0 = match &entry {
            Some((_, rest)) => rest,
            None => &[],
        };
        Some(entry.map(|(entry, _)| entry).ok_or(Flaw::new("the event's checksum does not hold")))
    }
}

fn split_entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (length, after) = bytes.split_first_chunk::<4>()?;
    let (crc, _) = after.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (bytes, rest) = bytes.split_at_checked(ENTRY_HEADER.checked_add(length)?)?;
    let record = bytes.get(ENTRY_HEADER..)?;
    (crc32c::crc32c(record) == u32::from_le_bytes(*crc)).then_some((Entry { record, bytes }, rest))
}

/// Builds the bytes of one commit.
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    first: Position,
    count: u32,
}

/// A commit in bytes, with what is needed to go on from it.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// The chain after it.
    pub(crate) chain: Sha256,
}

impl Encoder {
    /// A commit whose first event has position `first`.
    pub(crate) fn new(first: Position) -> Self {
        Self { bytes: vec![0; HEADER], first, count: 0 }
    }

    /// Adds an event.
    pub(crate) fn push(&mut self, record: &Record) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ENTRY_HEADER]);
        record.encode(&mut self.bytes);
        let Some((header, encoded)) =
            self.bytes.get_mut(start..).and_then(|entry| entry.split_first_chunk_mut::<ENTRY_HEADER>())
        else {
            return;
        };
        let crc = crc32c::crc32c(encoded).to_le_bytes();
        let length = (encoded.len() as u32).to_le_bytes();
        header.copy_from_slice(&[length, crc].concat());
        self.count += 1;
    }

    /// Adds events that are in a payload's form already.
    pub(crate) fn push_entries(&mut self, entries: &[u8], count: u32) {
        self.bytes.extend_from_slice(entries);
        self.count += count;
    }

    /// Bytes of the events so far.
    pub(crate) fn payload_len(&self) -> usize {
        self.bytes.len() - HEADER
    }

    /// Ends the commit, which follows the one that ended in `before`.
    pub(crate) fn finish(mut self, before: Sha256) -> Encoded {
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&(self.payload_len() as u32).to_le_bytes());
        header.extend_from_slice(&self.first.0.to_le_bytes());
        header.extend_from_slice(&self.count.to_le_bytes());
        header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
        if let Some(place) = self.bytes.get_mut(..HEADER) {
            place.copy_from_slice(&header);
        }
        let chain = chain_after(before, &self.bytes);
        self.bytes.extend_from_slice(&chain.0);
        let crc = crc32c::crc32c(&self.bytes);
        self.bytes.extend_from_slice(&crc.to_le_bytes());
        Encoded { bytes: self.bytes, chain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::record;

    fn commit(first: u64, count: u64, before: Sha256) -> Encoded {
        let mut encoder = Encoder::new(Position(first));
        for i in 0..count {
            encoder.push(&record("run/a", first + i, first + i));
        }
        encoder.finish(before)
    }

    #[test]
    fn a_commit_reads_back() {
        let encoded = commit(7, 3, GENESIS);
        let Parsed::Commit(read) = parse(&encoded.bytes) else { panic!("whole") };
        assert_eq!((read.first, read.last(), read.chain), (Position(7), Position(9), encoded.chain));
        assert!(read.follows(GENESIS));
        assert!(!read.follows(encoded.chain));
        let records: Vec<_> =
            Entries(read.payload).map(|entry| Record::decode(entry.unwrap().record).unwrap().position.0).collect();
        assert_eq!(records, [7, 8, 9]);
    }

    #[test]
    fn a_cut_commit_asks_for_more() {
        let encoded = commit(1, 2, GENESIS);
        for length in 0..encoded.bytes.len() {
            assert!(matches!(parse(&encoded.bytes[..length]), Parsed::Short(need) if need > length), "{length}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_events_are_named() {
        let encoded = commit(5, 2, GENESIS);
        let second = HEADER + (encoded.bytes.len() - HEADER - TRAILER) / 2;
        for bit in 0..encoded.bytes.len() * 8 {
            let mut bytes = encoded.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Parsed::Flaw(flaw) = parse(&bytes) else { panic!("bit {bit} went unnoticed") };
            let named = match bit / 8 {
                at if at < HEADER || at >= bytes.len() - TRAILER => None,
                at if at < second => Some(Position(5)),
                _ => Some(Position(6)),
            };
            assert_eq!(flaw.event, named, "bit {bit}");
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        proptest::proptest!(|(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200))| {
            let _ = parse(&bytes);
            let _ = Entries(&bytes).count();
        });
    }
}
