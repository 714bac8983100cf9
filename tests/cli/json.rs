//! What programs are told with `--json`: one value or lines of values, of a fixed form.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::command_line::backed_up;
use crate::support::{Home, text};

#[test]
fn errors_are_json_with_json() {
    let (home, _) = backed_up();
    for args in [&["show", "20200101-000000-000001"][..], &["dump", "latest", "no/such/file"], &["backup", "missing"]] {
        let finished = home.holdfast(args).arg("--json").run();
        let error = finished.json_lines().pop().expect("a line");
        let error = if error["message_type"] == "summary" { error["run"].clone() } else { error };
        if error["message_type"] == "error" {
            assert_eq!(error["exit_code"].as_i64(), finished.code().map(i64::from));
            assert!(text(&error["error"]).chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{error}");
            assert!(!text(&error["message"]).is_empty() && error["next"].is_string(), "{error}");
        } else {
            assert_eq!(error["status"], "failed");
        }
        assert_eq!(finished.err(), "", "with --json all is on standard output: {finished}");
    }
}

/// Fails unless `value` has exactly these fields, of these kinds.
fn expect_fields(what: &str, value: &Value, fields: &[(&str, &str)]) {
    let object = value.as_object().unwrap_or_else(|| panic!("{what} is no object: {value}"));
    let got: BTreeSet<_> = object.keys().map(String::as_str).collect();
    let wanted: BTreeSet<_> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(got, wanted, "{what}");
    for (name, kind) in fields {
        let value = &object[*name];
        let right = match *kind {
            "text" => value.is_string(),
            "number" => value.is_u64() || value.is_i64(),
            "truth" => value.is_boolean(),
            "list" => value.is_array(),
            "warnings" => value["count"].is_u64() && value["first"].is_array(),
            "consistency" => value["mode"].is_string() && value["barrier_at"].is_i64(),
            _ => unreachable!("{kind}"),
        };
        assert!(right, "{what}.{name} is no {kind}: {value}");
    }
}

fn expect_run(run: &Value) {
    let fields = [
        ("run_id", "text"),
        ("type", "text"),
        ("trigger", "text"),
        ("status", "text"),
        ("path", "text"),
        ("started_at", "number"),
        ("finished_at", "number"),
        ("good", "truth"),
        ("error_summary", "text"),
        ("requested_participants", "list"),
        ("participants", "list"),
        ("attempt", "number"),
        ("consistency", "consistency"),
        ("remote_status", "text"),
        ("require_endpoints", "text"),
        ("keep_local", "truth"),
        ("endpoints", "list"),
        ("locked", "truth"),
        ("lock_reason", "text"),
        ("job", "text"),
        ("size_bytes", "number"),
        ("stored_bytes", "number"),
        ("requested_by", "text"),
        ("deleted", "truth"),
    ];
    expect_fields("run", run, &fields);
    for participant in run["participants"].as_array().unwrap() {
        let fields = [
            ("name", "text"),
            ("critical", "truth"),
            ("kind", "text"),
            ("ok", "truth"),
            ("status", "text"),
            ("started_at", "number"),
            ("finished_at", "number"),
            ("tries", "number"),
            ("error", "text"),
            ("output", "text"),
            ("warnings", "warnings"),
            ("notes", "warnings"),
            ("files", "number"),
            ("artifacts", "list"),
        ];
        expect_fields("participant", participant, &fields);
        for artifact in participant["artifacts"].as_array().unwrap() {
            let fields = [
                ("logical_name", "text"),
                ("path", "text"),
                ("size_bytes", "number"),
                ("sha256", "text"),
                ("content_bytes", "number"),
                ("content_sha256", "text"),
                ("compression", "text"),
                ("encryption", "text"),
                ("integrity_ok", "truth"),
                ("integrity_error", "text"),
                ("validation_ok", "truth"),
                ("validation_error", "text"),
            ];
            expect_fields("artifact", artifact, &fields);
        }
    }
}

#[test]
fn a_run_as_json_has_the_fields_of_the_contract() {
    let (home, run) = backed_up();
    fs::create_dir(home.beside("empty")).unwrap();
    home.holdfast(["backup", "empty"]).run().expect(1);
    let rows = home.runs();
    assert_eq!(rows.len(), 2);
    rows.iter().for_each(expect_run);
    for row in &rows {
        assert_eq!(*row, home.show(&text(&row["run_id"])), "`runs` and `show` say the same");
    }

    let shown = home.show(&run);
    assert_eq!(shown["type"], "full");
    assert_eq!(shown["trigger"], "manual");
    assert_eq!(shown["status"], "completed");
    assert_eq!(shown["path"], format!("backups/completed/{run}"));
    assert!(shown["finished_at"].as_i64() >= shown["started_at"].as_i64());
    assert_eq!(shown["requested_participants"], serde_json::json!([]));
    assert_eq!(shown["consistency"], serde_json::json!({ "mode": "concurrent", "barrier_at": 0, "held_us": 0 }));
    assert_eq!((&shown["remote_status"], &shown["attempt"]), (&"none".into(), &1.into()));
    let participant = &shown["participants"][0];
    assert_eq!((&participant["name"], &participant["ok"]), (&"source".into(), &true.into()));
    assert_eq!(participant["files"], 4);
    let artifact = &participant["artifacts"][0];
    assert_eq!((&artifact["logical_name"], &artifact["encryption"]), (&"source.tar".into(), &"none".into()));
    assert_eq!(artifact["path"], format!("backups/completed/{run}/source.tar.lz4"));
    assert_eq!((&artifact["integrity_ok"], &artifact["validation_ok"]), (&true.into(), &true.into()));
    assert_eq!(shown["stored_bytes"], artifact["size_bytes"]);
    assert_eq!(shown["size_bytes"], artifact["content_bytes"]);
}

#[test]
fn backup_json_is_lines_of_status_event_and_summary() {
    let home = Home::new();
    crate::support::large_tree(&home.beside("source"), 30);
    let config = crate::support::slow_settings(&home);
    let backup = home.holdfast(["backup", "source", "--json", "--config"]).arg(&config).run();
    let lines = backup.expect(0).json_lines();
    let types: BTreeSet<_> = lines.iter().map(|line| text(&line["message_type"])).collect();
    assert_eq!(types, BTreeSet::from(["event".into(), "status".into(), "summary".into()]));
    let (summary, progress) = lines.split_last().expect("lines");
    assert_eq!(summary["message_type"], "summary", "the summary is the last line");
    assert_eq!((summary["exit_code"].as_i64(), summary["files"].as_i64()), (Some(0), Some(30)));
    assert!(summary["seconds"].is_f64());
    expect_run(&summary["run"]);
    assert_eq!(summary["run"], home.show("latest"), "what the end says is what the log says");

    let (events, progress): (Vec<_>, Vec<_>) = progress.iter().partition(|line| line["message_type"] == "event");
    let positions: Vec<_> = events.iter().map(|line| line["event"]["position"].as_u64().expect("a position")).collect();
    assert!(positions.is_sorted() && positions.len() > 8, "every event of the run, in order: {positions:?}");
    assert_eq!(events.first().expect("events")["event"]["type"], "RunRequested");
    assert_eq!(events.last().expect("events")["event"]["type"], "RunPublished");

    let mut percent = 0.0;
    for line in &progress {
        let progress = &line["progress"];
        let now = progress["overall_percent"].as_f64().expect("a number");
        assert!(now >= percent && now <= 100.0, "percent falls from {percent} to {now}");
        percent = now;
        assert_eq!(progress["run_id"], summary["run"]["run_id"]);
        for field in ["bytes_done", "bytes_total", "bytes_per_second", "participants_total"] {
            assert!(progress[field].is_u64(), "{field}: {line}");
        }
    }
    let last = &progress.last().expect("a line")["progress"];
    assert_eq!((&last["phase"], last["overall_percent"].as_f64()), (&"done".into(), Some(100.0)));
}

#[test]
fn every_command_gives_json_with_json() {
    let (home, run) = backed_up();
    let one = |args: &[&str]| home.json(args);
    assert!(one(&["runs"])["rows"].is_array());
    assert_eq!(one(&["show", "latest"])["run_id"], run.as_str());
    assert_eq!(one(&["resume"])["message_type"], "status");
    assert_eq!(one(&["log", "replay"])["runs"]["completed"], 1);
    assert_eq!(one(&["log", "replay", &format!("run/{run}")])["run_id"], run.as_str());
    for args in [&["ls", "latest"][..], &["log", "events"], &["verify", "latest"], &["verify", "--all"]] {
        let lines = home.holdfast(args).arg("--json").run().expect(0).json_lines();
        assert!(!lines.is_empty(), "{args:?}");
    }
    let restored = home.holdfast(["restore", "latest", "--target", "out", "--json"]).run();
    let summary = restored.expect(0).summary();
    assert_eq!((&summary["status"], &summary["source_run_id"]), (&"completed".into(), &run.as_str().into()));
    let deleted = one(&["delete", &run]);
    assert_eq!(deleted["ok"], true);
    assert_eq!(deleted["deleted_path"], format!("backups/completed/{run}"));
}
