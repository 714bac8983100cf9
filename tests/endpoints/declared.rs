//! Endpoints of the configuration file, as an operator meets them: in the list, in the log, at a reload, and refused where they cannot be.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::far_side::{FarSide, PASSWORD};
use crate::support::Home;
use crate::support::server::Server;

fn configure(home: &Home, text: &str) {
    fs::create_dir_all(home.path()).unwrap();
    fs::write(home.path().join("config.toml"), text).unwrap();
}

fn disk(home: &Home, name: &str, more: &str) -> String {
    format!("[[endpoint]]\nname = '{name}'\nurl = 'file://{}'\n{more}\n", home.beside(name).display())
}

fn rows(home: &Home) -> Vec<Value> {
    home.json(["endpoints", "list"])["rows"].as_array().unwrap().clone()
}

fn names(home: &Home) -> Vec<(String, bool)> {
    let row = |row: &Value| (row["name"].as_str().unwrap().to_owned(), row["declared"].as_bool().unwrap());
    rows(home).iter().map(row).collect()
}

#[test]
fn what_the_file_declares_is_recorded_followed_and_changed_there_alone() {
    let home = Home::new();
    configure(&home, &(disk(&home, "one", "priority = 2") + &disk(&home, "two", "")));
    assert_eq!(names(&home), [("one".into(), true), ("two".into(), true)]);
    for args in [&["set", "one", "--enable", "false"][..], &["remove", "one"]] {
        let refused = home.holdfast(["endpoints"]).args(args).arg("--json").run();
        assert_ne!(refused.code(), Some(0));
        refused.says("ENDPOINT_DECLARED").says("configuration file");
    }
    home.holdfast(["endpoints", "add", "mine", "--url", "file:///mnt/mine"]).run().expect(0);

    configure(&home, &(disk(&home, "one", "priority = 3") + &disk(&home, "three", "enable = false")));
    assert_eq!(names(&home), [("mine".into(), false), ("one".into(), true), ("three".into(), true)]);
    let told = home.holdfast(["--json", "log", "events"]).run();
    let events: Vec<_> =
        told.json_lines().iter().filter_map(|event| event["type"].as_str().map(str::to_owned)).collect();
    let count = |name: &str| events.iter().filter(|event| *event == name).count();
    let counts = ["EndpointAdded", "EndpointUpdated", "EndpointDeleted"].map(count);
    assert_eq!(counts, [4, 1, 1], "one event for each change, none where nothing changes: {events:?}");

    // One name, claimed by both.
    configure(&home, &disk(&home, "mine", ""));
    let refused = home.holdfast(["serve"]).run();
    assert_ne!(refused.code(), Some(0));
    refused
        .says("endpoint mine of the configuration file was added by a command")
        .says("holdfast endpoints remove mine");
    home.holdfast(["endpoints", "remove", "mine"]).run().expect(0);
    assert_eq!(names(&home), [("mine".into(), true)], "what was said to be done helps");
}

#[test]
fn a_reload_takes_endpoints_over_and_refuses_those_that_are_taken() {
    let home = Home::new();
    let mut server = Server::start(&home, &disk(&home, "one", ""));
    let mut client = server.client();
    client.granted("AddBackupConfig", json!({ "name": "mine", "url": "file:///mnt/mine" }));
    let listed = |client: &mut crate::support::server::Lines| {
        let rows = client.granted("GetBackupConfig", json!({}))["rows"].clone();
        rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&mut client), ["mine", "one"]);

    let mut reload = |config: &str, ok: bool| {
        Server::config(&home, config, "");
        server.process.signal(Signal::HUP);
        let told =
            server.process.wait_for_json("the news", |line| line["message_type"] == "reload" && line["ok"] == ok);
        told.to_string()
    };
    reload(&disk(&home, "two", "streams = 9"), true);
    assert_eq!(listed(&mut client), ["mine", "two"]);
    let told = reload(&disk(&home, "mine", ""), false);
    assert!(told.contains("was added by a command"), "{told}");
    assert_eq!(listed(&mut client), ["mine", "two"], "all of it or nothing");
    let told = reload("[[endpoint]]\nname = 'far'\nurl = 'sftp://nas/srv'\n", false);
    assert!(told.contains("encrypt_to") && told.contains("plaintext"), "{told}");
    server.stop().expect(0);
}

#[test]
fn what_would_leave_this_machine_readable_is_refused_with_both_ways_out() {
    let home = Home::new();
    let add = ["endpoints", "add", "far", "--url", "sftp://nas/srv", "--login", "me"];
    home.holdfast(add).run().expect(2).says("encrypt_to").says("plaintext");
    home.holdfast(add).args(["--plaintext", "true"]).run().expect(0);
    home.holdfast(["endpoints", "set", "far", "--plaintext", "false"]).run().expect(2).says("encrypt_to");
    home.holdfast(["endpoints", "add", "disk", "--url", "file:///mnt/disk"]).run().expect(0);

    let declared = "[[endpoint]]\nname = 'nas'\nhost = 'nas:7420'\n";
    configure(&home, declared);
    home.holdfast(["config", "check"]).run().expect(2).says("config.toml:3:8:").says("encrypt_to").says("plaintext");
    home.holdfast(["backup"]).run().expect(2).says("plaintext");
    home.holdfast(["key", "generate", "--output"]).arg(home.beside("key")).run().expect(0);
    let public = fs::read_to_string(home.beside("key")).unwrap();
    let public = public.split_whitespace().find(|word| word.starts_with("age1")).expect("a public key").to_owned();
    configure(&home, &format!("{declared}[encryption]\nencrypt_to = ['{public}']\n"));
    home.holdfast(["config", "check"]).run().expect(0).says("nas:7420");
    home.holdfast(["endpoints", "set", "far", "--plaintext", "false"]).run().expect(0);
}

#[test]
fn a_password_is_fetched_where_it_lies_when_it_is_used() {
    let home = Home::new();
    let far = FarSide::webdav();
    let password = home.beside("password");
    fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    let shown = password.display();
    let endpoint = |name: &str, place: &str| {
        format!(
            "[[endpoint]]\nname = '{name}'\nurl = '{}'\nlogin = '{}'\nplaintext = true\n{place}\n",
            far.url,
            far.login()
        )
    };
    let config = [
        endpoint("file", &format!("password_file = '{shown}'")),
        endpoint("command", &format!("password_command = ['cat', '{shown}']")),
        endpoint("variable", "password_env = 'FAR_PASSWORD'"),
        endpoint("broken", "password_command = ['sh', '-c', 'echo hunter2; exit 7']"),
    ];
    configure(&home, &config.concat());
    for name in ["file", "command", "variable"] {
        // Before any start has recorded it.
        let tried = home.holdfast(["endpoints", "test", name]).env("FAR_PASSWORD", PASSWORD).run();
        tried.expect(0).says(&format!("{name} can be used"));
    }
    let broken = home.holdfast(["endpoints", "test", "broken"]).run();
    broken.expect(1).says("password_command").says("exit status: 7");
    assert!(!format!("{}{}", broken.out(), broken.err()).contains("hunter2"));

    home.holdfast(["endpoints", "add", "late", "--url", &far.url, "--login", far.login(), "--plaintext", "true"])
        .args(["--password-command", "cat", password.to_str().unwrap()])
        .run()
        .expect(0);
    home.holdfast(["endpoints", "test", "late"]).run().expect(0);
    home.holdfast(["endpoints", "set", "late", "--password-path"]).arg(&password).run().expect(0);
    home.holdfast(["endpoints", "test", "late"]).run().expect(0);
    let from: Vec<_> = rows(&home).iter().map(|row| row["password_from"].as_str().unwrap().to_owned()).collect();
    assert_eq!(from, ["command", "command", "file", "file", "environment"], "broken, command, file, late, variable");
    let list = home.holdfast(["endpoints", "list"]).run();
    assert!(list.out().lines().all(|line| line.chars().count() <= 80), "{}", list.out());
    assert!(!home.path().join("secrets.age").exists(), "none of them is kept");
}
