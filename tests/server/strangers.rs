//! Who has shown no token: how many of them there may be, by whichever door, for how long, and what they can cost.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::Home;
use crate::support::clients::{Answer, Frame, House, Lines, WebSocket, http, narrow, post, within};
use crate::support::engine::builder;

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
const PAGE: &str = "GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n";

async fn get_on(connection: &mut BufReader<TcpStream>, request: &str) -> Option<Answer> {
    connection.write_all(request.as_bytes()).await.ok()?;
    Answer::read(connection).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_few_connections_by_all_doors_together() {
    let home = Home::new();
    let house = House::open(builder(&home), |config| config.limits.unauthenticated_per_address = 3).await;
    let mut tcp = house.lines().await;
    tcp.ping().await;
    let (first, _second) = (house.websocket().await, house.websocket().await);
    for _ in 0..3 {
        let refused = WebSocket::open(house.http(), "").await.err().unwrap();
        assert_eq!((refused.status, &refused.json()["error"]), (503, &json!("TOO_MANY_CONNECTIONS")));
        assert_eq!(refused.header("connection"), Some("close"));
    }
    // A connection of lines cannot show a token before it is open: it has a moment for that.
    let mut refused = house.lines().await;
    refused.ping().await;
    assert_eq!(refused.message().await["error"], "TOO_MANY_CONNECTIONS");
    assert_eq!(refused.line().await, None);
    assert_eq!(http(house.http(), PAGE).await.status, 503);
    // Whether it is well is told to anybody, who is then sent away.
    let well = http(house.http(), HEALTH).await;
    assert_eq!((well.status, well.header("connection")), (200, Some("close")));
    // Whoever shows a token is let in, however many there are who show none.
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(house.lines().await);
    }
    let mut shows = house.lines().await;
    let auth = json!({ "command": "Auth", "extID": "1", "data": { "token": house.token } });
    assert_eq!(shows.ask(auth).await["status"], 200);
    for mut silent in crowd {
        assert_eq!(silent.message().await["error"], "TOO_MANY_CONNECTIONS");
        assert_eq!(silent.line().await, None);
    }
    assert_eq!(shows.ask(json!({ "command": "GetBackupRuns", "extID": "2" })).await["status"], 200);
    let header = format!("Authorization: Bearer {}\r\n", house.token);
    let mut known = WebSocket::open(house.http(), &header).await.unwrap();
    assert_eq!(known.ask(json!({ "command": "GetBackupRuns", "extID": "1" })).await["status"], 200);
    assert_eq!(http(house.http(), &post("GetBackupRuns", Some(&house.token), "{}")).await.status, 200);
    assert_eq!(http(house.http(), &post("GetBackupRuns", Some("hf_wrong"), "{}")).await.status, 401);
    // One who says who they are makes room, and so does one who leaves.
    let answer = tcp.ask(json!({ "command": "Auth", "extID": "1", "data": { "token": house.token } })).await;
    assert_eq!(answer["status"], 200, "{answer}");
    house.lines().await.ping().await;
    drop(first);
    let deadline = Instant::now() + crate::support::DEADLINE;
    while WebSocket::open(house.http(), "").await.is_err() {
        assert!(Instant::now() < deadline, "no place is free again");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_of_one_address_keep_nobody_of_another_out_who_shows_a_token() {
    let home = Home::new();
    let house = House::open(builder(&home), |_| {}).await;
    // More than there are places, and they stay.
    let flood = async {
        let mut kept = Vec::new();
        loop {
            kept.push(TcpStream::connect(house.tcp()).await);
            if kept.len() > 300 {
                kept.drain(..100);
            }
        }
    };
    let shows = async {
        for number in 0..30_u8 {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 0, 2 + number % 2], 0).into()).unwrap();
            let mut client = Lines::over(within("connecting", socket.connect(house.tcp())).await.unwrap());
            let ask = json!({ "command": "GetBackupRuns", "extID": "1", "__token": house.token });
            let answer = within("an answer", client.ask(ask)).await;
            assert_eq!(answer["status"], 200, "{number}: {answer}");
        }
    };
    tokio::select! {
        () = flood => {}
        () = shows => {}
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_kept_without_a_token_keep_nobody_out() {
    let home = Home::new();
    let house = House::open(builder(&home), |config| {
        config.limits.connections = 8;
        config.limits.unauthenticated_per_address = 1000;
    })
    .await;
    let mut kept = Vec::new();
    for number in 0..20 {
        let mut connection = BufReader::new(TcpStream::connect(house.http()).await.unwrap());
        let answer = get_on(&mut connection, PAGE).await.unwrap();
        // They take half of the places, and the others are sent away.
        assert_eq!(answer.status, if number < 4 { 200 } else { 503 }, "{number}");
        kept.push(connection);
    }
    let header = format!("Authorization: Bearer {}\r\n", house.token);
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(WebSocket::open(house.http(), &header).await.unwrap());
    }
    assert_eq!(http(house.http(), &post("GetBackupRuns", Some(&house.token), "{}")).await.status, 200);
    // One that was let in goes on, and is known once it shows a token.
    let [first, ..] = kept.as_mut_slice() else { panic!("none was kept") };
    assert_eq!(get_on(first, &post("GetBackupRuns", Some(&house.token), "{}")).await.unwrap().status, 200);
    let mut next = BufReader::new(TcpStream::connect(house.http()).await.unwrap());
    assert_eq!(get_on(&mut next, HEALTH).await.unwrap().status, 200);
    // Who is sent away and stays silent is not kept.
    let mut silent = TcpStream::connect(house.http()).await.unwrap();
    let _ = within("its end", silent.read_to_end(&mut Vec::new())).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_only_talks_has_an_end_from_its_beginning_on() {
    let home = Home::new();
    let house = House::open(builder(&home), |config| {
        config.limits.tcp_idle = Duration::from_millis(900);
        config.limits.requests_per_second = 100_000.try_into().unwrap();
        config.limits.burst = 100_000.try_into().unwrap();
    })
    .await;
    let mut talks = house.websocket().await;
    let header = format!("Authorization: Bearer {}\r\n", house.token);
    let mut known = WebSocket::open(house.http(), &header).await.unwrap();
    let end = loop {
        talks.request(json!({ "command": "Ping", "extID": "1" })).await;
        match talks.next().await {
            Frame::Text(text) => assert!(text.contains("200"), "{text}"),
            end => break end,
        }
    };
    assert_eq!(end, Frame::Close(4001));
    assert_eq!(known.ask(json!({ "command": "GetBackupRuns", "extID": "1" })).await["status"], 200);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_nothing_is_counted_as_what_asks() {
    let home = Home::new();
    let house = House::open(builder(&home), |config| {
        config.limits.requests_per_second = 1.try_into().unwrap();
        config.limits.burst = 5.try_into().unwrap();
    })
    .await;
    let ping = || json!({ "command": "Ping", "extID": "1" });
    let limited = |answer: Value| assert_eq!(answer["error"], "RATE_LIMITED", "{answer}");
    let mut lines = house.lines().await;
    lines.send("\r\n \n\n\n\n\n").await;
    limited(lines.ask(ping()).await);
    // Empty messages, empty parts of a message, and control frames.
    for frames in [&[0x81_u8, 0x81, 0x81, 0x81, 0x81, 0x81][..], &[0x01, 0x00, 0x00, 0x00, 0x00, 0x80], &[0x8A; 6]] {
        let mut browser = house.websocket().await;
        for first in frames {
            browser.frame(*first, b"").await;
        }
        browser.request(ping()).await;
        limited(browser.message().await);
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_takes_ends_its_connection() {
    let home = Home::new();
    let house = House::open(builder(&home), |config| config.limits.slow_consumer = Duration::from_millis(500)).await;
    let before = resident();
    let mut connections = Vec::new();
    for _ in 0..4 {
        let mut stream = narrow(house.http()).await;
        // More than the system takes in its place.
        let pipelined = "GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n".repeat(40);
        stream.write_all(pipelined.as_bytes()).await.unwrap();
        connections.push(stream);
    }
    for mut stream in connections {
        // What was sent is less than was asked for: it ended before.
        let mut taken = Vec::new();
        let ended = async {
            while stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        within("its end", ended).await;
        let _ = stream.read_to_end(&mut taken).await;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more are in memory");
    house.close().await;
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_again_and_again_keeps_their_connection() {
    let home = Home::new();
    let house = House::open(builder(&home), |config| {
        config.limits.tcp_idle = Duration::from_millis(700);
        config.limits.requests_per_second = 100_000.try_into().unwrap();
        config.limits.burst = 100_000.try_into().unwrap();
    })
    .await;
    let mut connection = BufReader::new(TcpStream::connect(house.http()).await.unwrap());
    let until = Instant::now() + Duration::from_millis(2100);
    while Instant::now() < until {
        assert_eq!(get_on(&mut connection, HEALTH).await.unwrap().status, 200);
    }
    // And by HEAD, which gets the head alone.
    let head = "HEAD /readyz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    within("the head", connection.read_to_end(&mut rest)).await.unwrap();
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200") && rest.ends_with("\r\n\r\n"), "{rest}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_to_who_has_said_nothing() {
    let home = Home::new();
    let house = House::open(builder(&home), |_| {}).await;
    let (mut silent, mut asks) = (house.lines().await, house.lines().await);
    asks.ping().await;
    let mut local = Lines::over(tokio::net::UnixStream::connect(&house.server.addresses().socket).await.unwrap());
    // Each is in before the stop: the next one's answer comes after it was taken.
    house.lines().await.ping().await;
    within("the server's end", house.server.stop(Duration::ZERO)).await;
    assert_eq!(asks.message().await, json!({ "event": "server.draining" }));
    assert_eq!(silent.line().await, None);
    assert_eq!(local.line().await, None);
    house.engine.stop().await;
}
