//! What the end-to-end tests share: a home of one's own, the real binary, trees to back up and their comparison.
//!
//! Each group of tests is one program, `tests/<group>/main.rs`, which takes this in whole: linking the program under test is what takes
//! time, so there are few of them.
//!
//! Nothing here sleeps: every wait is for a line of output or for the end of a process, with [`DEADLINE`] as its bound.
//! What a test made is gone when its [`Home`] is dropped, and a child that still runs is killed then.

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

pub(crate) mod awkward;
pub(crate) mod clients;
pub(crate) mod engine;
pub(crate) mod far;
pub(crate) mod far_side;
pub(crate) mod kill;
pub(crate) mod mount;
pub(crate) mod others;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod tls;
pub(crate) mod tree;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

pub(crate) use self::process::{Finished, Invocation, Running};

/// Longest wait for anything. Generous: other tests and builds run on the same machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(150);

/// Whether the long form of the tests was asked for.
pub(crate) fn long() -> bool {
    std::env::var_os("HOLDFAST_TEST_LONG").is_some_and(|value| value == "1")
}

/// The seed of a random test: that of `HOLDFAST_TEST_SEED`, or a new one. Printed, so that a failure can be had again.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("HOLDFAST_TEST_SEED").ok();
    let seed = match given {
        Some(text) => text.parse().expect("HOLDFAST_TEST_SEED is a whole number"),
        None => {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            since.as_nanos() as u64
        }
    };
    println!("HOLDFAST_TEST_SEED={seed}");
    seed
}

/// Small random numbers (splitmix64, Steele et al. 2014), the same for the same seed on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Bytes that do not compress.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// Whether the tests run as root, who may give files away and mount.
pub(crate) fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fails the test if a program is not there, naming the package it comes in.
pub(crate) fn need(program: &str, package: &str) {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    assert!(found, "this test needs `{program}`: install Debian's package {package}");
}

/// A home of Holdfast in a temp folder, with room beside it for sources and targets.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("e2e").tempdir().expect("a temp folder in TMPDIR");
        let home = Self { folder };
        fs::create_dir(home.user()).unwrap();
        home
    }

    /// The home folder. Not there before the first command that makes it.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A path beside the home, for sources and targets.
    pub(crate) fn beside(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `HOME` says to the binary.
    pub(crate) fn user(&self) -> PathBuf {
        self.folder.path().join("user")
    }

    /// The binary with these arguments, this home and an environment without surprises.
    pub(crate) fn holdfast<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Invocation {
        self.command(env!("CARGO_BIN_EXE_holdfast"), args)
    }

    /// Any program in the same environment; it runs beside the home.
    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
    ) -> Invocation {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.folder.path()).env_clear();
        for name in ["PATH", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", self.user()).env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env("HOLDFAST_HOME", self.path());
        Invocation::new(command)
    }

    /// Runs a command with `--json`, expects it to be good and to print one value.
    pub(crate) fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        self.holdfast(args).arg("--json").run().expect(0).json()
    }

    /// Backs paths up, expects the run to be completed without warnings, and gives its id.
    pub(crate) fn back_up<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        let finished = self.holdfast(["--json", "backup"]).args(args).run();
        finished.expect(0);
        let summary = finished.summary();
        assert_eq!(summary["run"]["status"], "completed", "{summary}");
        text(&summary["run"]["run_id"])
    }

    /// All runs, the newest first.
    pub(crate) fn runs(&self) -> Vec<Value> {
        self.json(["runs"])["rows"].as_array().expect("rows").clone()
    }

    /// The id of the newest run, however it stands.
    pub(crate) fn newest_run(&self) -> String {
        text(&self.runs().first().expect("at least one run")["run_id"])
    }

    /// The newest restore, as `restores --json` has it.
    pub(crate) fn newest_restore(&self) -> Value {
        self.json(["restores"])["rows"].as_array().expect("rows").first().expect("at least one restore").clone()
    }

    /// A run as `show --json` has it; `latest` means the newest completed one.
    pub(crate) fn show(&self, run: &str) -> Value {
        self.json(["show", run])
    }

    /// The directory of a run, wherever its end has put it.
    pub(crate) fn run_dir(&self, run: &str) -> PathBuf {
        let path = text(&self.show(run)["path"]);
        assert!(!path.is_empty(), "run {run} has no directory");
        self.path().join(path)
    }

    /// All events from a position on, as `log events --json` prints them.
    pub(crate) fn events_from(&self, position: u64) -> Vec<Value> {
        let from = position.to_string();
        let args = ["--json", "log", "events", "--from", from.as_str(), "--limit", "1000000"];
        self.holdfast(args).run().expect(0).json_lines()
    }

    /// Everything under `backups/.running`; empty when no run is under way.
    pub(crate) fn running_leftovers(&self) -> Vec<PathBuf> {
        match fs::read_dir(self.path().join("backups/.running")) {
            Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => panic!("backups/.running: {error}"),
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !root() {
            // Read-only folders could not be emptied otherwise.
            let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(self.folder.path()).status();
        }
    }
}

/// The text of a JSON string.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("expected a string, got {value}")).to_owned()
}

/// A small fixed tree: four files in three folders, one empty folder, one link. Always the same bytes.
pub(crate) fn small_tree(at: &Path) -> PathBuf {
    fs::create_dir_all(at.join("etc/deep")).unwrap();
    fs::create_dir_all(at.join("empty")).unwrap();
    fs::write(at.join("readme.txt"), "what this folder is for\n".repeat(50)).unwrap();
    fs::write(at.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    fs::write(at.join("etc/deep/random.bin"), Random(7).bytes(300_000)).unwrap();
    fs::write(at.join("etc/zero-length"), "").unwrap();
    std::os::unix::fs::symlink("etc/hosts", at.join("link")).unwrap();
    at.to_owned()
}

/// Settings under which a backup takes long enough to be interrupted: one worker and a slow compression.
pub(crate) fn slow_settings(home: &Home) -> PathBuf {
    let file = home.beside("slow.toml");
    fs::write(&file, "[pipeline]\nworkers = 1\ncompression = 'gzip:9'\n").unwrap();
    file
}

/// A tree of `megabytes` MB in files of 1 MB that do not compress; large enough to be interrupted while it is read.
pub(crate) fn large_tree(at: &Path, megabytes: u64) -> PathBuf {
    fs::create_dir_all(at).unwrap();
    for number in 0..megabytes {
        fs::write(at.join(format!("part-{number:04}.bin")), Random(number).bytes(1_000_000)).unwrap();
    }
    at.to_owned()
}
