//! A vault that is served by the real program, and clients that speak to it byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use holdfast::vault::wire::{OFFSET_STREAM, UploadMetadata};
use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{DEADLINE, Home, Running, text};

/// A vault beside a home, and the process that serves it.
pub(crate) struct World {
    pub(crate) home: Home,
    pub(crate) root: PathBuf,
}

/// A vault that is served.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) address: String,
}

/// What a vault answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    pub(crate) fn code(&self) -> String {
        if self.body.is_empty() { String::new() } else { self.json()["error"].as_str().unwrap_or_default().to_owned() }
    }

    /// Fails the test unless it has this status and this code.
    #[track_caller]
    pub(crate) fn expect(self, status: u16, code: &str) -> Self {
        assert!(self.status == status && self.code() == code, "expected {status} {code}: {self:?}");
        self
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let home = Home::new();
        let root = home.beside("vault");
        let world = Self { home, root };
        world.init();
        world
    }

    pub(crate) fn at(root: impl FnOnce(&Home) -> PathBuf) -> Self {
        let home = Home::new();
        let root = root(&home);
        let world = Self { home, root };
        world.init();
        world
    }

    /// A place for a vault that is not there yet.
    pub(crate) fn unmade() -> Self {
        let home = Home::new();
        let root = home.beside("vault");
        Self { home, root }
    }

    fn init(&self) {
        self.vault(&["init"]).expect(0);
    }

    /// A command of the administration.
    pub(crate) fn vault(&self, args: &[&str]) -> crate::support::Finished {
        self.home.holdfast(["vault"]).args(args).arg("--root").arg(&self.root).arg("--json").run()
    }

    /// A new token.
    pub(crate) fn token(&self, name: &str, permission: &str, more: &[&str]) -> String {
        let made = self.vault(&[&["token", "add", name, "--permission", permission], more].concat());
        text(&made.expect(0).json()["token"])
    }

    pub(crate) fn serve(&self) -> Served {
        self.serve_with(&["--insecure"], &[])
    }

    pub(crate) fn serve_with(&self, args: &[&str], env: &[(&str, &str)]) -> Served {
        let serve = ["vault", "serve", "--listen", "127.0.0.1:0", "--json"];
        let mut program = self.home.holdfast(serve).args(args).arg("--root").arg(&self.root);
        for (name, value) in env {
            program = program.env(name, value);
        }
        let mut running = program.spawn();
        let told = running.wait_for_json("where it listens", |line| line["message_type"] == "listening");
        let address = text(&told["address"]);
        let address = address.split_once("://").expect("a scheme").1.to_owned();
        Served { running, address }
    }

    /// Events of the vault's own log.
    pub(crate) fn events(&self) -> Vec<Value> {
        let log = ["--json", "log", "events", "--limit", "100000", "--home"];
        self.home.holdfast(log).arg(self.root.join("state")).run().expect(0).json_lines()
    }

    /// A run that was backed up, with its directory.
    pub(crate) fn run(&self) -> (String, PathBuf) {
        let source = self.home.beside("source");
        if !source.exists() {
            crate::support::small_tree(&source);
        }
        let run = self.home.back_up(["source"]);
        let folder = self.home.run_dir(&run);
        (run, folder)
    }

    /// The server id of the home.
    pub(crate) fn server_id(&self) -> String {
        let identity = fs::read(self.home.path().join("home.json")).unwrap();
        text(&serde_json::from_slice::<Value>(&identity).unwrap()["server_id"])
    }
}

impl Served {
    /// Tells it to stop, and expects a good end.
    pub(crate) fn stop(self) {
        self.running.signal(Signal::TERM);
        self.running.wait().expect(0);
    }

    pub(crate) fn client(&self, token: &str, server_id: &str) -> Client {
        Client { address: self.address.clone(), token: token.to_owned(), server_id: server_id.to_owned() }
    }
}

/// A client of a vault. Each request has a connection of its own.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: String,
    pub(crate) token: String,
    pub(crate) server_id: String,
}

pub(crate) fn sha256(bytes: &[u8]) -> holdfast::model::ids::Sha256 {
    holdfast::model::ids::Sha256(Sha256::digest(bytes).into())
}

pub(crate) fn metadata(run: &str, file: &str, bytes: &[u8]) -> String {
    let (run_id, filename) = (run.parse().unwrap(), file.parse().unwrap());
    UploadMetadata { run_id, filename, sha256: Some(sha256(bytes)) }.to_header()
}

impl Client {
    /// Opens a connection and sends a head; the body is the caller's.
    pub(crate) fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: vault\r\nConnection: close\r\n");
        let own = [
            ("Authorization", format!("Bearer {}", self.token)),
            ("Holdfast-Server-Id", self.server_id.clone()),
            ("Tus-Resumable", "1.0.0".to_owned()),
        ];
        let given = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        for (name, value) in own.iter().filter(|(name, value)| !given(name) && !value.is_empty()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        Ok(stream)
    }

    /// Reads an answer to its end.
    pub(crate) fn end(mut stream: TcpStream) -> io::Result<Answer> {
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        let missing = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let end = all.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(missing)?;
        let head = String::from_utf8_lossy(&all[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Ok(Answer { status: status.ok_or_else(missing)?, headers, body: all[end + 4..].to_vec() })
    }

    pub(crate) fn try_ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let length = body.len().to_string();
        let mut stream = self.begin(method, path, &[headers, &[("Content-Length", length.as_str())]].concat())?;
        // It may be refused before all of it is sent.
        let sent = stream.write_all(body);
        Self::end(stream).or_else(|error| sent.and(Err(error)))
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_ask(method, path, headers, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub(crate) fn create(&self, run: &str, file: &str, bytes: &[u8]) -> io::Result<Answer> {
        let (length, metadata) = (bytes.len().to_string(), metadata(run, file, bytes));
        self.try_ask("POST", "/uploads", &[("Upload-Length", &length), ("Upload-Metadata", &metadata)], b"")
    }

    pub(crate) fn patch(&self, upload: &str, offset: u64, bytes: &[u8]) -> io::Result<Answer> {
        let offset = offset.to_string();
        self.try_ask("PATCH", upload, &[("Upload-Offset", &offset), ("Content-Type", OFFSET_STREAM)], bytes)
    }

    pub(crate) fn offset(&self, upload: &str) -> io::Result<u64> {
        let answer = self.try_ask("HEAD", upload, &[], b"")?;
        assert_eq!(answer.status, 200, "{answer:?}");
        Ok(answer.header("upload-offset").parse().unwrap())
    }

    pub(crate) fn commit(&self, run: &str) -> io::Result<Answer> {
        self.try_ask("POST", &format!("/runs/{run}/commit"), &[], b"")
    }

    /// Brings what is missing of a run, in parts, from wherever the vault says it is; and commits it.
    pub(crate) fn bring(&self, run: &str, files: &[(String, Vec<u8>)]) -> io::Result<Answer> {
        for (name, bytes) in files {
            let made = self.create(run, name, bytes)?;
            let upload = match (made.status, made.code().as_str()) {
                (201, _) | (409, "UPLOAD_EXISTS") => made.header("location").to_owned(),
                (409, "RUN_EXISTS") | (423, "RUN_COMMITTING") => break,
                _ => panic!("{made:?}"),
            };
            let mut offset = self.offset(&upload)?;
            let part = bytes.len().div_ceil(2).max(1) as u64;
            while offset < bytes.len() as u64 {
                let end = (offset + part).min(bytes.len() as u64);
                let answer = self.patch(&upload, offset, &bytes[offset as usize..end as usize])?;
                assert_eq!(answer.status, 204, "{answer:?}");
                offset = answer.header("upload-offset").parse().unwrap();
                assert_eq!(offset, end);
            }
        }
        self.commit(run)
    }
}

/// The files of a run directory, the manifest last.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()))
        .collect();
    files.sort_by_key(|(name, _)| (name == "manifest.json", name.clone()));
    files
}

/// What lies under a vault that should be nothing: uploads, half-committed and half-deleted runs of a client.
pub(crate) fn leftovers(root: &Path, server_id: &str) -> Vec<PathBuf> {
    let folders = ["uploads", "committing", "deleting"].map(|name| root.join(server_id).join(name));
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}
