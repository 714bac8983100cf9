//! Puts back into the journal what only the store has.
//!
//! A damaged segment is written anew beside itself: what is whole is copied, the commits of the gap come from the store.
//! Each of them has to fit the chain, so what comes out is byte by byte what was once acknowledged; only then the new
//! file takes the name. A missing segment is the same without anything to copy.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use holdfast_model::ids::{Position, Sha256};

use crate::durable;
use crate::error::OpenError;
use crate::journal::frames::{Frames, Step};
use crate::journal::scan::Gap;
use crate::journal::segment;
use crate::report::RepairedSegment;
use crate::store::Store;

/// The ending of a segment that is being written.
pub(super) const UNFINISHED: &str = ".new";

/// Closes a gap.
///
/// # Errors
/// [`OpenError::BothDamaged`] names the first event that the store does not have, [`OpenError::Diverged`] where the
/// store's events are not those the journal goes on from. The journal is then as before.
pub(super) fn close(dir: &Path, gap: &Gap, store: Option<&Store>) -> Result<RepairedSegment, OpenError> {
    let path = durable::with_suffix(&gap.path, UNFINISHED);
    let written = write(dir, gap, store, &path);
    let last = written.inspect_err(|_| {
        let _ = std::fs::remove_file(&path);
    })?;
    durable::rename_synced(&path, &gap.path).map_err(|source| OpenError::io("rename", &path, source))?;
    Ok(RepairedSegment {
        segment: gap.path.clone(),
        restored: (last >= gap.from).then_some((gap.from, last)),
        reason: gap.flaw.reason.to_owned(),
    })
}

/// Writes the segment to `path` and says which event of the gap was the last.
fn write(dir: &Path, gap: &Gap, store: Option<&Store>, path: &Path) -> Result<Position, OpenError> {
    let io = |source| OpenError::io("write", path, source);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(io)?;
    let mut out = BufWriter::new(file);
    out.write_all(&segment::header(gap.first, gap.start)).map_err(io)?;
    if let Some(offset) = gap.offset {
        copy(&gap.path, segment::HEADER, Some(offset), &mut out)?;
    }
    let (last, chain) = fill(dir, gap, store, |bytes| out.write_all(bytes).map_err(io))?;
    if let Some(resume) = gap.resume {
        if !goes_on(&gap.path, resume, chain)? {
            return Err(OpenError::Diverged { position: last.next(), dir: dir.to_owned() });
        }
        copy(&gap.path, resume, None, &mut out)?;
    }
    let file = out.into_inner().map_err(|error| io(error.into_error()))?;
    durable::sync_file(&file).map_err(io)?;
    Ok(last)
}

/// Hands over the commits of the gap; says its last event and the chain after it.
fn fill(
    dir: &Path,
    gap: &Gap,
    store: Option<&Store>,
    mut each: impl FnMut(&[u8]) -> Result<(), OpenError>,
) -> Result<(Position, Sha256), OpenError> {
    let (mut next, mut chain) = (gap.from, gap.before);
    while gap.until.is_none_or(|until| next < until) {
        let Some((commit, last)) = store.and_then(|store| store.commit(next, chain)) else {
            if gap.until.is_none() && next > gap.from {
                break;
            }
            return Err(missing(dir, gap, store, next, chain));
        };
        each(&commit.bytes)?;
        (next, chain) = (last.next(), commit.chain);
    }
    if gap.until.is_some_and(|until| next != until) {
        return Err(OpenError::Diverged { position: gap.from, dir: dir.to_owned() });
    }
    Ok((Position(next.0 - 1), chain))
}

/// Why the store does not have the commit that starts with `next`.
fn missing(dir: &Path, gap: &Gap, store: Option<&Store>, next: Position, chain: Sha256) -> OpenError {
    let before = Position(next.0 - 1);
    let stores = store.and_then(|store| store.chain_at(before));
    if stores.is_some_and(|stores| stores != chain) {
        return OpenError::Diverged { position: before, dir: dir.to_owned() };
    }
    let position = gap.flaw.event.filter(|event| *event >= next).unwrap_or(next);
    OpenError::BothDamaged { position, segment: gap.path.clone(), reason: gap.flaw.reason }
}

/// Whether the commit at `offset`, if there is one, is the one that was written after `chain`.
fn goes_on(path: &Path, offset: u64, chain: Sha256) -> Result<bool, OpenError> {
    let io = |source| OpenError::io("read", path, source);
    let file = File::open(path).map_err(io)?;
    let mut frames = Frames::new(&file, offset);
    Ok(!matches!(frames.next().map_err(io)?, Step::Commit(_, commit) if !commit.follows(chain)))
}

fn copy(from: &Path, start: u64, end: Option<u64>, out: &mut impl Write) -> Result<(), OpenError> {
    let copied = (|| {
        let mut file = File::open(from)?;
        file.seek(SeekFrom::Start(start))?;
        io::copy(&mut file.take(end.map_or(u64::MAX, |end| end.saturating_sub(start))), out)
    })();
    copied.map(drop).map_err(|source| OpenError::io("copy", from, source))
}

/// Removes what an interrupted repair or creation left.
///
/// # Errors
/// As `readdir(3)` and `unlink(2)`.
pub(super) fn sweep(journal: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(journal)? {
        let path: PathBuf = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(&format!(".seg{UNFINISHED}")) || name.ends_with(".seg.tmp") {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}
