//! The client against the other end of a pipe.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};

use super::{Client, ClientError, Heard};
use crate::api::commands::Ping;
use crate::api::{Channel, ErrorCode};

const DEADLINE: Duration = Duration::from_secs(60);

/// The far end of a client's pipe.
struct Far(BufReader<DuplexStream>);

impl Far {
    async fn heard(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn say(&mut self, message: Value) {
        self.raw(&format!("{message}\r\n")).await;
    }

    async fn raw(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }
}

fn pair() -> (Client, Far) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    (Client::new(ours), Far(BufReader::new(theirs)))
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("within the deadline")
}

#[tokio::test]
async fn answers_come_in_any_order_to_whoever_asked() {
    let (client, mut far) = pair();
    let (first, second) = (client.clone(), client.clone());
    let first = tokio::spawn(async move { first.call("A", &json!({})).await });
    let a = far.heard().await;
    let second = tokio::spawn(async move { second.call("B", &json!({ "x": 1 })).await });
    let b = far.heard().await;
    assert_eq!((&a["command"], &b["data"]), (&json!("A"), &json!({ "x": 1 })));
    far.say(json!({ "extID": b["extID"], "status": 202, "data": { "is": "b" } })).await;
    far.say(
        json!({ "extID": a["extID"], "status": 404, "error": "BACKUP_RUN_NOT_FOUND", "message": "no", "detail": {},
        "retryable": false, "retry_after_ms": 0 }),
    )
    .await;
    let answered = soon(second).await.unwrap().unwrap();
    assert_eq!((answered.status, answered.data.get()), (202, r#"{"is":"b"}"#));
    let Err(ClientError::Refused(error)) = soon(first).await.unwrap() else { panic!("it was refused") };
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::BackupRunNotFound, "no"));
}

#[tokio::test]
async fn a_server_that_goes_away_is_an_error_for_all_who_wait() {
    let (client, mut far) = pair();
    let asking = client.clone();
    let asked = tokio::spawn(async move { asking.ask(&Ping {}).await });
    far.heard().await;
    let mut events = client.events();
    drop(far);
    assert!(matches!(soon(asked).await.unwrap(), Err(ClientError::Closed(_))));
    assert!(matches!(soon(events.next()).await, Err(ClientError::Closed(_))));
    assert!(matches!(soon(client.ask(&Ping {})).await, Err(ClientError::Closed(_))), "and for all who come later");
}

#[tokio::test]
async fn another_version_is_told_apart_before_anything_else_is_read() {
    let (client, mut far) = pair();
    let asking = client.clone();
    let greeted = tokio::spawn(async move { asking.greet(DEADLINE).await });
    let hello = far.heard().await;
    assert_eq!(hello["command"], "Hello");
    far.say(json!({ "extID": hello["extID"], "status": 200, "data": { "version": "99.0.0", "limits": 7 } })).await;
    let Err(error) = soon(greeted).await.unwrap() else { panic!("another version") };
    assert_eq!(error.code(), "VERSION_MISMATCH");
    assert!(error.to_string().contains("99.0.0") && error.to_string().contains(env!("CARGO_PKG_VERSION")), "{error}");
}

#[tokio::test]
async fn one_that_is_silent_is_given_up() {
    let (client, _far) = pair();
    let error = soon(client.greet(Duration::from_millis(20))).await.unwrap_err();
    assert_eq!(error.code(), "SERVER_SILENT");
}

#[tokio::test]
async fn what_is_no_message_ends_the_connection() {
    for nonsense in ["SSH-2.0-OpenSSH_9.2\r\n", "{\"extID\":\"1\",\"error\":\"NEVER_HEARD_OF\"}\r\n", "\u{1}\u{2}\n"] {
        let (client, mut far) = pair();
        far.raw(nonsense).await;
        assert!(matches!(soon(client.closed()).await, ClientError::Unreadable(_)), "{nonsense:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_connection_is_its_end() {
    let (client, mut far) = pair();
    far.say(json!({ "extID": null, "status": 503, "error": "TOO_MANY_CONNECTIONS", "message": "full" })).await;
    assert_eq!(soon(client.closed()).await.code(), "TOO_MANY_CONNECTIONS");
}

fn progress(seq: u64, event_type: &str) -> Value {
    json!({ "event": "backup.progress", "type": event_type, "seq": seq, "epoch": "e", "data": { "seq": seq } })
}

async fn next(events: &mut super::Events) -> (Channel, u64) {
    match soon(events.next()).await.unwrap() {
        Heard::Notice(notice) => (notice.channel, notice.seq),
        Heard::Missed => panic!("nothing was missed"),
    }
}

#[tokio::test]
async fn progress_is_merged_and_everything_else_is_kept_in_order() {
    let (client, mut far) = pair();
    let event = |seq| json!({ "event": "backup.events", "type": "update", "seq": seq, "epoch": "e", "data": {} });
    for message in
        [progress(1, "update"), event(1), progress(2, "update"), event(2), progress(2, "final"), progress(3, "update")]
    {
        far.say(message).await;
    }
    far.say(json!({ "event": "server.draining" })).await;
    // An answer comes after all that was said before it.
    let asking = client.clone();
    let asked = tokio::spawn(async move { asking.ask(&Ping {}).await });
    let ping = far.heard().await;
    far.say(json!({ "extID": ping["extID"], "status": 200, "data": {} })).await;
    soon(asked).await.unwrap().unwrap();
    let mut events = client.events();
    let mut heard = Vec::new();
    for _ in 0..5 {
        heard.push(next(&mut events).await);
    }
    let (progress, event) = (Channel::BackupProgress, Channel::BackupEvents);
    assert_eq!(heard, [(event, 1), (progress, 2), (event, 2), (progress, 2), (progress, 3)]);
}

#[tokio::test]
async fn what_nobody_looks_at_is_bounded_and_said_to_be_missing() {
    let (client, mut far) = pair();
    let sent = 10_000_u64;
    for seq in 1..=sent {
        far.say(json!({ "event": "backup.events", "type": "update", "seq": seq, "epoch": "e", "data": {} })).await;
    }
    let asking = client.clone();
    let asked = tokio::spawn(async move { asking.ask(&Ping {}).await });
    let ping = far.heard().await;
    far.say(json!({ "extID": ping["extID"], "status": 200, "data": {} })).await;
    soon(asked).await.unwrap().unwrap();
    let (mut events, mut last) = (client.events(), 0);
    while let Heard::Notice(notice) = soon(events.next()).await.unwrap() {
        assert_eq!(notice.seq, last + 1, "the oldest are kept, without a gap");
        last = notice.seq;
    }
    assert!(last < sent, "they were not all kept");
}
