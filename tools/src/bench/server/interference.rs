//! What clients that look on cost a run: the same run with them and without, in turns.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::client::{Client, Hearing};
use super::holdfast::{Holdfast, Limits};
use super::process::Usage;
use super::question::Question;
use super::tally::{Answers, Tally};
use super::wire::Heard;
use crate::bench::measure::median;

/// Requests a second, of all clients that ask together, and how many those are.
pub(super) const RATE: u32 = 500;
pub(super) const ASKING: u32 = 20;
/// Clients that are subscribed.
pub(super) const SUBSCRIBERS: usize = 100;
/// Longest that the last answers and the last event take after the run's end.
const AFTER: Duration = Duration::from_secs(30);
const CHANNELS: &str = r#"{"channels":["backup.progress","backup.events"]}"#;

/// What was measured, a round each.
#[derive(Debug, Clone, Default, Serialize)]
pub(in crate::bench) struct Interference {
    pub(super) alone: Vec<Alone>,
    pub(super) watched: Vec<Watched>,
}

/// A run.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Alone {
    /// From the request to the answer after the run's end, in seconds.
    pub(super) wall: f64,
    /// CPU time of the server and of the clients, in seconds.
    pub(super) server_cpu: f64,
    pub(super) client_cpu: f64,
    /// Most memory of the server so far, in MiB.
    pub(super) peak: f64,
}

/// A run that many look at.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Watched {
    pub(super) run: Alone,
    pub(super) answers: Answers,
    pub(super) events: Events,
}

/// What subscribers heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Events {
    pub(super) updates: u64,
    pub(super) finals: u64,
    pub(super) recorded: u64,
}

impl Interference {
    /// Run time with clients by that without.
    pub(in crate::bench) fn ratio(&self) -> f64 {
        self.watched_wall() / self.alone_wall()
    }

    /// Run time without clients, in seconds.
    pub(super) fn alone_wall(&self) -> f64 {
        median(self.alone.iter().map(|run| run.wall).collect())
    }

    /// Run time with them.
    pub(super) fn watched_wall(&self) -> f64 {
        median(self.watched.iter().map(|watched| watched.run.wall).collect())
    }

    /// Questions that were not answered right, and subscribers that did not hear of the run's end once.
    pub(in crate::bench) fn errors(&self) -> u64 {
        let missed = |watched: &Watched| (SUBSCRIBERS as u64).abs_diff(watched.events.finals);
        self.watched.iter().map(|watched| watched.answers.errors() + missed(watched)).sum()
    }
}

/// Runs `rounds` rounds after one run that is not counted.
pub(super) fn run(
    runtime: &Runtime,
    start: &dyn Fn(Limits) -> anyhow::Result<Holdfast>,
    questions: &[Question],
    rounds: usize,
    say: &dyn Fn(&str),
) -> anyhow::Result<Interference> {
    let mut figures = Interference::default();
    let server = start(Limits::Raised)?;
    say("server: a run that is not counted");
    runtime.block_on(alone(&server))?;
    for round in 0..rounds {
        let mut order = [false, true];
        order.rotate_left(round % 2);
        for with_clients in order {
            let wall = if with_clients {
                let watched = runtime.block_on(watched(&server, questions))?;
                let wall = watched.run.wall;
                figures.watched.push(watched);
                wall
            } else {
                let run = runtime.block_on(alone(&server))?;
                figures.alone.push(run);
                run.wall
            };
            let how = if with_clients { "with clients" } else { "alone" };
            say(&format!("round {} of {rounds}: run {how}: {wall:.2} s", round + 1));
        }
    }
    server.end()?;
    Ok(figures)
}

/// Who asks for a run, and what had been taken when it did.
pub(super) struct Operator {
    client: Client,
    request: String,
    began: Instant,
    server: Usage,
    own: Usage,
    pub(super) run_id: String,
}

impl Operator {
    /// Begins a run of the data set.
    pub(super) async fn begin(server: &Holdfast) -> anyhow::Result<Self> {
        let mut client = Client::lines(server.tcp, &server.token).await?;
        // The request that begins it and the one that waits for its end are the same to the server.
        let request = format!(r#"{{"participants":["tree"],"idempotency_key":"{}""#, uuid::Uuid::now_v7());
        let (began, server, own) = (Instant::now(), server.usage()?, Usage::own()?);
        let begun = client.granted("StartFullBackup", &format!("{request},\"wait\":false}}")).await?;
        Ok(Self { client, request, began, server, own, run_id: begun.text("run_id")? })
    }

    /// Waits for its end, says what it took, and deletes it.
    pub(super) async fn end(mut self, server: &Holdfast) -> anyhow::Result<Alone> {
        let ended = self.client.granted("StartFullBackup", &format!("{}}}", self.request)).await?;
        let wall = self.began.elapsed().as_secs_f64();
        let (usage, own) = (server.usage()?, Usage::own()?);
        let status = ended.text("status")?;
        ensure!(status == "completed", "run {} ended {status}", self.run_id);
        self.client.granted("DeleteBackupRun", &format!(r#"{{"run_id":"{}"}}"#, self.run_id)).await?;
        rustix::fs::sync();
        Ok(Alone {
            wall,
            server_cpu: usage.cpu - self.server.cpu,
            client_cpu: own.cpu - self.own.cpu,
            peak: usage.peak,
        })
    }
}

async fn alone(server: &Holdfast) -> anyhow::Result<Alone> {
    Operator::begin(server).await?.end(server).await
}

async fn watched(server: &Holdfast, questions: &[Question]) -> anyhow::Result<Watched> {
    let mut subscribers = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let mut client = Client::lines(server.tcp, &server.token).await?;
        client.granted("Subscribe", CHANNELS).await?;
        subscribers.push(tokio::spawn(hear_the_end(client)));
    }
    let mut clients = Vec::new();
    for _ in 0..ASKING {
        clients.push(Client::lines(server.tcp, &server.token).await?);
    }
    let operator = Operator::begin(server).await?;
    let (end, ended) = watch::channel(false);
    let questions = about(questions, &operator.run_id);
    let begin = Instant::now();
    let asking: Vec<JoinHandle<anyhow::Result<Tally>>> = (0..)
        .zip(clients)
        .map(|(client, connection)| {
            let pace = Pace { begin, client };
            tokio::spawn(ask_at_times(connection, questions.clone(), pace, ended.clone()))
        })
        .collect();
    let run = operator.end(server).await?;
    end.send_replace(true);
    let (mut tally, mut events) = (Tally::default(), Events::default());
    for asking in asking {
        let answers = timeout(AFTER, asking).await.context("the server leaves a client without answers")?;
        tally.add(answers.context("a client panicked")??);
    }
    for subscriber in subscribers {
        let aborted = subscriber.abort_handle();
        match timeout(AFTER, subscriber).await {
            Ok(heard) => events.add(heard.context("a subscriber panicked")??),
            Err(_) => aborted.abort(),
        }
    }
    Ok(Watched { run, answers: tally.answers(), events })
}

/// The questions, with one that is about the run at work.
pub(super) fn about(questions: &[Question], run_id: &str) -> Arc<[Question]> {
    let of_run = format!(r#""run_id":"{run_id}""#);
    let now = Question::new("GetBackupRun", &format!("{{{of_run}}}"), &of_run);
    questions.iter().filter(|question| question.command != now.command).chain([&now]).cloned().collect()
}

/// When one of the clients that ask together asks: they take turns, each request has its time, whether or not those before it are answered.
#[derive(Debug, Clone, Copy)]
struct Pace {
    begin: Instant,
    client: u32,
}

impl Pace {
    fn due(self, number: u64) -> Instant {
        let turn = number * u64::from(ASKING) + u64::from(self.client);
        self.begin + Duration::from_secs_f64(turn as f64 / f64::from(RATE))
    }

    fn question(self, questions: &[Question], number: u64) -> Option<&Question> {
        let at = number.wrapping_add(u64::from(self.client)).checked_rem(questions.len() as u64)?;
        questions.get(usize::try_from(at).ok()?)
    }
}

/// Asks at its times until the end, and waits for the answers. Latency is from the time a request was due.
async fn ask_at_times(
    client: Client,
    questions: Arc<[Question]>,
    pace: Pace,
    mut end: watch::Receiver<bool>,
) -> anyhow::Result<Tally> {
    let Client { mut sending, hearing } = client;
    let send = async {
        let mut number = 0;
        loop {
            tokio::select! {
                () = sleep_until(pace.due(number)) => {}
                _ = end.wait_for(|end| *end) => break,
            }
            let Some(question) = pace.question(&questions, number) else { break };
            sending.push(number, question);
            sending.flush().await?;
            number += 1;
        }
        sending.end().await?;
        Ok(number)
    };
    let (sent, mut tally) = tokio::try_join!(send, hear_answers(hearing, &questions, pace))?;
    for _ in tally.answered()..sent {
        tally.not_right("a request was never answered");
    }
    Ok(tally)
}

async fn hear_answers(mut hearing: Hearing, questions: &[Question], pace: Pace) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    while let Some(heard) = hearing.next().await? {
        let (question, latency) = match heard {
            Heard::Answer { number, .. } => (pace.question(questions, number), Some(pace.due(number).elapsed())),
            Heard::Unasked(_) => (None, None),
        };
        tally.take(&heard, question, latency);
    }
    Ok(tally)
}

/// Hears what happens until the end of a run.
async fn hear_the_end(client: Client) -> anyhow::Result<Events> {
    // The other side stays open as long as this one.
    let Client { sending: _sending, mut hearing } = client;
    let mut events = Events::default();
    while events.finals == 0 {
        match hearing.next().await? {
            Some(Heard::Unasked(text)) => events.take(text),
            Some(Heard::Answer { .. }) => {}
            None => break,
        }
    }
    Ok(events)
}

impl Events {
    fn take(&mut self, text: &[u8]) {
        if text.starts_with(br#"{"event":"backup.events","#) {
            self.recorded += 1;
        } else if text.starts_with(br#"{"event":"backup.progress","type":"update","#) {
            self.updates += 1;
        } else if text.starts_with(br#"{"event":"backup.progress","type":"final","#) {
            self.finals += 1;
        }
    }

    fn add(&mut self, other: Self) {
        self.updates += other.updates;
        self.finals += other.finals;
        self.recorded += other.recorded;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_spread_evenly_over_time_and_questions() {
        let begin = Instant::now();
        let mut due: Vec<_> = (0..ASKING)
            .flat_map(|client| (0..25).map(move |number| Pace { begin, client }.due(number) - begin))
            .collect();
        due.sort();
        assert_eq!(due.len(), RATE as usize);
        assert!(due.windows(2).all(|two| two[1] - two[0] >= Duration::from_micros(1990)), "{due:?}");
        assert!(due.last().unwrap() < &Duration::from_secs(1));

        let questions = about(&[Question::new("A", "{}", ""), Question::new("GetBackupRun", "{}", "")], "7");
        assert_eq!(questions.len(), 2);
        let asked: Vec<_> =
            (0..2).map(|number| Pace { begin, client: 1 }.question(&questions, number).unwrap().command).collect();
        assert_eq!(asked, ["GetBackupRun", "A"]);
    }

    #[test]
    fn events_are_counted_by_what_they_are() {
        let mut events = Events::default();
        for text in [
            r#"{"event":"backup.events","type":"update","seq":1}"#,
            r#"{"event":"backup.progress","type":"update","seq":1}"#,
            r#"{"event":"backup.progress","type":"final","seq":1}"#,
            r#"{"event":"server.draining"}"#,
        ] {
            events.take(text.as_bytes());
        }
        assert_eq!(events, Events { updates: 1, finals: 1, recorded: 1 });
    }
}
