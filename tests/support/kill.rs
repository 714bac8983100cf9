//! The real program killed as a power cut would, and what must be true of its home after that.
//!
//! A program built with the feature `fault-points` counts the appends, fsyncs and renames it passes. A first run tells how
//! many there are; then it is killed at each. Threads pass them in no fixed order, so a number is a place to stop and no
//! more: a program that came to its end before it is one that was killed too late.

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
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use serde_json::Value;

use crate::support::tree::Tree;
use crate::support::{Finished, Home, Invocation, text};

/// SIGKILL, as the parent of a killed child is told.
const SIGKILL: i32 = 9;

/// A program that was to be killed at a fault point.
pub(crate) struct Killed {
    pub(crate) finished: Finished,
    /// The points it passed, the last one being where it was killed.
    pub(crate) passed: Vec<String>,
}

impl Killed {
    /// Whether it was killed, and did not end before.
    pub(crate) fn in_time(&self) -> bool {
        match (self.finished.signal(), self.finished.code()) {
            (Some(SIGKILL), _) => true,
            (None, Some(_)) => false,
            _ => panic!("neither killed nor ended: {}", self.finished),
        }
    }

    /// How many commits of the log it synced.
    pub(crate) fn commits(&self) -> usize {
        self.passed.iter().filter(|point| *point == "append.synced").count()
    }

    /// The ids of the runs it told of on standard output.
    fn told_runs(&self) -> Vec<String> {
        let lines = self.finished.out();
        let values = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ids = values.filter_map(|value| value["progress"]["run_id"].as_str().map(str::to_owned));
        ids.filter(|id| !id.is_empty()).collect()
    }
}

/// The points a command passes on its way to a good end.
pub(crate) fn points(home: &Home, args: &[&str]) -> Vec<String> {
    let trace = home.beside("points");
    home.holdfast(args).env("HOLDFAST_FAULT_TRACE", &trace).run().expect(0);
    let passed = read_trace(&trace);
    assert!(!passed.is_empty(), "the binary passes no fault points: build the tests with --features fault-points");
    passed
}

/// Runs a command and kills it at the point with this number, counted from 1.
pub(crate) fn kill_at(home: &Home, args: &[&str], number: usize) -> Killed {
    kill_program_at(home, home.holdfast(args), number)
}

fn kill_program_at(home: &Home, program: Invocation, number: usize) -> Killed {
    let trace = home.beside(format!("killed-at-{number}"));
    let program = program.env("HOLDFAST_FAULT_TRACE", &trace).env("HOLDFAST_FAULT_KILL", number.to_string());
    let finished = program.run();
    let passed = read_trace(&trace);
    let _ = fs::remove_file(&trace);
    Killed { finished, passed }
}

/// A home whose backup of a copy of `source` was killed when this event was the last of its run, by whatever `clock` it ran.
pub(crate) fn killed_after(last: &str, source: &Path, clock: Option<&str>) -> Home {
    let model = Home::new();
    copy(source, &model.beside("source"));
    let points = points(&model, &["--json", "backup", "source"]);
    // An event is the last one from its own sync on. The order of the other threads' points may have put it elsewhere.
    let synced = points.iter().zip(1..).filter(|(point, _)| *point == "append.synced").map(|(_, number)| number);
    for number in synced.chain(1..points.len()) {
        let home = Home::new();
        copy(source, &home.beside("source"));
        let backup = home.holdfast(["--json", "backup", "source"]);
        let backup = match clock {
            Some(clock) => backup.clock(clock),
            None => backup,
        };
        let killed = kill_program_at(&home, backup, number);
        let events = events(&home);
        let of_run = events.iter().rev().find(|event| text(&event["stream"]).starts_with("run/"));
        if of_run.is_some_and(|event| event["type"] == last) {
            assert!(killed.in_time(), "{}", killed.finished);
            expect_readers_change_nothing(&home);
            return home;
        }
    }
    panic!("no fault point lies after {last} and before the next event")
}

pub(crate) fn copy(tree: &Path, to: &Path) -> PathBuf {
    let copied = Command::new("cp").arg("-a").arg(tree).arg(to).status().expect("cp starts");
    assert!(copied.success(), "cp -a: {copied}");
    to.to_owned()
}

fn read_trace(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Does `one` for each number from 1 to `count`, a few at a time. A failure is followed by which one it was.
pub(crate) fn for_each(what: &str, count: usize, one: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(1);
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number > count {
                        return;
                    }
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one(number)));
                    if let Err(panic) = result {
                        println!("this was at {what} {number} of {count}");
                        // The others start nothing new.
                        next.store(count + 1, Ordering::Relaxed);
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
}

/// Another home with the same bytes in it.
pub(crate) fn twin(home: &Home) -> Home {
    let twin = Home::new();
    copy(&home.path(), &twin.path());
    twin
}

/// Every file and folder below `top` with what would change if somebody wrote to it.
pub(crate) fn fingerprint(top: &Path) -> BTreeMap<PathBuf, (u64, u128)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let Ok(facts) = path.symlink_metadata() else { continue };
            let changed = facts.modified().unwrap().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            found.insert(path.clone(), (facts.len(), changed));
            if facts.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// All events of a home that may not be one yet.
pub(crate) fn events(home: &Home) -> Vec<Value> {
    if !home.path().join("home.json").exists() {
        return Vec::new();
    }
    let events = home.events_from(1);
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["position"], index as u64 + 1, "the log's positions have a gap: {event}");
    }
    events
}

/// Fails the test unless every event that was seen before is still there, and the same.
pub(crate) fn expect_all_still_there(home: &Home, before: &[Value]) {
    let after = events(home);
    assert!(after.len() >= before.len(), "{} events were there, {} are left", before.len(), after.len());
    for (was, is) in before.iter().zip(&after) {
        assert_eq!(was, is, "an event was rewritten");
    }
}

/// The names of the events of one stream.
pub(crate) fn types_of(events: &[Value], stream: &str) -> Vec<String> {
    events.iter().filter(|event| event["stream"] == stream).map(|event| text(&event["type"])).collect()
}

/// Runs everything that only reads, and fails the test unless open runs are called interrupted and nothing was started,
/// recorded or touched. Gives the events.
pub(crate) fn expect_readers_change_nothing(home: &Home) -> Vec<Value> {
    let before = events(home);
    let running = fingerprint(&home.path().join("backups"));
    let rows = home.runs();
    for row in &rows {
        let (id, status) = (text(&row["run_id"]), text(&row["status"]));
        assert_eq!(
            row["finished_at"] == 0,
            status == "interrupted",
            "an open run without an owner is interrupted: {row}"
        );
        let shown = home.show(&id);
        assert_eq!(shown["status"], row["status"], "show and runs agree");
        home.holdfast(["log", "replay", &format!("run/{id}")]).run().expect(0);
        if status == "interrupted" {
            home.holdfast(["show", &id]).run().expect(0).says("interrupted").says("holdfast resume");
            let verify = home.holdfast(["verify", &id]).run();
            assert_ne!(verify.code(), Some(0), "an open run is never called verified: {verify}");
        }
    }
    home.holdfast(["log", "replay"]).run().expect(0);
    assert_eq!(events(home), before, "commands that only read recorded something");
    assert_eq!(fingerprint(&home.path().join("backups")), running, "commands that only read changed run directories");
    before
}

/// Fails the test where anything lies in the home that belongs to no ended run.
pub(crate) fn expect_no_leftovers(home: &Home) {
    for place in [".running", ".deleting", ".importing", ".restoring"] {
        let folder = home.path().join("backups").join(place);
        let left: Vec<_> = fingerprint(&folder).into_keys().collect();
        assert!(left.is_empty(), "left under {place}: {left:?}");
    }
    for path in fingerprint(&home.path()).into_keys() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let unfinished = [".tmp", ".partial", ".new", ".part"].iter().any(|ending| name.ends_with(ending));
        assert!(!unfinished, "an unfinished file was left: {}", path.display());
    }
    for end in ["completed", "failed"] {
        let Ok(runs) = fs::read_dir(home.path().join("backups").join(end)) else { continue };
        runs.for_each(|run| expect_only_listed_files(&run.unwrap().path()));
    }
}

/// Fails the test unless a run directory holds what its `SHA256SUMS` lists, and nothing else.
fn expect_only_listed_files(run: &Path) {
    let sums = fs::read_to_string(run.join("SHA256SUMS")).unwrap_or_else(|error| panic!("{}: {error}", run.display()));
    let mut listed: Vec<_> = sums.lines().filter_map(|line| Some(line.split_once(' ')?.1.trim().to_owned())).collect();
    listed.push("SHA256SUMS".to_owned());
    listed.sort();
    let mut there: Vec<_> =
        fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    there.sort();
    assert_eq!(there, listed, "{}", run.display());
}

/// Fails the test unless `resume` has nothing to do and does nothing.
pub(crate) fn expect_nothing_to_resume(home: &Home) {
    let before = events(home);
    home.holdfast(["resume"]).run().expect(0).says("nothing to resume");
    assert_eq!(events(home), before, "a resume with nothing to do recorded something");
}

/// What a killed backup came to: nothing had been asked for yet, or a run that went on to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// The kill came before the run was recorded: nobody was told of one.
    ToNothing,
    /// The kill came after the run's end was recorded.
    ToItsEndBefore,
    /// `resume` brought it to its end.
    BackByResume,
}

/// The whole of the promise about a backup of `source` that was killed: nothing seen is lost, readers tell the truth and
/// start nothing, `resume` ends in a completed run that verifies and restores to the same bytes, and nothing is left over.
pub(crate) fn expect_recovery(home: &Home, killed: Option<&Killed>, seen: &[Value], source: &Path) -> Came {
    expect_all_still_there(home, seen);
    if let Some(killed) = killed {
        let recorded = events(home).len().saturating_sub(seen.len());
        assert!(recorded >= killed.commits(), "{} commits were synced, {recorded} events are there", killed.commits());
    }
    if !home.path().join("home.json").exists() {
        home.holdfast(["runs"]).run().expect(0);
        home.holdfast(["show", "latest"]).run().expect(10);
        back_up_again(home, source);
        return Came::ToNothing;
    }
    let before = expect_readers_change_nothing(home);
    let rows = home.runs();
    for told in killed.map(Killed::told_runs).unwrap_or_default() {
        assert!(rows.iter().any(|row| row["run_id"] == told.as_str()), "run {told} was told of, and is not there");
    }
    let open = rows.iter().any(|row| row["status"] == "interrupted");
    let resumed = home.holdfast(["--json", "resume"]).run();
    resumed.expect(0);
    expect_all_still_there(home, &before);
    let came = match (open, rows.is_empty()) {
        (true, _) => Came::BackByResume,
        (false, true) => Came::ToNothing,
        (false, false) => Came::ToItsEndBefore,
    };
    if came == Came::ToNothing {
        back_up_again(home, source);
    } else {
        expect_good(home, &home.newest_run(), source);
    }
    expect_nothing_to_resume(home);
    expect_no_leftovers(home);
    came
}

fn back_up_again(home: &Home, source: &Path) {
    let run = home.back_up([source]);
    expect_good(home, &run, source);
    expect_no_leftovers(home);
}

/// Fails the test unless the run is completed, verifies, and restores to the same tree.
pub(crate) fn expect_good(home: &Home, run: &str, source: &Path) {
    let shown = home.show(run);
    assert_eq!(shown["status"], "completed", "{shown}");
    home.holdfast(["verify", run]).run().expect(0);
    let target = home.beside(format!("out-{run}"));
    home.holdfast(["restore", run, "--target"]).arg(&target).run().expect(0);
    let original = Tree::read(&fs::canonicalize(source).unwrap());
    original.expect_same(&Tree::read(&target.join(source.file_name().unwrap())));
    let _ = fs::remove_dir_all(&target);
}
