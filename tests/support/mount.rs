//! Mounts for one test: a small disk, a place that cannot be written, a second way to a folder. Gone when dropped.
//!
//! They need root; a test that cannot have one fails and says so.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::root;

/// A mount that a test made.
pub(crate) struct Mount {
    at: PathBuf,
}

impl Mount {
    /// A file system in memory of so many MiB at `at`, a folder that is made.
    pub(crate) fn small_disk(at: &Path, mebibytes: u64) -> Self {
        fs::create_dir_all(at).unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={mebibytes}m,mode=700"), "holdfast-test"], at)
    }

    /// Gives a file system in memory so many MiB from now on.
    pub(crate) fn grow(&self, mebibytes: u64) {
        run("mount", &["-o", &format!("remount,size={mebibytes}m")], &self.at);
    }

    /// The folder `of` seen a second time, at `at`.
    pub(crate) fn second_way(of: &Path, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        mount(&["--bind", of.to_str().unwrap()], at)
    }

    /// The folder `at`, which can only be read from now on.
    pub(crate) fn read_only(at: &Path) -> Self {
        let mount = Self::second_way(at, at);
        run("mount", &["-o", "remount,bind,ro"], at);
        mount
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn mount(args: &[&str], at: &Path) -> Mount {
    assert!(root(), "this test mounts file systems: run it as root");
    run("mount", args, at);
    Mount { at: at.to_owned() }
}

fn run(program: &str, args: &[&str], at: &Path) {
    let output = Command::new(program).args(args).arg(at).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "this test must be able to mount file systems: {program} {args:?}: {said}");
}

/// A file that takes all room that is left on the file system it lies on, to the last byte.
pub(crate) struct Filler {
    path: PathBuf,
}

impl Filler {
    pub(crate) fn take_all(folder: &Path) -> Self {
        let path = folder.join("filler");
        let mut file = OpenOptions::new().create_new(true).write(true).open(&path).unwrap();
        for size in [1 << 20, 4096, 1] {
            fill(&mut file, size);
        }
        Self { path }
    }

    /// Gives the room back.
    pub(crate) fn give_back(self) {
        fs::remove_file(&self.path).unwrap();
    }
}

fn fill(file: &mut File, size: usize) {
    let zeros = vec![0; size];
    loop {
        match file.write(&zeros) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return,
            Err(error) => panic!("filling the disk: {error}"),
        }
    }
}
