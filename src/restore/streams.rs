//! Artifacts that are streams of their participant's own: the output of a program, a snapshot of a module.
//!
//! Such a stream is shown, and restored into a folder, as one file under its artifact's name. Only its participant knows what is
//! in it, so it is taken whole or not at all: a file gets its name once all of its content was read and was as recorded.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use holdfast_log::durable;
use holdfast_model::ids::{RestoreId, Timestamp};
use holdfast_model::run::ArtifactStoredV1;
use rustix::io::Errno;

use super::error::RestoreError;
use super::source::RunSource;
use crate::files::{Entry, FilesError, Kind, Mtime, Observer, RawPath, Summary};
use crate::pipeline::ArtifactReader;

/// Whoever may read it could read what the participant keeps for itself.
const MODE: u32 = 0o600;
/// Bytes that are moved at once.
const PIECE: usize = 1 << 20;

/// A stream as the one file that it is shown as. It has no owner; it will be of whoever restores it.
pub(super) fn entry(artifact: &ArtifactStoredV1, taken: Timestamp) -> Entry {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let length = artifact.content_bytes;
    Entry {
        path: RawPath::from(artifact.logical_name.as_str()),
        kind: Kind::File,
        size: length,
        mode: MODE,
        uid,
        gid,
        user: String::new(),
        group: String::new(),
        mtime: Mtime::from((taken.seconds(), 0)),
        link: None,
        device: None,
        offset: 0,
        length,
        data_offset: 0,
        data_length: length,
        sparse: false,
        target: None,
    }
}

/// Copies all of an artifact's content to `output`. Its end is reached only where both hashes are as recorded. Answers with the number
/// of bytes; `written` says how many there were also where it fails.
///
/// # Errors
/// [`RestoreError::Pipeline`] where the artifact is not as recorded, [`FilesError::Output`] where `output` takes no more,
/// [`FilesError::Cancelled`].
pub fn copy(
    reader: &ArtifactReader,
    output: &mut dyn Write,
    observer: &dyn Observer,
    written: &mut u64,
) -> Result<(), RestoreError> {
    let mut content = reader.stream();
    let mut piece = vec![0; PIECE];
    loop {
        if observer.cancelled() {
            return Err(FilesError::Cancelled.into());
        }
        let count = match content.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Err(FilesError::Input(error).into()),
        };
        output.write_all(piece.get(..count).unwrap_or_default()).map_err(FilesError::Output)?;
        *written += count as u64;
        observer.advance(0, count as u64);
    }
    output.flush().map_err(FilesError::Output)?;
    Ok(())
}

/// Restores a stream as a file of `folder`. What was read of the stored bytes comes with the summary.
///
/// # Errors
/// As [`copy`]; [`FilesError::Exists`], [`FilesError::OtherKind`], [`FilesError::Restore`].
pub(super) fn place(
    source: &RunSource,
    artifact: &ArtifactStoredV1,
    folder: &Path,
    (restore_id, overwrite): (RestoreId, bool),
    observer: &dyn Observer,
) -> Result<(Summary, u64), RestoreError> {
    let reader = source.reader(artifact)?;
    let entry = entry(artifact, source.taken());
    // No name of an artifact begins with a dot.
    let temp = folder.join(format!(".holdfast-{restore_id}-{}", artifact.logical_name));
    let failed = |source| FilesError::Restore { path: entry.path.clone(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temp).map_err(failed)?;
    let mut bytes = 0;
    let placed = copy(&reader, &mut file, observer, &mut bytes)
        .map_err(|error| written_to(error, &entry.path))
        .and_then(|()| Ok(seal(&file, entry.mtime).map_err(failed)?))
        .and_then(|()| Ok(name(&temp, &folder.join(artifact.logical_name.as_str()), overwrite, &entry.path)?));
    if placed.is_err() {
        let _ = std::fs::remove_file(&temp);
    }
    placed?;
    observer.advance(1, 0);
    Ok((Summary { files: 1, bytes, ..Summary::default() }, reader.stored_bytes_read()))
}

/// What is written to is a file of the target, not somebody's output.
fn written_to(error: RestoreError, path: &RawPath) -> RestoreError {
    match error {
        RestoreError::Files(FilesError::Output(source)) => FilesError::Restore { path: path.clone(), source }.into(),
        error => error,
    }
}

fn seal(file: &File, mtime: Mtime) -> io::Result<()> {
    let since = Duration::new(u64::try_from(mtime.seconds).unwrap_or(0), mtime.nanos);
    file.set_modified(SystemTime::UNIX_EPOCH + since)?;
    durable::sync_file(file)
}

fn name(temp: &Path, to: &Path, overwrite: bool, path: &RawPath) -> Result<(), FilesError> {
    let renamed = if overwrite { std::fs::rename(temp, to) } else { durable::rename_no_replace(temp, to) };
    renamed.map_err(|source| match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ISDIR) => FilesError::OtherKind { path: path.clone() },
        _ if source.kind() == io::ErrorKind::AlreadyExists => FilesError::Exists { path: path.clone() },
        _ => FilesError::Restore { path: path.clone(), source },
    })
}
