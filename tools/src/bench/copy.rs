//! A plain copy of a tree by a few threads: the floor of every restore that makes the same files.
//!
//! Folders first, then files with content, permissions and time; symbolic links as they are. Nothing is synced.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;

/// Copies the tree `from` to `to`, which is made.
///
/// # Errors
/// As the file system says, with the path.
pub(super) fn run(from: &Path, to: &Path, threads: usize) -> anyhow::Result<()> {
    let mut files = Vec::new();
    let mut folders = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        make_folder(&to.join(&folder))?;
        let list = || format!("cannot list {}", from.join(&folder).display());
        for entry in std::fs::read_dir(from.join(&folder)).with_context(list)? {
            let entry = entry.with_context(list)?;
            let path = folder.join(entry.file_name());
            if entry.file_type().with_context(list)?.is_dir() { open.push(path) } else { files.push(path) }
        }
        folders.push(folder);
    }
    let next = AtomicUsize::new(0);
    let work = || {
        // A stretch at a time, so that threads are mostly in different folders.
        loop {
            let start = next.fetch_add(32, Ordering::Relaxed);
            let Some(stretch) = files.get(start..files.len().min(start + 32)).filter(|stretch| !stretch.is_empty())
            else {
                return anyhow::Ok(());
            };
            for path in stretch {
                copy(&from.join(path), &to.join(path)).with_context(|| format!("cannot copy {}", path.display()))?;
            }
        }
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for result in results {
        result.map_err(|_| anyhow::anyhow!("a thread that copies panicked"))??;
    }
    for folder in folders {
        let path = to.join(&folder);
        attributes(&File::open(&path).context("cannot open a folder again")?, &from.join(&folder))
            .with_context(|| format!("cannot set the time of {}", path.display()))?;
    }
    Ok(())
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(path).with_context(|| format!("cannot make {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if from.symlink_metadata()?.is_symlink() {
        return std::os::unix::fs::symlink(std::fs::read_link(from)?, to);
    }
    let mut file = File::create_new(to)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    attributes(&file, from)
}

fn attributes(file: &File, from: &Path) -> io::Result<()> {
    let metadata = from.metadata()?;
    file.set_permissions(metadata.permissions())?;
    file.set_modified(metadata.modified()?)
}
