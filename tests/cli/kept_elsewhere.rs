//! Runs that are kept on endpoints: alone, in doubt, and never lost by mistake.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::far::server_id;
use crate::support::server::Server;
use crate::support::{DEADLINE, Home, small_tree, text};

const GOES: &str = "keep_local = false\nrequire_endpoints = 'all'";

/// A home that backs up `data`, with an endpoint for each of these folders.
fn home_with(folders: &[&str], runs: &str) -> Home {
    let home = Home::new();
    small_tree(&home.beside("data"));
    configure(&home, folders, runs);
    home
}

fn configure(home: &Home, folders: &[&str], runs: &str) {
    let mut config = format!(
        "[runs]\n{runs}\n[[participant]]\nname = 'data'\nkind = 'files'\npaths = ['{}']\n",
        home.beside("data").display()
    );
    for name in folders {
        let folder = home.beside(name);
        fs::create_dir_all(&folder).unwrap();
        config.push_str(&format!("[[endpoint]]\nname = '{name}'\nurl = '{}'\nretry_delay = '0s'\n", url(&folder)));
    }
    fs::create_dir_all(home.path()).unwrap();
    fs::write(home.path().join("config.toml"), config).unwrap();
}

fn url(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

fn copy(run: &Value, name: &str) -> Value {
    let rows = run["endpoints"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no copy at {name}: {run}")).clone()
}

/// Backs up; answers the run.
fn back_up(home: &Home) -> String {
    home.holdfast(["backup"]).run().expect(0);
    home.newest_run()
}

fn is_here(home: &Home, run: &str) -> bool {
    home.path().join("backups/completed").join(run).exists()
}

#[test]
fn a_run_that_is_kept_elsewhere_alone_is_told_with_where_it_is_and_how_it_comes_back() {
    let home = home_with(&["far"], "");
    let first = back_up(&home);
    configure(&home, &["far"], GOES);
    let backup = home.holdfast(["backup"]).run();
    let run = home.newest_run();
    let brings_back = format!("holdfast remote import far {run}");
    backup.expect(0).says(&brings_back);
    assert!(!backup.out().contains("holdfast restore"), "{}", backup.out());
    assert!(!is_here(&home, &run) && is_here(&home, &first));

    let restored = home.holdfast(["restore", "latest", "--target", "out"]).run();
    restored.expect(0).says(&format!("latest is {first}")).says(&format!("{run} (kept on endpoints alone)"));
    assert_eq!(home.show("latest")["run_id"], json!(first));
    for command in [
        vec!["restore", &run, "--target", "out2"],
        vec!["restore", &run, "--in-place", "--force"],
        vec!["ls", &run],
        vec!["dump", &run, "data/etc/hosts"],
        vec!["lock", &run],
        vec!["upload", &run, "--to", "far"],
    ] {
        home.holdfast(&command).run().expect(10).says(&brings_back);
    }
    home.holdfast(["verify", &run]).run().expect(10).says(&format!("holdfast remote verify far {run}"));
    home.holdfast(["delete", &run]).run().expect(10).says(&format!("holdfast remote delete far {run}"));
    home.holdfast(["verify", "--all"]).run().expect(0);
    home.holdfast(["show", &run]).run().expect(0).says(&brings_back);
    home.holdfast(["runs"]).run().expect(0).says("completed, away");
    home.holdfast(["status"]).run().expect(0).says(&format!("run {run}")).says("not here");
    let listed = home.json(["remote", "list", "far"]);
    assert_eq!((&listed["rows"][0]["run_id"], &listed["rows"][0]["here"]), (&json!(run), &json!(false)));
    let rows = home.runs();
    assert_eq!(
        (&rows[0]["deleted"], &rows[0]["path"], &rows[0]["keep_local"]),
        (&json!(false), &json!(""), &json!(false))
    );

    home.holdfast(["delete", &first]).run().expect(0).says("its copies stay");
    home.holdfast(["restore", "latest", "--target", "out3"]).run().expect(10).says(&brings_back);
    home.holdfast(["remote", "import", "far", &run]).run().expect(0);
    home.holdfast(["restore", "latest", "--target", "out3"]).run().expect(0);
    // Whoever brought it back wants it here: neither the next start nor another copy takes it away.
    configure(&home, &["far", "other"], "keep_local = false\nrequire_endpoints = 'all'\nendpoints = ['far']");
    home.holdfast(["upload", &run, "--to", "other"]).run().expect(0);
    back_up(&home);
    assert!(is_here(&home, &run));
}

#[test]
fn a_directory_that_could_not_go_goes_once_it_may() {
    let home = home_with(&["far"], GOES);
    // It is locked while it is on its way: there is time for that where the far side is slow.
    let config = fs::read_to_string(home.path().join("config.toml")).unwrap();
    fs::write(home.path().join("config.toml"), format!("{config}bandwidth = 2\n")).unwrap();
    let mut running = home.holdfast(["backup", "--json"]).spawn();
    let begun = running.wait_for_json("bytes on their way", |line| line["message_type"] == "upload");
    let run = text(&begun["rows"][0]["run_id"]);
    home.holdfast(["lock", &run, "--reason", "audit"]).run().expect(0);
    running.kill();
    fs::write(home.path().join("config.toml"), &config).unwrap();
    home.holdfast(["resume"]).run().expect(0);
    assert_eq!(copy(&home.show(&run), "far")["status"], "uploaded");
    assert!(is_here(&home, &run), "a locked run stays");
    home.holdfast(["unlock", &run]).run().expect(0);
    assert!(!is_here(&home, &run), "it goes with the lock");
    assert_eq!(home.show(&run)["deleted"], json!(false));
}

#[test]
fn a_directory_that_is_read_when_its_copies_are_there_goes_with_the_next_start() {
    let home = home_with(&["far"], "");
    let first = back_up(&home);
    configure(&home, &["far"], GOES);
    fs::rename(home.beside("far"), home.beside("away")).unwrap();
    home.holdfast(["backup"]).run().expect(1);
    let run = home.newest_run();
    fs::rename(home.beside("away"), home.beside("far")).unwrap();
    // As whoever reads it does.
    let reader = fs::File::open(home.run_dir(&run)).unwrap();
    rustix::fs::flock(&reader, rustix::fs::FlockOperation::NonBlockingLockShared).unwrap();
    home.holdfast(["upload", &run, "--to", "far"]).run().expect(0);
    assert!(is_here(&home, &run), "it is being read");
    drop(reader);
    home.holdfast(["resume"]).run().expect(0);
    back_up(&home);
    assert!(!is_here(&home, &run) && is_here(&home, &first));
}

#[test]
fn a_copy_is_not_counted_where_its_endpoint_is_another_place_by_now() {
    let home = home_with(&["far"], "require_endpoints = 'all'");
    let run = back_up(&home);
    let at = format!("file://{}", home.beside("far").display());
    assert_eq!((&copy(&home.show(&run), "far")["address"], &home.show(&run)["good"]), (&json!(at), &json!(true)));
    let config = fs::read_to_string(home.path().join("config.toml")).unwrap();
    fs::create_dir(home.beside("moved")).unwrap();
    fs::write(home.path().join("config.toml"), config.replace(&at, &url(&home.beside("moved")))).unwrap();
    home.holdfast(["delete", &run]).run().expect(1).says("known to be here alone").says(&at);
    let shown = home.show(&run);
    let elsewhere = copy(&shown, "far");
    assert_eq!((&elsewhere["status"], &elsewhere["error_code"]), (&json!("elsewhere"), &json!("COPY_ELSEWHERE")));
    assert_eq!((&shown["good"], &shown["remote_status"]), (&json!(false), &json!("failed")), "{shown}");
    assert_eq!(home.runs()[0]["endpoints"][0]["status"], json!("elsewhere"));
    home.holdfast(["show", &run]).run().expect(0).says("elsewhere").says(&at);
    // The same over a server, whose lists are kept.
    let config_now = fs::read_to_string(home.path().join("config.toml")).unwrap();
    let server = Server::with(&home, &config_now, "");
    let mut client = server.client();
    let listed = client.granted("GetBackupRuns", json!({}));
    assert_eq!(listed["rows"][0]["endpoints"][0]["status"], json!("elsewhere"), "{listed}");
    assert_eq!(client.granted("GetBackupRun", json!({ "run_id": run }))["remote_status"], json!("failed"));
    server.stop().expect(0);
    home.holdfast(["upload", &run, "--to", "far"]).run().expect(0);
    assert_eq!(copy(&home.show(&run), "far")["address"], json!(url(&home.beside("moved"))));
    fs::write(home.path().join("config.toml"), &config).unwrap();
    home.holdfast(["endpoints", "list"]).run().expect(0);
    assert_eq!(copy(&home.show(&run), "far")["status"], "elsewhere");
    home.holdfast(["delete", &run, "--force"]).run().expect(0);
}

#[test]
fn a_directory_stays_where_the_copy_that_stands_for_it_is_out_of_sight() {
    let home = home_with(&["one", "two"], GOES);
    fs::rename(home.beside("two"), home.beside("away")).unwrap();
    home.holdfast(["backup"]).run().expect(1);
    let run = home.newest_run();
    assert_eq!(copy(&home.show(&run), "one")["status"], "uploaded");
    // Its first copy is lost from sight before the second one comes.
    fs::rename(home.beside("away"), home.beside("two")).unwrap();
    let config = fs::read_to_string(home.path().join("config.toml")).unwrap();
    fs::create_dir(home.beside("moved")).unwrap();
    fs::write(home.path().join("config.toml"), config.replace(&url(&home.beside("one")), &url(&home.beside("moved"))))
        .unwrap();
    home.holdfast(["upload", &run, "--to", "two"]).run().expect(0);
    assert!(is_here(&home, &run));
    fs::write(home.path().join("config.toml"), config).unwrap();
    home.holdfast(["resume"]).run().expect(0);
    back_up(&home);
    assert!(!is_here(&home, &run), "both are there");
}

#[test]
fn the_last_copy_is_not_lost_by_mistake_in_whatever_order() {
    let home = Home::new();
    small_tree(&home.beside("data"));
    for name in ["one", "two"] {
        fs::create_dir(home.beside(name)).unwrap();
        home.holdfast(["endpoints", "add", name, "--url"]).arg(url(&home.beside(name))).run().expect(0);
    }
    let run = home.back_up(["data"]);
    home.holdfast(["remote", "delete", "one", &run]).run().expect(0);
    home.holdfast(["delete", &run]).run().expect(0);
    home.holdfast(["remote", "delete", "two", &run]).run().expect(1).says("is the last one").says("--force");
    home.holdfast(["endpoints", "remove", "two"]).run().expect(1).says(&run).says("--force");
    let moved = home.beside("one").display().to_string();
    home.holdfast(["endpoints", "set", "two", "--url", &format!("file://{moved}")]).run().expect(1).says(&run);
    home.holdfast(["endpoints", "set", "two", "--priority", "3"]).run().expect(0);
    home.holdfast(["endpoints", "remove", "one"]).run().expect(0);
    // What is here is found damaged: it does not stand for the copy.
    home.holdfast(["remote", "import", "two", &run]).run().expect(0);
    fs::write(home.run_dir(&run).join("data.tar.lz4"), "damaged").unwrap();
    home.holdfast(["verify", &run]).run().expect(4);
    home.holdfast(["remote", "delete", "two", &run]).run().expect(1).says("is the last one");
    home.holdfast(["remote", "delete", "two", &run, "--force"]).run().expect(0);
    home.holdfast(["endpoints", "remove", "two"]).run().expect(0);
}

#[test]
fn a_copy_that_was_altered_is_not_counted_until_it_was_brought_again() {
    let home = home_with(&["far"], "");
    let run = back_up(&home);
    let server = server_id(&home);
    let there = home.beside("far").join(format!("{server}/runs/{run}/data.tar.lz4"));
    let mut bytes = fs::read(&there).unwrap();
    bytes[100] ^= 1;
    fs::write(&there, bytes).unwrap();
    let found = home.holdfast(["remote", "verify", "far", &run]).run();
    found.expect(4).says(&format!("holdfast remote delete far {run}")).says(&format!("holdfast upload {run} --to far"));
    let now = copy(&home.show(&run), "far");
    assert_eq!((&now["status"], &now["error_code"]), (&json!("failed"), &json!("REMOTE_RUN_ALTERED")));
    home.holdfast(["upload", &run, "--to", "far"]).run().expect(1).says("not as it was published");
    home.holdfast(["remote", "delete", "far", &run]).run().expect(0);
    home.holdfast(["upload", &run, "--to", "far"]).run().expect(0);
    home.holdfast(["remote", "verify", "far", &run]).run().expect(0);
    assert_eq!(copy(&home.show(&run), "far")["status"], "uploaded");
}

#[test]
fn a_run_that_no_endpoint_has_any_more_is_told_as_lost_and_an_older_one_is_the_last_good_one() {
    let home = home_with(&["one", "two"], "");
    let older = back_up(&home);
    configure(&home, &["one", "two"], "keep_local = false\nrequire_endpoints = 'any'");
    let run = back_up(&home);
    let server = server_id(&home);
    assert_eq!(home.json(["status"])["last_good_run"]["run_id"], json!(run));
    for (name, last_good) in [("one", &run), ("two", &older)] {
        let there = home.beside(name).join(format!("{server}/runs/{run}/data.tar.lz4"));
        fs::write(&there, "altered").unwrap();
        home.holdfast(["remote", "verify", name, &run]).run().expect(4);
        assert_eq!(home.json(["status"])["last_good_run"]["run_id"], json!(last_good), "{name}");
    }
    let shown = home.show(&run);
    assert_eq!((&shown["status"], &shown["good"]), (&json!("completed"), &json!(false)));
    assert_eq!(home.json(["status"])["damaged_runs"], json!([run]));
    home.holdfast(["runs"]).run().expect(0).says("completed, LOST");
    for command in [["show", &run], ["restore", &run], ["delete", &run], ["verify", &run]] {
        let told = home.holdfast(command).arg("--target").arg(home.beside("out"));
        let told = if command[0] == "restore" { told } else { home.holdfast(command) };
        told.run().says("no endpoint is known to have it any more");
    }
    let latest = home.holdfast(["verify", "latest"]).run();
    latest.expect(0).says(&format!("{run} (at no endpoint any more)"));
}

type Damage<'a> = &'a dyn Fn(&Path);

/// Damage to the lists that say what a run is counts like damage to what they list, and there is a way out of it.
#[test]
fn a_copy_whose_lists_are_not_as_they_were_is_no_copy() {
    let home = home_with(&["far"], "");
    back_up(&home);
    let server = server_id(&home);
    let sums = |path: &Path| fs::read(path.join("SHA256SUMS")).unwrap();
    let damages: [(&str, Damage<'_>); 5] = [
        ("a manifest that is none", &|there| fs::write(there.join("manifest.json"), "x").unwrap()),
        ("a manifest with another byte", &|there| {
            let text = fs::read_to_string(there.join("manifest.json")).unwrap();
            fs::write(there.join("manifest.json"), text.replacen("completed", "completeD", 1)).unwrap();
        }),
        ("a list that is cut", &|there| fs::write(there.join("SHA256SUMS"), &sums(there)[..70]).unwrap()),
        ("a list of other hashes", &|there| {
            let text = String::from_utf8(sums(there)).unwrap();
            let other = if text.starts_with('0') { "1" } else { "0" };
            fs::write(there.join("SHA256SUMS"), format!("{other}{}", &text[1..])).unwrap();
        }),
        ("no list", &|there| fs::remove_file(there.join("SHA256SUMS")).unwrap()),
    ];
    for (what, damage) in damages {
        let run = back_up(&home);
        damage(&home.beside("far").join(format!("{server}/runs/{run}")));
        home.holdfast(["upload", &run, "--to", "far"]).run().expect(1).says("remote delete far");
        home.holdfast(["remote", "import", "far", &run, "--overwrite"]).run().expect(4);
        home.holdfast(["remote", "verify", "far", &run]).run().expect(4);
        let now = copy(&home.show(&run), "far");
        assert_eq!((&now["status"], &now["error_code"]), (&json!("failed"), &json!("REMOTE_RUN_ALTERED")), "{what}");
        home.holdfast(["remote", "delete", "far", &run]).run().expect(0);
        home.holdfast(["upload", &run, "--to", "far"]).run().expect(0);
        home.holdfast(["remote", "verify", "far", &run]).run().expect(0);
    }
    // What is there no more, by an import as by anything else.
    let run = back_up(&home);
    fs::remove_dir_all(home.beside("far").join(format!("{server}/runs/{run}"))).unwrap();
    home.holdfast(["remote", "import", "far", &run, "--overwrite"]).run().expect(10);
    assert_eq!(copy(&home.show(&run), "far")["status"], "deleted");
}

#[test]
fn two_names_of_one_place_are_one_copy() {
    let home = home_with(&["one"], "");
    let config = fs::read_to_string(home.path().join("config.toml")).unwrap();
    let again = format!("[[endpoint]]\nname = 'other'\nurl = '{}/'\n", url(&home.beside("one")));
    fs::write(home.beside("two-names.toml"), format!("{config}{again}")).unwrap();
    home.holdfast(["config", "check", "two-names.toml"]).run().expect(3).says("one, other are one place");
    home.holdfast(["endpoints", "add", "again", "--url"]).arg(format!("{}/", url(&home.beside("one")))).run().expect(0);
    home.holdfast(["backup"]).run();
    let run = home.newest_run();
    for name in ["one", "again"] {
        home.holdfast(["upload", &run, "--to", name]).run().expect(0);
    }
    home.holdfast(["delete", &run]).run().expect(0);
    for name in ["one", "again"] {
        home.holdfast(["remote", "delete", name, &run]).run().expect(1).says("is the last one").says("--force");
    }
    home.holdfast(["remote", "delete", "again", &run, "--force"]).run().expect(0);
    assert_eq!(copy(&home.show(&run), "one")["status"], "deleted");
}

#[test]
fn a_run_that_needs_a_copy_and_has_none_is_not_good_also_where_there_is_no_endpoint() {
    for require in ["any", "all"] {
        let home = home_with(&[], &format!("require_endpoints = '{require}'"));
        home.holdfast(["backup"]).run().expect(1).says("no endpoint is in use");
        let run = home.newest_run();
        assert_eq!((&home.show(&run)["good"], &home.show(&run)["status"]), (&json!(false), &json!("completed")));
        assert_eq!(home.json(["status"])["last_good_run"], Value::Null);
        home.holdfast(["restore", &run, "--target", "out"]).run().expect(0);
        // One that takes it seldom is no reason to be uneasy.
        fs::create_dir(home.beside("far")).unwrap();
        let add = ["endpoints", "add", "far", "--timeinterval", "3600", "--url"];
        home.holdfast(add).arg(url(&home.beside("far"))).run().expect(0);
        home.holdfast(["backup"]).run().expect(0);
        home.holdfast(["backup"]).run().expect(0);
        let run = home.newest_run();
        let shown = home.show(&run);
        assert_eq!((&shown["endpoints"], &shown["good"]), (&json!([]), &json!(true)), "{shown}");
    }
}

#[test]
fn the_last_good_run_has_the_copies_it_needs() {
    let home = home_with(&["far"], "require_endpoints = 'all'\nmax_tries = 1");
    let first = back_up(&home);
    fs::rename(home.beside("far"), home.beside("away")).unwrap();
    home.holdfast(["backup"]).run().expect(1);
    assert_eq!(home.json(["status"])["last_good_run"]["run_id"], json!(first));
    // Nor does a partial one hide that its copies are missing.
    let config = fs::read_to_string(home.path().join("config.toml")).unwrap();
    let optional =
        "[[participant]]\nname = 'no'\nkind = 'command'\nartifact = 'x'\ncommand = ['false']\ncritical = false\n";
    fs::write(home.path().join("config.toml"), format!("{config}{optional}")).unwrap();
    home.holdfast(["backup"]).run().expect(1).says("is not at far");
}

#[test]
fn an_endpoint_that_copies_go_to_and_nobody_knows_is_told_before_a_backup() {
    let home = home_with(&["far"], "endpoints = ['far', 'nas']");
    let checked = home.holdfast(["config", "check"]).run();
    checked.expect(3).says("endpoints names nas");
    assert!(!checked.out().contains("names far"), "{}", checked.out());
    home.holdfast(["endpoints", "add", "nas", "--url"]).arg(url(&home.beside("far"))).run().expect(0);
    home.holdfast(["config", "check"]).run().expect(0);
    let listed = home.holdfast(["endpoints", "list"]).run();
    listed.expect(0).says(&url(&home.beside("far")));
    let retention = "[[endpoint]]\nname = 'x'\nretention = '30 days'\n";
    fs::write(home.beside("retention.toml"), retention).unwrap();
    home.holdfast(["config", "check", "retention.toml"]).run().expect(2).says("by rule yet");
    home.holdfast(["backup", "data", "--to"]).arg(url(&home.beside("data"))).run().expect(0).says("copied");
    let rows = home.json(["endpoints", "list"])["rows"].clone();
    assert!(rows.as_array().unwrap().iter().any(|row| row["enable"] == json!(0)), "{rows}");
    home.holdfast(["endpoints", "list"]).run().expect(0).says("asked for");
}

#[test]
fn a_copy_that_is_read_there_shows_how_far_it_is() {
    let home = home_with(&["far"], "");
    let run = back_up(&home);
    let read = home.holdfast(["remote", "verify", "far", &run]).run();
    read.expect(0).says("all as published");
    let lines = home.holdfast(["--json", "remote", "verify", "far", &run]).run().expect(0).json_lines();
    assert_eq!(lines.last().unwrap()["ok"], json!(true), "{lines:?}");
}

#[test]
fn an_endpoint_that_is_taken_out_under_an_upload_ends_it_in_order() {
    let home = home_with(&["far"], "");
    let config = fs::read_to_string(home.path().join("config.toml")).unwrap();
    let server = Server::with(&home, &format!("{config}bandwidth = 1\n"), "");
    let mut client = server.client();
    let run = text(&client.granted("StartFullBackup", json!({ "wait": false }))["run_id"]);
    let until = Instant::now() + DEADLINE;
    // A process each: one connection may not ask that often.
    let wait_for = |what: &str, found: &dyn Fn(&Value) -> bool| loop {
        let now = home.show(&run);
        if found(&now) {
            return now;
        }
        assert!(Instant::now() < until, "{what}: {now}");
    };
    wait_for("it is on its way", &|run| run["endpoints"][0]["status"] == "uploading");
    let (without, _) = config.split_once("[[endpoint]]").unwrap();
    Server::config(&home, without, "");
    server.process.signal(Signal::HUP);
    let ended = wait_for("it ends", &|run| run["remote_status"] != "uploading");
    let copy = copy(&ended, "far");
    assert_eq!((&copy["status"], &copy["error_code"]), (&json!("failed"), &json!("ENDPOINT_MISSING")), "{ended}");
    assert_eq!((&ended["status"], is_here(&home, &run)), (&json!("completed"), true));
    server.stop().expect(0);
}
