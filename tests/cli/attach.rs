//! The command line beside whoever owns the home: it goes to that process by itself, and behaves as without one.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::kill::{expect_good, expect_nothing_to_resume};
use crate::support::server::{Lines, Server};
use crate::support::tree::Tree;
use crate::support::{Home, Invocation, Running, need, root, small_tree, text};

/// Two participants: `gated`, a command that waits for a file, and `site`, files.
fn participants(home: &Home) -> String {
    if !home.beside("site").exists() {
        small_tree(&home.beside("site"));
    }
    format!(
        "[runs]\nmax_tries = 1\n\
         [[participant]]\nname = 'gated'\nkind = 'command'\nartifact = 'gated.txt'\nshell = true\n\
         command = 'echo begun; until [ -e {gate} ]; do sleep 0.05; done; echo ended'\n\
         restore = 'cat > {taken}'\n\
         [[participant]]\nname = 'site'\nkind = 'files'\npaths = ['{site}']\n",
        gate = home.beside("gate").display(),
        taken = home.beside("taken").display(),
        site = home.beside("site").display(),
    )
}

fn open_gate(home: &Home) {
    fs::write(home.beside("gate"), "").unwrap();
}

fn close_gate(home: &Home) {
    fs::remove_file(home.beside("gate")).unwrap();
}

/// A server with the two participants, and the gate open.
fn served() -> (Home, Server) {
    let home = Home::new();
    let server = Server::start(&home, &participants(&home));
    open_gate(&home);
    (home, server)
}

/// A one-shot backup that waits at the gate, and owns the home meanwhile.
fn gated_backup(home: &Home) -> Running {
    let config = home.beside("holdfast.toml");
    fs::write(&config, participants(home)).unwrap();
    let mut backup = home.holdfast(["--json", "backup", "--participant", "gated", "--config"]).arg(&config).spawn();
    backup.wait_for_json("a participant at work", |line| line["progress"]["phase"] == "backup");
    backup
}

/// An event that this process recorded as the owner of the home.
fn by_the_server(home: &Home, event_type: &str) -> bool {
    let started = home.events_from(1).into_iter().filter(|event| event["type"] == "EngineStarted").count();
    started == 1 && home.events_from(1).iter().any(|event| event["type"] == event_type)
}

#[test]
fn a_backup_beside_a_server_is_the_servers_run_and_reads_the_same() {
    let (home, server) = served();
    let alone = Home::new();
    small_tree(&alone.beside("site"));

    let attached = home.holdfast(["backup", "site"]).run();
    let own = alone.holdfast(["backup", "site"]).run();

    attached.expect(0);
    own.expect(0);
    let digits = |text: String, home: &Home| {
        let text = text.replace(&home.path().display().to_string(), "HOME");
        // Whether a run is seen before its turn comes depends on the time it takes.
        let lines: Vec<_> = text.lines().filter(|line| !line.ends_with("waits for its turn")).collect();
        let text = lines.join("\n");
        let words = text
            .split_whitespace()
            .map(|word| if word.chars().any(|c| c.is_ascii_digit()) { "N".to_owned() } else { word.to_owned() });
        words.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(digits(attached.out(), &home), digits(own.out(), &alone));
    assert_eq!(digits(attached.err(), &home), digits(own.err(), &alone));
    let run = home.newest_run();
    expect_good(&home, &run, &home.beside("site"));
    assert!(by_the_server(&home, "RunPublished"), "one process has owned the home");
    assert_eq!(home.show(&run)["requested_by"], alone.show("latest")["requested_by"]);

    let with_json = |home: &Home| {
        let finished = home.holdfast(["--json", "backup", "site"]).run();
        let lines = finished.expect(0).json_lines();
        let kind = |line: &Value| {
            let of_event = line["event"]["type"].as_str().unwrap_or_default().to_owned();
            (text(&line["message_type"]), of_event)
        };
        let mut kinds: Vec<_> = lines.iter().map(kind).collect();
        // How often progress is told depends on the time it takes.
        kinds.retain(|(kind, event)| kind != "status" && event != "ParticipantProgressed");
        (kinds, finished.summary())
    };
    let ((attached, summary), (own, _)) = (with_json(&home), with_json(&alone));
    assert_eq!(attached, own);
    assert_eq!(summary["run"], home.show(&text(&summary["run"]["run_id"])));
    server.stop().expect(0);
}

#[test]
fn the_configured_participants_are_the_servers() {
    let (home, server) = served();
    // Without any configuration of its own.
    home.holdfast(["backup"]).run().expect(0);
    // And the installation itself.
    assert_eq!(home.show("latest")["participants"].as_array().unwrap().len(), 3);
    home.holdfast(["backup", "--participant", "site"]).run().expect(0);
    let unknown = home.holdfast(["backup", "--participant", "sites"]).run();
    unknown.expect(2).says("no participant is called \"sites\"").says("There are: gated, site.");
    let rows = home.json(["participants"])["rows"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 3, "{rows}");
    assert_eq!(
        (&rows[2]["name"], &rows[2]["kind"], &rows[2]["configured"]),
        (&json!("holdfast"), &json!("holdfast"), &json!(true))
    );
    server.stop().expect(0);
}

#[test]
fn every_command_finds_its_way_to_the_server() {
    let (home, server) = served();
    home.holdfast(["backup"]).run().expect(0);
    let run = home.newest_run();
    let good = |args: &[&str]| {
        let finished = home.holdfast(args).args(["--lock-wait", "5"]).run();
        finished.expect(0);
        assert!(!finished.err().contains("not recorded"), "{finished}");
        finished
    };
    good(&["runs"]).says(&run);
    good(&["show", &run]);
    good(&["ls", "latest"]).says("site/etc/hosts");
    good(&["dump", "latest", "gated.txt"]).says("ended");
    good(&["log", "events"]);
    good(&["verify", &run]);
    assert!(home.events_from(1).iter().any(|event| event["type"] == "RunVerified"));
    good(&["lock", &run, "--reason", "audit"]);
    home.holdfast(["delete", &run]).run().expect(11).says("audit").says("holdfast unlock");
    good(&["unlock", &run]);
    good(&["participants"]);
    good(&["participants", "reset", "site"]).says("not in quarantine");
    good(&["resume"]).says("nothing to resume");
    good(&["maintenance", "on", "--reason", "moving"]).says("maintenance is on");
    good(&["maintenance", "status"]).says("moving");
    good(&["maintenance", "off"]);
    good(&["endpoints", "list"]).says("no endpoints");
    good(&["status"]).says("serve").says(&run);
    good(&["progress"]).says(&run);
    let token = good(&["token", "create", "reader", "--role", "viewer", "--expires", "30d"]);
    let token = token.out().trim().to_owned();
    let mut reader = Lines::connect(server.tcp, Some(&token));
    assert_eq!(reader.granted("GetBackupRun", json!({ "run_id": run }))["run_id"], run.as_str());
    good(&["token", "list"]).says("reader");
    good(&["token", "revoke", "reader"]);
    // Who came with it is told so, and does not get in with it again.
    assert!(reader.wait(|message| message["error"] == "INVALID_TOKEN").is_some());
    assert_eq!(Lines::connect(server.tcp, Some(&token)).ask("GetBackupRuns", json!({}))["error"], "INVALID_TOKEN");
    home.holdfast(["token", "revoke", "reader"]).run().expect(2);

    let out = home.beside("out");
    good(&["restore", "latest", "--participant", "site", "--target", out.to_str().unwrap()]);
    Tree::read(&home.beside("site")).expect_same(&Tree::read(&out.join("site")));
    let restores = json!(server.client().granted("GetRestoreRuns", json!({}))["rows"]);
    assert_eq!(
        (&restores[0]["status"], &restores[0]["source_run_id"]),
        (&json!("completed"), &json!(run)),
        "{restores}"
    );
    let in_place = ["restore", "latest", "--participant", "gated", "--in-place", "--force"];
    let config = home.beside("serve.toml");
    let restored = home.holdfast(in_place).args(["--config", config.to_str().unwrap()]).run();
    restored.expect(0).says("into participant gated").says("every byte verified");
    assert_eq!(fs::read_to_string(home.beside("taken")).unwrap(), "begun\nended\n");

    home.holdfast(["cancel", &run]).run().expect(11);
    good(&["delete", &run]);
    assert_eq!(home.json(["runs"])["rows"].as_array().unwrap().len(), 0);
    let deleted = home.holdfast(["--json", "delete", &run]).run();
    assert!(matches!(deleted.code(), Some(10)), "{deleted}");

    good(&["stop"]).says("the server has stopped");
    server.process.wait().expect(0);
    assert!(by_the_server(&home, "RunDeleted"), "nobody else has owned the home");
    home.holdfast(["stop"]).run().expect(1).says("no server has the home");
    home.holdfast(["status"]).run().expect(0).says("owner       none");
}

#[test]
fn passwords_come_from_a_file_and_are_nowhere_to_be_read() {
    let (home, server) = served();
    let secret = "correct-horse-battery";
    fs::write(home.beside("password"), format!("{secret}\nand more\n")).unwrap();
    let file = home.beside("password");
    let add = [
        "endpoints",
        "add",
        "vault1",
        "--host",
        "backup.example.org:7420",
        "--login",
        "srv1",
        "--plaintext",
        "true",
        "--password-file",
    ];
    home.holdfast(add).arg(&file).run().expect(0);
    home.holdfast(add).arg(&file).run().expect(2).says("endpoints set");
    home.holdfast(["endpoints", "set", "vault1", "--mode", "1"]).run().expect(0);
    home.holdfast(["endpoints", "add", "bad", "--host", "no-port"]).run().expect(2).says("--host");
    let rows = home.json(["endpoints", "list"])["rows"].clone();
    assert_eq!((&rows[0]["password_set"], &rows[0]["mode"]), (&json!(true), &json!(1)), "{rows}");
    home.holdfast(["endpoints", "set", "vault1", "--no-password"]).run().expect(0);
    assert_eq!(home.json(["endpoints", "list"])["rows"][0]["password_set"], false);
    home.holdfast(["endpoints", "remove", "vault1"]).run().expect(0);
    home.holdfast(["endpoints", "remove", "vault1"]).run().expect(2);
    let events = home.holdfast(["--json", "log", "events"]).run();
    assert!(!events.out().contains(secret));
    server.stop().expect(0);
}

#[test]
fn commands_beside_a_one_shot_backup_go_to_it() {
    let home = Home::new();
    small_tree(&home.beside("site"));
    let earlier = home.back_up(["site"]);
    let backup = gated_backup(&home);
    let running = home.newest_run();
    let good = |args: &[&str]| {
        let finished = home.holdfast(args).args(["--lock-wait", "5"]).run();
        finished.expect(0);
        assert!(!finished.err().contains("not recorded"), "{finished}");
        finished
    };

    good(&["status"]).says("`backup`").says(&running);
    good(&["progress"]).says(&running);
    good(&["lock", &earlier]);
    good(&["unlock", &earlier]);
    good(&["verify", &earlier]);
    good(&["token", "create", "ci", "--role", "operator"]);
    let out = home.beside("out");
    good(&["restore", &earlier, "--target", out.to_str().unwrap()]);
    good(&["delete", &earlier]);
    home.holdfast(["delete", &running]).run().expect(11);
    home.holdfast(["stop"]).run().expect(1).says("ends by itself");
    let busy = home.holdfast(["backup", "site", "--lock-wait", "0.2"]).run();
    busy.expect(11).says(&running).says("--lock-wait");

    // One that waits gets its turn.
    let mut waiting = home.holdfast(["--json", "backup", "site"]).spawn();
    waiting.wait_for_note("what is in the way", |line| line.contains(&running));
    open_gate(&home);
    backup.wait().expect(0);
    let next = waiting.wait();
    assert_eq!(next.expect(0).summary()["run"]["status"], "completed");
    expect_nothing_to_resume(&home);
}

#[test]
fn the_run_of_a_one_shot_backup_can_be_cancelled_by_another_command() {
    let home = Home::new();
    let backup = gated_backup(&home);
    home.holdfast(["cancel", &home.newest_run()]).run().expect(0);
    let ended = backup.wait();
    assert_eq!(ended.expect(130).summary()["run"]["status"], "cancelled");
}

#[test]
fn ctrl_c_cancels_the_attached_run_and_leaves_the_server() {
    let (home, server) = served();
    close_gate(&home);
    let mut backup = home.holdfast(["backup", "--participant", "gated"]).spawn();
    backup.wait_for_note("the phase of writing", |line| line.ends_with("writes artifacts"));
    backup.signal(Signal::INT);
    backup.wait_for_note("the answer to Ctrl-C", |line| line.contains("cancelling"));
    backup.wait().expect(130);
    assert_eq!(home.show(&home.newest_run())["status"], "cancelled");
    open_gate(&home);
    home.holdfast(["backup"]).run().expect(0);
    server.stop().expect(0);
}

#[test]
fn two_clients_at_once_each_get_their_own() {
    let (home, server) = served();
    close_gate(&home);
    let mut first = home.holdfast(["--json", "backup", "--participant", "gated"]).spawn();
    first.wait_for_json("a participant at work", |line| line["progress"]["phase"] == "backup");
    let mut second = home.holdfast(["--json", "backup", "site"]).spawn();
    second.wait_for_note("what is in the way", |line| line.contains("is at work"));
    let mut follower = home.holdfast(["progress", "--follow", "--json"]).spawn();
    follower.wait_for_json("progress", |line| line["progress"]["active"] == true);
    open_gate(&home);
    let (first, second) = (first.wait(), second.wait());
    assert_eq!(first.expect(0).summary()["run"]["participants"][0]["name"], "gated");
    assert_eq!(second.expect(0).summary()["run"]["participants"][0]["name"], "site");
    follower.wait().expect(0);
    server.stop().expect(0);
}

#[test]
fn a_server_that_is_killed_is_a_clear_error_and_the_next_command_resumes() {
    let (home, server) = served();
    close_gate(&home);
    let mut backup = home.holdfast(["backup", "--participant", "gated"]).spawn();
    backup.wait_for_note("the phase of writing", |line| line.ends_with("writes artifacts"));
    let run = home.newest_run();
    server.process.kill();

    backup.wait().expect(1).says(&run).says("gone away").says("holdfast resume");

    open_gate(&home);
    let config = home.beside("serve.toml");
    home.holdfast(["resume", "--config"]).arg(&config).run().expect(0).says(&run);
    assert_eq!(home.show(&run)["status"], "completed");
    assert!(!home.path().join("control.sock").exists(), "the socket that was left has been taken away");
    expect_nothing_to_resume(&home);
}

/// Something that listens under a home, and answers the first line of each of so many connections.
fn impostor(home: &Home, answer: &'static str, connections: usize) -> std::thread::JoinHandle<()> {
    let listener = UnixListener::bind(home.path().join("control.sock")).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(connections).map(Result::unwrap) {
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let mut asked = String::new();
            lines.read_line(&mut asked).unwrap();
            let asked: Value = serde_json::from_str(&asked).unwrap();
            assert_eq!(asked["command"], "Hello", "nothing else is said before: {asked}");
            let answer = answer.replace('@', &text(&asked["extID"]));
            (&stream).write_all(format!("{answer}\r\n").as_bytes()).unwrap();
            let mut more = String::new();
            assert_eq!(lines.read_line(&mut more).unwrap(), 0, "nothing is said after: {more}");
        }
    })
}

#[test]
fn another_version_is_told_and_not_spoken_to() {
    let home = Home::new();
    small_tree(&home.beside("site"));
    let run = home.back_up(["site"]);
    let lock = fs::File::options().read(true).write(true).open(home.path().join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let answer = r#"{"extID":"@","status":200,"data":{"version":"99.1.0","news":[1,2]}}"#;
    let serving = impostor(&home, answer, 2);

    home.holdfast(["backup", "site"]).run().expect(11).says("99.1.0").says(env!("CARGO_PKG_VERSION"));
    let refused = home.holdfast(["--json", "delete", &run]).run();
    assert_eq!(refused.expect(11).json()["error"], "VERSION_MISMATCH");

    serving.join().unwrap();
    home.holdfast(["show", &run]).run().expect(0);
}

#[test]
fn a_stale_socket_is_no_owner() {
    let home = Home::new();
    small_tree(&home.beside("site"));
    home.back_up(["site"]);
    drop(UnixListener::bind(home.path().join("control.sock")).unwrap());
    let run = home.newest_run();
    home.holdfast(["lock", &run]).run().expect(0);
    home.back_up(["site"]);
    assert!(!home.path().join("control.sock").exists());
}

#[test]
fn a_home_with_a_long_path_has_a_socket_too() {
    let scratch = Home::new();
    small_tree(&scratch.beside("site"));
    let long: PathBuf = scratch.beside("d".repeat(75)).join("e".repeat(75));
    fs::create_dir_all(long.parent().unwrap()).unwrap();
    let at = |args: &[&str]| -> Invocation { scratch.holdfast(args).arg("--home").arg(&long) };
    let config = scratch.beside("holdfast.toml");
    fs::write(&config, participants(&scratch)).unwrap();
    let mut backup = at(&["--json", "backup", "--participant", "gated", "--config", config.to_str().unwrap()]).spawn();
    backup.wait_for_json("a participant at work", |line| line["progress"]["phase"] == "backup");
    assert!(long.as_os_str().len() > 150 && long.join("control.sock").exists());
    at(&["status"]).run().expect(0).says("`backup`");
    at(&["token", "create", "ci", "--role", "viewer", "--lock-wait", "5"]).run().expect(0);
    open_gate(&scratch);
    backup.wait().expect(0);
}

#[test]
fn a_process_of_another_user_is_not_let_in() {
    if !root() {
        return;
    }
    need("setpriv", "util-linux");
    let (home, server) = served();
    let mode = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    // What an operator should never do: all doors of the file system open.
    mode(home.beside(""), 0o755);
    for file in ["", "home.json", "lock", "control.sock"] {
        mode(home.path().join(file), 0o777);
    }
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let holdfast = env!("CARGO_BIN_EXE_holdfast");
    let refused = home.command("setpriv", nobody).args([holdfast, "stop"]).run();
    assert!(refused.code() != Some(0), "{refused}");
    home.holdfast(["status"]).run().expect(0).says("`serve`");
    server.stop().expect(0);
}

#[test]
fn a_stop_with_a_run_at_work_leaves_it_to_the_next_start() {
    let (home, server) = served();
    close_gate(&home);
    let mut backup = home.holdfast(["backup", "--participant", "gated"]).spawn();
    backup.wait_for_note("the phase of writing", |line| line.ends_with("writes artifacts"));
    home.holdfast(["stop", "--grace", "0"]).run().expect(0);
    server.process.wait();
    backup.wait().expect(1).says("gone away");
    assert_eq!(home.show(&home.newest_run())["status"], "interrupted");
    open_gate(&home);
}
