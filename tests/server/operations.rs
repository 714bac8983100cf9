//! What whoever runs the server does to it: another certificate, more lines in its log, a look whether it is well while it stops.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::support::server::{Lines, Server};
use crate::support::{Home, need, text};

/// Puts a certificate for `localhost`, and its key, where the server is told to look.
fn put_certificate(home: &Home) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(home.beside("key.pem"), made.signing_key.serialize_pem()).unwrap();
    fs::write(home.beside("cert.pem"), made.cert.pem()).unwrap();
}

/// Asks `/healthz` by curl, which trusts the certificate that lies there now.
fn asks_encrypted(home: &Home, server: &Server) -> bool {
    need("curl", "curl");
    let url = format!("https://localhost:{}/healthz", server.http.port());
    let asked = home.command("curl", ["--silent", "--max-time", "60", "--fail", "--noproxy", "*", "--cacert"]);
    asked.arg(home.beside("cert.pem")).arg(url).run().code() == Some(0)
}

#[test]
fn connections_are_encrypted_and_another_certificate_is_taken_over_by_a_hang_up() {
    let home = Home::new();
    put_certificate(&home);
    let files = |what: &str| home.beside(format!("{what}.pem")).display().to_string();
    let tls = format!("tls_cert = \"{}\"\ntls_key = \"{}\"", files("cert"), files("key"));
    let mut server = Server::with(&home, "", &tls);
    assert!(asks_encrypted(&home, &server));

    put_certificate(&home);
    assert!(!asks_encrypted(&home, &server), "the one before is shown until the hang-up");
    server.process.signal(Signal::HUP);
    server.process.wait_for_json("the news", |line| line["message_type"] == "reload" && line["ok"] == true);
    assert!(asks_encrypted(&home, &server));

    // One that cannot be used changes nothing.
    fs::write(home.beside("key.pem"), "no key").unwrap();
    server.process.signal(Signal::HUP);
    server.process.wait_for_json("the refusal", |line| line["message_type"] == "reload" && line["ok"] == false);
    assert!(asks_encrypted(&home, &server));

    // Lines that are not encrypted are not answered.
    let mut plain = Lines::connect(server.tcp, None);
    plain.raw(b"{\"command\":\"Ping\",\"extID\":\"1\"}\r\n\r\n\r\n");
    assert!(plain.closed_without_a_word(), "an answer that is not encrypted");
    server.stop().expect(0);
}

#[test]
fn what_is_logged_is_changed_by_a_hang_up() {
    let home = Home::new();
    let mut server = Server::with(&home, "", "log_level = \"warn\"");
    server.client().granted("GetBackupRuns", json!({}));
    Server::config(&home, "", "log_level = \"debug\"");
    server.process.signal(Signal::HUP);
    server.process.wait_for_json("the news", |line| line["message_type"] == "reload" && line["ok"] == true);
    server.client().granted("GetBackupParticipants", json!({}));
    let stopped = server.stop();
    stopped.expect(0).says("GetBackupParticipants");
    assert!(!stopped.err().contains("GetBackupRuns"), "{stopped}");
}

#[test]
fn one_that_is_about_to_stop_is_alive_and_not_ready() {
    let home = Home::new();
    let go = home.beside("go");
    let gated = format!(
        "[[participant]]\nname = \"gated\"\nkind = \"command\"\nartifact = \"gated.txt\"\nshell = true\n\
         command = 'echo begun; until [ -e {} ]; do sleep 0.05; done; echo ended'\n",
        go.display()
    );
    let server = Server::with(&home, &gated, "grace = \"100s\"");
    let look = |what: &str| {
        let url = format!("http://{}/{what}", server.http);
        let args =
            ["--silent", "--max-time", "60", "--noproxy", "*", "--output", "/dev/null", "--write-out", "%{http_code}"];
        home.command("curl", args).arg(url).run().expect(0).out()
    };
    assert_eq!((look("healthz"), look("readyz")), ("200".to_owned(), "200".to_owned()));
    let mut client = server.client();
    let run = text(&client.granted("StartFullBackup", json!({ "wait": false }))["run_id"]);
    client.granted("Subscribe", json!({ "channels": ["backup.progress"] }));
    server.process.signal(Signal::TERM);
    client.wait(|message| message["event"] == "server.draining").expect("it says that it is about to stop");
    assert_eq!((look("healthz"), look("readyz")), ("200".to_owned(), "503".to_owned()));
    // What is at work can be seen, and seen to.
    home.holdfast(["progress"]).run().expect(0).says(&run);
    home.holdfast(["cancel", &run]).run().expect(0);
    assert_eq!(text(&client.event(|event| event["type"] == "final")["data"]["status"]), "cancelled");
    server.process.wait().expect(0);
}
