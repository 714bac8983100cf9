//! The server from its first line to its last: it says where it is, does what it is asked, stops as it should, and where it is killed its
//! clients come back to the same run.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::server::{Lines, Server};
use crate::support::{Home, large_tree, need, small_tree, text};

/// A participant that writes a line, waits until a file is there, and writes another.
fn waiting(home: &Home) -> String {
    let go = home.beside("go");
    format!(
        "[[participant]]\nname = \"gated\"\nkind = \"command\"\nartifact = \"gated.txt\"\nshell = true\n\
         command = 'echo begun; until [ -e {} ]; do sleep 0.05; done; echo ended'\n",
        go.display()
    )
}

fn open_gate(home: &Home) {
    fs::write(home.beside("go"), "").unwrap();
}

fn files(home: &Home, name: &str) -> String {
    format!("[[participant]]\nname = \"{name}\"\nkind = \"files\"\npaths = [\"{}\"]\n", home.beside(name).display())
}

#[test]
fn it_says_where_it_is_and_backs_up_when_asked() {
    let home = Home::new();
    small_tree(&home.beside("site"));
    let server = Server::start(&home, &files(&home, "site"));
    let mode = |file: &str| fs::metadata(home.path().join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("admin.token"), mode("control.sock")), (0o600, 0o600));

    let mut client = server.client();
    let run = client.granted("StartFullBackup", json!({}));
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(run["requested_by"], "token:admin");
    let rows = client.granted("GetBackupsList", json!({}))["rows"].clone();
    assert_eq!(rows[0], client.granted("GetBackupRun", json!({ "run_id": run["run_id"] })));

    let stopped = server.stop();
    stopped.expect(0);
    assert!(!home.path().join("control.sock").exists());
    home.holdfast(["verify", "latest"]).run().expect(0);
    assert!(!stopped.out().contains(&fs::read_to_string(home.path().join("admin.token")).unwrap().trim().to_owned()));
}

#[test]
fn the_first_token_is_made_once() {
    let home = Home::new();
    let server = Server::start(&home, "");
    let first = server.token.clone();
    server.stop().expect(0);
    let server = Server::start(&home, "");
    assert_eq!(server.token, first);
    server.client().granted("GetBackupRuns", json!({}));
    fs::remove_file(home.path().join("admin.token")).unwrap();
    server.stop().expect(0);
    // Who took it away has it: no other one is made in its place.
    let mut process = home.holdfast(["--json", "serve", "--config"]).arg(home.beside("serve.toml")).spawn();
    process.wait_for_json("the token's place", |line| line["message_type"] == "admin_token");
    assert!(!home.path().join("admin.token").exists());
}

#[test]
fn who_did_what_is_in_the_log_and_no_secret_is() {
    let home = Home::new();
    small_tree(&home.beside("site"));
    let server = Server::start(&home, &files(&home, "site"));
    let mut client = server.client();
    let run = client.granted("StartFullBackup", json!({ "trigger": "pre_update" }));
    client.granted(
        "AddBackupConfig",
        json!({ "name": "vault", "host": "vault.example:7420", "password": "planted-secret", "plaintext": true }),
    );
    let refused = client.ask("GetBackupRun", json!({ "run_id": 7 }));
    assert_eq!((&refused["status"], &refused["error"]), (&json!(400), &json!("INVALID_DATA")), "{refused}");
    let mut stranger = Lines::connect(server.tcp, Some("hf_guessed"));
    assert_eq!(stranger.ask("GetBackupRuns", json!({}))["error"], "INVALID_TOKEN");
    server.stop().expect(0);

    let events = home.events_from(1);
    let commands: Vec<&Value> = events.iter().filter(|event| event["type"] == "CommandRecorded").collect();
    let of = |name: &str| {
        commands.iter().find(|event| event["data"]["command"] == name).unwrap_or_else(|| panic!("no {name}"))
    };
    let started = of("StartFullBackup");
    assert_eq!(started["principal"], "token:admin");
    assert_eq!((&started["data"]["role"], &started["data"]["door"]), (&json!("admin"), &json!("tcp")));
    assert_eq!(started["data"]["outcome"], "accepted");
    assert_eq!(started["data"]["source"], "127.0.0.1", "{started}");
    let requested = events.iter().find(|event| event["type"] == "RunRequested").unwrap();
    assert_eq!(requested["correlation_id"], started["correlation_id"], "the run follows from the command");
    assert!(started["data"]["fields"].to_string().contains(&text(&run["run_id"])), "{started}");
    assert_eq!(of("AddBackupConfig")["data"]["outcome"], "done");
    assert_eq!(of("GetBackupRun")["data"]["code"], "INVALID_DATA");
    let guesses =
        events.iter().find(|event| event["type"] == "GuessesSummed").expect("guesses are summed up before the stop");
    assert_eq!(guesses["data"]["count"], 1);
    let all = serde_json::to_string(&events).unwrap();
    for secret in ["planted-secret", "hf_guessed", fs::read_to_string(home.path().join("admin.token")).unwrap().trim()]
    {
        assert!(!all.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn strangers_write_nothing_into_the_log_of_the_process() {
    let home = Home::new();
    let server = Server::start(&home, "");
    let mut stranger = Lines::connect(server.tcp, None);
    for number in 0..20 {
        assert_eq!(stranger.ask("StartFullBackup", json!({}))["error"], "UNAUTHENTICATED");
        assert!(stranger.ask("Auth", json!({ "token": format!("hf_{number}") }))["error"].is_string());
        assert_eq!(stranger.ask("NoSuchCommand", json!({}))["error"], "UNKNOWN_COMMAND");
    }
    // Of somebody known each refusal is told, up to as many as are recorded.
    let mut known = server.client();
    for _ in 0..20 {
        assert_eq!(known.ask("CreateToken", json!({}))["error"], "FORBIDDEN");
    }
    let log = server.stop().err();
    let refused: Vec<_> = log.lines().filter(|line| line.contains("refused")).collect();
    assert_eq!(refused.len(), 10, "{log}");
    assert!(refused.iter().all(|line| line.contains("CreateToken")), "{log}");
}

#[test]
fn tokens_and_the_audit_are_not_in_the_events_of_those_who_do_not_manage_them() {
    let home = Home::new();
    let server = Server::start(&home, "");
    let mut admin = server.client();
    let mut seen = |role: &str| {
        let name = format!("a-{role}");
        let made = home.holdfast(["token", "create", &name, "--role", role]).run();
        let token = made.expect(0).out().trim().to_owned();
        admin.granted("SetMaintenance", json!({ "enabled": true }));
        admin.granted("SetMaintenance", json!({ "enabled": false }));
        let mut client = Lines::connect(server.tcp, Some(&token));
        client.granted("Subscribe", json!({ "channels": ["backup.events"], "since_seq": 0 }));
        // The last that was done is known by its audit, or where that is not told by itself.
        let streams = std::cell::RefCell::new(std::collections::BTreeSet::new());
        let last = if role == "admin" { "audit" } else { "maintenance" };
        client.event(|event| {
            streams.borrow_mut().insert(text(&event["data"]["stream"]));
            event["data"]["stream"] == last
        });
        streams.into_inner()
    };
    for role in ["viewer", "operator", "manager"] {
        let streams = seen(role);
        assert!(!streams.contains("audit") && !streams.contains("access"), "{role}: {streams:?}");
    }
    assert!(seen("admin").contains("access"));
    server.stop().expect(0);
}

#[test]
fn a_stop_leaves_what_is_open_for_the_next_start() {
    let home = Home::new();
    let server = Server::with(&home, &waiting(&home), "grace = \"1s\"");
    let mut client = server.client();
    let run = text(&client.granted("StartFullBackup", json!({ "wait": false }))["run_id"]);
    client.granted("Subscribe", json!({ "channels": ["backup.progress"] }));
    client.event(|event| event["data"]["phase"] == "backup");
    server.process.signal(Signal::TERM);
    client.wait(|message| message["event"] == "server.draining").expect("it says that it is about to stop");
    let mut late = client;
    let refused = late.ask("StartFullBackup", json!({}));
    assert_eq!(refused["error"], "SERVER_DRAINING", "{refused}");
    assert!(late.wait(|_| false).is_none(), "the connection is closed");
    server.process.wait().expect(0);
    assert_eq!(home.show(&run)["status"], "interrupted");

    open_gate(&home);
    let server = Server::start(&home, &waiting(&home));
    let mut client = server.client();
    client.granted("Subscribe", json!({ "channels": ["backup.progress"], "since_seq": 0, "epoch": "another" }));
    let end = client.event(|event| event["type"] == "final");
    assert_eq!((text(&end["data"]["run_id"]), &end["data"]["status"]), (run.clone(), &json!("completed")));
    assert_eq!(client.granted("GetBackupRun", json!({ "run_id": run }))["attempt"], 2);
}

#[test]
fn who_is_in_more_of_a_hurry_shortens_a_stop_that_waits() {
    let home = Home::new();
    let server = Server::start(&home, &waiting(&home));
    let run = text(&server.client().granted("StartFullBackup", json!({ "wait": false }))["run_id"]);
    assert_eq!(server.client().granted("StopBackupServer", json!({ "grace_s": 86_400 }))["ok"], true);
    // One may still come in, to look, and to wait no longer.
    let shown = server.client().granted("GetBackupRun", json!({ "run_id": run }));
    assert_eq!(shown["status"], "running", "{shown}");
    home.holdfast(["stop", "--grace", "0"]).run().expect(0);
    server.process.wait().expect(0);
    assert_eq!(home.show(&run)["status"], "interrupted");
}

#[test]
fn a_last_backup_is_made_before_the_stop_where_that_is_wished_for() {
    let home = Home::new();
    small_tree(&home.beside("site"));
    let server = Server::with(&home, &files(&home, "site"), "backup_on_shutdown = true");
    let mut client = server.client();
    client.granted("Subscribe", json!({ "channels": ["backup.progress", "backup.events"] }));
    assert_eq!(client.granted("StopBackupServer", json!({}))["ok"], true);
    // Whoever looks on hears of its end before the connection is closed, whatever else there is to tell.
    let end = client.event(|event| event["type"] == "final");
    client.event(|event| event["data"]["type"] == "RunPublished");
    assert!(client.wait(|_| false).is_none(), "the connection is closed");
    server.process.wait().expect(0);
    let run = home.show("latest");
    assert_eq!((&run["trigger"], &run["status"]), (&json!("shutdown"), &json!("completed")));
    assert_eq!(end["data"]["run_id"], run["run_id"]);
}

#[test]
fn a_hang_up_reads_the_configuration_again_and_a_broken_one_changes_nothing() {
    let home = Home::new();
    small_tree(&home.beside("site"));
    small_tree(&home.beside("more"));
    let mut server = Server::start(&home, &files(&home, "site"));
    let mut client = server.client();
    let names = |client: &mut Lines| {
        let rows = client.granted("GetBackupParticipants", json!({}))["rows"].clone();
        rows.as_array().unwrap().iter().map(|row| text(&row["name"])).collect::<Vec<_>>()
    };
    assert_eq!(names(&mut client), ["site"]);

    Server::config(&home, "[[participant]]\nnam = 3\n", "");
    server.process.signal(Signal::HUP);
    server.process.wait_for_json("the refusal", |line| line["message_type"] == "reload" && line["ok"] == false);
    assert_eq!(names(&mut client), ["site"]);

    Server::config(&home, &(files(&home, "site") + &files(&home, "more")), "");
    server.process.signal(Signal::HUP);
    server.process.wait_for_json("the news", |line| line["message_type"] == "reload" && line["ok"] == true);
    assert_eq!(names(&mut client), ["site", "more"]);
    // These, and the installation itself.
    assert_eq!(client.granted("StartFullBackup", json!({}))["participants"].as_array().unwrap().len(), 3);
    server.stop().expect(0);
}

/// What a subscriber has seen of each channel.
#[derive(Default)]
struct Seen(BTreeMap<String, u64>);

impl Seen {
    /// Takes messages until the one that is looked for; `None` where the connection ends before. No position falls, and none of the log is
    /// passed over.
    fn listen(&mut self, client: &mut Lines, found: impl Fn(&Value) -> bool) -> Option<Value> {
        loop {
            let message = client.heard()?;
            let Some(seq) = message["seq"].as_u64() else { continue };
            let channel = text(&message["event"]);
            let before = self.0.insert(channel.clone(), seq);
            match before {
                Some(before) if channel == "backup.events" => assert_eq!(seq, before + 1, "{message}"),
                Some(before) => assert!(seq >= before, "{message}"),
                None => {}
            }
            if found(&message) {
                return Some(message);
            }
        }
    }

    /// The request to be told what comes after.
    fn since(&self, epoch: &str) -> Value {
        json!({ "channels": ["backup.progress", "backup.events"], "since_seq": self.0, "epoch": epoch })
    }
}

/// The promise of the channels: subscribers of a server that was killed come back to the same run, and each hears its end once.
#[test]
fn subscribers_of_a_killed_server_come_back_to_the_same_run() {
    const SUBSCRIBERS: usize = 5;
    let home = Home::new();
    large_tree(&home.beside("site"), 8);
    let config = files(&home, "site") + &waiting(&home);
    let server = Server::start(&home, &config);
    let mut clients: Vec<_> = (0..SUBSCRIBERS).map(|_| server.client()).collect();
    for client in &mut clients {
        let subscribed = client.granted("Subscribe", json!({ "channels": ["backup.progress", "backup.events"] }));
        assert_eq!(subscribed["recovered"], true, "{subscribed}");
    }
    let run = text(&clients[0].granted("StartFullBackup", json!({ "wait": false }))["run_id"]);
    let mut seen = Vec::new();
    for client in &mut clients {
        let mut at = Seen::default();
        let update = at.listen(client, |message| message["data"]["phase"] == "backup").expect("it backs up");
        assert_eq!(text(&update["data"]["run_id"]), run);
        seen.push((at, text(&update["epoch"])));
    }
    server.process.kill();
    for (client, (at, _)) in clients.iter_mut().zip(&mut seen) {
        assert!(at.listen(client, |message| message["type"] == "final").is_none());
    }

    open_gate(&home);
    let server = Server::start(&home, &config);
    let mut seen_it = Vec::new();
    for (at, epoch) in &mut seen {
        let mut client = server.client();
        let subscribed = client.granted("Subscribe", at.since(epoch));
        assert_ne!(text(&subscribed["epoch"]), *epoch);
        assert_eq!(subscribed["recovered"], true, "{subscribed}");
        // Each channel goes on where it was: of the log nothing is missing, and the end is told though the log may be ahead of it.
        let end = at.listen(&mut client, |message| message["type"] == "final").expect("its end");
        assert_eq!((text(&end["data"]["run_id"]), &end["data"]["status"]), (run.clone(), &json!("completed")), "{end}");
        while at.0.get("backup.events") < end["seq"].as_u64().as_ref() {
            at.listen(&mut client, |message| message["event"] == "backup.events").expect("its events");
        }
        // Who has seen it is not told again.
        let mut again = server.client();
        again.granted("Subscribe", at.since(epoch));
        seen_it.push((again, at));
        // With one number for all, the least of them is right.
        let mut again = server.client();
        let least =
            json!({ "channels": ["backup.events", "backup.progress"], "since_seq": end["seq"].as_u64().unwrap() - 1 });
        again.granted("Subscribe", least);
        assert_eq!(again.event(|event| event["type"] == "final")["data"]["run_id"], end["data"]["run_id"]);
    }
    let next = text(&server.client().granted("StartFullBackup", json!({}))["run_id"]);
    for (mut client, at) in seen_it {
        let end = at.listen(&mut client, |message| message["type"] == "final").expect("the end of the next one");
        assert_eq!(text(&end["data"]["run_id"]), next);
    }
    server.stop().expect(0);
    home.holdfast(["verify", "--all"]).run().expect(0);
}

#[test]
fn a_second_server_is_told_who_has_the_home() {
    let home = Home::new();
    let server = Server::start(&home, "");
    let config = Server::config(&home, "", "");
    home.holdfast(["--lock-wait", "1", "serve", "--config"]).arg(config).run().expect(11).says("`serve`");
    server.stop().expect(0);
}

#[test]
fn an_address_in_use_is_told_with_what_to_change() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let path = home.beside("taken.toml");
    fs::write(&path, format!("[server]\nhttp = \"off\"\ntcp = \"{}\"\n", taken.local_addr().unwrap())).unwrap();
    let finished = home.holdfast(["serve", "--config"]).arg(path).run();
    finished.expect(1).says("tcp").says(&taken.local_addr().unwrap().to_string());
}

#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    use std::os::unix::net::UnixDatagram;
    let home = Home::new();
    let place = home.beside("notify");
    let systemd = UnixDatagram::bind(&place).unwrap();
    systemd.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
    let config = Server::config(&home, "", "");
    let process = home.holdfast(["--json", "serve", "--config"]).arg(config).env("NOTIFY_SOCKET", &place).spawn();
    let hear = |word: &str| {
        let mut heard = [0; 4096];
        loop {
            let length = systemd.recv(&mut heard).unwrap_or_else(|error| panic!("no {word}: {error}"));
            if String::from_utf8_lossy(&heard[..length]).lines().any(|line| line == word) {
                return;
            }
        }
    };
    hear("READY=1");
    process.signal(Signal::HUP);
    hear("RELOADING=1");
    hear("READY=1");
    process.signal(Signal::TERM);
    hear("STOPPING=1");
    hear("EXTEND_TIMEOUT_USEC=20000000");
    process.wait().expect(0);
}

#[test]
fn a_hang_up_without_a_configuration_changes_nothing() {
    let home = Home::new();
    small_tree(&home.beside("site"));
    let mut server = Server::start(&home, &files(&home, "site"));
    fs::remove_file(home.beside("serve.toml")).unwrap();
    server.process.signal(Signal::HUP);
    server.process.wait_for_json("the refusal", |line| line["message_type"] == "reload" && line["ok"] == false);
    let rows = server.client().granted("GetBackupParticipants", json!({}))["rows"].clone();
    assert_eq!((&rows[0]["name"], &rows[0]["configured"]), (&json!("site"), &json!(true)));
    server.stop().expect(0);
}

#[test]
fn one_that_waits_for_the_home_says_so_and_ends_when_it_is_told_to() {
    let home = Home::new();
    let server = Server::start(&home, "");
    let config = Server::config(&home, "", "");
    let mut second = home.holdfast(["--lock-wait", "100", "serve", "--config"]).arg(config).spawn();
    second.wait_for_note("it waits", |line| line.contains("the home is in use") && line.contains("serve"));
    second.signal(Signal::TERM);
    second.wait().expect(0);
    server.stop().expect(0);
}

#[test]
fn a_last_backup_that_does_not_complete_is_how_the_server_ends() {
    let home = Home::new();
    let broken =
        "[[participant]]\nname = \"broken\"\nkind = \"command\"\nartifact = \"b.txt\"\ncommand = [\"false\"]\n";
    let server = Server::with(&home, broken, "backup_on_shutdown = true");
    home.holdfast(["stop"]).run().expect(3).says("broken");
    server.process.wait().expect(1);
}

#[test]
fn an_admin_token_that_is_not_good_is_not_pointed_to() {
    let home = Home::new();
    let server = Server::start(&home, "");
    home.holdfast(["token", "create", "second", "--role", "admin"]).run().expect(0);
    home.holdfast(["token", "revoke", "admin"]).run().expect(0);
    server.stop().expect(0);
    let config = Server::config(&home, "", "");
    let says = |what: &str| {
        let mut process = home.holdfast(["--json", "serve", "--config"]).arg(&config).spawn();
        let line = process.wait_for_json("the token", |line| line["message_type"] == "admin_token");
        assert!(line["path"].is_null(), "{line}");
        process.signal(Signal::TERM);
        process.wait().expect(0).says(what);
    };
    says("");
    home.holdfast(["token", "revoke", "second"]).run().expect(0);
    says("holdfast token create NAME --role admin");
}

#[test]
fn every_line_of_a_json_log_is_json() {
    let home = Home::new();
    small_tree(&home.beside("site"));
    let server = Server::with(&home, &files(&home, "site"), "log = \"json\"\nbackup_on_shutdown = true");
    server.client().granted("StartFullBackup", json!({}));
    server.client().ask("GetBackupRun", json!({ "run_id": 7 }));
    server.process.signal(Signal::HUP);
    let stopped = server.stop();
    stopped.expect(0);
    let lines: Vec<Value> = stopped
        .err()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}")))
        .collect();
    let done = lines.iter().find(|line| line["command"] == "StartFullBackup").expect("a line of the command");
    assert_eq!((&done["level"], &done["principal"]), (&json!("INFO"), &json!("token:admin")), "{done}");
    assert!(!stopped.err().contains("__token"));
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let home = Home::new();
    small_tree(&home.beside("site"));
    let fast = "[server.limits]\nrequests_per_second = 100000\nburst = 100000\n";
    let config = Server::config(&home, &(files(&home, "site") + fast), "log_level = \"trace\"");
    // Nobody takes anything from this pipe, which holds a page.
    let fifo = home.beside("stderr");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let pipe = fs::File::options().read(true).write(true).open(&fifo).unwrap();
    rustix::pipe::fcntl_setpipe_size(&pipe, 4096).unwrap();
    let serve = home.holdfast(["--json", "serve", "--config"]).arg(config);
    let process = serve.errors_into(&fifo).spawn();
    let server = Server::listening(process, &home);
    let mut client = server.client();
    for _ in 0..500 {
        client.ask("GetBackupRun", json!({ "run_id": "20260101-000000-000001" }));
    }
    assert_eq!(client.granted("StartFullBackup", json!({}))["status"], "completed");
    server.stop().expect(0);
    drop(pipe);
}

#[test]
fn nc_is_enough_to_ask() {
    need("nc", "netcat-openbsd");
    let home = Home::new();
    let server = Server::start(&home, "");
    let request = format!(r#"{{"command":"GetBackupRuns","extID":"1","__token":"{}"}}"#, server.token);
    let script = format!("printf '%s\\nping\\n' '{request}' | nc -q 2 {} {}", server.tcp.ip(), server.tcp.port());
    let answer = home.command("sh", ["-c", &script]).run();
    answer.expect(0);
    assert!(answer.out().contains("\"rows\":[]") && answer.out().contains("pong"), "{answer}");
    assert!(answer.out().ends_with("\r\n"), "{:?}", answer.out());
    server.stop().expect(0);
}
