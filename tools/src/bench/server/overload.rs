//! Clients that ask as fast as they can, at the limits as they are by default, while a run is made; and many who connect in passing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use rustix::net::sockopt::set_socket_linger;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use super::client::Client;
use super::holdfast::{Holdfast, Limits};
use super::interference::{Alone, Operator, about};
use super::question::Question;
use super::tally::{Answers, Tally};
use super::wire::Heard;

/// Clients that flood the server, by door. Of the 100 that may be there over TCP, some places are left.
pub(super) const BY_TCP: usize = 80;
pub(super) const BY_HTTP: usize = 20;
/// Requests that are sent at once.
const TOGETHER: u64 = 64;
/// How often the client asks that keeps to its limits.
const MODEST: Duration = Duration::from_millis(100);
/// Connects in passing, of the full size, and how many of them at a time.
const PASSING: f64 = 10_000.0;
const PASSING_AT_ONCE: u64 = 64;
/// Longest that one of them takes to connect, and waits for what it is told.
const CONNECT: Duration = Duration::from_secs(30);
/// Longest that an answer takes to somebody who keeps to the limits.
const ANSWER: Duration = Duration::from_secs(30);
const TOLD: Duration = Duration::from_secs(5);

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub(in crate::bench) struct Overload {
    /// The same run right before it.
    pub(super) alone: Alone,
    pub(super) run: Alone,
    /// How long the flood went on, in seconds.
    pub(super) seconds: f64,
    pub(super) tcp: Answers,
    pub(super) http: Answers,
    /// Of a client that keeps to its limits.
    pub(super) modest: Answers,
    pub(super) passing: Passing,
}

/// Those who connected in passing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Passing {
    /// Connected, and went or were sent away.
    pub(super) connected: u64,
    /// Of these, that were told why.
    pub(super) told: u64,
    pub(super) failed: u64,
}

impl Overload {
    /// Answers that were neither right nor the refusal they should have been, refusals of who asked modestly, connects that failed.
    pub(in crate::bench) fn errors(&self) -> u64 {
        self.tcp.wrong + self.http.wrong + self.modest.errors() + self.passing.failed
    }

    /// Requests that were refused as too many.
    pub(in crate::bench) fn refused(&self) -> u64 {
        self.tcp.too_many + self.http.too_many
    }
}

/// Floods a server during a run.
pub(super) fn run(
    runtime: &Runtime,
    start: &dyn Fn(Limits) -> anyhow::Result<Holdfast>,
    questions: &[Question],
    size: f64,
    say: &dyn Fn(&str),
) -> anyhow::Result<Overload> {
    say("server: overload");
    let server = start(Limits::Default)?;
    let overload = runtime.block_on(flooded(&server, questions, size))?;
    server.end()?;
    Ok(overload)
}

async fn flooded(server: &Holdfast, questions: &[Question], size: f64) -> anyhow::Result<Overload> {
    let alone = Operator::begin(server).await?.end(server).await?;
    let mut clients = Vec::new();
    for _ in 0..BY_TCP {
        clients.push(Client::lines(server.tcp, &server.token).await?);
    }
    let (mut by_http, mut modest) = (Vec::new(), Client::lines(server.tcp, &server.token).await?);
    for _ in 0..BY_HTTP {
        by_http.push(Client::http(server.http, &server.token).await?);
    }
    let operator = Operator::begin(server).await?;
    let questions = about(questions, &operator.run_id);
    let (end, ended) = watch::channel(false);
    let began = Instant::now();
    let flood = |clients: Vec<Client>| {
        let mut flooding = JoinSet::new();
        for client in clients {
            flooding.spawn(ask_without_end(client, questions.clone(), ended.clone()));
        }
        flooding
    };
    let (tcp, http) = (flood(clients), flood(by_http));
    let asking = {
        let (questions, ended) = (questions.clone(), ended.clone());
        tokio::spawn(async move { ask_modestly(&mut modest, &questions, ended).await })
    };
    let passing = pass(server.tcp, server.http, (PASSING * size).max(100.0) as u64);
    let (run, passing) = tokio::join!(operator.end(server), passing);
    end.send_replace(true);
    let seconds = began.elapsed().as_secs_f64();
    Ok(Overload {
        alone,
        run: run?,
        seconds,
        tcp: all(tcp).await?,
        http: all(http).await?,
        modest: asking.await.context("a client panicked")??.answers(),
        passing,
    })
}

async fn all(mut flooding: JoinSet<anyhow::Result<Tally>>) -> anyhow::Result<Answers> {
    let mut tally = Tally::default();
    while let Some(one) = flooding.join_next().await {
        tally.add(one.context("a client panicked")??);
    }
    Ok(tally.answers())
}

/// Sends as fast as the server takes it, and reads all that comes. What is not answered by the end never will be.
async fn ask_without_end(
    client: Client,
    questions: Arc<[Question]>,
    mut end: watch::Receiver<bool>,
) -> anyhow::Result<Tally> {
    let Client { mut sending, mut hearing } = client;
    let sent = AtomicU64::new(0);
    let asked = |number: u64| {
        let at = usize::try_from(number.checked_rem(questions.len() as u64)?).ok()?;
        questions.get(at)
    };
    let send = async {
        loop {
            let first = sent.fetch_add(TOGETHER, Ordering::Relaxed);
            for number in first..first + TOGETHER {
                let Some(question) = asked(number) else { return anyhow::Ok(()) };
                sending.push(number, question);
            }
            sending.flush().await?;
        }
    };
    let mut tally = Tally::default();
    let mut answered: Vec<bool> = Vec::new();
    let hear = async {
        while let Some(heard) = hearing.next().await? {
            let Heard::Answer { number, .. } = heard else {
                tally.take(&heard, None, None);
                continue;
            };
            answered.resize(usize::try_from(sent.load(Ordering::Relaxed))?, false);
            match usize::try_from(number).ok().and_then(|number| answered.get_mut(number)) {
                Some(answered) if !*answered => *answered = true,
                _ => tally.not_right(&format!("request {number} is answered again, or was never made")),
            }
            tally.take(&heard, asked(number), None);
        }
        tally.not_right("the server ended the connection");
        anyhow::Ok(())
    };
    tokio::select! {
        _ = end.wait_for(|end| *end) => {}
        result = async { tokio::try_join!(send, hear) } => { result?; }
    }
    Ok(tally)
}

/// Asks one thing after another, far below the limits.
async fn ask_modestly(
    client: &mut Client,
    questions: &[Question],
    mut end: watch::Receiver<bool>,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut times = interval(MODEST);
    for (number, question) in (0..).zip(questions.iter().cycle()) {
        tokio::select! {
            _ = times.tick() => {}
            _ = end.wait_for(|end| *end) => break,
        }
        let asked = Instant::now();
        client.sending.push(number, question);
        client.sending.flush().await?;
        match timeout(ANSWER, client.hearing.next()).await {
            Ok(heard) => {
                let heard = heard?.context("a client that keeps to its limits is closed")?;
                tally.take(&heard, Some(question), Some(asked.elapsed()));
            }
            Err(_) => {
                tally.not_right(&format!("no answer to {} in {} s", question.command, ANSWER.as_secs()));
                break;
            }
        }
    }
    Ok(tally)
}

/// Connects many times, in many ways, and goes.
async fn pass(tcp: SocketAddr, http: SocketAddr, times: u64) -> Passing {
    let mut passing = JoinSet::new();
    for first in 0..PASSING_AT_ONCE {
        passing.spawn(async move {
            let mut seen = Passing::default();
            for number in (first..times).step_by(PASSING_AT_ONCE as usize) {
                match timeout(CONNECT, pass_by(tcp, http, number)).await {
                    Ok(Ok(told)) => {
                        seen.connected += 1;
                        seen.told += u64::from(told);
                    }
                    Ok(Err(_)) | Err(_) => seen.failed += 1,
                }
            }
            seen
        });
    }
    let mut all = Passing::default();
    while let Some(one) = passing.join_next().await {
        let one = one.unwrap_or_default();
        all.connected += one.connected;
        all.told += one.told;
        all.failed += one.failed;
    }
    all
}

/// Connects once. Whether the server said anything before it closed the connection.
async fn pass_by(tcp: SocketAddr, http: SocketAddr, number: u64) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(if number % 5 == 4 { http } else { tcp }).await?;
    // What is closed so goes at once, by a reset: so many connections would not leave enough ports otherwise.
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    let said: &[u8] = match number % 5 {
        0 => return Ok(false),
        1 => b"{\"command\":\"GetBackupRuns\",\"extID\":\"1",
        2 => b"\x16\x03\x01\x00\x00\xff\xfe\n",
        3 => b"{\"command\":\"GetBackupRuns\",\"extID\":\"1\",\"__token\":\"\"}\n",
        _ => b"GET / HTTP/1.1\r\n\r\n",
    };
    let mut buffer = [0; 512];
    let heard = async {
        stream.write_all(said).await?;
        if number % 5 == 1 {
            return Ok(0);
        }
        stream.read(&mut buffer).await
    };
    // A connection that was reset was answered, too: there was no place.
    Ok(matches!(timeout(TOLD, heard).await, Ok(Ok(1..))))
}
