//! A file system of our own to work on, where the one at hand would make figures depend on what was deleted before.
//!
//! ext4 without a journal gives an inode out again only some minutes after its file was deleted, and until then looks at each
//! such inode for each new file (`recently_deleted` in the kernel's `fs/ext4/ialloc.c`). Who restores after somebody else's
//! files were deleted then pays for that: times of ten times as much have been seen. An ext4 with a journal, as servers
//! have it, does not do that.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// Bytes of the whole data set's volume. What is not written takes no room.
const SIZE: u64 = 20_000_000_000;

/// A mounted file system in a file; unmounted when this is dropped.
pub(super) struct Volume {
    image: PathBuf,
    mounted: PathBuf,
}

impl Volume {
    /// Makes and mounts one below `dir` if the file system of `dir` is of the kind described above, and we may.
    ///
    /// # Errors
    /// Where one is needed and cannot be made.
    pub(super) fn where_needed(dir: &Path, size: f64) -> anyhow::Result<Option<Self>> {
        if !without_journal(dir) || !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let (image, mounted) = (dir.join("volume.img"), dir.join("volume"));
        let file = std::fs::File::create(&image).context("cannot make the file of a volume")?;
        // Taken as a whole at once: whoever wrote to a part of it first would pay for finding it room.
        let length = (SIZE as f64 * size) as u64 + 1_000_000_000;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length)
            .context("there is no room for the file of a volume")?;
        std::fs::create_dir(&mounted).context("cannot make the folder of a volume")?;
        said(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        // Without a second copy of everything in the page cache.
        let device = said(Command::new("losetup").args(["--direct-io=on", "--find", "--show"]).arg(&image))?;
        let result = said(Command::new("mount").args(["-o", "noinit_itable", device.trim()]).arg(&mounted));
        // From now on it goes when it is unmounted.
        let detached = said(Command::new("losetup").args(["--detach", device.trim()]));
        result.and(detached)?;
        Ok(Some(Self { image, mounted }))
    }

    /// Its top folder.
    pub(super) fn path(&self) -> &Path {
        &self.mounted
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if let Err(error) = said(Command::new("umount").arg(&self.mounted)) {
            eprintln!("{} is still mounted: {error:#}", self.mounted.display());
        }
        if let Err(error) = std::fs::remove_file(&self.image) {
            eprintln!("{} cannot be removed: {error}", self.image.display());
        }
    }
}

/// Whether a folder lies on an ext4 that says of itself that it has no journal.
fn without_journal(dir: &Path) -> bool {
    let source = said(Command::new("findmnt").args(["-n", "-o", "SOURCE", "--target"]).arg(dir)).unwrap_or_default();
    let Some(device) = Path::new(source.trim()).file_name() else { return false };
    let options = std::fs::read_to_string(Path::new("/proc/fs/ext4").join(device).join("options"));
    // One with a journal says how that and the data go together.
    options.is_ok_and(|options| !options.lines().any(|line| line.starts_with("data=")))
}

/// Runs a command that takes a moment, and gives what it wrote.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let wrong = || format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    ensure!(output.status.success(), wrong());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
