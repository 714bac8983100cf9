//! Reads events out of the journal by position, checking each commit on the way.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use holdfast_model::ids::Position;
use holdfast_model::record::Record;

use crate::error::ReadError;
use crate::journal::catalog::Place;
use crate::journal::frame::{Commit, Entries};
use crate::journal::frames::{Frames, Step};

/// Reads the events `from..=to`, which the journal must have, along a route that
/// [`Catalog::route`](super::catalog::Catalog::route) gave for them.
///
/// # Errors
/// [`ReadError::Damaged`] names the first event that cannot be read.
pub(crate) fn read(route: &[Place], from: Position, to: Position, out: &mut Vec<Record>) -> Result<(), ReadError> {
    let mut wanted = from;
    commits(route, from, to, |commit| {
        for entry in Entries(commit.payload) {
            let entry = entry.map_err(|flaw| ReadError::damaged(wanted, flaw.reason))?;
            let record =
                Record::decode(entry.record).map_err(|source| ReadError::Unreadable { position: wanted, source })?;
            if record.position < wanted || record.position > to {
                continue;
            }
            if record.position != wanted {
                return Err(ReadError::damaged(wanted, "the journal passes over the event"));
            }
            out.push(record);
            wanted = wanted.next();
        }
        Ok(())
    })
}

/// Hands over all commits that hold events `from..=to`, in order and without a gap.
///
/// # Errors
/// [`ReadError::Damaged`] names the first event that cannot be read; else as `each` says.
pub(crate) fn commits<E: From<ReadError>>(
    route: &[Place],
    from: Position,
    to: Position,
    mut each: impl FnMut(&Commit<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut wanted = from;
    for place in route {
        let file = open(&place.path)?;
        let mut frames = Frames::new(&file, place.offset);
        while wanted <= to {
            let step = frames.next().map_err(|source| ReadError::io("read", &place.path, source))?;
            match step {
                Step::Commit(_, commit) if commit.last() < wanted => {}
                Step::Commit(_, commit) if commit.first > wanted => {
                    return Err(ReadError::damaged(wanted, "the journal passes over the event").into());
                }
                Step::Commit(_, commit) => {
                    each(&commit)?;
                    wanted = commit.last().next();
                }
                // The end of this segment; the next place goes on, if there is one.
                Step::End => break,
                Step::Bad(flaw) => return Err(ReadError::damaged(flaw.event.unwrap_or(wanted), flaw.reason).into()),
            }
        }
    }
    if wanted <= to { Err(ReadError::damaged(wanted, "the journal ends before the event").into()) } else { Ok(()) }
}

fn open(path: &Arc<Path>) -> Result<File, ReadError> {
    File::open(path).map_err(|source| ReadError::io("open", path, source))
}
