//! A log as one stream of bytes, and a log made of it: so that a copy of it can be kept elsewhere.
//!
//! The stream is a journal of one segment: the commits from the first one on, byte for byte, with the chain that
//! ties each to those before it. So what comes back is the history that was written, or it is refused. It ends with a whole commit, before a
//! position that the caller names: what is appended meanwhile is not waited for and not in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use holdfast_model::ids::{Position, Sha256};

use crate::durable;
use crate::error::{OpenError, ReadError};
use crate::event_log::ReadLog;
use crate::journal;
use crate::journal::frame::GENESIS;
use crate::journal::segment;
use crate::journal_reader::{JournalReader, Owner};

/// What was written, or was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// The last event of it.
    pub head: Position,
    /// The chain of commits up to it: no other history has the same.
    pub chain: Sha256,
}

/// Why a log could not be written out, or made of what was.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Whoever takes the bytes does not.
    #[error("the export of the event log cannot be written: {0}")]
    Write(#[source] io::Error),
    /// What was made cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be put on the disk.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not the log that was written out.
    #[error("the event log ends at position {} instead of {}, or holds another history: use another copy", found.head.0, expected.head.0)]
    Other {
        /// What it should be.
        expected: Exported,
        /// What it is.
        found: Exported,
    },
}

/// Writes the commits along `route` that end before `before`.
pub(crate) fn write(
    route: &[crate::journal::catalog::Place],
    before: Position,
    out: &mut dyn Write,
) -> Result<Exported, ExportError> {
    out.write_all(&segment::header(Position(1), GENESIS)).map_err(ExportError::Write)?;
    let mut exported = Exported { head: Position::START, chain: GENESIS };
    let to = Position(before.0.saturating_sub(1));
    if to == Position::START {
        return Ok(exported);
    }
    crate::journal::cursor::commits(route, Position(1), to, |commit| {
        if commit.last() < before {
            out.write_all(commit.bytes).map_err(ExportError::Write)?;
            exported = Exported { head: commit.last(), chain: commit.chain };
        }
        Ok::<_, ExportError>(())
    })?;
    Ok(exported)
}

/// Makes the log in `dir` (`home/log`), which is not there or empty, of what was written out, and reads it whole. It is on stable storage when
/// this returns.
///
/// # Errors
/// [`ExportError`]; what is there then is no log, and goes.
pub fn make(dir: &Path, from: &mut dyn Read, expected: Exported) -> Result<(), ExportError> {
    let journal = dir.join(journal::DIR);
    let path = segment::path(&journal, Position(1));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ExportError::Io { path, source }
    };
    for folder in [dir, &journal] {
        durable::make_dir(folder, 0o700).map_err(failed(folder))?;
    }
    let copied = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file: File| {
        io::copy(from, &mut file)?;
        durable::sync_file(&file)?;
        durable::sync_dir(&journal)
    });
    copied.map_err(failed(&path))?;
    let reader = JournalReader::open(dir, Owner::Gone)?;
    let found = Exported { head: reader.head(), chain: reader.chain() };
    if found == expected { Ok(()) } else { Err(ExportError::Other { expected, found }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use holdfast_model::ids::{StreamId, Version};

    use super::*;
    use crate::event_log::{Append, EventLog};
    use crate::samples::body;
    use crate::{DurableLog, Options};

    /// A log of so many appends of three events each, in segments of a few commits.
    fn log(dir: &Path, appends: u64) -> DurableLog {
        let options = Options { segment_bytes: 4096, reserve_bytes: 0, ..Options::default() };
        let (log, _) = DurableLog::open(dir, options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for number in 0..appends {
            let events = (0..3).map(|event| body(number * 3 + event, 24)).collect();
            let append = Append { stream: StreamId::system(), expected: Version(number * 3), events };
            runtime.block_on(log.append(append)).unwrap();
        }
        log
    }

    #[test]
    fn a_log_comes_back_up_to_the_last_whole_commit_before_a_position() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder.path().join("log"), 40);
        let all = log.read_all(Position(1), 1000).unwrap();
        assert_eq!(all.len(), 120);
        for (before, head) in [(121, 120), (120, 117), (118, 117), (117, 114), (4, 3), (1, 0)] {
            let (mut bytes, made) = (Vec::new(), folder.path().join(format!("made-{before}")));
            let exported = log.export(Position(before), &mut bytes).unwrap();
            assert_eq!(exported.head, Position(head), "before {before}");
            make(&made, &mut bytes.as_slice(), exported).unwrap();
            let (again, report) = DurableLog::open(&made, Options::default()).unwrap();
            assert_eq!(report.head, Position(head));
            assert_eq!(again.read_all(Position(1), 1000).unwrap(), all[..usize::try_from(head).unwrap()]);
        }
    }

    #[test]
    fn what_is_cut_or_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder.path().join("log"), 10);
        let mut bytes = Vec::new();
        let exported = log.export(Position(31), &mut bytes).unwrap();
        let length = bytes.len();
        for (number, cut) in [0, 63, 64, 100, length / 2, length - 1].into_iter().enumerate() {
            let made = folder.path().join(format!("cut-{number}"));
            assert!(make(&made, &mut &bytes[..cut], exported).is_err(), "cut at {cut} of {length}");
        }
        for (number, place) in (0..length).step_by(length / 20).enumerate() {
            let (mut other, made) = (bytes.clone(), folder.path().join(format!("other-{number}")));
            other[place] ^= 4;
            assert!(make(&made, &mut other.as_slice(), exported).is_err(), "changed at {place}");
        }
    }
}
