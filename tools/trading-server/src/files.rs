//! Files that are put in their place whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::Context;

/// Puts `staged` in the place of `live`, in one step that survives a power cut. Where `staged` is not there and `live` is, it was done
/// before.
pub(crate) fn replace(staged: &Path, live: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot put {} in the place of {}", staged.display(), live.display());
    match File::open(staged) {
        Ok(file) => file.sync_all().with_context(failed)?,
        Err(error) if error.kind() == ErrorKind::NotFound && live.exists() => return Ok(()),
        Err(error) => return Err(error).with_context(failed),
    }
    fs::rename(staged, live).with_context(failed)?;
    sync_folder(live).with_context(failed)
}

/// Makes durable what a file's folder says of it.
pub(crate) fn sync_folder(of: &Path) -> io::Result<()> {
    match of.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
