//! Runs to be sent: such as the program publishes, and such as are made here with names and sizes of the test's choice.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use holdfast::model::ids::{RunId, Sha256};
use serde_json::{Value, json};
use sha2::Digest;
use uuid::Uuid;

use crate::support::{Home, Random, small_tree, text};

/// A home with what it backs up.
pub(crate) struct Published {
    pub(crate) home: Home,
    pub(crate) server_id: Uuid,
}

impl Published {
    pub(crate) fn new() -> Self {
        let home = Home::new();
        small_tree(&home.beside("source"));
        fs::write(home.beside("source/large.bin"), Random(3).bytes(6_000_000)).unwrap();
        home.back_up(["source"]);
        let identity: Value = serde_json::from_slice(&fs::read(home.path().join("home.json")).unwrap()).unwrap();
        let server_id = text(&identity["server_id"]).parse().unwrap();
        Self { home, server_id }
    }

    /// A run, and its directory.
    pub(crate) fn run(&self) -> (RunId, PathBuf) {
        self.of(&self.home.newest_run())
    }

    /// An encrypted run, its directory, and the file of the key that opens it.
    pub(crate) fn encrypted(&self) -> (RunId, PathBuf, PathBuf) {
        let key = self.home.beside("key");
        self.home.command("age-keygen", ["-o"]).arg(&key).run().expect(0);
        let written = fs::read_to_string(&key).unwrap();
        let public = written.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
        let run = self.home.back_up(["source", "--encrypt-to", &public]);
        let (run_id, folder) = self.of(&run);
        (run_id, folder, key)
    }

    fn of(&self, run: &str) -> (RunId, PathBuf) {
        let folder = self.home.run_dir(run);
        (run.parse().unwrap(), folder)
    }
}

/// A run made here.
pub(crate) struct Made {
    pub(crate) run_id: RunId,
    folder: tempfile::TempDir,
}

fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

impl Made {
    /// A run with artifacts of these names and sizes.
    pub(crate) fn new(server_id: Uuid, number: u32, artifacts: &[(&str, usize)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run_id: RunId = format!("20261120-{:06}-{number:06}", number % 60).parse().unwrap();
        let mut sums = BTreeMap::new();
        let mut listed = Vec::new();
        for (position, (name, size)) in artifacts.iter().enumerate() {
            let bytes = Random(u64::from(number) * 100 + position as u64).bytes(*size);
            let (path, hash) = (format!("{name}.lz4"), sha256(&bytes));
            fs::write(folder.path().join(&path), &bytes).unwrap();
            listed.push(json!({
                "logical_name": name, "path": path, "size_bytes": size, "sha256": hash, "content_bytes": 1,
                "content_sha256": hash, "compression": "lz4", "encryption": "none",
            }));
            sums.insert(path, hash);
        }
        let participant = json!({
            "name": "made", "critical": true, "ok": true, "status": "completed", "started_at": 1, "finished_at": 2, "error": "",
            "warnings": { "count": 0, "first": [] }, "artifacts": listed,
        });
        let manifest = json!({
            "backup_format_version": 1, "server_id": server_id, "app_version": "1", "run_id": run_id, "type": "full",
            "trigger": "manual", "status": "completed", "attempt": 1, "started_at": 1_700_000_000, "finished_at": 1_700_000_009,
            "error_summary": "", "requested_by": "", "requested_participants": [], "size_bytes": 0, "stored_bytes": 0,
            "consistency": { "mode": "concurrent", "barrier_at": 0 }, "participants": [participant],
        });
        let manifest = serde_json::to_vec_pretty(&manifest).unwrap();
        sums.insert("manifest.json".into(), sha256(&manifest));
        fs::write(folder.path().join("manifest.json"), manifest).unwrap();
        let sums: String = sums.iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect();
        fs::write(folder.path().join("SHA256SUMS"), sums).unwrap();
        Self { run_id, folder }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Bytes of all its files.
    pub(crate) fn bytes(&self) -> u64 {
        files(self.dir()).values().map(|bytes| bytes.len() as u64).sum()
    }
}

/// The files of a run directory.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}
