//! How many requests a second the server answers where nothing else is to be done.
//!
//! Each connection has so many requests under way at any time: for each answer it asks again. By Little's law the middle latency is
//! then about the requests under way by the requests a second: it says how evenly they are served, not how fast one alone would be.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::bare::Bare;
use super::client::Client;
use super::holdfast::{Holdfast, Limits};
use super::process::Usage;
use super::question::Question;
use super::tally::{Answers, Tally};
use super::wire::Heard;
use crate::bench::contenders::Places;

/// Connections at a time.
pub(super) const CONNECTIONS: usize = 200;
/// Requests of a connection under way.
pub(super) const UNDER_WAY: u64 = 32;
/// Seconds that are measured, and those before that are not.
const MEASURED: f64 = 5.0;
const BEFORE: f64 = 0.5;
/// Longest that the last answers take after that.
const AFTER: Duration = Duration::from_secs(60);

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Door {
    /// Holdfast, lines over TCP.
    Tcp,
    /// Holdfast over HTTP.
    Http,
    /// A server over HTTP that has the answer ready.
    Bare,
}

/// What was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub(in crate::bench) struct Capacity {
    pub(super) taken: Vec<Taken>,
}

/// One question at one door, in all rounds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Taken {
    pub(super) command: &'static str,
    pub(super) door: Door,
    /// Bytes of an answer.
    pub(super) bytes: usize,
    pub(super) rounds: Vec<Round>,
}

/// One of them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Round {
    /// Right answers a second.
    pub(super) speed: f64,
    /// Processors that the server took, and the clients.
    pub(super) server_cpu: f64,
    pub(super) client_cpu: f64,
    /// Most memory of the server, in MiB.
    pub(super) peak: f64,
    pub(super) answers: Answers,
}

impl Capacity {
    /// Questions that were not answered right, of all.
    pub(in crate::bench) fn errors(&self) -> u64 {
        self.taken.iter().flat_map(|taken| &taken.rounds).map(|round| round.answers.errors()).sum()
    }
}

/// Asks each question at each door, in turns.
pub(super) fn run(
    places: &Places,
    runtime: &Runtime,
    start: &dyn Fn(Limits) -> anyhow::Result<Holdfast>,
    questions: &[Question],
    rounds: usize,
    size: f64,
    say: &dyn Fn(&str),
) -> anyhow::Result<Capacity> {
    let bodies = bodies(runtime, start, questions)?;
    let mut capacity = Capacity::default();
    for (question, body) in questions.iter().zip(&bodies) {
        for door in [Door::Tcp, Door::Http, Door::Bare] {
            let taken = Taken { command: question.command, door, bytes: body.len(), rounds: Vec::new() };
            capacity.taken.push(taken);
        }
    }
    let seconds = (MEASURED * size).max(1.0);
    for round in 0..rounds {
        for turn in 0..capacity.taken.len() {
            let at = (round + turn) % capacity.taken.len();
            let Some(taken) = capacity.taken.get_mut(at) else { continue };
            let asked = questions.iter().zip(&bodies).find(|(question, _)| question.command == taken.command);
            let Some((question, body)) = asked else { continue };
            let made = one(&places.work, runtime, start, taken.door, question, body, seconds)?;
            say(&format!(
                "round {} of {rounds}: {} over {:?}: {:.0} a second",
                round + 1,
                taken.command,
                taken.door,
                made.speed
            ));
            taken.rounds.push(made);
        }
    }
    Ok(capacity)
}

/// The answers to all questions, as HTTP gives them.
fn bodies(
    runtime: &Runtime,
    start: &dyn Fn(Limits) -> anyhow::Result<Holdfast>,
    questions: &[Question],
) -> anyhow::Result<Vec<Vec<u8>>> {
    let server = start(Limits::Raised)?;
    let bodies = runtime.block_on(async {
        let mut client = Client::http(server.http, &server.token).await?;
        let mut bodies = Vec::new();
        for question in questions {
            client.sending.push(0, question);
            client.sending.flush().await?;
            match client.hearing.next().await? {
                Some(Heard::Answer { status: 200, body, .. }) if question.is_answered_by(body) => {
                    bodies.push(body.to_vec());
                }
                other => anyhow::bail!("{} is answered with {other:?}", question.command),
            }
        }
        Ok(bodies)
    })?;
    server.end()?;
    Ok(bodies)
}

/// One question at one door, of a server that was started for it.
fn one(
    work: &Path,
    runtime: &Runtime,
    start: &dyn Fn(Limits) -> anyhow::Result<Holdfast>,
    door: Door,
    question: &Question,
    body: &[u8],
    seconds: f64,
) -> anyhow::Result<Round> {
    if door == Door::Bare {
        let server = Bare::start(work, body)?;
        let clients = runtime.block_on(connect(|| Client::http(server.address, "none")))?;
        let round = runtime.block_on(measure(clients, question, seconds, &|| server.usage()))?;
        server.end()?;
        return Ok(round);
    }
    let server = start(Limits::Raised)?;
    let clients = match door {
        Door::Tcp => runtime.block_on(connect(|| Client::lines(server.tcp, &server.token))),
        Door::Http | Door::Bare => runtime.block_on(connect(|| Client::http(server.http, &server.token))),
    }?;
    let round = runtime.block_on(measure(clients, question, seconds, &|| server.usage()))?;
    server.end()?;
    Ok(round)
}

async fn connect<F: Future<Output = anyhow::Result<Client>>>(client: impl Fn() -> F) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(client().await?);
    }
    Ok(clients)
}

/// What is measured lies between these.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

async fn measure(
    clients: Vec<Client>,
    question: &Question,
    seconds: f64,
    usage: &dyn Fn() -> anyhow::Result<Usage>,
) -> anyhow::Result<Round> {
    let from = Instant::now() + Duration::from_secs_f64(BEFORE);
    let window = Window { from, until: from + Duration::from_secs_f64(seconds) };
    let question = Arc::new(question.clone());
    let asking: Vec<_> =
        clients.into_iter().map(|client| tokio::spawn(keep_asking(client, question.clone(), window))).collect();
    sleep_until(window.from).await;
    let (began, server_before, own_before) = (Instant::now(), usage()?, Usage::own()?);
    sleep_until(window.until).await;
    let (taken, server, own) = (began.elapsed().as_secs_f64(), usage()?, Usage::own()?);
    let mut tally = Tally::default();
    for asking in asking {
        tally.add(asking.await.context("a client panicked")??);
    }
    let peak = usage()?.peak;
    let answers = tally.answers();
    Ok(Round {
        speed: answers.right as f64 / seconds,
        server_cpu: (server.cpu - server_before.cpu) / taken,
        client_cpu: (own.cpu - own_before.cpu) / taken,
        peak,
        answers,
    })
}

/// Keeps its requests under way until the time is over, and waits for the last answers. Wrong answers count at any time.
async fn keep_asking(client: Client, question: Arc<Question>, window: Window) -> anyhow::Result<Tally> {
    let Client { mut sending, mut hearing } = client;
    let (mut tally, mut outside) = (Tally::default(), Tally::default());
    let mut sent = Vec::new();
    for number in 0..UNDER_WAY {
        sent.push(Instant::now());
        sending.push(number, &question);
    }
    sending.flush().await?;
    let mut open = UNDER_WAY;
    while open > 0 {
        let Ok(heard) = timeout_at(window.until + AFTER, hearing.next()).await else {
            (0..open).for_each(|_| tally.not_right("a request was never answered"));
            break;
        };
        let Some(heard) = heard? else {
            tally.not_right("the connection ended before all was answered");
            break;
        };
        let now = Instant::now();
        let Heard::Answer { number, .. } = heard else {
            tally.take(&heard, None, None);
            break;
        };
        // Each answer's number says which of the places is free again.
        let place = usize::try_from(number % UNDER_WAY).ok().and_then(|place| sent.get_mut(place));
        let Some(place) = place else { continue };
        let counted = if (window.from..window.until).contains(&now) { &mut tally } else { &mut outside };
        counted.take(&heard, Some(&question), Some(now - *place));
        if now < window.until {
            *place = now;
            sending.push(number + UNDER_WAY, &question);
        } else {
            open -= 1;
        }
        // What has come in already is looked at first: requests go out together, as answers come in.
        if hearing.is_empty() {
            sending.flush().await?;
        }
    }
    tally.add(outside.without_right());
    Ok(tally)
}
