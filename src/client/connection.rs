//! The connection itself: who waits for which answer, and one task that reads and writes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BufMut;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::error::ClientError;
use super::events::{Heard, Kept};
use super::message::{self, Incoming};
use crate::api::{ApiError, RawReply};
use crate::server::Lines;

/// Longest line that is taken, in bytes: an answer of the largest size that can be configured would not be asked for here.
const LONGEST: usize = 64 << 20;
/// Bytes read at a time.
const READ: usize = 64 << 10;
/// Requests that wait to be written.
const OUTGOING: usize = 32;

type Answer = Result<RawReply, ApiError>;

pub(super) struct Connection {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Vec<u8>>,
    next: AtomicU64,
    speaking: JoinHandle<()>,
}

struct Shared {
    waiting: Mutex<BTreeMap<String, oneshot::Sender<Answer>>>,
    kept: Mutex<Kept>,
    came: Notify,
    /// Why the connection is over, once it is.
    end: watch::Sender<Option<ClientError>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.speaking.abort();
    }
}

impl Connection {
    pub(super) fn start(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (outgoing, lines) = mpsc::channel(OUTGOING);
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            kept: Mutex::default(),
            came: Notify::new(),
            end: watch::Sender::new(None),
        });
        let speaking = tokio::spawn(speak(io, lines, shared.clone()));
        Self { shared, outgoing, next: AtomicU64::new(1), speaking }
    }

    /// Sends a request and waits for its answer, however long that takes.
    pub(super) async fn ask(&self, command: &str, data: &RawValue) -> Result<RawReply, ClientError> {
        let ext_id = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let line = message::request(command, &ext_id, data)?;
        let (answer, answered) = oneshot::channel();
        lock(&self.shared.waiting).insert(ext_id.clone(), answer);
        let waiting = Waiting { shared: &self.shared, ext_id: &ext_id };
        let result = async {
            self.outgoing.send(line).await.ok()?;
            answered.await.ok()
        };
        let result = tokio::select! {
            biased;
            result = result => result,
            error = self.closed() => return Err(error),
        };
        drop(waiting);
        match result {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(error)) => Err(ClientError::Refused(Box::new(error))),
            None => Err(self.closed().await),
        }
    }

    /// What is heard next.
    pub(super) async fn hear(&self) -> Result<Heard, ClientError> {
        loop {
            let came = self.shared.came.notified();
            if let Some(heard) = lock(&self.shared.kept).take() {
                return Ok(heard);
            }
            tokio::select! {
                () = came => {}
                error = self.closed() => match lock(&self.shared.kept).take() {
                    Some(heard) => return Ok(heard),
                    None => return Err(error),
                },
            }
        }
    }

    /// Waits for the end, and says why it came.
    pub(super) async fn closed(&self) -> ClientError {
        let mut end = self.shared.end.subscribe();
        let error = end.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
        error.unwrap_or_else(|| ClientError::Closed("it was closed here".into()))
    }
}

/// A request that is waited for; whoever does not wait any more is forgotten.
struct Waiting<'a> {
    shared: &'a Shared,
    ext_id: &'a str,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.shared.waiting).remove(self.ext_id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads and writes until one of both is over.
async fn speak(io: impl AsyncRead + AsyncWrite + Send, lines: mpsc::Receiver<Vec<u8>>, shared: Arc<Shared>) {
    let (from, to) = tokio::io::split(io);
    let end = tokio::select! {
        error = read(from, &shared) => error,
        error = write(to, lines) => error,
    };
    shared.end.send_replace(Some(end));
    lock(&shared.waiting).clear();
    shared.came.notify_waiters();
}

async fn read(mut from: impl AsyncRead + Unpin, shared: &Shared) -> ClientError {
    let mut lines = Lines::default();
    loop {
        loop {
            match lines.take(LONGEST) {
                Ok(Some(line)) => {
                    if let Err(error) = shared.hear(&line) {
                        return error;
                    }
                }
                Ok(None) => break,
                Err(error) => return ClientError::Unreadable(error.to_string()),
            }
        }
        lines.buffer().reserve(READ);
        match from.read_buf(&mut lines.buffer().limit(READ)).await {
            Ok(0) => return ClientError::Closed("it has ended".into()),
            Ok(_) => {}
            Err(error) => return ClientError::Closed(error.to_string()),
        }
    }
}

async fn write(mut to: impl AsyncWrite + Unpin, mut lines: mpsc::Receiver<Vec<u8>>) -> ClientError {
    while let Some(line) = lines.recv().await {
        let written = async {
            to.write_all(&line).await?;
            to.flush().await
        };
        if let Err(error) = written.await {
            // Why it does not listen may still be there to be read.
            tracing::debug!(%error, "nothing can be written to the owner of the home");
            return std::future::pending().await;
        }
    }
    ClientError::Closed("it was closed here".into())
}

impl Shared {
    /// Takes one message in.
    fn hear(&self, line: &[u8]) -> Result<(), ClientError> {
        if line.is_empty() {
            return Ok(());
        }
        match message::read(line).map_err(|error| ClientError::Unreadable(error.to_string()))? {
            Incoming::Answer { ext_id: Some(ext_id), result } => {
                if let Some(answer) = lock(&self.waiting).remove(&ext_id) {
                    // Whoever does not wait any more needs no answer.
                    let _ = answer.send(result);
                }
            }
            // An error that no request of ours has is one of the connection.
            Incoming::Answer { ext_id: None, result: Err(error) } => return Err(ClientError::Refused(Box::new(error))),
            Incoming::Notice(notice) => {
                lock(&self.kept).put(notice);
                self.came.notify_waiters();
            }
            Incoming::Answer { ext_id: None, result: Ok(_) } | Incoming::Other => {}
        }
        Ok(())
    }
}
