//! An engine with its server, participants that do as the test says, and clients of every role.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use holdfast::api::Settings;
use holdfast::blocking;
use holdfast::command::Launcher;
use holdfast::config::{Config, ServerConfig};
use holdfast::engine::Holdfast;
use holdfast::model::access::Role;
use holdfast::model::ids::Position;
use holdfast::participant::{Artifacts, Descriptor, ParticipantError};
use holdfast::server::Server;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::{DEADLINE, Home, small_tree, text};

/// What the participant `notes` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Good,
    Fails,
    Waits,
}

type Notes = Arc<(Mutex<Mode>, Condvar)>;

/// The way clients that are not of this machine come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Lines,
    Http,
}

pub(crate) struct World {
    pub(crate) home: Home,
    pub(crate) by: By,
    engine: blocking::Holdfast,
    server: Server,
    tokens: Vec<(Role, String)>,
    notes: Notes,
    seen: Arc<Mutex<BTreeSet<(String, String)>>>,
}

impl World {
    pub(crate) fn new(by: By) -> Self {
        let home = Home::new();
        small_tree(&home.beside("site"));
        fs::write(home.beside("rows"), "one\ntwo\n").unwrap();
        fs::write(home.beside("go"), "").unwrap();
        let folder = home.beside("");
        let folder = folder.display();
        let configuration = format!(
            "[runs]\nmax_tries = 1\n\
             [[participant]]\nname = 'db'\nkind = 'command'\nartifact = 'db.dump'\nshell = true\ndirectory = '{folder}'\n\
             command = 'cat rows'\nrestore = 'cat > taken; until [ -e go ]; do sleep 0.05; done; test ! -e broken'\n\
             [[participant]]\nname = 'web'\nkind = 'files'\npaths = ['{folder}/site']\n\
             [[endpoint]]\nname = 'disk'\nurl = 'file:///srv/copies'\nstreams = 2\nenable = false\n"
        );
        let config = Config::parse(&configuration, Path::new("contract.toml")).unwrap();
        let notes = Notes::new((Mutex::new(Mode::Good), Condvar::new()));
        let mode = notes.clone();
        let write = move |artifacts: &mut Artifacts| {
            let now = mode.0.lock().unwrap();
            let (now, _) = mode.1.wait_timeout_while(now, DEADLINE, |now| *now == Mode::Waits).unwrap();
            if *now == Mode::Fails {
                return Err(ParticipantError::fatal("NOTES_LOST", "there are no notes"));
            }
            drop(now);
            let mut sink = artifacts.create("notes.txt")?;
            sink.write_all(b"milk, bread")?;
            sink.finish()
        };
        let descriptor = Descriptor::new("notes").unwrap().tries(1, Duration::ZERO);
        let engine = Holdfast::builder(home.path())
            .config(config)
            .launcher(Launcher::of(env!("CARGO_BIN_EXE_holdfast")))
            .participant_with(descriptor, write)
            .start_blocking()
            .unwrap();
        let anywhere = Some("127.0.0.1:0".parse().unwrap());
        let mut server = ServerConfig { tcp: anywhere, http: anywhere, ..ServerConfig::default() };
        server.limits.requests_per_second = 100_000.try_into().unwrap();
        server.limits.burst = 100_000.try_into().unwrap();
        server.limits.channels = 3;
        let server = engine.block_on(async { Server::start(engine.handle(), &server) }).unwrap();
        let tokens = Role::ALL.map(|role| {
            let name = role.as_str().parse().unwrap();
            let (token, _) = engine.block_on(engine.handle().create_token(name, role, None)).unwrap();
            (role, token.expose_secret().to_owned())
        });
        Self { home, by, engine, server, tokens: tokens.into(), notes, seen: Arc::default() }
    }

    pub(crate) fn engine(&self) -> &Holdfast {
        self.engine.handle()
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.engine.block_on(async { tokio::time::timeout(DEADLINE, future).await }).expect("within the deadline")
    }

    pub(crate) fn notes(&self, mode: Mode) {
        *self.notes.0.lock().unwrap() = mode;
        self.notes.1.notify_all();
    }

    pub(crate) fn queueing(&self, queueing: bool) {
        let desk = self.engine().desk();
        desk.set(Settings { queueing, ..(*desk.settings()).clone() });
    }

    /// Waits until so many events of this name are recorded.
    pub(crate) fn wait_for(&self, event_type: &str, count: usize) {
        let mut events = self.engine().events(Position::START);
        self.block_on(async {
            let mut found = 0;
            while found < count {
                let batch = events.next(1000).await.unwrap();
                found += batch.iter().filter(|event| event.event_type == event_type).count();
            }
        });
    }

    /// Waits for a run's end.
    pub(crate) fn wait_for_end(&self, run: &Value) {
        let run_id = text(&run["run_id"]).parse().unwrap();
        self.block_on(async {
            let handle = self.engine().attach(run_id).await.unwrap();
            self.engine().wait(handle).await.unwrap();
        });
    }

    /// How many events of this name are recorded.
    pub(crate) fn count(&self, event_type: &str) -> usize {
        self.recorded(event_type).len()
    }

    /// The events of this name that are recorded.
    pub(crate) fn recorded(&self, event_type: &str) -> Vec<Value> {
        let (mut events, head) = (self.engine().events(Position::START), self.engine().head());
        self.block_on(async {
            let (mut found, mut at) = (Vec::new(), Position::START);
            while at < head {
                let batch = events.next(1000).await.unwrap();
                let named = batch.iter().filter(|event| event.event_type == event_type);
                found.extend(named.map(|event| serde_json::to_value(event).unwrap()));
                at = batch.last().map_or(head, |last| last.position);
            }
            found
        })
    }

    pub(crate) fn token(&self, role: Role) -> &str {
        &self.tokens.iter().find(|(of, _)| *of == role).unwrap().1
    }

    /// A client from elsewhere with a token of this role, or without one.
    pub(crate) fn remote(&self, role: Option<Role>) -> Client {
        if self.by == By::Http {
            let token = role.map(|role| self.token(role).to_owned());
            return self.client(Way::Http(self.server.addresses().http.unwrap()), token);
        }
        let stream = TcpStream::connect(self.server.addresses().tcp.unwrap()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let read = stream.try_clone().unwrap();
        self.client(Way::lines(stream, read), role.map(|role| self.token(role).to_owned()))
    }

    /// A client from elsewhere with this token.
    pub(crate) fn remote_with(&self, token: &str) -> Client {
        Client { token: Some(token.to_owned()), ..self.remote(None) }
    }

    /// A client over the socket under the home.
    pub(crate) fn local(&self) -> Client {
        let stream = UnixStream::connect(&self.server.addresses().socket).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let read = stream.try_clone().unwrap();
        self.client(Way::lines(stream, read), None)
    }

    fn client(&self, way: Way, token: Option<String>) -> Client {
        Client { way, token, asked: 0, seen: self.seen.clone() }
    }

    /// Which command was answered how.
    pub(crate) fn seen(&self) -> BTreeSet<(String, String)> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn stop(self) {
        self.notes(Mode::Good);
        self.engine.block_on(self.server.stop(Duration::from_secs(1)));
        self.engine.stop();
    }
}

/// How a client speaks.
enum Way {
    Lines(Box<dyn Write>, BufReader<Box<dyn Read>>),
    /// A connection a request.
    Http(SocketAddr),
}

impl Way {
    fn lines(write: impl Write + 'static, read: impl Read + 'static) -> Self {
        Self::Lines(Box::new(write), BufReader::new(Box::new(read)))
    }
}

/// Somebody who asks.
pub(crate) struct Client {
    way: Way,
    token: Option<String>,
    asked: u64,
    seen: Arc<Mutex<BTreeSet<(String, String)>>>,
}

/// One request over HTTP, and its answer as the other doors would have sent it.
fn over_http(address: SocketAddr, token: Option<&str>, command: &str, data: &Value) -> Answer {
    let body = data.to_string();
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "POST /api/v1/{command} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n{bearer}\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{command}: {error}"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{command}: {answer:?}"));
    let status: u64 = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{command}: {error}: {answer}"));
    if status < 300 {
        return Answer(json!({ "status": status, "data": body }));
    }
    body["status"] = json!(status);
    Answer(body)
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub(crate) struct Answer(pub(crate) Value);

impl Client {
    /// Asks, and notes the answer as a case of the command.
    pub(crate) fn ask(&mut self, command: &str, data: &Value) -> Answer {
        let answer = self.ask_raw(command, data);
        let outcome = if answer.error().is_empty() { "granted".to_owned() } else { answer.error() };
        self.seen.lock().unwrap().insert((command.to_owned(), outcome));
        answer
    }

    pub(crate) fn ask_raw(&mut self, command: &str, data: &Value) -> Answer {
        self.asked += 1;
        let (write, read) = match &mut self.way {
            Way::Http(address) => return over_http(*address, self.token.as_deref(), command, data),
            Way::Lines(write, read) => (write, read),
        };
        let id = format!("q{}", self.asked);
        let mut request = json!({ "command": command, "extID": id, "data": data });
        if let Some(token) = &self.token {
            request["__token"] = json!(token);
        }
        write.write_all(format!("{request}\r\n").as_bytes()).unwrap();
        loop {
            let mut line = String::new();
            let read = read.read_line(&mut line).unwrap_or_else(|error| panic!("{command}: {error}"));
            assert!(read > 0, "{command}: the connection was closed");
            assert!(line.ends_with("\r\n"), "{line:?}");
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["extID"] == id {
                return Answer(message);
            }
        }
    }

    /// The `data` of what must be granted.
    pub(crate) fn good(&mut self, command: &str, data: &Value) -> Value {
        let answer = self.ask(command, data);
        assert!(answer.status() < 300, "{command} {data}: {answer:?}");
        answer.0["data"].clone()
    }

    /// The error that must be answered, as it was sent.
    pub(crate) fn refused(&mut self, command: &str, data: &Value, code: &str) -> Value {
        let answer = self.ask(command, data);
        assert_eq!(answer.error(), code, "{command} {data}: {answer:?}");
        let known = holdfast::api::ErrorCode::ALL.iter().find(|known| known.as_str() == code).unwrap();
        assert_eq!(answer.status(), u64::from(known.status()), "{answer:?}");
        assert!(!text(&answer.0["message"]).is_empty(), "{answer:?}");
        assert!(answer.0["detail"].is_object() && answer.0["retryable"].is_boolean(), "{answer:?}");
        answer.0
    }

    /// The same for `data` that is wrong in one field, which must be named.
    pub(crate) fn invalid(&mut self, command: &str, data: &Value, field: &str) {
        let error = self.refused(command, data, "INVALID_DATA");
        assert_eq!(error["detail"]["field"], field, "{command} {data}: {error}");
    }
}

impl Answer {
    pub(crate) fn status(&self) -> u64 {
        self.0["status"].as_u64().unwrap_or_else(|| panic!("no status: {}", self.0))
    }

    /// The error's code; empty where there is none.
    pub(crate) fn error(&self) -> String {
        self.0["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// An object with a field more, or another one.
pub(crate) fn with(data: &Value, field: &str, value: Value) -> Value {
    let mut data = data.clone();
    data[field] = value;
    data
}
