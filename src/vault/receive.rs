//! The bytes of one request on their way to the disk.
//!
//! They go through a short channel to a thread that writes and hashes them, and that ends in good order whatever becomes of the connection:
//! what came is synced before its length is said to anybody. A part with a checksum counts as a whole or not at all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use holdfast_log::{fault, space};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::Receiver;

use super::error::{Problem, is_full};
use super::wire::PartChecksum;

/// Bytes after which they are synced, in the middle of a request.
const SYNC_STEP: u64 = 32 << 20;
/// Pieces that wait to be written at most, each as large as the HTTP library reads at a time.
pub(super) const WAITING: usize = 32;

/// A piece of a request's body.
pub(super) enum Piece {
    Bytes(Bytes),
    /// The body came to its end. Without it, the connection did.
    End,
}

/// An upload whose bytes are being added to.
pub(super) struct Taking {
    pub(super) file: File,
    /// Where the bytes go.
    pub(super) offset: u64,
    /// Where the file is to end.
    pub(super) size: u64,
    /// The hash of what is there; none where this process has not seen all of it.
    pub(super) hash: Option<Sha256>,
    pub(super) checksum: Option<PartChecksum>,
    /// Bytes that stay free on the disk.
    pub(super) reserve: u64,
}

/// What became of a request's bytes.
pub(super) struct Taken {
    /// How much of the file is there and synced.
    pub(super) offset: u64,
    pub(super) hash: Option<Sha256>,
    /// Why not all of it was taken.
    pub(super) problem: Option<Problem>,
}

enum PartHash {
    Sha1(sha1::Sha1),
    Sha256(Sha256),
}

impl PartHash {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            PartHash::Sha1(hash) => hash.update(bytes),
            PartHash::Sha256(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> PartChecksum {
        match self {
            PartHash::Sha1(hash) => PartChecksum::Sha1(hash.finalize().into()),
            PartHash::Sha256(hash) => PartChecksum::Sha256(hash.finalize().into()),
        }
    }
}

/// Takes the bytes that come until they end. Blocks. Where even the length of what is there cannot be made certain, the error says so.
pub(super) fn take(mut taking: Taking, mut pieces: Receiver<Piece>) -> io::Result<Taken> {
    let start = taking.offset;
    let hash_before = taking.hash.clone();
    let mut part = taking.checksum.as_ref().map(|checksum| match checksum {
        PartChecksum::Sha1(_) => PartHash::Sha1(sha1::Sha1::new()),
        PartChecksum::Sha256(_) => PartHash::Sha256(Sha256::new()),
    });
    let mut synced = start;
    let mut problem = None;
    let mut whole = false;
    while let Some(piece) = pieces.blocking_recv() {
        let Piece::Bytes(bytes) = piece else {
            whole = true;
            break;
        };
        let end = taking.offset.saturating_add(bytes.len() as u64);
        if end > taking.size {
            problem = Some(Problem::new(
                413,
                "UPLOAD_TOO_LONG",
                "more bytes came than the upload is long: none of them count",
            ));
            break;
        }
        if let Err(error) = taking.file.write_all_at(&bytes, taking.offset) {
            if !is_full(&error) {
                return Err(error);
            }
            problem = Some(Problem::no_space());
            break;
        }
        if let Some(hash) = &mut taking.hash {
            hash.update(&bytes);
        }
        if let Some(part) = &mut part {
            part.update(&bytes);
        }
        taking.offset = end;
        if taking.offset - synced >= SYNC_STEP {
            taking.file.sync_data()?;
            synced = taking.offset;
            if free(&taking.file)? < taking.reserve {
                problem = Some(Problem::no_space());
                break;
            }
        }
    }
    if problem.is_none() && !whole {
        problem = Some(Problem::new(400, "REQUEST_CUT_OFF", "the request ended before its body did"));
    }
    let overrun = problem.as_ref().is_some_and(|problem| problem.status == 413);
    let unproven = taking.checksum.is_some() && (problem.is_some() || part.map(PartHash::finish) != taking.checksum);
    if unproven && problem.is_none() {
        let text = "the bytes are not those of Upload-Checksum: none of them count, send them again";
        problem = Some(Problem::new(460, "CHECKSUM_MISMATCH", text));
    }
    if overrun || unproven {
        taking.offset = start;
        taking.hash = hash_before;
    }
    // Also what a write that failed half-way left behind the end.
    taking.file.set_len(taking.offset)?;
    fault::point("vault.append.written");
    taking.file.sync_data()?;
    fault::point("vault.append.synced");
    Ok(Taken { offset: taking.offset, hash: taking.hash, problem })
}

fn free(file: &File) -> io::Result<u64> {
    let answer = rustix::fs::fstatvfs(file)?;
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}

/// Bytes that stay free where nothing is said.
const MIN_FREE: u64 = 256 << 20;

/// Bytes that stay free on the disk of `path`: what is configured, and at least what the log needs.
pub(super) fn reserve(path: &Path, min_free: Option<u64>) -> io::Result<u64> {
    let answer = rustix::fs::statvfs(path)?;
    let tenth = answer.f_blocks.saturating_mul(answer.f_frsize) / 10;
    Ok(min_free.unwrap_or_else(|| MIN_FREE.min(tenth)).max(space::reserve(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_to_stay_free_stays_free_whatever_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(reserve(folder.path(), Some(9 << 40)).expect("a disk"), 9 << 40);
        let log = space::reserve(folder.path()).expect("a disk");
        assert!(reserve(folder.path(), None).expect("a disk") <= MIN_FREE.max(log));
    }
}
