//! Clients that others wrote, against the running server: a WebSocket client of another language, curl, a scraper, and one that makes
//! requests up from the OpenAPI document.

use serde_json::{Value, json};

use crate::support::others::{Got, curl, python, schemathesis};
use crate::support::server::Server;
use crate::support::{Home, long, seed, small_tree};

/// Two small participants: a run of them takes a moment.
fn small(home: &Home) -> String {
    small_tree(&home.beside("site"));
    format!(
        "[runs]\nown_state = false\n[[participant]]\nname = \"site\"\nkind = \"files\"\npaths = [\"{}\"]\n\
         [[participant]]\nname = \"notes\"\nkind = \"command\"\ncommand = [\"echo\", \"milk, bread\"]\nartifact = \"notes.txt\"\n",
        home.beside("site").display()
    )
}

fn bearer(server: &Server) -> String {
    format!("Authorization: Bearer {}", server.token)
}

fn body(got: &Got) -> Value {
    serde_json::from_str(&got.body).unwrap_or_else(|error| panic!("{error}: {}", got.body))
}

/// The samples of /metrics, which are the same in either form.
fn metrics(home: &Home, server: &Server) -> Vec<Value> {
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let classic = "text/plain; version=0.0.4; charset=utf-8";
    let asked = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    let [classic, open] =
        [("classic", "Accept: */*", classic), ("openmetrics", asked, open)].map(|(form, accept, kind)| {
            let got = curl(home, server, "/metrics", &["--header", &bearer(server), "--header", accept]);
            assert_eq!(got.status, 200, "{}", got.body);
            assert_eq!(got.header("content-type"), Some(kind));
            let page = home.beside("metrics.txt");
            std::fs::write(&page, &got.body).unwrap();
            let said = python(home, "metrics.py").arg(page).arg(form).run().expect(0).out();
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        });
    // What both have, under the same names and of the same kinds; some of it moves between two looks.
    let shapes = |samples: &[Value]| {
        let shape = |sample: &Value| (sample["name"].to_string(), sample["labels"].to_string());
        let mut shapes: Vec<_> = samples.iter().filter(|sample| sample["type"] != "info").map(shape).collect();
        shapes.sort();
        shapes
    };
    let requests =
        |sample: &Value| sample["name"] != "holdfast_requests_total" && sample["name"] != "holdfast_build_info";
    let kept = |samples: &[Value]| shapes(&samples.iter().filter(|it| requests(it)).cloned().collect::<Vec<_>>());
    assert_eq!(kept(&classic), kept(&open));
    let kind = |name: &str| classic.iter().find(|sample| sample["name"] == name).map(|sample| sample["type"].clone());
    for (name, of) in [
        ("holdfast_runs_total", "counter"),
        ("holdfast_open_runs", "gauge"),
        ("holdfast_log_append_seconds_bucket", "histogram"),
        ("holdfast_build_info", "gauge"),
    ] {
        assert_eq!(kind(name), Some(json!(of)), "{name}");
    }
    open
}

fn sample(samples: &[Value], name: &str, labels: Value) -> Option<f64> {
    let found = samples.iter().find(|sample| sample["name"] == name && sample["labels"] == labels);
    found.and_then(|sample| sample["value"].as_f64())
}

#[test]
fn a_websocket_client_of_another_language_follows_a_run_to_its_end() {
    let home = Home::new();
    let server = Server::start(&home, &small(&home));
    let url = format!("ws://{}/ws", server.http);
    let run = python(&home, "websocket.py").arg(url).arg(home.path().join("admin.token")).run().expect(0).out();
    assert_eq!(home.newest_run(), run.trim());
    server.stop().expect(0);
}

#[test]
fn curl_asks_and_is_told() {
    let home = Home::new();
    let server = Server::start(&home, &small(&home));
    let token = bearer(&server);
    let json = "Content-Type: application/json";

    let run = curl(&home, &server, "/api/v1/StartFullBackup", &["--header", &token, "--header", json, "--data", "{}"]);
    assert_eq!((run.status, &body(&run)["status"]), (200, &json!("completed")));
    let begun = curl(
        &home,
        &server,
        "/api/v1/StartBackupServer",
        &["--header", &token, "--header", json, "--data", "{\"wait\":false}"],
    );
    assert_eq!(begun.status, 202, "{}", begun.body);

    let unknown = curl(&home, &server, "/api/v1/GetBackupRuns", &["--request", "POST"]);
    assert_eq!((unknown.status, &body(&unknown)["error"]), (401, &json!("UNAUTHENTICATED")));
    assert!(unknown.header("www-authenticate").is_some_and(|how| how.starts_with("Bearer")));
    let got = curl(&home, &server, "/api/v1/GetBackupRuns", &["--header", &token]);
    assert_eq!((got.status, got.header("allow")), (405, Some("POST")));
    server.stop().expect(0);
}

#[test]
fn it_is_well_and_ready_and_its_figures_are_kept_over_a_restart() {
    let home = Home::new();
    let config = small(&home);
    let server = Server::start(&home, &config);
    for page in ["/healthz", "/readyz"] {
        let got = curl(&home, &server, page, &[]);
        assert_eq!(
            (got.status, &body(&got)["status"], &body(&got)["checks"]["log"]),
            (200, &json!("ok"), &json!("ok"))
        );
    }
    for page in ["/healthz", "/readyz"] {
        let got = curl(&home, &server, page, &["--head"]);
        assert_eq!((got.status, got.body.as_str()), (200, ""), "{page}");
    }
    let head = curl(&home, &server, "/metrics", &["--head", "--header", &bearer(&server)]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let stranger = curl(&home, &server, "/metrics", &[]);
    assert_eq!((stranger.status, &body(&stranger)["error"]), (401, &json!("UNAUTHENTICATED")));

    let completed = json!({ "status": "completed" });
    let site = json!({ "participant": "site" });
    let before = metrics(&home, &server);
    assert_eq!(sample(&before, "holdfast_runs_total", completed.clone()), Some(0.0));
    assert_eq!(sample(&before, "holdfast_last_verified_run_age_seconds", site.clone()), None);
    let run = server.client().granted("StartFullBackup", json!({ "job": "nightly" }));
    let ended = run["finished_at"].as_f64();

    let after = metrics(&home, &server);
    assert_eq!(sample(&after, "holdfast_runs_total", completed.clone()), Some(1.0));
    for subject in [&site, &json!({ "participant": "notes" }), &json!({ "job": "nightly" })] {
        for name in ["holdfast_last_success_timestamp_seconds", "holdfast_last_verified_run_timestamp_seconds"] {
            assert_eq!(sample(&after, name, subject.clone()), ended, "{name} {subject}");
        }
        let age = sample(&after, "holdfast_last_verified_run_age_seconds", subject.clone());
        assert!(age.is_some_and(|age| (0.0..300.0).contains(&age)), "{age:?}");
    }
    assert_eq!(sample(&after, "holdfast_artifacts_total", json!({})), Some(2.0));
    assert_eq!(sample(&after, "holdfast_run_duration_seconds_count", json!({})), Some(1.0));
    assert!(sample(&after, "holdfast_log_append_seconds_count", json!({})).is_some_and(|count| count > 5.0));
    assert!(sample(&after, "holdfast_log_position", json!({})).is_some_and(|position| position > 10.0));
    let asked = json!({ "command": "StartFullBackup", "status": "2xx" });
    assert_eq!(sample(&after, "holdfast_requests_total", asked.clone()), Some(1.0));
    assert_eq!(sample(&after, "holdfast_participant_quarantined", site.clone()), Some(0.0));
    server.stop().expect(0);

    let server = Server::with(&home, &config, "metrics_public = true");
    assert_eq!(curl(&home, &server, "/metrics", &[]).status, 200);
    let again = metrics(&home, &server);
    assert_eq!(sample(&again, "holdfast_runs_total", completed), Some(1.0));
    assert_eq!(sample(&again, "holdfast_last_verified_run_timestamp_seconds", site), ended);
    assert_eq!(sample(&again, "holdfast_engine_starts_total", json!({})), Some(2.0));
    assert_eq!(sample(&again, "holdfast_requests_total", asked), None, "the doors count from the server's start");
    server.stop().expect(0);
}

#[test]
fn how_copies_fare_is_a_figure_of_each_endpoint() {
    let home = Home::new();
    let far = home.beside("far");
    std::fs::create_dir(&far).unwrap();
    let endpoint = |name: &str, path: &std::path::Path| {
        format!("[[endpoint]]\nname = '{name}'\nurl = 'file://{}'\nretry_attempts = 1\n", path.display())
    };
    let endpoints = format!("{}{}", endpoint("far", &far), endpoint("gone", &home.beside("gone")));
    let server = Server::start(&home, &format!("{}{endpoints}", small(&home)));
    let run = server.client().granted("StartFullBackup", json!({}));
    home.holdfast(["upload", "latest", "--to", "far"]).run().expect(0);
    home.holdfast(["upload", "latest", "--to", "gone"]).run().expect(1);
    let figures = metrics(&home, &server);
    let of = |name: &str, endpoint: &str| sample(&figures, name, json!({ "endpoint": endpoint }));
    let came = of("holdfast_endpoint_last_copy_timestamp_seconds", "far");
    assert!(came >= run["finished_at"].as_f64() && came.is_some());
    assert_eq!(of("holdfast_endpoint_last_copy_timestamp_seconds", "gone"), None);
    assert!(of("holdfast_endpoint_failures_in_a_row", "gone").is_some_and(|failures| failures >= 1.0));
    assert_eq!(of("holdfast_endpoint_failures_in_a_row", "far"), Some(0.0));
    assert_eq!(of("holdfast_endpoint_unavailable", "far"), Some(0.0));
    server.stop().expect(0);
}

#[test]
fn what_schemathesis_makes_up_is_answered_as_the_document_says() {
    let home = Home::new();
    // What it makes up comes faster, and with more wrong tokens, than strangers may.
    let limits = "[server.limits]\nrequests_per_second = 10000\nburst = 10000\nguesses_per_minute = 1000\n";
    // With nothing encrypted most endpoints would be refused, which no schema says.
    let passphrase = home.beside("passphrase");
    std::fs::write(&passphrase, "a passphrase of some length").unwrap();
    std::fs::set_permissions(&passphrase, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let encrypted = format!("[encryption]\npassphrase_file = '{}'\n{}", passphrase.display(), small(&home));
    let server = Server::with(&home, &encrypted, limits);
    // The same every time, so that one change is not blamed for what another seed finds; a new one in the long form.
    let (seed, examples) = if long() { (seed().to_string(), "200") } else { ("1".to_owned(), "8") };
    println!("seed {seed}");
    let done = schemathesis(&home)
        .args(["run", "--checks", "all", "--seed", &seed, "--max-examples", examples, "--no-color"])
        .args(["--header", &bearer(&server)])
        .arg(format!("http://{}/openapi.json", server.http))
        .run();
    println!("{}", done.out());
    done.expect(0);
    server.client().granted("GetBackupRuns", json!({}));
    server.stop().expect(0);
}
