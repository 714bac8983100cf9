//! What a restore would run into, found from the entries before anything is written.

use std::io;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::entry::{Entry, Kind};
use super::error::FilesError;
use super::facts::Facts;
use super::place::restore;
use super::raw_path::RawPath;
use super::select::Selection;
use super::target::{Inside, Target};

/// The first `limit` paths that restoring the selected entries into `target` would find taken: anything but a folder
/// for a folder, and with `overwrite` only a folder where none belongs or the other way round. A target that does not
/// exist has none.
///
/// # Errors
/// [`FilesError::Index`] with the iterator's first error, [`FilesError::NoTarget`], [`FilesError::Refused`] for a path
/// that leads out, [`FilesError::Restore`] where the target cannot be looked at.
pub fn conflicts(
    entries: impl IntoIterator<Item = io::Result<Entry>>,
    selection: &Selection,
    target: &Path,
    overwrite: bool,
    limit: usize,
) -> Result<Vec<RawPath>, FilesError> {
    let mut found = Vec::new();
    let mut target = match Target::open(target) {
        Err(FilesError::NoTarget { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(found),
        target => target?,
    };
    for entry in entries {
        let entry = entry.map_err(FilesError::Index)?;
        if found.len() >= limit {
            break;
        }
        if !selection.contains(&entry.path) {
            continue;
        }
        let path = Inside::check(&entry.path)?;
        let Some((parent, name)) = path.split() else { continue };
        let there = target.folder(parent, false).and_then(|folder| Facts::at(&folder, &name));
        let conflict = match there {
            Ok(facts) => {
                let (is_folder, wanted) = (facts.kind == FileType::Directory, entry.kind == Kind::Folder);
                is_folder != wanted || !(is_folder || overwrite)
            }
            Err(Errno::NOENT) => false,
            // On the way to it is no folder.
            Err(Errno::NOTDIR | Errno::LOOP) => true,
            Err(errno) => return Err(restore(&entry.path, errno)),
        };
        if conflict {
            found.push(entry.path);
        }
    }
    Ok(found)
}
