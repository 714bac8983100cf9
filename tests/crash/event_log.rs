//! The event log as it is read: complete, in order, never changed afterwards, and all that is shown can be had from it again.

use std::collections::BTreeMap;
use std::fs;

use crate::support::{Home, small_tree, text};
use rustix::process::Signal;
use serde_json::Value;

/// A home with a completed, a failed and a deleted run, a verification and a restore.
fn eventful() -> (Home, String) {
    let home = Home::new();
    small_tree(&home.beside("source"));
    let gone = home.back_up(["source"]);
    let kept = home.back_up(["source", "--compression", "zstd:1"]);
    fs::create_dir(home.beside("empty")).unwrap();
    home.holdfast(["backup", "empty"]).run().expect(1);
    home.holdfast(["verify", "latest"]).run().expect(0);
    home.holdfast(["restore", "latest", "--target", "out"]).run().expect(0);
    home.holdfast(["delete", gone.as_str()]).run().expect(0);
    (home, kept)
}

fn position(event: &Value) -> u64 {
    event["position"].as_u64().expect("a position")
}

fn types(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| text(&event["type"])).collect()
}

#[test]
fn events_have_places_without_gaps() {
    let (home, run) = eventful();
    let events = home.events_from(1);
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    for (event, expected) in events.iter().zip(1..) {
        assert_eq!(position(event), expected);
        let version = versions.entry(text(&event["stream"])).or_default();
        *version += 1;
        assert_eq!(event["version"].as_u64(), Some(*version), "{event}");
        assert_eq!(text(&event["event_id"]).len(), 36);
        assert!(text(&event["principal"]).starts_with("local:uid="), "{event}");
        assert!(event["time"].as_i64().is_some() && event["data"].is_object(), "{event}");
    }
    assert_eq!(types(&events[..1]), ["HomeCreated"]);

    let stream = format!("run/{run}");
    let of_run: Vec<_> = events.into_iter().filter(|event| event["stream"] == stream.as_str()).collect();
    let kinds = types(&of_run);
    let expected = [
        "RunRequested",
        "ArtifactStored",
        "ParticipantCompleted",
        "RunPublishRequested",
        "RunPublished",
        "RunVerified",
    ];
    let mut rest = kinds.iter();
    for kind in expected {
        assert!(rest.any(|found| found == kind), "{kind} in its place: {kinds:?}");
    }
    assert!(kinds.len() < 100, "a run's history is short: {kinds:?}");
}

#[test]
fn events_are_listed_by_stream_place_and_number() {
    let (home, run) = eventful();
    let all = home.events_from(1);
    let stream = format!("run/{run}");
    let list = |args: &[&str]| home.holdfast(["--json", "log", "events"]).args(args).run().expect(0).json_lines();

    let of_run: Vec<_> = all.iter().filter(|event| event["stream"] == stream.as_str()).cloned().collect();
    assert_eq!(list(&["--stream", &stream]), of_run);
    assert_eq!(list(&["--limit", "5"]), all[..5]);
    assert_eq!(list(&["--from", "7", "--limit", "3"]), all[6..9]);
    let middle = position(&of_run[3]).to_string();
    assert_eq!(list(&["--stream", &stream, "--from", &middle, "--limit", "2"]), of_run[3..5]);
    assert_eq!(list(&["--from", "1000000"]), Vec::<Value>::new());
    assert_eq!(list(&["--stream", "run/20200101-000000-000001"]), Vec::<Value>::new());

    let lines = home.holdfast(["log", "events"]).run();
    assert_eq!(lines.expect(0).out().lines().count(), all.len(), "a line an event");
    lines.says("RunPublished").says(&stream);
}

#[test]
fn what_was_acknowledged_stays_as_it_is() {
    let (home, run) = eventful();
    let before = home.events_from(1);
    home.back_up(["source"]);
    home.holdfast(["verify", "--all"]).run().expect(0);
    home.holdfast(["delete", run.as_str()]).run().expect(0);
    let after = home.events_from(1);
    assert!(after.len() > before.len());
    assert_eq!(after[..before.len()], before[..]);
}

#[test]
fn reading_changes_nothing() {
    let (home, run) = eventful();
    let digest = || crate::support::tree::Tree::read(&home.path());
    let before = digest();
    for args in [&["runs"][..], &["show", &run], &["ls", &run], &["log", "events"], &["log", "replay"], &["resume"]] {
        home.holdfast(args).run().expect(0);
    }
    home.holdfast(["dump", run.as_str(), "source/etc/hosts"]).run().expect(0);
    before.expect_same(&digest());
}

#[test]
fn a_follower_sees_the_events_of_another_process_and_does_not_hold_it_up() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    home.back_up(["source"]);
    let from = home.events_from(1).len() as u64 + 1;

    let start = from.to_string();
    let follow = ["--json", "log", "events", "--follow", "--from", start.as_str()];
    let mut follower = home.holdfast(follow).spawn();
    let run = home.back_up(["source", "--lock-wait", "1"]);
    let mut seen = Vec::new();
    let stream = format!("run/{run}");
    follower.wait_for_json("the end of the run", |event| {
        event["stream"] == stream.as_str() && event["type"] == "RunPublished"
    });
    // Not only what comes in one piece: a second run is seen too.
    let second = format!("run/{}", home.back_up(["source", "--lock-wait", "1"]));
    follower.wait_for_json("the end of a second run", |event| {
        event["stream"] == second.as_str() && event["type"] == "RunPublished"
    });
    follower.signal(Signal::INT);
    let ended = follower.wait();
    seen.extend(ended.expect(0).json_lines());
    let recorded = home.events_from(from);
    assert_eq!(seen[..], recorded[..seen.len()], "each event once, in order");
    assert_eq!(seen[0]["type"], "EngineStarted");
}

#[test]
fn a_follower_of_one_stream_stops_at_its_limit() {
    let home = Home::new();
    small_tree(&home.beside("source"));
    home.back_up(["source"]);
    let system = home.holdfast(["--json", "log", "events", "--stream", "system"]).run().expect(0).json_lines().len();
    let limit = (system + 1).to_string();
    let follow = ["--json", "log", "events", "--follow", "--stream", "system", "--limit", limit.as_str()];
    let follower = home.holdfast(follow).spawn();
    home.back_up(["source"]);
    let seen = follower.wait().expect(0).json_lines();
    assert_eq!(types(&seen).last().map(String::as_str), Some("EngineStarted"));
    assert_eq!(seen.len(), system + 1);
}

#[test]
fn replay_gives_the_state_at_any_place() {
    let (home, run) = eventful();
    let events = home.events_from(1);
    let head = events.len() as u64;
    let first_of_run = events.iter().find(|event| event["stream"] == format!("run/{run}")).map(position).unwrap();
    let stream = format!("run/{run}");
    let step = if crate::support::long() { 1 } else { 3 };
    let mut ended = 0;
    for at in (1..=head).step_by(step).chain([head]) {
        let at_text = at.to_string();
        let all = home.json(["log", "replay", "--at", at_text.as_str()]);
        assert_eq!(all["position"].as_u64(), Some(at));
        let counts = all["runs"].as_object().unwrap();
        let has_ended = |status: &str| !["queued", "running", "interrupted"].contains(&status);
        let ended_now: u64 =
            counts.iter().filter(|(status, _)| has_ended(status)).filter_map(|(_, n)| n.as_u64()).sum();
        assert!(ended_now >= ended, "what has ended stays so: {all}");
        ended = ended_now;

        let one = home.holdfast(["--json", "log", "replay", "--at", at_text.as_str(), stream.as_str()]).run();
        one.expect(if at < first_of_run { 10 } else { 0 });
        home.holdfast(["log", "replay", "--at", at_text.as_str()]).run().expect(0);
    }
    for row in home.json(["runs", "--deleted"])["rows"].as_array().unwrap() {
        let stream = format!("run/{}", text(&row["run_id"]));
        assert_eq!(home.json(["log", "replay", stream.as_str()]), *row, "replay gives what is shown");
    }
    let beyond = (head + 1).to_string();
    home.holdfast(["log", "replay", "--at", beyond.as_str()]).run().expect(2).says(&head.to_string());
    home.holdfast(["log", "replay", "system"]).run().expect(2).says("run/ID");
}

#[test]
fn the_log_holds_a_run_s_story_not_its_bytes() {
    let home = Home::new();
    crate::support::large_tree(&home.beside("source"), 50);
    home.back_up(["source"]);
    let journal: u64 = fs::read_dir(home.path().join("log/journal"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".seg"))
        .map(|entry| {
            use std::os::unix::fs::MetadataExt;
            entry.metadata().unwrap().blocks() * 512
        })
        .sum();
    assert!(journal < 64 << 20, "{journal} bytes of journal");
    assert!(home.events_from(1).len() < 100);
}
