//! An engine inside the test, participants that do as the test says, and what must be true of a run's directory at its end.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use holdfast::blocking;
use holdfast::config::Config;
use holdfast::engine::{Backup, Builder, Holdfast, RunHandle};
use holdfast::model::ids::{ParticipantName, Position};
use holdfast::model::run::{ParticipantStatus, Run, RunParticipant, Target};
use holdfast::participant::{Artifacts, Deadlines, Descriptor, ParticipantError};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{DEADLINE, Home, text};

/// Short enough to pass in a test, long enough for a busy machine.
pub(crate) const SOON: Duration = Duration::from_millis(300);

/// An engine on the test's home, with two workers and up to four participants at a time.
pub(crate) fn builder(home: &Home) -> Builder {
    Holdfast::builder(home.path()).config(config(4, 2))
}

/// An engine with one module, which does not go on before `door` is open.
pub(crate) fn held(home: &Home, door: &Door) -> Builder {
    let door = door.clone();
    builder(home).participant_with(module("held"), move |artifacts: &mut Artifacts| {
        door.pass();
        good(artifacts)
    })
}

pub(crate) fn config(max_parallel: usize, workers: usize) -> Config {
    let mut config = Config::default();
    config.runs.max_parallel = max_parallel;
    config.pipeline.workers = workers;
    config
}

pub(crate) fn name(text: &str) -> ParticipantName {
    text.parse().unwrap()
}

/// A critical participant that is tried three times with hardly a pause.
pub(crate) fn module(name: &str) -> Descriptor {
    Descriptor::new(name).unwrap().tries(3, Duration::from_millis(20))
}

/// Deadlines that are only there where a test says so.
pub(crate) fn patient() -> Deadlines {
    Deadlines { preflight: None, prepare: None, write: None, stall: None, ..Deadlines::default() }
}

/// Writes one artifact.
pub(crate) fn write(artifacts: &mut Artifacts, name: &str, content: &[u8]) -> Result<(), ParticipantError> {
    let mut sink = artifacts.create(name)?;
    sink.write_all(content)?;
    sink.finish()
}

/// A participant that writes `<name>.data` with its own name as the content.
pub(crate) fn good(artifacts: &mut Artifacts) -> Result<(), ParticipantError> {
    let name = artifacts.participant().to_string();
    write(artifacts, &format!("{name}.data"), name.as_bytes())
}

/// A count that tests and participants share.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn up(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn raise_to(&self, value: usize) {
        self.0.fetch_max(value, Ordering::SeqCst);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A door that participants stand before until the test opens it. Opened when dropped by the test.
#[derive(Clone, Default)]
pub(crate) struct Door {
    shared: Arc<(Mutex<(bool, usize)>, Condvar)>,
}

impl Door {
    /// Waits until it is opened.
    pub(crate) fn pass(&self) {
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap();
        state.1 += 1;
        changed.notify_all();
        let waited = changed.wait_timeout_while(state, DEADLINE, |state| !state.0).unwrap();
        assert!(!waited.1.timed_out(), "the door was never opened");
    }

    /// Waits until so many have come to it.
    pub(crate) fn wait_for(&self, arrived: usize) {
        let (state, changed) = &*self.shared;
        let waited = changed.wait_timeout_while(state.lock().unwrap(), DEADLINE, |state| state.1 < arrived).unwrap();
        assert!(!waited.1.timed_out(), "{} of {arrived} came to the door", waited.0.1);
    }

    pub(crate) fn open(&self) {
        let (state, changed) = &*self.shared;
        state.lock().unwrap().0 = true;
        changed.notify_all();
    }
}

/// Waits with the tests' deadline.
pub(crate) fn within<T>(engine: &blocking::Holdfast, what: &str, future: impl Future<Output = T>) -> T {
    let waited = engine.block_on(async { tokio::time::timeout(DEADLINE, future).await });
    waited.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// Backs up, and waits for the end.
pub(crate) fn back_up(engine: &blocking::Holdfast, backup: Backup) -> Arc<Run> {
    let handle = engine.back_up(backup).unwrap();
    end(engine, handle)
}

pub(crate) fn end(engine: &blocking::Holdfast, handle: RunHandle) -> Arc<Run> {
    within(engine, "the run's end", engine.handle().wait(handle)).unwrap()
}

/// Waits until so many events of this name are recorded.
pub(crate) fn wait_for_events(engine: &blocking::Holdfast, event_type: &str, count: usize) {
    let mut events = engine.handle().events(Position::START);
    let found = async {
        let mut found = 0;
        while found < count {
            let batch = events.next(1000).await.unwrap();
            found += batch.iter().filter(|event| event.event_type == event_type).count();
        }
    };
    within(engine, event_type, found);
}

/// Waits until a run is as the test wants it.
pub(crate) fn wait_until(engine: &blocking::Holdfast, handle: &RunHandle, wanted: impl FnMut(&Arc<Run>) -> bool) {
    let mut watch = handle.watch.clone();
    within(engine, "the run's state", async move { watch.wait_for(wanted).await.map(drop) }).unwrap();
}

pub(crate) fn of<'a>(run: &'a Run, participant: &str) -> &'a RunParticipant {
    run.participant(&name(participant)).unwrap_or_else(|| panic!("{participant} is not in the run"))
}

/// Why a participant has no artifacts.
pub(crate) fn code<'a>(run: &'a Run, participant: &str) -> &'a str {
    of(run, participant).failure.as_ref().map_or("", |failure| failure.code.as_str())
}

/// How a participant ended: status, code, tries.
pub(crate) fn came_to<'a>(run: &'a Run, participant: &str) -> (ParticipantStatus, &'a str, u32) {
    (of(run, participant).status, code(run, participant), of(run, participant).tries)
}

/// What must be true of every run that has ended: no participant is open, its directory is where it belongs and holds the good
/// artifacts, their indexes, the manifest and the list of hashes, and nothing else, and all of that agrees. Gives the content of each
/// artifact by its logical name.
pub(crate) fn expect_directory(home: &Home, run: &Run) -> BTreeMap<String, Vec<u8>> {
    assert!(!run.is_open(), "{run:?}");
    assert!(run.participants().iter().all(|participant| !participant.status.is_open()), "{run:?}");
    let id = run.id().unwrap().to_string();
    let backups = home.path().join("backups");
    assert!(!backups.join(".running").join(&id).exists(), "{id} is left under .running");
    let Some(target) = run.target() else {
        assert!(["completed", "failed"].iter().all(|place| !backups.join(place).join(&id).exists()));
        return BTreeMap::new();
    };
    let place = if target == Target::Completed { "completed" } else { "failed" };
    let dir = backups.join(place).join(&id);

    let mut expected: Vec<_> = run
        .good_artifacts()
        .flat_map(|artifact| [Some(&artifact.stored), artifact.index.as_ref()])
        .flatten()
        .map(|stored| stored.file.to_string())
        .chain(["manifest.json".to_owned()])
        .collect();
    expected.sort();
    let sums = fs::read_to_string(dir.join("SHA256SUMS")).unwrap();
    let mut listed = Vec::new();
    for line in sums.lines() {
        let (sum, file) = line.split_once("  ").unwrap();
        assert_eq!(hex(&fs::read(dir.join(file)).unwrap()), sum, "{file}");
        listed.push(file.to_owned());
    }
    listed.sort();
    assert_eq!(listed, expected, "SHA256SUMS");
    let mut there = files(&dir);
    there.retain(|file| file != "SHA256SUMS");
    assert_eq!(there, expected, "{}", dir.display());

    let manifest: Value = serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(
        manifest["status"],
        run.outcome().map(|outcome| holdfast::model::run::RunStatus::from(outcome).as_str()).unwrap()
    );
    let mut contents = BTreeMap::new();
    for participant in manifest["participants"].as_array().unwrap() {
        let recorded = of(run, participant["name"].as_str().unwrap());
        assert_eq!(participant["status"], recorded.status.as_str());
        assert_eq!(participant["ok"], recorded.status == ParticipantStatus::Completed);
        let artifacts = participant["artifacts"].as_array().unwrap();
        assert_eq!(artifacts.is_empty(), recorded.status != ParticipantStatus::Completed, "{participant}");
        for artifact in artifacts {
            let content = content(dir.join(text(&artifact["path"])));
            assert_eq!(artifact["content_bytes"], content.len() as u64);
            assert_eq!(artifact["content_sha256"], hex(&content));
            contents.insert(text(&artifact["logical_name"]), content);
        }
    }
    assert_eq!(contents.len(), run.good_artifacts().count());
    contents
}

/// The names in a folder, in order.
pub(crate) fn files(dir: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The content of an artifact, as the standard tool reads it.
fn content(path: PathBuf) -> Vec<u8> {
    if path.extension().is_none_or(|extension| extension != "lz4") {
        return fs::read(path).unwrap();
    }
    let read = Command::new("lz4").arg("-dc").arg(&path).output().expect("lz4 starts");
    assert!(read.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&read.stderr));
    read.stdout
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
