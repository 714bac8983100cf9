//! `head`: how far the journal is known to be on stable storage, for readers beside a living owner.
//!
//! Twelve bytes: the position (8, little-endian) and their CRC32C. The owner writes them after each sync of the journal and never
//! syncs them: after a crash they may be older than the journal, never ahead of it. So they also tell a torn tail,
//! which nobody was told of, from a damaged one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use holdfast_model::ids::Position;

/// Its name in the log's folder.
pub(crate) const NAME: &str = "head";
const LENGTH: usize = 12;
/// A write of it is not atomic to a reader beside it; one that was met in the middle is over after a few tries.
const TRIES: usize = 100;

/// The owner's side.
#[derive(Debug)]
pub(crate) struct HeadFile(File);

impl HeadFile {
    /// Opens it, making it where it is missing.
    ///
    /// # Errors
    /// As `open(2)`.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(dir.join(NAME)).map(Self)
    }

    /// Moves it.
    ///
    /// # Errors
    /// As `pwrite(2)`.
    pub(crate) fn set(&self, head: Position) -> io::Result<()> {
        self.0.write_all_at(&encode(head), 0)
    }
}

/// What it says; none where it is missing or damaged.
///
/// # Errors
/// As `open(2)` and `pread(2)`.
pub(crate) fn read(dir: &Path) -> io::Result<Option<Position>> {
    let file = match File::open(dir.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    for _ in 0..TRIES {
        let mut bytes = [0; LENGTH];
        match file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            result => result?,
        }
        if let Some(head) = decode(&bytes) {
            return Ok(Some(head));
        }
        std::thread::yield_now();
    }
    Ok(None)
}

fn encode(head: Position) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let position = head.0.to_le_bytes();
    let crc = crc32c::crc32c(&position).to_le_bytes();
    for (place, byte) in bytes.iter_mut().zip(position.into_iter().chain(crc)) {
        *place = byte;
    }
    bytes
}

fn decode(bytes: &[u8; LENGTH]) -> Option<Position> {
    let (position, rest) = bytes.split_first_chunk::<8>()?;
    let crc = u32::from_le_bytes(*rest.first_chunk::<4>()?);
    // Zeros are what a crash leaves of a file that was never written; their checksum is not zero.
    (crc32c::crc32c(position) == crc).then_some(Position(u64::from_le_bytes(*position)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_damage_reads_as_not_known() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let file = HeadFile::open(dir.path()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        for head in [1, 0, u64::MAX, 77] {
            file.set(Position(head)).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Some(Position(head)));
        }
        file.0.write_all_at(&[1], 3).unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        std::fs::write(dir.path().join(NAME), [0; 12]).unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
    }
}
