//! What the stories share.

use std::path::{Path, PathBuf};

use holdfast_log::{Append, AppendError, Appended, DurableLog, EventLog, OpenError, OpenReport, Options, ReadLog};
use holdfast_model::ids::{Position, StreamId, Timestamp, Version};
use holdfast_model::record::{EventType, NewRecord, Record};
use uuid::Uuid;

/// Numbers that look random (SplitMix64). The seed is printed, so that a failure can be run again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self(seed)
    }

    /// From `HOLDFAST_SEED` where that is set, else another one each time.
    pub(crate) fn from_env() -> Self {
        let clock = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
        Self::new(std::env::var("HOLDFAST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(clock))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

pub(crate) fn block<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

pub(crate) fn stream(name: &str) -> StreamId {
    name.parse().unwrap()
}

/// An event whose payload says `tag`, with filling up to `size` bytes.
pub(crate) fn event(tag: &str, size: usize) -> NewRecord {
    let mut payload = format!("<{tag}>").into_bytes();
    payload.resize(payload.len().max(size), b'.');
    NewRecord {
        event_type: EventType(7),
        schema_version: 2,
        time: Timestamp(1_795_298_400_000_000),
        event_id: Uuid::from_u128(payload.iter().fold(7_u128, |sum, byte| (sum * 31 + u128::from(*byte)) % 1_000_003)),
        correlation_id: Uuid::from_u128(9),
        principal: "local:uid=0".into(),
        payload,
    }
}

pub(crate) async fn append(
    log: &dyn EventLog,
    name: &str,
    expected: u64,
    events: Vec<NewRecord>,
) -> Result<Appended, AppendError> {
    log.append(Append { stream: stream(name), expected: Version(expected), events }).await
}

/// All events, in small pieces.
pub(crate) fn all(log: &dyn ReadLog) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let from = records.last().map_or(Position(1), |record| record.position.next());
        let more = log.read_all(from, 37).unwrap();
        if more.is_empty() {
            return records;
        }
        records.extend(more);
    }
}

/// Checks that reads by stream, versions and head tell the same as a read of everything.
pub(crate) fn assert_consistent(log: &dyn ReadLog, records: &[Record]) {
    assert_eq!(log.head(), Position(records.len() as u64));
    let mut names: Vec<StreamId> = records.iter().map(|record| record.stream.clone()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let expected: Vec<&Record> = records.iter().filter(|record| record.stream == name).collect();
        let read = log.read_stream(&name, Version(1), 4096).unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), expected, "{name}");
        assert!(expected.iter().map(|record| record.version.0).eq(1..=expected.len() as u64), "{name}");
        assert_eq!(log.stream_version(&name).unwrap(), Version(expected.len() as u64));
    }
    assert!(records.iter().map(|record| record.position.0).eq(1..=records.len() as u64));
}

/// Small segments, so that a small log has many.
pub(crate) fn options() -> Options {
    Options { segment_bytes: 4096, reserve_bytes: 4096, ..Options::default() }
}

pub(crate) fn open(dir: &Path) -> (DurableLog, OpenReport) {
    try_open(dir).unwrap()
}

pub(crate) fn try_open(dir: &Path) -> Result<(DurableLog, OpenReport), OpenError> {
    DurableLog::open(dir, options())
}

/// A log in a folder of its own, closed, with what is in it.
pub(crate) struct Sample {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) records: Vec<Record>,
}

impl Sample {
    /// Forty-odd commits of different sizes over several segments. The last commit is one small event.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = open(dir.path());
        block(async {
            for i in 0..40_u64 {
                let name = ["run/a", "run/b", "system", "participant/c"][(i % 4) as usize];
                let events = (0..1 + i % 3).map(|j| event(&format!("{i}.{j}"), (i * 37 % 700) as usize)).collect();
                let version = log.stream_version(&stream(name)).unwrap().0;
                append(&log, name, version, events).await.unwrap();
            }
            append(&log, "run/big", 0, vec![event("big", 6144), event("bigger", 6144)]).await.unwrap();
            append(&log, "run/last", 0, vec![event("last", 8)]).await.unwrap();
        });
        let records = all(&log);
        drop(log);
        Self { dir, records }
    }

    pub(crate) fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(self.dir.path(), copy.path());
        copy
    }

    /// Opens a damaged copy and checks that nothing is lost, that the next open has nothing to do, and that the log goes on.
    pub(crate) fn assert_whole(&self, dir: &Path) -> OpenReport {
        let (log, report) = open(dir);
        assert_eq!(all(&log), self.records, "{report}");
        assert_consistent(&log, &self.records);
        drop(log);
        let (log, again) = open(dir);
        assert!(again.is_clean(), "{report}, then {again}");
        block(append(&log, "run/after", 0, vec![event("after", 9)])).unwrap();
        report
    }
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The bytes of all segments, by name.
pub(crate) fn journal(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let strip = |path: &Path| PathBuf::from(path.file_name().unwrap());
    segments(dir).iter().map(|path| (strip(path), std::fs::read(path).unwrap())).collect()
}

/// The commits of a segment: where each starts and how long it is.
pub(crate) fn commits(segment: &[u8]) -> Vec<(usize, usize)> {
    let mut commits = Vec::new();
    let mut at = 64;
    while segment.len() > at && segment[at..at + 4] == *b"HFC1" {
        let payload = u32::from_le_bytes(segment[at + 4..at + 8].try_into().unwrap()) as usize;
        commits.push((at, payload + 60));
        at += payload + 60;
    }
    assert_eq!(at, segment.len());
    commits
}

pub(crate) fn flip(path: &Path, bit: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    std::fs::write(path, bytes).unwrap();
}

/// Where a payload's tag stands in the journal.
pub(crate) fn find(dir: &Path, tag: &str) -> (PathBuf, u64) {
    let wanted = format!("<{tag}>").into_bytes();
    for path in segments(dir) {
        let bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted) {
            return (path, at as u64);
        }
    }
    panic!("{tag} is not in the journal");
}
