//! An engine with its doors open, and clients that know nothing of this program: lines, HTTP and WebSockets by hand, so that a test can
//! send what no honest client would.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use holdfast::config::ServerConfig;
use holdfast::engine::{Builder, Holdfast};
use holdfast::model::access::Role;
use holdfast::server::Server;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::DEADLINE;

/// An engine and its server, on ports of their own.
pub(crate) struct House {
    pub(crate) engine: Holdfast,
    pub(crate) server: Server,
    /// A token of an operator.
    pub(crate) token: String,
}

impl House {
    pub(crate) async fn open(builder: Builder, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let engine = builder.start().await.unwrap();
        let (token, _) = engine.create_token("ops".parse().unwrap(), Role::Operator, None).await.unwrap();
        let mut config = ServerConfig {
            tcp: Some("127.0.0.1:0".parse().unwrap()),
            http: Some("127.0.0.1:0".parse().unwrap()),
            ..ServerConfig::default()
        };
        change(&mut config);
        let server = Server::start(&engine, &config).unwrap();
        Self { engine, server, token: token.expose_secret().to_owned() }
    }

    pub(crate) fn tcp(&self) -> SocketAddr {
        self.server.addresses().tcp.unwrap()
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.server.addresses().http.unwrap()
    }

    pub(crate) async fn lines(&self) -> Lines<TcpStream> {
        Lines::over(TcpStream::connect(self.tcp()).await.unwrap())
    }

    pub(crate) async fn websocket(&self) -> WebSocket {
        WebSocket::open(self.http(), "").await.unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    pub(crate) async fn close(self) {
        within("the server's end", self.server.stop(Duration::ZERO)).await;
        within("the engine's end", self.engine.stop()).await;
    }
}

/// Waits with the tests' deadline.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(DEADLINE, future).await;
    waited.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// A client of lines.
pub(crate) struct Lines<Io>(pub(crate) BufReader<Io>);

impl<Io: AsyncRead + AsyncWrite + Unpin> Lines<Io> {
    pub(crate) fn over(io: Io) -> Self {
        Self(BufReader::new(io))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within("sending", self.0.write_all(bytes.as_ref())).await.unwrap();
        self.0.flush().await.unwrap();
    }

    pub(crate) async fn request(&mut self, request: Value) {
        self.send(format!("{request}\n")).await;
    }

    /// The next line; `None` at the end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        // A connection that is reset has ended too.
        let read = within("a line", self.0.read_line(&mut line)).await.unwrap_or(0);
        (read > 0).then_some(line)
    }

    pub(crate) async fn message(&mut self) -> Value {
        let line = self.line().await.expect("a line, and not the end");
        assert!(line.ends_with("\r\n"), "{line:?}");
        serde_json::from_str(&line).unwrap()
    }

    /// Asks, and gives the next message, which is the answer.
    pub(crate) async fn ask(&mut self, request: Value) -> Value {
        self.request(request.clone()).await;
        let answer = self.message().await;
        assert_eq!(answer["extID"], request["extID"], "{answer}");
        answer
    }

    pub(crate) async fn ping(&mut self) {
        let answer = self.ask(json!({ "command": "Ping", "extID": "ping" })).await;
        assert_eq!(answer, json!({ "extID": "ping", "status": 200, "data": {} }));
    }

    /// Reads to the end, and gives what came.
    pub(crate) async fn rest(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(line) = self.line().await {
            let Ok(message) = serde_json::from_str(&line) else { break };
            all.push(message);
        }
        all
    }
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head.lines().find(named).and_then(|line| line.split_once(": ")).map(|(_, value)| value.trim())
    }

    /// Reads one whose length is said.
    pub(crate) async fn read<Io: AsyncRead + Unpin>(from: &mut BufReader<Io>) -> Option<Self> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if within("the head of an answer", from.read_line(&mut head)).await.unwrap_or(0) == 0 {
                return None;
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Self { status, head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body = vec![0; length];
        within("the body of an answer", from.read_exact(&mut answer.body)).await.unwrap();
        Some(answer)
    }
}

/// `POST` with a body of JSON.
pub(crate) fn post(command: &str, token: Option<&str>, body: &str) -> String {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "POST /api/v1/{command} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{token}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a request as it is, and reads the answer.
pub(crate) async fn http(address: SocketAddr, request: &str) -> Answer {
    let mut connection = BufReader::new(TcpStream::connect(address).await.unwrap());
    connection.write_all(request.as_bytes()).await.unwrap();
    Answer::read(&mut connection).await.expect("an answer, and not the end")
}

/// A frame.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    Text(String),
    Ping,
    Pong(Vec<u8>),
    Close(u16),
    /// The connection ended without a word.
    End,
}

/// A client of WebSockets (RFC 6455).
pub(crate) struct WebSocket(BufReader<TcpStream>);

impl WebSocket {
    /// Opens one, with these headers too.
    pub(crate) async fn open(address: SocketAddr, headers: &str) -> Result<Self, Answer> {
        Self::over(TcpStream::connect(address).await.unwrap(), headers).await
    }

    /// Opens one that takes little before it is read from.
    pub(crate) async fn narrow(address: SocketAddr) -> Self {
        let answer = Self::over(narrow(address).await, "").await;
        answer.unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    async fn over(stream: TcpStream, headers: &str) -> Result<Self, Answer> {
        let mut stream = BufReader::new(stream);
        let address = stream.get_ref().peer_addr().unwrap();
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = Answer::read(&mut stream).await.expect("an answer, and not the end");
        if answer.status == 101 { Ok(Self(stream)) } else { Err(answer) }
    }

    /// Sends a frame; `first` is its first byte.
    pub(crate) async fn frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match payload.len() {
            length @ ..126 => frame.push(0x80 | length as u8),
            length @ ..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        // The far side may have had enough before all of it is sent.
        let _ = within("sending", self.0.write_all(&frame)).await;
    }

    /// Sends bytes as they are.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        within("sending", self.0.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes()).await;
    }

    pub(crate) async fn request(&mut self, request: Value) {
        self.text(&request.to_string()).await;
    }

    pub(crate) async fn ask(&mut self, request: Value) -> Value {
        self.request(request).await;
        self.message().await
    }

    pub(crate) async fn message(&mut self) -> Value {
        match self.next().await {
            Frame::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?} in place of a message"),
        }
    }

    pub(crate) async fn next(&mut self) -> Frame {
        within("a frame", self.read()).await.unwrap_or(Frame::End)
    }

    async fn read(&mut self) -> std::io::Result<Frame> {
        let first = self.0.read_u8().await?;
        let length = match self.0.read_u8().await? {
            length @ ..126 => u64::from(length),
            126 => u64::from(self.0.read_u16().await?),
            _ => self.0.read_u64().await?,
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).await?;
        Ok(match first {
            0x81 => Frame::Text(String::from_utf8(payload).unwrap()),
            0x88 => Frame::Close(u16::from_be_bytes([payload[0], payload[1]])),
            0x89 => Frame::Ping,
            0x8A => Frame::Pong(payload),
            other => panic!("a frame of kind {other:#x}"),
        })
    }

    /// Reads to the close frame, or the end without one.
    pub(crate) async fn closed(&mut self) -> Frame {
        let end = async {
            loop {
                match self.next().await {
                    Frame::Text(_) | Frame::Ping | Frame::Pong(_) => {}
                    end => return end,
                }
            }
        };
        within("the end of a WebSocket", end).await
    }
}

/// A connection that takes little before it is read from.
pub(crate) async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    within("connecting", socket.connect(address)).await.unwrap()
}
