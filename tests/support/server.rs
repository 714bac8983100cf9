//! `holdfast serve` as a child of the test, and a client of its lines that waits with a deadline.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::needless_pass_by_value, reason = "what json! makes is written where it is passed")]

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{DEADLINE, Finished, Home, Running, text};

/// A server on ports of its own. Killed when dropped.
pub(crate) struct Server {
    pub(crate) process: Running,
    pub(crate) tcp: SocketAddr,
    pub(crate) http: SocketAddr,
    /// The first admin token.
    pub(crate) token: String,
}

impl Server {
    /// Starts one with this configuration; its `[server]` part must not be in it.
    pub(crate) fn start(home: &Home, config: &str) -> Self {
        Self::with(home, config, "")
    }

    /// The same with lines of `[server]`.
    pub(crate) fn with(home: &Home, config: &str, server: &str) -> Self {
        Self::listening(
            home.holdfast(["--json", "serve", "--config"]).arg(Self::config(home, config, server)).spawn(),
            home,
        )
    }

    /// Writes a configuration whose server takes any ports that are free.
    pub(crate) fn config(home: &Home, config: &str, server: &str) -> PathBuf {
        let path = home.beside("serve.toml");
        let listen = "tcp = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"";
        fs::write(&path, format!("[server]\n{listen}\n{server}\n{config}\n")).unwrap();
        path
    }

    /// A server that was just started, once it has said where it listens.
    pub(crate) fn listening(mut process: Running, home: &Home) -> Self {
        let mut address = |door: &str| {
            let line = process.wait_for_json(door, |line| line["message_type"] == "listening" && line["door"] == door);
            text(&line["address"])
                .trim_start_matches("http://")
                .trim_start_matches("https://")
                .trim_end_matches('/')
                .parse()
                .expect("an address")
        };
        let (tcp, http) = (address("tcp"), address("http"));
        process.wait_for_json("the token's place", |line| line["message_type"] == "admin_token");
        let token = fs::read_to_string(home.path().join("admin.token")).expect("the first token").trim().to_owned();
        Self { process, tcp, http, token }
    }

    /// A client that shows the admin token with each request.
    pub(crate) fn client(&self) -> Lines {
        Lines::connect(self.tcp, Some(&self.token))
    }

    /// Tells it to stop and waits.
    pub(crate) fn stop(self) -> Finished {
        self.process.signal(rustix::process::Signal::TERM);
        self.process.wait()
    }
}

/// A client of the lines.
pub(crate) struct Lines {
    stream: BufReader<TcpStream>,
    token: Option<String>,
    asked: u64,
    /// What was heard while something else was waited for.
    heard: VecDeque<Value>,
}

impl Lines {
    pub(crate) fn connect(address: SocketAddr, token: Option<&str>) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream: BufReader::new(stream), token: token.map(str::to_owned), asked: 0, heard: VecDeque::new() }
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(&mut self, command: &str, data: Value) -> Value {
        let id = self.send(command, data);
        self.answer(&id)
    }

    /// The same, which must be granted; the answer's `data`.
    pub(crate) fn granted(&mut self, command: &str, data: Value) -> Value {
        let answer = self.ask(command, data);
        assert!(answer["status"].as_u64().is_some_and(|status| status < 300), "{command}: {answer}");
        answer["data"].clone()
    }

    /// Sends a request; its `extID`.
    pub(crate) fn send(&mut self, command: &str, data: Value) -> String {
        self.asked += 1;
        let id = self.asked.to_string();
        let mut request = json!({ "command": command, "extID": id, "data": data });
        if let Some(token) = &self.token {
            request["__token"] = json!(token);
        }
        self.raw(format!("{request}\r\n").as_bytes());
        id
    }

    /// Sends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server reads");
    }

    /// The answer to a request that was sent.
    pub(crate) fn answer(&mut self, id: &str) -> Value {
        self.wait(|message| message["extID"] == id).unwrap_or_else(|| panic!("closed before the answer to {id}"))
    }

    /// The next event that is looked for.
    pub(crate) fn event(&mut self, found: impl Fn(&Value) -> bool) -> Value {
        let event = self.wait(|message| message["event"].is_string() && found(message));
        event.expect("closed before the event")
    }

    /// The next message that is looked for; `None` where the server closes the connection before.
    pub(crate) fn wait(&mut self, found: impl Fn(&Value) -> bool) -> Option<Value> {
        if let Some(index) = self.heard.iter().position(&found) {
            return self.heard.remove(index);
        }
        while let Some(message) = self.next() {
            if found(&message) {
                return Some(message);
            }
            self.heard.push_back(message);
        }
        None
    }

    /// Whether the server closes the connection and has said nothing that can be read.
    pub(crate) fn closed_without_a_word(&mut self) -> bool {
        let mut said = Vec::new();
        let _ = std::io::Read::read_to_end(&mut self.stream, &mut said);
        // An alert of TLS at most (RFC 8446 section 6): its type is 21.
        said.first().is_none_or(|first| *first == 21)
    }

    /// The next message in the order they came in, those that were put aside before included.
    pub(crate) fn heard(&mut self) -> Option<Value> {
        self.heard.pop_front().or_else(|| self.next())
    }

    /// The next message from the wire; `None` where the server closed the connection, also by dying.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"))),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("nothing heard: {error}"),
        }
    }
}
