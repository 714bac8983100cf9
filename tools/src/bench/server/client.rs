//! A client: one connection, its sending and its hearing side.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::question::Question;
use super::wire::{Heard, Wire};

/// Longest that a single question waits for its answer: a run may be one.
const ANSWER: Duration = Duration::from_secs(1800);
/// Longest that connecting takes.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes that are read at once.
const READ: usize = 64 << 10;

/// A connection.
pub(super) struct Client {
    pub(super) sending: Sending,
    pub(super) hearing: Hearing,
}

/// The side that requests go out by.
pub(super) struct Sending {
    wire: Wire,
    to: OwnedWriteHalf,
    pending: Vec<u8>,
}

/// The side that answers come in by.
pub(super) struct Hearing {
    wire: Wire,
    from: BufReader<OwnedReadHalf>,
    text: Vec<u8>,
    heard: u64,
}

/// An answer's data.
#[derive(Debug)]
pub(super) struct Data(Value);

impl Data {
    /// A field that is a text.
    pub(super) fn text(&self, field: &str) -> anyhow::Result<String> {
        let value = self.0.get(field).and_then(Value::as_str);
        Ok(value.with_context(|| format!("an answer has no {field}: {}", self.0))?.to_owned())
    }
}

impl Client {
    /// Connects to the door of lines and says who it is.
    ///
    /// # Errors
    /// Where it is not let in.
    pub(super) async fn lines(address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let mut client = Self::connect(address, Wire::Lines).await?;
        client.granted("Auth", &serde_json::json!({ "token": token }).to_string()).await?;
        Ok(client)
    }

    /// Connects to an HTTP server.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub(super) async fn http(address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        Self::connect(address, Wire::Http { token: token.to_owned() }).await
    }

    async fn connect(address: SocketAddr, wire: Wire) -> anyhow::Result<Self> {
        let stream = timeout(CONNECT, TcpStream::connect(address)).await.context("connecting takes too long")?;
        let stream = stream.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let (from, to) = stream.into_split();
        let sending = Sending { wire: wire.clone(), to, pending: Vec::new() };
        let from = BufReader::with_capacity(READ, from);
        Ok(Self { sending, hearing: Hearing { wire, from, text: Vec::new(), heard: 0 } })
    }

    /// Asks for one thing, with nothing else under way, and waits for the answer, which must not be an error. Over lines.
    ///
    /// # Errors
    /// The error that it is, or none in time.
    pub(super) async fn granted(&mut self, command: &'static str, data: &str) -> anyhow::Result<Data> {
        #[derive(Deserialize)]
        struct Rest {
            data: Value,
        }
        self.sending.push(0, &Question::new(command, data, ""));
        self.sending.flush().await?;
        let wait = async {
            loop {
                match self.hearing.next().await? {
                    Some(Heard::Answer { status, body, .. }) => {
                        let text = String::from_utf8_lossy(body).into_owned();
                        ensure!(status < 300, "{command} is answered with {status}: {text}");
                        let rest = text.trim_start_matches(',').trim_end();
                        let rest: Rest = serde_json::from_str(&format!("{{{rest}")).context("an answer is no JSON")?;
                        return Ok(Data(rest.data));
                    }
                    Some(Heard::Unasked(text)) if text.starts_with(b"{\"event\"") => {}
                    Some(Heard::Unasked(text)) => bail!("{command} is not taken: {}", String::from_utf8_lossy(text)),
                    None => bail!("the connection ended before the answer to {command}"),
                }
            }
        };
        timeout(ANSWER, wait).await.with_context(|| format!("no answer to {command} in time"))?
    }
}

impl Sending {
    /// Puts a request to those that [`Sending::flush`] sends.
    pub(super) fn push(&mut self, number: u64, question: &Question) {
        self.wire.write(number, question, &mut self.pending);
    }

    /// Sends what was put, once the server takes it.
    ///
    /// # Errors
    /// Where the connection has ended.
    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        self.to.write_all(&self.pending).await.context("the server does not take a request")?;
        self.pending.clear();
        Ok(())
    }

    /// Says that nothing more is sent: the server answers what it has and ends the connection.
    pub(super) async fn end(&mut self) -> anyhow::Result<()> {
        self.to.shutdown().await.context("the connection ended by itself")
    }
}

impl Hearing {
    /// The next message; `None` once the server has ended. Not to be given up half way.
    ///
    /// # Errors
    /// Where it is of no known form, or the connection broke.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Heard<'_>>> {
        let heard = self.wire.read(&mut self.from, self.heard, &mut self.text).await?;
        self.heard += 1;
        Ok(heard)
    }

    /// Whether nothing more has come in yet.
    pub(super) fn is_empty(&self) -> bool {
        self.from.buffer().is_empty()
    }
}
