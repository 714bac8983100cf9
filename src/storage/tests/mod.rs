//! Run directories, end to end: made, sealed, published, damaged, verified, deleted.

mod damage;
mod hostile;
mod imports;
mod lifecycle;

use std::io::Write;
use std::path::PathBuf;

use holdfast_model::ids::{ArtifactName, RunId};

use super::*;
use crate::pipeline::{ArtifactWriter, Compression, Pipeline, WriteOptions};

pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) storage: Storage,
    pub(super) pipeline: Pipeline,
}

pub(super) fn run(text: &str) -> RunId {
    text.parse().unwrap()
}

pub(super) const RUN: &str = "20261121-220000-000001";

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::create(dir.path().join("backups")).unwrap();
        Self { dir, storage, pipeline: Pipeline::new(1, 4).unwrap() }
    }

    pub(super) fn write(&self, run_dir: &RunDir, name: &str, content: &[u8]) -> ManifestArtifact {
        let name: ArtifactName = name.parse().unwrap();
        let file = run_dir.reserve(&name, Compression::Lz4).unwrap();
        let options = WriteOptions { compression: Compression::Lz4, reserve: Some(0), ..WriteOptions::default() };
        let mut writer = ArtifactWriter::create(&self.pipeline, run_dir.path(), &name, options).unwrap();
        writer.write_all(content).unwrap();
        writer.entry("{\"path\":\"all of it\"}").unwrap();
        let stored = writer.finish().unwrap();
        assert_eq!(stored.file, file);
        ManifestArtifact::new(name, &stored)
    }

    /// A run of two participants, sealed and not yet published.
    pub(super) fn sealed(&self) -> (Manifest, Sealed) {
        let run_dir = self.storage.create_run(run(RUN)).unwrap();
        let artifacts = vec![
            self.write(&run_dir, "accounts.snapshot", b"balance 5\n".repeat(1000).as_slice()),
            self.write(&run_dir, "site.tar", b"<html>".repeat(500).as_slice()),
        ];
        let manifest = manifest(run(RUN), artifacts);
        let mut read = 0;
        let sealed = run_dir.seal(&manifest, None, Staged::Here, &mut |bytes| read += bytes).unwrap();
        assert_eq!(sealed.files, 5);
        assert!(read > 0);
        (manifest, sealed)
    }

    pub(super) fn published(&self) -> (Manifest, Sealed, PathBuf) {
        let (manifest, sealed) = self.sealed();
        let path = self.storage.publish(run(RUN), Destination::Completed).unwrap();
        (manifest, sealed, path)
    }

    pub(super) fn verify(&self, sealed: Option<Sealed>) -> RunReport {
        self.storage.lease(run(RUN)).unwrap().verify(sealed.map(|sealed| sealed.sums_sha256), &mut |_| {})
    }

    /// The codes of the files that are not as published.
    pub(super) fn faults(&self, sealed: Option<Sealed>) -> Vec<(String, &'static str)> {
        self.verify(sealed).faults().map(|(file, error)| (file.name.clone(), error.code())).collect()
    }
}

pub(super) fn manifest(run_id: RunId, artifacts: Vec<ManifestArtifact>) -> Manifest {
    let participants = artifacts
        .into_iter()
        .enumerate()
        .map(|(n, artifact)| ManifestParticipant {
            name: format!("p{n}").parse().unwrap(),
            kind: None,
            critical: true,
            ok: true,
            status: "completed".to_owned(),
            started_at: 1,
            finished_at: 2,
            error: String::new(),
            warnings: Warnings::default(),
            artifacts: vec![artifact],
        })
        .collect();
    Manifest {
        backup_format_version: Manifest::VERSION,
        server_id: uuid::Uuid::from_u128(5),
        app_version: "0.1.0".to_owned(),
        run_id,
        run_type: "full".to_owned(),
        trigger: "manual".to_owned(),
        status: "completed".to_owned(),
        attempt: 1,
        started_at: 1,
        finished_at: 3,
        error_summary: String::new(),
        requested_by: "local:uid=0".to_owned(),
        requested_participants: Vec::new(),
        consistency: Consistency { mode: "concurrent".to_owned(), barrier_at: 0, held_us: 0 },
        job: None,
        size_bytes: 0,
        stored_bytes: 0,
        participants,
        sealed: None,
    }
}

pub(super) struct Noise(u64);

impl Noise {
    /// A seed that differs from run to run, printed so that a failure can be had again.
    pub(super) fn fresh(test: &str) -> Self {
        let seed = std::env::var("HOLDFAST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| uuid::Uuid::now_v7().as_u128() as u64);
        println!("{test}: HOLDFAST_SEED={seed}");
        Self(seed)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}
