//! A segment file: its name, its header, and how one comes to be.
//!
//! ```text
//! offset  size  field                         all integers little-endian
//!      0     8  magic "HFLOGSEG"
//!      8     4  format version, 1
//!     12     4  zero
//!     16     8  position of the first event
//!     24    32  chain before it
//!     56     4  zero
//!     60     4  CRC32C of bytes 0..60
//!     64        commits, up to the end of the file or to zeros
//! ```
//!
//! Zeros after the last commit are room that was taken ahead; a segment that was closed has none.
//!
//! The name is the first position in 20 digits and `.seg`, so that names sort as positions do. Name and header are both
//! known from the segment before, so a damaged header is written anew.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use holdfast_model::ids::{Position, Sha256};

/// Bytes before the first commit.
pub(crate) const HEADER: u64 = 64;
/// The format this program writes, and the newest it reads.
pub(crate) const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"HFLOGSEG";
const EXTENSION: &str = "seg";

/// What a segment's first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// A header of this format.
    Whole {
        /// Position of the first event.
        first: Position,
        /// Chain before it.
        chain: Sha256,
    },
    /// A header of a newer program, with its format version.
    Newer(u32),
    /// No header.
    Damaged,
}

/// The header of a segment that starts with `first`.
pub(crate) fn header(first: Position, chain: Sha256) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER as usize);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&first.0.to_le_bytes());
    bytes.extend_from_slice(&chain.0);
    bytes.extend_from_slice(&[0; 4]);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads the header of an open segment.
///
/// # Errors
/// As `pread(2)`; a file that is too short is [`Header::Damaged`].
pub(crate) fn read_header(file: &File) -> io::Result<Header> {
    let mut bytes = [0; HEADER as usize];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(parse(&bytes).unwrap_or(Header::Damaged)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Header::Damaged),
        Err(error) => Err(error),
    }
}

fn parse(bytes: &[u8]) -> Option<Header> {
    let (fields, crc) = bytes.split_last_chunk::<4>()?;
    let (magic, rest) = fields.split_first_chunk::<8>()?;
    let (format, rest) = rest.split_first_chunk::<4>()?;
    let (first, rest) = rest.get(4..)?.split_first_chunk::<8>()?;
    if magic != MAGIC || crc32c::crc32c(fields) != u32::from_le_bytes(*crc) {
        return None;
    }
    match u32::from_le_bytes(*format) {
        FORMAT => Some(Header::Whole {
            first: Position(u64::from_le_bytes(*first)),
            chain: Sha256(*rest.first_chunk::<32>()?),
        }),
        newer => Some(Header::Newer(newer)),
    }
}

/// Where the segment that starts with `first` lies.
pub(crate) fn path(dir: &Path, first: Position) -> PathBuf {
    dir.join(format!("{:020}.{EXTENSION}", first.0))
}

/// All segments of a journal, in order; none where the folder is missing. Other files are passed over.
///
/// # Errors
/// As `readdir(3)`.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<(Position, PathBuf)>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut segments = Vec::new();
    for entry in entries {
        let path = entry?.path();
        segments.extend(position_of(&path).map(|first| (first, path)));
    }
    segments.sort();
    Ok(segments)
}

fn position_of(path: &Path) -> Option<Position> {
    let stem = path.file_stem()?.to_str()?;
    let named = path.extension()? == EXTENSION && stem.len() == 20 && stem.bytes().all(|b| b.is_ascii_digit());
    if named { stem.parse().ok().map(Position) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_every_flipped_bit_is_noticed() {
        let bytes = header(Position(42), Sha256([7; 32]));
        assert_eq!(parse(&bytes), Some(Header::Whole { first: Position(42), chain: Sha256([7; 32]) }));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let mut bytes = header(Position(1), Sha256([0; 32]));
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(parse(&bytes), Some(Header::Newer(9)));
    }

    #[test]
    fn names_sort_as_positions_and_others_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        for first in [1_u64, 20, 3] {
            std::fs::write(path(dir.path(), Position(first)), b"").unwrap();
        }
        for other in ["1.seg", "00000000000000000001.seg.tmp", "notes.txt", "0000000000000000000x.seg"] {
            std::fs::write(dir.path().join(other), b"").unwrap();
        }
        let found: Vec<_> = list(dir.path()).unwrap().into_iter().map(|(first, _)| first.0).collect();
        assert_eq!(found, [1, 3, 20]);
        assert!(list(&dir.path().join("missing")).unwrap().is_empty());
    }
}
