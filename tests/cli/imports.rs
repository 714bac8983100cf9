//! Runs that come back from an endpoint: unknown here, deleted here, damaged here, of another installation, encrypted.

use std::fs;
use std::path::{Path, PathBuf};

use holdfast::endpoints::Credentials;
use serde_json::{Value, json};

use crate::support::far::{far, send, send_as, server_id};
use crate::support::kill::copy;
use crate::support::server::Server;
use crate::support::tree::Tree;
use crate::support::{Finished, Home, small_tree};

/// A home with one run, which lies at a far side too; and the far side's folder.
fn away() -> (Home, String, PathBuf) {
    let home = Home::new();
    small_tree(&home.beside("data"));
    let run = home.back_up(["data"]);
    let folder = home.beside("far");
    fs::create_dir(&folder).unwrap();
    send(&home, &run, &*far(&url(&folder), Credentials::default(), server_id(&home)));
    add(&home, &folder);
    (home, run, folder)
}

fn url(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

fn add(home: &Home, folder: &Path) {
    home.holdfast(["endpoints", "add", "far", "--url"]).arg(url(folder)).run().expect(0);
}

/// Where a run's files lie at the far side.
fn lies(home: &Home, folder: &Path, run: &str) -> PathBuf {
    folder.join(format!("{}/runs/{run}", server_id(home)))
}

fn import(home: &Home, run: &str, more: &[&str]) -> Finished {
    home.holdfast(["--json", "remote", "import", "far", run]).args(more).run()
}

fn imported(home: &Home, run: &str, more: &[&str]) -> Value {
    import(home, run, more).expect(0).summary()["run"].clone()
}

fn expect_whole(home: &Home, run: &str, target: &str, more: &[&str]) {
    home.holdfast(["verify", run]).args(more).run().expect(0);
    home.holdfast(["restore", run, "--target", target]).args(more).run().expect(0);
    Tree::read(&home.beside("data")).expect_same(&Tree::read(&home.beside(target).join("data")));
    home.holdfast(["lock", run, "--reason", "audit"]).run().expect(0);
    home.holdfast(["delete", run]).run().expect(11);
    home.holdfast(["unlock", run]).run().expect(0);
}

fn nothing_arrives(home: &Home) {
    let left = fs::read_dir(home.path().join("backups/.importing")).unwrap().count();
    assert_eq!(left, 0, "nothing is left of an import");
}

#[test]
fn a_deleted_run_comes_back_as_it_was_and_is_a_run_like_any_other() {
    let (home, run, _) = away();
    let before = home.show(&run);
    let listed = home.json(["remote", "list", "far"]);
    assert_eq!((&listed["rows"][0]["run_id"], &listed["rows"][0]["here"]), (&json!(run), &json!(true)));
    home.holdfast(["delete", &run]).run().expect(0);
    assert_eq!(home.json(["remote", "list", "far"])["rows"][0]["here"], json!(false));
    let now = imported(&home, &run, &[]);
    assert_eq!(now["imported_from"]["endpoint"], "far");
    let mut after = home.show(&run);
    after.as_object_mut().unwrap().remove("imported_from");
    assert_eq!(after, before);
    expect_whole(&home, &run, "out", &[]);
    nothing_arrives(&home);
    home.holdfast(["delete", &run]).run().expect(0);
    let story = home.holdfast(["show", &run, "--log"]).run();
    story.expect(0).says("asked to bring the run of").says("it is here again");
}

#[test]
fn what_is_here_is_replaced_only_where_that_is_said_and_what_fails_leaves_it() {
    let (home, run, folder) = away();
    import(&home, &run, &[]).expect(2).says("--overwrite");
    // What is here is damaged; what is there is whole.
    let artifact = home.run_dir(&run).join("data.tar.lz4");
    fs::write(&artifact, "damaged").unwrap();
    home.holdfast(["verify", &run]).run().expect(4);
    home.holdfast(["lock", &run]).run().expect(0);
    import(&home, &run, &["--overwrite"]).expect(11);
    home.holdfast(["unlock", &run]).run().expect(0);
    imported(&home, &run, &["--overwrite"]);
    expect_whole(&home, &run, "out", &[]);
    // What is there is damaged now: what is here stays.
    let there = lies(&home, &folder, &run).join("data.tar.lz4");
    let mut bytes = fs::read(&there).unwrap();
    bytes[100] ^= 1;
    fs::write(&there, bytes).unwrap();
    import(&home, &run, &["--overwrite"]).expect(4);
    home.holdfast(["remote", "verify", "far", &run]).run().expect(4);
    expect_whole(&home, &run, "again", &[]);
    nothing_arrives(&home);
    let events = home.events_from(1);
    let failed = events.iter().rev().find(|event| event["type"] == "RunImportFailed").expect("the reason is recorded");
    assert_eq!(failed["data"]["failure"]["code"], "REMOTE_RUN_ALTERED", "{failed}");
}

#[test]
fn what_lies_there_under_the_id_of_another_run_is_refused() {
    let (home, run, folder) = away();
    // Whoever can write there puts another run in its place, whole in itself.
    let other = Home::new();
    copy(&home.path(), &other.path());
    let manifest = home.run_dir(&run).join("manifest.json");
    let forged = home.beside("forged");
    copy(&home.run_dir(&run), &forged);
    let text = fs::read_to_string(&manifest).unwrap().replace("\"manual\"", "\"cron\"");
    fs::write(forged.join("manifest.json"), text).unwrap();
    home.command("sh", ["-c", "cd forged && sha256sum $(ls | grep -v SHA256SUMS) > SHA256SUMS"]).run().expect(0);
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    send_as(&forged, &run, &*far(&url(&folder), Credentials::default(), server_id(&home)));
    import(&home, &run, &["--overwrite"]).expect(4);
    home.holdfast(["remote", "verify", "far", &run]).run().expect(4);
    home.holdfast(["verify", &run]).run().expect(0);
    home.holdfast(["delete", &run]).run().expect(0);
    import(&home, &run, &[]).expect(4);
    assert_eq!(home.show(&run)["deleted"], true);
    nothing_arrives(&home);
}

#[test]
fn another_installation_reads_it_and_never_takes_it_for_its_own_latest() {
    // The first runs of two installations may have one id: their clocks and counters are the same.
    let (home, _, folder) = away();
    let run = home.back_up(["data"]);
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    send(&home, &run, &*far(&url(&folder), Credentials::default(), server_id(&home)));
    let other = Home::new();
    small_tree(&other.beside("own"));
    let own = other.back_up(["own"]);
    add(&other, &folder);
    assert_eq!(other.json(["remote", "list", "far"])["rows"], json!([]));
    import(&other, &run, &[]).expect(10);
    let server = server_id(&home).to_string();
    let listed = other.json(["remote", "list", "far", "--server-id", &server]);
    assert_eq!(listed["rows"][0]["run_id"], json!(run));
    let now = imported(&other, &run, &["--server-id", &server]);
    assert_eq!((&now["imported_from"]["server_id"], &now["status"]), (&json!(server), &json!("completed")));
    copy(&home.beside("data"), &other.beside("data"));
    expect_whole(&other, &run, "out", &[]);
    assert_eq!(other.show("latest")["run_id"], json!(own));
    // Its own numbers go on above.
    let next = other.back_up(["own"]);
    assert!(next[16..] > run[16..] && next[16..] > own[16..], "{next}");
}

#[test]
fn an_empty_home_has_its_runs_again_and_the_newest_is_the_latest() {
    let (home, first, folder) = away();
    let second = home.back_up(["data"]);
    send(&home, &second, &*far(&url(&folder), Credentials::default(), server_id(&home)));
    let empty = Home::new();
    let server = server_id(&home).to_string();
    fs::create_dir(empty.path()).unwrap();
    fs::copy(home.path().join("home.json"), empty.path().join("home.json")).unwrap();
    add(&empty, &folder);
    assert_eq!(server_id(&empty).to_string(), server);
    for run in [&second, &first] {
        imported(&empty, run, &[]);
    }
    assert_eq!(empty.show("latest")["run_id"], json!(second));
    copy(&home.beside("data"), &empty.beside("data"));
    expect_whole(&empty, &second, "out", &[]);
}

#[test]
fn an_encrypted_run_comes_back_without_a_key_and_is_restored_with_it() {
    let home = Home::new();
    small_tree(&home.beside("data"));
    home.holdfast(["key", "generate", "--output", "key"]).run().expect(0);
    let key = fs::read_to_string(home.beside("key")).unwrap();
    let public = key.split_whitespace().find(|word| word.starts_with("age1")).unwrap().to_owned();
    let config = home.beside("config.toml");
    fs::write(&config, format!("[encryption]\nencrypt_to = ['{public}']\n")).unwrap();
    let run = home.back_up(["data", "--config", "config.toml"]);
    let folder = home.beside("far");
    fs::create_dir(&folder).unwrap();
    send(&home, &run, &*far(&url(&folder), Credentials::default(), server_id(&home)));

    let other = Home::new();
    fs::create_dir(other.path()).unwrap();
    fs::copy(home.path().join("home.json"), other.path().join("home.json")).unwrap();
    fs::copy(home.beside("key"), other.beside("key")).unwrap();
    add(&other, &folder);
    let now = imported(&other, &run, &[]);
    assert_eq!((&now["imported_from"]["masked"], &now["participants"][0]["name"]), (&json!(true), &json!("p1")));
    assert_eq!(now["participants"][0]["artifacts"][0]["opened_by"], json!([public]));
    other.holdfast(["verify", &run]).run().expect(0);
    other.holdfast(["restore", &run, "--target", "none"]).run().expect(12);
    copy(&home.beside("data"), &other.beside("data"));
    expect_whole(&other, &run, "out", &["--identity", "key"]);
    let listed = other.holdfast(["ls", &run, "--identity", "key"]).run();
    listed.expect(0).says("data/etc/hosts");
    let dumped = other.holdfast(["dump", &run, "data/etc/hosts", "--participant", "data", "--identity", "key"]).run();
    assert_eq!(dumped.expect(0).out(), "127.0.0.1 localhost\n");
}

#[test]
fn an_encrypted_run_that_came_back_is_restored_in_place_with_its_key_alone() {
    let home = Home::new();
    home.holdfast(["key", "generate", "--output", "key"]).run().expect(0);
    let key = fs::read_to_string(home.beside("key")).unwrap();
    let public = key.split_whitespace().find(|word| word.starts_with("age1")).unwrap().to_owned();
    let config = |home: &Home| {
        let (rows, config) = (home.beside("rows"), home.beside("config.toml"));
        let text = format!(
            "[encryption]\nencrypt_to = ['{public}']\n[[participant]]\nname = 'db'\nkind = 'command'\n\
             command = ['cat', '{rows}']\nrestore = ['sh', '-c', 'cat > {rows}']\n",
            rows = rows.display()
        );
        fs::write(config, text).unwrap();
    };
    config(&home);
    fs::write(home.beside("rows"), "1\n2\n").unwrap();
    let run = home.back_up(["--config", "config.toml"]);
    let folder = home.beside("far");
    fs::create_dir(&folder).unwrap();
    send(&home, &run, &*far(&url(&folder), Credentials::default(), server_id(&home)));

    let other = Home::new();
    fs::create_dir(other.path()).unwrap();
    fs::copy(home.path().join("home.json"), other.path().join("home.json")).unwrap();
    fs::copy(home.beside("key"), other.beside("key")).unwrap();
    config(&other);
    fs::write(other.beside("rows"), "3\n").unwrap();
    add(&other, &folder);
    imported(&other, &run, &[]);
    let restore = ["restore", &run, "--in-place", "--force", "--config", "config.toml"];
    other.holdfast(restore).run().expect(12);
    let named = other.holdfast(restore).args(["--participant", "db", "--identity", "key"]).run();
    named.expect(0);
    assert_eq!(fs::read_to_string(other.beside("rows")).unwrap(), "1\n2\n");
    fs::write(other.beside("rows"), "3\n").unwrap();
    other.holdfast(restore).args(["--identity", "key"]).run().expect(0);
    assert_eq!(fs::read_to_string(other.beside("rows")).unwrap(), "1\n2\n");
}

#[test]
fn a_server_that_has_the_home_brings_it_back_for_the_command_line() {
    let (home, run, _) = away();
    home.holdfast(["delete", &run]).run().expect(0);
    let server = Server::start(&home, "");
    imported(&home, &run, &[]);
    home.holdfast(["remote", "verify", "far", &run]).run().expect(0).says("all as published");
    import(&home, "20200101-000000-000009", &[]).expect(10);
    home.holdfast(["remote", "list", "nowhere"]).run().expect(2);
    drop(server);
    expect_whole(&home, &run, "out", &[]);
}
