//! A way to a server on which something goes wrong once: it breaks, hangs, is slow, cuts an answer, loses it, or answers itself.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection breaks before the request arrives.
    Drop,
    /// The server does it, and its answer never arrives.
    LoseAnswer,
    /// Nothing goes on in either direction.
    Hang,
    /// So many bytes of the answer arrive, and then the connection breaks.
    Cut(usize),
    /// The request does not arrive; this status is the answer.
    Answer(u16),
    /// The same, and it says after how many seconds one may come again.
    Later(u16, u32),
    /// The request does not arrive; the answer is this status, and all that was asked, heads included, read back.
    Echo(u16),
    /// It arrives so many milliseconds late.
    Delay(u64),
}

/// A fault, and the bytes of a request at which it happens.
type Armed = Arc<Mutex<Vec<(&'static str, Fault)>>>;

/// Bytes on their way to the server: how many went, and how many may still go before everything breaks, or hangs.
#[derive(Default)]
struct Way {
    carried: AtomicU64,
    left: Mutex<Option<u64>>,
    hangs: AtomicBool,
    broke: tokio::sync::Notify,
    met: tokio::sync::Notify,
    went: tokio::sync::Notify,
}

impl Way {
    /// How many of so many bytes go.
    fn take(&self, wanted: usize) -> usize {
        let mut left = self.left.lock().unwrap();
        let some = left.map_or(wanted, |left| wanted.min(usize::try_from(left).unwrap()));
        *left = left.map(|left| left - some as u64);
        if *left == Some(0) {
            self.broke.notify_one();
        }
        self.carried.fetch_add(some as u64, Ordering::SeqCst);
        self.went.notify_one();
        some
    }
}

/// The way.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    armed: Armed,
    way: Arc<Way>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A way to a port of the loopback address.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let armed: Armed = Arc::default();
        let faults = armed.clone();
        let way = Arc::<Way>::default();
        let of_all = way.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, port, faults.clone(), of_all.clone()));
            }
        });
        Self { port: own, armed, way, accepting }
    }

    /// From now on the next request with these bytes meets a fault; of several each has its own.
    pub(crate) fn arm(&self, at: &'static str, fault: Fault) {
        self.armed.lock().unwrap().push((at, fault));
    }

    /// After so many bytes more to the server every connection breaks, and none goes through any more.
    pub(crate) fn break_after(&self, bytes: u64) {
        self.way.hangs.store(false, Ordering::SeqCst);
        *self.way.left.lock().unwrap() = Some(bytes);
    }

    /// After so many bytes more to the server nothing goes on in either direction, and connections stay.
    pub(crate) fn hang_after(&self, bytes: u64) {
        self.way.hangs.store(true, Ordering::SeqCst);
        *self.way.left.lock().unwrap() = Some(bytes);
    }

    /// From now on all goes through again. Answers how many bytes went to the server since this was asked last.
    pub(crate) fn mend(&self) -> u64 {
        *self.way.left.lock().unwrap() = None;
        self.way.carried.swap(0, Ordering::SeqCst)
    }

    /// Waits until so many bytes went to the server.
    pub(crate) async fn carried(&self, bytes: u64) {
        let going = async {
            while self.way.carried.load(Ordering::SeqCst) < bytes {
                self.way.went.notified().await;
            }
        };
        tokio::time::timeout(super::DEADLINE, going).await.expect("they go in time");
    }

    /// Waits until no byte goes through any more.
    pub(crate) async fn broken(&self) {
        tokio::time::timeout(super::DEADLINE, self.way.broke.notified()).await.expect("it breaks in time");
    }

    /// What has not happened happens no more.
    pub(crate) fn disarm(&self) {
        self.armed.lock().unwrap().clear();
    }

    /// Waits until every fault has happened.
    pub(crate) async fn spent(&self) {
        let wait = async {
            while !self.is_spent() {
                self.way.met.notified().await;
            }
        };
        tokio::time::timeout(super::DEADLINE, wait).await.expect("it happens in time");
    }

    /// Whether every fault has happened.
    pub(crate) fn is_spent(&self) -> bool {
        self.armed.lock().unwrap().is_empty()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn take(armed: &Armed, request: &[u8]) -> Option<Fault> {
    let mut armed = armed.lock().unwrap();
    let holds = |at: &str| at.is_empty() || request.windows(at.len()).any(|bytes| bytes == at.as_bytes());
    let found = armed.iter().position(|(at, _)| holds(at))?;
    Some(armed.remove(found).1)
}

/// What the way itself answers.
fn answer(fault: Fault, request: &[u8]) -> Vec<u8> {
    let (status, more, body) = match fault {
        Fault::Later(status, seconds) => (status, format!("Retry-After: {seconds}\r\n"), &[][..]),
        Fault::Echo(status) => (status, String::new(), request),
        Fault::Answer(status) => (status, String::new(), &[][..]),
        other => panic!("{other:?} is no answer"),
    };
    let head = format!("HTTP/1.1 {status} X\r\n{more}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

async fn carry(client: TcpStream, port: u16, armed: Armed, way: Arc<Way>) -> std::io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    // How much of the answers still arrives.
    let mut left = usize::MAX;
    loop {
        tokio::select! {
            biased;
            read = from_client.read(&mut up) => {
                let request = &up[..read?];
                if request.is_empty() {
                    return Ok(());
                }
                let fault = take(&armed, request);
                if fault.is_some() {
                    way.met.notify_one();
                }
                match fault {
                    None => {}
                    Some(Fault::Drop) => return Ok(()),
                    Some(Fault::Hang) => return std::future::pending().await,
                    Some(Fault::LoseAnswer) => left = 0,
                    Some(Fault::Cut(bytes)) => left = bytes,
                    Some(Fault::Delay(milliseconds)) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
                    Some(fault @ (Fault::Answer(_) | Fault::Later(..) | Fault::Echo(_))) => {
                        to_client.write_all(&answer(fault, request)).await?;
                        to_client.shutdown().await?;
                        // What is still sent is taken, so that the answer is not lost by a reset.
                        while from_client.read(&mut up).await? > 0 {}
                        return Ok(());
                    }
                }
                let some = way.take(request.len());
                to_server.write_all(&request[..some]).await?;
                if some < request.len() {
                    return match way.hangs.load(Ordering::SeqCst) {
                        true => std::future::pending().await,
                        false => Ok(()),
                    };
                }
            }
            read = from_server.read(&mut down) => {
                let answer = &down[..read?];
                let some = &answer[..answer.len().min(left)];
                to_client.write_all(some).await?;
                left -= some.len();
                if some.len() < answer.len() || answer.is_empty() {
                    return Ok(());
                }
            }
        }
    }
}
