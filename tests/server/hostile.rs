//! Clients that send what no honest one would, or take nothing, or come in thousands. Each of them does it beside a run at work and beside
//! a client that means well, and neither may notice.

use std::time::Duration;

use holdfast::config::{ServerConfig, ServerLimits};
use holdfast::engine::RunHandle;
use holdfast::model::run::Outcome;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use crate::support::clients::{Answer, Frame, House, Lines, WebSocket, http, narrow, post, within};
use crate::support::engine::{Door, builder, good, held, module};
use crate::support::{Home, Random, seed};

/// A server with a run at work and a client that means well.
struct Scene {
    house: House,
    door: Door,
    run: RunHandle,
    client: Lines<TcpStream>,
    home: Home,
}

impl Scene {
    async fn new(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let (home, door) = (Home::new(), Door::default());
        let house = House::open(held(&home, &door), change).await;
        let run = house.engine.back_up(holdfast::engine::Backup::full()).await.unwrap();
        let at_work = door.clone();
        tokio::task::spawn_blocking(move || at_work.wait_for(1)).await.unwrap();
        let mut client = house.lines().await;
        // Known from now on, so that it has a place of its own.
        let answer = client.ask(json!({ "command": "GetBackupRuns", "extID": "1", "__token": house.token })).await;
        assert_eq!(answer["status"], 200, "{answer}");
        Self { house, door, run, client, home }
    }

    /// What was done has disturbed nobody.
    async fn undisturbed(mut self) {
        self.client.ping().await;
        let mut other = self.house.lines().await;
        other.ping().await;
        let answer = http(self.house.http(), &post("GetBackupRuns", Some(&self.house.token), "{}")).await;
        assert_eq!(answer.json()["rows"][0]["status"], "running", "{answer:?}");
        self.door.open();
        let run = within("the run's end", self.house.engine.wait(self.run)).await.unwrap();
        assert_eq!(run.outcome(), Some(Outcome::Completed), "{}", run.error_summary());
        drop((self.client, other));
        self.house.close().await;
        drop(self.home);
    }
}

fn is_error(answer: &Value, ext_id: Value, status: u16, code: &str) {
    assert_eq!(
        (&answer["extID"], &answer["status"], &answer["error"]),
        (&ext_id, &json!(status), &json!(code)),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_line_is_no_request() {
    let scene = Scene::new(|_| {}).await;
    let mut client = scene.house.lines().await;
    client.send("{\"command\":\"StartFullBackup\",\"extID\":\"1\"").await;
    client.0.get_mut().shutdown().await.unwrap();
    is_error(&client.message().await, Value::Null, 400, "INVALID_MESSAGE");
    assert_eq!(client.line().await, None);
    // Byte by byte it is one, once it is whole.
    let mut client = scene.house.lines().await;
    for byte in b"{\"command\":\"Ping\",\"extID\":\"1\"}\r\n" {
        client.send([*byte]).await;
    }
    assert_eq!(client.message().await["status"], 200);
    scene.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_answered_as_such_and_the_connection_stays() {
    let scene = Scene::new(|_| {}).await;
    let mut random = Random(seed());
    let mut client = scene.house.lines().await;
    for _ in 0..20 {
        let mut noise = random.bytes(300);
        noise.retain(|byte| *byte != b'\n');
        noise.insert(0, 0xFF);
        noise.push(b'\n');
        client.send(&noise).await;
        is_error(&client.message().await, Value::Null, 400, "INVALID_MESSAGE");
    }
    for (line, ext_id, code) in [
        ("null", Value::Null, "INVALID_MESSAGE"),
        ("[]", Value::Null, "INVALID_MESSAGE"),
        ("\"Ping\"", Value::Null, "INVALID_MESSAGE"),
        ("{} {}", Value::Null, "INVALID_MESSAGE"),
        ("{}", Value::Null, "INVALID_DATA"),
        ("{\"extID\":\"a\"}", json!("a"), "INVALID_DATA"),
        ("{\"command\":\"Ping\"}", Value::Null, "INVALID_DATA"),
        ("{\"command\":\"Ping\",\"extID\":7}", Value::Null, "INVALID_DATA"),
        ("{\"command\":[],\"extID\":\"a\"}", json!("a"), "INVALID_DATA"),
        ("{\"command\":\"Ping\",\"extID\":\"a\",\"data\":[]}", json!("a"), "INVALID_DATA"),
        ("{\"command\":\"\",\"extID\":\"a\"}", json!("a"), "UNKNOWN_COMMAND"),
        ("{\"command\":\"ping\",\"extID\":\"a\"}", json!("a"), "UNKNOWN_COMMAND"),
    ] {
        client.send(format!("{line}\n")).await;
        let answer = client.message().await;
        assert_eq!((&answer["extID"], &answer["error"]), (&ext_id, &json!(code)), "{line}");
    }
    let long = json!({ "command": "Ping", "extID": "x".repeat(129) });
    client.request(long).await;
    is_error(&client.message().await, Value::Null, 400, "INVALID_DATA");
    let longest = json!({ "command": "Ping", "extID": "x".repeat(128) });
    assert_eq!(client.ask(longest).await["status"], 200);
    // What a client makes up does not come back many times over.
    let made_up = json!({ "command": "\u{200b}".repeat(20_000), "extID": "a" });
    let answer = client.ask(made_up).await;
    is_error(&answer, json!("a"), 404, "UNKNOWN_COMMAND");
    assert!(answer.to_string().len() < 2000);
    scene.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_json_takes_no_stack() {
    let scene = Scene::new(|_| {}).await;
    let header = format!("Authorization: Bearer {}\r\n", scene.house.token);
    let mut browser = WebSocket::open(scene.house.http(), &header).await.unwrap();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for closed in [true, false] {
            let end = if closed { format!("0{}", close.repeat(100_000)) } else { String::new() };
            let deep = format!("{}{end}", open.repeat(100_000));
            for message in [
                deep.clone(),
                format!("{{\"command\":\"GetBackupRuns\",\"extID\":\"1\",\"data\":{deep}}}"),
                format!("{{\"command\":\"GetBackupRuns\",\"extID\":\"1\",\"data\":{{\"limit\":{deep}}}}}"),
                format!("{{\"command\":{deep},\"extID\":\"1\"}}"),
                format!("{{\"command\":\"Ping\",\"extID\":{deep}}}"),
            ] {
                browser.text(&message).await;
                let status = browser.message().await["status"].clone();
                // Depth in a field that nobody knows is only length.
                assert!(status == 400 || (status == 200 && closed && open != "["), "{message:.60}: {status}");
            }
            let answer = http(scene.house.http(), &post("GetBackupRuns", Some(&scene.house.token), &deep)).await;
            assert!(answer.status == 400 || (answer.status == 200 && closed && open != "["), "{answer:?}");
        }
    }
    scene.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_long_ends_its_connection_and_says_why() {
    let scene = Scene::new(|_| {}).await;
    let limits = ServerLimits::default();
    let request = |bytes: usize| {
        let fixed = "{\"command\":\"Ping\",\"extID\":\"1\",\"pad\":\"\"}".len();
        format!("{{\"command\":\"Ping\",\"extID\":\"1\",\"pad\":\"{}\"}}", "x".repeat(bytes - fixed))
    };
    // To the byte, before a token is shown.
    let mut client = scene.house.lines().await;
    client.send(format!("{}\n", request(limits.message_before_auth))).await;
    assert_eq!(client.message().await["status"], 200);
    client.send(format!("{}\n", request(limits.message_before_auth + 1))).await;
    is_error(&client.message().await, Value::Null, 413, "MESSAGE_TOO_LARGE");
    assert_eq!(client.line().await, None);
    // And after.
    let mut client = scene.house.lines().await;
    let answer = client.ask(json!({ "command": "GetBackupRuns", "extID": "1", "__token": scene.house.token })).await;
    assert_eq!(answer["status"], 200);
    client.send(format!("{}\r\n", request(limits.message))).await;
    assert_eq!(client.message().await["status"], 200);
    client.send(format!("{}\r\n", request(limits.message + 1))).await;
    is_error(&client.message().await, Value::Null, 413, "MESSAGE_TOO_LARGE");
    assert_eq!(client.line().await, None);
    // A line that never ends is not read to the end.
    let mut client = scene.house.lines().await;
    let endless = async {
        let part = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            if client.0.write_all(&part).await.is_err() {
                break;
            }
        }
    };
    within("the end of a line without end", endless).await;

    let mut browser = scene.house.websocket().await;
    browser.text(&request(limits.message_before_auth)).await;
    assert_eq!(browser.message().await["status"], 200);
    browser.text(&request(limits.message_before_auth + 1)).await;
    is_error(&browser.message().await, Value::Null, 413, "MESSAGE_TOO_LARGE");
    assert_eq!(browser.closed().await, Frame::Close(1009));
    // In pieces.
    let mut browser = scene.house.websocket().await;
    browser.frame(0x01, b"x").await;
    for _ in 0..65 {
        browser.frame(0x00, &[b'x'; 1024]).await;
    }
    is_error(&browser.message().await, Value::Null, 413, "MESSAGE_TOO_LARGE");
    assert_eq!(browser.closed().await, Frame::Close(1009));
    scene.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_against_the_protocol_of_websockets_ends_the_connection() {
    let scene = Scene::new(|_| {}).await;
    for (first, payload, code) in [
        (0x82, &b"binary"[..], 1003),
        (0x02, b"binary, and more", 1003),
        (0x80, b"the end of nothing", 1002),
        (0xC1, b"a reserved bit", 1002),
        (0x83, b"a kind there is none of", 1002),
        (0x81, b"\xff\xfe no text", 1007),
    ] {
        let mut browser = scene.house.websocket().await;
        browser.frame(first, payload).await;
        assert_eq!(browser.closed().await, Frame::Close(code), "{first:#x}");
    }
    // A frame that says it is larger than anything.
    let mut stream = scene.house.websocket().await;
    stream.raw(&[0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4]).await;
    is_error(&stream.message().await, Value::Null, 413, "MESSAGE_TOO_LARGE");
    assert_eq!(stream.closed().await, Frame::Close(1009));
    // Pings without end, and nobody reads the answers.
    let mut flood = WebSocket::narrow(scene.house.http()).await;
    for _ in 0..2000 {
        flood.frame(0x89, &[b'p'; 125]).await;
    }
    // They are counted, so it takes a moment until it is answered again.
    flood.request(json!({ "command": "Ping", "extID": "1" })).await;
    loop {
        match flood.next().await {
            Frame::Pong(payload) => assert_eq!(payload, [b'p'; 125]),
            Frame::Text(text) if text.contains("200") => break,
            Frame::Text(text) => {
                assert!(text.contains("RATE_LIMITED"), "{text}");
                flood.request(json!({ "command": "Ping", "extID": "1" })).await;
            }
            other => panic!("{other:?}"),
        }
    }
    scene.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connects_are_turned_away_or_taken_and_nobody_is_kept_out() {
    const ALL: usize = 10_000;
    const AT_A_TIME: usize = 200;
    let mut scene = Scene::new(|_| {}).await;
    let (mut told, mut answered) = (0, 0);
    for round in 0..ALL / AT_A_TIME {
        let connects = (0..AT_A_TIME).map(|_| TcpStream::connect(scene.house.tcp()));
        let mut connections = within("connecting", futures_util::future::join_all(connects)).await;
        scene.client.ping().await;
        if round % 10 == 0 {
            for stream in connections.drain(..).flatten() {
                let mut one = Lines::over(stream);
                one.send("{\"command\":\"Ping\",\"extID\":\"1\"}\n").await;
                match one.line().await {
                    Some(line) if line.contains("TOO_MANY_CONNECTIONS") => told += 1,
                    Some(line) => {
                        assert!(line.contains("200"), "{line}");
                        answered += 1;
                    }
                    None => {}
                }
            }
        }
    }
    assert!(told > 0 && answered > 0, "{told} were told that there is no place, {answered} were answered");
    println!("{told} were told that there is no place, {answered} were answered");
    scene.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_so_many_connections_and_the_operator_still_comes_in() {
    let scene = Scene::new(|config| {
        config.limits.connections = 6;
        config.limits.unauthenticated_per_address = 2;
    })
    .await;
    let full = |answer: &Value| {
        is_error(answer, Value::Null, 503, "TOO_MANY_CONNECTIONS");
        assert_eq!(answer["retryable"], true);
    };
    // Two strangers from here, and no third one.
    let (mut one, mut two) = (scene.house.lines().await, scene.house.lines().await);
    one.ping().await;
    two.ping().await;
    let mut three = scene.house.lines().await;
    full(&three.message().await);
    assert_eq!(three.line().await, None);
    // One of them says who they are, and makes room for the next.
    let answer = one.ask(json!({ "command": "GetBackupRuns", "extID": "1", "__token": scene.house.token })).await;
    assert_eq!(answer["status"], 200);
    let mut three = scene.house.lines().await;
    three.ping().await;
    // Four are in; with two WebSockets of somebody known it is full.
    let header = format!("Authorization: Bearer {}\r\n", scene.house.token);
    let first = WebSocket::open(scene.house.http(), &header).await.unwrap();
    let _second = WebSocket::open(scene.house.http(), &header).await.unwrap();
    let answer = WebSocket::open(scene.house.http(), &header).await.err().unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.json()["error"], "TOO_MANY_CONNECTIONS");
    let mut refused = scene.house.lines().await;
    full(&refused.message().await);
    assert_eq!(refused.line().await, None);
    let mut local = Lines::over(UnixStream::connect(&scene.house.server.addresses().socket).await.unwrap());
    local.ping().await;
    drop((first, two, three, local));
    // Places are free again once their connections are gone.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut next = scene.house.lines().await;
        next.send("{\"command\":\"Ping\",\"extID\":\"1\"}\n").await;
        if next.line().await.is_some_and(|line| line.contains("200")) {
            break;
        }
        assert!(Instant::now() < deadline, "no place is free again");
    }
    scene.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_closed_and_costs_its_queue_and_no_more() {
    let scene = Scene::new(|config| {
        config.limits.slow_consumer = Duration::from_millis(500);
        config.limits.outbox_bytes = 64 << 10;
        config.limits.requests_per_second = 100_000.try_into().unwrap();
        config.limits.burst = 100_000.try_into().unwrap();
    })
    .await;
    let unknown = |number: usize| json!({ "command": "No", "extID": number.to_string() }).to_string();
    let token = scene.house.token.clone();
    // All there is in the log, again and again.
    let subscribe = move |number: usize| {
        let data = json!({ "channels": ["backup.events", "backup.progress", "alerts"], "since_seq": 0 });
        json!({ "command": "Subscribe", "extID": number.to_string(), "__token": token, "data": data }).to_string()
    };
    let kinds: [&dyn Fn(usize) -> String; 2] = [&unknown, &subscribe];
    for request in kinds {
        let before = resident();
        let mut stream = narrow(scene.house.tcp()).await;
        // Until the far side has had enough of it.
        let asking = async {
            let mut number = 0;
            while stream.write_all(format!("{}\n", request(number)).as_bytes()).await.is_ok() {
                number += 1;
            }
            number
        };
        let asked = within("the end of a client that reads nothing", asking).await;
        let grown = resident().saturating_sub(before);
        println!("{asked} requests were sent, {grown} bytes more were in memory");
        assert!(grown < 64 << 20, "{grown} bytes more are in memory");
    }

    let mut browser = WebSocket::narrow(scene.house.http()).await;
    browser.request(json!({ "command": "Ping", "extID": "1" })).await;
    assert_eq!(browser.message().await["status"], 200);
    let grown_before = resident();
    // Until nothing more is taken, for longer than the server has patience.
    let mut number = 0;
    while tokio::time::timeout(Duration::from_secs(3), browser.text(&unknown(number))).await.is_ok() {
        number += 1;
        assert!(number < 1_000_000);
    }
    let grown = resident().saturating_sub(grown_before);
    println!("{number} requests were sent, {grown} bytes more were in memory");
    assert!(grown < 64 << 20, "{grown} bytes more are in memory");
    assert_eq!(browser.closed().await, Frame::Close(4008));
    scene.undisturbed().await;
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_ask_for_much_and_go_away_leave_little_to_hold() {
    const PARTICIPANTS: usize = 6000;
    let home = Home::new();
    let mut builder = builder(&home);
    for number in 0..PARTICIPANTS {
        builder = builder.participant_with(module(&format!("{}-{number}", "p".repeat(50))), good);
    }
    let house = House::open(builder, |config| {
        config.limits.requests_per_second = 100_000.try_into().unwrap();
        config.limits.burst = 100_000.try_into().unwrap();
    })
    .await;
    let ask = |ext_id: usize| {
        json!({ "command": "GetBackupParticipants", "extID": ext_id.to_string(), "__token": house.token }).to_string()
    };
    let mut client = house.lines().await;
    client.send(format!("{}\n", ask(0))).await;
    let answer = client.line().await.unwrap();
    assert!(answer.len() > 1 << 20, "an answer of {} bytes", answer.len());
    let before = resident();
    for _ in 0..12 {
        let mut asks = house.lines().await;
        let all: String = (0..32).map(|number| ask(number) + "\n").collect();
        asks.send(all).await;
        // It has begun to answer, and whoever asked is gone.
        within("the first bytes", asks.0.read_u8()).await.unwrap();
        drop(asks);
    }
    // Others have their turn, and who needs none has not even to wait for one.
    client.ping().await;
    client.send(format!("{}\n", ask(1))).await;
    assert_eq!(client.line().await.unwrap().len(), answer.len());
    let grown = resident().saturating_sub(before);
    println!("answers of {} bytes, {grown} bytes more are in memory", answer.len());
    assert!(grown < 64 << 20, "{grown} bytes more are in memory");
    drop(client);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_does_not_stop_the_run_it_asked_for() {
    let (home, door) = (Home::new(), Door::default());
    let house = House::open(held(&home, &door), |_| {}).await;
    let mut client = house.lines().await;
    let start = json!({
        "command": "StartFullBackup", "extID": "1", "__token": house.token, "data": { "idempotency_key": "night" },
    });
    client.request(start.clone()).await;
    let arrived = door.clone();
    tokio::task::spawn_blocking(move || arrived.wait_for(1)).await.unwrap();
    // Not a word: the connection is reset.
    rustix::net::sockopt::set_socket_linger(client.0.get_ref(), Some(Duration::ZERO)).unwrap();
    drop(client);
    let run = house.engine.open_run().await.unwrap();
    assert!(run.watch.borrow().is_open());
    // The same request from another connection is the same run.
    let mut client = house.lines().await;
    client.request(start).await;
    client.ping().await;
    door.open();
    let answer = client.message().await;
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(answer["data"]["run_id"], run.run_id.to_string());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_never_end_hold_up_nobody() {
    let scene = Scene::new(|config| {
        config.limits.tcp_idle = Duration::from_secs(3);
        config.limits.connections = 400;
        config.limits.unauthenticated_per_address = 200;
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(scene.house.http()).await.unwrap();
        stream.write_all(b"POST /api/v1/Ping HTTP/1.1\r\nHost: h\r\nX-Slow: ").await.unwrap();
        slow.push(stream);
    }
    let answer = http(scene.house.http(), &post("Ping", None, "")).await;
    assert_eq!(answer.status, 200);
    for stream in slow {
        let answer = Answer::read(&mut BufReader::new(stream)).await;
        assert!(answer.is_none_or(|answer| answer.status == 408));
    }
    // After a whole request, too.
    let mut again = BufReader::new(TcpStream::connect(scene.house.http()).await.unwrap());
    again.write_all(post("Ping", None, "").as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut again).await.unwrap().status, 200);
    again.write_all(b"POST /api/v1/Ping HTTP/1.1\r\nX-Slow: ").await.unwrap();
    let _ = within("the end of a head without end", again.read_to_end(&mut Vec::new())).await;
    // A head that is larger than anything.
    let mut stream = TcpStream::connect(scene.house.http()).await.unwrap();
    let _ = stream.write_all(format!("GET /ws HTTP/1.1\r\nX: {}", "x".repeat(1 << 20)).as_bytes()).await;
    let _ = within("the end of it", BufReader::new(stream).read_to_end(&mut Vec::new())).await;
    // A path with nonsense in it.
    for path in ["/api/v1/%ff%00", "/api/v1/%", "//", "/../etc/passwd", "/api/v1/Ping/..", "/%2e%2e/"] {
        let answer =
            http(scene.house.http(), &format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
    scene.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_guessed_are_soon_not_even_looked_at_and_the_right_one_always_is() {
    let scene = Scene::new(|config| config.limits.guesses_per_minute = 3.try_into().unwrap()).await;
    let mut client = scene.house.lines().await;
    let mut codes = Vec::new();
    for number in 0..6 {
        let guess = format!("hf_guess{number}");
        let answer = client.ask(json!({ "command": "GetBackupRuns", "extID": "1", "__token": guess })).await;
        codes.push(answer["error"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        codes,
        ["INVALID_TOKEN", "INVALID_TOKEN", "INVALID_TOKEN", "RATE_LIMITED", "RATE_LIMITED", "RATE_LIMITED"]
    );
    // Another connection from there is no other source.
    let answer = http(scene.house.http(), &post("GetBackupRuns", Some("hf_guess"), "")).await;
    assert_eq!(answer.status, 429);
    let answer = http(scene.house.http(), &post("GetBackupRuns", Some(&scene.house.token), "")).await;
    assert_eq!(answer.status, 200);
    scene.undisturbed().await;
}
